// The subset of CUDA that the kernels use, for a C++ compiler.
#pragma once

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstring>

#include "team.h"

#define __global__
#define __device__
#define __host__
#define __shared__ static __attribute__((section("cuda_shared")))
#define __forceinline__ inline
#define __launch_bounds__(...)

using cudaStream_t = void*;
constexpr int cudaDevAttrMultiProcessorCount = 0;
inline int cudaDeviceGetAttribute(int* value, int, int) {
  *value = 2;
  return 0;
}

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) double2 {
  double x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline double2 make_double2(double x, double y) { return {x, y}; }

inline float __int_as_float(int bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline float rsqrt(float x) { return rsqrtf(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline int min(int a, int b) { return std::min(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }

inline void __threadfence() {}
template <typename T>
T __ldcg(const T* address) {
  return *address;
}
template <typename T>
T atomicAdd(T* address, T value) {
  const T before = *address;
  *address = before + value;
  return before;
}

inline void __syncthreads() { cuda_on_host::wait_for_block(); }
inline int __syncthreads_count(int predicate) {
  static int count;
  __syncthreads();  // the previous count has been read
  if (threadIdx.x == 0) count = 0;
  __syncthreads();
  count += predicate != 0;
  __syncthreads();
  return count;
}
inline void __syncwarp() { cuda_on_host::Lanes<int>("__syncwarp", 0); }

template <typename T>
T __shfl_sync(unsigned mask, T value, int from) {
  cuda_on_host::check_all_lanes(mask);
  return cuda_on_host::Lanes<T>("__shfl_sync", value)[from % 32];
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int flip) {
  cuda_on_host::check_all_lanes(mask);
  return cuda_on_host::Lanes<T>("__shfl_xor_sync", value)[cuda_on_host::lane() ^ flip];
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, int step) {
  cuda_on_host::check_all_lanes(mask);
  const int from = cuda_on_host::lane() - step;
  return cuda_on_host::Lanes<T>("__shfl_up_sync", value)[from < 0 ? cuda_on_host::lane() : from];
}
inline unsigned __match_any_sync(unsigned mask, int value) {
  cuda_on_host::check_all_lanes(mask);
  const cuda_on_host::Lanes<int> lanes("__match_any_sync", value);
  unsigned same = 0;
  for (int lane = 0; lane < 32; ++lane) same |= unsigned(lanes[lane] == value) << lane;
  return same;
}
inline int __any_sync(unsigned mask, int predicate) {
  cuda_on_host::check_all_lanes(mask);
  const cuda_on_host::Lanes<int> lanes("__any_sync", predicate);
  for (int lane = 0; lane < 32; ++lane) {
    if (lanes[lane]) return 1;
  }
  return 0;
}
