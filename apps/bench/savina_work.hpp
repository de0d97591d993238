// SPDX-License-Identifier: MIT
// savina_work: what an actor of the suite computes by itself, the same on each
// side.

#pragma once

#include "savina.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <deque>
#include <vector>

namespace bench::savina {

using numbers = std::vector<std::int64_t>;

/// Numbers below 2^60, of the same sequence everywhere.
inline numbers some_numbers(int n) {
  sequence random{11};
  numbers result;
  for (int i = 0; i < n; ++i)
    result.push_back(static_cast<std::int64_t>(
      (random.next() << 31 | random.next()) & ((std::uint64_t{1} << 60) - 1)));
  return result;
}

inline std::int64_t low_bits_of_sum(const numbers& xs) {
  std::int64_t sum = 0;
  for (auto x : xs)
    sum += x % 1'000;
  return sum;
}

// -- quick sort ---------------------------------------------------------------

struct three_parts {
  numbers low, same, high;
};

inline three_parts split(numbers xs) {
  const auto pivot = xs[xs.size() / 2];
  three_parts parts;
  parts.low.reserve(xs.size() / 2);
  parts.high.reserve(xs.size() / 2);
  for (auto x : xs)
    (x < pivot ? parts.low : x > pivot ? parts.high : parts.same).push_back(x);
  return parts;
}

// -- filter bank --------------------------------------------------------------

/// What a filter multiplies with: small integers, so that every sum is exact.
inline std::vector<double> coefficients(int channel, int which) {
  std::vector<double> result;
  for (int i = 0; i < bank_columns; ++i)
    result.push_back((i * bank_channels + channel * 3 + which) % 11);
  return result;
}

/// The last values, as many as there are coefficients.
class filter_window {
public:
  explicit filter_window(std::vector<double> by)
    : by_(std::move(by)),
      values_(by_.size()) {}

  /// Takes a value; true once there is a result.
  bool take(double x, double& result) {
    values_[at_] = x;
    if (++at_ == values_.size()) {
      at_ = 0;
      is_full_ = true;
    }
    if (!is_full_)
      return false;
    result = 0;
    for (std::size_t i = 0; i < values_.size(); ++i)
      result += values_[i] * by_[by_.size() - 1 - i];
    return true;
  }

private:
  std::vector<double> by_, values_;
  std::size_t at_ = 0;
  bool is_full_ = false;
};

/// Gives back what it was given so many values ago, first zeros.
class delay_line {
public:
  explicit delay_line(int length) : values_(static_cast<std::size_t>(length)) {}

  double exchange(double x) {
    std::swap(x, values_[at_]);
    at_ = (at_ + 1) % values_.size();
    return x;
  }

private:
  std::vector<double> values_;
  std::size_t at_ = 0;
};

/// Lets one of so many values pass, zeros for the others.
class down_sampler {
public:
  double pass(double x) {
    at_ = (at_ + 1) % bank_columns;
    return at_ == 1 ? x : 0;
  }

private:
  int at_ = 0;
};

/// Puts the channels' results side by side.
class channel_rows {
public:
  /// True when the first row is complete.
  bool take(int channel, double x) {
    auto c = static_cast<std::size_t>(channel);
    if (waiting_[c]++ == rows_.size())
      rows_.push_back({std::vector<double>(bank_channels), 0});
    auto& r = rows_[waiting_[c] - 1];
    r.values[c] = x;
    return ++r.filled == bank_channels;
  }

