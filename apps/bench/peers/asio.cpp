// SPDX-License-Identifier: MIT
// troupe-bench-asio: the pool's workloads on Boost.Asio's thread_pool.

#include "measure.hpp"
#include "run_one.hpp"
#include "sizes.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include <future>
#include <numeric>

namespace {

using namespace bench;
namespace asio = boost::asio;

figures submit_get(const setting& how) {
  asio::thread_pool pool{how.workers};
  auto run = [&](int n) {
    std::vector<std::future<int>> results;
    results.reserve(static_cast<std::size_t>(n));
    stopwatch watch;
    for (int i = 0; i < n; ++i) {
      std::packaged_task<int()> task{[i] { return trivial(i); }};
      results.push_back(task.get_future());
      asio::post(pool, std::move(task));
    }
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
  auto run = [&](int n) {
    std::vector<int> out(static_cast<std::size_t>(n));
    asio::thread_pool pool{how.workers};
    stopwatch watch;
    for (int i = 0; i < n; ++i)
      asio::post(pool,
                 [&out, i] { out[static_cast<std::size_t>(i)] = trivial(i); });
    pool.join();
    auto ns = watch.ns_per(n);
    expect("the sum", std::accumulate(out.begin(), out.end(), std::int64_t{0}),
           trivial_sum(n));
    return ns;
  };
  run(submit_many_tasks / 10);
  return {{"submit_many", run(submit_many_tasks)}};
}

} // namespace

int main(int argc, char** argv) {
  static constexpr entry entries[] = {
    {"submit_get", submit_get},
    {"submit_many", submit_many},
  };
  return run_one(entries, argc, argv);
}
