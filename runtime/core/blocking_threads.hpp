// SPDX-License-Identifier: MIT
// blocking_threads: threads for code that waits: actors placed `on_thread` and
// functions given to `blocking`. Started on demand, reused, ended when idle for
// 10 s.
// Limits: at most `max` threads; further functions wait in a queue, further
//         actors are refused.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

namespace troupe::detail {

class blocking_threads {
public:
  explicit blocking_threads(std::size_t max);
  ~blocking_threads();

  /// Runs `f` on one of the threads, later when all are taken.
  void run(std::function<void()> f);

  /// Runs `f` on a thread of its own now; false when all are taken.
  bool run_now(std::function<void()> f);

  /// Nothing runs or waits, apart from what `run_now` started.
  bool is_idle() const;

  std::size_t size() const;

  /// Ends the idle threads and waits for the others until `until` (steady
  /// nanoseconds); false when some did not end, they are left behind.
  bool stop(std::int64_t until);

private:
  struct thread_slot {
    std::thread thread;
    bool ended = false;
  };
  using slots = std::list<thread_slot>;

  bool start_locked(std::function<void()> f, bool owned);
  void loop(slots::iterator self, std::function<void()> f, bool owned);
  void reap_locked();

  const std::size_t max_;
  mutable std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable ended_;
  std::deque<std::function<void()>> queue_;
  slots threads_;
  std::size_t alive_ = 0;
  std::size_t idle_ = 0;
  std::size_t busy_ = 0; // functions of `run` in progress
  std::size_t next_ = 0;
  bool stopping_ = false;
};

} // namespace troupe::detail
