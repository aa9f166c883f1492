// Backward pass of global-to-local attention on tensor cores.
//
// There are two passes over the scores: one with a thread block per tile of rows (gradient of local), one with a thread
// block per tile of keys (gradient of global_tokens, with the key part and the value part in one accumulator). Compared
// with a single pass, two of seven products are computed twice; in return there are no atomic additions, no float32
// buffer for them and no round trip of the weights through shared memory, and gradients are deterministic.
#include "cuda/global_to_local_attention_tensor_core.cuh"

namespace insight::attention {
namespace {

// Gradient of local: one thread block per tile of rows, over all keys.
template <typename T, int kD>
__global__ void __launch_bounds__(kThreads) differentiate_rows_kernel(const BackwardArguments<T> a) {
  constexpr int kM = fragments_per_warp(kD);
  constexpr int kSteps = kD / 16;
  __shared__ Tile<T, kKeyTile, kD> tiles[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const RowTile rows(a.rows, blockIdx.x, tensor_core_tile(kD));
  if (!rows.has_keys(a.grad_local, a.rows, head, size)) return;
  const T* keys = keys_of(a.global_tokens, rows.image, head, size);
  copy_keys(tiles[0], keys, 0, size);
  copies_commit();

  uint32_t query[kM][kSteps][4];
  uint32_t grad[kM][kSteps][4];
  RowStatistics<float> statistics[kM][2];
  const auto* all_statistics = statistics_of<float>(a, head);
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
    load_fragments<kD>(query[m], inside[0] ? a.local + offset[0] : nullptr, inside[1] ? a.local + offset[1] : nullptr,
                       size.d);
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
            const float weight =
                exp2_approx(fmaf(score[m][i / 2][2 * half + j], scale, -statistics[m][half].logsumexp));
            value[j] = weight * fmaf(grad_weight[m][i / 2][2 * half + j], unit, -statistics[m][half].delta);
            // Beyond the last key the weight is not 0 but 2^-logsumexp, which may be infinite.
            if (chunk * 16 + i / 2 * 8 + 2 * (lane % 4) + j >= left) value[j] = 0.0f;
          }
          grad_score[m][i] = pack_pair<T>(value[0], value[1]);
        }
      }
#pragma unroll
      for (int step = 0; step < kSteps; ++step) add_weighted(grad_query, grad_score, tile, chunk * 16, step);
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
template <typename T, int kRows, int kD>
struct RowBuffer {
  Tile<T, kRows, kD> query;
  Tile<T, kRows, kD> grad;
  RowStatistics<float> statistics[kRows];
};

// Gradient of global_tokens: one thread block per tile of keys, over one part of the rows of the image.
template <typename T, int kD>
__global__ void __launch_bounds__(kThreads) differentiate_keys_kernel(const BackwardArguments<T> a) {
  constexpr int kM = fragments_per_warp(kD);
  constexpr int kSteps = kD / 16;
  constexpr int kRows = tensor_core_key_pass_rows(kD);
  constexpr int kChunks = kD / 8;
  constexpr int kCopies = kRows * kChunks / kThreads;  // chunks of each tensor that a thread copies
  constexpr int kRowStride = kThreads / kChunks;       // between the rows of a thread's chunks
  __shared__ RowBuffer<T, kRows, kD> buffers[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const KeyTile part(a, tensor_core_tile(kD), kRows);
  const auto* all_statistics = statistics_of<float>(a, head);
  const int copy_chunk = threadIdx.x % kChunks;
  const int copy_row = threadIdx.x / kChunks;
  // Source rows of this thread's chunks of the next tile, looked up one tile ahead; -1: zeros.
  int next_rows[kCopies];
  const auto look_up = [&](int tile) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const int v = part.first_row + tile * kRows + copy_row + i * kRowStride;
      next_rows[i] = v < part.last_row ? a.row_of[v] : -1;
    }
  };
  const auto copy_rows = [&](RowBuffer<T, kRows, kD>& buffer, int tile) {
#pragma unroll
    for (int i = 0; i < kCopies; ++i) {
      const bool wanted = next_rows[i] >= 0 && copy_chunk * 8 < size.d;
      const int64_t from = wanted ? int64_t(next_rows[i]) * size.channels + head * size.d + copy_chunk * 8 : 0;
      copy_async<16>(buffer.query.chunk(copy_row + i * kRowStride, copy_chunk), a.local + from, wanted);
      copy_async<16>(buffer.grad.chunk(copy_row + i * kRowStride, copy_chunk), a.grad + from, wanted);
    }
    if (threadIdx.x < kRows) {
      const int v = part.first_row + tile * kRows + threadIdx.x;
      copy_async<8>(buffer.statistics + threadIdx.x, all_statistics + (v < part.last_row ? v : 0), v < part.last_row);
    }
  };
  if (part.first_tile < part.last_tile) {
    look_up(part.first_tile);
    copy_rows(buffers[0], part.first_tile);
    look_up(part.first_tile + 1);
  }
  copies_commit();

