// CUDA C++ as C++ of the processor: one thread of the host runs the threads of a block as coroutines, which
// change at barriers and shuffles. A barrier that some threads of the block never reach ends the process.
#pragma once
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__
#define __launch_bounds__(...)
#define __shared__ static
#define uchar unsigned char

struct Index { unsigned x = 0, y = 0, z = 0; };
static Index threadIdx, blockIdx;

namespace emulation {
enum State { ready, block_waits, warp_waits, done };
struct Fiber {
  ucontext_t first;
  jmp_buf here;
  State state;
  bool begun;
  std::vector<char> stack;
};
static std::vector<Fiber> fibers;
static std::vector<std::uint64_t> lanes;
static unsigned current;
static jmp_buf scheduler;
typedef void (*Run)(void *function, void **arguments);
static Run run_thread;
static void *kernel;
static void **parameters;

static void body() {
  run_thread(kernel, parameters);
  fibers[current].state = done;
  _longjmp(scheduler, 1);
}

static void wait(State state) {
  Fiber &own = fibers[current];
  own.state = state;
  if (!_setjmp(own.here)) _longjmp(scheduler, 1);
}

static void resume(unsigned number) {
  current = number;
  threadIdx.x = number;
  Fiber &own = fibers[number];
  if (_setjmp(scheduler)) return;
  if (own.begun) _longjmp(own.here, 1);
  own.begun = true;
  setcontext(&own.first);
}

// Those that wait go on when all that are not done wait for the same.
static bool release(unsigned first, unsigned end, State state) {
  bool any = false;
  for (unsigned n = first; n < end; n++) {
    if (fibers[n].state == done) continue;
    if (fibers[n].state != state) return false;
    any = true;
  }
  if (any) for (unsigned n = first; n < end; n++) if (fibers[n].state == state) fibers[n].state = ready;
  return any;
}

static void run_block(unsigned threads) {
  if (fibers.size() < threads) fibers.resize(threads);
  lanes.assign(threads, 0);
  for (unsigned n = 0; n < threads; n++) {
    Fiber &own = fibers[n];
    own.stack.resize(256 << 10);
    own.state = ready;
    own.begun = false;
    getcontext(&own.first);
    own.first.uc_stack.ss_sp = own.stack.data();
    own.first.uc_stack.ss_size = own.stack.size();
    own.first.uc_link = nullptr;
    makecontext(&own.first, body, 0);
  }
  for (;;) {
    for (unsigned n = 0; n < threads; n++) if (fibers[n].state == ready) resume(n);
    bool alive = false, more = false;
    for (unsigned n = 0; n < threads; n++) alive |= fibers[n].state != done;
    if (!alive) return;
    for (unsigned n = 0; n < threads; n += 32) {
      unsigned end = n + 32 < threads ? n + 32 : threads;
      more |= release(n, end, warp_waits);
    }
    more |= release(0, threads, block_waits);
    if (!more) {
      std::fprintf(stderr, "threads of a block wait for each other\n");
      std::abort();
    }
  }
}

static void launch(Run run, void *function, unsigned blocks, unsigned threads, void **arguments, bool waits) {
  run_thread = run;
  kernel = function;
  parameters = arguments;
  for (unsigned block = 0; block < blocks; block++) {
    blockIdx.x = block;
    if (waits) {
      run_block(threads);
      continue;
    }
    for (unsigned n = 0; n < threads; n++) {
      threadIdx.x = n;
      run(function, arguments);
    }
  }
}
}  // namespace emulation

static inline void __syncthreads() { emulation::wait(emulation::block_waits); }
static inline int __syncwarp() { emulation::wait(emulation::warp_waits); return 0; }

template <typename T> static T __shfl_xor_sync(unsigned, T value, int apart) {
  unsigned own = emulation::current;
  std::memcpy(&emulation::lanes[own], &value, sizeof(T));
  emulation::wait(emulation::warp_waits);
  T found;
  std::memcpy(&found, &emulation::lanes[own ^ unsigned(apart)], sizeof(T));
  emulation::wait(emulation::warp_waits);
  return found;
}

template <typename A, typename B> static auto max(A a, B b) { return a > b ? a : b; }
template <typename A, typename B> static auto min(A a, B b) { return a < b ? a : b; }
