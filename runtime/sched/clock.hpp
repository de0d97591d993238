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

/// No deadline: later than every time.
inline constexpr std::int64_t never_ns = INT64_MAX;

} // namespace troupe::sched
