// SPDX-License-Identifier: MIT

#include "machine.hpp"

#include "bench_config.hpp"
#include "child.hpp"

#include <sched.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>
#include <utility>
#include <vector>

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

// 1706 -> 0.17.6
std::string caf_version() {
  auto n = std::atoi(TROUPE_BENCH_CAF);
  return std::to_string(n / 10'000) + "." + std::to_string(n / 100 % 100) + "."
         + std::to_string(n % 100);
}

// The first word with a digit in what a command says of itself.
std::string version_of(const std::vector<std::string>& command) {
  auto end = run_child(command, std::chrono::seconds{5});
  if (!end.failure.empty())
    return "";
  std::istringstream in{end.output};
  for (std::string word; in >> word;)
    if (auto at = word.find_first_of("0123456789"); at != std::string::npos)
      return word.substr(at);
  return "";
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

std::string peer_versions() {
  const std::pair<const char*, std::string> all[] = {
    {"CAF", caf_version()},
    {"Go", version_of({"go", "version"})},
    {"Erlang/OTP",
     version_of({"erl", "-noshell", "-eval",
                 "io:format(\"~s~n\",[erlang:system_info(otp_release)]),"
                 "halt()."})},
    {"Open MPI", version_of({"mpirun", "--version"})},
    {"oneTBB", TROUPE_BENCH_TBB},
    {"Boost.Asio", TROUPE_BENCH_BOOST},
    {"Python", version_of({"python3", "--version"})}};
  std::string text;
  for (auto& [name, version] : all)
    if (!version.empty())
      text += (text.empty() ? "" : ", ") + std::string{name} + " " + version;
  return text;
}

void warm_memory() {
  constexpr std::size_t bytes = std::size_t{512} << 20, page = 4096;
  static const auto reports =
    ::access("/sys/module/page_reporting/parameters", F_OK) == 0;
  if (!reports)
    return;
  auto* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (at == MAP_FAILED)
    return;
  ::madvise(at, bytes, MADV_HUGEPAGE); // a wish
  for (std::size_t i = 0; i < bytes; i += page)
    static_cast<volatile char*>(at)[i] = 1;
  ::munmap(at, bytes);
}

} // namespace bench
