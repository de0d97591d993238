// SPDX-License-Identifier: MIT
// crowds: many senders, many actors that come and go.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <atomic>

namespace bench::ours {

namespace {

class adder {
public:
  adder(int expected, gate& done, std::int64_t& sum)
    : left_(expected),
      done_(done),
      sum_(sum) {}

  void add(int x) {
    sum_ += x;
    if (--left_ == 0)
      done_.open();
  }

private:
  int left_;
  gate& done_;
  std::int64_t& sum_;
};

class sender {
public:
  explicit sender(troupe::ref<adder> to) : to_(std::move(to)) {}

  void start(int n) {
    for (int i = 0; i < n; ++i)
      to_.tell<&adder::add>(i);
  }

private:
  troupe::ref<adder> to_;
};

class sky {
public:
  sky(troupe::system& sys, gate* done, std::int64_t& sum)
    : sys_(sys),
      done_(done),
      sum_out_(sum) {}

  sky(troupe::system& sys, troupe::ref<sky> parent, std::int64_t& sum)
    : sys_(sys),
      parent_(std::move(parent)),
      sum_out_(sum) {}

  void start(std::int64_t first, std::int64_t leaves,
             const troupe::ref<sky>& self) {
    if (leaves == 1) {
      report(first);
      return;
    }
    auto part = leaves / 10;
    for (int i = 0; i < 10; ++i) {
      auto child = sys_.spawn<sky>(std::ref(sys_), self, std::ref(sum_out_));
      child.tell<&sky::start>(first + i * part, part, child);
    }
  }

  void add(std::int64_t x) {
    sum_ += x;
    if (--left_ == 0)
      report(sum_);
  }

private:
  void report(std::int64_t x) {
    if (done_ != nullptr) {
      sum_out_ = x;
      done_->open();
    } else {
      parent_.tell<&sky::add>(x);
    }
  }

  troupe::system& sys_;
  troupe::ref<sky> parent_;
  gate* done_ = nullptr;
  std::int64_t& sum_out_;
  std::int64_t sum_ = 0;
  int left_ = 10;
};

class idler {
public:
  idler(std::atomic<int>& left, gate& done) : left_(left), done_(done) {}

  void add(int) {
    if (left_.fetch_sub(1) == 1)
      done_.open();
  }

private:
  std::atomic<int>& left_;
  gate& done_;
};

} // namespace

figures many_to_one(const setting& how) {
  counted_system sys{how};
  gate done;
  auto tells = [&](int each) {
    auto all = many_senders * each;
    std::int64_t sum = 0;
    stopwatch watch;
    auto to = sys.spawn<adder>(all, std::ref(done), std::ref(sum));
    for (int i = 0; i < many_senders; ++i)
      sys.spawn<sender>(to).tell<&sender::start>(each);
    done.pass();
    auto ns = watch.ns_per(all);
    auto n = std::int64_t{each};
    expect("the sum", sum, many_senders * (n * (n - 1) / 2));
    return ns;
  };
  tells(messages_per_sender / 10);
  return {{"many_to_one", tells(messages_per_sender)}};
}

figures skynet(const setting& how) {
  counted_system sys{how};
  gate done;
  auto run = [&](std::int64_t leaves) {
    std::int64_t sum = 0;
    stopwatch watch;
    auto root = sys.spawn<sky>(std::ref(sys), &done, std::ref(sum));
    root.tell<&sky::start>(0, leaves, root);
    done.pass();
    auto s = watch.seconds();
    expect("the sum of the leaves", sum, leaves * (leaves - 1) / 2);
    return s;
  };
  run(skynet_leaves / 100);
  return {{"skynet", run(skynet_leaves)}};
}

figures spawn(const setting& how) {
  counted_system sys{how};
  gate done;
  std::vector<troupe::ref<idler>> held(spawned_actors);
  std::atomic<int> left{spawned_actors};
  auto before = resident_bytes();
  stopwatch watch;
  for (auto& a : held) {
    a = sys.spawn<idler>(std::ref(left), std::ref(done));
    a.tell<&idler::add>(1);
  }
  done.pass();
  auto ns = watch.ns_per(spawned_actors);
  auto bytes = (resident_bytes() - before) / spawned_actors;
  return {{"spawn", ns}, {"spawn_bytes", bytes}};
}

} // namespace bench::ours
