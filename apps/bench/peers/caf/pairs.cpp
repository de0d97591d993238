// SPDX-License-Identifier: MIT
// pairs: two actors talk, by plain messages and by requests.

#include "peers/caf/setup.hpp"

#include <array>

namespace bench::peer_caf {

namespace {

class ponger : public caf::event_based_actor {
public:
  explicit ponger(caf::actor_config& cfg) : caf::event_based_actor(cfg) {}

  caf::behavior make_behavior() override {
    return {
      [this](ping_atom, int left, const caf::actor& from) {
        send(from, pong_atom::value, left);
      },
      [](get_atom, int x) { return x + 1; },
    };
  }
};

class pinger : public caf::event_based_actor {
public:
  pinger(caf::actor_config& cfg, caf::actor ponger, gate& end)
    : caf::event_based_actor(cfg),
      ponger_(std::move(ponger)),
      done_(end) {}

  caf::behavior make_behavior() override {
    return {
      [this](pong_atom, int left) { next(left); },
      [this](start_atom, int rounds) { next(rounds); },
    };
  }

private:
  void next(int left) {
    if (left > 0) {
      send(ponger_, ping_atom::value, left - 1, caf::actor{this});
      return;
    }
    ponger_ = nullptr;
    done_.open();
    quit();
  }

  caf::actor ponger_;
  gate& done_;
};

class asker : public caf::event_based_actor {
public:
  asker(caf::actor_config& cfg, caf::actor other, gate& end, int& sum)
    : caf::event_based_actor(cfg),
      other_(std::move(other)),
      done_(end),
      sum_(sum) {}

  caf::behavior make_behavior() override {
    return {[this](start_atom, int asks) {
      left_ = asks;
      next();
    }};
  }

private:
  // Without a timeout: with one, each request costs a message to the clock.
  void next() {
    if (left_-- > 0) {
      request(other_, caf::infinite, get_atom::value, sum_).then([this](int v) {
        sum_ = v;
        next();
      });
      return;
    }
    done_.open();
    quit();
  }

  caf::actor other_;
  gate& done_;
  int& sum_;
  int left_ = 0;
};

} // namespace

figures ping_pong(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  auto run = [&](int rounds) {
    stopwatch watch;
    auto p = sys.spawn<pinger>(sys.spawn<ponger>(), done);
    caf::anon_send(p, start_atom::value, rounds);
    done.pass();
    return watch.ns_per(rounds);
  };
  run(ping_pong_rounds / 10);
  return {{"ping_pong", run(ping_pong_rounds)}};
}

figures workers(const setting&) {
  figures found;
  for (unsigned n : worker_steps) {
    config cfg{setting{n}};
    caf::actor_system sys{cfg};
    std::array<gate, worker_pairs> ends;
    std::vector<caf::actor> all;
    for (auto& end : ends)
      all.push_back(sys.spawn<pinger>(sys.spawn<ponger>(), end));
    stopwatch watch;
    for (auto& p : all)
      caf::anon_send(p, start_atom::value, worker_rounds);
    for (auto& end : ends)
      end.pass();
    found[workers_row(n)] = 2e-6 * worker_pairs * worker_rounds
                            / watch.seconds();
  }
  return found;
}

figures ask_loop(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  auto run = [&](int asks) {
    int sum = 0;
    stopwatch watch;
    auto a = sys.spawn<asker>(sys.spawn<ponger>(), done, sum);
    caf::anon_send(a, start_atom::value, asks);
    done.pass();
    auto ns = watch.ns_per(asks);
    expect("the last answer", sum, asks);
    return ns;
  };
  run(ask_loop_asks / 10);
  return {{"ask_loop", run(ask_loop_asks)}};
}

} // namespace bench::peer_caf
