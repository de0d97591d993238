// SPDX-License-Identifier: MIT
// pools: plain functions on the thread pool.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <numeric>
#include <ranges>

namespace bench::ours {

namespace {

void check(const std::vector<int>& out) {
  expect("the sum", std::accumulate(out.begin(), out.end(), std::int64_t{0}),
         trivial_sum(std::ssize(out)));
}

} // namespace

figures submit_get(const setting& how) {
  counted_system sys{how};
  troupe::thread_pool pool{sys, {.workers = how.workers}};
  auto run = [&](int n) {
    std::vector<troupe::future<int>> results;
    results.reserve(static_cast<std::size_t>(n));
    stopwatch watch;
    for (int i = 0; i < n; ++i)
      results.push_back(pool.submit([i] { return trivial(i); }));
    std::int64_t sum = 0;
    for (auto& result : results)
      sum += result.get();
    auto ns = watch.ns_per(n);
    expect("the sum", sum, trivial_sum(n));
    return ns;
  };
  run(submit_get_tasks / 10);
  return {{"submit_get", run(submit_get_tasks)}};
}

figures submit_many(const setting& how) {
  counted_system sys{how};
  auto run = [&](int n) {
    std::vector<int> out(static_cast<std::size_t>(n));
    troupe::thread_pool pool{sys, {.workers = how.workers}};
    stopwatch watch;
    for (int i = 0; i < n; ++i)
      (void)pool.submit(
        [&out, i] { out[static_cast<std::size_t>(i)] = trivial(i); });
    pool.shutdown(troupe::drain, 60s);
    auto ns = watch.ns_per(n);
    check(out);
    return ns;
  };
  run(submit_many_tasks / 10);
  return {{"submit_many", run(submit_many_tasks)}};
}

namespace {

// What parallel_for does: each result goes to its place in an array.
double for_each_ns(troupe::thread_pool& pool, std::vector<int>& out) {
  stopwatch watch;
  pool.for_each(
    [&out](int i) { out[static_cast<std::size_t>(i)] = trivial(i); },
    std::views::iota(0, map_elements));
  return watch.ns_per(map_elements);
}

// Results one by one and in order, at flat memory, as they are taken.
double lazy_ns(troupe::thread_pool& pool, std::vector<int>& out) {
  auto to = out.begin();
  stopwatch watch;
  for (int y : pool.map([](int x) { return trivial(x); },
                        std::views::iota(0, map_elements)))
    *to++ = y;
  return watch.ns_per(map_elements);
}

double median_of(int repeats,
                 double (*run)(troupe::thread_pool&, std::vector<int>&),
                 troupe::thread_pool& pool) {
  std::vector<int> out(map_elements);
  run(pool, out);
  std::vector<double> ns;
  for (int i = 0; i < repeats; ++i)
    ns.push_back(run(pool, out));
  check(out);
  return quantile(std::move(ns), 0.5);
}

} // namespace

figures map(const setting& how) {
  counted_system sys{how};
  troupe::thread_pool pool{sys, {.workers = how.workers}};
  return {{"map", median_of(map_repeats, for_each_ns, pool)},
          {"map_lazy", median_of(map_lazy_repeats, lazy_ns, pool)}};
}

} // namespace bench::ours
