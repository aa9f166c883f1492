// Kernels of crop_resize on 16-lane vectors, included by one source file per instruction set, inside a namespace that
// defines Real, Lanes and their functions (crop_resize_lanes_*.h). That file must include all other headers first: if
// their code were compiled here, for this instruction set, the linker might keep that copy for the whole library.
//
// Forward, for each group of 16 output rows, one row per lane, and each block of channels:
//   1. vertical: 16 neighbouring values of the image at a time become, by 16 weighted sums over image rows and one
//      transposition, 16 columns of one vector each;
//   2. horizontal: each output column is a weighted sum of such columns; no gather, whatever the scale;
//   3. finish: normalisation, padding, transposition back to rows, conversion.
// If both directions are bilinear, each output row is computed directly from the pairs of neighbouring pixels that its
// outputs read (bilinear_rows). Rows and columns are processed in chunks of fixed size whose sums are accumulated, so
// scratch memory does not depend on the size of the image.

// How the values of an image row are cut into vectors of 16.
struct RowLayout {
  int64_t channels;       // in one pass
  int64_t pitch;          // columns-buffer entries from one image column to the next
  int64_t vector_stride;  // elements from one vector to the next
  bool gather;            // the 16 values of a vector are stride_column apart
  bool one_column;        // a vector holds 16 channels of one column, instead of 16 values in memory order

  explicit RowLayout(const Forward& p)
      : channels(1), pitch(1), vector_stride(kLanes), gather(false), one_column(false) {
    const int64_t all = p.geometry.channels;
    if (p.stride_column == 1) return;
    if (p.stride_channel == 1 && p.stride_column >= all && p.stride_column <= kLanes) {
      channels = all;
      pitch = p.stride_column;
    } else if (p.stride_channel == 1) {
      channels = all < kLanes ? all : kLanes;
      pitch = kLanes;
      vector_stride = p.stride_column;
      one_column = true;
    } else {
      vector_stride = kLanes * p.stride_column;
      gather = true;
    }
  }
};

static inline void weigh(const Axis<Real>& axis, const Taps<Real>* taps, int64_t outputs, int64_t low, int64_t high,
                         Span* spans, Real* weights) {
  int32_t offset = 0;
  for (int64_t o = 0; o < outputs; ++o) {
    const int64_t begin = taps[o].begin > low ? taps[o].begin : low;
    const int64_t stop = taps[o].begin + taps[o].count;
    const int64_t end = stop < high ? stop : high;
    const int32_t count = end > begin ? static_cast<int32_t>(end - begin) : 0;
    const int32_t skip = static_cast<int32_t>(begin - taps[o].begin);
    spans[o] = Span{count ? static_cast<int32_t>(begin - low) : 0, count, offset};
    for (int32_t k = 0; k < count; ++k) weights[offset++] = tap_weight(axis, taps[o], skip + k);
  }
}

// The image pixels that any of the outputs reads.
static inline void covered(const Taps<Real>* taps, int64_t outputs, int64_t* begin, int64_t* end) {
  *begin = INT32_MAX;
  *end = 0;
  for (int64_t o = 0; o < outputs; ++o) {
    if (taps[o].count == 0) continue;
    const int64_t stop = taps[o].begin + taps[o].count;
    if (taps[o].begin < *begin) *begin = taps[o].begin;
    if (stop > *end) *end = stop;
  }
}

template <typename T>
static inline Lanes load_strided(const T* p, int count, int64_t stride) {
  alignas(64) Real values[kLanes] = {};
  for (int i = 0; i < count; ++i) values[i] = static_cast<Real>(p[i * stride]);
  return load(values);
}

