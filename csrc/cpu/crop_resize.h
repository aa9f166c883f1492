// Arguments and entry points shared by the CPU kernels of crop_resize for all instruction sets.
#pragma once

#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>

#include "common/crop_resize.h"
#include "cpu/aligned.h"

namespace insight::crop_resize {

using torch::headeronly::BFloat16;
using torch::headeronly::Half;
using torch::headeronly::ScalarType;

// Output rows resampled together, one in each lane of a vector.
constexpr int kLanes = 16;
// At most kChunkRows x kChunkValues values of the image are weighted at a time, so that the scratch memory of a thread
// does not depend on the size of the box. 1024 x 16 floats take 64 KiB.
constexpr int64_t kChunkValues = 1024;
constexpr int64_t kChunkRows = 1024;

// A work item of the forward pass is a group of kLanes output rows of one box.
inline int64_t groups(const Geometry& g) { return (g.height + kLanes - 1) / kLanes; }
inline int64_t items(const Forward& p) { return p.geometry.num_boxes * groups(p.geometry); }

struct Backward {
  Geometry geometry;
  const void* grad;   // (N, C, height, width), contiguous
  const float* std;   // (C,) or null
  void* grad_images;  // (batch, C, image_height, image_width), contiguous
  int64_t band;       // rows of the image that one item covers

  int64_t bands() const { return (geometry.image_height + band - 1) / band; }
  int64_t items() const { return geometry.batch * geometry.channels * bands(); }
};

// The pixels begin .. begin + count - 1 that an output reads, and where their weights start.
struct Span {
  int32_t begin, count, offset;
};

// Work items [begin, end) of the problem; items are independent of each other.
using ForwardItems = void (*)(const Forward&, int64_t begin, int64_t end);
using BackwardItems = void (*)(const Backward&, int64_t begin, int64_t end);

// The kernel for a type, or null if the compiler, the architecture or the instruction set has none. Types: uint8
// (forward only), float16, bfloat16, float32 and, in the plain kernels only, float64.
ForwardItems avx512_forward(ScalarType type);
ForwardItems avx2_forward(ScalarType type);
ForwardItems plain_forward(ScalarType type);
BackwardItems avx512_backward(ScalarType type);
BackwardItems avx2_backward(ScalarType type);
BackwardItems plain_backward(ScalarType type);

}  // namespace insight::crop_resize
