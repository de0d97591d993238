// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE future
#include "support/fixture.hpp"

#include <memory>
#include <ranges>
#include <semaphore>

#include <pthread.h>

namespace {

using namespace std::chrono_literals;
using troupe::future;
using troupe::promise;

std::exception_ptr an_error(const char* text = "bad") {
  return std::make_exception_ptr(std::domain_error{text});
}

template <class E, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string{"another error: "} + e.what();
  }
  return "no error";
}

std::string thread_name() {
  char name[32] = {};
  ::pthread_getname_np(::pthread_self(), name, sizeof(name));
  return name;
}

bool is_worker(const std::string& thread) {
  return thread.rfind("troupe.w", 0) == 0;
}

struct helper {
  std::counting_semaphore<>* gate;
  int held() {
    gate->acquire();
    return 1;
  }
  int two() { return 2; }
};

// Answers never.
struct silent {
  std::vector<promise<int>> kept;
  future<int> ask() { return kept.emplace_back().get_future(); }
};

// Passes on a future of its own, again and again.
struct cache {
  future<std::unique_ptr<int>> kept =
    troupe::make_ready_future(std::make_unique<int>(3));
  future<std::unique_ptr<int>> get() { return kept; }
};

// Each step passes on what the next one answers.
struct stairs : troupe::actor {
  future<int> down(int n) {
    if (n == 0)
      return troupe::make_ready_future(7);
    troupe::ref<stairs> me = self();
    return me.ask<&stairs::down>(n - 1);
  }
};

struct four {
  promise<int> p[4];
  std::vector<future<int>> fs;
  four() {
    for (auto& x : p)
      fs.push_back(x.get_future());
  }
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  promise<int> p;
  auto f = p.get_future();
  BOOST_TEST(!f.ready());
  p.set_value(5);
  BOOST_TEST(f.get() == 5);
}

BOOST_AUTO_TEST_SUITE(a_future)

BOOST_AUTO_TEST_CASE(settles_once) {
  promise<int> p;
  auto f = p.get_future();
  p.set_value(1);
  BOOST_CHECK_THROW(p.set_value(2), troupe::bad_argument);
  BOOST_CHECK_THROW(p.set_exception(an_error()), troupe::bad_argument);
  BOOST_TEST(f.get() == 1);
  BOOST_TEST(f.get() == 1);
}

BOOST_AUTO_TEST_CASE(is_cancelled_while_pending_only) {
  promise<int> p, q;
  auto f = p.get_future();
  BOOST_TEST(f.cancel());
  BOOST_TEST(f.cancel());
  BOOST_TEST(f.is_cancelled());
  BOOST_TEST(!p.try_set_value(1));
  BOOST_CHECK_THROW(f.get(), troupe::cancelled);
  BOOST_CHECK_THROW(std::rethrow_exception(f.exception()), troupe::cancelled);
  auto g = q.get_future();
  q.set_value(2);
  BOOST_TEST(!g.cancel());
  BOOST_TEST(g.get() == 2);
}

BOOST_AUTO_TEST_CASE(says_late_when_a_wait_ends_first) {
  promise<int> p;
  auto f = p.get_future();
  BOOST_CHECK_THROW(f.get_for(1ms), troupe::timeout);
  BOOST_CHECK_THROW(f.get_for(0ms), troupe::timeout);
  BOOST_CHECK_THROW(f.get_for(-1s), troupe::timeout);
  BOOST_TEST(!f.wait_for(-1s));
  p.set_value(3);
  BOOST_TEST(f.wait_for(-1s));
  BOOST_TEST(f.get_for(0ms) == 3);
}

BOOST_AUTO_TEST_CASE(wakes_its_waiter_by_a_cancel) {
  promise<int> p;
  auto f = p.get_future();
  std::atomic<bool> waits{false}, was_cancelled{false};
  std::thread t{[&] {
    waits = true;
    try {
      f.get();
    } catch (const troupe::cancelled&) {
      was_cancelled = true;
    }
  }};
  test::eventually(5s, [&] { return waits.load(); });
  BOOST_TEST(f.cancel());
  t.join();
  BOOST_TEST(was_cancelled);
}

