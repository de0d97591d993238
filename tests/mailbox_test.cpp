// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE mailbox
#include "support/fixture.hpp"

#include <semaphore>

namespace {

using namespace std::chrono_literals;
using troupe::mailbox;
using troupe::ref;

class sink {
public:
  void hold(std::binary_semaphore* here, std::binary_semaphore* gate) {
    here->release();
    gate->acquire();
  }
  void put(int n) { got_.push_back(n); }
  std::vector<int> got() const { return got_; }
  int one() { return 1; }

private:
  std::vector<int> got_;
};

// A sink that stands still, its mailbox empty and bounded to 4.
struct held_sink {
  struct gates {
    std::binary_semaphore here{0}, gate{0};
  };
  std::shared_ptr<gates> kept = std::make_shared<gates>(); // by the sink, too
  std::binary_semaphore& gate = kept->gate;
  ref<sink> to;

  held_sink(troupe::system& sys, troupe::full_policy full)
    : to(sys.spawn<sink>(mailbox{.max = 4, .full = full})) {
    to.tell([g = kept](sink& s) { s.hold(&g->here, &g->gate); });
    kept->here.acquire();
  }
};

// Handles others while one of its methods waits.
class open_sink : public troupe::reentrant {
public:
  void put(int) { ++got_; }
  // How many have been put when it goes on.
  troupe::task<int> got_after(troupe::future<void> f) {
    co_await f;
    co_return got_;
  }

private:
  int got_ = 0;
};

class forwarder : public troupe::actor {
public:
  explicit forwarder(ref<sink> to) : to_(to) {}
  int send(int n) {
    for (int i = 0; i < n; ++i)
      to_.tell<&sink::put>(i);
    return n;
  }

private:
  ref<sink> to_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto s = live.sys.spawn<sink>(mailbox{.max = 10});
  s.tell<&sink::put>(1);
  BOOST_TEST((s.ask<&sink::got>().get() == std::vector{1}));
}

BOOST_AUTO_TEST_SUITE(a_full_mailbox)

BOOST_AUTO_TEST_CASE(of_none_is_refused_at_spawn) {
  test::live_system live;
  BOOST_CHECK_THROW(live.sys.spawn<sink>(mailbox{.max = 0}),
                    troupe::bad_argument);
  BOOST_CHECK_THROW(
    live.sys.spawn<sink>(mailbox{.max = 1, .full = troupe::caller_runs}),
    troupe::bad_argument);
  BOOST_TEST(live.sys.stats().actors_alive == 0u);
}

BOOST_AUTO_TEST_CASE(that_rejects_says_so_to_tell_and_ask) {
  test::live_system live;
  held_sink s{live.sys, troupe::reject};
  for (int i = 0; i < 4; ++i)
    s.to.tell<&sink::put>(i);
  try {
    s.to.tell<&sink::put>(4);
    BOOST_ERROR("no error");
  } catch (const troupe::rejected& e) {
    std::string text = e.what();
    BOOST_TEST(text.find("sink::put") != std::string::npos, text);
    BOOST_TEST(text.find(to_string(s.to)) != std::string::npos, text);
    BOOST_TEST(text.find("the limit is 4") != std::string::npos, text);
  }
  BOOST_CHECK_THROW(s.to.ask<&sink::one>().get(), troupe::rejected);
  s.gate.release();
  BOOST_TEST(test::eventually(5s, [&] {
    try {
      return s.to.ask<&sink::got>().get() == std::vector{0, 1, 2, 3};
    } catch (const troupe::rejected&) {
      return false;
    }
  }));
}

BOOST_AUTO_TEST_CASE(that_drops_the_newest_counts_each) {
  test::live_system live;
  held_sink s{live.sys, troupe::drop_newest};
  for (int i = 0; i < 10; ++i)
    s.to.tell<&sink::put>(i);
  auto late = s.to.ask<&sink::one>();
  BOOST_CHECK_THROW(late.get(), troupe::rejected);
  BOOST_TEST(live.sys.dead_letters() == 7u);
  s.gate.release();
  test::eventually(5s, [&] { return live.sys.stats().messages >= 5; });
  BOOST_TEST((s.to.ask<&sink::got>().get() == std::vector{0, 1, 2, 3}));
}

BOOST_AUTO_TEST_CASE(that_drops_the_oldest_counts_each_and_settles_asks) {
  test::live_system live;
  held_sink s{live.sys, troupe::drop_oldest};
  auto early = s.to.ask<&sink::one>();
  for (int i = 0; i < 10; ++i)
    s.to.tell<&sink::put>(i);
  BOOST_CHECK_THROW(early.get(), troupe::rejected);
  BOOST_TEST(live.sys.dead_letters() == 7u);
  s.gate.release();
  test::eventually(5s, [&] { return live.sys.stats().messages >= 5; });
  BOOST_TEST((s.to.ask<&sink::got>().get() == std::vector{6, 7, 8, 9}));
}

BOOST_AUTO_TEST_CASE(that_waits_loses_nothing_from_any_sender) {
  test::live_system live{{.workers = 2}};
  auto s = live.sys.spawn<sink>(mailbox{.max = 4});
  std::vector<ref<forwarder>> actors;
  std::vector<troupe::future<int>> sent;
  for (int i = 0; i < 4; ++i) {
    actors.push_back(live.sys.spawn<forwarder>(s));
    sent.push_back(actors.back().ask<&forwarder::send>(500));
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 500; ++i)
        s.tell<&sink::put>(i);
    });
  for (auto& t : threads)
    t.join();
  for (auto& f : sent)
    BOOST_TEST(f.get() == 500);
  BOOST_TEST(s.ask<&sink::got>().get().size() == 3'000u);
  BOOST_TEST(live.sys.dead_letters() == 0u);
}

