// SPDX-License-Identifier: MIT
// crowds: many senders, many actors that come and go.

#include "peers/caf/setup.hpp"

#include <atomic>

namespace bench::peer_caf {

namespace {

class adder : public caf::event_based_actor {
public:
  adder(caf::actor_config& cfg, int expected, gate& end, std::int64_t& sum)
    : caf::event_based_actor(cfg),
      left_(expected),
      done_(end),
      sum_(sum) {}

  caf::behavior make_behavior() override {
    return {[this](add_atom, int x) {
      sum_ += x;
      if (--left_ == 0) {
        done_.open();
        quit();
      }
    }};
  }

private:
  int left_;
  gate& done_;
  std::int64_t& sum_;
};

class sender : public caf::event_based_actor {
public:
  sender(caf::actor_config& cfg, caf::actor to)
    : caf::event_based_actor(cfg),
      to_(std::move(to)) {}

  caf::behavior make_behavior() override {
    return {[this](start_atom, int n) {
      for (int i = 0; i < n; ++i)
        send(to_, add_atom::value, i);
      quit();
    }};
  }

private:
  caf::actor to_;
};

class sky : public caf::event_based_actor {
public:
  sky(caf::actor_config& cfg, caf::actor parent)
    : caf::event_based_actor(cfg),
      parent_(std::move(parent)) {}

  caf::behavior make_behavior() override {
    return {
      [this](start_atom, std::int64_t first, std::int64_t leaves) {
        grow(first, leaves);
      },
      [this](sum_atom, std::int64_t x) {
        sum_ += x;
        if (--left_ == 0)
          report(sum_);
      },
    };
  }

private:
  void grow(std::int64_t first, std::int64_t leaves) {
    if (leaves == 1) {
      report(first);
      return;
    }
    auto part = leaves / 10;
    for (int i = 0; i < 10; ++i)
      send(spawn<sky, caf::lazy_init>(caf::actor{this}), start_atom::value,
           first + i * part, part);
  }

  void report(std::int64_t x) {
    send(parent_, sum_atom::value, x);
    quit();
  }

  caf::actor parent_;
  std::int64_t sum_ = 0;
  int left_ = 10;
};

class root : public caf::event_based_actor {
public:
  root(caf::actor_config& cfg, gate& end, std::int64_t& sum)
    : caf::event_based_actor(cfg),
      done_(end),
      sum_(sum) {}

  caf::behavior make_behavior() override {
    return {
      [this](start_atom, std::int64_t leaves) {
        send(spawn<sky, caf::lazy_init>(caf::actor{this}), start_atom::value,
             std::int64_t{0}, leaves);
      },
      [this](sum_atom, std::int64_t x) {
        sum_ = x;
        done_.open();
        quit();
      },
    };
  }

private:
  gate& done_;
  std::int64_t& sum_;
};

class idler : public caf::event_based_actor {
public:
  idler(caf::actor_config& cfg, std::atomic<int>& left, gate& end)
    : caf::event_based_actor(cfg),
      left_(left),
      done_(end) {}

  caf::behavior make_behavior() override {
    return {[this](add_atom, int) {
      if (left_.fetch_sub(1) == 1)
        done_.open();
    }};
  }

private:
  std::atomic<int>& left_;
  gate& done_;
};

} // namespace

figures many_to_one(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  auto run = [&](int each) {
    auto all = many_senders * each;
    std::int64_t sum = 0;
    stopwatch watch;
    auto to = sys.spawn<adder>(all, done, sum);
    for (int i = 0; i < many_senders; ++i)
      caf::anon_send(sys.spawn<sender>(to), start_atom::value, each);
    done.pass();
    auto ns = watch.ns_per(all);
    auto n = std::int64_t{each};
    expect("the sum", sum, many_senders * (n * (n - 1) / 2));
    return ns;
  };
  run(messages_per_sender / 10);
  return {{"many_to_one", run(messages_per_sender)}};
}

figures skynet(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  auto run = [&](std::int64_t leaves) {
    std::int64_t sum = 0;
    stopwatch watch;
    caf::anon_send(sys.spawn<root>(done, sum), start_atom::value, leaves);
    done.pass();
    auto s = watch.seconds();
    expect("the sum of the leaves", sum, leaves * (leaves - 1) / 2);
    return s;
  };
  run(skynet_leaves / 100);
  return {{"skynet", run(skynet_leaves)}};
}

figures spawn(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  std::vector<caf::actor> held(spawned_actors);
  std::atomic<int> left{spawned_actors};
  auto before = resident_bytes();
  stopwatch watch;
  for (auto& a : held) {
    a = sys.spawn<idler, caf::lazy_init>(left, done);
    caf::anon_send(a, add_atom::value, 1);
  }
  done.pass();
  auto ns = watch.ns_per(spawned_actors);
  auto bytes = (resident_bytes() - before) / spawned_actors;
  return {{"spawn", ns}, {"spawn_bytes", bytes}};
}

} // namespace bench::peer_caf
