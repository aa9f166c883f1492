// Global-to-local attention for half types on the tensor cores.
//
// Keys are values, so that one tile in shared memory serves both products: read straight for the scores, transposed
// by ldmatrix for the weighted sum. Scores and weights stay in registers throughout.
//
// The backward pass takes two passes over the scores, one a thread block a tile of rows (gradient of local), one a
// thread block a tile of keys (gradient of global_tokens, key part and value part in one accumulator). Against one
// pass it recomputes two of seven products, and saves the atomic additions, the float32 buffer they need and the
// round trip of the weights through shared memory; and gradients have the same bits every time.
#include <torch/csrc/stable/macros.h>

#include <type_traits>

#include "cuda/global_to_local_attention.cuh"
#include "cuda/mma.cuh"

namespace insight::attention {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kKeyTile = 64;    // keys in shared memory at once, in the passes over rows
constexpr int kScoreKeys = 32;  // keys whose scores are in registers at once, in the forward pass
constexpr float kLog2E = 1.4426950408889634f;
// How far (in powers of two) a score may rise above the maximum in use before sums are rescaled: weights up to 2^8
// lose nothing, even in float16, and most tiles need no exchange of maxima between lanes.
constexpr float kHeadroom = 8.0f;

// 16-row tiles of A that a warp holds: two halve the reads of B, and fit the registers up to 64 channels.
constexpr int tiles_per_warp(int padded_d) { return padded_d <= 64 ? 2 : 1; }
constexpr int owned(int padded_d) { return kWarps * 16 * tiles_per_warp(padded_d); }
// Rows in shared memory at once, in the pass over keys: two tensors in two buffers must fit 48 KiB.
constexpr int key_pass_rows(int padded_d) { return padded_d <= 64 ? 64 : 32; }

// A rectangle (kRows, kD) of 16-bit numbers in shared memory, swizzled.
template <class T, int kRows, int kD>
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

// A fragments of 16 rows, of which this lane holds two (null: zeros), straight from global memory.
template <int kD, class T>
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
template <class T, int kRows, int kD>
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

template <class T>
__device__ __forceinline__ void store_pair(T* to, float low, float high) {
  *reinterpret_cast<uint32_t*>(to) = pack_pair<T>(low, high);
}

template <class T, int kD>
__global__ void __launch_bounds__(kThreads, kD <= 32 ? 4 : 2) attend_kernel(const ForwardArguments<T> a) {
  constexpr int kM = tiles_per_warp(kD);
  constexpr int kSteps = kD / 16;
  constexpr int kColumns = kScoreKeys / 8;
  __shared__ Tile<T, kKeyTile, kD> tiles[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const RowTile rows(a.rows, blockIdx.x, owned(kD));
  if (rows.image < 0) return;
  if (rows.image == size.images) {
    rows.fill_nan(a.out, a.rows, head, size);
    return;
  }
  const T* keys = a.global_tokens + int64_t(rows.image) * size.num_keys * size.channels + head * size.d;
  copy_keys(tiles[0], keys, 0, size);
  copies_commit();

  // This lane's rows: 16 * (kM * warp + m) + lane / 4, and the one 8 below; -1 beyond the tile.
  int row_of[kM][2];
  uint32_t query[kM][kSteps][4];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    const T* row[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int v = rows.first + (warp * kM + m) * 16 + half * 8 + lane / 4;
      row_of[m][half] = v < rows.last ? a.rows.row_of(v) : -1;
      row[half] = v < rows.last ? a.local + int64_t(row_of[m][half]) * size.channels + head * size.d : nullptr;
    }
    load_fragments<kD>(query[m], row[0], row[1], size.d);
  }

  const float scale = rsqrtf(float(size.d)) * kLog2E;
  const float infinity = __int_as_float(0x7f800000);
  float out[kM][kD / 8][4] = {};
  float maximum[kM][2];
  float sum[kM][2] = {};  // of this lane's columns
#pragma unroll
  for (int m = 0; m < kM; ++m) maximum[m][0] = maximum[m][1] = -infinity;

  const int key_tiles = (size.num_keys + kKeyTile - 1) / kKeyTile;
  for (int k = 0; k < key_tiles; ++k) {
    copies_wait();
    __syncthreads();  // this tile is there for all, and no one reads the other any more
    if (k + 1 < key_tiles) copy_keys(tiles[(k + 1) % 2], keys, (k + 1) * kKeyTile, size);
    copies_commit();
    Tile<T, kKeyTile, kD>& tile = tiles[k % 2];

#pragma unroll 1
    for (int first = 0; first < kKeyTile; first += kScoreKeys) {
      float score[kM][kColumns][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
#pragma unroll
        for (int pair = 0; pair < kColumns / 2; ++pair) {
          uint32_t b[4];
          tile.load_as_columns(b, first + pair * 16, step);
#pragma unroll
          for (int m = 0; m < kM; ++m) {
            mma_16816<T>(score[m][2 * pair], query[m][step], b[0], b[1]);
            mma_16816<T>(score[m][2 * pair + 1], query[m][step], b[2], b[3]);
          }
        }
      }
      const int left = size.num_keys - k * kKeyTile - first;
      if (left < kScoreKeys) {
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int column = 0; column < kColumns; ++column) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
              if (column * 8 + 2 * (lane % 4) + i % 2 >= left) score[m][column][i] = -infinity;
            }
          }
        }
      }

      float highest[kM][2];
      bool rises = false;
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          float value = fmaxf(score[m][0][2 * half], score[m][0][2 * half + 1]);
#pragma unroll
          for (int column = 1; column < kColumns; ++column) {
            value = fmaxf(value, fmaxf(score[m][column][2 * half], score[m][column][2 * half + 1]));
          }
          highest[m][half] = value * scale;
          rises |= highest[m][half] > maximum[m][half] + kHeadroom;
        }
      }
      if (__any_sync(0xffffffffu, rises)) {
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float value = fmaxf(highest[m][half], maximum[m][half]);
            value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 1));
            value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, 2));
            const float factor = value == maximum[m][half] ? 1.0f : exp2_approx(maximum[m][half] - value);
            maximum[m][half] = value;
            sum[m][half] *= factor;
