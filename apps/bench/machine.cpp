// SPDX-License-Identifier: MIT

#include "machine.hpp"

#include "bench_config.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <thread>

namespace bench {

namespace {

std::string cpu_model() {
  std::ifstream in{"/proc/cpuinfo"};
  for (std::string line; std::getline(in, line);)
    if (line.rfind("model name", 0) == 0)
      return line.substr(std::min(line.find(':') + 2, line.size()));
  return "unknown";
}

// ceil(quota / period) of the cgroup (v2), or a very large number.
unsigned cgroup_cpus() {
  std::ifstream in{"/sys/fs/cgroup/cpu.max"};
  std::string quota;
  double period = 0;
  if (!(in >> quota >> period) || quota == "max" || period <= 0)
    return 1u << 20;
  auto cpus = std::ceil(std::strtod(quota.c_str(), nullptr) / period);
  return std::max(1u, static_cast<unsigned>(cpus));
}

unsigned usable() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return std::max(1u, std::thread::hardware_concurrency());
  return std::min(static_cast<unsigned>(CPU_COUNT(&set)), cgroup_cpus());
}

} // namespace

machine this_machine() {
  machine m;
  m.cpu = cpu_model();
  m.cores = static_cast<unsigned>(sysconf(_SC_NPROCESSORS_ONLN));
  m.usable_cpus = usable();
  m.memory_gib = static_cast<double>(sysconf(_SC_PHYS_PAGES))
                 * static_cast<double>(sysconf(_SC_PAGESIZE)) / (1u << 30);
  utsname system{};
  if (uname(&system) == 0)
    m.kernel = std::string{system.sysname} + " " + system.release;
  m.compiler = TROUPE_BENCH_COMPILER_NAME;
  m.build = TROUPE_BENCH_BUILD;
  getloadavg(&m.load_1m, 1);
  return m;
}

} // namespace bench
