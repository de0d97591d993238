// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE deadlock
#include "support/fixture.hpp"

#include <semaphore>

namespace {

using namespace std::chrono_literals;
using troupe::ref;
using troupe::task;

// A node of a ring: each asks the next.
class node {
public:
  void link(ref<node> next) { next_ = next; }
  task<int> pass(int hops) {
    if (hops == 0)
      co_return 0;
    co_return 1 + co_await next_.ask<&node::pass>(hops - 1);
  }
  int pass_blocking(int hops) {
    return hops == 0 ? 0 : 1 + next_.ask<&node::pass_blocking>(hops - 1).get();
  }
  task<int> nested(int hops) { co_return co_await inner(hops); }
  task<int> caught() {
    try {
      co_return co_await next_.ask<&node::pass>(1);
    } catch (const troupe::deadlock&) {
      co_return -1;
    }
  }
  int one() { return 1; }
  int hold(std::binary_semaphore* here, std::binary_semaphore* gate) {
    here->release();
    gate->acquire();
    return 1;
  }
  task<int> ask_held(std::binary_semaphore* here, std::binary_semaphore* gate) {
    co_return co_await next_.ask<&node::hold>(here, gate);
  }
  task<int> ask_one() { co_return co_await next_.ask<&node::one>(); }
  troupe::future<int> route(ref<node> to, std::binary_semaphore* here,
                            std::binary_semaphore* gate) {
    return to.ask<&node::hold>(here, gate);
  }
  task<int> ask_routed(ref<node> to, std::binary_semaphore* here,
                       std::binary_semaphore* gate) {
    co_return co_await next_.ask<&node::route>(to, here, gate);
  }
  void tell_next(int n) {
    for (int i = 0; i < n; ++i)
      next_.tell<&node::tell_next>(n);
  }
  int fill_next(int n) {
    for (int i = 0; i < n; ++i)
      next_.tell<&node::one>();
    return 1;
  }

private:
  task<int> inner(int hops) {
    co_return 1 + co_await next_.ask<&node::nested>(hops - 1);
  }
  ref<node> next_;
};

// Waits for several others at once, or for what comes of an answer.
class joiner {
public:
  void link(std::vector<ref<joiner>> others) { others_ = std::move(others); }
  int one() { return 1; }
  task<int> greet() {
    ++greetings;
    co_return co_await others_[0].ask<&joiner::greet>();
  }
  task<int> greet_all() {
    ++greetings;
    auto all = co_await troupe::when_all(ask_all<&joiner::greet_all>());
    co_return all[0];
  }
  task<int> greet_any() {
    ++greetings;
    auto fs = ask_all<&joiner::greet_any>();
    auto i = co_await troupe::when_any(fs);
    co_return fs[i].get();
  }
  task<int> any_of_ones() {
    auto fs = ask_all<&joiner::one>();
    auto i = co_await troupe::when_any(fs);
    co_return fs[i].get();
  }
  task<int> ones_of_any() {
    auto fs = ask_all<&joiner::ask_one>();
    auto i = co_await troupe::when_any(fs);
    co_return fs[i].get();
  }
  task<int> ask_one() { co_return co_await others_[0].ask<&joiner::one>(); }
  int completed() {
    for (auto& f : troupe::as_completed(ask_all<&joiner::completed>()))
      f.get();
    return 1;
  }
  int waited() {
    auto done = troupe::wait(ask_all<&joiner::waited>()).done;
    return done.at(0).get();
  }
  task<int> own_then() {
    auto f = others_[0].ask<&joiner::one>();
    co_return co_await f.then([](int n) { return n; });
  }
  task<int> await(troupe::future<int> f) { co_return co_await f; }
  task<int> await_given(std::shared_ptr<troupe::future<int>> slot,
                        std::binary_semaphore* gate) {
    gate->acquire();
    co_return co_await *slot;
  }

