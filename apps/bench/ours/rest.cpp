// SPDX-License-Identifier: MIT
// rest: a system with nothing to do, and how fast it wakes.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <thread>

namespace bench::ours {

namespace {

class answerer {
public:
  int next(int x) const { return x + 1; }
};

} // namespace

figures wake(const setting& how) {
  counted_system sys{how};
  auto a = sys.spawn<answerer>();
  std::vector<double> us;
  for (int i = 0; i < wake_samples; ++i) {
    std::this_thread::sleep_for(wake_idle);
    stopwatch watch;
    int answer = a.ask<&answerer::next>(i).get();
    us.push_back(watch.seconds() * 1e6);
    expect("the answer", answer, i + 1);
  }
  return {{"wake", quantile(std::move(us), 0.5)}};
}

figures idle(const setting& how) {
  counted_system sys{how};
  auto a = sys.spawn<answerer>();
  std::this_thread::sleep_for(200ms); // what starting costs is not idling
  auto before = usage_now();
  stopwatch watch;
  std::this_thread::sleep_for(idle_time);
  auto after = usage_now();
  return idle_figures(before, after, watch.seconds());
}

} // namespace bench::ours
