// The instruction sets that kernels may use on this processor.
#pragma once

#include <cstdlib>
#include <string_view>

namespace insight {

struct Capability {
  bool avx2 = false;    // with FMA and F16C
  bool avx512 = false;  // F, DQ, BW and VL, and AVX2
};

// ATEN_CPU_CAPABILITY restricts the choice, as in torch.
inline Capability cpu_capability() {
  Capability cpu;
#if defined(__x86_64__) && defined(__GNUC__)
  const char* variable = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view limit = variable ? variable : "";
  if (limit == "default") return cpu;
  cpu.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  cpu.avx512 = cpu.avx2 && limit != "avx2" && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
  return cpu;
}

}  // namespace insight
