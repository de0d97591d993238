// SPDX-License-Identifier: MIT
// seed: random tests that can be repeated. The seed is printed when a test
// fails; TROUPE_SEED=N runs the same again.
#pragma once

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <cstdlib>
#include <random>

namespace test {

inline std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* given = std::getenv("TROUPE_SEED"))
      return std::strtoull(given, nullptr, 0);
    return (static_cast<unsigned long long>(std::random_device{}()) << 32)
           | std::random_device{}();
  }();
  return value;
}

/// Numbers from the seed, printed with whatever fails while this lives.
class random_source {
public:
  using result_type = std::mt19937_64::result_type;

  static constexpr result_type min() { return std::mt19937_64::min(); }
  static constexpr result_type max() { return std::mt19937_64::max(); }
  result_type operator()() { return engine_(); }

  /// 0 <= result < end. Requires: end > 0.
  std::size_t below(std::size_t end) { return engine_() % end; }
  bool chance(unsigned percent) { return below(100) < percent; }

private:
  std::mt19937_64 engine_{seed()};
};

} // namespace test

#define TEST_WITH_SEED() \
  BOOST_TEST_CONTEXT("repeat with TROUPE_SEED=" << test::seed())
