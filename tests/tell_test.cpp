// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE tell
#include "support/fixture.hpp"

#include <memory>
#include <vector>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

class list {
public:
  void add(int n) { seen_.push_back(n); }
  std::vector<int> all() const { return seen_; }

private:
  std::vector<int> seen_;
};

// The base stands elsewhere than the object: the tag's place is taken.
class tag {
public:
  int number = 7;
};
class tagged_list : public tag, public list {
public:
  int number_and_size() const { return number + int(all().size()); }
};

// Does what it is given as a turn of its own.
class sender : public troupe::actor {
public:
  template <class F>
  static void in_turn_of(const troupe::ref<sender>& s, F f) {
    s.ask([f = std::move(f)](sender&) mutable { f(); }).get();
  }
};

std::vector<int> up_to(int n) {
  std::vector<int> result;
  for (int i = 0; i < n; ++i)
    result.push_back(i);
  return result;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto l = live.sys.spawn<list>();
  auto s = live.sys.spawn<sender>();
  sender::in_turn_of(s, [l] {
    for (int i = 0; i < 1000; ++i)
      l.tell([i](list& x) { x.add(i); });
  });
  BOOST_TEST(l.ask<&list::all>().get() == up_to(1000));
  for (int i = 1000; i < 1010; ++i) // a thread shares nothing
    l.tell([i](list& x) { x.add(i); });
  BOOST_TEST(l.ask<&list::all>().get() == up_to(1010));
}

BOOST_AUTO_TEST_CASE(of_a_base_reaches_the_base) {
  live_system live;
  auto l = live.sys.spawn<tagged_list>();
  l.tell<&list::add>(1);
  l.tell<&tagged_list::add>(2);
  BOOST_TEST(l.ask<&list::all>().get() == (std::vector{1, 2}));
  BOOST_TEST(l.ask<&tagged_list::number_and_size>().get() == 9);
}

BOOST_AUTO_TEST_SUITE(order)

BOOST_AUTO_TEST_CASE(holds_among_tells_asks_and_functions) {
  live_system live;
  auto s = live.sys.spawn<sender>();
  for (int round = 0; round < 200; ++round) {
    auto l = live.sys.spawn<list>();
    auto other = live.sys.spawn<list>();
    std::vector<troupe::future<void>> answers;
    sender::in_turn_of(s, [&] {
      for (int i = 0; i < 300;) {
        auto add = [&, tell = [&l](int n) {
          l.tell([n](list& x) { x.add(n); });
        }] { tell(i++); };
        add();
        if (i % 3 == 0)
          l.tell<&list::add>(i++);
        if (i % 7 == 0)
          answers.push_back(l.ask<&list::add>(i++));
        if (i % 5 == 0)
          other.tell([](list& x) { x.add(0); });
        if (i % 11 == 0) {
          l.tell([n = i, more = std::make_unique<int>(1)](list& x) {
            x.add(n + *more - 1);
          });
          ++i;
        }
        add();
      }
    });
    for (auto& a : answers)
      a.get();
    auto all = l.ask<&list::all>().get();
    BOOST_TEST_REQUIRE(all == up_to(static_cast<int>(all.size())));
    BOOST_TEST_REQUIRE(all.size() >= 300u);
  }
}

BOOST_AUTO_TEST_CASE(holds_against_what_an_answer_says) {
  live_system live;
  auto s = live.sys.spawn<sender>();
  auto l = live.sys.spawn<list>();
  auto other = live.sys.spawn<sender>();
  for (int round = 0; round < 500; ++round)
    sender::in_turn_of(s, [&] {
      l.tell([round](list& x) { x.add(3 * round); });
      // Another one tells it, and we know: ours comes after it.
      other
        .ask(
          [&](sender&) { l.tell([round](list& x) { x.add(3 * round + 1); }); })
        .get();
      l.tell([round](list& x) { x.add(3 * round + 2); });
    });
  BOOST_TEST(l.ask<&list::all>().get() == up_to(1500));
}

