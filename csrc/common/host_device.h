// Marks functions that are compiled for both host and device.
#pragma once

#if defined(__CUDACC__)
#define INSIGHT_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
// Always inlined, so that it is compiled for the caller's instruction set.
#define INSIGHT_HOST_DEVICE inline __attribute__((always_inline))
#else
#define INSIGHT_HOST_DEVICE inline
#endif
