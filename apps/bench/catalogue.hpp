// SPDX-License-Identifier: MIT
// catalogue: the table of what is measured, against whom, and what we are to
// reach. A workload is one process; it gives the figures of one row or more.

#pragma once

#include <chrono>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace bench {

/// What a row must reach: a ratio to a peer, an absolute value, or nothing.
struct target {
  enum kind_t { none, ratio_min, value_max } kind = none;
  double bound = 0;
  std::string peer = {};
};

struct row {
  std::string name;
  std::string unit;
  target goal = {};
  target also = {}; ///< a second one; both have to be met
  bool higher_is_better = false;
  bool is_savina = false;
  std::string reason = {}; ///< why a peer may be ahead of us here
};

struct workload {
  std::string name;
  std::string says; ///< one line for --list
  std::vector<std::string> peers;
  std::vector<row> rows;
  std::string note = {}; ///< what a reader of the table must know
  bool has_warm_up = true;
  std::chrono::seconds limit{60}; ///< for one run of one side
  bool is_quick = true;           ///< has its place in --quick
  /// What a peer in another language needs to know, in its order.
  std::vector<std::int64_t> sizes = {};
};

/// All workloads, in the order of the table.
std::span<const workload> catalogue();

/// The names of the peers that some workload is compared with.
std::span<const std::string> peer_names();

} // namespace bench
