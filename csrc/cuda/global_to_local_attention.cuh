// Shared by the CUDA kernels of global-to-local attention: their arguments, and the order in which rows are processed.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <type_traits>

#include "common/global_to_local_attention.h"
#include "common/global_to_local_attention_launch.h"

namespace insight::attention {

// Explicit conversions, because torch builds extensions without the operators of the half types.
template <typename To, typename From>
__device__ __forceinline__ To convert(From x) {
  if constexpr (std::is_same_v<From, __half>) {
    return static_cast<To>(__half2float(x));
  } else if constexpr (std::is_same_v<From, __nv_bfloat16>) {
    return static_cast<To>(__bfloat162float(x));
  } else if constexpr (std::is_same_v<To, __half>) {
    return __float2half_rn(x);
  } else if constexpr (std::is_same_v<To, __nv_bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return static_cast<To>(x);
  }
}

// Rows of the RoIs sorted by image. Sorted row v is row row_of(v) of (N * T, D); the rows of image b start at
// roi_start[b] * tokens, and those with an invalid image index, b = images, come last.
struct SortedRows {
  const int* order;       // (N): RoIs sorted by image (stable)
  const int* roi_start;   // (images + 2)
  const int* tile_start;  // (images + 2): tiles of rows before image b
  int tokens;
  int images;

  __device__ int row_of(int v) const {
    const int roi = v / tokens;
    return order[roi] * tokens + (v - roi * tokens);
  }
};

// Sizes, as 32-bit numbers (the host checks that they fit).
struct Sizes {
  int num_rois, tokens, images, num_keys, channels, heads, d;

  // Offset of row `row` of (N * T, D) in a tensor (N, heads, T).
  __device__ int64_t statistic_of(int row, int head) const {
    const int64_t roi = row / tokens;
    return (roi * heads + head) * tokens + row % tokens;
  }
};

// The first key of an image and head.
template <typename T>
__device__ __forceinline__ const T* keys_of(const T* global_tokens, int image, int head, const Sizes& size) {
  return global_tokens + int64_t(image) * size.num_keys * size.channels + head * size.d;
}

// One tile of rows of one image, processed by one thread block in the passes over rows.
struct RowTile {
  int image;  // SortedRows::images for an invalid image index; -1: no such tile
  int first;
  int last;

  __device__ RowTile(const SortedRows& rows, int tile, int tile_rows) {
    image = tile < rows.tile_start[rows.images + 1] ? image_of_tile(rows.tile_start, rows.images, tile) : -1;
    if (image >= 0) {
      first = rows.roi_start[image] * rows.tokens + (tile - rows.tile_start[image]) * tile_rows;
      last = min(first + tile_rows, rows.roi_start[image + 1] * rows.tokens);
    }
  }

  // Whether the tile exists and has keys. For RoIs with an invalid image index, the thread block of the first channels
  // fills the tensor (N, T, D) with NaN.
  template <typename T>
  __device__ bool has_keys(T* tensor, const SortedRows& rows, int head, const Sizes& size, int first_chunk = 0) const {
    if (image < 0) return false;
    if (image == size.images) {
      if (first_chunk == 0) fill_nan(tensor, rows, head, size);
      return false;
    }
    return true;
  }