  static inline std::atomic<int> greetings{0};

private:
  template <auto M>
  std::vector<troupe::future<int>> ask_all() {
    std::vector<troupe::future<int>> fs;
    for (auto& o : others_)
      fs.push_back(o.ask<M>());
    return fs;
  }
  std::vector<ref<joiner>> others_;
};

// Two that know each other; their handles are taken back at the end.
// Waits until `who` waits in this method.
template <class T>
bool waits(troupe::system& sys, const ref<T>& who, const char* method) {
  const auto line = to_string(who) + ": in " + method + " waits for";
  return test::eventually(
    10s, [&] { return sys.describe().find(line) != std::string::npos; });
}

struct pair_of_joiners {
  explicit pair_of_joiners(troupe::system& sys)
    : a(sys.spawn<joiner>()),
      b(sys.spawn<joiner>()) {
    joiner::greetings = 0;
    a.tell<&joiner::link>(std::vector{b});
    b.tell<&joiner::link>(std::vector{a});
  }
  ~pair_of_joiners() {
    a.kill();
    b.kill();
  }
  bool a_waits(troupe::system& sys) { return waits(sys, a, "joiner::await"); }
  // Both have run what was in their mailboxes.
  void fall_silent() {
    for (int i = 0; i < 3; ++i)
      a.ask<&joiner::one>().get(), b.ask<&joiner::one>().get();
  }
  ref<joiner> a, b;
};

class open_door : public troupe::actor, public troupe::reentrant {
public:
  int one() { return 1; }
  task<int> ask_myself() {
    ref<open_door> me = self();
    co_return 1 + co_await me.ask<&open_door::one>();
  }
  int block_on_myself() {
    ref<open_door> me = self();
    return me.ask<&open_door::one>().get();
  }
  int block_on_my_own_future() {
    ref<open_door> me = self();
    auto f = me.ask<&open_door::one>();
    return f.get();
  }
};

std::vector<ref<node>> ring(troupe::system& sys, std::size_t n) {
  std::vector<ref<node>> nodes;
  for (std::size_t i = 0; i < n; ++i)
    nodes.push_back(sys.spawn<node>());
  for (std::size_t i = 0; i < n; ++i)
    nodes[i].tell<&node::link>(nodes[(i + 1) % n]);
  return nodes;
}

// Passes an ask on to the next, by returning its future.
class passer {
public:
  void link(ref<passer> next) { next_ = next; }
  int one() { return 1; }
  troupe::future<int> pass_on() { return next_.ask<&passer::ask_next>(); }
  troupe::future<int> pass_one_on() { return next_.ask<&passer::one>(); }
  troupe::future<int> pass_on_held(std::binary_semaphore* gate, bool by_then) {
    auto f = pass_on();
    gate->acquire();
    return by_then ? f.then([](int n) { return n; }) : f;
  }
  task<int> begin_with(std::binary_semaphore* gate, bool by_then) {
    co_return co_await next_.ask<&passer::pass_on_held>(gate, by_then);
  }
  task<int> ask_next() { co_return co_await next_.ask<&passer::one>(); }
  task<int> begin() { co_return co_await next_.ask<&passer::pass_on>(); }
  task<int> begin_held(std::binary_semaphore* here,
                       std::binary_semaphore* gate) {
    here->release();
    gate->acquire();
    co_return co_await next_.ask<&passer::pass_one_on>();
  }
  int hold(std::binary_semaphore* here, std::binary_semaphore* gate) {
    here->release();
    gate->acquire();
    return 1;
  }
  void go_on_with_next(std::binary_semaphore* here,
                       std::binary_semaphore* gate) {
    kept_ = std::make_unique<troupe::future<int>>(
      next_.ask<&passer::one>().then([this, here, gate](int) {
        return next_.ask<&passer::hold>(here, gate);
      }));
  }
  task<int> await_kept() { co_return co_await *kept_; }

private:
  ref<passer> next_;
  std::unique_ptr<troupe::future<int>> kept_;
};

std::vector<ref<passer>> passers(troupe::system& sys) {
  std::vector<ref<passer>> ps;
  for (int i = 0; i < 3; ++i)
    ps.push_back(sys.spawn<passer>());
  for (std::size_t i = 0; i < 3; ++i)
    ps[i].tell<&passer::link>(ps[(i + 1) % 3]);
  return ps;
}

std::string deadlock_of(const troupe::future<int>& f) {
  try {
    return "value " + std::to_string(f.get());
  } catch (const troupe::deadlock& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string{"another error: "} + e.what();
  }
}

// The names of a cycle of `nodes` that begins anywhere.
template <class T>
bool names_cycle(const std::string& text, const std::vector<ref<T>>& nodes,
                 const std::string& method) {
  for (std::size_t first = 0; first < nodes.size(); ++first) {
    std::string cycle;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      cycle += to_string(nodes[(first + i) % nodes.size()]) + ".ask<" + method
               + "> -> ";
    cycle += to_string(nodes[first]);
    if (text.find(cycle) != std::string::npos)
      return true;
  }
  return false;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto nodes = ring(live.sys, 3);
  BOOST_TEST(nodes[0].ask<&node::pass>(2).get() == 2);
}

BOOST_AUTO_TEST_SUITE(a_cycle)

BOOST_AUTO_TEST_CASE(of_any_length_is_found_and_named) {
  test::live_system live;
  for (std::size_t n : {1, 2, 3, 10}) {
    auto nodes = ring(live.sys, n);
    auto hops = static_cast<int>(n);
    auto text = deadlock_of(nodes[0].ask<&node::pass>(hops));
    BOOST_TEST(names_cycle(text, nodes, "node::pass"), text);
    text = deadlock_of(nodes[0].ask<&node::pass_blocking>(hops));
    BOOST_TEST(names_cycle(text, nodes, "node::pass_blocking"), text);
    text = deadlock_of(nodes[0].ask<&node::nested>(hops));
    BOOST_TEST(names_cycle(text, nodes, "node::nested"), text);
    // None of them is the worse for it.
    BOOST_TEST(nodes[0].ask<&node::pass>(hops - 1).get() == hops - 1);
  }
}

BOOST_AUTO_TEST_CASE(on_one_worker_is_found_too) {
  test::live_system live{{.workers = 1}};
  auto nodes = ring(live.sys, 4);
  auto text = deadlock_of(nodes[0].ask<&node::pass_blocking>(4));
  BOOST_TEST(names_cycle(text, nodes, "node::pass_blocking"), text);
}

BOOST_AUTO_TEST_CASE(can_be_caught_by_the_method) {
  test::live_system live;
  auto nodes = ring(live.sys, 1);
  BOOST_TEST(nodes[0].ask<&node::caught>().get() == -1);
}

BOOST_AUTO_TEST_CASE(that_two_close_at_once_is_found_by_one_of_them) {
  test::live_system live;
  auto nodes = ring(live.sys, 2);
  for (int round = 0; round < 500; ++round) {
    auto a = nodes[0].within(10s).ask<&node::pass>(2);
    auto b = nodes[1].within(10s).ask<&node::pass>(2);
    auto ta = deadlock_of(a), tb = deadlock_of(b);
    BOOST_REQUIRE(ta.find("another error") == std::string::npos);
    BOOST_REQUIRE(tb.find("another error") == std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(through_full_mailboxes_that_wait_is_found) {
  test::live_system live;
  troupe::mailbox box{.max = 2, .full = troupe::wait};
  std::vector<ref<node>> nodes;
  for (int i = 0; i < 2; ++i)
    nodes.push_back(live.sys.spawn<node>(box));
  nodes[0].tell<&node::link>(nodes[1]);
  nodes[1].tell<&node::link>(nodes[0]);
  auto a = nodes[0].ask<&node::fill_next>(1);
  a.get();
  // Each sends two for one: both boxes fill, then both wait for each other.
  nodes[0].tell<&node::tell_next>(3);
  BOOST_TEST(test::eventually(
    10s, [&] { return !nodes[0].is_alive() || !nodes[1].is_alive(); }));
  nodes[0].kill();
  nodes[1].kill();
}

BOOST_AUTO_TEST_CASE(of_a_full_mailbox_and_its_own_actor_is_found) {
  test::live_system live;
  auto n =
    live.sys.spawn<node>(troupe::mailbox{.max = 1, .full = troupe::wait});
  n.ask<&node::one>().get();
  n.ask([n](node& x) { x.link(n); }).get();
  auto text = deadlock_of(n.ask<&node::fill_next>(5));
  BOOST_TEST(names_cycle(text, std::vector{n}, "node::one"), text);
  n.kill(); // it holds a handle to itself
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_found_cycle)

BOOST_AUTO_TEST_CASE(leaves_no_ask_that_runs_later) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  auto text = deadlock_of(p.a.ask<&joiner::greet>());
  BOOST_TEST(names_cycle(text, std::vector{p.a, p.b}, "joiner::greet"), text);
  p.fall_silent();
  BOOST_TEST(joiner::greetings <= 3); // it was endless talk
}

BOOST_AUTO_TEST_CASE(fails_others_that_wait_for_the_same_ask) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  std::binary_semaphore gate{0};
  auto slot = std::make_shared<troupe::future<int>>();
  auto x = p.b.ask<&joiner::await_given>(slot, &gate);
  auto y = p.a.ask<&joiner::await>(x);
  BOOST_TEST(p.a_waits(live.sys));
  *slot = p.a.ask<&joiner::one>();
  gate.release();
  auto text = deadlock_of(*slot);
  BOOST_TEST(text.find("joiner::one> -> ") != std::string::npos, text);
  BOOST_TEST(deadlock_of(x) == text);
  BOOST_TEST(deadlock_of(y) == text);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_cycle_through)

BOOST_AUTO_TEST_CASE(when_all_is_found_by_any_part) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  auto free = live.sys.spawn<joiner>();
  free.tell<&joiner::link>(std::vector{free});
  auto text = deadlock_of(p.a.ask<&joiner::greet_all>());
  BOOST_TEST(names_cycle(text, std::vector{p.a, p.b}, "joiner::greet_all"),
             text);
  p.fall_silent();
  BOOST_TEST(joiner::greetings <= 3);
  free.kill();
}

BOOST_AUTO_TEST_CASE(when_any_is_found_when_all_parts_are_in_it) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  auto text = deadlock_of(p.a.ask<&joiner::greet_any>());
  BOOST_TEST(names_cycle(text, std::vector{p.a, p.b}, "joiner::greet_any"),
             text);
  p.fall_silent();
  BOOST_TEST(joiner::greetings <= 3);
}

