// Launch parameters of the global-to-local attention CUDA kernels: plain functions, tested on the CPU
// (tests/ops/test_global_to_local_attention_launch.py).
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/host_device.h"

namespace insight::attention {

INSIGHT_HOST_DEVICE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The smallest head dimension >= d that a tensor-core kernel is compiled for, or 0 if there is none: 16-byte copies
// need a multiple of 8, and registers suffice up to 128.
inline int tensor_core_head_dim(int64_t d) {
  if (d % 8 != 0 || d > 128) return 0;
  return d <= 16 ? 16 : d <= 32 ? 32 : d <= 64 ? 64 : 128;
}

// Warps per thread block of the tensor-core kernels, and fragments of 16 rows per warp: two halve the reads of the
// other operand, and fit in registers up to 64 channels.
constexpr int kTensorCoreWarps = 4;
constexpr int fragments_per_warp(int padded_d) { return padded_d <= 64 ? 2 : 1; }
// Rows per thread block; keys, in the pass over keys.
constexpr int tensor_core_tile(int padded_d) { return kTensorCoreWarps * 16 * fragments_per_warp(padded_d); }
// Rows in shared memory at a time, in the pass over keys: two tensors, double-buffered, must fit in 48 KiB.
constexpr int tensor_core_key_pass_rows(int padded_d) { return padded_d <= 64 ? 64 : 32; }

// Rows are sorted by image, and a tile never spans two images. The number of tiles is known only on the device; this is
// an upper bound: one partly filled tile per image, and one for RoIs with an invalid image index.
inline int64_t most_row_tiles(int64_t num_rois, int64_t tokens, int64_t images, int64_t tile_rows) {
  return num_rois * tokens / tile_rows + std::min(images + 1, num_rois);
}

// The image of a tile: the last b with tile_start[b] <= tile. tile_start has images + 2 ascending entries: the first
// tile of each image, that of the RoIs with an invalid image index (b = images), and the end.
INSIGHT_HOST_DEVICE int image_of_tile(const int* tile_start, int images, int tile) {
  int low = 0;
  int high = images + 1;  // tile_start[high] > tile
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (tile_start[middle] <= tile) {
      low = middle;
    } else {
      high = middle;
    }
  }
  return low;
}

// The number of parts in which the rows of an image are summed for the gradient of its keys: enough thread blocks for
// any GPU, each with at least 4 tiles of rows if the rows are spread evenly over the images.
inline int64_t key_gradient_splits(int64_t rows, int64_t images, int64_t row_tile, int64_t blocks_per_split) {
  constexpr int64_t kBlocks = 1024;
  const int64_t most = rows / (std::max<int64_t>(1, images) * row_tile * 4);
  return std::max<int64_t>(1, std::min(most, kBlocks / std::max<int64_t>(1, blocks_per_split)));
}

// Position, in 16-byte chunks, of chunk `chunk` of row `row` in a tile whose rows have `chunks` chunks (a power of
// two). The same chunk of 8 rows that start at a multiple of 8 falls into 8 different groups of 4 banks, so that
// ldmatrix, which reads 8 rows at a time, has no bank conflicts.
INSIGHT_HOST_DEVICE int swizzled(int row, int chunk, int chunks) {
  const int twist = chunks >= 8 ? row & 7 : (row / (8 / chunks)) & (chunks - 1);
  return row * chunks + (chunk ^ twist);
}

}  // namespace insight::attention
