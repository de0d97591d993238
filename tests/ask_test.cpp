// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE ask
#include "support/fixture.hpp"

#include <future>
#include <semaphore>

namespace {

using namespace std::chrono_literals;
using troupe::ref;
using troupe::task;

struct odd_error {
  int code;
};
struct own_error : std::exception {
  const char* what() const noexcept override { return "own text"; }
};

class worker {
public:
  int answer() { return 42; }
  void hold(std::binary_semaphore* gate) { gate->acquire(); }
  void fail(int how) {
    switch (how) {
      case 0:
        throw std::out_of_range{"index 7"};
      case 1:
        throw own_error{};
      case 2:
        throw odd_error{5};
      case 3:
        throw troupe::rejected{"full"};
      case 4:
        throw "a literal";
      default:
        throw std::system_error{
          std::make_error_code(std::errc::no_such_file_or_directory), "open"};
    }
  }
  task<void> fail_later(int how) {
    fail(how);
    co_return;
  }
  troupe::future<int> never() {
    parked_.emplace_back();
    return parked_.back().get_future();
  }
  troupe::future<int> nothing() { return {}; }
  std::chrono::nanoseconds left() { return troupe::remaining(); }

private:
  std::vector<troupe::promise<int>> parked_;
};

class middle {
public:
  explicit middle(ref<worker> w) : worker_(w) {}
  task<std::chrono::nanoseconds> left() {
    co_return co_await worker_.ask<&worker::left>();
  }
  task<int> never() { co_return co_await worker_.ask<&worker::never>(); }
  int never_blocking() { return worker_.ask<&worker::never>().get(); }
  task<std::chrono::nanoseconds> left_blocking() {
    co_return co_await troupe::blocking([] { return troupe::remaining(); });
  }

private:
  ref<worker> worker_;
};

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

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  BOOST_TEST(w.ask<&worker::answer>().get() == 42);
  BOOST_TEST(w.ask([](worker& x) { return x.answer() + 1; }).get() == 43);
}

BOOST_AUTO_TEST_SUITE(an_ask_settles)

BOOST_AUTO_TEST_CASE(when_its_actor_was_stopped_before) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  w.stop();
  test::eventually(5s, [&] { return !w.is_alive(); });
  BOOST_CHECK_THROW(w.ask<&worker::answer>().get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(when_its_actor_is_killed_with_it_in_the_mailbox) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  std::binary_semaphore gate{0};
  w.tell<&worker::hold>(&gate);
  auto f = w.ask<&worker::answer>();
  w.kill();
  gate.release();
  auto text = text_of<troupe::actor_stopped>([&] { f.get(); });
  BOOST_TEST(has(text, "worker::answer"), text);
}

BOOST_AUTO_TEST_CASE(in_order_with_a_stop) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  std::binary_semaphore gate{0};
  w.tell<&worker::hold>(&gate);
  auto before = w.ask<&worker::answer>();
  w.stop();
  auto after = w.ask<&worker::answer>();
  gate.release();
  BOOST_TEST(before.get() == 42);
  BOOST_CHECK_THROW(after.get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(when_its_actor_fails_by_a_tell) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  std::binary_semaphore gate{0};
  w.tell<&worker::hold>(&gate);
  w.tell<&worker::fail>(0);
  auto f = w.ask<&worker::answer>();
  gate.release();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(when_what_it_was_parked_for_goes_with_the_actor) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto f = w.ask<&worker::never>();
  w.stop();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(when_the_method_returns_a_future_of_nothing) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  BOOST_CHECK_THROW(w.ask<&worker::nothing>().get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(when_the_actor_that_waits_for_another_is_killed) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto m = live.sys.spawn<middle>(w);
  auto f = m.ask<&middle::never>();
  BOOST_TEST(!f.wait_for(5ms));
  m.kill();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(when_the_system_is_gone) {
  ref<worker> w;
  troupe::weak_ref<worker> weak;
  troupe::future<int> pending;
  {
    test::live_system live;
    w = live.sys.spawn<worker>();
    weak = w;
    pending = w.ask<&worker::never>();
  }
  BOOST_CHECK_THROW(pending.get(), troupe::actor_stopped);
  BOOST_CHECK_THROW(w.ask<&worker::answer>().get(), troupe::actor_stopped);
  BOOST_CHECK_THROW(w.within(1ms).ask<&worker::answer>().get(),
                    troupe::actor_stopped);
  w.tell<&worker::answer>();
  w.stop();
  w.kill();
  BOOST_TEST(!w.is_alive());
  BOOST_TEST(has(to_string(w), "worker#"));
  w = {};
  BOOST_TEST(!weak.lock());
}

BOOST_AUTO_TEST_CASE(by_a_cancel_and_then_never_runs) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  std::binary_semaphore gate{0};
  w.tell<&worker::hold>(&gate);
  std::atomic<bool> ran{false};
  auto f = w.ask([&](worker&) { ran = true; });
  BOOST_TEST(f.cancel());
  gate.release();
  w.ask<&worker::answer>().get();
  BOOST_TEST(!ran);
  BOOST_CHECK_THROW(f.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_deadline)

BOOST_AUTO_TEST_CASE(of_zero_or_below_is_over_at_once) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  std::atomic<bool> ran{false};
  for (auto limit : {0ms, -1ms, -100000000ms}) {
    auto f = w.within(limit).ask([&](worker&) { ran = true; });
    BOOST_TEST(f.ready());
    BOOST_CHECK_THROW(f.get(), troupe::timeout);
  }
  w.ask<&worker::answer>().get();
  BOOST_TEST(!ran);
}

BOOST_AUTO_TEST_CASE(ends_a_get_a_co_await_and_a_then) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto m = live.sys.spawn<middle>(w);
  auto text = text_of<troupe::timeout>(
    [&] { w.within(5ms).ask<&worker::never>().get(); });
  BOOST_TEST(has(text, "worker::never"), text);
  BOOST_CHECK_THROW(m.within(5ms).ask<&middle::never>().get(), troupe::timeout);
  BOOST_CHECK_THROW(m.within(5ms).ask<&middle::never_blocking>().get(),
                    troupe::timeout);
  std::atomic<bool> late{false};
  auto seen = w.within(5ms).ask<&worker::never>().then(
    [&](troupe::future<int> f) { late = f.exception() != nullptr; });
  BOOST_TEST(test::eventually(5s, [&] { return late.load(); }));
  // Both are free again: what they waited for is over for them, too.
  BOOST_TEST((m.within(5s).ask<&middle::left>().get() > 0s));
}

