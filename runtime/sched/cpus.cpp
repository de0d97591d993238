// SPDX-License-Identifier: MIT
#include "sched/cpus.hpp"

#include <algorithm>
#include <fstream>
#include <sched.h>
#include <sstream>
#include <thread>

namespace troupe::sched {

namespace {

std::size_t affinity_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof(set), &set) == 0)
    return static_cast<std::size_t>(CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

std::string first_line(const std::string& path) {
  std::ifstream in{path};
  std::string line;
  std::getline(in, line);
  return line;
}

// The tightest quota on the way from our cgroup to the root; 0 for none.
std::size_t cgroup_cpus() {
  std::ifstream in{"/proc/self/cgroup"};
  std::string line, group;
  while (std::getline(in, line))
    if (line.rfind("0::", 0) == 0)
      group = line.substr(3);
  std::size_t best = 0;
  for (;;) {
    auto n = cpus_of_quota(first_line("/sys/fs/cgroup" + group + "/cpu.max"));
    if (n > 0)
      best = best == 0 ? n : std::min(best, n);
    auto slash = group.rfind('/');
    if (slash == std::string::npos || group.empty())
      return best;
    group.resize(slash);
  }
}

} // namespace

std::size_t cpus_of_quota(const std::string& cpu_max) {
  std::istringstream in{cpu_max};
  long long quota = 0, period = 0;
  if (!(in >> quota >> period) || quota <= 0 || period <= 0)
    return 0;
  return static_cast<std::size_t>((quota + period - 1) / period);
}

std::size_t usable_cpus() {
  auto n = affinity_cpus();
  if (auto quota = cgroup_cpus(); quota > 0)
    n = std::min(n, quota);
  return std::max<std::size_t>(n, 1);
}

} // namespace troupe::sched
