// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE actor
#include "support/fixture.hpp"

#include <random>
#include <semaphore>

namespace {

using namespace std::chrono_literals;
using troupe::ref;
using troupe::task;

class counter {
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }

private:
  int value_ = 0;
};

// Notes when two messages are in it at once, and when one comes too early.
class lane {
public:
  explicit lane(std::size_t senders) : last_(senders, -1) {}
  void pass(std::size_t sender, int n) {
    if (inside_.exchange(true))
      ++overlaps_;
    if (n != last_[sender] + 1)
      ++out_of_order_;
    last_[sender] = n;
    ++seen_;
    inside_ = false;
  }
  task<void> pass_slowly(std::size_t sender, int n, ref<counter> other) {
    if (inside_.exchange(true))
      ++overlaps_;
    co_await other.ask<&counter::value>();
    if (n != last_[sender] + 1)
      ++out_of_order_;
    last_[sender] = n;
    ++seen_;
    inside_ = false;
  }
  std::vector<int> result() const { return {seen_, overlaps_, out_of_order_}; }

private:
  std::atomic<bool> inside_{false};
  std::vector<int> last_;
  int seen_ = 0, overlaps_ = 0, out_of_order_ = 0;
};

class sender {
public:
  sender(ref<lane> to, std::size_t index) : to_(to), index_(index) {}
  void send(int n) {
    for (int i = 0; i < n; ++i)
      to_.tell<&lane::pass>(index_, next_++);
  }

private:
  ref<lane> to_;
  std::size_t index_;
  int next_ = 0;
};

class lock_step : public troupe::reentrant {
public:
  task<int> wait(troupe::future<int> f) {
    ++inside_;
    most_ = std::max(most_, inside_);
    auto x = co_await f;
    --inside_;
    co_return x;
  }
  int most() const { return most_; }

private:
  int inside_ = 0, most_ = 0;
};

class takes_all {
public:
  std::string text(std::string_view s, const std::string& t, std::string u) {
    return std::string{s} + t + u;
  }
  int number(std::unique_ptr<int> p) noexcept { return *p; }
  int overloaded(int) const { return 1; }
  int overloaded(double) const { return 2; }
};

// A whole life, noted.
struct noted_life {
  std::mutex mutex;
  std::vector<std::string> notes;
  void note(std::string s) {
    std::lock_guard guard{mutex};
    notes.push_back(std::move(s));
  }
  std::string text() {
    std::lock_guard guard{mutex};
    std::string all;
    for (auto& n : notes)
      all += n + ";";
    return all;
  }
  std::size_t size() {
    std::lock_guard guard{mutex};
    return notes.size();
  }
  void clear() {
    std::lock_guard guard{mutex};
    notes.clear();
  }
};

class alive : public troupe::actor {
public:
  explicit alive(noted_life& l, bool slow = false) : life_(l) {
    if (slow) {
      ref<alive> me = self();
      me.tell<&alive::say>("early");
      after(0ms, [this] { life_.note("timer"); });
      // A worker that ran one of these now would meet half an object.
      auto until = std::chrono::steady_clock::now() + 5ms;
      while (std::chrono::steady_clock::now() < until) {}
    }
    life_.note("made");
  }
  ~alive() { life_.note("gone"); }
  void on_start() { life_.note("start"); }
  void on_stop(troupe::stop_reason r) { life_.note("stop: " + to_string(r)); }
  void say(const std::string& what) { life_.note(what); }
  void fail() { throw std::domain_error{"no"}; }
  void leave() {
    stop();
    life_.note("leaving");
  }
  ref<alive> me() { return self(); }

private:
  noted_life& life_;
};

class watcher : public troupe::actor {
public:
  explicit watcher(noted_life& l) : life_(l) {}
  void watch(ref<alive> a) { monitor(a); }
  void forget(ref<alive> a) { demonitor(a); }
  void on_down(troupe::down d) {
    life_.note("down " + d.name + "#" + std::to_string(d.id) + " "
               + to_string(d.reason));
  }

private:
  noted_life& life_;
};