// Processes kVectors neighbouring vectors of the image, so that the loop over the taps, whose length is hard to
// predict, runs once for all of them.
template <typename T, bool kGather, int kVectors>
static inline void vertical_block(const T* source, const Forward& p, int64_t vector_stride, int last_count,
                                  const Span* spans, const Real* weights, Real* columns) {
  alignas(64) Real block[kVectors][kLanes][kLanes];
  for (int i = 0; i < kLanes; ++i) {
    Lanes sums[kVectors];
    for (int v = 0; v < kVectors; ++v) sums[v] = broadcast(Real(0));
    const T* row = source + spans[i].begin * p.stride_row;
    const Real* weight = weights + spans[i].offset;
    for (int32_t k = 0; k < spans[i].count; ++k, row += p.stride_row) {
      const Lanes w = broadcast(weight[k]);
      for (int v = 0; v < kVectors; ++v) {
        const T* at = row + v * vector_stride;
        const int count = v + 1 < kVectors ? kLanes : last_count;
        sums[v] = multiply_add(w, kGather ? load_strided(at, count, p.stride_column) : load_pixels(at, count), sums[v]);
      }
    }
    for (int v = 0; v < kVectors; ++v) store(block[v][i], sums[v]);
  }
  for (int v = 0; v < kVectors; ++v) {
    Lanes rows[kLanes];
    for (int i = 0; i < kLanes; ++i) rows[i] = load(block[v][i]);
    transpose(rows);
    for (int i = 0; i < kLanes; ++i) store(columns + (v * kLanes + i) * kLanes, rows[i]);
  }
}

template <typename T, bool kGather>
static void vertical(const T* source, const Forward& p, const RowLayout& layout, int64_t values, const Span* spans,
                     const Real* weights, Real* columns) {
  const int64_t vectors = layout.one_column ? values : (values + kLanes - 1) / kLanes;
  const int last = static_cast<int>(layout.one_column ? layout.channels : values - (vectors - 1) * kLanes);
  // If each vector is one column, all vectors may be partial; otherwise only the last one is.
  const int64_t together = layout.one_column && last < kLanes ? 1 : 4;
  for (int64_t v = 0; v < vectors; v += together) {
    const T* at = source + v * layout.vector_stride;
    Real* to = columns + v * kLanes * kLanes;
    const int64_t left = vectors - v, count = left < together ? left : together;
    const int in_last = count == left ? last : kLanes;
    if (count == 4) {
      vertical_block<T, kGather, 4>(at, p, layout.vector_stride, in_last, spans, weights, to);
    } else if (count == 3) {
      vertical_block<T, kGather, 3>(at, p, layout.vector_stride, in_last, spans, weights, to);
    } else if (count == 2) {
      vertical_block<T, kGather, 2>(at, p, layout.vector_stride, in_last, spans, weights, to);
    } else {
      vertical_block<T, kGather, 1>(at, p, layout.vector_stride, last, spans, weights, to);
    }
  }
}

static void horizontal(const Real* columns, int64_t pitch, const Span* spans, const Real* weights, int64_t outputs,
                       bool first, Real* sums) {
  for (int64_t o = 0; o < outputs; ++o, sums += kLanes) {
    const Real* column = columns + spans[o].begin * pitch * kLanes;
    const Real* weight = weights + spans[o].offset;
    Lanes sum = first ? broadcast(Real(0)) : load(sums);
    for (int32_t k = 0; k < spans[o].count; ++k, column += pitch * kLanes) {
      sum = multiply_add(broadcast(weight[k]), load(column), sum);
    }
    store(sums, sum);
  }
}

