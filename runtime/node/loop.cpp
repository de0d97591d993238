// SPDX-License-Identifier: MIT
#include "node/loop.hpp"

#include "core/context.hpp"
#include "core/log.hpp"
#include "sched/timer_thread.hpp"

#include <sched.h>

#include <algorithm>
#include <exception>

namespace troupe::nodes {

namespace {

// How long the thread leaves the loop to helpers.
constexpr std::int64_t nap_ns = 200'000;
// Sleeps below this are those of a conversation: it is worth to look around
// before the next one.
constexpr std::int64_t short_sleep_ns = 1'000'000;
constexpr std::int64_t spin_least_ns = 2'000;
constexpr int drain_rounds = 10'000;

constinit thread_local const loop* driven_here = nullptr;

} // namespace

loop::loop(sched::scheduler& workers, std::int64_t spin_max_ns)
  : workers_(workers),
    context_(std::make_shared<asio::io_context>(1)),
    guard_(context_->get_executor()),
    spin_max_ns_(spin_max_ns),
    thread_([this] { run(); }) {}

loop::~loop() {
  stop();
}

void loop::stop() {
  if (over_.exchange(true))
    return;
  wake();
  nap_.fetch_add(1);
  sched::futex_wake(nap_);
  if (thread_.joinable())
    thread_.join();
}

void loop::drain() {
  for (int i = 0; i < drain_rounds && context_->poll() != 0; ++i) {}
}

bool loop::is_driver() const noexcept {
  return driven_here == this;
}

void loop::wake() {
  asio::post(*context_, [] {});
}

void loop::note(std::shared_ptr<flushable> who) {
  {
    const std::lock_guard guard{mutex_};
    notes_.push_back(std::move(who));
  }
  std::atomic_thread_fence(std::memory_order_seq_cst); // pairs with run's
  if (asleep_.load(std::memory_order_relaxed))
    wake();
}

bool loop::has_notes() {
  const std::lock_guard guard{mutex_};
  return !notes_.empty();
}

bool loop::take_over() {
  return !driven_.load(std::memory_order_relaxed)
         && !driven_.exchange(true, std::memory_order_acquire);
}

// Requires: the right to drive.
bool loop::turn() {
  const detail::upkeep_scope upkeep{workers_};
  const auto* before = std::exchange(driven_here, this);
  auto any = false;
  try {
    {
      const std::lock_guard guard{mutex_};
      taken_.swap(notes_);
    }
    for (auto& who : taken_)
      who->flush();
    any = !taken_.empty();
    any = context_->poll() != 0 || any;
  } catch (const std::exception& e) {
    detail::log().error("a connection to a node: {}", e.what());
    any = true;
  }
  taken_.clear();
  driven_here = before;
  return any;
}

bool loop::try_turn() {
  if (driven_here == this || !take_over())
    return false;
  const auto any = turn();
  give_up_driving();
  return any;
}

void loop::leave_help(bool is_ready) {
  helped_at_.store(sched::now_ns(), std::memory_order_relaxed);
  if (helpers_.fetch_sub(1) == 1 && !is_ready) {
    helped_at_.store(0, std::memory_order_relaxed);
    nap_.fetch_add(1);
    sched::futex_wake(nap_);
  }
}

// Whether the loop is left to helpers for now.
bool loop::nap() {
  const auto seen = nap_.load();
  if (helpers_.load() == 0
      && sched::now_ns() - helped_at_.load(std::memory_order_relaxed) > nap_ns)
    return false;
  if (!over_.load())
    sched::futex_wait(nap_, seen, nap_ns);
  return true;
}

void loop::run() {
  sched::name_thread("troupe.node");
  auto spin_ns = spin_max_ns_;
  auto busy_at = sched::now_ns();
  while (!over_.load()) {
    if (nap()) {
      try_turn(); // a helper may have lost its core between two turns
      busy_at = sched::now_ns();
      continue;
    }
    if (!take_over()) {
      ::sched_yield();
      continue;
    }
    if (turn()) {
      give_up_driving();
      busy_at = sched::now_ns();
      continue;
    }
    if (sched::now_ns() - busy_at < spin_ns) {
      give_up_driving();
      ::sched_yield();
      continue;
    }
    asleep_.store(true, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_seq_cst); // pairs with note's
    const auto slept_at = sched::now_ns();
    if (!has_notes() && !over_.load()) {
      driven_here = this;
      const detail::upkeep_scope upkeep{workers_};
      try {
        context_->run_one();
      } catch (const std::exception& e) {
        detail::log().error("a connection to a node: {}", e.what());
      }
      driven_here = nullptr;
    }
    asleep_.store(false, std::memory_order_relaxed);
    give_up_driving();
    busy_at = sched::now_ns();
    spin_ns = busy_at - slept_at < short_sleep_ns
                ? spin_max_ns_
                : std::max(spin_least_ns, spin_ns / 2);
  }
}

} // namespace troupe::nodes
