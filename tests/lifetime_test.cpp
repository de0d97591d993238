// SPDX-License-Identifier: MIT
// When actors go: handles and the right to run keep them, nothing else does.
#define BOOST_TEST_MODULE lifetime
#include "support/fixture.hpp"

#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using troupe::mailbox;
using troupe::on_thread;
using troupe::ref;
using troupe::task;
using troupe::weak_ref;

constexpr auto rounds = test::rounds(3'000);

std::atomic<int> done{0}, stopped{0}, unreachable{0};

// Ends where its last handle goes.
class plain {
public:
  int twice(int n) { return 2 * n; }
  void count() { ++done; }
  void keep(ref<plain> other) { other_ = std::move(other); }

private:
  test::counted counted_;
  ref<plain> other_;
};

// Ends as itself, in its own turn.
class worded : public troupe::actor {
public:
  int twice(int n) { return 2 * n; }
  void count() {
    ++done;
    ref<worded> me = self(); // a reference out of nothing, at times
    me_ = me;
  }
  void on_stop(const troupe::stop_reason& why) {
    ++stopped;
    unreachable += why.kind == troupe::stop_reason::unreachable;
    const ref<worded> me = self();
    BOOST_TEST(static_cast<bool>(me));
  }

private:
  test::counted counted_;
  weak_ref<worded> me_;
};

class gate {
public:
  troupe::future<int> pass() { return line_.park(); }
  void open(int n) { line_.serve(n); }
  std::size_t size() const { return line_.size(); }

private:
  troupe::waiting_line<int> line_;
};

template <class... Bases>
class basic_waiter : public troupe::actor, public Bases... {
public:
  explicit basic_waiter(ref<gate> g) : gate_(std::move(g)) {}
  task<> wait() {
    seen_ = co_await gate_.ask<&gate::pass>();
    ++done;
  }
  void count() { ++done; }
  void on_stop(const troupe::stop_reason& why) {
    unreachable += why.kind == troupe::stop_reason::unreachable;
  }

private:
  test::counted counted_;
  ref<gate> gate_;
  int seen_ = 0;
};

using waiter = basic_waiter<>;
using open_waiter = basic_waiter<troupe::reentrant>;

// Awaits a future that another of its methods replaces meanwhile.
class replacing : public troupe::reentrant {
public:
  explicit replacing(ref<gate> g) : gate_(std::move(g)) {}
  task<int> wait() {
    answer_ = gate_.ask<&gate::pass>();
    co_return co_await answer_;
  }
  void replace() { answer_ = {}; }

private:
  ref<gate> gate_;
  troupe::future<int> answer_;
};

void start_counting() {
  done = stopped = unreachable = 0;
  BOOST_REQUIRE(test::counted::alive == 0);
}

template <class F>
void in_two_threads(F f) {
  std::thread one{f}, two{f};
  one.join();
  two.join();
}

// Handles go while the actor runs, and while others lock weak ones: whoever
// gets a reference finds it alive.
template <class Actor, class... Options>
void end_in_every_way(int times, Options... options) {
  start_counting();
  {
    live_system live;
    std::atomic<int> locked{0}, sent{0};
    in_two_threads([&] {
      for (int i = 0; i < times; ++i) {
        auto a = live.sys.spawn<Actor>(options...);
        auto b = a;
        weak_ref<Actor> w = a;
        std::thread other;
        if (i % 10 == 0)
          other = std::thread{[&locked, &sent, w, b]() mutable {
            b.template tell<&Actor::count>();
            ++sent;
            b = {};
            if (auto c = w.lock()) {
              ++locked;
              BOOST_TEST(c.template ask<&Actor::twice>(3).get() == 6);
            }
          }};
        b = {};
        a.template tell<&Actor::count>();
        ++sent;
        if (i % 3 == 0)
          a.template tell<&Actor::count>(), ++sent;
        a = {};
        if (auto c = w.lock(); c && i % 2 == 0)
          BOOST_TEST(c.template ask<&Actor::twice>(i).get() == 2 * i);
        if (other.joinable())
          other.join();
      }
    });
    BOOST_TEST(eventually(10s, [&] { return test::counted::alive == 0; }));
    BOOST_TEST(done == sent); // with a handle behind it, a tell arrives
    BOOST_TEST(live.sys.stats().dead_letters == 0u);
    BOOST_TEST_MESSAGE(locked << " locked meanwhile");
    if constexpr (std::is_same_v<Actor, worded>) {
      BOOST_TEST(stopped == 2 * times);
      BOOST_TEST(unreachable == 2 * times);
    }
  }
}

template <class Waiter, class... Options>
void keep_one_that_waits(Options... options) {
  start_counting();
  live_system live;
  auto g = live.sys.spawn<gate>();
  {
    auto w = live.sys.spawn<Waiter>(options..., g);
    w.template tell<&Waiter::wait>();
  }
  BOOST_TEST(eventually(5s, [&] { return g.ask<&gate::size>().get() == 1u; }));
  std::this_thread::sleep_for(20ms);     // sleeps: nothing shall happen
  BOOST_TEST(test::counted::alive == 1); // nobody has it, but it waits
  BOOST_TEST(unreachable == 0);
  g.tell<&gate::open>(7);
  BOOST_TEST(eventually(5s, [&] { return test::counted::alive == 0; }));
  BOOST_TEST(done == 1);
  BOOST_TEST(unreachable == 1);
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  end_in_every_way<plain>(20);
}

BOOST_AUTO_TEST_SUITE(an_actor_without_handles)

BOOST_AUTO_TEST_CASE(ends_once_wherever_it_is) {
  end_in_every_way<plain>(rounds);
}

BOOST_AUTO_TEST_CASE(ends_in_its_own_turn_if_it_has_last_words) {
  end_in_every_way<worded>(rounds);
}

BOOST_AUTO_TEST_CASE(ends_with_a_bounded_mailbox) {
  end_in_every_way<plain>(rounds / 4, mailbox{.max = 2});
  end_in_every_way<worded>(rounds / 4, mailbox{.max = 2});
}

BOOST_AUTO_TEST_CASE(ends_on_a_thread_of_its_own) {
  end_in_every_way<plain>(rounds / 10, on_thread{});
  end_in_every_way<worded>(rounds / 10, on_thread{}, mailbox{.max = 2});
}

BOOST_AUTO_TEST_CASE(stays_while_one_of_its_methods_waits) {
  keep_one_that_waits<waiter>();
  keep_one_that_waits<open_waiter>();
  keep_one_that_waits<waiter>(mailbox{.max = 2});
  keep_one_that_waits<waiter>(on_thread{});
}

BOOST_AUTO_TEST_CASE(may_be_killed_while_its_answer_comes) {
  start_counting();
  live_system live;
  for (int i = 0; i < rounds; ++i) {
    auto g = live.sys.spawn<gate>();
    auto w = live.sys.spawn<waiter>(g);
    w.tell<&waiter::wait>();
    if (i % 2 == 0)
      g.ask<&gate::size>().get();
    std::thread killer{[w] { w.kill(); }};
    w = {};
    g.tell<&gate::open>(i);
    g = {};
    killer.join();
  }
  BOOST_TEST(eventually(5s, [&] { return test::counted::alive == 0; }));
}

// Each keeps the next: the first to go takes all with it.
BOOST_AUTO_TEST_CASE(takes_a_long_chain_with_it) {
  start_counting();
  live_system live;
  auto first = live.sys.spawn<plain>();
  auto last = first;
  for (int i = 0; i < 20'000; ++i) {
    auto next = live.sys.spawn<plain>();
    last.tell<&plain::keep>(next);
    last = std::move(next);
  }
  last.ask<&plain::twice>(1).get();
  last = {};
  first = {};
  BOOST_TEST(eventually(10s, [&] { return test::counted::alive == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(an_awaited_future_may_be_replaced) {
  live_system live;
  auto g = live.sys.spawn<gate>();
  auto r = live.sys.spawn<replacing>(g);
  auto answer = r.ask<&replacing::wait>();
  BOOST_TEST(eventually(5s, [&] { return g.ask<&gate::size>().get() == 1u; }));
  r.ask<&replacing::replace>().get();
  g.tell<&gate::open>(5);
  BOOST_TEST(answer.get() == 5);
}

// Workers have weak references to whom they ask in stock: they keep no actor.
BOOST_AUTO_TEST_CASE(one_that_was_asked_often_goes_like_any_other) {
  start_counting();
  live_system live;
  class asker {
  public:
    task<int> run(ref<plain> p, int n) {
      int sum = 0;
      for (int i = 0; i < n; ++i)
        sum += co_await p.ask<&plain::twice>(1);
      co_return sum;
    }
  };
  auto a = live.sys.spawn<asker>();
  for (int i = 0; i < 20; ++i) {
    auto one = live.sys.spawn<plain>();
    auto other = live.sys.spawn<plain>();
    BOOST_TEST(a.ask<&asker::run>(one, 200).get() == 400);
    weak_ref<plain> gone = one;
    one = {};
    BOOST_TEST(a.ask<&asker::run>(other, 3).get() == 6);
    BOOST_TEST(!gone.lock());
  }
  BOOST_TEST(eventually(5s, [&] { return test::counted::alive == 0; }));
}