// Outputs of one channel: (sum - mean * inside) / std + pad_value * (1 - inside).
template <typename Out>
static void finish(const Real* sums, const Taps<Real>* taps_x, const Taps<Real>* taps_y, int64_t width, int rows,
                   Real scale, Real shift, Real pad, Out* out) {
  alignas(64) Real inside_y[kLanes] = {};
  for (int i = 0; i < rows; ++i) inside_y[i] = taps_y[i].inside;
  const Lanes share = load(inside_y), one = broadcast(Real(1)), gain = broadcast(scale);
  const int count = static_cast<int>(width < kLanes ? width : kLanes);
  for (int64_t tile = 0; tile < width; tile += kLanes) {
    const int64_t x = tile + count > width ? width - count : tile;  // the last tile overlaps: whole vectors are stored
    Lanes r[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      r[i] = broadcast(Real(0));
      if (i >= count) continue;
      const Real inside_x = taps_x[x + i].inside;
      const Lanes outside = multiply_add(broadcast(-inside_x), share, one);
      const Lanes offset =
          multiply_add(broadcast(shift * inside_x), share, multiply_add(broadcast(pad), outside, r[i]));
      r[i] = multiply_add(load(sums + (x + i) * kLanes), gain, offset);
    }
    transpose(r);
    for (int i = 0; i < rows; ++i) store_outputs(out + i * width + x, r[i], count);
  }
}

// The pixel pair and weights of each output of a row, padded to a multiple of kLanes.
struct Pairs {
  Aligned<int32_t> left;     // image column of the left pixel
  Aligned<Real> weights[2];  // of the left and the right pixel
  Aligned<Real> inside;
  int32_t image_width;

  Pairs(int64_t outputs, int64_t width)
      : left(padded(outputs)),
        weights{Aligned<Real>(padded(outputs)), Aligned<Real>(padded(outputs))},
        inside(padded(outputs)),
        image_width(static_cast<int32_t>(width)) {}

  static int64_t padded(int64_t outputs) { return (outputs + kLanes - 1) / kLanes * kLanes; }

  void fill(const Axis<Real>& axis, const Taps<Real>* taps, int64_t outputs) {
    for (int64_t o = 0; o < padded(outputs); ++o) {
      const Taps<Real> t = o < outputs ? taps[o] : Taps<Real>{0, 0, Real(0), Real(0), Real(0)};
      // Both pixels of a pair are read, so the pair at the last image column starts one column earlier.
      const int32_t last = image_width - 2, start = t.begin < last ? t.begin : last;
      left.data()[o] = start;
      inside.data()[o] = t.inside;
      for (int32_t side = 0; side < 2; ++side) {
        const int32_t k = start + side - t.begin;
        weights[side].data()[o] = k >= 0 && k < t.count ? tap_weight(axis, t, k) : Real(0);
      }
    }
  }

  // The image columns begin .. begin + count - 1 that 16 outputs read.
  void window(int64_t output, int32_t* begin, int32_t* count) {
    int32_t first = image_width, last = -1;
    for (int64_t o = output; o < output + kLanes; ++o) {
      if (weights[0].data()[o] == Real(0) && weights[1].data()[o] == Real(0)) continue;
      first = left.data()[o] < first ? left.data()[o] : first;
      last = left.data()[o] > last ? left.data()[o] : last;
    }
    *begin = last < 0 ? 0 : first;
    *count = last < 0 ? 0 : last + 2 - first;
  }
};

// The one or two image rows that an output row reads, as offsets into the image.
struct RowPair {
  int64_t upper, lower;
  Real weight_upper, weight_lower, inside;
  bool any;

  RowPair() = default;
  RowPair(const Axis<Real>& axis, const Taps<Real>& t, int64_t stride)
      : upper(t.begin * stride),
        lower(t.count > 1 ? upper + stride : upper),
        weight_upper(t.count > 0 ? tap_weight(axis, t, 0) : Real(0)),
        weight_lower(t.count > 1 ? tap_weight(axis, t, 1) : Real(0)),
        inside(t.inside),
        any(t.count > 0) {}
};

// Sixteen neighbouring outputs of some rows of one channel.
template <typename T, typename Out>
struct Tile {
  const T* image;        // of the channel
  const RowPair* pairs;  // of the rows
  int rows;
  Out* out;       // first of the outputs
  int64_t width;  // of an output row
  int count;      // outputs beyond it are not written
  Real scale, shift, pad;
};