#pragma unroll
            for (int column = 0; column < kD / 8; ++column) {
              out[m][column][2 * half] *= factor;
              out[m][column][2 * half + 1] *= factor;
            }
          }
        }
      }

#pragma unroll
      for (int chunk = 0; chunk < kScoreKeys / 16; ++chunk) {
        uint32_t weight[kM][4];
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int half = i % 2;
            const float(&s)[4] = score[m][2 * chunk + i / 2];
            const float low = exp2_approx(fmaf(s[2 * half], scale, -maximum[m][half]));
            const float high = exp2_approx(fmaf(s[2 * half + 1], scale, -maximum[m][half]));
            sum[m][half] += low + high;
            weight[m][i] = pack_pair<T>(low, high);
          }
        }
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
          uint32_t b[4];
          tile.load_as_rows(b, first + chunk * 16, step);
#pragma unroll
          for (int m = 0; m < kM; ++m) {
            mma_16816<T>(out[m][2 * step], weight[m], b[0], b[1]);
            mma_16816<T>(out[m][2 * step + 1], weight[m], b[2], b[3]);
          }
        }
      }
    }
  }

  float* logsumexp = static_cast<float*>(a.logsumexp);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float total = sum[m][half];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const int row = row_of[m][half];
      if (row < 0) continue;
      const float factor = 1.0f / total;
      T* to = a.out + int64_t(row) * size.channels + head * size.d;
#pragma unroll
      for (int column = 0; column < kD / 8; ++column) {
        const int channel = column * 8 + 2 * (lane % 4);
        if (channel < size.d) {
          store_pair(to + channel, out[m][column][2 * half] * factor, out[m][column][2 * half + 1] * factor);
        }
      }
      if (lane % 4 == 0) {
        const int64_t roi = row / size.tokens;
        logsumexp[(roi * size.heads + head) * size.tokens + row % size.tokens] =
            (maximum[m][half] + log2f(total)) / kLog2E;
      }
    }
  }
}

