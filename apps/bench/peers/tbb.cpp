// SPDX-License-Identifier: MIT
// troupe-bench-tbb: the pool's workloads in oneTBB. The thread that calls
// takes part in the work, as TBB means it: with 2 workers it starts one.

#include "measure.hpp"
#include "run_one.hpp"
#include "sizes.hpp"

#include <oneapi/tbb/blocked_range.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_group.h>

#include <numeric>

namespace {

using namespace bench;
namespace tbb = oneapi::tbb;

tbb::global_control limit_to(const setting& how) {
  return {tbb::global_control::max_allowed_parallelism, how.workers};
}

void check(const std::vector<int>& out) {
  expect("the sum", std::accumulate(out.begin(), out.end(), std::int64_t{0}),
         trivial_sum(std::ssize(out)));
}

figures submit_many(const setting& how) {
  auto limit = limit_to(how);
  auto run = [](int n) {
    std::vector<int> out(static_cast<std::size_t>(n));
    tbb::task_group group;
    stopwatch watch;
    for (int i = 0; i < n; ++i)
      group.run([&out, i] { out[static_cast<std::size_t>(i)] = trivial(i); });
    group.wait();
    auto ns = watch.ns_per(n);
    check(out);
    return ns;
  };
  run(submit_many_tasks / 10);
  return {{"submit_many", run(submit_many_tasks)}};
}

figures map(const setting& how) {
  auto limit = limit_to(how);
  std::vector<int> out(map_elements);
  auto run = [&](std::size_t n) {
    stopwatch watch;
    tbb::parallel_for(tbb::blocked_range<std::size_t>{0, n},
                      [&out](const auto& part) {
                        for (auto i = part.begin(); i != part.end(); ++i)
                          out[i] = trivial(static_cast<int>(i));
                      });
    return watch.ns_per(static_cast<double>(n));
  };
  run(out.size());
  std::vector<double> ns;
  for (int i = 0; i < map_repeats; ++i)
    ns.push_back(run(out.size()));
  check(out);
  auto median = quantile(std::move(ns), 0.5);
  return {{"map", median}, {"map_lazy", median}};
}

} // namespace

int main(int argc, char** argv) {
  static constexpr entry entries[] = {
    {"submit_many", submit_many},
    {"map", map},
  };
  return run_one(entries, argc, argv);
}
