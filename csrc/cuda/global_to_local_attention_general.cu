// Global-to-local attention for any dtype and head dimension, without tensor cores, in full float32 (no TF32) or
// float64. The structure is that of the tensor-core kernels, with three differences: a warp owns 8 tokens, each lane
// holds one score, and channels are processed in chunks, so that a head may have any number of channels.
#include <torch/csrc/stable/macros.h>

#include "cuda/global_to_local_attention.cuh"

namespace insight::attention {
namespace {

constexpr int kWarps = 4;
constexpr int kThreads = 32 * kWarps;
constexpr int kOwned = kGeneralTile / kWarps;  // tokens of a warp
constexpr int kChunk = 32;                     // channels in shared memory at once
constexpr int kChunks = 4;          // chunks written by one thread block; the others are spread over the grid's z
constexpr int kPitch = kChunk + 4;  // 16-byte reads of 8 rows in a column have no bank conflicts

// 32 tokens by one chunk of channels.
template <typename S>
struct alignas(16) Chunk {
  S data[kGeneralTile][kPitch];
};

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }

// Loads channels from `first` on of 32 tokens; token(i) is the first channel of the i-th, null for zeros.
template <typename S, typename Token>
__device__ __forceinline__ void load_chunk(Chunk<S>& chunk, const Token& token, int first, int d) {
  const int channel = first + threadIdx.x % 32;
  for (int i = threadIdx.x / 32; i < kGeneralTile; i += kWarps) {
    const auto* from = token(i);
    chunk.data[i][threadIdx.x % 32] = from && channel < d ? convert<S>(from[channel]) : S(0);
  }
}

// sums[i] += over the chunk: this warp's i-th token times the token of this lane.
template <typename S>
__device__ __forceinline__ void add_dot(S (&sums)[kOwned], const Chunk<S>& own, const Chunk<S>& other) {
  const S(*rows)[kPitch] = own.data + threadIdx.x / 32 * kOwned;
  const S* row = other.data[threadIdx.x % 32];
#pragma unroll 2
  for (int c = 0; c < kChunk; c += 4) {
    S value[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) value[k] = row[c + k];
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
#pragma unroll
      for (int k = 0; k < 4; ++k) sums[i] += rows[i][c + k] * value[k];
    }
  }
}

// sums[i] += over the 32 tokens: weight of this warp's i-th token for each, times its channel of this lane.
template <typename S>
__device__ __forceinline__ void add_weighted(S (&sums)[kOwned], const Chunk<S>& weights, const Chunk<S>& tokens) {
  const S(*rows)[kPitch] = weights.data + threadIdx.x / 32 * kOwned;
  const int lane = threadIdx.x % 32;
#pragma unroll 2
  for (int j = 0; j < kGeneralTile; j += 4) {
    S value[4];
#pragma unroll
    for (int k = 0; k < 4; ++k) value[k] = tokens.data[j + k][lane];
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
#pragma unroll
      for (int k = 0; k < 4; ++k) sums[i] += rows[i][j + k] * value[k];
    }
  }
}

// The same, after loading the tokens' channels from `first` on into the buffer.
template <typename S, typename Token>
__device__ __forceinline__ void load_and_add(S (&sums)[kOwned], const Chunk<S>& weights, Chunk<S>& buffer,
                                             const Token& token, int first, int d) {
  __syncthreads();
  load_chunk(buffer, token, first, d);
  __syncthreads();
  add_weighted(sums, weights, buffer);
}

template <typename S>
__device__ __forceinline__ void store_weights(Chunk<S>& chunk, const S (&values)[kOwned]) {
#pragma unroll
  for (int i = 0; i < kOwned; ++i) chunk.data[threadIdx.x / 32 * kOwned + i][threadIdx.x % 32] = values[i];
}

template <typename S>
__device__ __forceinline__ S warp_max(S value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, step));
  return value;
}

template <typename S>
__device__ __forceinline__ S warp_sum(S value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
  return value;
}

