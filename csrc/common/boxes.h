// Axis-aligned box geometry, shared by host and device code.
#pragma once

#include "common/host_device.h"

namespace insight {

// XYXY in pixels. Aligned so that the GPU reads one from shared memory in a single load; load_box accepts unaligned
// tensors.
template <typename T>
struct alignas(4 * sizeof(T)) Box {
  T x1, y1, x2, y2;
};

template <typename T>
INSIGHT_HOST_DEVICE Box<T> load_box(const T* coordinates) {
  return {coordinates[0], coordinates[1], coordinates[2], coordinates[3]};
}

// A product that is rounded on its own. nvcc would fuse it with the following addition; IoUs that tie on the CPU would
// then differ in the last bit on the GPU, and another box would win the tie.
template <typename T>
INSIGHT_HOST_DEVICE T rounded_product(T a, T b) {
#if defined(__CUDA_ARCH__)
  if constexpr (sizeof(T) == 8) {
    return __dmul_rn(a, b);
  } else {
    return __fmul_rn(a, b);
  }
#else
  return a * b;
#endif
}

// Length from `low` to `high`: zero where they are inverted, NaN where one of them is NaN.
template <typename T>
INSIGHT_HOST_DEVICE T extent(T low, T high) {
  const T length = high - low;
  return length < T(0) ? T(0) : length;  // in this order a NaN passes through
}

template <typename T>
INSIGHT_HOST_DEVICE T area(const Box<T>& box) {
  return rounded_product(extent(box.x1, box.x2), extent(box.y1, box.y2));
}

// Intersection over union of two boxes whose areas are known. Zero if both are empty; NaN if a coordinate is.
template <typename T>
INSIGHT_HOST_DEVICE T iou(const Box<T>& a, T area_a, const Box<T>& b, T area_b) {
  const T width = extent(a.x1 > b.x1 ? a.x1 : b.x1, a.x2 < b.x2 ? a.x2 : b.x2);
  const T height = extent(a.y1 > b.y1 ? a.y1 : b.y1, a.y2 < b.y2 ? a.y2 : b.y2);
  const T intersection = rounded_product(width, height);
  const T union_area = area_a + area_b - intersection;  // NaN if either area is: max and min above may drop it
  return intersection / (union_area == T(0) ? T(1) : union_area);
}

}  // namespace insight
