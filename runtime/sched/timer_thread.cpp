// SPDX-License-Identifier: MIT
#include "sched/timer_thread.hpp"

#include <algorithm>
#include <pthread.h>

#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::sched {

namespace {

constexpr std::int64_t tick_ns = 1'000'000;

// Set while nodes fire on this thread, under the lock: what they schedule
// arms the monitor.
constinit thread_local const timer_thread* firing = nullptr;

std::uint64_t tick_at_or_after(std::int64_t ns) {
  if (ns <= 0)
    return 0;
  return static_cast<std::uint64_t>(ns / tick_ns) + (ns % tick_ns > 0 ? 1 : 0);
}

} // namespace

void name_thread(const char* name) {
  ::pthread_setname_np(::pthread_self(), name);
}

timer_thread::timer_thread(std::function<bool()> monitor,
                           std::int64_t monitor_period_ns)
  : monitor_(std::move(monitor)),
    period_ns_(monitor_period_ns) {
  wheel_.advance(static_cast<std::uint64_t>(now_ns() / tick_ns));
}

timer_thread::~timer_thread() {
  stop();
}

void timer_thread::add(timer_node& node, std::int64_t due_ns) {
  std::lock_guard guard{mutex_};
  wheel_.remove(node);
  wheel_.add(node, tick_at_or_after(due_ns));
  ensure_thread();
  if (due_ns < sleeping_until_)
    wake();
}

bool timer_thread::remove(timer_node& node) {
  std::lock_guard guard{mutex_};
  return wheel_.remove(node);
}

void timer_thread::start_monitor() {
  if (firing == this) { // the lock is ours; `run` looks at armed_ next
    armed_.store(true);
    return;
  }
  std::lock_guard guard{mutex_};
  if (stopping_ || armed_.exchange(true))
    return;
  ensure_thread();
  wake();
}

void timer_thread::stop() {
  {
    std::lock_guard guard{mutex_};
    stopping_ = true;
    wake();
  }
  if (thread_.joinable())
    thread_.join();
}

void timer_thread::ensure_thread() {
  if (!stopping_ && !thread_.joinable())
    thread_ = std::thread{[this] { run(); }};
}

void timer_thread::wake() {
  signal_.fetch_add(1);
  futex_wake(signal_);
}

void timer_thread::run() {
  name_thread("troupe.timer");
  auto next_look = never_ns;
  std::unique_lock guard{mutex_};
  while (!stopping_) {
    auto now = now_ns();
    firing = this;
    auto fired = wheel_.advance(static_cast<std::uint64_t>(now / tick_ns));
    firing = nullptr;
    if (fired > 0 && after_fire_ != nullptr) {
      guard.unlock();
      after_fire_();
      guard.lock();
      continue;
    }
    if (!armed_.load(std::memory_order_relaxed)) {
      next_look = never_ns;
    } else if (next_look == never_ns) {
      next_look = now + period_ns_;
    } else if (now >= next_look) {
      guard.unlock();
      auto again = monitor_();
      if (!again) {
        // Disarm, then look once more: whoever got busy before it could see
        // `armed_` fall is seen here (seq_cst against worker::run's count).
        armed_.store(false);
        again = monitor_();
        if (again)
          armed_.store(true);
      }
      guard.lock();
      next_look = again ? now + period_ns_ : never_ns;
      continue;
    }
    auto event = wheel_.next_event();
    auto until = next_look;
    if (event != timer_wheel::never)
      until = std::min(until, static_cast<std::int64_t>(event) * tick_ns);
    sleeping_until_ = until;
    auto seen = signal_.load();
    guard.unlock();
    if (until == never_ns)
      futex_wait(signal_, seen);
    else if (until > now)
      futex_wait(signal_, seen, until - now);
    guard.lock();
    sleeping_until_ = 0;
  }
}

} // namespace troupe::sched
