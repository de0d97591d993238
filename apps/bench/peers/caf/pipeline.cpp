// SPDX-License-Identifier: MIT
// pipeline: a chain of actors that pass each item on.

#include "peers/caf/setup.hpp"

namespace bench::peer_caf {

namespace {

class stage : public caf::event_based_actor {
public:
  stage(caf::actor_config& cfg, caf::actor next, gate& finished,
        std::int64_t& sum)
    : caf::event_based_actor(cfg),
      next_(std::move(next)),
      done_(finished),
      sum_(sum) {}

  caf::behavior make_behavior() override {
    return {[this](hop_atom, int x) {
              if (next_)
                send(next_, hop_atom::value, x + 1);
              else if (x < 0)
                done_.open();
              else
                sum_ += x;
            },
            [this](start_atom, int items) {
              for (int i = 0; i < items; ++i)
                send(next_, hop_atom::value, i);
              send(next_, hop_atom::value, pipeline_end);
            }};
  }

private:
  caf::actor next_;
  gate& done_;
  std::int64_t& sum_;
};

} // namespace

figures pipeline(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate finished;
  std::int64_t sum = 0;
  caf::actor first;
  for (int i = 0; i <= pipeline_stages; ++i) // the last one made is the source
    first = sys.spawn<stage, caf::lazy_init>(first, finished, sum);
  stopwatch watch;
  caf::anon_send(first, start_atom::value, pipeline_items);
  finished.pass();
  auto ns = watch.ns_per(pipeline_items);
  expect("the sum", sum, pipeline_sum);
  return {{"pipeline", ns}};
}

} // namespace bench::peer_caf
