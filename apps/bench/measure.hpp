// SPDX-License-Identifier: MIT
// measure: what every side of a benchmark, ours or a peer's, counts with.
// A workload runs in a process of its own, checks its own result by
// `expect`, and returns its figures by the name of their row.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <fstream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

/// What a workload runs with.
struct setting {
  unsigned workers = 2; ///< threads of the pool or scheduler
};

/// What one run found: row -> value in the row's unit.
using figures = std::map<std::string, double>;

/// What a side has counted by itself in this process: messages, steals, ...
figures& counted();

/// Seconds of wall-clock time since it was made.
class stopwatch {
public:
  double seconds() const {
    return std::chrono::duration<double>(clock::now() - start_).count();
  }

  /// Nanoseconds for each of `n` operations.
  double ns_per(double n) const { return seconds() * 1e9 / n; }

private:
  using clock = std::chrono::steady_clock;
  clock::time_point start_ = clock::now();
};

/// Where the main thread waits for actors or tasks to say that they are done.
/// A thread waits here, not an actor: it is the same for each contender.
class gate {
public:
  void open() {
    std::lock_guard lock{mutex_};
    is_open_ = true;
    opened_.notify_all();
  }

  /// Waits for `open` and closes the gate again.
  void pass() {
    std::unique_lock lock{mutex_};
    opened_.wait(lock, [this] { return is_open_; });
    is_open_ = false;
  }

private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool is_open_ = false;
};

/// A run whose result is wrong has no figure.
/// Errors: std::runtime_error, which names both values.
template <class T, class U>
void expect(const char* what, const T& found, const U& wanted) {
  if (found != static_cast<T>(wanted))
    throw std::runtime_error(std::string{what} + " is " + std::to_string(found)
                             + ", not " + std::to_string(wanted));
}

/// The `p`-quantile of `xs`, 0 <= p <= 1; 0 when there are none.
double quantile(std::vector<double> xs, double p);

/// Bytes of this process in RAM now.
double resident_bytes();

/// What the threads of this process have used so far, ended ones included
/// in the time but not in the switches.
struct usage {
  double cpu_seconds = 0;
  double switches = 0; ///< times a thread gave the core up or lost it
};

usage usage_now();

/// The figures of "idle" for the time between two looks, in which the
/// calling thread slept once. CPU time is at least what the kernel resolves.
figures idle_figures(const usage& before, const usage& after, double seconds);

} // namespace bench
