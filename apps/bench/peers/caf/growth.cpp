// SPDX-License-Identifier: MIT
// growth: what a message costs when there are many actors or many messages.

#include "peers/caf/setup.hpp"

#include <atomic>

namespace bench::peer_caf {

namespace {

class link : public caf::event_based_actor {
public:
  link(caf::actor_config& cfg, std::atomic<int>& left, gate& end)
    : caf::event_based_actor(cfg),
      left_(left),
      done_(end) {}

  caf::behavior make_behavior() override {
    return {
      [this](start_atom, const caf::actor& next) {
        next_ = next;
        if (left_.fetch_sub(1) == 1)
          done_.open();
      },
      [this](hop_atom, int hops) {
        if (hops > 0)
          send(next_, hop_atom::value, hops - 1);
        else if (left_.fetch_sub(1) == 1)
          done_.open();
      },
    };
  }

private:
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

double ring_ns(caf::actor_system& sys, int size) {
  gate done;
  std::atomic<int> left{size};
  std::vector<caf::actor> ring(static_cast<std::size_t>(size));
  for (auto& a : ring)
    a = sys.spawn<link, caf::lazy_init>(left, done);
  for (std::size_t i = 0; i < ring.size(); ++i)
    caf::anon_send(ring[i], start_atom::value, ring[(i + 1) % ring.size()]);
  done.pass();
  left = ring_tokens;
  auto hops = ring_messages / ring_tokens;
  stopwatch watch;
  for (int i = 0; i < ring_tokens; ++i)
    caf::anon_send(ring[ring.size() / ring_tokens * i], hop_atom::value, hops);
  done.pass();
  auto ns = watch.ns_per(ring_messages);
  for (auto& a : ring)
    caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
  return ns;
}

} // namespace

figures actors(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  auto few = ring_ns(sys, few_actors);
  auto many = ring_ns(sys, many_actors);
  return {
    {"actors_1k", few}, {"actors_1m", many}, {"actors_growth", many / few}};
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
