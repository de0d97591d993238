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

inline constexpr int table_actors = 20;
inline constexpr int table_requests = 10'000; // each
inline constexpr int table_write_percent = 10;
inline constexpr int table_keys = 512;

inline constexpr int list_actors = 20;
inline constexpr int list_requests = 1'000; // each; scaled from 8,000
inline constexpr int list_write_percent = 10;
inline constexpr int list_size_percent = 1;
inline constexpr int list_keys = 4'096;

inline constexpr int made_sides = 40;    // producers, and consumers
inline constexpr int made_items = 1'000; // each
inline constexpr int made_work = 25;
inline constexpr int buffer_places = 50;

inline constexpr int diners = 20;
inline constexpr int dinners = 2'000; // each; scaled from 10,000

inline constexpr int smokers = 200;
inline constexpr int smoke_rounds = 1'000;

inline constexpr int customers = 5'000;
inline constexpr int waiting_seats = 1'000;
inline constexpr int haircut_work = 1'000; // steps of a sequence

inline constexpr int series = 10;
inline constexpr int series_terms = 25'000;

inline constexpr int bank_accounts = 1'000;
inline constexpr int bank_transfers = 50'000;
inline constexpr int bank_balance = 1'000'000;

inline constexpr int radix_values = 50'000; // scaled from 100,000
inline constexpr int radix_bits = 60;

inline constexpr int bank_channels = 8;
inline constexpr int bank_columns = 32;     // scaled from 16,384
inline constexpr int bank_samples = 20'000; // scaled from 34,816
inline constexpr int bank_sample_max = 1'000;

inline constexpr int sieve_below = 100'000;
inline constexpr int sieve_primes = 9'592;
inline constexpr int sieve_local_primes = 1'000; // in one actor

inline constexpr int bitonic_values = 4'096;

inline constexpr int web_nodes = 50'001; // scaled from 200,000
inline constexpr int web_children = 10;
inline constexpr int web_work = 500; // steps of a sequence

inline constexpr int sorted_values = 1'000'000;
inline constexpr int sorted_alone = 2'048; // fewer are not divided

inline constexpr int searchers = 20;        // n-queens and A*
inline constexpr int queens = 14;           // scaled from 12, which takes 5 ms
inline constexpr int queens_alone_from = 4; // rows
inline constexpr std::int64_t queens_solutions = 365'596;

inline constexpr int grid_side = 100;  // scaled from 30, which takes 2 ms
inline constexpr int grid_steps = 100; // of one searcher at a time

inline constexpr int fibonacci_of = 25;
inline constexpr int fibonacci_is = 75'025;

constexpr double series_rate(int i) {
  return 3.46 + 0.0025 * i;
}

inline double series_end(int i) {
  double x = i * 0.01;
  for (int n = 0; n < series_terms; ++n)
    x = series_rate(i) * x * (1 - x);
  return x;
}

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

/// The load of one haircut, or one smoke.
inline std::uint64_t busy(int steps) {
  sequence s{1};
  std::uint64_t x = 0;
  for (int i = 0; i < steps; ++i)
    x += s.next();
  return x;
}

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
  return a == b
           ? a
           : static_cast<colour>(3 - static_cast<int>(a) - static_cast<int>(b));
}

inline double ms(const stopwatch& since) {
  return since.seconds() * 1e3;
}

} // namespace bench::savina