BOOST_AUTO_TEST_CASE(that_waits_gives_up_at_the_deadline) {
  test::live_system live{{.workers = 2, .ask_deadline = 10ms}};
  held_sink s{live.sys, troupe::wait};
  for (int i = 0; i < 4; ++i)
    s.to.tell<&sink::put>(i);
  BOOST_CHECK_THROW(s.to.tell<&sink::put>(4), troupe::timeout);
  BOOST_CHECK_THROW(s.to.ask<&sink::one>().get(), troupe::timeout);
  s.gate.release();
  BOOST_TEST(test::eventually(
    5s, [&] { return s.to.within(20s).ask<&sink::got>().get().size() == 4; }));
}

BOOST_AUTO_TEST_CASE(that_waits_keeps_the_asks_own_deadline) {
  using clock = std::chrono::steady_clock;
  test::live_system live; // its ask_deadline: 30 s
  held_sink s{live.sys, troupe::wait};
  for (int i = 0; i < 4; ++i)
    s.to.tell<&sink::put>(i);
  const auto begin = clock::now();
  BOOST_CHECK_THROW(s.to.within(5ms).ask<&sink::one>().get(), troupe::timeout);
  BOOST_TEST((clock::now() - begin < 10s));
  s.gate.release();
  BOOST_TEST(s.to.ask<&sink::got>().get().size() == 4u);
}

BOOST_AUTO_TEST_CASE(that_waits_lets_its_senders_go_when_its_actor_ends) {
  test::live_system live;
  held_sink s{live.sys, troupe::wait};
  for (int i = 0; i < 4; ++i)
    s.to.tell<&sink::put>(i);
  std::atomic<int> sent{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      s.to.tell<&sink::put>(7);
      ++sent;
    });
  s.to.kill();
  s.gate.release();
  for (auto& t : threads)
    t.join();
  BOOST_TEST(sent == 3);
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.dead_letters() == 7; }));
}

