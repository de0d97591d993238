// SPDX-License-Identifier: MIT
// savina: sizes of the workloads of the Savina suite (Imam and Sarkar, 2014),
// and what both sides compute in them. As in the paper; "scaled" says where it
// would take seconds on two cores.

#pragma once

#include "measure.hpp"

#include <atomic>
#include <cmath>

namespace bench::savina {

inline constexpr int ring_actors = 100;
inline constexpr int ring_hops = 100'000;

inline constexpr int counts = 1'000'000;

inline constexpr int fork_actors = 60;
inline constexpr int fork_messages = 10'000; // each

inline constexpr int fork_creates = 40'000;

inline constexpr int chameneos = 100;
inline constexpr int meetings = 200'000;

inline constexpr int big_actors = 120;
inline constexpr int big_pings = 5'000; // each; scaled from 20,000

/// The load of one message of the fork-join programs.
inline double fork_work(int x) {
  const auto s = std::sin(37.2 + x);
  return s * s;
}

/// A sequence of numbers that is the same on each side.
class sequence {
public:
  explicit sequence(std::uint64_t seed)
    : x_(seed * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u) {}

  std::uint64_t next() {
    x_ = x_ * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
    return x_ >> 33;
  }
  int below(int n) {
    return static_cast<int>(next() % static_cast<std::uint64_t>(n));
  }

private:
  std::uint64_t x_;
};

/// Many parts of a program say here that they are done, and what they count.
class finish {
public:
  explicit finish(int parts) : left_(parts) {}

  void done(std::int64_t n = 0) {
    sum_ += n;
    if (left_.fetch_sub(1) == 1)
      all_.open();
  }
  /// Waits for all; the sum.
  std::int64_t wait() {
    all_.pass();
    return sum_;
  }

private:
  std::atomic<int> left_;
  std::atomic<std::int64_t> sum_{0};
  gate all_;
};

/// What both meet as.
enum class colour : std::uint8_t { blue, red, yellow };

constexpr colour complement(colour a, colour b) {
  return a == b ? a
                : static_cast<colour>(3 - static_cast<int>(a)
                                      - static_cast<int>(b));
}

inline double ms(const stopwatch& since) {
  return since.seconds() * 1e3;
}

} // namespace bench::savina
