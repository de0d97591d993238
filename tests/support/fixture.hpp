// SPDX-License-Identifier: MIT
// fixture: what the tests of the runtime share.
//
// `watchdog` ends a test program that hangs: it prints the actors, their
// mailboxes and what they wait for, then aborts. `live_system` makes a system
// and fails the test when an actor outlives it or its end was not clean.
#pragma once

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "support/sanitized.hpp"
#include "troupe/troupe.hpp"

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

/// Prints `sys` and aborts unless it goes away within `limit`.
class watchdog {
public:
  explicit watchdog(troupe::system& sys, std::chrono::seconds limit = 30s)
    : thread_([this, &sys, limit] {
        if (eventually(limit, [this] { return over_.load(); }))
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

/// A system for a test case: two workers unless said otherwise.
class live_system {
public:
  explicit live_system(troupe::options opts = {.workers = 2},
                       std::chrono::seconds limit = 30s)
    : sys(std::move(opts)),
      dog_(sys, limit) {}
  ~live_system() {
    auto report = sys.stop();
    BOOST_TEST(report.clean, to_string(report));
    BOOST_TEST(sys.stats().actors_alive == 0u);
  }

  troupe::system sys;

private:
  watchdog dog_;
};

/// The text of the error of type E that `f` throws.
template <class E, class F>
std::string text_thrown(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string{"another error: "} + e.what();
  }
  return "no error";
}

/// Calls that must not be optimised into a lie: a value that a test owns and
/// actors change, counted.
struct counted {
  static inline std::atomic<int> alive{0};
  counted() { ++alive; }
  counted(const counted&) { ++alive; }
  counted(counted&&) noexcept { ++alive; }
  counted& operator=(const counted&) = default;
  ~counted() { --alive; }
};

} // namespace test
