// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE restart
#include "support/fixture.hpp"

#include <fstream>
#include <string>
#include <vector>

#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

class counter {
public:
  explicit counter(int first = 0) : value_(first) {}
  void add(int n) { value_ += n; }
  int value() const { return value_; }
  void fail() { throw std::runtime_error{"on demand"}; }

private:
  int value_;
};

// Waits until it is down; how it ended.
class watcher : public troupe::actor {
public:
  template <class T>
  troupe::future<troupe::down> end_of(const troupe::ref<T>& r) {
    monitor(r);
    return line_.park();
  }
  void on_down(const troupe::down& d) {
    ++downs_;
    line_.serve(d);
  }
  int downs() const { return downs_; }

private:
  troupe::waiting_line<troupe::down> line_;
  int downs_ = 0;
};

template <class T>
bool comes_down(const troupe::ref<T>& r) {
  return eventually(5s, [&] { return !r.is_alive(); });
}

std::size_t resident_bytes() {
  std::ifstream in{"/proc/self/statm"};
  std::size_t size = 0, resident = 0;
  in >> size >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

troupe::options quiet() {
  return {.workers = 2, .log_level = "off"};
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{}, 5);
  auto id = c.id();
  BOOST_TEST(c.ask<&counter::value>().get() == 5);
  c.kill();
  BOOST_TEST(comes_down(c));
  troupe::restart(c, 7).get();
  BOOST_TEST(c.is_alive());
  BOOST_TEST(c.id() == id);
  BOOST_TEST(troupe::starts(c) == 2u);
  BOOST_TEST(c.ask<&counter::value>().get() == 7);
  troupe::retire(c);
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
}

BOOST_AUTO_TEST_SUITE(calls)

BOOST_AUTO_TEST_CASE(that_waited_at_the_end_fail_and_later_ones_wait) {
  live_system live;
  std::atomic<bool> go{false};
  struct slow {
    std::atomic<bool>* go;
    int n;
    void block() {
      while (!*go)
        std::this_thread::yield();
    }
    int number() const { return n; }
  };
  auto s = live.sys.spawn<slow>(troupe::restartable{}, &go, 1);
  s.tell<&slow::block>();
  auto early = s.ask<&slow::number>();
  s.kill();
  go = true;
  BOOST_CHECK_THROW((void)early.get(), troupe::actor_stopped);
  BOOST_TEST(comes_down(s));
  auto late = s.ask<&slow::number>();
  BOOST_TEST(!late.ready());
  troupe::restart(s, &go, 2).get();
  BOOST_TEST(late.get() == 2);
}

BOOST_AUTO_TEST_CASE(keep_their_order_while_they_wait) {
  live_system live;
  struct list {
    std::vector<int> seen;
    void add(int n) { seen.push_back(n); }
    std::vector<int> all() const { return seen; }
    void on_start() { seen.push_back(-1); }
  };
  auto l = live.sys.spawn<list>(troupe::restartable{});
  l.kill();
  BOOST_TEST(comes_down(l));
  std::vector<int> expected{-1};
  for (int i = 0; i < 1000; ++i) {
    l.tell<&list::add>(i);
    expected.push_back(i);
  }
  auto all = l.ask<&list::all>();
  troupe::restart(l).get();
  BOOST_TEST(all.get() == expected);
}

BOOST_AUTO_TEST_CASE(have_their_deadline_while_they_wait) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  c.kill();
  BOOST_TEST(comes_down(c));
  BOOST_CHECK_THROW((void)c.within(5ms).ask<&counter::value>().get(),
                    troupe::timeout);
}

BOOST_AUTO_TEST_CASE(fail_fast_if_that_was_chosen) {
  live_system live;
  auto c = live.sys.spawn<counter>(
    troupe::restartable{troupe::calls_during_restart::fail_fast}, 1);
  c.kill();
  BOOST_TEST(comes_down(c));
  auto letters = live.sys.dead_letters();
  c.tell<&counter::add>(1);
  BOOST_TEST(live.sys.dead_letters() == letters + 1);
  BOOST_CHECK_EXCEPTION((void)c.ask<&counter::value>().get(),
                        troupe::actor_stopped, [](const auto& e) {
                          return std::string{e.what()}.find("is down")
                                 != std::string::npos;
                        });
  troupe::restart(c, 2).get();
  BOOST_TEST(c.ask<&counter::value>().get() == 2);
}

