// SPDX-License-Identifier: MIT
// growth: what a message costs when there are many actors or many messages.

#include "ours/workloads.hpp"
#include "sizes.hpp"

#include <troupe/troupe.hpp>

#include <atomic>

namespace bench::ours {

namespace {

class link {
public:
  link(std::atomic<int>& left, gate& done) : left_(left), done_(done) {}

  void connect(troupe::ref<link> next) {
    next_ = std::move(next);
    if (left_.fetch_sub(1) == 1)
      done_.open();
  }

  void hop(int hops) {
    if (hops > 0)
      next_.tell<&link::hop>(hops - 1);
    else if (left_.fetch_sub(1) == 1)
      done_.open();
  }

private:
  troupe::ref<link> next_;
  std::atomic<int>& left_;
  gate& done_;
};

class self_teller {
public:
  self_teller(int rounds, gate& done) : rounds_(rounds), done_(done) {}

  void start(int n, troupe::ref<self_teller> self) {
    self_ = std::move(self);
    fill(n);
  }

  void take(int) {
    if (--left_ > 0)
      return;
    if (--rounds_ > 0) {
      fill(size_);
    } else {
      self_ = {};
      done_.open();
    }
  }

private:
  void fill(int n) {
    size_ = left_ = n;
    for (int i = 0; i < n; ++i)
      self_.tell<&self_teller::take>(i);
  }

  troupe::ref<self_teller> self_;
  int rounds_;
  gate& done_;
  int size_ = 0;
  int left_ = 0;
};

double ring_ns(troupe::system& sys, int size) {
  gate done;
  std::atomic<int> left{size};
  std::vector<troupe::ref<link>> ring(static_cast<std::size_t>(size));
  for (auto& a : ring)
    a = sys.spawn<link>(std::ref(left), std::ref(done));
  for (std::size_t i = 0; i < ring.size(); ++i)
    ring[i].tell<&link::connect>(ring[(i + 1) % ring.size()]);
  done.pass();
  left = ring_tokens;
  auto hops = ring_messages / ring_tokens;
  stopwatch watch;
  for (int i = 0; i < ring_tokens; ++i)
    ring[ring.size() / ring_tokens * static_cast<std::size_t>(i)]
      .tell<&link::hop>(hops);
  done.pass();
  auto ns = watch.ns_per(ring_messages);
  for (auto& a : ring)
    a.stop();
  return ns;
}

} // namespace

figures actors(const setting& how) {
  troupe::system sys{options_of(how)};
  auto few = ring_ns(sys, few_actors);
  auto many = ring_ns(sys, many_actors);
  return {
    {"actors_1k", few}, {"actors_1m", many}, {"actors_growth", many / few}};
}

figures mailbox(const setting& how) {
  troupe::system sys{options_of(how)};
  gate done;
  auto run = [&](int depth) {
    auto a = sys.spawn<self_teller>(deep_mailbox / depth, std::ref(done));
    stopwatch watch;
    a.tell<&self_teller::start>(depth, a);
    done.pass();
    return watch.ns_per(deep_mailbox);
  };
  auto shallow = run(shallow_mailbox);
  auto deep = run(deep_mailbox);
  return {{"mailbox_1k", shallow},
          {"mailbox_10m", deep},
          {"mailbox_growth", deep / shallow}};
}

} // namespace bench::ours
