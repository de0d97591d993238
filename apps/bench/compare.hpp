// SPDX-License-Identifier: MIT
// compare: runs one workload against its peers, in turn, and sums it up.

#pragma once

#include "catalogue.hpp"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace bench {

struct plan {
  unsigned runs = 5;
  unsigned workers = 2;
  std::vector<std::string> peers; ///< those that the user wants
  bool warms_up = true;
  /// A side that took this long in a workload is not run again there.
  std::optional<std::chrono::milliseconds> budget = {};
  bool counts_allocations = false; ///< by one more run of each side in C++
};

/// The median of the runs, and how far they spread.
struct spread {
  double median = 0;
  double min = 0;
  double max = 0;
  std::vector<double> values = {}; ///< run by run
};

/// One side of a row: figures, or why there are none.
struct side {
  std::optional<spread> found;
  std::string failure;
};

struct outcome {
  row what;
  side ours;
  std::map<std::string, side> peers;
  /// In the first row of a workload: what each side counted, medians.
  std::map<std::string, std::map<std::string, double>> counts = {};

  /// How many times better we are than `peer`, the median over the pairs of
  /// runs that followed each other; none without both figures.
  std::optional<double> ratio(const std::string& peer) const;

  /// Whether the target is met; none where there is no target or no figure.
  std::optional<bool> is_met() const;
  std::optional<bool> is_met(const target& goal) const;
};

/// Called before each run, with a text such as "skynet 3/6 caf".
using progress = std::function<void(const std::string&)>;

/// Shape: ours, peer, ours, peer, ...: what disturbs the machine disturbs
///        all. A first round may be a warm-up and is not counted. A side that
///        fails is not run again.
std::vector<outcome> compare(const workload& what, const plan& how,
                             const progress& tell);

} // namespace bench