// Writes the channels of this thread block, sums[chunk][i], to token(i) of this warp.
template <typename T, typename S, typename Token>
__device__ __forceinline__ void store_channels(const S (&sums)[kChunks][kOwned], const Token& token, int first_chunk,
                                               int d) {
#pragma unroll
  for (int chunk = 0; chunk < kChunks; ++chunk) {
    const int channel = (first_chunk + chunk) * kChunk + threadIdx.x % 32;
    if (channel >= d) break;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      T* to = token(threadIdx.x / 32 * kOwned + i);
      if (to) to[channel] = convert<T>(sums[chunk][i]);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) attend_general_kernel(const ForwardArguments<T> a) {
  using S = Compute<T>;
  __shared__ Chunk<S> own;
  __shared__ Chunk<S> other;
  __shared__ Chunk<S> weights;
  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int first_chunk = blockIdx.z * kChunks;
  const int chunks = (size.d + kChunk - 1) / kChunk;
  const RowTile rows(a.rows, blockIdx.x, kGeneralTile);
  if (!rows.has_keys(a.out, a.rows, head, size, first_chunk)) return;
  const T* keys = keys_of(a.global_tokens, rows.image, head, size);
  const auto offset = [&](int i) { return int64_t(a.rows.row_of(rows.first + i)) * size.channels + head * size.d; };
  const auto query = [&](int i) -> const T* { return rows.first + i < rows.last ? a.local + offset(i) : nullptr; };

  const S scale = rsqrt(S(size.d));
  const S infinity = S(__int_as_float(0x7f800000));
  S maximum[kOwned];
  S sum[kOwned] = {};
  S out[kChunks][kOwned] = {};
#pragma unroll
  for (int i = 0; i < kOwned; ++i) maximum[i] = -infinity;
  for (int first = 0; first < size.num_keys; first += kGeneralTile) {
    const auto key = [&](int i) -> const T* {
      return first + i < size.num_keys ? keys + int64_t(first + i) * size.channels : nullptr;
    };
    S score[kOwned] = {};
    for (int chunk = 0; chunk < chunks; ++chunk) {
      __syncthreads();
      load_chunk(own, query, chunk * kChunk, size.d);
      load_chunk(other, key, chunk * kChunk, size.d);
      __syncthreads();
      add_dot(score, own, other);
    }
    const bool inside = first + static_cast<int>(threadIdx.x % 32) < size.num_keys;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      const S value = inside ? score[i] * scale : -infinity;
      const S raised = max(maximum[i], warp_max(value));
      const S factor = raised == maximum[i] ? S(1) : exponential(maximum[i] - raised);
      maximum[i] = raised;
      score[i] = exponential(value - raised);
      sum[i] = sum[i] * factor + score[i];
#pragma unroll
      for (int chunk = 0; chunk < kChunks; ++chunk) out[chunk][i] *= factor;
    }
    store_weights(weights, score);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      if (first_chunk + chunk >= chunks) break;
      load_and_add(out[chunk], weights, other, key, (first_chunk + chunk) * kChunk, size.d);
    }
  }

  S* logsumexp = static_cast<S*>(a.logsumexp);
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    const S total = warp_sum(sum[i]);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) out[chunk][i] /= total;
    const int v = rows.first + threadIdx.x / 32 * kOwned + i;
    if (first_chunk == 0 && threadIdx.x % 32 == 0 && v < rows.last) {
      const int row = a.rows.row_of(v);
      logsumexp[size.statistic_of(row, head)] = maximum[i] + log(total);
    }
  }
  const auto result = [&](int i) -> T* { return rows.first + i < rows.last ? a.out + offset(i) : nullptr; };
  store_channels<T>(out, result, first_chunk, size.d);
}