// Computes a bilinear tile, each row from the one or two image rows that it reads. `pixels` returns the left and the
// right pixel of each output, from the blend of those two rows.
template <typename T, typename Out, typename Pixels>
static inline void tile_rows(const Tile<T, Out>& tile, const Real* weights_left, const Real* weights_right,
                             const Real* inside_x, const Pixels& pixels) {
  const Lanes zero = broadcast(Real(0)), scale = broadcast(tile.scale), pad = broadcast(tile.pad);
  const Lanes weight_left = load(weights_left), weight_right = load(weights_right);
  // If a share s of an output lies inside the image, it is (sum - mean * s) / std + pad * (1 - s).
  const Lanes slope = multiply_add(broadcast(tile.shift - tile.pad), load(inside_x), zero);
  for (int i = 0; i < tile.rows; ++i) {
    const RowPair& row = tile.pairs[i];
    Lanes sum = zero;
    if (row.any) {
      Lanes left, right;
      pixels(tile.image + row.upper, tile.image + row.lower, broadcast(row.weight_upper), broadcast(row.weight_lower),
             left, right);
      // A pixel of zero weight must not make the output NaN.
      sum = multiply_add(weight_left, where_nonzero(weight_left, left),
                         multiply_add(weight_right, where_nonzero(weight_right, right), zero));
    }
    const Lanes offset = multiply_add(slope, broadcast(row.inside), pad);
    store_outputs(tile.out + i * tile.width, multiply_add(sum, scale, offset), tile.count);
  }
}

// Computes a tile whose outputs read at most kVectors vectors of an image row: blends the vectors, then picks the
// pixels of each output.
template <typename T, typename Out, int kVectors>
static inline void tile_of_window(const Tile<T, Out>& tile, const Real* weights_left, const Real* weights_right,
                                  const Real* inside_x, const int32_t* at, int32_t begin, int32_t count) {
  const Picks found = picks(at, begin, count);
  int counts[kVectors];
  for (int v = 0; v < kVectors; ++v) {
    const int32_t rest = count - v * kLanes;
    counts[v] = rest < 0 ? 0 : rest < kLanes ? rest : kLanes;
  }
  tile_rows(tile, weights_left, weights_right, inside_x,
            [&](const T* upper, const T* lower, const Lanes& weight_upper, const Lanes& weight_lower, Lanes& left,
                Lanes& right) {
              Lanes window[kVectors];
              for (int v = 0; v < kVectors; ++v) {
                const int64_t x = begin + v * kLanes;
                window[v] =
                    multiply_add(weight_upper, load_pixels(upper + x, counts[v]),
                                 multiply_add(weight_lower, load_pixels(lower + x, counts[v]), broadcast(Real(0))));
              }
              pick_pairs(window, found, left, right);
            });
}

// Blends the pixel pairs at[i], at[i] + 1 of two image rows; lane i gets the left and the right pixel of pair i. Real
// has a faster overload.
template <typename T>
static inline void blend_pairs(const T* upper, const T* lower, const Lanes& weight_upper, const Lanes& weight_lower,
                               const int32_t* at, Lanes& left, Lanes& right) {
  const auto pick = [&](int side) {
    alignas(64) Real above[kLanes], below[kLanes];
    for (int i = 0; i < kLanes; ++i) {
      above[i] = static_cast<Real>(upper[at[i] + side]);
      below[i] = static_cast<Real>(lower[at[i] + side]);
    }
    return multiply_add(weight_upper, load(above), multiply_add(weight_lower, load(below), broadcast(Real(0))));
  };
  left = pick(0);
  right = pick(1);
}

