// SPDX-License-Identifier: MIT
// pool_end: how a process_pool ends: drained, cancelled, broken, or with its
// system.
#include "process/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/worker.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace troupe::detail {

namespace {

constexpr std::int64_t end_least_ns = 200'000'000; // however late it is

} // namespace

// -- ending -------------------------------------------------------------------

void process_core::fail_queue(const std::exception_ptr& why, verdicts& out) {
  fail_all(queue_, why, counts_.failed, out,
           [&](remote_task& t) { drop(t, out); });
  changed_.notify_all();
}

// Cancelled, and not at a worker. One that waits for its next attempt has run
// before: it can't be called unbegun.
void process_core::drop(remote_task& t, verdicts& out) {
  t.where = static_cast<std::uint8_t>(task_place::over);
  if (t.deaths.empty()) {
    ++counts_.cancelled;
    out.push_back({&t, nullptr});
    return;
  }
  ++counts_.failed;
  out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                       "{} was cancelled before its next attempt; {} workers "
                       "had died of it",
                       t.entry.name(), t.deaths.size())})});
}

void process_core::cancel_queue(verdicts& out) {
  for (auto& p : places_)
    take_back_behind(*p, p->first - 1);
  fail_queue(nullptr, out);
}

void process_core::break_pool(std::exception_ptr why, verdicts& out) {
  if (!broken_)
    broken_ = std::move(why);
  for (auto& p : places_)
    take_back_behind(*p, p->first - 1);
  fail_queue(broken_, out);
  for (auto& p : places_)
    if (p->live == 0)
      tell_to_end(*p, end_limit_ns);
}

// Any number of threads may be in here, each with a mode and a limit of its
// own: every step may be done again.
drain_report process_core::shut_down(shutdown_mode mode,
                                     std::int64_t limit_ns) {
  verdicts out;
  std::unique_lock lock{mutex_};
  const sched::blocking_section section;
  const auto until = due_after(limit_ns == time_limit::none
                                 ? time_limit{no_deadline}
                                 : time_limit{std::chrono::nanoseconds{
                                     std::max<std::int64_t>(0, limit_ns)}});
  auto wait_until = [&](std::int64_t limit, auto done) {
    lock.unlock();
    settle(out);
    lock.lock();
    while (!done()) {
      const auto now = sched::now_ns();
      if (now >= limit)
        return false;
      if (limit == INT64_MAX)
        changed_.wait(lock);
      else
        changed_.wait_for(lock, std::chrono::nanoseconds{limit - now});
    }
    return true;
  };
  auto drained = [this] { return is_drained(); };
  closed_ = true;
  changed_.notify_all(); // submits that wait for room
  if (mode == shutdown_mode::cancel_pending)
    cancel_queue(out);
  for (auto& v : out) // others may have cancelled it before
    was_clean_ = was_clean_ && v.task->state().is_settled();
  if (!wait_until(until, drained)) {
    was_clean_ = false;
    cancel_queue(out);
    kill_all("the pool was shut down");
    wait_until(sched::now_ns() + 2 * end_limit_ns, drained);
  }
  const auto limit = std::clamp<std::int64_t>(until - sched::now_ns(),
                                              end_least_ns, end_limit_ns);
  for (auto& p : places_)
    if (!p->leaving || p->live == 0)
      tell_to_end(*p, limit);
  wait_until(sched::now_ns() + 3 * end_limit_ns,
             [this] { return places_.empty(); });
  drain_report r;
  r.done = counts_.done;
  r.failed = counts_.failed;
  r.cancelled = counts_.cancelled;
  r.killed = counts_.killed;
  r.running = running_;
  r.clean = was_clean_ && running_ == 0;
  return r;
}

// What runs is cancelled by force; workers without work are left to end.
void process_core::kill_all(const char* why) {
  for (auto& p : places_) {
    if (p->live == 0 && p->ready)
      continue;
    for (auto c = p->first; c < p->next; ++c)
      if (auto* t = p->calls[c % process::window]; t != nullptr)
        t->is_ended = true;
    p->leaving = true;
    p->worker->condemn(why, SIGKILL);
  }
}

void process_core::close() noexcept {
  try {
    shut_down(shutdown_mode::drain, time_limit::none);
  } catch (const std::exception& e) {
    log().error("process_pool: its end failed: {}", e.what());
  }
  {
    const std::lock_guard guard{mutex_};
    if (stopped_)
      return; // the host may be gone, and has let go of us
  }
  host_.remove(this);
}

bool process_core::is_idle() {
  const std::lock_guard guard{mutex_};
  return is_drained();
}

// The workers are ended with the zygote; their tasks fail as they are reported.
void process_core::on_stop() {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    closed_ = stopped_ = true;
    if (!broken_)
      broken_ =
        std::make_exception_ptr(closed{"process_pool: the system has stopped"});
    fail_queue(broken_, out);
    for (auto& p : places_) {
      p->leaving = true;
      p->worker->condemn("the system has stopped", SIGKILL);
    }
  }
  settle(out);
}

} // namespace troupe::detail