// Gives itself away, then throws.
class still_born : public troupe::actor {
public:
  still_born(std::vector<ref<still_born>>& out, ref<counter> other) {
    out.push_back(self());
    monitor(other);
    every(1ms, [] { std::abort(); });
    throw std::domain_error{"not today"};
  }
  void touch() { std::abort(); }
};

struct bad_end {
  ~bad_end() noexcept(false) { throw std::domain_error{"at the end"}; }
  void on_stop(troupe::stop_reason) { throw 7; }
  int one() { return 1; }
};

struct bad_start {
  void on_start() { throw std::domain_error{"at the start"}; }
  int one() { return 1; }
};

struct link_of_chain {
  ref<link_of_chain> next;
};

class alignas(64) aligned {
public:
  bool is_aligned() const {
    return reinterpret_cast<std::uintptr_t>(this) % 64 == 0;
  }
};

// Stops itself before it is whole.
struct stillborn : troupe::actor {
  stillborn() { stop(); }
};

// A base that comes before `actor` and spawns.
struct spawning_base {
  explicit spawning_base(troupe::system& sys)
    : first(sys.spawn<counter>()),
      second(sys.spawn<counter>()) {}
  ref<counter> first, second;
};

struct spawning : spawning_base, troupe::actor {
  explicit spawning(troupe::system& sys) : spawning_base(sys) {}
  ref<spawning> me() { return self(); }
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  c.tell<&counter::add>(5);
  BOOST_TEST(c.ask<&counter::value>().get() == 5);
}

BOOST_AUTO_TEST_SUITE(messages)