// Output rows in all channels, bilinear in both directions.
template <typename T, typename Out>
static void bilinear_rows(const Forward& p, const T* image, const Axis<Real>& axis_y, const Taps<Real>* taps_y,
                          int rows, Pairs& pairs, Out* out) {
  const int64_t width = p.geometry.width, plane = p.geometry.height * width;
  const int count = static_cast<int>(width < kLanes ? width : kLanes);
  RowPair row_pairs[kLanes];
  for (int i = 0; i < rows; ++i) row_pairs[i] = RowPair(axis_y, taps_y[i], p.stride_row);
  for (int64_t start = 0; start < width; start += kLanes) {
    const int64_t x =
        start + count > width ? width - count : start;  // the last tile overlaps: whole vectors are stored
    const int32_t* at = pairs.left.data() + x;
    const Real *left = pairs.weights[0].data() + x, *right = pairs.weights[1].data() + x,
               *inside = pairs.inside.data() + x;
    int32_t begin, columns;
    pairs.window(x, &begin, &columns);
    for (int64_t c = 0; c < p.geometry.channels; ++c) {
      Tile<T, Out> tile{
          image + c * p.stride_channel,  row_pairs, rows, out + c * plane + x, width, count, Real(1), Real(0),
          static_cast<Real>(p.pad_value)};
      if (p.std) tile.scale = Real(1) / static_cast<Real>(p.std[c]);
      if (p.mean) tile.shift = -static_cast<Real>(p.mean[c]) * tile.scale;
      if (columns <= 2 * kLanes) {
        tile_of_window<T, Out, 2>(tile, left, right, inside, at, begin, columns);
      } else if (columns <= 4 * kLanes) {
        tile_of_window<T, Out, 4>(tile, left, right, inside, at, begin, columns);
      } else {
        tile_rows(tile, left, right, inside,
                  [&](const T* upper, const T* lower, const Lanes& weight_upper, const Lanes& weight_lower, Lanes& l,
                      Lanes& r) { blend_pairs(upper, lower, weight_upper, weight_lower, at, l, r); });
      }
    }
  }
}