BOOST_AUTO_TEST_CASE(when_any_is_none_while_one_part_may_come) {
  test::live_system live;
  auto a = live.sys.spawn<joiner>(), free = live.sys.spawn<joiner>();
  a.ask<&joiner::link>(std::vector{a, free}).get();
  BOOST_TEST(deadlock_of(a.ask<&joiner::any_of_ones>()) == "value 1");
  a.kill();
}

BOOST_AUTO_TEST_CASE(when_any_is_found_by_the_part_that_ties_the_knot) {
  test::live_system live;
  for (int round = 0; round < 100; ++round) {
    auto a = live.sys.spawn<joiner>(), l = live.sys.spawn<joiner>(),
         r = live.sys.spawn<joiner>();
    l.tell<&joiner::link>(std::vector{a});
    r.tell<&joiner::link>(std::vector{a});
    a.ask<&joiner::link>(std::vector{l, r}).get();
    auto text = deadlock_of(a.ask<&joiner::ones_of_any>());
    BOOST_REQUIRE_MESSAGE(text.find("never end") != std::string::npos, text);
    a.kill();
  }
}

BOOST_AUTO_TEST_CASE(as_completed_and_wait_is_found) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  auto text = deadlock_of(p.a.ask<&joiner::completed>());
  BOOST_TEST(names_cycle(text, std::vector{p.a, p.b}, "joiner::completed"),
             text);
  text = deadlock_of(p.a.ask<&joiner::waited>());
  BOOST_TEST(names_cycle(text, std::vector{p.a, p.b}, "joiner::waited"), text);
}

