// SPDX-License-Identifier: MIT

#include "run_one.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

namespace {

int explain(std::span<const entry> entries, const char* program) {
  std::fprintf(stderr, "usage: %s --run-one WORKLOAD WORKERS\n", program);
  std::fprintf(stderr, "troupe-bench starts this; the workloads here are:\n");
  for (auto& e : entries)
    std::fprintf(stderr, "  %s\n", e.workload);
  return 2;
}

void print(const figures& found) {
  const char* before = "{";
  for (auto& [row, value] : found) {
    std::printf("%s\"%s\": %.9g", before, row.c_str(), value);
    before = ", ";
  }
  std::printf("}\n");
  std::fflush(stdout);
}

} // namespace

int run_one(std::span<const entry> entries, int argc, char** argv) {
  if (argc != 4 || std::strcmp(argv[1], "--run-one") != 0)
    return explain(entries, argv[0]);
  setting how;
  how.workers = static_cast<unsigned>(std::strtoul(argv[3], nullptr, 10));
  if (how.workers == 0)
    return explain(entries, argv[0]);
  for (auto& e : entries) {
    if (std::strcmp(e.workload, argv[2]) != 0)
      continue;
    try {
      auto found = e.run(how);
      for (auto& [name, n] : counted())
        found["#" + name] = n;
      print(found);
      return 0;
    } catch (const std::exception& failure) {
      std::fprintf(stderr, "%s: %s\n", e.workload, failure.what());
      return 1;
    }
  }
  return explain(entries, argv[0]);
}

} // namespace bench
