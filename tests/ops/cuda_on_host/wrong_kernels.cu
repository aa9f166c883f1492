// Kernels with mistakes that a GPU may let pass, beside their correct versions.
#include <cuda_runtime.h>

#include <cstdio>

#include "cuda/mma.cuh"

namespace {

constexpr int kThreads = 64;

__global__ void reverse(const int* in, int* out, bool with_barrier) {
  __shared__ int shared[kThreads];
  shared[threadIdx.x] = in[threadIdx.x];
  if (with_barrier) __syncthreads();
  out[threadIdx.x] = shared[kThreads - 1 - threadIdx.x];
}

__global__ void read_what_no_one_wrote(int* out) {
  __shared__ int shared[kThreads];
  out[threadIdx.x] = shared[threadIdx.x];
  shared[threadIdx.x] = 0;
}

__global__ void leave_before_the_barrier() {
  if (threadIdx.x >= 32) return;
  __syncthreads();
}

__global__ void meet_in_different_instructions(int* out) {
  if (threadIdx.x % 32 == 7) {
    __syncwarp();
  } else {
    out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
  }
}

__global__ void copy(const int* in, int* out, bool commits, bool waits) {
  alignas(16) __shared__ int shared[4 * kThreads];
  insight::copy_async<16>(shared + 4 * threadIdx.x, in + 4 * threadIdx.x, true);
  if (commits) insight::copies_commit();
  if (waits) insight::copies_wait();
  __syncthreads();
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = shared[4 * threadIdx.x + i];
}

__global__ void copy_from_between(const int* in) {
  alignas(16) __shared__ int shared[4];
  insight::copy_async<16>(shared, in + 1, threadIdx.x == 0);
}

__global__ void read_after_the_end(const int* in, int* out) { out[threadIdx.x] = in[4 * kThreads + threadIdx.x]; }

}  // namespace

// Runs a kernel; if it fails, `error` receives the message.
extern "C" void run(const char* name, const int* in, int* out, char* error, int size) {
  const auto is = [name](const char* other) { return !std::strcmp(name, other); };
  try {
    if (is("barrier")) reverse<<<1, kThreads, 0, nullptr>>>(in, out, true);
    if (is("no barrier")) reverse<<<1, kThreads, 0, nullptr>>>(in, out, false);
    if (is("unwritten")) read_what_no_one_wrote<<<dim3(2), kThreads, 0, nullptr>>>(out);
    if (is("leave")) leave_before_the_barrier<<<1, kThreads, 0, nullptr>>>();
    if (is("meet")) meet_in_different_instructions<<<1, kThreads, 0, nullptr>>>(out);
    if (is("copy")) copy<<<1, kThreads, 0, nullptr>>>(in, out, true, true);
    if (is("no commit")) copy<<<1, kThreads, 0, nullptr>>>(in, out, false, true);
    if (is("no wait")) copy<<<1, kThreads, 0, nullptr>>>(in, out, true, false);
    if (is("misaligned")) copy_from_between<<<1, kThreads, 0, nullptr>>>(in);
    if (is("no grid")) read_what_no_one_wrote<<<dim3(1, 0), kThreads, 0, nullptr>>>(out);
    if (is("after the end")) read_after_the_end<<<1, kThreads, 0, nullptr>>>(in, out);
  } catch (const std::exception& exception) {
    std::snprintf(error, size, "%s", exception.what());
  }
}
