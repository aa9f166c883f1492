// Kernels of crop_resize for any processor, and those of double.
#include <algorithm>
#include <type_traits>

#include "common/bilinear.h"
#include "cpu/crop_resize.h"

namespace insight::crop_resize {

namespace plain {
using Real = float;
// clang-format off: each of these needs the one before it
#include "cpu/crop_resize_picks.h"
#include "cpu/crop_resize_lanes_plain.h"
#include "cpu/crop_resize_kernel.h"
// clang-format on
}  // namespace plain

namespace plain_double {
using Real = double;
// clang-format off: each of these needs the one before it
#include "cpu/crop_resize_picks.h"
#include "cpu/crop_resize_lanes_plain.h"
#include "cpu/crop_resize_kernel.h"
// clang-format on
}  // namespace plain_double

ForwardItems plain_forward(ScalarType type) {
  return type == ScalarType::Double ? &plain_double::forward_items<double, double> : plain::forward_of(type);
}
BackwardItems plain_backward(ScalarType type) {
  return type == ScalarType::Double ? &plain_double::backward_items<double> : plain::backward_of(type);
}

}  // namespace insight::crop_resize
