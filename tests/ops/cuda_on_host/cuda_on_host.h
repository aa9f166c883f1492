// Just enough of CUDA to run a kernel on a CPU, one host thread a CUDA thread, so that its logic is tested where there is
// no GPU. Blocks run one after another; shared memory is static; barriers are real.
#pragma once

#include <atomic>
#include <barrier>
#include <climits>
#include <memory>
#include <thread>
#include <vector>

#define __global__
#define __device__
#define __shared__ static
#define __launch_bounds__(...)

struct Index {
  unsigned x;
};
inline thread_local Index threadIdx, blockIdx, gridDim;

namespace cuda_on_host {

inline std::unique_ptr<std::barrier<>> block_barrier;
inline std::vector<std::unique_ptr<std::barrier<>>> warp_barriers;

template <typename Kernel>
void launch(unsigned blocks, unsigned threads, Kernel kernel) {
  block_barrier = std::make_unique<std::barrier<>>(threads);
  warp_barriers.clear();
  for (unsigned w = 0; w < threads / 32; ++w) warp_barriers.push_back(std::make_unique<std::barrier<>>(32));
  std::vector<std::thread> team;
  for (unsigned t = 0; t < threads; ++t) {
    team.emplace_back([=] {
      threadIdx.x = t;
      gridDim.x = blocks;
      for (unsigned b = 0; b < blocks; ++b) {
        blockIdx.x = b;
        kernel();
        block_barrier->arrive_and_wait();
      }
    });
  }
  for (std::thread& thread : team) thread.join();
}

}  // namespace cuda_on_host

inline void __syncthreads() { cuda_on_host::block_barrier->arrive_and_wait(); }
inline void __syncwarp() { cuda_on_host::warp_barriers[threadIdx.x / 32]->arrive_and_wait(); }

template <typename T>
void atomicAdd(T* address, T value) {
  std::atomic_ref<T>(*address).fetch_add(value);
}
