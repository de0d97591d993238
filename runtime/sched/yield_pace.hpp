// SPDX-License-Identifier: MIT
// yield_pace: when a thread that looks for an answer lets others have its core.
//
// From another core an answer comes at once, and yielding would only be in its
// way; on the same core it cannot come before. The duration of a yield tells
// the two apart: nobody else was there (short), the one who answers was (some
// microseconds), or one who computes was (its slice; it gets no more of them
// than it must). Two that never sleep are left on one core even where another
// is idle: now and then one of them has to, for it wakes where there is room.
#pragma once

#include <algorithm>
#include <cstdint>

#include <sched.h>

#include "sched/clock.hpp"

namespace troupe::sched {

/// Belongs to one thread at a time.
class yield_pace {
public:
  /// Whether it is time to, after `looked_ns` without an answer.
  [[nodiscard]] bool is_due(std::int64_t looked_ns) const noexcept {
    return looked_ns > pause_ns_;
  }

  void yield(std::int64_t now) noexcept {
    ::sched_yield();
    const auto away = now_ns() - now;
    const auto is_shared = away > switch_least_ns && away < switch_most_ns;
    pause_ns_ = is_shared ? shared_ns : alone_ns;
    shared_ = is_shared ? std::min(shared_ + 1, shared_most) : 0;
  }

  /// Whether it should sleep instead of looking on: said once in a while.
  [[nodiscard]] bool wants_sleep() noexcept {
    if (shared_ < shared_most)
      return false;
    shared_ = 0;
    return true;
  }

private:
  static constexpr std::int64_t alone_ns = 4'000, shared_ns = 250;
  static constexpr std::int64_t switch_least_ns = 1'000,
                                switch_most_ns = 20'000;

  static constexpr int shared_most = 64;

  std::int64_t pause_ns_ = alone_ns;
  int shared_ = 0; // yields in a row to the one who answers, as far as counted
};

} // namespace troupe::sched