// Gradient of local: a thread block a tile of rows, over all keys.
template <class T, int kD>
__global__ void __launch_bounds__(kThreads) differentiate_rows_kernel(const BackwardArguments<T> a) {
  constexpr int kM = tiles_per_warp(kD);
  constexpr int kSteps = kD / 16;
  __shared__ Tile<T, kKeyTile, kD> tiles[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const RowTile rows(a.rows, blockIdx.x, owned(kD));
  if (rows.image < 0) return;
  if (rows.image == size.images) {
    rows.fill_nan(a.grad_local, a.rows, head, size);
    return;
  }
  const T* keys = a.global_tokens + int64_t(rows.image) * size.num_keys * size.channels + head * size.d;
  copy_keys(tiles[0], keys, 0, size);
  copies_commit();

  uint32_t query[kM][kSteps][4];
  uint32_t grad[kM][kSteps][4];
  RowStatistics<float> statistics[kM][2];
  const auto* all_statistics = static_cast<const RowStatistics<float>*>(a.statistics) +
                               int64_t(head) * size.num_rois * size.tokens;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    int64_t offset[2];
    bool inside[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int v = rows.first + (warp * kM + m) * 16 + half * 8 + lane / 4;
      inside[half] = v < rows.last;
      offset[half] = inside[half] ? int64_t(a.row_of[v]) * size.channels + head * size.d : 0;
      statistics[m][half] = inside[half] ? all_statistics[v] : RowStatistics<float>{0.0f, 0.0f};
    }
    load_fragments<kD>(query[m], inside[0] ? a.local + offset[0] : nullptr,
                       inside[1] ? a.local + offset[1] : nullptr, size.d);
    load_fragments<kD>(grad[m], inside[0] ? a.grad + offset[0] : nullptr, inside[1] ? a.grad + offset[1] : nullptr,
                       size.d);
  }

  const float unit = rsqrtf(float(size.d));
  const float scale = unit * kLog2E;
  float grad_query[kM][kD / 8][4] = {};
  const int key_tiles = (size.num_keys + kKeyTile - 1) / kKeyTile;
  for (int k = 0; k < key_tiles; ++k) {
    copies_wait();
    __syncthreads();
    if (k + 1 < key_tiles) copy_keys(tiles[(k + 1) % 2], keys, (k + 1) * kKeyTile, size);
    copies_commit();
    Tile<T, kKeyTile, kD>& tile = tiles[k % 2];
    const int left = size.num_keys - k * kKeyTile;

#pragma unroll 1
    for (int chunk = 0; chunk < kKeyTile / 16; ++chunk) {
      float score[kM][2][4] = {};
      float grad_weight[kM][2][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t b[4];
        tile.load_as_columns(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(score[m][0], query[m][step], b[0], b[1]);
          mma_16816<T>(score[m][1], query[m][step], b[2], b[3]);
          mma_16816<T>(grad_weight[m][0], grad[m][step], b[0], b[1]);
          mma_16816<T>(grad_weight[m][1], grad[m][step], b[2], b[3]);
        }
      }
      uint32_t grad_score[kM][4];
#pragma unroll
      for (int m = 0; m < kM; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int half = i % 2;
          float value[2];
#pragma unroll
          for (int j = 0; j < 2; ++j) {
            const float weight = exp2_approx(fmaf(score[m][i / 2][2 * half + j], scale, -statistics[m][half].logsumexp));
            value[j] = weight * fmaf(grad_weight[m][i / 2][2 * half + j], unit, -statistics[m][half].delta);
            // Beyond the last key the weight is not 0 but 2^-logsumexp, which may be infinite.
            if (chunk * 16 + i / 2 * 8 + 2 * (lane % 4) + j >= left) value[j] = 0.0f;
          }
          grad_score[m][i] = pack_pair<T>(value[0], value[1]);
        }
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t b[4];
        tile.load_as_rows(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(grad_query[m][2 * step], grad_score[m], b[0], b[1]);
          mma_16816<T>(grad_query[m][2 * step + 1], grad_score[m], b[2], b[3]);
        }
      }
    }
  }

#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int v = rows.first + (warp * kM + m) * 16 + half * 8 + lane / 4;
      if (v >= rows.last) continue;
      T* to = a.grad_local + int64_t(a.row_of[v]) * size.channels + head * size.d;
#pragma unroll
      for (int column = 0; column < kD / 8; ++column) {
        const int channel = column * 8 + 2 * (lane % 4);
        if (channel < size.d) {
          store_pair(to + channel, grad_query[m][column][2 * half], grad_query[m][column][2 * half + 1]);
        }
      }
    }
  }
}

// Rows of the pass over keys, in shared memory.
template <class T, int kRows, int kD>
struct RowBuffer {
  Tile<T, kRows, kD> query;
  Tile<T, kRows, kD> grad;
  RowStatistics<float> statistics[kRows];
};

