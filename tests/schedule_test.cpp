// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE schedule
#include "support/fixture.hpp"

#include <fstream>
#include <semaphore>
#include <set>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/runtime.hpp"

namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;
using troupe::on_thread;
using troupe::ref;
using troupe::task;

class echo {
public:
  int one() { return 1; }
  long thread() { return ::syscall(SYS_gettid); }
};

class waiter : public troupe::actor {
public:
  explicit waiter(ref<echo> other) : other_(other) {}
  int ask_and_block() { return other_.ask<&echo::one>().get(); }
  int ask_chain(int depth) {
    if (depth == 0)
      return ask_and_block();
    auto next = spawn<waiter>(other_);
    return 1 + next.ask<&waiter::ask_chain>(depth - 1).get();
  }
  int ask_group() {
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 10; ++i)
      fs.push_back(other_.ask<&echo::one>());
    int sum = 0;
    for (auto& f : troupe::as_completed(fs, 10s))
      sum += f.get();
    return sum + static_cast<int>(troupe::wait(fs).done.size());
  }
  void hold(std::binary_semaphore* gate) { gate->acquire(); }

private:
  ref<echo> other_;
};

class asker {
public:
  task<int> run(ref<echo> to, int n) {
    int sum = 0;
    for (int i = 0; i < n; ++i)
      sum += co_await to.ask<&echo::one>();
    co_return sum;
  }
};

void talk_to_one(troupe::system& sys) {
  constexpr int askers = 20, times = 2'000;
  auto one = sys.spawn<echo>();
  std::vector<troupe::future<int>> all;
  for (int i = 0; i < askers; ++i)
    all.push_back(sys.spawn<asker>().ask<&asker::run>(one, times));
  for (auto& f : all)
    BOOST_TEST(f.get() == times);
}

class busy : public troupe::actor {
public:
  void talk_to_myself() {
    ref<busy> me = self();
    me.tell<&busy::talk_to_myself>();
  }
  void link(ref<busy> other) { other_ = other; }
  void ping() { other_.tell<&busy::ping>(); }

private:
  ref<busy> other_;
};

// Three that talk in a circle, so that none has the slot for long.
class trio : public troupe::actor {
public:
  void link(troupe::weak_ref<trio> back, ref<trio> aside) {
    back_ = back;
    aside_ = aside;
  }
  void go(ref<trio> to, ref<echo> once, std::atomic<int>* turns) {
    if (once)
      once.tell([turns](echo&) { *turns = -*turns; });
    if (*turns < 0)
      return;
    ++*turns;
    to.tell<&trio::back>(turns);
    aside_.tell<&trio::idle>();
  }
  void back(std::atomic<int>* turns) {
    if (auto first = back_.lock())
      first.tell<&trio::go>(ref<trio>{self()}, ref<echo>{}, turns);
  }
  void idle() {}

private:
  troupe::weak_ref<trio> back_;
  ref<trio> aside_;
};

class ticker : public troupe::actor {
public:
  explicit ticker(std::atomic<int>& n) : n_(n) {}
  void once(std::chrono::milliseconds d) {
    after(d, [this] { ++n_; });
  }
  void often(std::chrono::milliseconds d) {
    timer_ = every(d, [this] { ++n_; });
  }
  bool cancel() { return timer_.cancel(); }
  void cancel_in_itself() {
    timer_ = every(1ms, [this] {
      if (++n_ == 3)
        timer_.cancel();
    });
  }
  void fail_later() {
    after(1ms, [] { throw std::domain_error{"a timer"}; });
  }
  void in_order(std::vector<int>* order) {
    for (int ms : {9, 3, 6, 0})
      after(std::chrono::milliseconds{ms}, [=, this] {
        order->push_back(ms);
        ++n_;
      });
  }
  void bad(std::chrono::nanoseconds d) {
    every(d, [] {});
  }
  void far() {
    after(troupe::no_deadline, [] { std::abort(); });
    after(std::chrono::hours::max(), [] { std::abort(); });
    every(std::chrono::hours{24 * 365 * 100}, [] { std::abort(); });
  }
  void note_early(std::chrono::microseconds d, std::atomic<long>* worst) {
    auto due = clock_type::now() + d;
    after(d, [=, this] {
      auto late = clock_type::now() - due;
      worst->store(std::min(worst->load(), static_cast<long>(late.count())));
      ++n_;
    });
  }

private:
  std::atomic<int>& n_;
  troupe::timer timer_;
};

