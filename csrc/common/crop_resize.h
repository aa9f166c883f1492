// The problem that a call of crop_resize solves, on any device, and its tiling on a GPU.
#pragma once

#include <cstdint>

namespace insight::crop_resize {

struct Geometry {
  const float* boxes;          // (N, 4)
  const int64_t* image_index;  // (N,), each in [0, batch)
  int64_t num_boxes, batch, channels;
  int64_t image_height, image_width;
  int64_t height, width;  // of an output
  bool antialias;
};

struct Forward {
  Geometry geometry;
  const void* images;
  int64_t stride_batch, stride_channel, stride_row, stride_column;  // in elements
  void* out;                                                        // (N, C, height, width), contiguous
  const float* mean;                                                // (C,) or null
  const float* std;                                                 // (C,) or null
  double pad_value;
};

// A thread block computes a tile of rows x columns of an output, in all channels.
constexpr int kMaxTileRows = 64;
constexpr int kMaxTileColumns = 256;

struct TilePlan {
  int rows, columns;
  int64_t column_tiles;  // side by side
  int64_t tiles;         // of one output
};

// wanted_blocks: the number of thread blocks that fills the GPU; tiles shrink, down to one row, to reach it.
inline TilePlan plan_tiles(const Geometry& g, int64_t wanted_blocks) {
  constexpr int64_t kValues = 8192;  // of a tile: enough to pay for its weights, few enough for many tiles
  TilePlan plan;
  plan.columns = static_cast<int>(g.width < kMaxTileColumns ? g.width : kMaxTileColumns);
  plan.column_tiles = (g.width + plan.columns - 1) / plan.columns;
  int64_t rows = kValues / (plan.columns * (g.channels > 0 ? g.channels : 1));
  const int64_t strips = g.num_boxes * plan.column_tiles;
  const int64_t wanted_row_tiles = strips > 0 ? (wanted_blocks + strips - 1) / strips : 1;
  const int64_t rows_for_all = (g.height + wanted_row_tiles - 1) / (wanted_row_tiles > 0 ? wanted_row_tiles : 1);
  rows = rows < rows_for_all ? rows : rows_for_all;
  rows = rows < g.height ? rows : g.height;
  rows = rows < kMaxTileRows ? rows : kMaxTileRows;
  plan.rows = static_cast<int>(rows > 1 ? rows : 1);
  plan.tiles = (g.height + plan.rows - 1) / plan.rows * plan.column_tiles;
  return plan;
}

}  // namespace insight::crop_resize