// Gradient of global_tokens: a thread block a tile of keys, over one part of the rows of the image.
template <class T, int kD>
__global__ void __launch_bounds__(kThreads) differentiate_keys_kernel(const BackwardArguments<T> a) {
  constexpr int kM = tiles_per_warp(kD);
  constexpr int kSteps = kD / 16;
  constexpr int kRows = key_pass_rows(kD);
  constexpr int kChunks = kD / 8;
  constexpr int kCopies = kRows * kChunks / kThreads;  // chunks of each tensor that a thread copies
  constexpr int kRowStride = kThreads / kChunks;       // between the rows of a thread's chunks
  __shared__ RowBuffer<T, kRows, kD> buffers[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const int key_tiles = (size.num_keys + owned(kD) - 1) / owned(kD);
  const int key_tile = blockIdx.x % key_tiles;
  const int split = blockIdx.x / key_tiles % a.splits;
  const int image = blockIdx.x / key_tiles / a.splits;

  const int first_row = a.rows.roi_start[image] * size.tokens;
  const int last_row = a.rows.roi_start[image + 1] * size.tokens;
  const int64_t row_tiles = (last_row - first_row + kRows - 1) / kRows;
  const int first_tile = static_cast<int>(row_tiles * split / a.splits);
  const int last_tile = static_cast<int>(row_tiles * (split + 1) / a.splits);

  const auto* all_statistics = static_cast<const RowStatistics<float>*>(a.statistics) +
                               int64_t(head) * size.num_rois * size.tokens;
  const int copy_chunk = threadIdx.x % kChunks;
  const int copy_row = threadIdx.x / kChunks;
  // Where this thread's chunks of the next tile come from, looked up one tile ahead; -1: zeros.
  int next_rows[kCopies];
  const auto look_up = [&](int tile) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int v = first_row + tile * kRows + copy_row + i * kRowStride;
      next_rows[i] = v < last_row ? a.row_of[v] : -1;
    }
  };
  const auto copy_rows = [&](RowBuffer<T, kRows, kD>& buffer, int tile) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const bool wanted = next_rows[i] >= 0 && copy_chunk * 8 < size.d;
      const int64_t from =
          wanted ? int64_t(next_rows[i]) * size.channels + head * size.d + copy_chunk * 8 : 0;
      copy_async<16>(buffer.query.chunk(copy_row + i * kRowStride, copy_chunk), a.local + from, wanted);
      copy_async<16>(buffer.grad.chunk(copy_row + i * kRowStride, copy_chunk), a.grad + from, wanted);
    }
    if (threadIdx.x < kRows) {
      const int v = first_row + tile * kRows + threadIdx.x;
      copy_async<8>(buffer.statistics + threadIdx.x, all_statistics + (v < last_row ? v : 0), v < last_row);
    }
  };
  if (first_tile < last_tile) {
    look_up(first_tile);
    copy_rows(buffers[0], first_tile);
    look_up(first_tile + 1);
  }
  copies_commit();

  // This lane's keys: 16 * (kM * warp + m) + lane / 4, and the one 8 below.
  const int first_key = key_tile * owned(kD);
  const T* keys = a.global_tokens + int64_t(image) * size.num_keys * size.channels + head * size.d;
  uint32_t key[kM][kSteps][4];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    const T* row[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int g = first_key + (warp * kM + m) * 16 + half * 8 + lane / 4;
      row[half] = g < size.num_keys ? keys + int64_t(g) * size.channels : nullptr;
    }
    load_fragments<kD>(key[m], row[0], row[1], size.d);
  }

  const float unit = rsqrtf(float(size.d));
  const float scale = unit * kLog2E;
  float grad_key[kM][kD / 8][4] = {};
  for (int tile = first_tile; tile < last_tile; ++tile) {
    copies_wait();
    __syncthreads();
    RowBuffer<T, kRows, kD>& buffer = buffers[(tile - first_tile) % 2];
    if (tile + 1 < last_tile) {
      copy_rows(buffers[(tile + 1 - first_tile) % 2], tile + 1);
      look_up(tile + 2);
    }
    copies_commit();

    // Rows of the padding are zero, and so are their statistics: weight 1, gradients 0, nothing is added.
#pragma unroll 1
    for (int chunk = 0; chunk < kRows / 16; ++chunk) {
      float score[kM][2][4] = {};
      float grad_weight[kM][2][4] = {};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t b[4];
        buffer.query.load_as_columns(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(score[m][0], key[m][step], b[0], b[1]);
          mma_16816<T>(score[m][1], key[m][step], b[2], b[3]);
        }
        buffer.grad.load_as_columns(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(grad_weight[m][0], key[m][step], b[0], b[1]);
          mma_16816<T>(grad_weight[m][1], key[m][step], b[2], b[3]);
        }
      }
      uint32_t weight[kM][4];
      uint32_t grad_score[kM][4];
#pragma unroll
      for (int column = 0; column < 2; ++column) {
        // The statistics of this lane's two rows, side by side.
        const float4 statistics =
            *reinterpret_cast<const float4*>(buffer.statistics + chunk * 16 + column * 8 + 2 * (lane % 4));
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float(&s)[4] = score[m][column];
            const float(&g)[4] = grad_weight[m][column];
            const float low = exp2_approx(fmaf(s[2 * half], scale, -statistics.x));
            const float high = exp2_approx(fmaf(s[2 * half + 1], scale, -statistics.z));
            weight[m][2 * column + half] = pack_pair<T>(low, high);
            grad_score[m][2 * column + half] = pack_pair<T>(low * fmaf(g[2 * half], unit, -statistics.y),
                                                            high * fmaf(g[2 * half + 1], unit, -statistics.w));
          }
        }
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t b[4];
        buffer.query.load_as_rows(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(grad_key[m][2 * step], grad_score[m], b[0], b[1]);
          mma_16816<T>(grad_key[m][2 * step + 1], grad_score[m], b[2], b[3]);
        }
        buffer.grad.load_as_rows(b, chunk * 16, step);