template <typename T, typename Out>
static void forward_items(const Forward& p, int64_t begin_item, int64_t end_item) {
  const Geometry& g = p.geometry;
  const RowLayout layout(p);
  const int64_t chunk_columns = kChunkValues / layout.pitch;
  Aligned<Real> columns(kChunkValues * kLanes), sums(layout.channels * g.width * kLanes);
  Aligned<Real> weights_x(2 * g.width + 3 * chunk_columns), weights_y(2 * kLanes + 3 * kChunkRows);
  Aligned<Taps<Real>> taps_x(g.width);
  Aligned<Span> spans_x(g.width);
  Taps<Real> taps_y[kLanes];
  Span spans_y[kLanes];
  Axis<Real> axis_x{};
  int64_t current = -1, left = 0, right = 0, weighed_x = -1;
  // If all rows of a float image start at a cache line, boxes are split at cache lines, so that no vector crosses two
  // lines.
  const int64_t strides = p.stride_row | p.stride_channel | p.stride_batch;
  const bool aligned = sizeof(T) == 4 && layout.pitch == 1 && !layout.gather && strides % kLanes == 0 &&
                       reinterpret_cast<uintptr_t>(p.images) % 64 == 0;
  const bool pairs_can_be_read = p.stride_column == 1 && g.image_width >= 2;
  Pairs pairs(pairs_can_be_read ? g.width : 0, g.image_width);
  bool by_rows = false;

  for (int64_t item = begin_item; item < end_item; ++item) {
    const int64_t n = item / groups(g);
    const int64_t row = item % groups(g) * kLanes;
    const int rows = static_cast<int>(g.height - row < kLanes ? g.height - row : kLanes);
    const float* box = g.boxes + n * 4;
    if (n != current) {
      axis_x = make_axis<Real>(box[0], box[2], g.width, g.image_width, g.antialias);
      for (int64_t o = 0; o < g.width; ++o) taps_x.data()[o] = make_taps(axis_x, o);
      by_rows = pairs_can_be_read && axis_x.radius == 1.0;
      if (by_rows) pairs.fill(axis_x, taps_x.data(), g.width);
      covered(taps_x.data(), g.width, &left, &right);
      if (aligned) left -= left % kLanes;
      current = n;
      weighed_x = -1;
    }
    const Axis<Real> axis_y = make_axis<Real>(box[1], box[3], g.height, g.image_height, g.antialias);
    for (int i = 0; i < kLanes; ++i) {
      // Lanes past the last row read nothing.
      taps_y[i] = i < rows ? make_taps(axis_y, row + i) : Taps<Real>{0, 0, Real(0), Real(0), Real(0)};
    }
    const T* image = static_cast<const T*>(p.images) + g.image_index[n] * p.stride_batch;

    if (by_rows && axis_y.radius == 1.0) {
      bilinear_rows(p, image, axis_y, taps_y, rows, pairs,
                    static_cast<Out*>(p.out) + (n * g.channels * g.height + row) * g.width);
      continue;
    }

    int64_t top, bottom, weighed_y = -1;
    covered(taps_y, kLanes, &top, &bottom);
    for (int64_t c0 = 0; c0 < g.channels; c0 += layout.channels) {
      const int64_t channels = g.channels - c0 < layout.channels ? g.channels - c0 : layout.channels;
      RowLayout block = layout;
      block.channels = channels;
      bool first = true;
      for (int64_t y = top; y < bottom && left < right; y += kChunkRows) {
        if (weighed_y != y) weigh(axis_y, taps_y, kLanes, y, y + kChunkRows, spans_y, weights_y.data());
        weighed_y = y;
        for (int64_t x = left; x < right; x += chunk_columns) {
          if (weighed_x != x)
            weigh(axis_x, taps_x.data(), g.width, x, x + chunk_columns, spans_x.data(), weights_x.data());
          weighed_x = x;
          const int64_t count = right - x < chunk_columns ? right - x : chunk_columns;
          const int64_t values = block.one_column ? count : (count - 1) * block.pitch + channels;
          const T* source = image + c0 * p.stride_channel + y * p.stride_row + x * p.stride_column;
          if (block.gather) {
            vertical<T, true>(source, p, block, values, spans_y, weights_y.data(), columns.data());
          } else {
            vertical<T, false>(source, p, block, values, spans_y, weights_y.data(), columns.data());
          }
          for (int64_t c = 0; c < channels; ++c) {
            horizontal(columns.data() + c * kLanes, block.pitch, spans_x.data(), weights_x.data(), g.width, first,
                       sums.data() + c * g.width * kLanes);
          }
          first = false;
        }
      }
      for (int64_t c = 0; c < channels; ++c) {
        Real* values = sums.data() + c * g.width * kLanes;
        if (first) std::fill(values, values + g.width * kLanes, Real(0));  // no pixel of the image was read
        const Real scale = p.std ? Real(1) / static_cast<Real>(p.std[c0 + c]) : Real(1);
        const Real shift = p.mean ? -static_cast<Real>(p.mean[c0 + c]) * scale : Real(0);
        Out* out = static_cast<Out*>(p.out) + ((n * g.channels + c0 + c) * g.height + row) * g.width;
        finish(values, taps_x.data(), taps_y, g.width, rows, scale, shift, static_cast<Real>(p.pad_value), out);
      }
    }
  }
}