std::string thread_name() {
  std::ifstream in{"/proc/thread-self/comm"};
  std::string name;
  std::getline(in, name);
  return name;
}

// The longest of `n` asks to an idle actor from outside.
clock_type::duration slowest_ask(ref<echo> e, int n) {
  clock_type::duration worst{};
  for (int i = 0; i < n; ++i) {
    auto begin = clock_type::now();
    e.ask<&echo::one>().get();
    worst = std::max(worst, clock_type::now() - begin);
  }
  return worst;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live{{.workers = 1}};
  auto e = live.sys.spawn<echo>();
  BOOST_TEST(live.sys.spawn<waiter>(e).ask<&waiter::ask_and_block>().get()
             == 1);
  BOOST_TEST(live.sys.workers() == 1u);
}

BOOST_AUTO_TEST_SUITE(a_wait_on_a_worker)

BOOST_AUTO_TEST_CASE(does_not_starve_the_only_one) {
  test::live_system live{{.workers = 1}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  BOOST_TEST(w.ask<&waiter::ask_and_block>().get() == 1);
  BOOST_TEST(w.ask<&waiter::ask_group>().get() == 20);
}

BOOST_AUTO_TEST_CASE(may_be_forty_deep_on_one_worker) {
  test::live_system live{{.workers = 1}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  BOOST_TEST(w.ask<&waiter::ask_chain>(40).get() == 41);
  BOOST_TEST(live.sys.stats().threads <= 50u);
}

BOOST_AUTO_TEST_CASE(gives_its_place_back) {
  test::live_system live{{.workers = 2}};
  auto e = live.sys.spawn<echo>();
  std::vector<ref<waiter>> ws;
  for (int i = 0; i < 20; ++i)
    ws.push_back(live.sys.spawn<waiter>(e));
  for (int round = 0; round < 50; ++round) {
    std::vector<troupe::future<int>> fs;
    for (auto& w : ws)
      fs.push_back(w.ask<&waiter::ask_and_block>());
    for (auto& f : fs)
      BOOST_REQUIRE(f.get() == 1);
  }
  BOOST_TEST(live.sys.stats().threads <= 30u);
}

BOOST_AUTO_TEST_CASE(without_spares_ends_by_its_deadline) {
  test::live_system live{
    {.workers = 1, .ask_deadline = 300ms, .spare_workers_max = 0}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  BOOST_CHECK_THROW(w.ask<&waiter::ask_and_block>().get(), troupe::timeout);
  BOOST_TEST(e.ask<&echo::one>().get() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_worker_that_is_stuck)

BOOST_AUTO_TEST_CASE(gets_a_stand_in_while_work_waits) {
  test::live_system live{{.workers = 1, .stall_after = 5ms}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  std::binary_semaphore gate{0};
  auto held = w.ask<&waiter::hold>(&gate);
  BOOST_TEST(test::eventually(5s, [&] {
    return live.sys.describe().find("waiter::hold for") != std::string::npos;
  }));
  BOOST_TEST(e.within(10s).ask<&echo::one>().get() == 1);
  BOOST_TEST(live.sys.stats().stalls >= 1u);
  gate.release();
  held.get();
}

BOOST_AUTO_TEST_CASE(leaves_what_it_had_in_its_slot_to_others) {
  std::binary_semaphore gate{0}; // outlives who waits
  test::live_system live{{.workers = 1, .stall_after = 5ms}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  troupe::promise<int> told;
  auto answer = told.get_future();
  w.tell([&](waiter&) {
    e.tell([&](echo&) { told.set_value(3); }); // goes to this worker's slot
    gate.acquire();
  });
  BOOST_TEST(answer.get_for(10s) == 3);
  gate.release();
}

BOOST_AUTO_TEST_CASE(is_not_idle_though_all_others_are) {
  std::binary_semaphore gate{0}; // outlives who waits
  test::live_system live{{.workers = 1, .stall_after = 5ms}};
  auto& workers = live.sys.runtime().scheduler();
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  std::atomic<int> heard{0};
  w.tell([&](waiter&) {
    gate.acquire();
    e.tell([&](echo&) { ++heard; });
  });
  BOOST_TEST(e.within(10s).ask<&echo::one>().get() == 1); // by a stand-in
  BOOST_TEST(live.sys.stats().stalls >= 1u);
  BOOST_TEST(
    test::eventually(10s, [&] { return workers.counts().awake == 0; }));
  BOOST_TEST(!workers.is_idle());
  gate.release();
  BOOST_TEST(live.sys.stop().clean); // what it has told is handled first
  BOOST_TEST(heard == 1);
  BOOST_TEST(live.sys.dead_letters() == 0u);
}

BOOST_AUTO_TEST_CASE(comes_back_to_the_same_number_of_workers) {
  test::live_system live{{.workers = 2, .stall_after = 2ms}};
  auto e = live.sys.spawn<echo>();
  for (int round = 0; round < 10; ++round) {
    std::binary_semaphore gate{0};
    auto a = live.sys.spawn<waiter>(e);
    auto held = a.ask<&waiter::hold>(&gate);
    BOOST_TEST(e.within(10s).ask<&echo::one>().get() == 1);
    gate.release();
    held.get();
  }
  BOOST_TEST(live.sys.stats().threads <= 6u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(wake_once)

// The monitor looks so seldom that only the wake-up counts.
BOOST_AUTO_TEST_CASE(wakes_at_its_end_and_not_before) {
  test::live_system live{{.workers = 2, .stall_after = 20s}};
  auto& workers = live.sys.runtime().scheduler();
  std::vector<ref<echo>> all;
  for (int i = 0; i < 20; ++i)
    all.push_back(live.sys.spawn<echo>());
  for (int round = 0; round < 20; ++round) {
    BOOST_REQUIRE(test::eventually(5s, [&] { return workers.is_idle(); }));
    std::atomic<int> n{0};
    {
      const troupe::sched::wake_once wake{workers};
      for (auto& e : all)
        e.tell([&n](echo&) { ++n; });
      if (round == 0)
        std::this_thread::sleep_for(20ms); // sleeps: nothing happens
      BOOST_TEST(n == 0);
    }
    BOOST_REQUIRE(test::eventually(5s, [&] { return n == 20; }));
  }
}

BOOST_AUTO_TEST_CASE(of_another_system_holds_nothing_back) {
  test::live_system live{{.workers = 1, .stall_after = 20s}};
  test::live_system other;
  auto e = live.sys.spawn<echo>();
  const troupe::sched::wake_once wake{other.sys.runtime().scheduler()};
  BOOST_TEST(e.within(5s).ask<&echo::one>().get() == 1);
}

BOOST_AUTO_TEST_CASE(does_not_hang_who_waits_meanwhile) {
  test::live_system live;
  auto& workers = live.sys.runtime().scheduler();
  auto e = live.sys.spawn<echo>();
  for (int round = 0; round < 5; ++round) {
    BOOST_REQUIRE(test::eventually(5s, [&] { return workers.is_idle(); }));
    const troupe::sched::wake_once wake{workers};
    const troupe::sched::wake_once inner{workers};
    BOOST_TEST(e.within(5s).ask<&echo::one>().get() == 1);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(one_worker_is_fair)

BOOST_AUTO_TEST_CASE(to_others_beside_an_actor_that_talks_to_itself) {
  test::live_system live{{.workers = 1}};
  auto b = live.sys.spawn<busy>();
  auto e = live.sys.spawn<echo>();
  b.tell<&busy::talk_to_myself>();
  BOOST_TEST((slowest_ask(e, 200) < 1s));
  b.kill();
}

BOOST_AUTO_TEST_CASE(to_others_beside_pairs_that_play_ping_pong) {
  test::live_system live{{.workers = 1}};
  auto e = live.sys.spawn<echo>();
  std::vector<ref<busy>> players;
  for (int i = 0; i < 4; ++i)
    players.push_back(live.sys.spawn<busy>());
  for (std::size_t i = 0; i < 4; ++i) {
    players[i].tell<&busy::link>(players[i ^ 1]);
    players[i].tell<&busy::ping>();
  }
  BOOST_TEST((slowest_ask(e, 200) < 1s));
  // Inside, too: one actor asks another beside them.
  auto w = live.sys.spawn<waiter>(e);
  BOOST_TEST(w.within(5s).ask<&waiter::ask_and_block>().get() == 1);
  for (auto& p : players)
    p.kill();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_flood_from_outside)

BOOST_AUTO_TEST_CASE(leaves_its_turn_to_the_oldest_job_of_a_worker) {
  std::binary_semaphore gate{0}; // outlives who waits
  std::atomic<int> turns{0};     // of the circle; below 0 once the job ran
  test::live_system live{{.workers = 1, .stall_after = 20s}};
  auto e = live.sys.spawn<echo>();
  auto w = live.sys.spawn<waiter>(e);
  auto a = live.sys.spawn<trio>(), b = live.sys.spawn<trio>(),
       c = live.sys.spawn<trio>();
  b.ask<&trio::link>(troupe::weak_ref<trio>{a}, c).get();
  a.ask<&trio::link>(troupe::weak_ref<trio>{}, c).get();
  std::vector<ref<echo>> flood;
  for (int i = 0; i < 3'000; ++i)
    flood.push_back(live.sys.spawn<echo>());
  w.tell<&waiter::hold>(&gate);
  // All of it waits in the injection queue, the circle first.
  a.tell<&trio::go>(b, e, &turns);
  for (auto& f : flood)
    f.tell<&echo::one>();
  gate.release();
  BOOST_TEST(test::eventually(20s, [&] { return turns < 0; }));
  // At most 64 of the flood were taken before it.
  BOOST_TEST(-turns < 10'000);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_actor_on_thread)

BOOST_AUTO_TEST_CASE(has_one_of_its_own_and_gives_it_back) {
  test::live_system live{{.workers = 1}};
  auto a = live.sys.spawn<echo>(on_thread{});
  auto b = live.sys.spawn<echo>(on_thread{}, troupe::mailbox{.max = 3});
  auto c = live.sys.spawn<echo>();
  std::set<long> ids{a.ask<&echo::thread>().get(), b.ask<&echo::thread>().get(),
                     c.ask<&echo::thread>().get()};
  BOOST_TEST(ids.size() == 3u);
  BOOST_TEST(a.ask<&echo::thread>().get() == a.ask<&echo::thread>().get());
  BOOST_TEST(
    a.ask([](echo&) { return thread_name(); }).get().starts_with("troupe."));
  BOOST_TEST(live.sys.stats().blocking_threads == 2u);
  a.stop();
  b = {};
  BOOST_TEST(test::eventually(
    5s, [&] { return live.sys.stats().blocking_threads == 0; }));
}

BOOST_AUTO_TEST_CASE(may_block_while_the_workers_go_on) {
  test::live_system live{{.workers = 1}};
  auto e = live.sys.spawn<echo>();
  std::vector<ref<waiter>> ws;
  std::counting_semaphore<> gate{0};
  for (int i = 0; i < 8; ++i) {
    ws.push_back(live.sys.spawn<waiter>(on_thread{}, e));
    ws.back().tell([&](waiter&) { gate.acquire(); });
  }
  BOOST_TEST(e.ask<&echo::one>().get() == 1);
  gate.release(8);
  for (auto& w : ws)
    BOOST_TEST(w.ask<&waiter::ask_and_block>().get() == 1);
}

// Its thread ends while the reply that woke it last is still on its way: what
// a sanitizer sees.
BOOST_AUTO_TEST_CASE(may_end_as_soon_as_it_is_woken) {
  test::live_system live{{.workers = 1}};
  for (int i = 0; i < 200; ++i) {
    troupe::promise<int> p;
    auto a = live.sys.spawn<echo>(on_thread{});
    a.tell([f = p.get_future()](echo&) -> task<void> { co_await f; });
    a = {};
    p.set_value(1);
  }
  BOOST_TEST(
    test::eventually(10s, [&] { return live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_CASE(past_the_bound_is_rejected) {
  test::live_system live{{.workers = 1, .blocking_threads_max = 2}};
  auto a = live.sys.spawn<echo>(on_thread{});
  auto b = live.sys.spawn<echo>(on_thread{});
  try {
    auto c = live.sys.spawn<echo>(on_thread{});
    BOOST_ERROR("no error");
  } catch (const troupe::rejected& e) {
    std::string text = e.what();
    BOOST_TEST(text.find("blocking_threads_max") != std::string::npos, text);
    BOOST_TEST(text.find("2") != std::string::npos, text);
  }
  a.stop();
  BOOST_TEST(test::eventually(
    5s, [&] { return live.sys.stats().blocking_threads == 1; }));
  BOOST_TEST(live.sys.spawn<echo>(on_thread{}).ask<&echo::one>().get() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(blocking_code)

BOOST_AUTO_TEST_CASE(runs_beside_the_workers_and_gives_its_result) {
  test::live_system live{{.workers = 1}};
  BOOST_TEST(troupe::blocking(live.sys, [] { return 5; }).get() == 5);
  auto bad = troupe::blocking(live.sys, [] { throw std::domain_error{"b"}; });
  BOOST_CHECK_THROW(bad.get(), std::domain_error);
  BOOST_CHECK_THROW((void)troupe::blocking([] {}), troupe::bad_argument);
  auto e = live.sys.spawn<echo>();
  auto inside = e.ask([](echo&) -> task<std::string> {
    co_return co_await troupe::blocking([] { return thread_name(); });
  });
  BOOST_TEST(inside.get().starts_with("troupe.blk"));
}

BOOST_AUTO_TEST_CASE(waits_in_line_past_the_bound) {
  test::live_system live{{.workers = 1, .blocking_threads_max = 2}};
  std::atomic<int> now{0}, most{0};
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 50; ++i)
    fs.push_back(troupe::blocking(live.sys, [&] {
      auto n = ++now;
      for (auto seen = most.load();
           seen < n && !most.compare_exchange_weak(seen, n);) {}
      std::this_thread::yield();
      --now;
    }));
  troupe::wait(fs);
  BOOST_TEST(most <= 2);
}

BOOST_AUTO_TEST_CASE(gets_the_thread_that_an_actor_gives_back) {
  test::live_system live{{.workers = 1, .blocking_threads_max = 1}};
  auto a = live.sys.spawn<echo>(on_thread{});
  a.ask<&echo::one>().get();
  auto f = troupe::blocking(live.sys, [] { return 1; });
  BOOST_TEST(!f.wait_for(5ms));
  a.stop();
  BOOST_TEST(f.get_for(5s) == 1);
}

BOOST_AUTO_TEST_CASE(after_stop_is_refused) {
  troupe::system sys{{.workers = 1}};
  sys.stop();
  BOOST_CHECK_THROW((void)troupe::blocking(sys, [] {}), troupe::closed);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_timer)

BOOST_AUTO_TEST_CASE(fires_though_nobody_has_worked_for_long) {
  test::live_system live;
  std::atomic<int> n{0};
  auto t = live.sys.spawn<ticker>(n);
  t.tell<&ticker::once>(400ms); // past the monitor's last look
  BOOST_TEST(test::eventually(5s, [&] { return n == 1; }));
  t.tell<&ticker::once>(1ms);
  BOOST_TEST(test::eventually(5s, [&] { return n == 2; }));
}

BOOST_AUTO_TEST_CASE(repeats_until_cancelled) {
  test::live_system live;
  std::atomic<int> n{0};
  auto t = live.sys.spawn<ticker>(n);
  t.tell<&ticker::often>(1ms);
  BOOST_TEST(test::eventually(5s, [&] { return n >= 5; }));
  BOOST_TEST(t.ask<&ticker::cancel>().get());
  auto seen = n.load();
  BOOST_TEST(!t.ask<&ticker::cancel>().get());
  BOOST_TEST(!test::eventually(20ms, [&] { return n != seen; }));
  n = 0;
  t.tell<&ticker::cancel_in_itself>();
  BOOST_TEST(test::eventually(5s, [&] { return n == 3; }));
  BOOST_TEST(!test::eventually(20ms, [&] { return n != 3; }));
}

BOOST_AUTO_TEST_CASE(never_outlives_its_actor) {
  test::live_system live;
  std::atomic<int> n{0};
  for (int i = 0; i < 200; ++i) {
    auto t = live.sys.spawn<ticker>(n);
    t.tell<&ticker::often>(1ms);
    t.tell<&ticker::once>(1ms);
    if (i % 2 == 0)
      t.ask([](ticker&) {}).get();
    if (i % 3 == 0)
      t.kill();
  }
  BOOST_TEST(
    test::eventually(5s, [&] { return live.sys.stats().actors_alive == 0; }));
  auto seen = n.load();
  BOOST_TEST(!test::eventually(10ms, [&] { return n != seen; }));
}

BOOST_AUTO_TEST_CASE(is_never_early_and_keeps_its_order) {
  test::live_system live;
  std::atomic<int> n{0};
  auto t = live.sys.spawn<ticker>(n);
  std::atomic<long> worst{0};
  for (int i = 0; i < 50; ++i)
    t.tell<&ticker::note_early>(std::chrono::microseconds{i * 211}, &worst);
  BOOST_TEST(test::eventually(5s, [&] { return n == 50; }));
  BOOST_TEST(worst >= 0);
  n = 0;
  std::vector<int> order;
  t.tell<&ticker::in_order>(&order);
  BOOST_TEST(test::eventually(5s, [&] { return n == 4; }));
  BOOST_TEST((order == std::vector{0, 3, 6, 9}));
}

BOOST_AUTO_TEST_CASE(that_throws_is_a_failure_of_its_actor) {
  test::live_system live;
  std::atomic<int> n{0};
  auto t = live.sys.spawn<ticker>(n);
  t.tell<&ticker::fail_later>();
  BOOST_TEST(test::eventually(5s, [&] { return !t.is_alive(); }));
}

BOOST_AUTO_TEST_CASE(of_no_period_is_refused_and_a_far_one_waits) {
  test::live_system live;
  std::atomic<int> n{0};
  auto t = live.sys.spawn<ticker>(n);
  BOOST_CHECK_THROW(t.ask<&ticker::bad>(0ns).get(), troupe::bad_argument);
  BOOST_CHECK_THROW(t.ask<&ticker::bad>(-1ns).get(), troupe::bad_argument);
  t.tell<&ticker::far>();
  t.tell<&ticker::once>(-5ms);
  BOOST_TEST(test::eventually(5s, [&] { return n == 1; }));
  BOOST_TEST(t.is_alive());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(many_small_actors_that_talk_to_one)

BOOST_AUTO_TEST_CASE(are_kept_on_one_worker) {
  if (test::is_sanitized)
    return; // there, no message is short
  test::live_system live;
  const auto kept = [&] {
    const auto before = live.sys.stats();
    talk_to_one(live.sys);
    const auto after = live.sys.stats();
    return (after.steals - before.steals) * 200
           < after.messages - before.messages;
  };
  BOOST_TEST(test::eventually(20s, kept));
}

BOOST_AUTO_TEST_CASE(leave_later_work_to_all_workers) {
  test::live_system live{{.workers = 4}};
  auto unaided = 0;
  for (int round = 0; round < 10; ++round) {
    talk_to_one(live.sys);
    const auto before = live.sys.stats().stalls;
    std::atomic<int> there{0};
    auto all = live.sys.spawn<echo>()
                 .ask([&](echo&) {
                   std::vector<troupe::future<bool>> started;
                   for (int i = 0; i < 4; ++i)
                     started.push_back(live.sys.spawn<echo>().ask([&](echo&) {
                       ++there;
                       return test::eventually(10s, [&] { return there == 4; });
                     }));
                   return started;
                 })
                 .get();
    for (auto& met : all)
      BOOST_TEST(met.get());
    unaided += live.sys.stats().stalls == before ? 1 : 0;
  }
  BOOST_TEST(unaided > 0); // the monitor helps after 20 ms
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_counters)

BOOST_AUTO_TEST_CASE(say_what_the_workers_did) {
  test::live_system live;
  auto e = live.sys.spawn<echo>();
  const auto parked = [&] { return live.sys.stats().parks > 0; };
  BOOST_TEST(test::eventually(5s, parked));
  const auto before = live.sys.stats();
  const auto woken = [&] { // none is needed while a worker still searches
    BOOST_TEST(e.ask<&echo::one>().get() == 1);
    return live.sys.stats().wakes > before.wakes;
  };
  BOOST_TEST(test::eventually(5s, woken));
  BOOST_TEST(live.sys.stats().injected > before.injected);
  const auto counted = [&] {
    return live.sys.stats().messages > before.messages;
  };
  BOOST_TEST(test::eventually(5s, counted));
  // One worker makes work that only the other is free to do.
  auto w = live.sys.spawn<waiter>(e);
  const auto stolen = [&] {
    w.ask([&sys = live.sys](waiter&) {
       std::vector<ref<echo>> all;
       for (int i = 0; i < 200; ++i)
         all.push_back(sys.spawn<echo>());
       for (auto& x : all)
         x.tell<&echo::one>();
       for (volatile int i = 0; i < 300'000;)
         i = i + 1;
     })
      .get();
    return live.sys.stats().steals > before.steals;
  };
  BOOST_TEST(test::eventually(10s, stolen));
  BOOST_TEST(live.sys.stats().threads >= 2u);
}

BOOST_AUTO_TEST_SUITE_END()
