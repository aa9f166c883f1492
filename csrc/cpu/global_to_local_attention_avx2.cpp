// Row-block kernels of global-to-local attention for AVX2.
#include "cpu/global_to_local_attention.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#include <math.h>

#pragma GCC target("avx2,fma")
#define INSIGHT_SIMD_AVX2
#define INSIGHT_SIMD_BYTES 32
#define INSIGHT_SIMD_REGISTERS 16

namespace insight::attention::avx2 {
#include "cpu/global_to_local_attention_kernel.h"
}
#endif

namespace insight::attention {

template <typename S>
const Kernels<S>* avx2_kernels() {
#if defined(INSIGHT_SIMD_AVX2)
  return avx2::kernels<S>();
#else
  return nullptr;
#endif
}
template const Kernels<float>* avx2_kernels<float>();
template const Kernels<double>* avx2_kernels<double>();

}  // namespace insight::attention
