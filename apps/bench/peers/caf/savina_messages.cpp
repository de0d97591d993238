// SPDX-License-Identifier: MIT
// savina_messages: the suite's small programs, which are about messages.

#include "peers/caf/setup.hpp"
#include "savina.hpp"

namespace bench::peer_caf {

namespace {

using namespace savina;
using caf::actor;
using caf::behavior;
using caf::event_based_actor;
using caf::stateful_actor;
using meet_atom = caf::atom_constant<caf::atom("meet")>;
using leave_atom = caf::atom_constant<caf::atom("leave")>;

struct member_state {
  actor next;
};

behavior ring_member(stateful_actor<member_state>* self, int index,
                     finish* end) {
  return {
    [=](start_atom, actor& next) { self->state.next = std::move(next); },
    [=](hop_atom, int left) {
      if (left == 0)
        end->done(index);
      else
        self->send(self->state.next, hop_atom::value, left - 1);
    },
  };
}

struct count_state {
  int count = 0;
};

behavior counter(stateful_actor<count_state>* self) {
  return {
    [=](add_atom) { ++self->state.count; },
    [=](get_atom) { return self->state.count; },
  };
}

behavior counting_producer(event_based_actor* self, const actor& to,
                           finish* end) {
  return {[=](start_atom, int n) {
    for (int i = 0; i < n; ++i)
      self->send(to, add_atom::value);
    self->request(to, caf::infinite, get_atom::value).then([=](int count) {
      end->done(count);
    });
  }};
}

struct forked_state {
  int left = 0, done = 0;
  double sum = 0;
};

behavior forked(stateful_actor<forked_state>* self, int messages, finish* end) {
  self->state.left = messages;
  return {[=](add_atom, int x) {
    auto& s = self->state;
    s.sum += fork_work(x);
    ++s.done;
    if (--s.left == 0) {
      end->done(s.sum > 0 ? s.done : 0);
      self->quit();
    }
  }};
}

struct chameneo_state {
  colour mine = colour::blue;
  int met = 0;
};

behavior chameneo(stateful_actor<chameneo_state>* self, int c,
                  const actor& mall, finish* end) {
  self->state.mine = static_cast<colour>(c);
  auto enter = [=] {
    self->send(mall, meet_atom::value, static_cast<int>(self->state.mine),
               actor{self});
  };
  auto change = [=](int its) {
    ++self->state.met;
    self->state.mine = complement(self->state.mine, static_cast<colour>(its));
    enter();
  };
  return {
    [=](start_atom) { enter(); },
    [=](meet_atom, int its, const actor& other) {
      self->send(other, hop_atom::value, static_cast<int>(self->state.mine));
      change(its);
    },
    [=](hop_atom, int its) { change(its); },
    [=](leave_atom) {
      end->done(self->state.met);
      self->quit();
    },
  };
}

struct mall_state {
  int left = meetings;
  actor waiting;
};

behavior mall(stateful_actor<mall_state>* self) {
  return {[=](meet_atom, int its, actor& who) {
    auto& s = self->state;
    if (s.left == 0) {
      self->send(who, leave_atom::value);
    } else if (s.waiting) {
      --s.left;
      self->send(s.waiting, meet_atom::value, its, std::move(who));
      s.waiting = nullptr;
    } else {
      s.waiting = std::move(who);
    }
  }};
}

using actors_ptr = const std::vector<actor>*;

struct pinger_state {
  sequence random{0};
  int pongs = 0;
};

behavior pinger(stateful_actor<pinger_state>* self, int index, actors_ptr all,
                finish* end) {
  self->state.random = sequence{static_cast<std::uint64_t>(index)};
  auto next = [=] {
    auto to = static_cast<std::size_t>(self->state.random.below(big_actors));
    self->send((*all)[to], ping_atom::value, actor{self});
  };
  return {
    [=](start_atom) { next(); },
    [=](ping_atom, const actor& from) { self->send(from, pong_atom::value); },
    [=](pong_atom) {
      if (++self->state.pongs < big_pings)
        next();
      else
        end->done(self->state.pongs);
    },
  };
}

void stop(const std::vector<actor>& all) {
  for (auto& a : all)
    caf::anon_send_exit(a, caf::exit_reason::user_shutdown);
}

} // namespace

figures thread_ring(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  std::vector<actor> all;
  stopwatch watch;
  for (int i = 0; i < ring_actors; ++i)
    all.push_back(sys.spawn<caf::lazy_init>(ring_member, i, &end));
  for (std::size_t i = 0; i < all.size(); ++i)
    caf::anon_send(all[i], start_atom::value, all[(i + 1) % all.size()]);
  caf::anon_send(all[0], hop_atom::value, ring_hops);
  auto last = end.wait();
  auto found = ms(watch);
  stop(all);
  expect("who had the token last", last, ring_hops % ring_actors);
  return {{"thread_ring", found}};
}

figures counting(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{1};
  stopwatch watch;
  auto c = sys.spawn<caf::lazy_init>(counter);
  auto p = sys.spawn<caf::lazy_init>(counting_producer, c, &end);
  caf::anon_send(p, start_atom::value, counts);
  auto count = end.wait();
  auto found = ms(watch);
  expect("the count", count, counts);
  return {{"counting", found}};
}

figures fork_join(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{fork_actors};
  std::vector<actor> all;
  stopwatch watch;
  for (int i = 0; i < fork_actors; ++i)
    all.push_back(sys.spawn<caf::lazy_init>(forked, fork_messages, &end));
  for (int i = 0; i < fork_messages; ++i)
    for (auto& a : all)
      caf::anon_send(a, add_atom::value, i);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the messages", sum, std::int64_t{fork_actors} * fork_messages);
  return {{"fork_join", found}};
}

figures fork_join_create(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{fork_creates};
  stopwatch watch;
  for (int i = 0; i < fork_creates; ++i)
    caf::anon_send(sys.spawn<caf::lazy_init>(forked, 1, &end), add_atom::value,
                   i);
  auto sum = end.wait();
  auto found = ms(watch);
  expect("the actors", sum, fork_creates);
  return {{"fork_join_create", found}};
}

figures chameneos(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{savina::chameneos};
  stopwatch watch;
  auto m = sys.spawn<caf::lazy_init>(mall);
  for (int i = 0; i < savina::chameneos; ++i)
    caf::anon_send(sys.spawn<caf::lazy_init>(chameneo, i % 3, m, &end),
                   start_atom::value);
  auto met = end.wait();
  auto found = ms(watch);
  expect("who has met", met, 2 * meetings);
  return {{"chameneos", found}};
}

figures big(const setting& how) {
  config cfg{how};
  caf::actor_system sys{cfg};
  finish end{big_actors};
  std::vector<actor> all;
  stopwatch watch;
  for (int i = 0; i < big_actors; ++i)
    all.push_back(sys.spawn<caf::lazy_init>(
      pinger, i, static_cast<actors_ptr>(&all), &end));
  for (auto& a : all)
    caf::anon_send(a, start_atom::value);
  auto pongs = end.wait();
  auto found = ms(watch);
  stop(all);
  expect("the pongs", pongs, big_actors * big_pings);
  return {{"big", found}};
}

} // namespace bench::peer_caf
