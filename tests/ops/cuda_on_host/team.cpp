#include "team.h"

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <exception>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>

dim3 threadIdx, blockIdx, blockDim, gridDim;

// The section with all __shared__ variables; filled with garbage at the start of each block, as on a GPU.
extern "C" __attribute__((weak, visibility("hidden"))) std::byte __start_cuda_shared[];
extern "C" __attribute__((weak, visibility("hidden"))) std::byte __stop_cuda_shared[];

namespace cuda_on_host {
namespace {

constexpr size_t kStack = 256 * 1024;

struct Barrier {
  unsigned arrived = 0;
  unsigned generation = 0;
};

struct Warp {
  Barrier barrier;
  // Two of each, so that a lane that still reads one exchange does not race with a lane that writes the next but one.
  alignas(16) std::byte values[2][32 * kMostBytes];
  std::array<const char*, 32> instructions[2];
};

struct Thread {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  dim3 index;
  unsigned exchanges;
  std::vector<Copy> copies;
  bool done;
  const Barrier* waits_for;
  unsigned generation;

  bool can_run() const { return !done && (!waits_for || waits_for->generation != generation); }
};

struct Team {
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Barrier barrier;
  Thread* running = nullptr;
  ucontext_t scheduler;
  const std::function<void()>* kernel = nullptr;
  std::exception_ptr failure;
  std::mt19937 random;

  void begin(dim3 block);
  void run_block();
  void wait(Barrier& barrier, unsigned members);
};

Team team;

void run_thread() {
  try {
    (*team.kernel)();
    if (!team.running->copies.empty()) fail("a thread returned with copies on their way");
  } catch (...) {
    team.failure = std::current_exception();
  }
  team.running->done = true;
  swapcontext(&team.running->context, &team.scheduler);
}

void Team::begin(dim3 block) {
  const unsigned count = block.x * block.y * block.z;
  if (block.y != 1 || block.z != 1 || count == 0 || count % 32 != 0 || count > 1024) {
    throw std::runtime_error("expected blocks of 32 to 1024 threads in x, whole warps, got " + std::to_string(count));
  }
  if (threads.size() < count) threads.resize(count);
  warps.assign(count / 32, Warp());
  barrier = Barrier();
  failure = nullptr;
  for (unsigned t = 0; t < count; ++t) {
    Thread& thread = threads[t];
    if (!thread.stack) thread.stack = std::make_unique<char[]>(kStack);
    thread.index = dim3(t, 0, 0);
    thread.exchanges = 0;
    thread.copies.clear();
    thread.done = false;
    thread.waits_for = nullptr;
    getcontext(&thread.context);
    thread.context.uc_stack.ss_sp = thread.stack.get();
    thread.context.uc_stack.ss_size = kStack;
    thread.context.uc_link = nullptr;
    makecontext(&thread.context, run_thread, 0);
  }
}

void Team::run_block() {
  const unsigned count = static_cast<unsigned>(warps.size() * 32);
  std::vector<unsigned> order(count);
  std::iota(order.begin(), order.end(), 0u);
  std::memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
  for (unsigned done = 0; done < count;) {
    std::shuffle(order.begin(), order.end(), random);
    bool any = false;
    for (unsigned t : order) {
      Thread& thread = threads[t];
      if (!thread.can_run()) continue;
      any = true;
      running = &thread;
      threadIdx = thread.index;
      swapcontext(&scheduler, &thread.context);
      if (failure) std::rethrow_exception(failure);
      done += thread.done;
    }
    if (!any) throw std::runtime_error("threads of a block wait for others that never come");
  }
}

void Team::wait(Barrier& at, unsigned members) {
  Thread& thread = *running;
  const unsigned generation = at.generation;
  if (++at.arrived == members) {
    at.arrived = 0;
    ++at.generation;
    return;
  }
  thread.waits_for = &at;
  thread.generation = generation;
  swapcontext(&thread.context, &scheduler);
  thread.waits_for = nullptr;
}

}  // namespace

void launch(dim3 grid, dim3 block, size_t dynamic_shared, void*, const std::function<void()>& kernel) {
  if (dynamic_shared) throw std::runtime_error("dynamic shared memory is not known here");
  if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535) {
    throw std::runtime_error("no GPU launches a grid of these sizes");
  }
  gridDim = grid;
  blockDim = block;
  team.kernel = &kernel;
  std::vector<unsigned> blocks(size_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), 0u);
  std::shuffle(blocks.begin(), blocks.end(), team.random);
  for (unsigned b : blocks) {
    blockIdx = dim3(b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y);
    team.begin(block);
    team.run_block();
  }
}

void wait_for_block() { team.wait(team.barrier, blockDim.x); }

const std::byte* exchange(const char* instruction, const void* value, size_t bytes) {
  Thread& thread = *team.running;
  Warp& warp = team.warps[thread.index.x / 32];
  const unsigned which = thread.exchanges++ % 2;
  std::memcpy(warp.values[which] + lane() * kMostBytes, value, bytes);
  warp.instructions[which][lane()] = instruction;
  team.wait(warp.barrier, 32);
  for (const char* other : warp.instructions[which]) {
    if (std::strcmp(other, instruction)) {
      fail(std::string("lanes of a warp meet in different instructions: ") + instruction + " and " + other);
    }
  }
  return warp.values[which];
}

std::vector<Copy>& copies_on_their_way() { return team.running->copies; }

void fail(const std::string& message) { throw std::runtime_error(message); }

bool chance() { return team.random() & 1; }

}  // namespace cuda_on_host

// The host code of the kernels asks torch for the stream that is in use.
extern "C" int32_t cuda_on_host_current_stream(int32_t, void** stream) {
  *stream = nullptr;
  return 0;
}
