// SPDX-License-Identifier: MIT
// troupe-bench-std_async: tasks by std::async, which starts a thread for each.

#include "measure.hpp"
#include "run_one.hpp"
#include "sizes.hpp"

#include <algorithm>
#include <future>

namespace {

using namespace bench;

figures submit_get(const setting&) {
  std::vector<std::future<int>> results;
  std::int64_t sum = 0;
  stopwatch watch;
  for (int next = 0; next < std_async_tasks;) {
    auto end = std::min(next + std_async_wave, std_async_tasks);
    for (; next < end; ++next)
      results.push_back(
        std::async(std::launch::async, [i = next] { return trivial(i); }));
    for (auto& result : results)
      sum += result.get();
    results.clear();
  }
  auto ns = watch.ns_per(std_async_tasks);
  expect("the sum", sum, trivial_sum(std_async_tasks));
  return {{"submit_get", ns}};
}

} // namespace

int main(int argc, char** argv) {
  static constexpr entry entries[] = {{"submit_get", submit_get}};
  return run_one(entries, argc, argv);
}
