// SPDX-License-Identifier: MIT
// worker: one thread of the scheduler. See scheduler.hpp for the protocol.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include <caf/execution_unit.hpp>
#include <caf/resumable.hpp>

#include "sched/deque.hpp"
#include "sched/slot.hpp"
#include "sched/steal_pace.hpp"

namespace troupe::sched {

class scheduler;

/// What a job's `resume` returns that has no reference to give back and may not
/// exist any more.
inline constexpr auto run_and_gone = caf::resumable::shutdown_execution_unit;

/// Told, in its thread, when the job that a worker runs begins and ends a wait
/// that may hang on further jobs of the same kind.
class wait_listener {
public:
  virtual void wait_begins() = 0;
  virtual void wait_ends() = 0;

protected:
  ~wait_listener() = default;
};

class worker final : public caf::execution_unit {
public:
  worker(scheduler& parent, std::size_t index);

  /// CAF's way to schedule on this worker; from another thread it injects.
  void exec_later(caf::resumable* job) override;

  /// Puts `job` into the slot; what was there moves to the deque.
  void push(caf::resumable* job);

  scheduler& parent() { return parent_; }

  std::size_t index() const { return index_; }

  /// The worker that runs the calling thread, else null.
  static worker* current() { return current_; }

  /// Counts a job as begun; grows by one each time, so that an onlooker can
  /// tell a long job from many short ones.
  std::uint64_t turn() const { return turn_.load(std::memory_order_relaxed); }

  /// Adds to the messages that its jobs have handled.
  void count_messages(std::uint64_t n) {
    messages_.store(messages() + n, std::memory_order_relaxed);
  }
  std::uint64_t messages() const {
    return messages_.load(std::memory_order_relaxed);
  }

  /// What it has got done: messages, and jobs without any.
  std::uint64_t progress() const {
    return messages() + others_.load(std::memory_order_relaxed);
  }

  bool is_busy() const { return busy_.load(std::memory_order_relaxed); }

  /// Who wants to know of the waits of the job that runs; null for nobody.
  void listen(wait_listener* l) { listener_ = l; }

  /// For how long the monitor has seen it in the same job; a lower bound.
  std::int64_t looked_at_for_ns() const {
    return looked_at_ns_.load(std::memory_order_relaxed);
  }

private:
  friend class scheduler;
  friend class blocking_section;

  void run();
  void run_job(caf::resumable* job);
  caf::resumable* next();
  caf::resumable* search();
  caf::resumable* steal();
  void push_deque(caf::resumable* job);
  bool may_steal(std::int64_t now);
  void conclude(steal_pace::verdict v);
  void end_rest();
  steal_pace::look look_at(const worker& other, std::int64_t now) const {
    return {now, progress(), other.progress()};
  }
  void nap();
  void join_parked_locked();
  bool leave_parked_locked();
  void sleep();
  bool park(bool was_searching);
  void unpark();
  void found_work();
  void adapt_spin(std::int64_t slept_ns);
  void yield_place();
  void hand_over();
  void enter_blocking();
  void exit_blocking();

  static constinit thread_local worker* current_;

  scheduler& parent_;
  const std::size_t index_;
  job_slot<caf::resumable> slot_;
  std::uint32_t streak_ = 0;
  std::uint32_t random_;
  std::atomic<std::uint64_t> turn_{0}, messages_{0}, others_{0};
  std::atomic<bool> busy_{false};
  std::atomic<bool> stalled_{false}; // written under the scheduler's mutex
  bool blocked_ = false;
  wait_listener* listener_ = nullptr;
  bool is_parked_ = false; // under the scheduler's mutex
  steal_pace pace_;
  const worker* stole_from_ = nullptr; // the last one that is compared with
  bool is_measured_ = false;           // what it does since
  std::int64_t spin_ns_ = 0;
  int missed_ = 0;                 // looks in vain, in a row
  int patience_ = 0;               // short sleeps before the next one
  std::uint64_t watched_turn_ = 0; // monitor only
  int watched_looks_ = 0;          // monitor only
  std::atomic<std::int64_t> looked_at_ns_{0};
  job_deque<caf::resumable> deque_;
  alignas(64) std::atomic<std::uint32_t> signal_{0};
  // Counters, written by the owner alone.
  std::atomic<std::uint64_t> steals_{0}, parks_{0}, wakes_{0};
  std::thread thread_;
};

/// Told when its thread, which is no worker, blocks and goes on.
struct block_hook {
  void (*blocks)(void* of) = nullptr;
  void (*goes_on)(void* of) = nullptr;
  void* of = nullptr;
};
extern constinit thread_local block_hook on_block;

/// For as long as it lives the calling thread waits for something: if it is a
/// worker, another may take its place. Nests; free on other threads. `tell`:
/// the job's wait_listener is told.
class blocking_section {
public:
  explicit blocking_section(bool tell = false);
  ~blocking_section();
  blocking_section(const blocking_section&) = delete;
  blocking_section& operator=(const blocking_section&) = delete;

private:
  bool hooked_ = false;
  worker* worker_ = nullptr;
  wait_listener* told_ = nullptr;
};

} // namespace troupe::sched
