// SPDX-License-Identifier: MIT
// clock: monotonic time in nanoseconds, exact and cheap.
#pragma once

#include <cstdint>
#include <ctime>

namespace troupe::sched {

/// Nanoseconds of CLOCK_MONOTONIC, the epoch of std::chrono::steady_clock.
inline std::int64_t now_ns() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

/// The same at the kernel's tick (1 to 10 ms old), without reading a counter.
inline std::int64_t coarse_now_ns() {
  timespec ts;
  ::clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
  return ts.tv_sec * 1'000'000'000LL + ts.tv_nsec;
}

/// The time that a limit of `limit_ns` counts from: the kernel's tick for what
/// is so far away that a tick is nothing.
inline std::int64_t now_for_ns(std::int64_t limit_ns) {
  constexpr std::int64_t far_ns = 10'000'000'000;
  return limit_ns >= far_ns ? coarse_now_ns() : now_ns();
}

/// No deadline: later than every time.
inline constexpr std::int64_t never_ns = INT64_MAX;

} // namespace troupe::sched
