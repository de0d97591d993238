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
bool names_cycle(const std::string& text, const std::vector<ref<node>>& nodes,
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
  BOOST_TEST(names_cycle(text, {n}, "node::one"), text);
  n.kill(); // it holds a handle to itself
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(no_cycle)

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
