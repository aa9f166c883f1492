// Forward pass of global-to-local attention on tensor cores: one thread block per tile of rows, over all keys.
#include "cuda/global_to_local_attention_tensor_core.cuh"

namespace insight::attention {
namespace {

constexpr int kScoreKeys = 32;  // keys whose scores are in registers at once
// How far (in powers of two) a score may exceed the current maximum before sums are rescaled: weights up to 2^8 lose no
// precision, even in float16, and most tiles need no exchange of maxima between lanes.
constexpr float kHeadroom = 8.0f;

template <typename T, int kD>
__global__ void __launch_bounds__(kThreads, kD <= 32 ? 4 : 2) attend_kernel(const ForwardArguments<T> a) {
  constexpr int kM = fragments_per_warp(kD);
  constexpr int kSteps = kD / 16;
  constexpr int kColumns = kScoreKeys / 8;
  __shared__ Tile<T, kKeyTile, kD> tiles[2];

  const Sizes& size = a.size;
  const int head = blockIdx.y;
  const int lane = threadIdx.x % 32;
  const int warp = threadIdx.x / 32;
  const RowTile rows(a.rows, blockIdx.x, tensor_core_tile(kD));
  if (!rows.has_keys(a.out, a.rows, head, size)) return;
  const T* keys = keys_of(a.global_tokens, rows.image, head, size);
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
    __syncthreads();  // this tile has arrived, and no thread still reads the other one
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
            const float (&s)[4] = score[m][2 * chunk + i / 2];
            const float low = exp2_approx(fmaf(s[2 * half], scale, -maximum[m][half]));
            const float high = exp2_approx(fmaf(s[2 * half + 1], scale, -maximum[m][half]));
            sum[m][half] += low + high;
            weight[m][i] = pack_pair<T>(low, high);
          }
        }
#pragma unroll
        for (int step = 0; step < kSteps; ++step) add_weighted(out, weight, tile, first + chunk * 16, step);
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
        logsumexp[size.statistic_of(row, head)] = (maximum[m][half] + log2f(total)) / kLog2E;
      }
    }
  }
}

}  // namespace

template <typename T>
void attend_tensor_cores(const ForwardArguments<T>& arguments, int padded_d, int64_t row_tiles, cudaStream_t stream) {
  const dim3 grid = row_grid(arguments.size, row_tiles);
  with_head_dim(padded_d, [&](auto d) { attend_kernel<T, d.value><<<grid, kThreads, 0, stream>>>(arguments); });
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

template void attend_tensor_cores<__half>(const ForwardArguments<__half>&, int, int64_t, cudaStream_t);
template void attend_tensor_cores<__nv_bfloat16>(const ForwardArguments<__nv_bfloat16>&, int, int64_t, cudaStream_t);

}  // namespace insight::attention
