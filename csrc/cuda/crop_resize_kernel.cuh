// CUDA kernels of crop_resize.
#pragma once

#include "common/bilinear.h"
#include "common/crop_resize.h"

namespace insight::crop_resize {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kWarps = kThreads / kWarp;
constexpr int kWindow = 4 * kWarp;  // image columns that a warp holds at a time
constexpr int kChannels = 64;       // channels whose normalisation a block holds at a time
constexpr int kBlocks = 3;          // minimum per multiprocessor; leaves 80 registers per thread

// The pixel pair that a bilinear output reads along one axis; a pixel of weight 0 is not read.
template <typename Real>
struct Pair {
  int32_t first;  // and the pixel after it
  Real first_weight, second_weight;
};

// Place of a tile in the output.
struct TilePlace {
  int64_t box, row, column;
  int rows, columns;
};

// Channels [first, end), whose scale and shift the tile holds.
struct ChannelRange {
  int64_t first, end;
};

// Shared memory of a thread block: the weights of a tile, computed once.
template <typename Real>
struct Tile {
  TilePlace place;  // not in registers, which the loops over pixels need
  ChannelRange channels;
  Axis<Real> axis_x, axis_y;
  Taps<Real> taps_x[kMaxTileColumns], taps_y[kMaxTileRows];
  Pair<Real> pairs_x[kMaxTileColumns], pairs_y[kMaxTileRows];
  // Image columns that each 32 output columns read.
  int32_t low[kMaxTileColumns / kWarp], high[kMaxTileColumns / kWarp];
  Real window[kWarps][kWindow];
  Real scale[kChannels], shift[kChannels];
};

__device__ inline TilePlace place_tile(const Geometry& g, const TilePlan& plan, int64_t item) {
  TilePlace place;
  place.box = item / plan.tiles;
  const int64_t tile = item % plan.tiles;
  place.row = tile / plan.column_tiles * plan.rows;
  place.column = tile % plan.column_tiles * plan.columns;
  place.rows = static_cast<int>(g.height - place.row < plan.rows ? g.height - place.row : plan.rows);
  place.columns = static_cast<int>(g.width - place.column < plan.columns ? g.width - place.column : plan.columns);
  return place;
}

template <typename Real>
__device__ Pair<Real> make_pair(const Axis<Real>& axis, const Taps<Real>& taps) {
  Pair<Real> pair;
  pair.first = taps.begin;
  pair.first_weight = taps.count > 0 ? tap_weight(axis, taps, 0) : Real(0);
  pair.second_weight = taps.count > 1 ? tap_weight(axis, taps, 1) : Real(0);
  return pair;
}

template <typename Real>
__device__ void prepare_tile(const Geometry& g, const TilePlan& plan, int64_t item, Tile<Real>& tile) {
  const float* box = g.boxes + 4 * (item / plan.tiles);
  __syncthreads();  // the previous tile is done
  if (threadIdx.x == 2 * kWarp) tile.place = place_tile(g, plan, item);
  if (threadIdx.x == 0) tile.axis_x = make_axis<Real>(box[0], box[2], g.width, g.image_width, g.antialias);
  if (threadIdx.x == kWarp) tile.axis_y = make_axis<Real>(box[1], box[3], g.height, g.image_height, g.antialias);
  __syncthreads();
  const TilePlace& place = tile.place;
  for (int i = threadIdx.x; i < place.columns + place.rows; i += kThreads) {
    if (i < place.columns) {
      tile.taps_x[i] = make_taps(tile.axis_x, place.column + i);
      tile.pairs_x[i] = make_pair(tile.axis_x, tile.taps_x[i]);
    } else {
      const int row = i - place.columns;
      tile.taps_y[row] = make_taps(tile.axis_y, place.row + row);
      tile.pairs_y[row] = make_pair(tile.axis_y, tile.taps_y[row]);
    }
  }
  __syncthreads();
  for (int strip = threadIdx.x; strip * kWarp < place.columns; strip += kThreads) {
    int32_t low = INT32_MAX, high = 0;
    for (int j = strip * kWarp; j < (strip + 1) * kWarp && j < place.columns; ++j) {
      const Taps<Real>& taps = tile.taps_x[j];
      if (taps.count == 0) continue;
      low = taps.begin < low ? taps.begin : low;
      high = taps.begin + taps.count > high ? taps.begin + taps.count : high;
    }
    tile.low[strip] = low;
    tile.high[strip] = high;
  }
  __syncthreads();
}

// (x - mean) / std = x * scale + shift
template <typename Real>
__device__ void prepare_channels(const float* mean, const float* std, ChannelRange channels, Tile<Real>& tile) {
  __syncthreads();  // the previous channels are done
  if (threadIdx.x == 0) tile.channels = channels;
  for (int64_t c = channels.first + threadIdx.x; c < channels.end; c += kThreads) {
    const Real scale = std ? Real(1) / static_cast<Real>(std[c]) : Real(1);
    tile.scale[c - channels.first] = scale;
    tile.shift[c - channels.first] = mean ? -static_cast<Real>(mean[c]) * scale : Real(0);
  }
  __syncthreads();
}

// Neither axis shrinks: four pixels per output. Neighbouring threads write neighbouring outputs; the weights of an
// output are reused for all channels.
template <typename T, typename Out, typename Real>
__device__ void magnify_tile(const Forward& p, const Tile<Real>& tile, const T* __restrict__ image,
                             Out* __restrict__ out) {
  const Geometry& g = p.geometry;
  const TilePlace& place = tile.place;
  const ChannelRange& channels = tile.channels;
  const int64_t plane = g.height * g.width;
  const int count = static_cast<int>(channels.end - channels.first);
  for (int e = threadIdx.x; e < place.rows * place.columns; e += kThreads) {
    const int i = e / place.columns, j = e % place.columns;
    const Pair<Real> y = tile.pairs_y[i], x = tile.pairs_x[j];
    const Real inside = tile.taps_y[i].inside * tile.taps_x[j].inside;
    const Real padding = static_cast<Real>(p.pad_value) * (Real(1) - inside);
    const T* row0 = image + channels.first * p.stride_channel + y.first * p.stride_row + x.first * p.stride_column;
    const T* row1 = row0 + p.stride_row;
    Out* to = out + (channels.first * g.height + place.row + i) * g.width + place.column + j;
#pragma unroll 4
    for (int c = 0; c < count; ++c) {
      Real upper = Real(0), lower = Real(0);
      if (y.first_weight != Real(0)) {
        if (x.first_weight != Real(0)) upper += x.first_weight * static_cast<Real>(row0[0]);
        if (x.second_weight != Real(0)) upper += x.second_weight * static_cast<Real>(row0[p.stride_column]);
      }
      if (y.second_weight != Real(0)) {
        if (x.first_weight != Real(0)) lower += x.first_weight * static_cast<Real>(row1[0]);
        if (x.second_weight != Real(0)) lower += x.second_weight * static_cast<Real>(row1[p.stride_column]);
      }
      const Real sum = y.first_weight * upper + y.second_weight * lower;
      *to = static_cast<Out>(sum * tile.scale[c] + (tile.shift[c] * inside + padding));
      row0 += p.stride_channel;
      row1 += p.stride_channel;
      to += plane;
    }
  }
}

// An axis shrinks: a warp computes 32 neighbouring outputs of a row. It sums the image rows that they read, column by
// column, into shared memory; then each thread sums the columns of its output. Every pixel is read once per output row.
template <typename T, typename Out, typename Real>
__device__ void shrink_tile(const Forward& p, Tile<Real>& tile, const T* __restrict__ image, Out* __restrict__ out) {
  const Geometry& g = p.geometry;
  const TilePlace& place = tile.place;
  const ChannelRange& channels = tile.channels;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int strips = (place.columns + kWarp - 1) / kWarp;
  Real* window = tile.window[warp];
  const int tasks = static_cast<int>(channels.end - channels.first) * place.rows * strips;
  for (int task = warp; task < tasks; task += kWarps) {
    const int strip = task % strips, i = task / strips % place.rows, c = task / strips / place.rows;
    const int j = strip * kWarp + lane;
    const bool has_output = j < place.columns;
    const Taps<Real> taps_y = tile.taps_y[i];
    const Taps<Real> taps_x = has_output ? tile.taps_x[j] : Taps<Real>{0, 0, Real(0), Real(0), Real(0)};
    const T* plane = image + (channels.first + c) * p.stride_channel + taps_y.begin * p.stride_row;
    Real sum = Real(0);
    for (int32_t left = tile.low[strip]; left < tile.high[strip]; left += kWindow) {
      Real columns[kWindow / kWarp] = {};
      for (int32_t k = 0; k < taps_y.count; ++k) {
        const Real weight = tap_weight(tile.axis_y, taps_y, k);
        const T* row = plane + k * p.stride_row;
#pragma unroll
        for (int u = 0; u < kWindow / kWarp; ++u) {
          const int32_t x = left + u * kWarp + lane;
          if (x < tile.high[strip]) columns[u] += weight * static_cast<Real>(row[x * p.stride_column]);
        }
      }
#pragma unroll
      for (int u = 0; u < kWindow / kWarp; ++u) window[u * kWarp + lane] = columns[u];
      __syncwarp();
      const int32_t from = taps_x.begin > left ? taps_x.begin : left;
      const int32_t stop = taps_x.begin + taps_x.count;
      const int32_t to = stop < left + kWindow ? stop : left + kWindow;
      for (int32_t x = from; x < to; ++x) {
        sum += tap_weight(tile.axis_x, taps_x, x - taps_x.begin) * window[x - left];
      }
      __syncwarp();
    }
    if (has_output) {
      const Real inside = taps_y.inside * taps_x.inside;
      const Real padding = static_cast<Real>(p.pad_value) * (Real(1) - inside);
      const int64_t at = ((channels.first + c) * g.height + place.row + i) * g.width + place.column + j;
      out[at] = static_cast<Out>(sum * tile.scale[c] + (tile.shift[c] * inside + padding));
    }
  }
}

template <typename T, typename Out, typename Real>
__global__ void __launch_bounds__(kThreads, kBlocks)
    forward_kernel(Forward p, TilePlan plan, const T* __restrict__ images, Out* __restrict__ out) {
  __shared__ Tile<Real> tile;
  const Geometry& g = p.geometry;
  for (int64_t item = blockIdx.x; item < g.num_boxes * plan.tiles; item += gridDim.x) {
    const int64_t b = g.image_index[item / plan.tiles];
    Out* to = out + item / plan.tiles * g.channels * g.height * g.width;
    if (b < 0 || b >= g.batch) {  // a kernel cannot raise an error: make it visible
      const TilePlace place = place_tile(g, plan, item);
      for (int64_t e = threadIdx.x; e < g.channels * place.rows * place.columns; e += kThreads) {
        const int64_t j = e % place.columns, i = e / place.columns % place.rows, c = e / place.columns / place.rows;
        to[(c * g.height + place.row + i) * g.width + place.column + j] = static_cast<Out>(static_cast<Real>(NAN));
      }
      continue;
    }
    prepare_tile(g, plan, item, tile);
    const T* image = images + b * p.stride_batch;
    for (int64_t c = 0; c < g.channels; c += kChannels) {
      const ChannelRange channels{c, c + kChannels < g.channels ? c + kChannels : g.channels};
      prepare_channels(p.mean, p.std, channels, tile);
      if (tile.axis_x.radius > 1.0 || tile.axis_y.radius > 1.0) {
        shrink_tile(p, tile, image, to);
      } else {
        magnify_tile(p, tile, image, to);
      }
    }
  }
}

// grad: (N, C, height, width), contiguous; grad_images: (batch, C, image_height, image_width), initially zero. Each
// warp first spreads 32 neighbouring outputs of a row over image columns in shared memory, then adds those to the image
// rows. Outputs and boxes overlap, so the additions are atomic; their order, and the last bits of the sums, vary.
template <typename T, typename Real>
__global__ void __launch_bounds__(kThreads, kBlocks)
    backward_kernel(Geometry g, TilePlan plan, const float* std, const T* __restrict__ grad, Real* grad_images) {
  __shared__ Tile<Real> tile;
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  Real* window = tile.window[warp];
  for (int64_t item = blockIdx.x; item < g.num_boxes * plan.tiles; item += gridDim.x) {
    const int64_t b = g.image_index[item / plan.tiles];
    if (b < 0 || b >= g.batch) continue;
    prepare_tile(g, plan, item, tile);
    const TilePlace& place = tile.place;
    const int strips = (place.columns + kWarp - 1) / kWarp;
    for (int64_t task = warp; task < g.channels * place.rows * strips; task += kWarps) {
      const int strip = static_cast<int>(task % strips);
      const int i = static_cast<int>(task / strips % place.rows);
      const int64_t c = task / strips / place.rows;
      const int j = strip * kWarp + lane;
      const bool has_output = j < place.columns;
      const Taps<Real> taps_y = tile.taps_y[i];
      const Taps<Real> taps_x = has_output ? tile.taps_x[j] : Taps<Real>{0, 0, Real(0), Real(0), Real(0)};
      Real value = Real(0);
      if (has_output) {
        const int64_t at = ((place.box * g.channels + c) * g.height + place.row + i) * g.width + place.column + j;
        value = static_cast<Real>(grad[at]) * (std ? Real(1) / static_cast<Real>(std[c]) : Real(1));
      }
      Real* plane = grad_images + (b * g.channels + c) * g.image_height * g.image_width;
      for (int32_t left = tile.low[strip]; left < tile.high[strip]; left += kWindow) {
#pragma unroll
        for (int u = 0; u < kWindow / kWarp; ++u) window[u * kWarp + lane] = Real(0);
        __syncwarp();
        const int32_t from = taps_x.begin > left ? taps_x.begin : left;
        const int32_t stop = taps_x.begin + taps_x.count;
        const int32_t to = stop < left + kWindow ? stop : left + kWindow;
        for (int32_t x = from; x < to; ++x) {
          atomicAdd(&window[x - left], tap_weight(tile.axis_x, taps_x, x - taps_x.begin) * value);
        }
        __syncwarp();
        for (int32_t k = 0; k < taps_y.count; ++k) {
          const Real weight = tap_weight(tile.axis_y, taps_y, k);
          Real* row = plane + (taps_y.begin + k) * g.image_width;
#pragma unroll
          for (int u = 0; u < kWindow / kWarp; ++u) {
            const Real sum = window[u * kWarp + lane];
            if (sum != Real(0)) atomicAdd(&row[left + u * kWarp + lane], weight * sum);
          }
        }  // each lane reads and clears its own columns only, so no synchronisation is needed
      }
    }
  }
}

}  // namespace insight::crop_resize