// The weight 2^(score * log2(e) - base-2 logsumexp), computed with natural exponentials.
template <typename S>
__device__ __forceinline__ S weight_of(S score, S unit, const RowStatistics<S>& statistics) {
  return exponential(score * unit - statistics.logsumexp * S(0.693147180559945309));
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) differentiate_rows_general_kernel(const BackwardArguments<T> a) {
  using S = Compute<T>;
  __shared__ Chunk<S> own_query;
  __shared__ Chunk<S> own_grad;
  __shared__ Chunk<S> other;
  __shared__ Chunk<S> weights;
  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int first_chunk = blockIdx.z * kChunks;
  const int chunks = (size.d + kChunk - 1) / kChunk;
  const RowTile rows(a.rows, blockIdx.x, kGeneralTile);
  if (!rows.has_keys(a.grad_local, a.rows, head, size, first_chunk)) return;
  const T* keys = keys_of(a.global_tokens, rows.image, head, size);
  const auto offset = [&](int i) { return int64_t(a.row_of[rows.first + i]) * size.channels + head * size.d; };
  const auto query = [&](int i) -> const T* { return rows.first + i < rows.last ? a.local + offset(i) : nullptr; };
  const auto grad = [&](int i) -> const T* { return rows.first + i < rows.last ? a.grad + offset(i) : nullptr; };

  const S unit = rsqrt(S(size.d));
  RowStatistics<S> statistics[kOwned];
  const auto* all_statistics = statistics_of<S>(a, head);
#pragma unroll
  for (int i = 0; i < kOwned; ++i) {
    const int v = rows.first + threadIdx.x / 32 * kOwned + i;
    statistics[i] = v < rows.last ? all_statistics[v] : RowStatistics<S>{S(0), S(0)};
  }
  S grad_query[kChunks][kOwned] = {};
  for (int first = 0; first < size.num_keys; first += kGeneralTile) {
    const auto key = [&](int i) -> const T* {
      return first + i < size.num_keys ? keys + int64_t(first + i) * size.channels : nullptr;
    };
    S score[kOwned] = {};
    S grad_weight[kOwned] = {};
    for (int chunk = 0; chunk < chunks; ++chunk) {
      __syncthreads();
      load_chunk(own_query, query, chunk * kChunk, size.d);
      load_chunk(own_grad, grad, chunk * kChunk, size.d);
      load_chunk(other, key, chunk * kChunk, size.d);
      __syncthreads();
      add_dot(score, own_query, other);
      add_dot(grad_weight, own_grad, other);
    }
    const bool inside = first + static_cast<int>(threadIdx.x % 32) < size.num_keys;
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      const S weight = weight_of(score[i], unit, statistics[i]);
      score[i] = inside ? weight * (grad_weight[i] * unit - statistics[i].delta) : S(0);
    }
    store_weights(weights, score);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      if (first_chunk + chunk >= chunks) break;
      load_and_add(grad_query[chunk], weights, other, key, (first_chunk + chunk) * kChunk, size.d);
    }
  }
  const auto result = [&](int i) -> T* { return rows.first + i < rows.last ? a.grad_local + offset(i) : nullptr; };
  store_channels<T>(grad_query, result, first_chunk, size.d);
}

