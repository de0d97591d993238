// SPDX-License-Identifier: MIT
// atomics: where a lock-free structure gets its atomics from. The structures
// that everything hangs on take them as a parameter, so that a test can run
// the same code in every order that the memory model allows
// (tests/support/model.hpp).
#pragma once

#include <atomic>
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace troupe::sched {

struct std_atomics {
  template <class T>
  using atomic = std::atomic<T>;

  static void fence(std::memory_order o) { std::atomic_thread_fence(o); }

  /// For the side of an asymmetric pair that pays nothing: its order is what
  /// the compiler leaves; the other side calls `fence_all`.
  static void fence_compiler() {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  /// All threads of the process pass a seq_cst fence; false where that can't
  /// be (register_fence_all was not called, or no membarrier(2)).
  static bool fence_all() {
    return ::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0)
           == 0;
  }
  static void register_fence_all() {
    ::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
  }

  /// Lets another thread change what this one waits for.
  static void pause() { ::sched_yield(); }
};

} // namespace troupe::sched
