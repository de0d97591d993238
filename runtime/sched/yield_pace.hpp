// SPDX-License-Identifier: MIT
// yield_pace: when a thread that looks for an answer lets others have its core.
//
// From another core an answer comes at once, and yielding would only be in its
// way; on the same core it cannot come before. The duration of a yield tells
// the two apart: nobody else was there (short), the one who answers was (some
// microseconds), or one who computes was (its slice; it gets no more of them
// than it must).
#pragma once

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
    pause_ns_ = away > switch_least_ns && away < switch_most_ns ? shared_ns
                                                                : alone_ns;
  }

private:
  static constexpr std::int64_t alone_ns = 4'000, shared_ns = 250;
  static constexpr std::int64_t switch_least_ns = 1'000,
                                switch_most_ns = 20'000;

  std::int64_t pause_ns_ = alone_ns;
};

} // namespace troupe::sched
