// Kernels of crop_resize for AVX-512.
#include <algorithm>
#include <cstring>
#include <type_traits>

#include "common/bilinear.h"
#include "cpu/crop_resize.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>

// GCC 12 warns about the deliberately undefined operands inside its own intrinsics.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx2,fma,f16c,prefer-vector-width=512")
namespace insight::crop_resize::avx512 {
// clang-format off: each of these needs the one before it
#include "cpu/crop_resize_lanes_avx512.h"
#include "cpu/crop_resize_kernel.h"
// clang-format on
}  // namespace insight::crop_resize::avx512
#pragma GCC pop_options

namespace insight::crop_resize {
ForwardItems avx512_forward(ScalarType type) { return avx512::forward_of(type); }
BackwardItems avx512_backward(ScalarType type) { return avx512::backward_of(type); }
}  // namespace insight::crop_resize

#else

namespace insight::crop_resize {
ForwardItems avx512_forward(ScalarType) { return nullptr; }
BackwardItems avx512_backward(ScalarType) { return nullptr; }
}  // namespace insight::crop_resize

#endif
