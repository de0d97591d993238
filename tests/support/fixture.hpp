// SPDX-License-Identifier: MIT
// fixture: what the tests of the runtime share.
//
// `live_system` makes a system with a watchdog, and fails the test when an
// actor outlives it or its end was not clean.
#pragma once

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>

#include "support/sanitized.hpp"
#include "support/watchdog.hpp"
#include "troupe/troupe.hpp"

namespace test {

using namespace std::chrono_literals;

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