BOOST_AUTO_TEST_CASE(of_each_sender_come_in_order_and_one_at_a_time) {
  test::live_system live{{.workers = 4}};
  auto l = live.sys.spawn<lane>(8u);
  std::vector<ref<sender>> senders;
  for (std::size_t i = 0; i < 4; ++i)
    senders.push_back(live.sys.spawn<sender>(l, i));
  std::vector<std::thread> threads;
  for (std::size_t i = 4; i < 8; ++i)
    threads.emplace_back([l, i] {
      for (int n = 0; n < 20'000; ++n)
        l.tell<&lane::pass>(i, n);
    });
  for (int round = 0; round < 20; ++round)
    for (auto& s : senders)
      s.tell<&sender::send>(1'000);
  for (auto& t : threads)
    t.join();
  BOOST_TEST(test::eventually(
    20s, [&] { return l.ask<&lane::result>().get()[0] == 160'000; }));
  BOOST_TEST((l.ask<&lane::result>().get() == std::vector{160'000, 0, 0}));
}

BOOST_AUTO_TEST_CASE(wait_for_the_end_of_a_method_across_co_await) {
  test::live_system live{{.workers = 4}};
  auto l = live.sys.spawn<lane>(1u);
  auto c = live.sys.spawn<counter>();
  for (int n = 0; n < 20'000; ++n)
    if (n % 2 == 0)
      l.tell<&lane::pass_slowly>(0u, n, c);
    else
      l.tell<&lane::pass>(0u, n);
  BOOST_TEST((l.ask<&lane::result>().get() == std::vector{20'000, 0, 0}));
}

BOOST_AUTO_TEST_CASE(enter_a_reentrant_actor_that_waits) {
  test::live_system live;
  auto l = live.sys.spawn<lock_step>();
  std::vector<troupe::promise<int>> ps(50);
  std::vector<troupe::future<int>> fs;
  for (auto& p : ps)
    fs.push_back(l.ask<&lock_step::wait>(p.get_future()));
  BOOST_TEST(test::eventually(
    5s, [&] { return l.ask<&lock_step::most>().get() == 50; }));
  for (std::size_t i = ps.size(); i-- > 0;)
    ps[i].set_value(static_cast<int>(i));
  for (std::size_t i = 0; i < fs.size(); ++i)
    BOOST_TEST(fs[i].get() == static_cast<int>(i));
}

BOOST_AUTO_TEST_CASE(carry_strings_and_move_only_values) {
  test::live_system live;
  auto t = live.sys.spawn<takes_all>();
  std::string gone = "b";
  auto f = t.ask<&takes_all::text>(std::string_view{"a"}, gone, "c");
  gone = "x";
  BOOST_TEST(f.get() == "abc");
  BOOST_TEST(t.ask<&takes_all::number>(std::make_unique<int>(3)).get() == 3);
  constexpr int (takes_all::*of_double)(double) const = &takes_all::overloaded;
  BOOST_TEST(t.ask<of_double>(1.0).get() == 2);
  auto p = std::make_unique<int>(4);
  BOOST_TEST(t.ask([p = std::move(p)](takes_all&) { return *p; }).get() == 4);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_handle)

BOOST_AUTO_TEST_CASE(compares_prints_and_has_an_id) {
  test::live_system live;
  auto a = live.sys.spawn<counter>();
  auto b = live.sys.spawn<counter>();
  auto c = a;
  BOOST_TEST((a == c));
  BOOST_TEST(!(a == b));
  BOOST_TEST(a.id() == c.id());
  BOOST_TEST(a.id() != b.id());
  BOOST_TEST(std::hash<ref<counter>>{}(a) == std::hash<ref<counter>>{}(c));
  BOOST_TEST(to_string(a) == "counter#" + std::to_string(a.id()));
  ref<counter> none;
  BOOST_TEST(none.id() == 0u);
  BOOST_TEST(!none);
  BOOST_TEST(!none.is_alive());
  BOOST_TEST(to_string(none) == "(no actor)");
  BOOST_CHECK_THROW(none.tell<&counter::add>(1), troupe::bad_argument);
  BOOST_CHECK_THROW((void)none.ask<&counter::value>(), troupe::bad_argument);
  BOOST_CHECK_THROW(none.stop(), troupe::bad_argument);
  BOOST_CHECK_THROW(none.kill(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(keeps_its_actor_alive_and_a_weak_one_does_not) {
  noted_life life; // outlives the actors
  test::live_system live;
  auto a = live.sys.spawn<alive>(life);
  troupe::weak_ref<alive> w{a};
  BOOST_TEST((w.lock() == a));
  a.ask<&alive::say>("hi").get();
  a = {};
  BOOST_TEST(test::eventually(5s, [&] { return !w.lock(); }));
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.stats().actors_alive == 0; }));
  BOOST_TEST(life.text() == "made;start;hi;stop: unreachable;gone;");
}

BOOST_AUTO_TEST_CASE(that_goes_leaves_its_messages_to_be_handled) {
  noted_life life; // outlives the actors
  test::live_system live;
  std::binary_semaphore gate{0};
  {
    auto a = live.sys.spawn<alive>(life);
    a.tell([&](alive&) { gate.acquire(); });
    a.tell<&alive::say>("last");
  }
  gate.release();
  BOOST_TEST(test::eventually(5s, [&] {
    return life.text() == "made;start;last;stop: unreachable;gone;";
  }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_life)

BOOST_AUTO_TEST_CASE(begins_before_any_message_though_its_constructor_sends) {
  test::live_system live{{.workers = 4}};
  for (int i = 0; i < 20; ++i) {
    noted_life life;
    auto a = live.sys.spawn<alive>(life, true);
    BOOST_TEST(test::eventually(5s, [&] {
      return life.text().find("early") != std::string::npos
             && life.text().find("timer") != std::string::npos;
    }));
    BOOST_TEST(life.text().starts_with("made;start;"), life.text());
    a.stop();
    test::eventually(5s, [&] { return !a.is_alive(); });
    BOOST_TEST(test::eventually(
      5s, [&] { return life.text().ends_with("stop: normal;gone;"); }));
  }
}

BOOST_AUTO_TEST_CASE(ends_once_with_its_reason_for_all_monitors) {
  noted_life life, seen; // they outlive the actors
  test::live_system live;
  auto w = live.sys.spawn<watcher>(seen);
  auto end = [&](auto how, const std::string& reason) {
    life.clear();
    seen.clear();
    auto a = live.sys.spawn<alive>(life);
    w.ask<&watcher::watch>(a).get();
    w.ask<&watcher::watch>(a).get(); // twice is once
    how(a);
    auto id = std::to_string(a.id());
    BOOST_TEST(test::eventually(5s, [&] { return !seen.text().empty(); }));
    BOOST_TEST(seen.text() == "down alive#" + id + " " + reason + ";");
    w.ask<&watcher::watch>(a).get(); // it has ended: at once
    BOOST_TEST(test::eventually(5s, [&] { return seen.size() == 2; }));
    BOOST_TEST(life.text().ends_with("stop: " + reason + ";gone;"),
               life.text());
  };
  end([](auto& a) { a.stop(); }, "normal");
  end([](auto& a) { a.kill(); }, "killed");
  end([](auto& a) { a.template tell<&alive::fail>(); }, "failed: no");
  end([](auto& a) { a.template tell<&alive::leave>(); }, "normal");
}

BOOST_AUTO_TEST_CASE(is_told_to_100_000_monitors) {
  static std::atomic<int> told;
  told = 0;
  struct onlooker : troupe::actor {
    void watch(ref<alive> a) {
      monitor(a);
      monitor(a); // tells no more often
    }
    void on_down(troupe::down) { ++told; }
  };
  noted_life life; // outlives the actors
  test::live_system live;
  auto a = live.sys.spawn<alive>(life);
  std::vector<ref<onlooker>> all;
  std::vector<troupe::future<void>> watching; // one wait, not 100'000
  for (int i = 0; i < 100'000; ++i) {
    all.push_back(live.sys.spawn<onlooker>());
    watching.push_back(all.back().ask<&onlooker::watch>(a));
  }
  troupe::wait(watching);
  a.kill();
  BOOST_TEST(test::eventually(20s, [&] { return told == 100'000; }));
}

BOOST_AUTO_TEST_CASE(is_told_to_one_that_asks_at_that_moment) {
  static std::atomic<int> told;
  struct onlooker : troupe::actor {
    void watch(ref<alive> a) { monitor(a); }
    void on_down(troupe::down) { ++told; }
  };
  noted_life life; // outlives the actors
  test::live_system live;
  auto o = live.sys.spawn<onlooker>();
  for (int round = 0; round < 1'000; ++round) {
    told = 0;
    auto a = live.sys.spawn<alive>(life);
    a.kill();
    o.tell<&onlooker::watch>(a);
    BOOST_REQUIRE(test::eventually(10s, [&] { return told == 1; }));
  }
}

BOOST_AUTO_TEST_CASE(of_a_demonitored_actor_ends_in_silence) {
  noted_life life, seen; // they outlive the actors
  test::live_system live;
  auto w = live.sys.spawn<watcher>(seen);
  auto a = live.sys.spawn<alive>(life);
  w.ask<&watcher::watch>(a).get();
  w.ask<&watcher::forget>(a).get();
  a.stop();
  test::eventually(5s, [&] { return life.text().ends_with("gone;"); });
  w.ask([](watcher&) {}).get();
  BOOST_TEST(seen.text() == "");
}

BOOST_AUTO_TEST_CASE(that_stops_itself_in_a_batch_drops_the_rest) {
  noted_life life; // outlives the actors
  test::live_system live;
  auto a = live.sys.spawn<alive>(life);
  std::binary_semaphore gate{0};
  a.tell([&](alive&) { gate.acquire(); });
  a.tell<&alive::leave>();
  for (int i = 0; i < 100; ++i)
    a.tell<&alive::say>("never");
  gate.release();
  BOOST_TEST(test::eventually(5s, [&] {
    return life.text() == "made;start;leaving;stop: normal;gone;";
  }));
  BOOST_TEST(live.sys.dead_letters() == 100u);
}

BOOST_AUTO_TEST_CASE(may_be_over_with_its_constructor) {
  test::live_system live;
  auto a = live.sys.spawn<stillborn>();
  auto b = live.sys.spawn<stillborn>(troupe::on_thread{});
  auto c = live.sys.spawn<stillborn>(troupe::mailbox{.max = 4});
  for (auto& r : {a, b, c})
    BOOST_TEST(test::eventually(5s, [&] { return !r.is_alive(); }));
}

BOOST_AUTO_TEST_CASE(knows_itself_though_a_base_spawns_first) {
  test::live_system live;
  auto a = live.sys.spawn<spawning>(live.sys);
  BOOST_TEST((a.ask<&spawning::me>().get() == a));
}

BOOST_AUTO_TEST_CASE(knows_itself_if_it_was_spawned) {
  noted_life life; // outlives the actors
  test::live_system live;
  auto a = live.sys.spawn<alive>(life);
  BOOST_TEST((a.ask<&alive::me>().get() == a));
  alive plain{life};
  BOOST_CHECK_THROW(plain.me(), troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(what_throws)

BOOST_AUTO_TEST_CASE(in_a_constructor_comes_out_of_spawn) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  std::vector<ref<still_born>> out;
  for (int i = 0; i < 50; ++i)
    BOOST_CHECK_THROW(live.sys.spawn<still_born>(std::ref(out), c),
                      std::domain_error);
  BOOST_CHECK_THROW(
    live.sys.spawn<still_born>(troupe::on_thread{}, std::ref(out), c),
    std::domain_error);
  BOOST_TEST(live.sys.stats().actors_alive == 1u);
  for (auto& r : out) {
    BOOST_TEST(!r.is_alive());
    r.tell<&still_born::touch>();
    BOOST_CHECK_THROW(r.ask<&still_born::touch>().get(), troupe::actor_stopped);
  }
  c.stop(); // tells its monitors, which are gone
  out.clear();
}

BOOST_AUTO_TEST_CASE(in_hooks_and_destructors_is_the_actors_failure_alone) {
  test::live_system live;
  auto e = live.sys.spawn<bad_end>();
  BOOST_TEST(e.ask<&bad_end::one>().get() == 1);
  e.stop();
  BOOST_TEST(test::eventually(5s, [&] { return !e.is_alive(); }));
  auto s = live.sys.spawn<bad_start>();
  BOOST_CHECK_THROW(s.ask<&bad_start::one>().get(), troupe::actor_stopped);
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(many)

BOOST_AUTO_TEST_CASE(in_a_chain_go_without_recursion) {
  test::live_system live;
  constexpr int count = 1'000'000;
  ref<link_of_chain> first;
  for (int i = 0; i < count; ++i)
    first = live.sys.spawn<link_of_chain>(std::move(first));
  BOOST_TEST(live.sys.stats().actors_alive == std::size_t{count});
  first = {};
  BOOST_TEST(live.sys.stats().actors_alive == 0u);
}

BOOST_AUTO_TEST_CASE(have_their_own_alignment) {
  test::live_system live;
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(live.sys.spawn<aligned>().ask<&aligned::is_aligned>().get());
}

BOOST_AUTO_TEST_CASE(are_spawned_and_stopped_from_everywhere_at_once) {
  test::live_system live{{.workers = 4}};
  std::vector<std::thread> threads;
  std::atomic<int> sum{0};
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 5'000; ++i) {
        auto c = live.sys.spawn<counter>();
        c.tell<&counter::add>(1);
        if (i % 3 == 0) {
          c.stop();
        } else if (i % 3 == 1) {
          c.kill();
        } else {
          sum += c.ask<&counter::value>().get();
        }
      }
    });
  for (auto& t : threads)
    t.join();
  BOOST_TEST(sum == 4 * 1'666);
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_SUITE_END()