BOOST_AUTO_TEST_CASE(of_a_parked_one_fail_also_those_that_waited) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{}, 1);
  c.kill();
  BOOST_TEST(comes_down(c));
  auto waiting = c.ask<&counter::value>();
  troupe::park(c);
  BOOST_CHECK_THROW((void)waiting.get(), troupe::actor_stopped);
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  troupe::restart(c, 3).get();
  troupe::park(c); // it is not down: without effect
  BOOST_TEST(c.ask<&counter::value>().get() == 3);
}

BOOST_AUTO_TEST_CASE(of_a_bounded_mailbox_wait_and_fail_likewise) {
  live_system live;
  for (auto calls : {troupe::calls_during_restart::queued,
                     troupe::calls_during_restart::fail_fast}) {
    auto c = live.sys.spawn<counter>(
      troupe::restartable{calls},
      troupe::mailbox{.max = 2, .full = troupe::reject});
    c.kill();
    BOOST_TEST(comes_down(c));
    auto first = c.ask<&counter::value>();
    auto second = c.ask<&counter::value>();
    auto third = c.ask<&counter::value>();
    troupe::restart(c, 4).get();
    if (calls == troupe::calls_during_restart::queued) {
      BOOST_TEST(first.get() == 4);
      BOOST_TEST(second.get() == 4);
      BOOST_CHECK_THROW((void)third.get(), troupe::rejected);
    } else {
      BOOST_CHECK_THROW((void)first.get(), troupe::actor_stopped);
    }
    BOOST_TEST(c.ask<&counter::value>().get() == 4);
  }
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(the_dead_object)

// Leaves behind all that could reach its successor.
class haunting : public troupe::actor {
public:
  struct shared {
    std::atomic<int> ticks{0}, resumed{0}, continued{0}, downs{0};
    std::atomic<int> frames{0};
  };
  class frame {
  public:
    explicit frame(shared* s) : shared_(s) { ++shared_->frames; }
    ~frame() { --shared_->frames; }
    frame(const frame&) = delete;
    frame& operator=(const frame&) = delete;

  private:
    shared* shared_;
  };

  haunting(shared* s, troupe::event e, troupe::ref<counter> other)
    : shared_(s),
      event_(std::move(e)),
      other_(std::move(other)) {}

  void haunt() {
    every(1ms, [this] { ++shared_->ticks; });
    after(2ms, [this] { ++shared_->ticks; });
    static_cast<void>(event_.wait().then([this] { ++shared_->continued; }));
    monitor(other_);
  }
  troupe::task<> wait() {
    frame f{shared_};
    co_await event_.wait();
    ++shared_->resumed;
  }
  int ping() { return 1; }
  void on_down(const troupe::down&) { ++shared_->downs; }

private:
  shared* shared_;
  troupe::event event_;
  troupe::ref<counter> other_;
};

BOOST_AUTO_TEST_CASE(reaches_its_successor_by_nothing) {
  live_system live;
  for (int round = 0; round < 50; ++round) {
    haunting::shared seen;
    troupe::event e{live.sys};
    auto other = live.sys.spawn<counter>();
    auto h = live.sys.spawn<haunting>(troupe::restartable{}, &seen, e, other);
    h.tell<&haunting::haunt>();
    auto waiting = h.ask<&haunting::wait>();
    BOOST_TEST(eventually(5s, [&] { return seen.frames == 1; }));
    h.kill();
    BOOST_TEST(comes_down(h));
    BOOST_CHECK_THROW(waiting.get(), troupe::actor_stopped);
    BOOST_TEST(seen.frames == 0);
    auto ticks = seen.ticks.load();
    if (round % 2 == 0) // the replies come while it is down
      e.set().get();
    other.stop();
    troupe::restart(h, &seen, e, other).get();
    e.set().get();
    auto w = live.sys.spawn<watcher>();
    (void)w.ask([&other](watcher& x) { return x.end_of(other); }).get();
    // What was sent before this reaches it before this.
    BOOST_TEST(h.ask<&haunting::ping>().get() == 1);
    BOOST_TEST(seen.ticks == ticks);
    BOOST_TEST(seen.resumed == 0);
    BOOST_TEST(seen.continued == 0);
    BOOST_TEST(seen.downs == 0);
    // Its own life is as good as the first.
    h.tell<&haunting::haunt>();
    BOOST_TEST(eventually(5s, [&] {
      return seen.continued == 1 && seen.downs == 1 && seen.ticks > ticks;
    }));
    h.kill();
    BOOST_TEST(comes_down(h)); // it has `seen` no longer
  }
}

BOOST_AUTO_TEST_CASE(takes_with_it_what_its_failing_constructor_began) {
  live_system live;
  struct nervous : troupe::actor {
    nervous(std::atomic<int>* ticks, bool fails) {
      every(1ms, [ticks] { ++*ticks; });
      troupe::ref<nervous> me = self();
      me.tell([ticks](nervous&) { *ticks += 1000; });
      if (fails)
        throw std::invalid_argument{"no config"};
    }
    int ping() { return 1; }
  };
  std::atomic<int> ticks{0}, none{0};
  auto n = live.sys.spawn<nervous>(troupe::restartable{}, &none, false);
  n.kill();
  BOOST_TEST(comes_down(n));
  auto waits = n.ask<&nervous::ping>();
  BOOST_CHECK_THROW(troupe::restart(n, &ticks, true).get(),
                    std::invalid_argument);
  BOOST_TEST(!n.is_alive());
  BOOST_TEST(troupe::starts(n) == 1u);
  std::atomic<int> good{0};
  troupe::restart(n, &good, false).get();
  BOOST_TEST(waits.get() == 1);
  BOOST_TEST(eventually(5s, [&] { return good > 1000; }));
  BOOST_TEST(ticks == 0);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_monitor)

BOOST_AUTO_TEST_CASE(hears_of_each_end_that_it_asked_for_once) {
  live_system live{quiet()};
  auto w = live.sys.spawn<watcher>();
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  for (int i = 1; i <= 3; ++i) {
    auto end = w.ask([&c](watcher& x) { return x.end_of(c); });
    c.tell<&counter::fail>();
    auto d = end.get();
    BOOST_TEST(d.id == c.id());
    BOOST_TEST(d.reason.text == "on demand");
    // One that comes late hears it at once.
    auto late = w.ask([&c](watcher& x) { return x.end_of(c); }).get();
    BOOST_TEST(late.reason.text == "on demand");
    troupe::restart(c).get();
    BOOST_TEST(w.ask<&watcher::downs>().get() == 2 * i);
  }
  troupe::retire(c);
  auto end = w.ask([&c](watcher& x) { return x.end_of(c); }).get();
  BOOST_TEST(end.reason.is_normal());
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_restart)

struct heavy : troupe::actor {
  test::counted alive;
  std::vector<char> much = std::vector<char>(10'000);
  void begin() {
    every(1h, [] {});
  }
  int ping() { return 1; }
};

// Ends and restarts another one, again and again.
class driver : public troupe::actor, public troupe::reentrant {
public:
  troupe::task<> run(troupe::ref<heavy> h, int times) {
    for (int i = 0; i < times; ++i) {
      monitor(h);
      h.tell<&heavy::begin>();
      h.stop();
      auto end = line_.park();
      co_await end;
      auto up = troupe::restart(h);
      co_await up;
    }
  }
  void on_down(const troupe::down&) { line_.serve(); }

private:
  troupe::waiting_line<void> line_;
};

BOOST_AUTO_TEST_CASE(of_one_that_is_not_down_is_refused) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  BOOST_CHECK_THROW(troupe::restart(c).get(), troupe::bad_argument);
  auto plain = live.sys.spawn<counter>();
  BOOST_CHECK_THROW((void)troupe::restart(plain), troupe::bad_argument);
  BOOST_CHECK_THROW((void)troupe::restart(troupe::ref<counter>{}),
                    troupe::bad_argument);
  troupe::retire(c);
  BOOST_TEST(comes_down(c));
  BOOST_CHECK_THROW(troupe::restart(c).get(), troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(close_behind_a_park_is_not_lost) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  for (int i = 0; i < 2000; ++i) {
    c.kill();
    BOOST_TEST_REQUIRE(comes_down(c));
    auto before = c.ask<&counter::value>();
    troupe::park(c);
    auto up = troupe::restart(c, i);
    up.get();
    BOOST_TEST_REQUIRE(c.ask<&counter::value>().get() == i);
    BOOST_CHECK_THROW((void)before.get(), troupe::actor_stopped);
  }
}

BOOST_AUTO_TEST_CASE(can_be_killed_and_stopped_in_between) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  for (int i = 0; i < 500; ++i) {
    auto starts = troupe::starts(c);
    c.kill();
    BOOST_TEST_REQUIRE(comes_down(c));
    c.kill(); // nothing to kill, nothing to stop
    c.stop();
    troupe::restart(c, i).get();
    BOOST_TEST_REQUIRE(c.ask<&counter::value>().get() == i);
    BOOST_TEST_REQUIRE(troupe::starts(c) == starts + 1);
  }
}

BOOST_AUTO_TEST_CASE(with_a_kill_during_its_constructor_comes_down_again) {
  live_system live;
  struct slow_start {
    slow_start(std::atomic<int>* at, bool slow) {
      if (!slow)
        return;
      *at = 1;
      while (*at != 2)
        std::this_thread::yield();
    }
    int ping() { return 1; }
  };
  std::atomic<int> at{0};
  auto s = live.sys.spawn<slow_start>(troupe::restartable{}, &at, false);
  s.kill();
  BOOST_TEST(comes_down(s));
  auto started = troupe::restart(s, &at, true);
  BOOST_TEST(eventually(5s, [&] { return at == 1; }));
  s.kill();
  at = 2;
  started.get();
  BOOST_TEST(comes_down(s));
  troupe::restart(s, &at, false).get();
  BOOST_TEST(s.ask<&slow_start::ping>().get() == 1);
}

BOOST_AUTO_TEST_CASE(works_on_a_thread_of_its_own) {
  live_system live;
  struct where {
    std::thread::id made = std::this_thread::get_id();
    bool is_same() const { return made == std::this_thread::get_id(); }
  };
  auto w = live.sys.spawn<where>(troupe::restartable{}, troupe::on_thread{});
  for (int i = 0; i < 10; ++i) {
    w.kill();
    BOOST_TEST(comes_down(w));
    troupe::restart(w).get();
    BOOST_TEST(w.ask<&where::is_same>().get());
  }
  BOOST_TEST(live.sys.stats().blocking_threads == 1u);
}

BOOST_AUTO_TEST_CASE(is_over_when_the_system_stops_or_nobody_holds_it) {
  troupe::ref<counter> down, waiting;
  {
    live_system live;
    down = live.sys.spawn<counter>(troupe::restartable{});
    down.kill();
    waiting = live.sys.spawn<counter>(troupe::restartable{});
    waiting.kill();
    BOOST_TEST(comes_down(down));
    BOOST_TEST(comes_down(waiting));
    auto mine = live.sys.spawn<watcher>(troupe::restartable{});
    mine.kill();
    BOOST_TEST(comes_down(mine));
    auto alive = live.sys.stats().actors_alive;
    mine = {};
    BOOST_TEST(eventually(
      5s, [&] { return live.sys.stats().actors_alive == alive - 1; }));
    waiting.tell<&counter::add>(1);
  }
  BOOST_CHECK_THROW((void)down.ask<&counter::value>().get(),
                    troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(is_named_in_the_description) {
  live_system live;
  auto c = live.sys.spawn<counter>(troupe::restartable{});
  c.kill();
  BOOST_TEST(eventually(5s, [&] {
    return live.sys.describe().find("down, to be restarted")
           != std::string::npos;
  }));
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind_in_100_000) {
  constexpr int rounds = test::is_sanitized ? 2000 : 100'000;
  live_system live{quiet()};
  auto h = live.sys.spawn<heavy>(troupe::restartable{});
  auto d = live.sys.spawn<driver>();
  d.within(60s).ask<&driver::run>(h, rounds / 10).get();
  auto before = resident_bytes();
  d.within(60s).ask<&driver::run>(h, rounds).get();
  BOOST_TEST(h.ask<&heavy::ping>().get() == 1);
  BOOST_TEST(test::counted::alive == 1);
  // A byte per restart would be 90 kB; pages come and go.
  BOOST_TEST((test::is_sanitized || resident_bytes() < before + (8u << 20)));
}

BOOST_AUTO_TEST_SUITE_END()
