// SPDX-License-Identifier: MIT
// machine: where and with what the figures were taken.

#pragma once

#include <string>

namespace bench {

struct machine {
  std::string cpu;
  unsigned cores = 0;       ///< of the machine
  unsigned usable_cpus = 0; ///< by this process: affinity and cgroup
  double memory_gib = 0;
  std::string kernel;
  std::string compiler;
  std::string build;
  double load_1m = 0; ///< load average when the bench began
};

machine this_machine();

/// `CAF 0.17.6, Go 1.19.8, ...`: those that are there. Asks their programs.
std::string peer_versions();

} // namespace bench