BOOST_AUTO_TEST_CASE(outlives_the_system_though_somebody_watches_it) {
  for (auto in_time : {true, false}) {
    troupe::promise<int> answer;
    std::atomic<int> seen{0};
    troupe::future<void> then;
    {
      test::live_system live;
      auto w = live.sys.spawn<worker>();
      std::binary_semaphore passed_on{0};
      then = w.within(10s)
               .ask([&](worker&) {
                 answer = troupe::answer_later<int>();
                 passed_on.release();
                 return answer.get_future();
               })
               .then([&](int n) { seen = n; });
      passed_on.acquire();
    }
    // The timers are gone with the system; the promise is not.
    if (in_time)
      answer.set_value(7);
    else
      answer = {};
    BOOST_TEST(then.wait_for(5s));
    BOOST_TEST(seen == (in_time ? 7 : 0));
    then.exception();
  }
}

BOOST_AUTO_TEST_CASE(is_inherited_as_what_remains) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto m = live.sys.spawn<middle>(w);
  BOOST_TEST((troupe::remaining() == std::chrono::nanoseconds::max()));
  auto left = m.within(2s).ask<&middle::left>().get();
  BOOST_TEST((left > 0s && left <= 2s));
  left = w.ask<&worker::left>().get();
  BOOST_TEST((left > 20s && left <= 30s));
  left = w.within(troupe::no_deadline).ask<&worker::left>().get();
  BOOST_TEST((left == std::chrono::nanoseconds::max()));
  left = m.within(2s).ask<&middle::left_blocking>().get();
  BOOST_TEST((left > 0s && left <= 2s));
}

BOOST_AUTO_TEST_CASE(is_an_option_of_the_system) {
  test::live_system live{{.workers = 1, .ask_deadline = 10ms}};
  auto w = live.sys.spawn<worker>();
  BOOST_CHECK_THROW(w.ask<&worker::never>().get(), troupe::timeout);
}

BOOST_AUTO_TEST_CASE(of_many_years_keeps_the_timers_going) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto m = live.sys.spawn<middle>(w);
  auto f = m.within(24h * 365 * 5).ask<&middle::never>();
  auto g = m.within(std::chrono::hours::max()).ask<&middle::never>();
  BOOST_CHECK_THROW(w.within(5ms).ask<&worker::never>().get(), troupe::timeout);
  auto m2 = live.sys.spawn<middle>(w);
  BOOST_CHECK_THROW(m2.within(5ms).ask<&middle::never>().get(),
                    troupe::timeout);
  m.kill();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_exception)

BOOST_AUTO_TEST_CASE(of_the_standard_arrives_as_itself) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  BOOST_TEST(text_of<std::out_of_range>([&] { w.ask<&worker::fail>(0).get(); })
             == "index 7");
  BOOST_TEST(
    text_of<std::out_of_range>([&] { w.ask<&worker::fail_later>(0).get(); })
    == "index 7");
  BOOST_CHECK_THROW(w.ask<&worker::fail>(3).get(), troupe::rejected);
  try {
    w.ask<&worker::fail>(5).get();
    BOOST_ERROR("no error");
  } catch (const std::system_error& e) {
    BOOST_TEST((e.code() == std::errc::no_such_file_or_directory));
  }
  BOOST_TEST(w.is_alive());
}

BOOST_AUTO_TEST_CASE(of_another_kind_arrives_by_type_and_text) {
  test::live_system live;
  auto w = live.sys.spawn<worker>();
  auto failure = [&](int how, bool later) {
    try {
      if (later)
        w.ask<&worker::fail_later>(how).get();
      else
        w.ask<&worker::fail>(how).get();
    } catch (const troupe::task_failed& e) {
      return e;
    }
    throw std::logic_error{"no task_failed"};
  };
  for (bool later : {false, true}) {
    auto e = failure(1, later);
    BOOST_TEST(has(e.type(), "own_error"), e.type());
    BOOST_TEST(e.text() == "own text");
    BOOST_TEST(has(e.where(), later ? "worker::fail_later" : "worker::fail"));
    BOOST_TEST(e.actor() == w.id());
    BOOST_TEST(e.node().empty());
    BOOST_CHECK_THROW(std::rethrow_exception(e.original()), own_error);
    BOOST_TEST(has(e.what(), "own text"));
    BOOST_TEST(has(e.what(), "worker::fail"));
    BOOST_TEST(has(failure(2, later).type(), "odd_error"));
    BOOST_TEST(failure(4, later).text() == "a literal");
  }
}

BOOST_AUTO_TEST_SUITE_END()
