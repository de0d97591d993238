// SPDX-License-Identifier: MIT

#include "measure.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace bench {

namespace {

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

double switches_of(const std::filesystem::path& status) {
  std::ifstream in{status};
  double sum = 0;
  for (std::string word; in >> word;)
    if (word.find("voluntary_ctxt_switches:") != std::string::npos) {
      double n = 0;
      in >> n;
      sum += n;
    }
  return sum;
}

} // namespace

figures& counted() {
  static figures all;
  return all;
}

double quantile(std::vector<double> xs, double p) {
  if (xs.empty())
    return 0;
  std::sort(xs.begin(), xs.end());
  auto at = p * static_cast<double>(xs.size() - 1);
  auto low = static_cast<std::size_t>(at);
  auto high = std::min(low + 1, xs.size() - 1);
  auto part = at - static_cast<double>(low);
  return xs[low] * (1 - part) + xs[high] * part;
}

double resident_bytes() {
  std::ifstream in{"/proc/self/statm"};
  double total_pages = 0;
  double resident_pages = 0;
  in >> total_pages >> resident_pages;
  return resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
}

usage usage_now() {
  rusage all{};
  getrusage(RUSAGE_SELF, &all);
  usage result{seconds_of(all.ru_utime) + seconds_of(all.ru_stime), 0};
  for (auto& thread : std::filesystem::directory_iterator{"/proc/self/task"})
    result.switches += switches_of(thread.path() / "status");
  return result;
}

figures idle_figures(const usage& before, const usage& after, double seconds) {
  auto cpu = std::max(after.cpu_seconds - before.cpu_seconds, 1e-6);
  auto switches = std::max(after.switches - before.switches - 1, 0.0);
  return {{"idle", cpu / seconds * 100}, {"idle_switches", switches / seconds}};
}

} // namespace bench