 private:
  template <typename T>
  __device__ void fill_nan(T* tensor, const SortedRows& rows, int head, const Sizes& size) const {
    for (int i = threadIdx.x; i < (last - first) * size.d; i += blockDim.x) {
      const int64_t row = rows.row_of(first + i / size.d);
      tensor[row * size.channels + head * size.d + i % size.d] = convert<T>(__int_as_float(0x7fffffff));
    }
  }
};

template <typename T>
struct ForwardArguments {
  Sizes size;
  SortedRows rows;
  const T* local;
  const T* global_tokens;
  T* out;
  void* logsumexp;  // (N, heads, T), float or double
};

// The statistics of a sorted row: its base-2 log-sum-exp, and the sum over d of grad * out, times 1 / sqrt(d).
template <typename S>
struct alignas(2 * sizeof(S)) RowStatistics {
  S logsumexp;
  S delta;
};

template <typename T>
struct BackwardArguments {
  Sizes size;
  SortedRows rows;
  const T* local;
  const T* global_tokens;
  const T* grad;
  const int* row_of;       // (N * T): row_of[v], written out
  const void* statistics;  // RowStatistics (heads, N * T)
  T* grad_local;
  void* partial_sums;  // (splits, B, G, D) float or double: gradient of the keys from each part of the rows
  int splits;
};

// The statistics of all sorted rows for one head.
template <typename S, typename T>
__device__ __forceinline__ const RowStatistics<S>* statistics_of(const BackwardArguments<T>& a, int head) {
  return static_cast<const RowStatistics<S>*>(a.statistics) + int64_t(head) * a.size.num_rois * a.size.tokens;
}

// A tile of keys of one image and one part of the image's rows, processed by one thread block in the pass over keys.
struct KeyTile {
  int image;
  int split;  // which part of the rows
  int first_key;
  int first_row;  // sorted rows of the image
  int last_row;
  int first_tile;  // tiles of pass_rows rows of this part, counted from first_row
  int last_tile;

  template <typename T>
  __device__ KeyTile(const BackwardArguments<T>& a, int tile_keys, int pass_rows) {
    const int key_tiles = (a.size.num_keys + tile_keys - 1) / tile_keys;
    first_key = static_cast<int>(blockIdx.x % key_tiles) * tile_keys;
    split = blockIdx.x / key_tiles % a.splits;
    image = blockIdx.x / key_tiles / a.splits;
    first_row = a.rows.roi_start[image] * a.size.tokens;
    last_row = a.rows.roi_start[image + 1] * a.size.tokens;
    const int64_t row_tiles = (last_row - first_row + pass_rows - 1) / pass_rows;
    first_tile = static_cast<int>(row_tiles * split / a.splits);
    last_tile = static_cast<int>(row_tiles * (split + 1) / a.splits);
  }

  // Destination of this part's gradient of the first key of the image.
  template <typename S, typename T>
  __device__ S* sums(const BackwardArguments<T>& a, int head) const {
    return static_cast<S*>(a.partial_sums) +
           (int64_t(split) * a.size.images + image) * a.size.num_keys * a.size.channels + head * a.size.d;
  }
};

// Grids of the passes over rows and over keys; channel_blocks thread blocks share a tile.
inline dim3 row_grid(const Sizes& size, int64_t row_tiles, unsigned channel_blocks = 1) {
  return dim3(static_cast<unsigned>(row_tiles), size.heads, channel_blocks);
}
inline dim3 key_grid(const Sizes& size, int splits, int tile_keys, unsigned channel_blocks = 1) {
  const int64_t blocks = ceil_div(size.num_keys, tile_keys) * splits * size.images;
  return dim3(static_cast<unsigned>(blocks), size.heads, channel_blocks);
}

// Tensor-core kernels, for half types; padded_d is tensor_core_head_dim(d).
template <typename T>
void attend_tensor_cores(const ForwardArguments<T>& arguments, int padded_d, int64_t row_tiles, cudaStream_t stream);
template <typename T>
void differentiate_tensor_cores(const BackwardArguments<T>& arguments, int padded_d, int64_t row_tiles,
                                cudaStream_t stream);

// General kernels, for everything else.
constexpr int kGeneralTile = 32;  // rows or keys per thread block
template <typename T>
void attend_general(const ForwardArguments<T>& arguments, int64_t row_tiles, cudaStream_t stream);
template <typename T>
void differentiate_general(const BackwardArguments<T>& arguments, int64_t row_tiles, cudaStream_t stream);

}  // namespace insight::attention