BOOST_AUTO_TEST_CASE(holds_for_many_senders_at_once) {
  live_system live;
  struct from {
    int who, n;
  };
  struct checker {
    std::vector<int> next = std::vector<int>(8);
    int wrong = 0;
    void see(from f) {
      auto& expected = next[static_cast<std::size_t>(f.who)];
      wrong += f.n == expected ? 0 : 1;
      expected = f.n + 1;
    }
  };
  auto c = live.sys.spawn<checker>();
  std::vector<troupe::future<void>> all;
  for (int who = 0; who < 8; ++who)
    all.push_back(live.sys.spawn<sender>().ask([c, who](sender&) {
      for (int n = 0; n < 20'000; ++n)
        c.tell([f = from{who, n}](checker& x) { x.see(f); });
    }));
  for (auto& f : all)
    f.get();
  BOOST_TEST(c.ask([](checker& x) { return x.wrong; }).get() == 0);
  BOOST_TEST(c.ask([](checker& x) { return x.next; }).get()
             == std::vector<int>(8, 20'000));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(an_end)

// What a message carries, counted.
struct load {
  std::shared_ptr<int> alive;
  void operator()(list& l) const { l.add(*alive); }
};

BOOST_AUTO_TEST_CASE(by_a_failure_drops_and_counts_those_behind_it) {
  live_system live{{.workers = 2, .log_level = "off"}};
  auto alive = std::make_shared<int>(7);
  auto l = live.sys.spawn<list>();
  auto s = live.sys.spawn<sender>();
  std::atomic<int> run{0};
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 100; ++i)
      l.tell([&run, i, a = alive](list&) {
        ++run;
        if (i == 40)
          throw std::runtime_error{"on demand"};
      });
  });
  BOOST_TEST(eventually(5s, [&] { return !l.is_alive(); }));
  BOOST_TEST(run == 41);
  BOOST_TEST(eventually(5s, [&] { return alive.use_count() == 1; }));
  BOOST_TEST(eventually(5s, [&] { return live.sys.dead_letters() == 59u; }));
}

BOOST_AUTO_TEST_CASE(by_a_kill_comes_after_the_call_that_runs) {
  live_system live;
  auto l = live.sys.spawn<list>();
  auto s = live.sys.spawn<sender>();
  std::atomic<int> run{0};
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 30; ++i)
      l.tell([&run, l](list&) {
        if (++run == 10)
          l.kill();
      });
  });
  BOOST_TEST(eventually(5s, [&] { return !l.is_alive(); }));
  BOOST_TEST(run == 10);
  BOOST_TEST(eventually(5s, [&] { return live.sys.dead_letters() == 20u; }));
}

BOOST_AUTO_TEST_CASE(before_it_runs_drops_all) {
  live_system live;
  auto alive = std::make_shared<int>(7);
  auto l = live.sys.spawn<list>();
  auto s = live.sys.spawn<sender>();
  sender::in_turn_of(s, [&] {
    l.kill();
    for (int i = 0; i < 100; ++i)
      l.tell(load{alive});
  });
  BOOST_TEST(eventually(5s, [&] { return alive.use_count() == 1; }));
  BOOST_TEST(eventually(5s, [&] { return live.sys.dead_letters() == 100u; }));
}

BOOST_AUTO_TEST_CASE(of_the_sender_leaves_nothing_behind) {
  auto alive = std::make_shared<int>(7);
  {
    live_system live;
    auto l = live.sys.spawn<list>();
    for (int i = 0; i < 100; ++i) {
      auto s = live.sys.spawn<sender>();
      s.tell([i, l, alive](sender&) {
        for (int k = 0; k < i; ++k)
          l.tell(load{alive});
      });
    }
    BOOST_TEST(eventually(
      5s, [&] { return l.ask<&list::all>().get().size() == 4950u; }));
  }
  BOOST_TEST(alive.use_count() == 1);
}

