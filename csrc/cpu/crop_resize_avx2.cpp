// Kernels of crop_resize for AVX2.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "common/bilinear.h"
#include "cpu/crop_resize.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
namespace insight::crop_resize::avx2 {
// clang-format off: each of these needs the one before it
#include "cpu/crop_resize_picks.h"
#include "cpu/crop_resize_lanes_avx2.h"
#include "cpu/crop_resize_kernel.h"
// clang-format on
}  // namespace insight::crop_resize::avx2
#pragma GCC pop_options

namespace insight::crop_resize {
ForwardItems avx2_forward(ScalarType type) { return avx2::forward_of(type); }
BackwardItems avx2_backward(ScalarType type) { return avx2::backward_of(type); }
}  // namespace insight::crop_resize

#else

namespace insight::crop_resize {
ForwardItems avx2_forward(ScalarType) { return nullptr; }
BackwardItems avx2_backward(ScalarType) { return nullptr; }
}  // namespace insight::crop_resize

#endif
