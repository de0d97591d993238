// SPDX-License-Identifier: MIT
// pulse: what the bytes of a connection say of the other side, look by look.
//
//   heard  bytes came: the only sign of life. That the system took some of ours
//          is none, it takes megabytes for a process that is frozen.
//   moved  bytes of ours went.
//
// Protocol: each side says something when nothing of its own has moved for half
// a heartbeat, asked or not. So whoever sends much over a slow line hears from
// the one that reads it, whose way back is free, and needs no answer to a ping
// that queues behind its own bytes; two that send much hear each other's bytes.
// Time is counted in looks: one who was frozen himself finds nobody dead at
// once when he wakes up.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace troupe::nodes {

class pulse {
public:
  enum class finding {
    fine,
    quiet,  // of ours: say something
    silent, // nothing was heard for `patience`: it is lost
    stuck,  // too much waits, and nothing of it moved for `patience`
  };

  pulse(std::chrono::nanoseconds heartbeat, std::chrono::nanoseconds patience)
    : period_(heartbeat / 2),
      looks_max_((std::max(patience, 2 * heartbeat) + period_
                  - std::chrono::nanoseconds{1})
                 / period_) {}

  /// Between two looks.
  [[nodiscard]] std::chrono::nanoseconds period() const noexcept {
    return period_;
  }

  /// How many bytes have come and gone so far; more waits than may.
  finding look(std::uint64_t heard, std::uint64_t moved, bool is_too_much) {
    const auto has_moved = moved != moved_;
    silent_ = heard != heard_ ? 0 : silent_ + 1;
    stuck_ = has_moved || !is_too_much ? 0 : stuck_ + 1;
    heard_ = heard;
    moved_ = moved;
    if (silent_ >= looks_max_)
      return finding::silent;
    if (stuck_ >= looks_max_)
      return finding::stuck;
    return has_moved ? finding::fine : finding::quiet;
  }

private:
  std::chrono::nanoseconds period_;
  std::int64_t looks_max_;
  std::uint64_t heard_ = 0, moved_ = 0;
  std::int64_t silent_ = 0, stuck_ = 0; // looks in a row
};

} // namespace troupe::nodes
