// SPDX-License-Identifier: MIT
#include "sched/scheduler.hpp"

#include <algorithm>

#include <caf/actor_system.hpp>

#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::sched {

constinit thread_local wake_once* wake_once::current_ = nullptr;

scheduler::scheduler(caf::actor_system& sys, const scheduler_options& opts)
  : abstract_coordinator(sys),
    options_(opts),
    timers_([this] { return look_for_stalls(); }, opts.stall_ns / 2) {
  workers_.reserve(opts.workers + opts.spares_max + 1024);
  limit_ = static_cast<int>(opts.workers);
}

scheduler::~scheduler() = default;

// -- jobs ---------------------------------------------------------------------

void scheduler::enqueue(caf::resumable* job) {
  auto* w = worker::current();
  if (w != nullptr && &w->parent() == this)
    w->push(job);
  else
    inject(job);
}

void scheduler::inject(caf::resumable* job) {
  worker* sleeper = nullptr;
  {
    std::lock_guard guard{mutex_};
    inject_locked(job);
    if (!wake_once::takes_over(*this) && may_wake())
      sleeper = take_sleeper_locked();
  }
  if (sleeper != nullptr)
    sleeper->unpark();
  timers_.arm_monitor();
}

void scheduler::inject_locked(caf::resumable* job) {
  injected_.push_back(job);
  injected_size_.store(injected_.size());
  ++injected_total_;
}

// `taker` gets a fair share of the queue into its own deque, null only one.
caf::resumable* scheduler::take_injected(worker* taker) {
  if (injected_size_.load(std::memory_order_seq_cst) == 0)
    return nullptr;
  std::lock_guard guard{mutex_};
  if (injected_.empty())
    return nullptr;
  auto* job = injected_.front();
  injected_.pop_front();
  if (taker != nullptr) {
    auto share = injected_.size() / static_cast<std::size_t>(limit_.load());
    share = std::min<std::size_t>(share, 64);
    // The deque runs its youngest first: put them in from last to first.
    for (std::size_t i = share; i-- > 0;)
      if (!taker->deque_.push(injected_[i]))
        std::abort(); // the taker's deque is empty and holds 4096
    injected_.erase(injected_.begin(),
                    injected_.begin() + static_cast<std::ptrdiff_t>(share));
  }
  injected_size_.store(injected_.size());
  return job;
}

// -- waking -------------------------------------------------------------------

worker* scheduler::take_sleeper_locked() {
  if (stopping_.load(std::memory_order_relaxed))
    return nullptr;
  if (parked_.empty()) {
    auto most = static_cast<std::size_t>(limit_.load()) + options_.spares_max;
    if (started_.load() < std::min(most, workers_.capacity()))
      start_worker_locked();
    return nullptr;
  }
  auto* w = parked_.back();
  parked_.pop_back();
  w->is_parked_ = false;
  awake_.fetch_add(1);
  searching_.fetch_add(1);
  count_wake(*w);
  return w;
}

void scheduler::count_wake(worker& w) {
  w.wakes_.store(w.wakes_.load(std::memory_order_relaxed) + 1,
                 std::memory_order_relaxed);
}

void scheduler::wake_one() {
  worker* sleeper = nullptr;
  {
    std::lock_guard guard{mutex_};
    if (may_wake())
      sleeper = take_sleeper_locked();
  }
  if (sleeper != nullptr)
    sleeper->unpark();
}

void scheduler::start_worker_locked() {
  auto n = started_.load();
  workers_.push_back(std::make_unique<worker>(*this, n));
  auto* w = workers_.back().get();
  awake_.fetch_add(1);
  try {
    w->thread_ = std::thread{[w] { w->run(); }};
    started_.store(n + 1, std::memory_order_release);
  } catch (const std::system_error&) {
    // No thread to be had: the work waits for those that run.
    awake_.fetch_sub(1);
    workers_.pop_back();
  }
}

bool scheduler::has_work() const {
  if (injected_size_.load() > 0)
    return true;
  auto n = started_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < n; ++i)
    if (!workers_[i]->deque_.empty())
      return true;
  return false;
}

// -- the monitor --------------------------------------------------------------