BOOST_AUTO_TEST_CASE(what_then_waits_for_is_found) {
  test::live_system live;
  pair_of_joiners p{live.sys};
  std::binary_semaphore gate{0};
  auto slot = std::make_shared<troupe::future<int>>();
  auto x = p.b.ask<&joiner::await_given>(slot, &gate);
  auto y = p.a.ask<&joiner::await>(x);
  BOOST_TEST(p.a_waits(live.sys));
  *slot = p.a.ask<&joiner::one>().then([](int n) { return n + 1; });
  gate.release();
  auto text = deadlock_of(y);
  BOOST_TEST(
    text.find("joiner::one> -> " + to_string(p.a)) != std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(a_methods_own_then_is_found) {
  std::binary_semaphore here{0}, gate{0};
  test::live_system live;
  pair_of_joiners p{live.sys};
  p.b.tell([&](joiner&) { // else the answer may be there before the wait
    here.release();
    gate.acquire();
  });
  here.acquire();
  auto text = deadlock_of(p.a.ask<&joiner::own_then>());
  gate.release();
  auto name = to_string(p.a);
  BOOST_TEST(text.find(name + ".ask<then> -> " + name) != std::string::npos,
             text);
}

// [0] asks [1], which passes it on to [2], which asks [0].
BOOST_AUTO_TEST_CASE(an_ask_that_is_passed_on_is_found) {
  test::live_system live;
  for (int round = 0; round < 50; ++round) {
    auto ps = passers(live.sys);
    auto text = deadlock_of(ps[0].ask<&passer::begin>());
    BOOST_TEST(text.find("passer::one> -> " + to_string(ps[0]))
                 != std::string::npos,
               text);
    ps[0].tell<&passer::link>(ref<passer>{});
  }
}

// The same; [0] and [2] wait already, so it is [1] that has to find it.
BOOST_AUTO_TEST_CASE(an_ask_is_found_when_it_is_passed_on_after_its_begin) {
  test::live_system live;
  for (bool by_then : {false, true}) {
    auto ps = passers(live.sys);
    std::binary_semaphore gate{0};
    auto first = ps[0].ask<&passer::begin_with>(&gate, by_then);
    BOOST_REQUIRE(waits(live.sys, ps[0], "passer::begin_with"));
    BOOST_REQUIRE(waits(live.sys, ps[2], "passer::ask_next"));
    gate.release();
    auto text = deadlock_of(first);
    BOOST_TEST(text.find("passer::one> -> " + to_string(ps[0]))
                 != std::string::npos,
               text);
    ps[0].tell<&passer::link>(ref<passer>{});
  }
}

// [2] waits for [0] already when [1] passes on to it what [0] waits for.
BOOST_AUTO_TEST_CASE(an_ask_is_found_by_the_one_that_passes_it_on) {
  test::live_system live;
  for (int round = 0; round < 50; ++round) {
    auto ps = passers(live.sys);
    std::binary_semaphore here{0}, gate{0};
    auto first = ps[0].ask<&passer::begin_held>(&here, &gate);
    here.acquire();
    auto back = ps[2].ask<&passer::ask_next>();
    BOOST_REQUIRE(waits(live.sys, ps[2], "passer::ask_next"));
    gate.release();
    auto text = deadlock_of(first);
    BOOST_TEST(text.find("this wait would never end") != std::string::npos,
               text);
    BOOST_TEST(deadlock_of(back) == "value 1");
    ps[0].tell<&passer::link>(ref<passer>{});
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(no_cycle)

// The function of `then` has run; who waits for its future waits for another.
BOOST_AUTO_TEST_CASE(is_a_then_that_has_passed_on) {
  test::live_system live;
  auto ps = passers(live.sys);
  std::binary_semaphore here{0}, gate{0};
  ps[0].tell<&passer::go_on_with_next>(&here, &gate);
  here.acquire();
  auto f = ps[0].ask<&passer::await_kept>();
  BOOST_TEST(!f.wait_for(5ms));
  gate.release();
  BOOST_TEST(deadlock_of(f) == "value 1");
  ps[0].tell<&passer::link>(ref<passer>{});
}

// The answer is on its way, but its asker has not seen it yet.
BOOST_AUTO_TEST_CASE(is_an_ask_back_after_the_answer) {
  test::live_system live;
  for (int round = 0; round < 100; ++round) {
    auto nodes = ring(live.sys, 2);
    std::binary_semaphore here{0}, gate{0};
    auto there = nodes[0].ask<&node::ask_held>(&here, &gate);
    here.acquire();                             // [1] is in `hold` for [0]
    auto back = nodes[1].ask<&node::ask_one>(); // and asks [0] next
    gate.release();
    BOOST_TEST(deadlock_of(there) == "value 1");
    BOOST_TEST(deadlock_of(back) == "value 1");
  }
}

BOOST_AUTO_TEST_CASE(is_an_ask_to_one_that_has_passed_it_on) {
  test::live_system live;
  auto nodes = ring(live.sys, 2);
  auto third = live.sys.spawn<node>();
  std::binary_semaphore here{0}, gate{0};
  auto there = nodes[0].ask<&node::ask_routed>(third, &here, &gate);
  here.acquire(); // [0] waits for [1], which has passed it on to the third
  auto back = nodes[1].ask<&node::ask_one>();
  BOOST_TEST(!back.wait_for(5ms));
  gate.release();
  BOOST_TEST(deadlock_of(there) == "value 1");
  BOOST_TEST(deadlock_of(back) == "value 1");
}

BOOST_AUTO_TEST_CASE(is_a_reentrant_actor_that_awaits_itself) {
  test::live_system live;
  auto d = live.sys.spawn<open_door>();
  BOOST_TEST(d.ask<&open_door::ask_myself>().get() == 2);
}

BOOST_AUTO_TEST_CASE(but_a_reentrant_actor_that_blocks_on_itself_is_one) {
  test::live_system live;
  auto d = live.sys.spawn<open_door>();
  for (auto f : {d.ask<&open_door::block_on_myself>(),
                 d.ask<&open_door::block_on_my_own_future>()})
    BOOST_TEST(deadlock_of(f).find("open_door::one") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
