// SPDX-License-Identifier: MIT
// scheduler: CAF's scheduler module, ours: workers with a LIFO slot and a
// stealing deque each, one shared injection queue, and exact parking.
//
//   outside ──inject──▶ [ injection queue ] ─┐ every 61st turn, or when dry
//   worker: tell ─▶ slot ─▶ deque (LIFO) ────┼─▶ resume ─▶ again / idle / done
//                        ◀──── steal (FIFO) ─┘
//
// Protocol:
// 1. A worker is awake (counted in `awake_`), parked (in `parked_`), blocked
//    (inside user code that waits; in `blocked_`) or stalled (see 5; in
//    `stalled_`). At most `limit_` are awake; none is idle but the parked.
// 2. Injecting and parking take `mutex_`, so no injected job is missed: a
//    worker parks only after it saw the queue empty under the lock, an injector
//    sees under the lock who is parked.
// 3. While somebody searches, nobody is woken; the last searcher that finds a
//    job wakes the next if there is more (chain, Go and Tokio). A thread that
//    brings many jobs in a row does without until the last of them is in
//    (`wake_once`): a worker that wakes for each would take its core.
// 4. Jobs in a deque are never lost: their owner runs them before it parks.
//    Waking others for them is for speed alone, unless the owner blocks; then
//    rule 5 holds.
// 5. A worker that blocks gives up its place (`awake_` falls), hands its slot
//    over and wakes or starts a spare. The monitor does the same on behalf of a
//    worker that has been in one job for too long while work waits.
// 6. Where jobs get more done on one worker than on two (steal_pace.hpp), the
//    one that found out rests: it sleeps for at most 1 ms and then tries again.
//    Meanwhile nobody steals, and until somebody finds it better spread, a
//    backlog wakes nobody. What is injected is not concerned, and the monitor
//    ends it where nobody rests. All of it is a matter of speed alone.
// 7. Stop: `stopping_` is set under the lock, all are woken, each leaves after
//    the job in hand; what is still queued is released by `stop`.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include <caf/detail/thread_safe_actor_clock.hpp>
#include <caf/scheduler/abstract_coordinator.hpp>

#include "sched/timer_thread.hpp"
#include "sched/worker.hpp"

namespace troupe::sched {

struct scheduler_options {
  std::size_t workers = 1;      // 1..1024
  std::size_t throughput = 300; // messages per resume
  std::size_t spares_max = 256; // threads started for blocked workers
  std::int64_t stall_ns = 20'000'000;
  std::int64_t spin_max_ns = 50'000;
  /// Called before each resume of a plain CAF actor (may be null).
  void (*adopt)(caf::resumable*) = nullptr;
};

/// Counters since the start; sums over the workers.
struct scheduler_counts {
  std::uint64_t resumes = 0, steals = 0, parks = 0, wakes = 0, injected = 0,
                stalls = 0;
  std::size_t threads = 0, awake = 0, queued = 0;
};

class scheduler final : public caf::scheduler::abstract_coordinator {
public:
  scheduler(caf::actor_system& sys, const scheduler_options& opts);
  ~scheduler() override;

  // -- jobs -------------------------------------------------------------------

  /// Runs `job` soon. From one of our workers it goes to that worker's slot,
  /// else to the injection queue. Takes over one reference.
  void enqueue(caf::resumable* job) override;

  /// Appends to the injection queue and wakes a worker if that helps.
  void inject(caf::resumable* job);
  void inject_locked(caf::resumable* job);
  // -- pools ------------------------------------------------------------------

  /// Raises the number of workers that may be awake to at least `n`, for as
  /// long as the pool that asks lives.
  void reserve(std::size_t n);
  void unreserve(std::size_t n);

  // -- state ------------------------------------------------------------------

  /// True when nothing runs or waits to run on the workers.
  bool is_idle() const;

  /// True once the workers leave: what is queued from then on never runs.
  bool is_stopping() const { return stopping_.load(); }

