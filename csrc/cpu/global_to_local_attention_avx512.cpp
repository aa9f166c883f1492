// Row-block kernels of global-to-local attention for AVX-512.
#include "cpu/global_to_local_attention.h"

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#include <math.h>

// GCC 12 warns about the deliberately undefined operand inside its own _mm512_max_ps.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")
#define INSIGHT_SIMD_AVX512
#define INSIGHT_SIMD_BYTES 64
#define INSIGHT_SIMD_REGISTERS 32

namespace insight::attention::avx512 {
#include "cpu/global_to_local_attention_kernel.h"
}
#endif

namespace insight::attention {

template <typename S>
const Kernels<S>* avx512_kernels() {
#if defined(INSIGHT_SIMD_AVX512)
  return avx512::kernels<S>();
#else
  return nullptr;
#endif
}
template const Kernels<float>* avx512_kernels<float>();
template const Kernels<double>* avx512_kernels<double>();

}  // namespace insight::attention