BOOST_AUTO_TEST_CASE(never_keeps_a_stop_out) {
  test::live_system live;
  for (auto full : {troupe::full_policy::wait, troupe::reject,
                    troupe::drop_newest, troupe::drop_oldest}) {
    held_sink s{live.sys, full};
    for (int i = 0; i < 4; ++i)
      s.to.tell<&sink::put>(i);
    s.to.stop();
    s.gate.release();
    BOOST_TEST(test::eventually(5s, [&] { return !s.to.is_alive(); }));
  }
  BOOST_TEST(live.sys.dead_letters() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_bounded_mailbox)

BOOST_AUTO_TEST_CASE(holds_back_no_reply_to_a_reentrant_actor) {
  std::binary_semaphore here{0}, gate{0}; // they outlive who waits
  test::live_system live;
  auto s = live.sys.spawn<open_sink>(mailbox{.max = 100});
  troupe::promise<void> reply;
  auto got = s.ask<&open_sink::got_after>(reply.get_future());
  s.tell([&](open_sink&) {
    here.release();
    gate.acquire();
  });
  here.acquire();
  for (int i = 0; i < 100; ++i)
    s.tell<&open_sink::put>(i);
  reply.set_value();
  gate.release();
  BOOST_TEST(got.get() <= 2);
}

// The message is handled before who pushes it is back: what a sanitizer sees.
BOOST_AUTO_TEST_CASE(may_get_what_alone_keeps_its_actor) {
  test::live_system live;
  for (int i = 0; i < 500; ++i) {
    troupe::promise<int> p;
    auto s = live.sys.spawn<sink>(mailbox{.max = 10});
    s.ask([f = p.get_future()](sink&) { (void)f.then([](int) {}); }).get();
    s.tell<&sink::put>(i);
    s = {};
    p.set_value(1);
  }
  BOOST_TEST(
    test::eventually(10s, [&] { return live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_dead_letter)

BOOST_AUTO_TEST_CASE(is_counted_and_seen_with_its_reason) {
  test::live_system live;
  std::mutex mutex;
  std::vector<troupe::dead_letter> seen;
  live.sys.on_dead_letter([&](const troupe::dead_letter& d) {
    std::lock_guard guard{mutex};
    seen.push_back(d);
  });
  auto s = live.sys.spawn<sink>();
  s.stop();
  test::eventually(5s, [&] { return !s.is_alive(); });
  s.tell<&sink::put>(1);
  auto f = s.ask<&sink::one>();
  BOOST_TEST(seen.size() == 2u);
  BOOST_TEST(seen[0].actor == s.id());
  BOOST_TEST(seen[0].name == "sink");
  BOOST_TEST(seen[0].message == "sink::put");
  BOOST_TEST(seen[0].why == "stopped");
  BOOST_TEST(seen[1].message == "sink::one");
  held_sink full{live.sys, troupe::drop_newest};
  for (int i = 0; i < 5; ++i)
    full.to.tell<&sink::put>(i);
  BOOST_TEST(seen.size() == 3u);
  BOOST_TEST(seen[2].why == "full");
  live.sys.on_dead_letter({});
  s.tell<&sink::put>(1);
  BOOST_TEST(seen.size() == 3u);
  BOOST_TEST(live.sys.dead_letters() == 4u);
  full.gate.release();
}

BOOST_AUTO_TEST_CASE(that_its_observer_causes_is_counted_only) {
  test::live_system live;
  auto s = live.sys.spawn<sink>();
  s.stop();
  test::eventually(5s, [&] { return !s.is_alive(); });
  int seen = 0;
  live.sys.on_dead_letter([&](const troupe::dead_letter&) {
    ++seen;
    s.tell<&sink::put>(1);
  });
  s.tell<&sink::put>(1);
  BOOST_TEST(seen == 1);
  BOOST_TEST(live.sys.dead_letters() == 2u);
  live.sys.on_dead_letter({});
}

BOOST_AUTO_TEST_CASE(may_end_its_observer_which_may_throw) {
  test::live_system live{{.workers = 2, .log_level = "off"}};
  auto s = live.sys.spawn<sink>();
  s.stop();
  test::eventually(5s, [&] { return !s.is_alive(); });
  int seen = 0;
  live.sys.on_dead_letter([&](const troupe::dead_letter&) {
    auto& counted = seen; // its captures stay until it is back
    if (++counted == 1)
      throw std::runtime_error{"not now"};
    live.sys.on_dead_letter({});
    ++counted;
  });
  for (int i = 0; i < 3; ++i)
    s.tell<&sink::put>(i);
  BOOST_TEST(seen == 3);
  BOOST_TEST(live.sys.dead_letters() == 3u);
}

BOOST_AUTO_TEST_CASE(is_each_of_a_million_that_wait_at_a_kill) {
  std::binary_semaphore here{0}, gate{0}; // they outlive who waits
  test::live_system live;
  auto s = live.sys.spawn<sink>();
  s.tell<&sink::hold>(&here, &gate);
  here.acquire();
  constexpr int count = 1'000'000;
  for (int i = 0; i < count; ++i)
    s.tell<&sink::put>(i);
  s.kill();
  gate.release();
  BOOST_TEST(test::eventually(
    10s, [&] { return live.sys.dead_letters() == std::uint64_t{count}; }));
}

BOOST_AUTO_TEST_SUITE_END()
