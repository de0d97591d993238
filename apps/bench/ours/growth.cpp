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
  link(troupe::ref<link> next, std::atomic<int>& left, gate& done)
    : next_(std::move(next)),
      left_(left),
      done_(done) {}

  void hop(int hops) {
    if (hops > 0)
      next_.tell<&link::hop>(hops - 1);
    else
      count();
  }

  void connect(troupe::ref<link> next) {
    next_ = std::move(next);
    count();
  }

private:
  void count() {
    if (left_.fetch_sub(1) == 1)
      done_.open();
  }

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

// Each knows the next from birth; one message closes the ring, another opens
// it in the end.
double ring_ns(troupe::system& sys, int size, int hops) {
  gate done;
  std::atomic<int> left{1};
  std::vector<troupe::ref<link>> ring(static_cast<std::size_t>(size));
  troupe::ref<link> next;
  for (auto& a : ring)
    next = a = sys.spawn<link>(next, std::ref(left), std::ref(done));
  ring.front().tell<&link::connect>(next);
  done.pass();
  auto lap = [&](int messages) {
    left = ring_tokens;
    stopwatch watch;
    for (std::size_t i = 0; i < ring_tokens; ++i)
      ring[ring.size() / ring_tokens * i].tell<&link::hop>(messages
                                                           / ring_tokens);
    done.pass();
    return watch.ns_per(messages);
  };
  lap(size); // each has run once
  auto ns = lap(hops);
  left = 1;
  ring.front().tell<&link::connect>(troupe::ref<link>{});
  done.pass();
  next = {};
  while (!ring.empty()) // the last goes first: nobody else refers to it
    ring.pop_back();
  return ns;
}

} // namespace

figures actors(const setting& how) {
  counted_system sys{how};
  auto few = ring_ns(sys, few_actors, ring_messages);
  auto many = ring_ns(sys, many_actors, ring_messages);
  return {
    {"actors_1k", few}, {"actors_1m", many}, {"actors_growth", many / few}};
}

figures actors_scale(const setting& how) {
  counted_system sys{how};
  figures found;
  for (auto size : scale_steps)
    found[scale_row(size)] = ring_ns(sys, size, scale_messages);
  return found;
}

figures mailbox(const setting& how) {
  counted_system sys{how};
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