template <typename T>
__global__ void __launch_bounds__(kThreads, 2) differentiate_keys_general_kernel(const BackwardArguments<T> a) {
  using S = Compute<T>;
  __shared__ Chunk<S> own;
  __shared__ Chunk<S> other;
  __shared__ Chunk<S> weights;
  __shared__ Chunk<S> grad_scores;
  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int first_chunk = blockIdx.z * kChunks;
  const int chunks = (size.d + kChunk - 1) / kChunk;
  const KeyTile part(a, kGeneralTile, kGeneralTile);
  const T* keys = keys_of(a.global_tokens, part.image, head, size);
  const auto key = [&](int i) -> const T* {
    return part.first_key + i < size.num_keys ? keys + int64_t(part.first_key + i) * size.channels : nullptr;
  };
  const S unit = rsqrt(S(size.d));
  const auto* all_statistics = statistics_of<S>(a, head);
  S grad_key[kChunks][kOwned] = {};
  for (int tile = part.first_tile; tile < part.last_tile; ++tile) {
    const int first = part.first_row + tile * kGeneralTile;
    const auto offset = [&](int i) { return int64_t(a.row_of[first + i]) * size.channels + head * size.d; };
    const auto query = [&](int i) -> const T* { return first + i < part.last_row ? a.local + offset(i) : nullptr; };
    const auto grad = [&](int i) -> const T* { return first + i < part.last_row ? a.grad + offset(i) : nullptr; };
    S score[kOwned] = {};
    S grad_weight[kOwned] = {};
    for (int chunk = 0; chunk < chunks; ++chunk) {
      __syncthreads();
      load_chunk(own, key, chunk * kChunk, size.d);
      load_chunk(other, query, chunk * kChunk, size.d);
      __syncthreads();
      add_dot(score, own, other);
      __syncthreads();
      load_chunk(other, grad, chunk * kChunk, size.d);
      __syncthreads();
      add_dot(grad_weight, own, other);
    }
    const int v = first + threadIdx.x % 32;
    const bool inside = v < part.last_row;
    const RowStatistics<S> statistics = inside ? all_statistics[v] : RowStatistics<S>{S(0), S(0)};
#pragma unroll
    for (int i = 0; i < kOwned; ++i) {
      const S weight = inside ? weight_of(score[i], unit, statistics) : S(0);
      score[i] = weight;
      grad_weight[i] = weight * (grad_weight[i] * unit - statistics.delta);
    }
    store_weights(weights, score);
    store_weights(grad_scores, grad_weight);
#pragma unroll
    for (int chunk = 0; chunk < kChunks; ++chunk) {
      if (first_chunk + chunk >= chunks) break;
      load_and_add(grad_key[chunk], grad_scores, other, query, (first_chunk + chunk) * kChunk, size.d);
      load_and_add(grad_key[chunk], weights, other, grad, (first_chunk + chunk) * kChunk, size.d);
    }
  }
  S* sums = part.sums<S>(a, head);
  const auto result = [&](int i) -> S* {
    return part.first_key + i < size.num_keys ? sums + int64_t(part.first_key + i) * size.channels : nullptr;
  };
  store_channels<S>(grad_key, result, first_chunk, size.d);
}

unsigned channel_blocks(int d) { return static_cast<unsigned>(ceil_div(d, kChunk * kChunks)); }

}  // namespace

template <typename T>
void attend_general(const ForwardArguments<T>& arguments, int64_t row_tiles, cudaStream_t stream) {
  const dim3 grid = row_grid(arguments.size, row_tiles, channel_blocks(arguments.size.d));
  attend_general_kernel<T><<<grid, kThreads, 0, stream>>>(arguments);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template <typename T>
void differentiate_general(const BackwardArguments<T>& arguments, int64_t row_tiles, cudaStream_t stream) {
  const Sizes& size = arguments.size;
  if (row_tiles > 0) {
    const dim3 grid = row_grid(size, row_tiles, channel_blocks(size.d));
    differentiate_rows_general_kernel<T><<<grid, kThreads, 0, stream>>>(arguments);
    STD_CUDA_KERNEL_LAUNCH_CHECK();
  }
  const dim3 grid = key_grid(size, arguments.splits, kGeneralTile, channel_blocks(size.d));
  differentiate_keys_general_kernel<T><<<grid, kThreads, 0, stream>>>(arguments);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

#define INSIGHT_INSTANTIATE(T)                                                        \
  template void attend_general<T>(const ForwardArguments<T>&, int64_t, cudaStream_t); \
  template void differentiate_general<T>(const BackwardArguments<T>&, int64_t, cudaStream_t);
INSIGHT_INSTANTIATE(float)
INSIGHT_INSTANTIATE(double)
INSIGHT_INSTANTIATE(__half)
INSIGHT_INSTANTIATE(__nv_bfloat16)

}  // namespace insight::attention
