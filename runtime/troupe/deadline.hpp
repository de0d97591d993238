// SPDX-License-Identifier: MIT
// deadline: how long a caller is willing to wait, and what remains of it.
#pragma once

#include <chrono>
#include <cstdint>

namespace troupe {

struct no_deadline_t {
  explicit constexpr no_deadline_t() = default;
};

/// Written where a wait may last for ever.
inline constexpr no_deadline_t no_deadline{};

/// A duration or `no_deadline`. Durations of 0 and below are over at once.
class time_limit {
public:
  static constexpr std::int64_t none = INT64_MAX;

  template <class Rep, class Period>
  constexpr time_limit(std::chrono::duration<Rep, Period> d)
    : ns_(to_ns(std::chrono::duration<double, std::nano>(d).count(), d)) {}

  constexpr time_limit(no_deadline_t) : ns_(none) {}

  /// Nanoseconds; `none` without a limit.
  constexpr std::int64_t ns() const { return ns_; }

private:
  // Durations that don't fit into 64 bits of nanoseconds are no limit.
  template <class Duration>
  static constexpr std::int64_t to_ns(double approx, Duration d) {
    if (approx > 4e18)
      return none;
    if (approx < -4e18)
      return 0;
    return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  }

  std::int64_t ns_;
};

/// What remains to the method or task that is running: the deadline of the ask
/// that called it. `nanoseconds::max()` when there is none; 0 when it is over.
std::chrono::nanoseconds remaining();

} // namespace troupe
