// SPDX-License-Identifier: MIT
// growth: what a message costs when there are many actors or many messages.

#include "peers/caf/setup.hpp"

#include <atomic>

namespace bench::peer_caf {

namespace {

class link : public caf::event_based_actor {
public:
  link(caf::actor_config& cfg, caf::actor next, std::atomic<int>& left,
       gate& end)
    : caf::event_based_actor(cfg),
      next_(std::move(next)),
      left_(left),
      done_(end) {}

  caf::behavior make_behavior() override {
    return {
      [this](hop_atom, int hops) {
        if (hops > 0)
          send(next_, hop_atom::value, hops - 1);
        else
          count();
      },
      [this](start_atom, const caf::actor& next) {
        next_ = next;
        count();
      },
    };
  }

private:
  void count() {
    if (left_.fetch_sub(1) == 1)
      done_.open();
  }

  caf::actor next_;
  std::atomic<int>& left_;
  gate& done_;
};

class self_teller : public caf::event_based_actor {
public:
  self_teller(caf::actor_config& cfg, int rounds, gate& end)
    : caf::event_based_actor(cfg),
      rounds_(rounds),
      done_(end) {}

  caf::behavior make_behavior() override {
    return {
      [this](start_atom, int n) { fill(n); },
      [this](add_atom, int) {
        if (--left_ > 0)
          return;
        if (--rounds_ > 0) {
          fill(size_);
        } else {
          done_.open();
          quit();
        }
      },
    };
  }

private:
  void fill(int n) {
    size_ = left_ = n;
    for (int i = 0; i < n; ++i)
      send(this, add_atom::value, i);
  }

  int rounds_;
  gate& done_;
  int size_ = 0;
  int left_ = 0;
};

// Each knows the next from birth; one message closes the ring, another opens
// it in the end. CAF's queues must stay short for that: stealing from a long
// one takes as long as the queue is.
double ring_ns(caf::actor_system& sys, int size, int hops) {
  gate done;
  std::atomic<int> left{1};
  std::vector<caf::actor> ring(static_cast<std::size_t>(size));
  caf::actor next;
  for (auto& a : ring)
    next = a = sys.spawn<link, caf::lazy_init>(next, left, done);
  caf::anon_send(ring.front(), start_atom::value, next);
  done.pass();
  auto lap = [&](int messages) {
    left = ring_tokens;
    stopwatch watch;
    for (std::size_t i = 0; i < ring_tokens; ++i)
      caf::anon_send(ring[ring.size() / ring_tokens * i], hop_atom::value,
                     messages / ring_tokens);
    done.pass();
    return watch.ns_per(messages);
  };
  lap(size); // each has run once
  auto ns = lap(hops);
  left = 1;
  caf::anon_send(ring.front(), start_atom::value, caf::actor{});
  done.pass();
  next = nullptr;
  while (!ring.empty()) // the last goes first: nobody else refers to it
    ring.pop_back();
  return ns;
}

} // namespace

figures actors(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  auto few = ring_ns(sys, few_actors, ring_messages);
  auto many = ring_ns(sys, many_actors, ring_messages);
  return {
    {"actors_1k", few}, {"actors_1m", many}, {"actors_growth", many / few}};
}

figures actors_scale(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  figures found;
  for (auto size : scale_steps)
    found[scale_row(size)] = ring_ns(sys, size, scale_messages);
  return found;
}

figures mailbox(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  gate done;
  auto run = [&](int depth) {
    auto rounds = deep_mailbox / depth;
    auto a = sys.spawn<self_teller>(rounds, done);
    stopwatch watch;
    caf::anon_send(a, start_atom::value, depth);
    done.pass();
    return watch.ns_per(deep_mailbox);
  };
  auto shallow = run(shallow_mailbox);
  auto deep = run(deep_mailbox);
  return {{"mailbox_1k", shallow},
          {"mailbox_10m", deep},
          {"mailbox_growth", deep / shallow}};
}

} // namespace bench::peer_caf
