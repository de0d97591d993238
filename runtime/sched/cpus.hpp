// SPDX-License-Identifier: MIT
// cpus: how many processors this process may really use.
#pragma once

#include <cstddef>
#include <string>

namespace troupe::sched {

/// Usable CPUs: min(affinity mask, ceil(quota of the cgroup's cpu.max)), at
/// least 1. Source: pool-size rule of CPython's process_cpu_count, and cgroup.
std::size_t usable_cpus();

/// The quota in a cgroup v2 `cpu.max` text ("max 100000", "150000 100000"),
/// rounded up; 0 when there is none or the text is malformed.
std::size_t cpus_of_quota(const std::string& cpu_max);

} // namespace troupe::sched