  /// Requires: `take` was true.
  std::vector<double> first() {
    auto result = std::move(rows_.front().values);
    rows_.pop_front();
    for (auto& w : waiting_)
      --w;
    return result;
  }

private:
  struct row {
    std::vector<double> values;
    int filled;
  };
  std::deque<row> rows_;
  std::array<std::size_t, bank_channels> waiting_{};
};

inline constexpr int bank_results = bank_samples - 2 * (bank_columns - 1);

/// What all of it comes to.
inline double bank_sum() {
  double sum = 0;
  for (int c = 0; c < bank_channels; ++c) {
    delay_line first{bank_columns - 1}, second{bank_columns - 1};
    filter_window h{coefficients(c, 0)}, f{coefficients(c, 1)};
    down_sampler sampler;
    for (int i = 0; i < bank_samples; ++i) {
      double x = 0, y = 0;
      if (h.take(first.exchange(i % bank_sample_max), x)
          && f.take(second.exchange(sampler.pass(x)), y))
        sum += y;
    }
  }
  return sum;
}

// -- sieve --------------------------------------------------------------------

inline bool is_multiple(int x, const std::vector<int>& of) {
  return std::any_of(of.begin(), of.end(), [x](int p) { return x % p == 0; });
}

// -- bitonic sort -------------------------------------------------------------

struct comparison {
  int low, high; // wires: where the smaller one goes, and the larger one
};

/// The sorting network, the last step first.
template <class F>
void for_each_comparison_backwards(F f) {
  for (int k = bitonic_values; k >= 2; k /= 2)
    for (int j = 1; j < k; j *= 2)
      for (int i = 0; i < bitonic_values; ++i)
        if (int other = i ^ j; other > i)
          f((i & k) == 0 ? comparison{i, other} : comparison{other, i});
}

// -- n-queens -----------------------------------------------------------------

/// Columns and diagonals that are taken, as seen from the next row.
struct board {
  unsigned columns = 0, left = 0, right = 0;

  int rows() const { return std::popcount(columns); }
  unsigned free() const {
    return ~(columns | left | right) & ((1u << queens) - 1);
  }
  board with(unsigned bit) const {
    return {columns | bit, (left | bit) << 1, (right | bit) >> 1};
  }
};

/// Calls `f` with each board that has one queen more.
template <class F>
void for_each_next(const board& b, F f) {
  for (auto free = b.free(); free != 0; free &= free - 1)
    f(b.with(free & -free));
}

inline std::int64_t count_solutions(const board& b) {
  if (b.rows() == queens)
    return 1;
  std::int64_t sum = 0;
  for_each_next(b, [&](const board& next) { sum += count_solutions(next); });
  return sum;
}

// -- A* -----------------------------------------------------------------------

/// A cube of nodes; each is reached from one neighbour.
class grid {
public:
  static constexpr int size = grid_side * grid_side * grid_side;

  grid() : from_(size) {
    for (auto& f : from_)
      f = -1;
    from_[0] = 0;
  }

  /// Goes on from `first` for some steps; the nodes that are still to be
  /// visited remain in `open`.
  int search(int first, std::vector<int>& open) {
    open.assign(1, first);
    std::size_t at = 0;
    int visited = 0;
    for (; at < open.size() && visited < grid_steps; ++at, ++visited)
      for_each_neighbour(open[at], [&](int next) {
        int none = -1;
        if (from_[static_cast<std::size_t>(next)].compare_exchange_strong(
              none, open[at]))
          open.push_back(next);
      });
    open.erase(open.begin(), open.begin() + static_cast<std::ptrdiff_t>(at));
    return visited;
  }

  /// The steps from the far corner back to the first; -1 without a way.
  int way_back() const {
    int steps = 0;
    for (int at = size - 1; at != 0; ++steps)
      if (at = from_[static_cast<std::size_t>(at)]; at < 0)
        return -1;
    return steps;
  }

private:
  template <class F>
  static void for_each_neighbour(int node, F f) {
    const int x = node % grid_side, y = node / grid_side % grid_side,
              z = node / grid_side / grid_side;
    for (int way = 1; way < 8; ++way) {
      const int i = x + (way & 1), j = y + (way >> 1 & 1), k = z + (way >> 2);
      if (std::max({i, j, k}) < grid_side)
        f((k * grid_side + j) * grid_side + i);
    }
  }

  std::vector<std::atomic<int>> from_;
};

} // namespace bench::savina
