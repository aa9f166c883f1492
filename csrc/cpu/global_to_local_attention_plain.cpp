// Row-block kernels of global-to-local attention for any processor, on 16-byte vectors, which x86-64 and AArch64 always
// have and which compilers lower to scalars elsewhere.
#include "cpu/global_to_local_attention.h"

#include <math.h>

#define INSIGHT_SIMD_BYTES 16
#if defined(__aarch64__)
#define INSIGHT_SIMD_REGISTERS 32
#else
#define INSIGHT_SIMD_REGISTERS 16
#endif

namespace insight::attention::plain {
#include "cpu/global_to_local_attention_kernel.h"
}

namespace insight::attention {

template <typename S>
const Kernels<S>* plain_kernels() {
  return plain::kernels<S>();
}
template const Kernels<float>* plain_kernels<float>();
template const Kernels<double>* plain_kernels<double>();

}  // namespace insight::attention
