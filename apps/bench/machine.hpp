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

/// Before each run, of whichever side. On a virtual machine that gives its free
/// memory back to its host (a balloon with page reporting), whoever is first to
/// use some waits for the host, up to milliseconds per MiB: not for what is
/// measured. This uses 512 MiB and leaves them free. Elsewhere it does nothing.
void warm_memory();

} // namespace bench