bool scheduler::look_for_stalls() {
  auto n = started_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < n; ++i) {
    auto& w = *workers_[i];
    auto turn = w.turn();
    if (!w.is_busy() || turn != w.watched_turn_) {
      w.watched_turn_ = turn;
      w.watched_looks_ = 0;
      w.looked_at_ns_.store(0, std::memory_order_relaxed);
      continue;
    }
    ++w.watched_looks_;
    w.looked_at_ns_.store(w.watched_looks_ * options_.stall_ns / 2,
                          std::memory_order_relaxed);
    if (w.watched_looks_ < 2)
      continue;
    // In one job for at least `stall_ns`: free what waits behind it.
    while (auto* job = w.deque_.steal())
      inject(job);
    if (auto* job = w.slot_.take_from_outside())
      inject(job);
    worker* sleeper = nullptr;
    {
      std::lock_guard guard{mutex_};
      if (w.blocked_ || w.stalled_.load() || w.turn() != turn || !has_work()
          || awake_.load() < limit_.load())
        continue;
      w.stalled_.store(true);
      ++stalled_;
      awake_.fetch_sub(1);
      ++stalls_;
      sleeper = take_sleeper_locked();
    }
    if (sleeper != nullptr)
      sleeper->unpark();
  }
  // A lost wake-up for backlog costs no more than one look.
  if (rester_.load(std::memory_order_relaxed) == nullptr)
    together_.store(false, std::memory_order_relaxed);
  if (has_work())
    wake_for_backlog();
  std::lock_guard guard{mutex_};
  // A worker that is stalled or blocks may still make work, and then finds the
  // monitor armed: nobody else takes what is in its slot.
  if (awake_.load() > 0 || blocked_.load() > 0 || stalled_ > 0
      || !injected_.empty() || has_work()) {
    quiet_looks_ = 0;
    return true;
  }
  return ++quiet_looks_ < 8;
}

// -- pools --------------------------------------------------------------------

void scheduler::reserve(std::size_t n) {
  std::lock_guard guard{mutex_};
  reservations_.push_back(n);
  limit_.store(std::max(limit_.load(), static_cast<int>(n)));
}

void scheduler::unreserve(std::size_t n) {
  std::lock_guard guard{mutex_};
  auto i = std::find(reservations_.begin(), reservations_.end(), n);
  if (i != reservations_.end())
    reservations_.erase(i);
  auto limit = options_.workers;
  for (auto r : reservations_)
    limit = std::max(limit, r);
  limit_.store(static_cast<int>(limit));
}

// -- state --------------------------------------------------------------------

bool scheduler::is_idle() const {
  std::lock_guard guard{mutex_};
  return awake_.load() == 0 && blocked_.load() == 0 && stalled_ == 0
         && injected_.empty() && !has_work();
}

scheduler_counts scheduler::counts() const {
  scheduler_counts result;
  auto n = started_.load(std::memory_order_acquire);
  result.threads = n;
  for (std::size_t i = 0; i < n; ++i) {
    auto& w = *workers_[i];
    result.resumes += w.turn();
    result.steals += w.steals_.load(std::memory_order_relaxed);
    result.parks += w.parks_.load(std::memory_order_relaxed);
    result.wakes += w.wakes_.load(std::memory_order_relaxed);
    result.queued += static_cast<std::size_t>(w.deque_.size());
    result.queued += w.slot_.is_empty() ? 0 : 1;
  }
  std::lock_guard guard{mutex_};
  result.awake = static_cast<std::size_t>(std::max(0, awake_.load()));
  result.injected = injected_total_;
  result.stalls = stalls_;
  result.queued += injected_.size();
  return result;
}

// -- module -------------------------------------------------------------------

void scheduler::start() {
  max_throughput_ = options_.throughput;
  num_workers_ = options_.workers;
  std_atomics::register_fence_all();
  {
    std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < options_.workers; ++i)
      start_worker_locked();
  }
  if (started_.load() == 0)
    throw std::runtime_error{"no worker thread could be started"};
  abstract_coordinator::start();
}

bool scheduler::stop_workers(std::int64_t patience_ns) {
  {
    std::lock_guard guard{mutex_};
    stopping_.store(true);
    for (auto* w : parked_) {
      w->is_parked_ = false;
      awake_.fetch_add(1);
      searching_.fetch_add(1);
      w->unpark();
    }
    parked_.clear();
  }
  auto until = now_ns() + patience_ns;
  for (;;) {
    auto ended = ended_.load();
    if (ended >= started_.load())
      break;
    auto left = until - now_ns();
    if (left <= 0) {
      // Nobody waits for them any more: they go by themselves, if ever.
      for (auto& w : workers_)
        if (w->thread_.joinable())
          w->thread_.detach();
      return false;
    }
    futex_wait(ended_, ended, left);
  }
  for (auto& w : workers_)
    if (w->thread_.joinable())
      w->thread_.join();
  return true;
}

void scheduler::stop() {
  stop_workers(INT64_MAX / 2);
  stop_actors();
  timers_.stop();
  for (auto& w : workers_) {
    while (auto* job = w->slot_.take())
      cleanup_and_release(job);
    while (auto* job = w->deque_.pop())
      cleanup_and_release(job);
  }
  for (auto* job : injected_)
    cleanup_and_release(job);
  injected_.clear();
  if (clock_thread_.joinable()) {
    clock_.cancel_dispatch_loop();
    clock_thread_.join();
  }
}

caf::actor_clock& scheduler::clock() noexcept {
  std::call_once(clock_once_, [this] {
    clock_thread_ = std::thread{[this] {
      name_thread("troupe.cafclock");
      clock_.run_dispatch_loop();
    }};
  });
  return clock_;
}

} // namespace troupe::sched
