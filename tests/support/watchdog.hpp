// SPDX-License-Identifier: MIT
// watchdog: the end of a test that hangs.
//
// It prints the actors, their mailboxes and what they wait for, then aborts.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "support/sanitized.hpp"
#include "troupe/system.hpp"

namespace test {

using namespace std::chrono_literals;

/// Waits until `done()` is true, `limit` at most; whether it became true.
template <class Predicate>
bool eventually(std::chrono::nanoseconds limit, Predicate done) {
  auto until = std::chrono::steady_clock::now() + limit;
  for (auto pause = std::chrono::microseconds{10};;) {
    if (done())
      return true;
    if (std::chrono::steady_clock::now() >= until)
      return done();
    std::this_thread::sleep_for(pause); // sleeps: between two looks
    pause = std::min(pause * 2, std::chrono::microseconds{5000});
  }
}

/// Prints `sys` and aborts unless it goes away within `limit`, or four times as
/// long where a sanitizer watches.
class watchdog {
public:
  explicit watchdog(troupe::system& sys, std::chrono::seconds limit = 30s)
    : thread_([this, &sys, limit] {
        constexpr int slower = is_sanitized ? 4 : 1;
        if (eventually(limit * slower, [this] { return over_.load(); }))
          return;
        std::fprintf(stderr, "a test hangs:\n%s", sys.describe().c_str());
        std::abort();
      }) {}
  ~watchdog() {
    over_ = true;
    thread_.join();
  }

private:
  std::atomic<bool> over_{false};
  std::thread thread_;
};

} // namespace test
