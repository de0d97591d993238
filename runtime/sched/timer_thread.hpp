// SPDX-License-Identifier: MIT
// timer_thread: the one thread that waits for due times. It sleeps without a
// limit while nothing is due and the monitor has nothing to watch.
// Who may call: anybody. A node's `fire` runs under the lock: after `remove`
// returned, it neither runs nor will run.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

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
  void start_monitor();
  void run();
  void ensure_thread(); // under mutex_
  void wake();

  std::mutex mutex_;
  timer_wheel wheel_;
  std::function<bool()> monitor_;
  std::int64_t period_ns_;
  void (*after_fire_)() = nullptr;  // set before the first node
  std::int64_t sleeping_until_ = 0; // under mutex_
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<bool> armed_{false};
  bool stopping_ = false;
  std::thread thread_;
};

/// Names the calling thread, at most 15 characters.
void name_thread(const char* name);

} // namespace troupe::sched
