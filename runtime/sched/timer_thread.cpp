// SPDX-License-Identifier: MIT
#include "sched/timer_thread.hpp"

#include <algorithm>
#include <pthread.h>

#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::sched {

namespace {

constexpr std::int64_t tick_ns = 1'000'000;

// Which wheel a thread adds to.
std::size_t number_of_this_thread() {
  static constinit std::atomic<std::size_t> threads{0};
  thread_local const auto number = threads.fetch_add(1);
  return number;
}

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
  for (auto& p : parts_)
    p.wheel.advance(static_cast<std::uint64_t>(now_ns() / tick_ns));
}

timer_thread::~timer_thread() {
  stop();
}

timer_thread::part& timer_thread::part_of(timer_node& node) {
  auto i = node.part.load(std::memory_order_relaxed);
  if (i == timer_node::no_part) {
    auto mine =
      static_cast<std::uint8_t>(number_of_this_thread() % parts_.size());
    if (node.part.compare_exchange_strong(i, mine))
      i = mine;
  }
  return parts_[i];
}

void timer_thread::add(timer_node& node, std::int64_t due_ns) {
  auto& p = part_of(node);
  auto tells = false;
  {
    std::lock_guard guard{p.mutex};
    p.wheel.remove(node);
    p.wheel.add(node, tick_at_or_after(due_ns));
    tells = due_ns < sleeping_until_.load(std::memory_order_relaxed);
  }
  if (!is_started_.load(std::memory_order_acquire))
    start_thread();
  else if (tells)
    wake();
}

bool timer_thread::remove(timer_node& node) {
  if (node.part.load(std::memory_order_relaxed) == timer_node::no_part)
    return false;
  auto& p = part_of(node);
  std::lock_guard guard{p.mutex};
  return p.wheel.remove(node);
}

void timer_thread::start_monitor() {
  if (stopping_.load() || armed_.exchange(true))
    return;
  start_thread();
  wake();
}

void timer_thread::stop() {
  {
    std::lock_guard guard{mutex_};
    stopping_.store(true);
  }
  wake();
  if (thread_.joinable())
    thread_.join();
}

void timer_thread::start_thread() {
  std::lock_guard guard{mutex_};
  if (stopping_.load() || is_started_.load())
    return;
  thread_ = std::thread{[this] { run(); }};
  is_started_.store(true, std::memory_order_release);
}

void timer_thread::wake() {
  signal_.fetch_add(1);
  futex_wake(signal_);
}

// Fires what is due; when it has to come again.
std::int64_t timer_thread::fire(std::int64_t now, std::size_t& fired) {
  auto next = timer_wheel::never;
  for (auto& p : parts_) {
    std::lock_guard guard{p.mutex};
    fired += p.wheel.advance(static_cast<std::uint64_t>(now / tick_ns));
    next = std::min(next, p.wheel.next_event());
  }
  return next == timer_wheel::never ? never_ns
                                    : static_cast<std::int64_t>(next) * tick_ns;
}

// Has the monitor look if it is time to; when it looks again.
std::int64_t timer_thread::look(std::int64_t now, std::int64_t next) {
  if (!armed_.load(std::memory_order_relaxed))
    return never_ns;
  if (next == never_ns)
    return now + period_ns_;
  if (now < next)
    return next;
  auto again = monitor_();
  if (!again) {
    // Disarm, then look once more: whoever got busy before it could see
    // `armed_` fall is seen here (seq_cst against worker::run's count).
    armed_.store(false);
    again = monitor_();
    if (again)
      armed_.store(true);
  }
  return again ? now + period_ns_ : never_ns;
}

void timer_thread::run() {
  name_thread("troupe.timer");
  auto next_look = never_ns;
  for (;;) {
    const auto seen = signal_.load();
    if (stopping_.load())
      return;
    next_look = look(now_ns(), next_look);
    const auto now = now_ns();
    sleeping_until_.store(never_ns);
    std::size_t fired = 0;
    auto until = std::min(fire(now, fired), next_look);
    if (fired > 0 && after_fire_ != nullptr) {
      sleeping_until_.store(0);
      after_fire_();
      continue;
    }
    sleeping_until_.store(until);
    if (until == never_ns)
      futex_wait(signal_, seen);
    else if (until > now)
      futex_wait(signal_, seen, until - now);
    sleeping_until_.store(0);
  }
}

} // namespace troupe::sched
