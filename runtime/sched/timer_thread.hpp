// SPDX-License-Identifier: MIT
// timer_thread: the one thread that waits for due times. It sleeps without a
// limit while nothing is due and the monitor has nothing to watch.
// Who may call: anybody. A node's `fire` runs under the lock of its wheel, and
// may neither add nor remove: after `remove` returned, it neither runs nor will
// run.
// Invariant:  there are several wheels, so that workers whose actors wait don't
//             wait for each other; a node stays with that of the thread which
//             added it first.
// Pairing:    `add` reads sleeping_until_ under its wheel's lock. Before it
//             looks at the wheels the thread has stored `never` there, so who
//             comes after its look says so, and who came before is seen; the
//             signal that it sleeps on was read before both. Checked in every
//             order by tests/model_timers_test.cpp.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "sched/adaptive_mutex.hpp"
#include "sched/timer_wheel.hpp"

namespace troupe::sched {

class timer_thread {
public:
  /// `monitor` is called every `monitor_period_ns` while armed; it answers
  /// whether it wants to stay armed.
  explicit timer_thread(std::function<bool()> monitor,
                        std::int64_t monitor_period_ns);
  ~timer_thread();

  /// Called without the lock after nodes have fired.
  void set_after_fire(void (*f)()) { after_fire_ = f; }

  /// Due times are steady-clock nanoseconds, rounded up to 1 ms. A node that is
  /// linked already is moved.
  void add(timer_node& node, std::int64_t due_ns);

  /// False when the node was not linked (fired already, or never added).
  bool remove(timer_node& node);

  /// Starts the monitor's ticks unless they run; cheap when they do.
  void arm_monitor() {
    if (!armed_.load(std::memory_order_relaxed))
      start_monitor();
  }

  /// Ends the thread; what is linked stays unfired. Idempotent.
  void stop();

private:
  struct alignas(64) part {
    adaptive_mutex mutex;
    timer_wheel wheel; // under mutex
  };

  part& part_of(timer_node& node);
  void start_monitor();
  void start_thread();
  void run();
  std::int64_t look(std::int64_t now, std::int64_t next);
  std::int64_t fire(std::int64_t now, std::size_t& fired);
  void wake();

  std::array<part, 16> parts_;
  std::function<bool()> monitor_;
  std::int64_t period_ns_;
  void (*after_fire_)() = nullptr; // set before the first node
  // 0: it looks at the wheels before it sleeps.
  std::atomic<std::int64_t> sleeping_until_{0};
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> armed_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<bool> is_started_{false};
  std::mutex mutex_; // of the thread's start
  std::thread thread_;
};

/// Names the calling thread, at most 15 characters.
void name_thread(const char* name);

} // namespace troupe::sched