// What waits when an object ends goes with it, shared envelope or not.
BOOST_AUTO_TEST_CASE(by_a_failure_leaves_what_comes_later_to_the_next_object) {
  live_system live{{.workers = 2, .log_level = "off"}};
  static std::atomic<int> run{0};
  run = 0;
  struct mortal {
    void at(int i) {
      ++run;
      if (i == 40)
        throw std::runtime_error{"on demand"};
    }
  };
  auto m = live.sys.spawn<mortal>(troupe::restartable{});
  auto s = live.sys.spawn<sender>();
  std::binary_semaphore here{0}, gate{0};
  m.tell([&](mortal&) {
    here.release();
    gate.acquire();
  });
  here.acquire();
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 100; ++i)
      m.tell<&mortal::at>(i);
  });
  gate.release();
  BOOST_TEST_REQUIRE(
    eventually(5s, [&] { return run == 41 && !m.is_alive(); }));
  BOOST_TEST(eventually(5s, [&] { return live.sys.dead_letters() == 59u; }));
  sender::in_turn_of(s, [&] {
    for (int i = 41; i < 100; ++i)
      m.tell<&mortal::at>(i);
  });
  troupe::restart(m).get();
  BOOST_TEST(eventually(5s, [&] { return run == 100; }));
  BOOST_TEST(live.sys.dead_letters() == 59u);
}

BOOST_AUTO_TEST_CASE(tells_the_observer_of_each_that_is_lost) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<int> seen{0};
  live.sys.on_dead_letter([&](const troupe::dead_letter& d) {
    seen += d.message == "list::add" ? 1 : 0;
  });
  auto s = live.sys.spawn<sender>();
  auto l = live.sys.spawn<list>();
  l.kill();
  BOOST_TEST(eventually(5s, [&] { return !l.is_alive(); }));
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 100; ++i)
      l.tell<&list::add>(i);
  });
  BOOST_TEST(seen == 100);
  std::binary_semaphore here{0}, gate{0};
  auto held = live.sys.spawn<list>();
  held.tell([&](list&) {
    here.release();
    gate.acquire();
  });
  here.acquire();
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 100; ++i)
      held.tell<&list::add>(i);
  });
  held.kill();
  gate.release();
  BOOST_TEST(eventually(5s, [&] { return seen == 200; }));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(the_counters)

BOOST_AUTO_TEST_CASE(see_messages_not_envelopes) {
  live_system live;
  auto s = live.sys.spawn<sender>();
  auto l = live.sys.spawn<list>();
  const auto before = live.sys.stats().messages;
  sender::in_turn_of(s, [&] {
    for (int i = 0; i < 1000; ++i)
      l.tell<&list::add>(i);
  });
  BOOST_TEST(l.ask<&list::all>().get() == up_to(1000));
  BOOST_TEST(eventually(
    5s, [&] { return live.sys.stats().messages - before >= 1002u; }));
  BOOST_TEST(live.sys.stats().messages - before == 1002u);
}

// Full: what doesn't fit is seen by whoever tells it, not by the envelope.
BOOST_AUTO_TEST_CASE(of_a_bounded_mailbox_count_each) {
  live_system live;
  auto s = live.sys.spawn<sender>();
  auto l = live.sys.spawn<list>(
    troupe::mailbox{.max = 4, .full = troupe::full_policy::reject});
  std::binary_semaphore here{0}, gate{0};
  l.tell([&](list&) {
    here.release();
    gate.acquire();
  });
  here.acquire();
  int sent = 0;
  sender::in_turn_of(s, [&] {
    try {
      for (; sent < 100; ++sent)
        l.tell<&list::add>(sent);
    } catch (const troupe::rejected&) {}
  });
  gate.release();
  BOOST_TEST(sent == 4);
  BOOST_TEST(eventually(5s, [&] {
    try {
      return l.ask<&list::all>().get() == up_to(4);
    } catch (const troupe::rejected&) {
      return false; // still full
    }
  }));
}

BOOST_AUTO_TEST_SUITE_END()
