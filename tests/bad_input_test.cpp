// SPDX-License-Identifier: MIT
// Bad input and failure: what no other file has of it. tests/README.md says
// where each promise has its test.
#define BOOST_TEST_MODULE bad_input
#include <boost/test/unit_test.hpp>

#include <cstdlib>
#include <semaphore>
#include <thread>
#include <vector>

#include "support/fixture.hpp"

namespace {

using namespace std::chrono_literals;
using test::live_system;
using troupe::ref;
using troupe::task;

class waits_for_itself : public troupe::actor {
public:
  int one() { return 1; }
  int blocks_on_itself() {
    ref<waits_for_itself> me = self();
    return me.ask<&waits_for_itself::one>().get();
  }
  int blocks_for_a_while() {
    ref<waits_for_itself> me = self();
    return me.ask<&waits_for_itself::one>().get_for(10s);
  }
  task<int> awaits_itself() {
    ref<waits_for_itself> me = self();
    co_return co_await me.ask<&waits_for_itself::one>();
  }
  int gets_one_asked_before() {
    auto f = std::move(kept_.at(0));
    kept_.clear();
    return f.get();
  }
  void asks_and_keeps() {
    ref<waits_for_itself> me = self();
    kept_.push_back(me.ask<&waits_for_itself::one>());
    me.tell<&waits_for_itself::gets_one_asked_before>();
  }
  bool kept_is_settled() { return kept_.empty(); }

private:
  std::vector<troupe::future<int>> kept_;
};

class sink : public troupe::actor {
public:
  void put() {}
  int one() { return 1; }
  int hold(std::binary_semaphore* here, std::binary_semaphore* gate) {
    here->release();
    gate->acquire();
    return 1;
  }
  void start_timer(std::chrono::nanoseconds d, std::atomic<int>* fired) {
    after(d, [fired] { ++*fired; });
  }
};

class throws_at_its_end {
public:
  ~throws_at_its_end() noexcept(false) { throw std::runtime_error{"at last"}; }
  int one() { return 1; }
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto w = live.sys.spawn<waits_for_itself>();
  BOOST_TEST(w.ask<&waits_for_itself::one>().get() == 1);
}

BOOST_AUTO_TEST_SUITE(get_inside_an_actor)

BOOST_AUTO_TEST_CASE(on_its_own_future_is_a_deadlock_at_once) {
  live_system live;
  auto shared = live.sys.spawn<waits_for_itself>();
  auto own = live.sys.spawn<waits_for_itself>(troupe::on_thread{});
  for (auto& w : {shared, own}) {
    const auto begin = std::chrono::steady_clock::now();
    using method = int (waits_for_itself::*)();
    for (const method f : {&waits_for_itself::blocks_on_itself,
                           &waits_for_itself::blocks_for_a_while}) {
      auto text = test::text_thrown<troupe::deadlock>(
        [&] { w.ask([f](waits_for_itself& x) { return (x.*f)(); }).get(); });
      BOOST_TEST(text.find("waits_for_itself::one") != std::string::npos, text);
    }
    BOOST_CHECK_THROW(w.ask<&waits_for_itself::awaits_itself>().get(),
                      troupe::deadlock);
    BOOST_TEST((std::chrono::steady_clock::now() - begin < 5s));
    BOOST_TEST(w.ask<&waits_for_itself::one>().get() == 1); // and it goes on
  }
}

BOOST_AUTO_TEST_CASE(on_one_that_came_before_is_none) {
  live_system live;
  auto w = live.sys.spawn<waits_for_itself>();
  w.tell<&waits_for_itself::asks_and_keeps>();
  BOOST_TEST(test::eventually(
    5s, [&] { return w.ask<&waits_for_itself::kept_is_settled>().get(); }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_stop)

// Half tells, half asks: each ask settles, each tell is counted or handled.
BOOST_AUTO_TEST_CASE(with_a_million_messages_pending_loses_none) {
  constexpr int count = test::is_sanitized ? 100'000 : 1'000'000;
  troupe::system sys{{.workers = 2, .log_level = "off"}};
  const test::watchdog dog{sys, 60s};
  auto s = sys.spawn<sink>();
  std::binary_semaphore here{0}, gate{0};
  auto held = s.ask<&sink::hold>(&here, &gate);
  here.acquire();
  std::vector<troupe::future<int>> asks;
  asks.reserve(count / 2);
  for (int i = 0; i < count / 2; ++i) {
    s.tell<&sink::put>();
    asks.push_back(s.ask<&sink::one>());
  }
  std::thread opener{[&] {
    test::eventually(20s, [&] { return sys.is_stopping(); });
    gate.release();
  }};
  auto report = sys.stop(0s);
  opener.join();
  int answered = 0, stopped = 0;
  for (auto& f : asks) {
    try {
      answered += f.get();
    } catch (const troupe::actor_stopped&) {
      ++stopped;
    }
  }
  BOOST_TEST(answered + stopped == count / 2);
  // In order: as many tells as asks, but for one at the seam.
  const auto dropped = static_cast<int>(sys.dead_letters());
  BOOST_TEST(std::abs(dropped - 2 * stopped) <= 1);
  BOOST_TEST(stopped > 0);
  BOOST_TEST(report.in_the_way.size() <= 1u);
  BOOST_TEST(sys.stats().actors_alive == 0u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(negative_and_zero)

BOOST_AUTO_TEST_CASE(limits_of_a_wait_are_over_at_once) {
  live_system live;
  auto s = live.sys.spawn<sink>();
  std::binary_semaphore here{0}, gate{0};
  auto f = s.ask<&sink::hold>(&here, &gate);
  here.acquire();
  for (auto d : {0s, -1s, -1'000'000'000s}) {
    BOOST_TEST(!f.wait_for(d));
    BOOST_CHECK_THROW(f.get_for(d), troupe::timeout);
    std::vector<troupe::future<int>> fs{f};
    BOOST_TEST(troupe::wait(fs, troupe::all_completed, d).not_done.size()
               == 1u);
    auto late = [&] {
      for (auto& done : troupe::as_completed(fs, d))
        done.get();
    };
    BOOST_CHECK_THROW(late(), troupe::timeout);
  }
  gate.release();
  BOOST_TEST(f.get() == 1);
  BOOST_TEST(f.wait_for(-1s)); // what is there is there
  BOOST_TEST(f.get_for(-1s) == 1);
}

BOOST_AUTO_TEST_CASE(delays_fire_as_soon_as_possible) {
  live_system live;
  auto s = live.sys.spawn<sink>();
  std::atomic<int> fired{0};
  for (auto d : {0s, -1s, -1'000'000'000s})
    s.tell<&sink::start_timer>(d, &fired);
  BOOST_TEST(test::eventually(5s, [&] { return fired == 3; }));
}

BOOST_AUTO_TEST_CASE(patience_of_a_stop_is_none) {
  troupe::system sys{{.workers = 2, .log_level = "off"}};
  const test::watchdog dog{sys};
  auto s = sys.spawn<sink>();
  const auto report = sys.stop(-5s);
  BOOST_TEST(!s.is_alive());
  BOOST_TEST(report.in_the_way.size() <= 1u);
}

BOOST_AUTO_TEST_CASE(sizes_are_refused_by_name) {
  live_system live;
  auto refused = [](auto f, std::string_view name) {
    auto text = test::text_thrown<troupe::bad_argument>(f);
    BOOST_TEST(text.find(name) != std::string::npos, text);
  };
  for (std::ptrdiff_t n : {0, -7}) {
    refused([&] { troupe::thread_pool{live.sys, {.workers = n}}; }, "workers");
    refused([&] { troupe::thread_pool{live.sys, {.queue_tasks_max = n}}; },
            "queue_tasks_max");
    troupe::thread_pool pool{live.sys, {.workers = 1}};
    refused(
      [&] {
        (void)pool.map([](int x) { return x; }, std::vector{1}, {.chunk = n});
      },
      "chunk");
  }
  refused(
    [&] {
      (void)live.sys.spawn<sink>(
        troupe::mailbox{.max = 0, .full = troupe::full_policy::reject});
    },
    "mailbox.max");
  refused([&] { const troupe::system sys{{.workers = 5'000}}; }, "workers");
  refused([&] { const troupe::system sys{{.throughput = 0}}; }, "throughput");
  refused([&] { const troupe::system sys{{.ask_deadline = -1s}}; },
          "ask_deadline");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(throwing_destructors)

BOOST_AUTO_TEST_CASE(of_an_object_end_no_process_and_keep_no_stop_up) {
  live_system live{{.workers = 2, .log_level = "off"}};
  for (int i = 0; i < 100; ++i) {
    auto x = live.sys.spawn<throws_at_its_end>();
    BOOST_TEST(x.ask<&throws_at_its_end::one>().get() == 1);
    if (i % 2 == 0)
      x.stop(); // else it becomes unreachable
  }
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(two_systems)

BOOST_AUTO_TEST_CASE(end_by_themselves_and_leave_errors_to_the_other) {
  live_system a;
  auto b = std::make_unique<live_system>();
  auto in_b = b->sys.spawn<sink>();
  auto in_a = a.sys.spawn<sink>();
  BOOST_TEST(
    in_a.ask([in_b](sink&) { return in_b.ask<&sink::one>().get(); }).get()
    == 1);
  b.reset();
  auto text = test::text_thrown<troupe::actor_stopped>([&] {
    in_a.ask([in_b](sink&) { return in_b.ask<&sink::one>().get(); }).get();
  });
  BOOST_TEST(text.find("sink") != std::string::npos, text);
  BOOST_TEST(in_a.ask<&sink::one>().get() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
