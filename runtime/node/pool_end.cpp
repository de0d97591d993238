// SPDX-License-Identifier: MIT
// What time does to a node_pool, and how it ends.
#include "node/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/worker.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

namespace {

// While a shutdown waits.
constexpr std::int64_t look_again_ns = 20'000'000;

} // namespace

void node_pool_core::tick_by(std::int64_t due) {
  if (due >= next_tick_)
    return;
  next_tick_ = due;
  host_.loop().post([weak = weak_from_this()] {
    auto alive = weak.lock();
    if (alive == nullptr)
      return;
    auto& core = static_cast<node_pool_core&>(*alive);
    std::int64_t at = 0;
    {
      const std::lock_guard guard{core.mutex_};
      at = core.next_tick_;
    }
    core.timer_.expires_at(
      std::chrono::steady_clock::time_point{std::chrono::nanoseconds{at}});
    core.timer_.async_wait([weak](const boost::system::error_code& ec) {
      if (auto still = weak.lock(); still != nullptr && !ec)
        static_cast<node_pool_core&>(*still).tick();
    });
  });
}

void node_pool_core::tick() {
  section locked{*this};
  auto& out = locked.out;
  if (stopped_)
    return;
  const auto now = sched::now_ns();
  next_tick_ = INT64_MAX;
  give_up_late(now, out);
  ask_again(now);
  dispatch(out);
  if (!queue_.empty() && is_alone()) {
    const auto until = after(alone_since_, options_.patience.ns());
    if (now >= until)
      fail_queue(std::make_exception_ptr(node_lost{fmt::format(
                   "node_pool: no node was there for {} ms{}",
                   options_.patience.ns() / 1'000'000,
                   last_loss_ ? "; the last one: " + text_of(last_loss_)
                              : std::string{})}),
                 out);
    else
      tick_by(until);
  }
  for (auto& p : places_)
    if (p->rest_until > now)
      tick_by(p->rest_until);
  if (is_drained())
    changed_.notify_all();
}

// -- ending -------------------------------------------------------------------

void node_pool_core::refuse_in_loop(const char* what) const {
  if (host_.loop().is_driver())
    throw bad_argument{fmt::format(
      "node_pool: {} where answers come in would wait for itself", what)};
}

// Any number of threads may be in here, each with a mode and a limit of its
// own: every step may be done again.
drain_report node_pool_core::shut_down(shutdown_mode mode,
                                       std::int64_t limit_ns) {
  section locked{*this};
  auto& out = locked.out;
  if (!stopped_)
    refuse_in_loop("shutdown");
  const sched::blocking_section blocking;
  const auto until = due_after(limit_ns == time_limit::none
                                 ? time_limit{no_deadline}
                                 : time_limit{std::chrono::nanoseconds{
                                     std::max<std::int64_t>(0, limit_ns)}});
  auto cancel_queue = [&] {
    fail_queue(nullptr, out);
    for (auto& v : out) // others may have cancelled it before
      was_clean_ = was_clean_ && v.task->state().is_settled();
    locked.settle_now();
  };
  closed_ = true;
  changed_.notify_all(); // submits that wait for room
  if (mode == shutdown_mode::cancel_pending)
    cancel_queue();
  while (!is_drained()) {
    const auto now = sched::now_ns();
    if (now >= until) {
      was_clean_ = false;
      cancel_queue();
      stop_running();
      break;
    }
    drop_cancelled(out);
    if (!out.empty()) {
      locked.settle_now();
      continue;
    }
    // Nobody tells of a future that is cancelled while its task waits.
    const auto pause = queue_.empty() ? until - now
                                      : std::min(until - now, look_again_ns);
    if (pause > INT64_MAX / 2)
      changed_.wait(locked.lock);
    else
      changed_.wait_for(locked.lock, std::chrono::nanoseconds{pause});
  }
  drain_report r;
  r.done = counts_.done;
  r.failed = counts_.failed;
  r.cancelled = counts_.cancelled;
  r.running = running_;
  r.clean = was_clean_ && running_ == 0;
  return r;
}

void node_pool_core::close() noexcept {
  try {
    shut_down(shutdown_mode::drain, time_limit::none);
  } catch (const std::exception& e) {
    log().error("node_pool: its end failed: {}", e.what());
  }
  {
    const std::lock_guard guard{mutex_};
    if (stopped_)
      return; // the host may be gone, and has let go of us
  }
  host_.remove(*this);
}

bool node_pool_core::is_idle() {
  const std::lock_guard guard{mutex_};
  return is_drained();
}

// What runs fails as its connections end.
void node_pool_core::on_stop() {
  section locked{*this};
  auto& out = locked.out;
  closed_ = stopped_ = true;
  fail_queue(why_closed(), out);
}

} // namespace troupe::detail
