// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE failure
#include "support/fixture.hpp"

#include <csignal>
#include <mutex>
#include <vector>

#include "troupe/failure.hpp"

namespace test {

void throw_index(int i) {
  throw std::out_of_range{"index " + std::to_string(i)};
}

// Named, external and not inlined: it must stand in backtraces. The optimiser
// moves what never returns to where it has no name: so it may not know.
[[gnu::noinline]] void throw_here(int i) {
  void (*volatile called)(int) = throw_index;
  called(i);
  volatile int last = i;
  static_cast<void>(last);
}

} // namespace test

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

// The failures that the program sees while this lives.
class observer {
public:
  observer() {
    troupe::on_failure([this](const troupe::failure& f) {
      const std::lock_guard guard{mutex_};
      seen_.push_back(f);
    });
  }
  observer(const observer&) = delete;
  observer& operator=(const observer&) = delete;
  ~observer() { troupe::on_failure({}); }

  /// The first, when there is one.
  troupe::failure first() {
    BOOST_TEST_REQUIRE(eventually(5s, [this] { return count() > 0; }));
    const std::lock_guard guard{mutex_};
    return seen_.front();
  }
  std::size_t count() {
    const std::lock_guard guard{mutex_};
    return seen_.size();
  }

private:
  std::mutex mutex_;
  std::vector<troupe::failure> seen_;
};

class clerk : public troupe::actor {
public:
  void look_up(int i) { test::throw_here(i); }
  troupe::task<> look_up_later(troupe::future<void> go) {
    co_await go;
    test::throw_here(5);
  }
  void odd() { throw 7; }
  void start_timer() {
    after(0ms, [] { test::throw_here(9); });
  }
  int value() const { return 1; }
};

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  observer seen;
  live_system live;
  live.sys.spawn<clerk>().tell<&clerk::look_up>(7);
  BOOST_TEST(seen.first().text == "index 7");
}

BOOST_AUTO_TEST_SUITE(a_failed_actor)

BOOST_AUTO_TEST_CASE(is_seen_with_actor_method_type_text_and_backtrace) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  auto c = live.sys.spawn<clerk>();
  c.tell<&clerk::look_up>(7);
  auto f = seen.first();
  BOOST_TEST(f.actor == c.id());
  BOOST_TEST(f.name == "clerk");
  BOOST_TEST(contains(f.where, "clerk::look_up"), f.where);
  BOOST_TEST(f.type == "std::out_of_range");
  BOOST_TEST(f.text == "index 7");
  BOOST_TEST(contains(f.backtrace, "throw_here"), f.backtrace);
  BOOST_TEST(!f.unobserved);
  auto text = to_string(f);
  for (auto* part : {"clerk#", "clerk::look_up", "std::out_of_range", "index 7",
                     "throw_here"})
    BOOST_TEST(contains(text, part), text);
}

BOOST_AUTO_TEST_CASE(in_a_coroutine_has_the_backtrace_of_what_it_threw) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  troupe::promise<void> go;
  auto c = live.sys.spawn<clerk>();
  c.tell<&clerk::look_up_later>(go.get_future());
  go.set_value();
  auto f = seen.first();
  BOOST_TEST(contains(f.where, "look_up_later"), f.where);
  BOOST_TEST(contains(f.backtrace, "throw_here"), f.backtrace);
}

BOOST_AUTO_TEST_CASE(by_its_timer_is_seen_too) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  auto c = live.sys.spawn<clerk>();
  c.ask<&clerk::start_timer>().get();
  BOOST_TEST(seen.first().text == "index 9");
}

BOOST_AUTO_TEST_CASE(may_throw_anything) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  live.sys.spawn<clerk>().tell<&clerk::odd>();
  BOOST_TEST(seen.first().type == "int");
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(an_error_that_nobody_looks_at)

BOOST_AUTO_TEST_CASE(is_seen_as_unobserved_and_the_actor_goes_on) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  auto c = live.sys.spawn<clerk>();
  {
    auto ignored = c.ask<&clerk::look_up>(3);
    ignored.wait();
  }
  auto f = seen.first();
  BOOST_TEST(f.unobserved);
  BOOST_TEST(f.text == "index 3");
  BOOST_TEST(contains(f.where, "clerk::look_up"), f.where);
  BOOST_TEST(c.ask<&clerk::value>().get() == 1);
}

BOOST_AUTO_TEST_CASE(is_none_once_it_was_looked_at) {
  observer seen;
  live_system live{{.workers = 2, .log_level = "off"}};
  auto c = live.sys.spawn<clerk>();
  BOOST_CHECK_THROW(c.ask<&clerk::look_up>(3).get(), std::out_of_range);
  BOOST_TEST(c.ask<&clerk::value>().get() == 1);
  BOOST_TEST(seen.count() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(an_observer)

BOOST_AUTO_TEST_CASE(that_went_away_sees_nothing_more) {
  observer later;
  { observer first; } // takes the place, and its end leaves it empty
  live_system live{{.workers = 2, .log_level = "off"}};
  auto c = live.sys.spawn<clerk>();
  c.tell<&clerk::look_up>(1);
  BOOST_TEST(eventually(5s, [&] { return !c.is_alive(); }));
  BOOST_TEST(later.count() == 0u);
}

BOOST_AUTO_TEST_CASE(may_go_away_while_it_is_called) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<int> seen{0};
  troupe::on_failure([&seen](const troupe::failure&) {
    auto& counted = seen; // its captures stay until it is back
    troupe::on_failure({});
    ++counted;
  });
  for (int i = 0; i < 2; ++i) {
    auto c = live.sys.spawn<clerk>();
    c.tell<&clerk::look_up>(1);
    BOOST_TEST(eventually(5s, [&] { return !c.is_alive(); }));
  }
  BOOST_TEST(seen == 1);
}

BOOST_AUTO_TEST_CASE(may_throw_and_hears_of_the_next) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<int> seen{0};
  troupe::on_failure([&seen](const troupe::failure&) {
    ++seen;
    throw std::runtime_error{"not now"};
  });
  for (int i = 0; i < 2; ++i) {
    auto c = live.sys.spawn<clerk>();
    c.tell<&clerk::look_up>(1);
    BOOST_TEST(eventually(5s, [&] { return !c.is_alive(); }));
  }
  troupe::on_failure({});
  BOOST_TEST(seen == 2);
}

BOOST_AUTO_TEST_CASE(of_another_signal_than_the_known_is_refused) {
  BOOST_CHECK_THROW(troupe::on_signal(SIGSEGV, [](int) {}),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()
