// SPDX-License-Identifier: MIT
// futex: sleep on a 32-bit word until somebody changes it.
#pragma once

#include <atomic>
#include <climits>
#include <cstdint>
#include <ctime>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace troupe::sched {

/// Sleeps while `word == seen`. Returns on a wake, on a signal or when
/// `timeout_ns` has passed (below 0: no limit); the caller looks again.
inline void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen,
                       std::int64_t timeout_ns = -1) {
  timespec ts{};
  timespec* limit = nullptr;
  if (timeout_ns >= 0) {
    ts.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000);
    ts.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000);
    limit = &ts;
  }
  ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, seen, limit, nullptr, 0);
}

inline void futex_wake(std::atomic<std::uint32_t>& word, int n = 1) {
  ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, n, nullptr, nullptr, 0);
}

/// Tells the core that this is a spin loop.
inline void cpu_relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield" ::: "memory");
#endif
}

} // namespace troupe::sched