BOOST_AUTO_TEST_CASE(of_a_dropped_promise_fails) {
  auto p = std::make_unique<promise<int>>();
  auto f = p->get_future();
  p.reset();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
  promise<int> a, b;
  auto g = a.get_future();
  a = std::move(b);
  BOOST_CHECK_THROW(g.get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(that_belongs_to_nothing_says_so) {
  future<int> none;
  BOOST_TEST(!none.valid());
  BOOST_CHECK_THROW(none.get(), troupe::bad_argument);
  BOOST_CHECK_THROW(none.ready(), troupe::bad_argument);
  BOOST_CHECK_THROW(none.cancel(), troupe::bad_argument);
  BOOST_CHECK_THROW((void)none.then([](int) {}), troupe::bad_argument);
  std::vector<future<int>> fs(2);
  BOOST_CHECK_THROW(troupe::wait(fs), troupe::bad_argument);
  BOOST_CHECK_THROW(troupe::as_completed(fs), troupe::bad_argument);
  BOOST_CHECK_THROW((void)troupe::when_all(fs), troupe::bad_argument);
  BOOST_CHECK_THROW((void)troupe::when_any(fs), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(gives_a_move_only_value_once) {
  promise<std::unique_ptr<int>> p;
  auto f = p.get_future();
  p.set_value(std::make_unique<int>(4));
  BOOST_TEST(*f.get() == 4);
  BOOST_CHECK_THROW(f.get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(gives_a_move_only_value_to_one_of_two_threads) {
  constexpr std::size_t count = 100'000;
  std::vector<future<std::unique_ptr<int>>> fs;
  for (std::size_t i = 0; i < count; ++i)
    fs.push_back(troupe::make_ready_future(std::make_unique<int>(1)));
  std::atomic<std::size_t> got{0}, next[2] = {0, 0};
  auto take_all = [&](int me) {
    for (std::size_t i = 0; i < count; next[me] = ++i) {
      // Side by side, but nobody waits for one who has lost its core.
      for (int look = 0; look < 100 && next[1 - me] < i; ++look) {}
      try {
        if (fs[i].get() != nullptr)
          ++got;
      } catch (const troupe::bad_argument&) {}
    }
  };
  std::thread other{[&] { take_all(1); }};
  take_all(0);
  other.join();
  BOOST_TEST(got == count);
}

BOOST_AUTO_TEST_CASE(wakes_all_its_waiters_under_any_race) {
  for (int round = 0; round < 300; ++round) {
    promise<int> p;
    auto f = p.get_future();
    std::atomic<int> sum{0};
    std::vector<std::thread> ts;
    for (int i = 0; i < 3; ++i)
      ts.emplace_back([&, f] { sum += f.get(); });
    auto seen = f.then([&](int x) { sum += x; });
    p.set_value(1);
    for (auto& t : ts)
      t.join();
    BOOST_REQUIRE(sum == 4);
  }
}

BOOST_AUTO_TEST_CASE(frees_its_value_with_the_last_handle) {
  {
    promise<test::counted> p;
    auto f = p.get_future();
    auto g = f;
    p.set_value();
    BOOST_TEST(test::counted::alive == 1);
    f = {};
    BOOST_TEST(test::counted::alive == 1);
  }
  BOOST_TEST(test::counted::alive == 0);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(then)

BOOST_AUTO_TEST_CASE(runs_on_value_error_and_cancellation) {
  promise<int> a, b, c;
  auto see = [](future<int> f) {
    if (f.is_cancelled())
      return std::string{"cancelled"};
    return f.exception() ? std::string{"error"} : std::to_string(f.get());
  };
  auto fa = a.get_future().then(see), fb = b.get_future().then(see);
  auto fc = c.get_future();
  auto gc = fc.then(see);
  a.set_value(1);
  b.set_exception(an_error());
  fc.cancel();
  BOOST_TEST(fa.get() == "1");
  BOOST_TEST(fb.get() == "error");
  BOOST_TEST(gc.get() == "cancelled");
  BOOST_TEST(troupe::make_ready_future(7).then(see).get() == "7");
}

BOOST_AUTO_TEST_CASE(passes_errors_and_cancellations_by_a_function_of_values) {
  promise<int> a;
  auto f = a.get_future();
  auto g = f.then([](int x) { return x + 1; });
  a.set_exception(an_error("first"));
  BOOST_TEST(text_of<std::domain_error>([&] { g.get(); }) == "first");
  promise<void> b;
  auto h = b.get_future();
  auto i = h.then([] { return 1; });
  h.cancel();
  BOOST_CHECK_THROW(i.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_CASE(that_throws_leaves_the_others_alone) {
  promise<int> p;
  auto f = p.get_future();
  auto bad = f.then([](int) -> int { throw std::domain_error{"mine"}; });
  auto good = f.then([](int x) { return x; });
  p.set_value(3);
  BOOST_TEST(good.get() == 3);
  BOOST_TEST(text_of<std::domain_error>([&] { bad.get(); }) == "mine");
}

BOOST_AUTO_TEST_CASE(follows_a_future_and_refuses_an_empty_one) {
  promise<int> inner;
  auto f =
    troupe::make_ready_future(1).then([&](int) { return inner.get_future(); });
  BOOST_TEST(!f.ready());
  inner.set_value(9);
  BOOST_TEST(f.get() == 9);
  auto none =
    troupe::make_ready_future(1).then([](int) { return future<int>{}; });
  BOOST_CHECK_THROW(none.get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(moves_a_move_only_value_through) {
  promise<std::unique_ptr<int>> p;
  auto f = p.get_future().then([](std::unique_ptr<int> x) { return *x; });
  p.set_value(std::make_unique<int>(5));
  BOOST_TEST(f.get() == 5);
}

BOOST_AUTO_TEST_CASE(of_a_value_that_was_taken_fails) {
  test::live_system live;
  auto c = live.sys.spawn<cache>();
  BOOST_TEST(*c.ask<&cache::get>().get_for(10s) == 3);
  BOOST_CHECK_THROW(c.ask<&cache::get>().get_for(10s), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(is_a_job_of_the_workers_when_a_deadline_settles_it) {
  test::live_system live;
  auto s = live.sys.spawn<silent>();
  auto where = s.within(5ms).ask<&silent::ask>().then(
    [](const future<int>&) { return thread_name(); });
  // Nobody waits for it meanwhile: that would settle it on our thread.
  BOOST_TEST(test::eventually(10s, [&] { return where.ready(); }));
  BOOST_TEST(is_worker(where.get()), where.get());
}

BOOST_AUTO_TEST_CASE(is_no_part_of_the_turn_that_settles_it) {
  test::live_system live;
  std::counting_semaphore<> gate{0};
  auto h = live.sys.spawn<helper>(troupe::on_thread{}, &gate);
  std::string where;
  auto sum = h.ask<&helper::held>().then([&, h](int x) {
    where = thread_name();
    return x + h.ask<&helper::two>().get();
  });
  gate.release();
  BOOST_TEST(sum.get_for(10s) == 3);
  BOOST_TEST(is_worker(where), where);
}

BOOST_AUTO_TEST_CASE(fails_when_no_worker_is_left_for_it) {
  std::binary_semaphore gate{0};
  future<int> held, next;
  {
    troupe::system sys{{.workers = 1, .log_level = "off"}};
    troupe::thread_pool pool{sys, {.workers = 1}};
    std::binary_semaphore began{0};
    held = pool.submit([&gate, &began] {
      began.release();
      gate.acquire();
      return 5;
    });
    next = held.then([](int x) { return x; });
    began.acquire();
    BOOST_TEST(!sys.stop(0ms).clean); // the task is left behind
  }
  gate.release();
  BOOST_TEST(held.get_for(10s) == 5);
  BOOST_CHECK_THROW(next.get_for(10s), troupe::closed);
}

BOOST_AUTO_TEST_CASE(may_wait_for_what_it_settles_itself) {
  promise<int> first, second;
  auto third = second.get_future().then([](int x) { return x + 1; });
  auto end = first.get_future().then([](int x) { return x; }).then([&](int x) {
    second.set_value(x);
    return third.get_for(10s);
  });
  first.set_value(1);
  BOOST_TEST(end.get_for(10s) == 2);
}

BOOST_AUTO_TEST_CASE(of_any_length_needs_no_deeper_stack) {
  constexpr int length = 100'000;
  promise<int> p;
  auto f = p.get_future();
  for (int i = 0; i < length; ++i)
    f = f.then([](int x) { return x + 1; });
  p.set_value(0);
  BOOST_TEST(f.get_for(0s) == length);
  test::live_system live{{.workers = 1, .ask_deadline = 1h}};
  auto s = live.sys.spawn<stairs>();
  BOOST_TEST(s.ask<&stairs::down>(length).get_for(20s) == 7);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(wait_for_several)

BOOST_AUTO_TEST_CASE(first_completed_gives_what_is_done) {
  four x;
  x.p[2].set_value(1);
  auto r = troupe::wait(x.fs, troupe::first_completed);
  BOOST_TEST(r.done.size() == 1u);
  BOOST_TEST(r.not_done.size() == 3u);
  BOOST_TEST((r.done[0] == x.fs[2]));
}

BOOST_AUTO_TEST_CASE(first_exception_goes_on_after_a_success) {
  four x;
  x.p[0].set_value(1);
  BOOST_TEST(troupe::wait(x.fs, troupe::first_exception, 2ms).done.size()
             == 1u);
  x.p[3].set_exception(an_error());
  auto r = troupe::wait(x.fs, troupe::first_exception);
  BOOST_TEST(r.done.size() == 2u);
  x.p[1].set_value(1);
  x.fs[2].cancel();
  r = troupe::wait(x.fs, troupe::first_exception);
  BOOST_TEST(r.done.size() == 4u);
}

BOOST_AUTO_TEST_CASE(all_completed_partitions_in_order) {
  four x;
  x.p[3].set_value(3);
  x.p[1].set_exception(an_error());
  auto r = troupe::wait(x.fs, troupe::all_completed, 2ms);
  BOOST_TEST((r.done == std::vector{x.fs[1], x.fs[3]}));
  BOOST_TEST((r.not_done == std::vector{x.fs[0], x.fs[2]}));
  BOOST_TEST(bool(r.done[0].exception()));
}

BOOST_AUTO_TEST_CASE(counts_a_duplicate_once) {
  promise<int> p;
  p.set_value(1);
  std::vector<future<int>> fs(3, p.get_future());
  BOOST_TEST(troupe::wait(fs).done.size() == 1u);
  int n = 0;
  for (auto& f : troupe::as_completed(fs))
    n += f.get();
  BOOST_TEST(n == 1);
}

BOOST_AUTO_TEST_CASE(loses_no_wakeup_while_registering) {
  for (int round = 0; round < 30; ++round) {
    std::vector<promise<int>> ps(100);
    std::vector<future<int>> fs;
    for (auto& p : ps)
      fs.push_back(p.get_future());
    std::thread t{[&] {
      for (auto& p : ps)
        p.set_value(1);
    }};
    int n = 0;
    for (auto& f : troupe::as_completed(fs, 10s))
      n += f.get();
    t.join();
    BOOST_REQUIRE(n == 100);
  }
}

BOOST_AUTO_TEST_CASE(as_completed_gives_what_is_done_before_it_is_late) {
  four x;
  x.p[1].set_value(10);
  x.p[2].set_value(20);
  for (auto limit : {0ms, 2ms}) {
    int sum = 0;
    auto text = text_of<troupe::timeout>([&] {
      for (auto& f : troupe::as_completed(x.fs, limit))
        sum += f.get();
    });
    BOOST_TEST(sum == 30);
    BOOST_TEST(text.find("2 (of 4) futures unfinished") != std::string::npos,
               text);
  }
}

BOOST_AUTO_TEST_CASE(takes_a_range_that_makes_its_futures) {
  int made = 0;
  auto fs = std::views::iota(0, 4) | std::views::transform([&](int i) {
              ++made;
              return troupe::make_ready_future(i);
            });
  int sum = 0;
  for (auto& f : troupe::as_completed(fs))
    sum += f.get();
  BOOST_TEST(sum == 6);
  BOOST_TEST(troupe::wait(fs).done.size() == 4u);
  BOOST_TEST(troupe::when_all(fs).get().size() == 4u);
  made = 0;
  BOOST_TEST(troupe::when_any(fs).get() < 4u);
  BOOST_TEST(made == 4);
}

BOOST_AUTO_TEST_CASE(of_none_ends_at_once) {
  std::vector<future<int>> none;
  BOOST_TEST(troupe::wait(none).done.empty());
  for (auto& f : troupe::as_completed(none))
    BOOST_ERROR(f.get());
  BOOST_TEST(troupe::when_all(none).get().empty());
  BOOST_CHECK_THROW((void)troupe::when_any(none), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(when_all_keeps_the_order_and_fails_at_once) {
  four x;
  auto all = troupe::when_all(x.fs);
  for (int i : {3, 1, 0, 2})
    x.p[i].set_value(i * 10);
  BOOST_TEST((all.get() == std::vector{0, 10, 20, 30}));
  four y;
  auto failed = troupe::when_all(y.fs);
  y.p[2].set_exception(an_error("third"));
  BOOST_TEST(failed.ready());
  BOOST_TEST(text_of<std::domain_error>([&] { failed.get(); }) == "third");
}

BOOST_AUTO_TEST_CASE(when_any_names_the_first) {
  four x;
  auto any = troupe::when_any(x.fs);
  x.p[2].set_exception(an_error());
  x.p[0].set_value(1);
  BOOST_TEST(any.get() == 2u);
  BOOST_TEST(bool(x.fs[2].exception()));
}

BOOST_AUTO_TEST_CASE(when_any_ends_when_the_first_is_late) {
  test::live_system live;
  auto s = live.sys.spawn<silent>();
  std::vector fs{s.within(1h).ask<&silent::ask>(),
                 s.within(5ms).ask<&silent::ask>()};
  BOOST_TEST(troupe::when_any(fs).get_for(10s) == 1u);
  BOOST_CHECK_THROW(fs[1].get_for(0s), troupe::timeout);
  BOOST_TEST(!fs[0].ready());
  fs[0].cancel();
}

BOOST_AUTO_TEST_CASE(when_any_leaves_all_when_it_has_settled) {
  using test::counted;
  promise<counted> never;
  for (auto is_cancelled : {false, true}) {
    future<std::size_t> any;
    {
      promise<counted> p;
      std::vector fs{never.get_future(), p.get_future()};
      any = troupe::when_any(fs);
      if (is_cancelled)
        BOOST_TEST(any.cancel());
      p.set_value();
      BOOST_TEST(counted::alive == 1);
    }
    // Neither the result nor the one that may never settle keeps the value.
    BOOST_TEST(counted::alive == 0);
    BOOST_TEST(any.ready());
  }
}

BOOST_AUTO_TEST_CASE(when_any_settles_once_under_any_race) {
  promise<int> never;
  for (int round = 0; round < 2'000; ++round) {
    promise<int> a, b;
    std::vector fs{a.get_future(), never.get_future(), b.get_future()};
    std::atomic<bool> go{false};
    std::thread t{[&] {
      while (!go) {}
      a.set_value(1);
    }};
    go = true;
    auto any = troupe::when_any(fs);
    b.set_value(2);
    auto first = any.get_for(10s);
    t.join();
    BOOST_REQUIRE(first != 1u);
    BOOST_REQUIRE(any.get() == first);
  }
}

BOOST_AUTO_TEST_CASE(as_completed_of_many_costs_the_same_for_each) {
  constexpr std::size_t count = 50'000;
  std::vector<promise<int>> ps(count);
  std::vector<future<int>> fs;
  for (auto& p : ps)
    fs.push_back(p.get_future());
  auto begin = std::chrono::steady_clock::now();
  std::size_t n = 0;
  auto done = troupe::as_completed(fs, 30s);
  ps[0].set_value(0);
  for (auto i = done.begin(); i != done.end(); ++i)
    if (++n < count)
      ps[n].set_value(0); // one at a time: the range finds it empty each time
  BOOST_TEST(n == count);
  auto took = std::chrono::steady_clock::now() - begin;
  BOOST_TEST((took < 10s));
}

BOOST_AUTO_TEST_SUITE_END()
