// SPDX-License-Identifier: MIT
// rest: an actor system with nothing to do, and how fast it wakes.

#include "peers/caf/setup.hpp"

#include <thread>

namespace bench::peer_caf {

namespace {

caf::behavior answerer() {
  return {[](get_atom, int x) { return x + 1; }};
}

} // namespace

figures wake(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  auto a = sys.spawn(answerer);
  caf::scoped_actor self{sys};
  std::vector<double> us;
  for (int i = 0; i < wake_samples; ++i) {
    std::this_thread::sleep_for(wake_idle);
    int answer = 0;
    stopwatch watch;
    self->request(a, caf::infinite, get_atom::value, i)
      .receive([&](int x) { answer = x; }, [](caf::error&) {});
    us.push_back(watch.seconds() * 1e6);
    expect("the answer", answer, i + 1);
  }
  caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
  return {{"wake", quantile(std::move(us), 0.5)}};
}

figures idle(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  auto a = sys.spawn(answerer);
  std::this_thread::sleep_for(200ms); // what starting costs is not idling
  auto before = usage_now();
  stopwatch watch;
  std::this_thread::sleep_for(idle_time);
  auto after = usage_now();
  caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
  return idle_figures(before, after, watch.seconds());
}

} // namespace bench::peer_caf
