// SPDX-License-Identifier: MIT
// timers: after() and every() of actors.
#pragma once

#include "core/cell.hpp"
#include "sched/timer_wheel.hpp"

namespace troupe::detail {

/// References: one of the actor's list, one of the user's handle, one while it
/// is in the mailbox. The list belongs to the actor alone.
struct actor_timer final : envelope, sched::timer_node, pooled {
  std::atomic<std::uint32_t> refs{2};
  std::atomic<bool> cancelled{false};
  std::atomic<bool> finished{false};
  cell* owner; // weak reference
  std::int64_t period_ns;
  std::int64_t due_ns;
  std::unique_ptr<timer_call> call;
  actor_timer* prev_timer = nullptr;
  actor_timer* next_timer = nullptr;

  actor_timer(cell* c, std::int64_t due, std::int64_t period,
              std::unique_ptr<timer_call> f);
};

/// The actor ends: none of its timers runs any more.
void remove_timers(cell& c);

} // namespace troupe::detail
