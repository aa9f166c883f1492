// Launch maths of the CUDA kernels of global-to-local attention: plain functions, tested on the CPU
// (tests/ops/test_global_to_local_attention_launch.py).
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/host_device.h"

namespace insight::attention {

INSIGHT_HOST_DEVICE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The head dimension that a tensor-core kernel was compiled for and that holds d, or 0: 16-byte copies want a
// multiple of 8, registers end at 128.
inline int tensor_core_head_dim(int64_t d) {
  if (d % 8 != 0 || d > 128) return 0;
  return d <= 16 ? 16 : d <= 32 ? 32 : d <= 64 ? 64 : 128;
}

// Warps of a thread block of the tensor-core kernels, and how many fragments of 16 rows each of them holds: two halve
// the reads of what they are multiplied with, and fit the registers up to 64 channels.
constexpr int kTensorCoreWarps = 4;
constexpr int fragments_per_warp(int padded_d) { return padded_d <= 64 ? 2 : 1; }
// Rows of a thread block; in the pass over keys, keys.
constexpr int tensor_core_tile(int padded_d) { return kTensorCoreWarps * 16 * fragments_per_warp(padded_d); }
// Rows in shared memory at once, in the pass over keys: two tensors in two buffers must fit 48 KiB.
constexpr int tensor_core_key_pass_rows(int padded_d) { return padded_d <= 64 ? 64 : 32; }

// Rows lie sorted by image, and a tile never spans two images. How many tiles that makes is known on the device
// only; this bounds it: at most one partly filled tile for each image (and one for the RoIs of no valid image).
inline int64_t most_row_tiles(int64_t num_rois, int64_t tokens, int64_t images, int64_t tile_rows) {
  return num_rois * tokens / tile_rows + std::min(images + 1, num_rois);
}

// The image of a tile: the last b with tile_start[b] <= tile, where tile_start has images + 2 entries, ascending:
// the first tile of each image, that of the RoIs of no valid image (b = images), and the end.
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

// In how many parts the rows of an image are summed for the gradient of its keys: enough thread blocks for any GPU,
// none with fewer than 4 tiles of rows, if the rows are spread evenly over the images.
inline int64_t key_gradient_splits(int64_t rows, int64_t images, int64_t row_tile, int64_t blocks_per_split) {
  constexpr int64_t kBlocks = 1024;
  const int64_t most = rows / (std::max<int64_t>(1, images) * row_tile * 4);
  return std::max<int64_t>(1, std::min(most, kBlocks / std::max<int64_t>(1, blocks_per_split)));
}

// Where the 16-byte chunk `chunk` of row `row` lies in a tile of rows of `chunks` chunks (a power of two), in chunks.
// The same chunk of any 8 rows that begin at a multiple of 8 lies in 8 different groups of 4 banks, so that ldmatrix,
// which reads 8 rows at once, meets no conflict.
INSIGHT_HOST_DEVICE int swizzled(int row, int chunk, int chunks) {
  const int twist = chunks >= 8 ? row & 7 : (row / (8 / chunks)) & (chunks - 1);
  return row * chunks + (chunk ^ twist);
}

}  // namespace insight::attention