// Backward: a work item owns a band of rows of one plane of the gradient and accumulates the contributions of all
// boxes, in order. No two threads write the same value and the order of summation is fixed, so the result does not
// depend on the number of threads.
template <typename T>
static void backward_items(const Backward& p, int64_t begin_item, int64_t end_item) {
  const Geometry& g = p.geometry;
  const int64_t image_width = g.image_width;
  Aligned<Real> band(p.band * image_width), line(image_width);
  Aligned<Real> weights_x(2 * g.width + 3 * image_width);
  Aligned<Taps<Real>> taps_x(g.width);
  Aligned<Span> spans_x(g.width);

  for (int64_t item = begin_item; item < end_item; ++item) {
    const int64_t plane = item / p.bands();
    const int64_t b = plane / g.channels, c = plane % g.channels;
    const int64_t top = item % p.bands() * p.band;
    const int64_t bottom = top + p.band < g.image_height ? top + p.band : g.image_height;
    const Real scale = p.std ? Real(1) / static_cast<Real>(p.std[c]) : Real(1);
    std::fill(band.data(), band.data() + (bottom - top) * image_width, Real(0));

    for (int64_t n = 0; n < g.num_boxes; ++n) {
      if (g.image_index[n] != b) continue;
      const float* box = g.boxes + n * 4;
      const Axis<Real> axis_y = make_axis<Real>(box[1], box[3], g.height, g.image_height, g.antialias);
      // One more pixel on either side, which a bilinear sample of a narrow box may read.
      if (!(axis_y.scale > 0.0) || axis_y.low - 1.0 >= bottom || axis_y.high + 1.0 <= top) continue;
      const Axis<Real> axis_x = make_axis<Real>(box[0], box[2], g.width, image_width, g.antialias);
      for (int64_t o = 0; o < g.width; ++o) taps_x.data()[o] = make_taps(axis_x, o);
      int64_t left, right;
      covered(taps_x.data(), g.width, &left, &right);
      if (left >= right) continue;
      weigh(axis_x, taps_x.data(), g.width, 0, image_width, spans_x.data(), weights_x.data());

      for (int64_t i = 0; i < g.height; ++i) {
        const Taps<Real> taps_y = make_taps(axis_y, i);
        const int64_t from = taps_y.begin > top ? taps_y.begin : top;
        const int64_t stop = taps_y.begin + taps_y.count;
        const int64_t to = stop < bottom ? stop : bottom;
        if (from >= to) continue;
        std::fill(line.data() + left, line.data() + right, Real(0));
        const T* grad = static_cast<const T*>(p.grad) + ((n * g.channels + c) * g.height + i) * g.width;
        for (int64_t o = 0; o < g.width; ++o) {
          const Real value = static_cast<Real>(grad[o]) * scale;
          const Span& span = spans_x.data()[o];
          const Real* weight = weights_x.data() + span.offset;
          Real* to_line = line.data() + span.begin;
          for (int32_t k = 0; k < span.count; ++k) to_line[k] += weight[k] * value;
        }
        for (int64_t y = from; y < to; ++y) {
          const Real weight = tap_weight(axis_y, taps_y, static_cast<int32_t>(y - taps_y.begin));
          Real* row = band.data() + (y - top) * image_width;
          for (int64_t x = left; x < right; ++x) row[x] += weight * line.data()[x];
        }
      }
    }
    T* out = static_cast<T*>(p.grad_images) + (plane * g.image_height + top) * image_width;
    for (int64_t i = 0; i < (bottom - top) * image_width; ++i) out[i] = static_cast<T>(band.data()[i]);
  }
}

// The kernels by the type of image or gradient; those of double are in a namespace of their own.
[[maybe_unused]] static ForwardItems forward_of(ScalarType type) {
  switch (type) {
    case ScalarType::Byte: return &forward_items<uint8_t, float>;
    case ScalarType::Half: return &forward_items<Half, Half>;
    case ScalarType::BFloat16: return &forward_items<BFloat16, BFloat16>;
    case ScalarType::Float: return &forward_items<float, float>;
    default: return nullptr;
  }
}

[[maybe_unused]] static BackwardItems backward_of(ScalarType type) {
  switch (type) {
    case ScalarType::Half: return &backward_items<Half>;
    case ScalarType::BFloat16: return &backward_items<BFloat16>;
    case ScalarType::Float: return &backward_items<float>;
    default: return nullptr;
  }
}