  // This lane's keys: 16 * (kM * warp + m) + lane / 4, and the one 8 below.
  const T* keys = keys_of(a.global_tokens, part.image, head, size);
  uint32_t key[kM][kSteps][4];
#pragma unroll
  for (int m = 0; m < kM; ++m) {
    const T* row[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int g = part.first_key + (warp * kM + m) * 16 + half * 8 + lane / 4;
      row[half] = g < size.num_keys ? keys + int64_t(g) * size.channels : nullptr;
    }
    load_fragments<kD>(key[m], row[0], row[1], size.d);
  }

  const float unit = rsqrtf(float(size.d));
  const float scale = unit * kLog2E;
  float grad_key[kM][kD / 8][4] = {};
  for (int tile = part.first_tile; tile < part.last_tile; ++tile) {
    copies_wait();
    __syncthreads();
    RowBuffer<T, kRows, kD>& buffer = buffers[(tile - part.first_tile) % 2];
    if (tile + 1 < part.last_tile) {
      copy_rows(buffers[(tile + 1 - part.first_tile) % 2], tile + 1);
      look_up(tile + 2);
    }
    copies_commit();

    // Padding rows and their statistics are zero: weight 1, gradients 0, so they add nothing.
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
        // The statistics of this lane's two rows, which are adjacent.
        const float4 statistics =
            *reinterpret_cast<const float4*>(buffer.statistics + chunk * 16 + column * 8 + 2 * (lane % 4));
#pragma unroll
        for (int m = 0; m < kM; ++m) {
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const float (&s)[4] = score[m][column];
            const float (&g)[4] = grad_weight[m][column];
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
        add_weighted(grad_key, grad_score, buffer.query, chunk * 16, step);
        add_weighted(grad_key, weight, buffer.grad, chunk * 16, step);
      }
    }
  }

  float* sums = part.sums<float>(a, head);
#pragma unroll
  for (int m = 0; m < kM; ++m) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int g = part.first_key + (warp * kM + m) * 16 + half * 8 + lane / 4;
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

}  // namespace

template <typename T>
void differentiate_tensor_cores(const BackwardArguments<T>& arguments, int padded_d, int64_t row_tiles,
                                cudaStream_t stream) {
  const dim3 rows = row_grid(arguments.size, row_tiles);
  const dim3 keys = key_grid(arguments.size, arguments.splits, tensor_core_tile(padded_d));
  with_head_dim(padded_d, [&](auto d) {
    if (row_tiles > 0) differentiate_rows_kernel<T, d.value><<<rows, kThreads, 0, stream>>>(arguments);
    differentiate_keys_kernel<T, d.value><<<keys, kThreads, 0, stream>>>(arguments);
  });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template void differentiate_tensor_cores<__half>(const BackwardArguments<__half>&, int, int64_t, cudaStream_t);
template void differentiate_tensor_cores<__nv_bfloat16>(const BackwardArguments<__nv_bfloat16>&, int, int64_t,
                                                        cudaStream_t);

}  // namespace insight::attention