  scheduler_counts counts() const;

  /// Calls `f(const worker&)` for each worker started so far.
  template <class F>
  void for_each_worker(F f) const {
    auto n = started_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < n; ++i)
      f(*workers_[i]);
  }

  timer_thread& timers() { return timers_; }

  const scheduler_options& options() const { return options_; }

  // -- CAF's module interface -------------------------------------------------

  void start() override;
  void stop() override;
  caf::actor_clock& clock() noexcept override;

  /// Stops the workers without joining those that do not come back within
  /// `patience_ns`; true when all ended.
  bool stop_workers(std::int64_t patience_ns);

private:
  friend class worker;
  friend class wake_once;

  // A worker that must be signalled once the lock is released.
  worker* take_sleeper_locked();
  void start_worker_locked();
  static void count_wake(worker& w);
  bool has_work() const;
  bool may_wake() const {
    return searching_.load(std::memory_order_seq_cst) == 0
           && awake_.load(std::memory_order_seq_cst)
                < limit_.load(std::memory_order_relaxed);
  }
  void wake_one();
  void wake_for_backlog() {
    if (may_wake() && !together_.load(std::memory_order_relaxed))
      wake_one();
  }
  caf::resumable* take_injected(worker* taker);
  bool look_for_stalls();

  scheduler_options options_;
  mutable std::mutex mutex_;
  std::deque<caf::resumable*> injected_;         // under mutex_
  std::atomic<std::size_t> injected_size_{0};    // written under mutex_
  std::vector<worker*> parked_;                  // under mutex_; a stack
  std::vector<std::unique_ptr<worker>> workers_; // never grows past capacity
  std::atomic<std::size_t> started_{0};
  std::vector<std::size_t> reservations_; // under mutex_
  alignas(64) std::atomic<int> awake_{0};
  std::atomic<int> searching_{0};
  std::atomic<int> limit_{1};
  std::atomic<int> blocked_{0};          // workers inside a blocking_section
  std::atomic<worker*> rester_{nullptr}; // rests, and looks again, for all
  std::atomic<bool> together_{false};    // a backlog wakes nobody
  // No worker compares before: one has just found it better spread. While one
  // does, the others that have nothing to do may not steal.
  std::atomic<std::int64_t> spread_until_ns_{0};
  std::atomic<bool> stopping_{false};
  int stalled_ = 0; // under mutex_; workers whose place is taken
  std::uint64_t injected_total_ = 0; // under mutex_
  std::uint64_t stalls_ = 0;         // monitor only
  int quiet_looks_ = 0;              // monitor only
  std::atomic<std::uint32_t> ended_{0};
  timer_thread timers_;
  caf::detail::thread_safe_actor_clock clock_;
  std::once_flag clock_once_;
  std::thread clock_thread_;
};

/// While it lives, what its thread injects there wakes nobody; its end wakes a
/// worker if there is still something to do. They nest, the inmost one counts.
/// A thread that waits meanwhile lets its jobs wait no longer than a look of
/// the monitor.
class wake_once {
public:
  explicit wake_once(scheduler& of) noexcept
    : of_(of),
      before_(std::exchange(current_, this)) {}
  wake_once(const wake_once&) = delete;
  wake_once& operator=(const wake_once&) = delete;
  ~wake_once() {
    current_ = before_;
    if (injected_ && of_.injected_size_.load() != 0)
      of_.wake_for_backlog();
  }

private:
  friend class scheduler;

  // Whether the wake-up for a job of `s` is left to it.
  static bool takes_over(const scheduler& s) noexcept {
    if (current_ == nullptr || &current_->of_ != &s)
      return false;
    return current_->injected_ = true;
  }

  static constinit thread_local wake_once* current_;

  scheduler& of_;
  wake_once* const before_;
  bool injected_ = false;
};

} // namespace troupe::sched
