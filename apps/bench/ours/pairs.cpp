// SPDX-License-Identifier: MIT
// pairs: two actors talk, by tells and by asks.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <array>

namespace bench::ours {

namespace {

class pinger;

class ponger {
public:
  void ping(int left, const troupe::ref<pinger>& from);

  int next(int x) const { return x + 1; }
};

class pinger {
public:
  pinger(troupe::ref<ponger> other, gate& done)
    : other_(std::move(other)),
      done_(done) {}

  void start(int rounds, troupe::ref<pinger> self) {
    self_ = std::move(self);
    pong(rounds);
  }

  void pong(int left) {
    if (left > 0) {
      other_.tell<&ponger::ping>(left - 1, self_);
      return;
    }
    self_ = {};
    done_.open();
  }

private:
  troupe::ref<ponger> other_;
  troupe::ref<pinger> self_;
  gate& done_;
};

void ponger::ping(int left, const troupe::ref<pinger>& from) {
  from.tell<&pinger::pong>(left);
}

class asker {
public:
  explicit asker(troupe::ref<ponger> other) : other_(std::move(other)) {}

  troupe::task<int> run(int asks) {
    int sum = 0;
    for (int i = 0; i < asks; ++i)
      sum = co_await other_.ask<&ponger::next>(sum);
    co_return sum;
  }

private:
  troupe::ref<ponger> other_;
};

} // namespace

figures ping_pong(const setting& how) {
  counted_system sys{how};
  gate done;
  auto run = [&](int rounds) {
    stopwatch watch;
    auto p = sys.spawn<pinger>(sys.spawn<ponger>(), std::ref(done));
    p.tell<&pinger::start>(rounds, p);
    done.pass();
    return watch.ns_per(rounds);
  };
  run(ping_pong_rounds / 10);
  return {{"ping_pong", run(ping_pong_rounds)}};
}

figures workers(const setting&) {
  figures found;
  for (unsigned n : worker_steps) {
    counted_system sys{setting{n}};
    std::array<gate, worker_pairs> ends;
    std::vector<troupe::ref<pinger>> all;
    for (auto& end : ends)
      all.push_back(sys.spawn<pinger>(sys.spawn<ponger>(), std::ref(end)));
    stopwatch watch;
    for (auto& p : all)
      p.tell<&pinger::start>(worker_rounds, p);
    for (auto& end : ends)
      end.pass();
    found[workers_row(n)] = 2e-6 * worker_pairs * worker_rounds
                            / watch.seconds();
  }
  return found;
}

figures ask_loop(const setting& how) {
  counted_system sys{how};
  auto run = [&](int asks) {
    stopwatch watch;
    auto a = sys.spawn<asker>(sys.spawn<ponger>());
    int sum = a.ask<&asker::run>(asks).get();
    auto ns = watch.ns_per(asks);
    expect("the last answer", sum, asks);
    return ns;
  };
  run(ask_loop_asks / 10);
  return {{"ask_loop", run(ask_loop_asks)}};
}

} // namespace bench::ours
