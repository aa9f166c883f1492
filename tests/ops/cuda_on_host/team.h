// A thread block on the CPU: every CUDA thread is a coroutine of one host thread. Blocks run one after another. The
// next thread and the next block are chosen at random, so that a missing barrier does not go unnoticed by luck. Unlike
// a GPU, it reports deadlocks and warps whose lanes are at different instructions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

extern dim3 threadIdx, blockIdx, blockDim, gridDim;  // of the running coroutine

namespace cuda_on_host {

// Runs the kernel in every thread of the grid. Throws std::runtime_error where a GPU would hang or misbehave.
void launch(dim3 grid, dim3 block, size_t dynamic_shared, void* stream, const std::function<void()>& kernel);

// Waits for all threads of the block; none may have returned.
void wait_for_block();

constexpr size_t kMostBytes = 64;  // that a lane can share with the others

// Waits for all 32 lanes of the warp in the same instruction; returns the 32 values, kMostBytes apart.
const std::byte* exchange(const char* instruction, const void* value, size_t bytes);

// Asynchronous copies to shared memory that the running thread has not waited for; none may be left when it returns.
struct Copy {
  void* to;
  const void* from;
  int bytes;
  bool wanted;
  bool committed;
};
std::vector<Copy>& copies_on_their_way();

// Ends the launch with a message.
[[noreturn]] void fail(const std::string& message);

// A random bit.
bool chance();

// Values of all lanes of the warp.
template <typename T>
class Lanes {
 public:
  Lanes(const char* instruction, const T& own) : values_(exchange(instruction, &own, sizeof(T))) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kMostBytes);
  }
  T operator[](int lane) const {
    T value;
    std::memcpy(&value, values_ + lane * kMostBytes, sizeof(T));
    return value;
  }

 private:
  const std::byte* values_;
};

inline int lane() { return static_cast<int>(threadIdx.x % 32); }

inline void check_all_lanes(unsigned mask) {
  if (mask != 0xffffffffu) fail("only masks of all 32 lanes are known here");
}

}  // namespace cuda_on_host
