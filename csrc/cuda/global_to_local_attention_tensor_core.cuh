// Shared by the tensor-core kernels of global-to-local attention, for half types.
//
// Keys and values are the same, so that one tile in shared memory serves both products: it is read directly for the
// scores and transposed by ldmatrix for the weighted sum. Scores and weights stay in registers.
#pragma once

#include <torch/csrc/stable/macros.h>

#include <type_traits>

#include "cuda/global_to_local_attention.cuh"
#include "cuda/mma.cuh"

namespace insight::attention {

constexpr int kThreads = 32 * kTensorCoreWarps;
constexpr int kKeyTile = 64;  // keys in shared memory at once, in the passes over rows
constexpr float kLog2E = 1.4426950408889634f;

// A rectangle (kRows, kD) of 16-bit numbers in shared memory, swizzled.
template <typename T, int kRows, int kD>
struct alignas(16) Tile {
  static constexpr int kChunks = kD / 8;
  T data[kRows * kD];

  __device__ __forceinline__ T* chunk(int row, int chunk) { return data + swizzled(row, chunk, kChunks) * 8; }

  // B fragments for products with the transpose: k = channels 16 * step ..., n = rows first ... first + 15;
  // r[0..1] are those of the first 8 rows, r[2..3] of the others.
  __device__ __forceinline__ void load_as_columns(uint32_t (&r)[4], int first, int step) {
    const int lane = threadIdx.x % 32;
    load_matrices(r, chunk(first + lane / 16 * 8 + lane % 8, step * 2 + lane / 8 % 2));
  }
  // B fragments for products with itself: k = rows first ... first + 15, n = channels 16 * step ...
  __device__ __forceinline__ void load_as_rows(uint32_t (&r)[4], int first, int step) {
    const int lane = threadIdx.x % 32;
    load_matrices_transposed(r, chunk(first + lane / 8 % 2 * 8 + lane % 8, step * 2 + lane / 16));
  }
};

// Loads the A fragments of 16 rows, of which this lane holds two (null: zeros), directly from global memory.
template <int kD, typename T>
__device__ __forceinline__ void load_fragments(uint32_t (&a)[kD / 16][4], const T* row0, const T* row8, int d) {
  const int t = threadIdx.x % 4;
#pragma unroll
  for (int step = 0; step < kD / 16; ++step) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const T* row = i % 2 ? row8 : row0;
      const int channel = step * 16 + i / 2 * 8 + 2 * t;
      a[step][i] = row && channel < d ? *reinterpret_cast<const uint32_t*>(row + channel) : 0u;
    }
  }
}

// Starts the copy of kRows keys of one image and head, zeros after the last.
template <typename T, int kRows, int kD>
__device__ __forceinline__ void copy_keys(Tile<T, kRows, kD>& tile, const T* keys, int first, const Sizes& size) {
  constexpr int kChunks = kD / 8;
#pragma unroll
  for (int i = 0; i < kRows * kChunks / kThreads; ++i) {
    const int index = i * kThreads + threadIdx.x;
    const int row = index / kChunks;
    const int chunk = index % kChunks;
    const bool wanted = first + row < size.num_keys && chunk * 8 < size.d;
    const T* from = keys + (wanted ? int64_t(first + row) * size.channels + chunk * 8 : 0);
    copy_async<16>(tile.chunk(row, chunk), from, wanted);
  }
}

template <typename T>
__device__ __forceinline__ void store_pair(T* to, float low, float high) {
  *reinterpret_cast<uint32_t*>(to) = pack_pair<T>(low, high);
}

// sums += weights * rows first ... first + 15 of the tile, for channels 16 * step ...
template <typename T, int kM, int kRows, int kD>
__device__ __forceinline__ void add_weighted(float (&sums)[kM][kD / 8][4], const uint32_t (&weights)[kM][4],
                                             Tile<T, kRows, kD>& tile, int first, int step) {
  uint32_t b[4];
  tile.load_as_rows(b, first, step);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    mma_16816<T>(sums[m][2 * step], weights[m], b[0], b[1]);
    mma_16816<T>(sums[m][2 * step + 1], weights[m], b[2], b[3]);
  }
}

// Calls f with padded_d as a constant.
template <typename F>
void with_head_dim(int padded_d, const F& f) {
  switch (padded_d) {
    case 16: return f(std::integral_constant<int, 16>());
    case 32: return f(std::integral_constant<int, 32>());
    case 64: return f(std::integral_constant<int, 64>());
    default: return f(std::integral_constant<int, 128>());
  }
}

}  // namespace insight::attention
