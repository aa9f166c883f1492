// CUDA's half types, with torch's rounding.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <cstring>

template <typename Value>
struct HostHalf {
  uint16_t bits;

  static HostHalf of(float x) {
    const Value value(x);
    HostHalf half;
    std::memcpy(&half, &value, sizeof half);
    return half;
  }
  float value() const {
    Value value;
    std::memcpy(&value, this, sizeof value);
    return value;
  }
};
using __half = HostHalf<torch::headeronly::Half>;
using __nv_bfloat16 = HostHalf<torch::headeronly::BFloat16>;

inline float __half2float(__half x) { return x.value(); }
inline float __bfloat162float(__nv_bfloat16 x) { return x.value(); }
inline __half __float2half_rn(float x) { return __half::of(x); }
inline __nv_bfloat16 __float2bfloat16_rn(float x) { return __nv_bfloat16::of(x); }