#pragma unroll
        for (int m = 0; m < kM; ++m) {
          mma_16816<T>(grad_key[m][2 * step], weight[m], b[0], b[1]);
          mma_16816<T>(grad_key[m][2 * step + 1], weight[m], b[2], b[3]);
        }
      }
    }
  }

  float* sums = static_cast<float*>(a.partial_sums) +
                (int64_t(split) * size.images + image) * size.num_keys * size.channels + head * size.d;
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int g = first_key + (warp * kM + m) * 16 + half * 8 + lane / 4;
      if (g >= size.num_keys) continue;
#pragma unroll
      for (int column = 0; column < kD / 8; ++column) {
        const int channel = column * 8 + 2 * (lane % 4);
        if (channel < size.d) {
          *reinterpret_cast<float2*>(sums + int64_t(g) * size.channels + channel) =
              make_float2(grad_key[m][column][2 * half], grad_key[m][column][2 * half + 1]);
        }
      }
    }
  }
}

// Calls f with padded_d as a constant.
template <class F>
void with_head_dim(int padded_d, const F& f) {
  switch (padded_d) {
    case 16: return f(std::integral_constant<int, 16>());
    case 32: return f(std::integral_constant<int, 32>());
    case 64: return f(std::integral_constant<int, 64>());
    default: return f(std::integral_constant<int, 128>());
  }
}

}  // namespace

int tensor_core_row_tile(int padded_d) { return owned(padded_d); }
int tensor_core_key_tile(int padded_d) { return owned(padded_d); }
int tensor_core_key_pass_rows(int padded_d) { return key_pass_rows(padded_d); }

template <class T>
void attend_tensor_cores(const ForwardArguments<T>& arguments, int padded_d, int64_t row_tiles, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(row_tiles), arguments.size.heads);
  with_head_dim(padded_d, [&](auto d) { attend_kernel<T, d.value><<<grid, kThreads, 0, stream>>>(arguments); });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <class T>
void differentiate_tensor_cores(
    const BackwardArguments<T>& arguments, int padded_d, int64_t row_tiles, cudaStream_t stream) {
  const Sizes& size = arguments.size;
  const dim3 row_grid(static_cast<unsigned>(row_tiles), size.heads);
  const int64_t key_blocks = ceil_div(size.num_keys, owned(padded_d)) * arguments.splits * size.images;
  const dim3 key_grid(static_cast<unsigned>(key_blocks), size.heads);
  with_head_dim(padded_d, [&](auto d) {
    if (row_tiles > 0) differentiate_rows_kernel<T, d.value><<<row_grid, kThreads, 0, stream>>>(arguments);
    differentiate_keys_kernel<T, d.value><<<key_grid, kThreads, 0, stream>>>(arguments);
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template void attend_tensor_cores<__half>(const ForwardArguments<__half>&, int, int64_t, cudaStream_t);
template void attend_tensor_cores<__nv_bfloat16>(const ForwardArguments<__nv_bfloat16>&, int, int64_t, cudaStream_t);
template void differentiate_tensor_cores<__half>(const BackwardArguments<__half>&, int, int64_t, cudaStream_t);
template void differentiate_tensor_cores<__nv_bfloat16>(
    const BackwardArguments<__nv_bfloat16>&, int, int64_t, cudaStream_t);

}  // namespace insight::attention
