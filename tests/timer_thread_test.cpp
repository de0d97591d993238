// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE timer_thread
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "sched/clock.hpp"
#include "sched/timer_thread.hpp"
#include "support/seed.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;
using troupe::sched::now_ns;
using troupe::sched::timer_node;
using troupe::sched::timer_thread;

constexpr std::int64_t ms = 1'000'000;

struct noted : timer_node {
  std::atomic<int> fired{0};
  std::atomic<std::int64_t> at{0};
  noted() {
    fire = [](timer_node* n) noexcept {
      auto* self = static_cast<noted*>(n);
      self->at.store(now_ns());
      self->fired.fetch_add(1);
    };
  }
};

struct unwatched {
  timer_thread timers{[] { return false; }, 10 * ms};
};

} // namespace

BOOST_FIXTURE_TEST_SUITE(a_node, unwatched)

BOOST_AUTO_TEST_CASE(fires_once_and_not_before_it_is_due) {
  noted n;
  const auto due = now_ns() + 5 * ms;
  timers.add(n, due);
  BOOST_TEST(test::eventually(10s, [&] { return n.fired == 1; }));
  BOOST_TEST(n.at >= due);
  BOOST_TEST(!timers.remove(n));
}

BOOST_AUTO_TEST_CASE(that_is_due_earlier_wakes_the_thread) {
  noted late, early;
  timers.add(late, now_ns() + 3'600'000 * ms);
  for (int i = 0; i < 50; ++i) {
    noted n;
    const auto begin = now_ns();
    std::thread{[&] { timers.add(n, now_ns() + ms); }}.join();
    BOOST_TEST(test::eventually(10s, [&] { return n.fired == 1; }));
    BOOST_TEST(now_ns() - begin < 3'000 * ms);
  }
  BOOST_TEST(timers.remove(late));
  BOOST_TEST(!timers.remove(early));
}

BOOST_AUTO_TEST_CASE(that_is_added_again_is_moved_by_any_thread) {
  noted n;
  timers.add(n, now_ns() + 3'600'000 * ms);
  std::thread{[&] { timers.add(n, now_ns()); }}.join();
  BOOST_TEST(test::eventually(10s, [&] { return n.fired == 1; }));
  std::thread{[&] { timers.add(n, now_ns() + 3'600'000 * ms); }}.join();
  BOOST_TEST(timers.remove(n));
  BOOST_TEST(n.fired == 1);
}

BOOST_AUTO_TEST_CASE(is_either_removed_or_fires_whatever_the_threads) {
  constexpr int threads = 4, rounds = 300, nodes = 16;
  std::atomic<int> wrong{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&, t] {
      std::mt19937_64 random{test::seed() + static_cast<std::uint64_t>(t)};
      for (int r = 0; r < rounds; ++r) {
        std::vector<std::unique_ptr<noted>> mine;
        for (int i = 0; i < nodes; ++i) {
          mine.push_back(std::make_unique<noted>());
          timers.add(*mine.back(),
                     now_ns() + static_cast<std::int64_t>(random() % 3) * ms);
        }
        if (random() % 2 == 0)
          std::this_thread::sleep_for(1ms); // sleeps: some come to be due
        // Half of them by another thread than the one that added them.
        auto remove = [&](int from) {
          for (int i = from; i < nodes; i += 2) {
            auto& n = *mine[static_cast<std::size_t>(i)];
            const auto is_removed = timers.remove(n);
            const auto fired = n.fired.load();
            wrong += fired != (is_removed ? 0 : 1);
          }
        };
        std::thread other{[&] { remove(1); }};
        remove(0);
        other.join();
      } // they go: whoever fires one now is seen by the sanitizers
    });
  for (auto& t : all)
    t.join();
  TEST_WITH_SEED() {
    BOOST_TEST(wrong == 0);
  }
}

BOOST_AUTO_TEST_CASE(stays_unfired_when_all_is_stopped) {
  noted n, m;
  timers.add(n, now_ns() + 3'600'000 * ms);
  timers.stop();
  timers.add(m, now_ns());
  timers.stop();
  std::this_thread::sleep_for(5ms); // sleeps: nothing is to happen
  BOOST_TEST(n.fired == 0);
  BOOST_TEST(m.fired == 0);
  BOOST_TEST(timers.remove(m));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_monitor)

BOOST_AUTO_TEST_CASE(looks_until_it_has_seen_enough_and_is_armed_again) {
  std::atomic<int> looks{0};
  timer_thread timers{[&] { return ++looks % 5 != 0; }, ms};
  for (int round = 1; round <= 3; ++round) {
    const auto before = looks.load();
    timers.arm_monitor();
    BOOST_TEST(test::eventually(10s, [&] { return looks >= before + 4; }));
  }
  timers.stop();
}

BOOST_AUTO_TEST_CASE(may_be_armed_by_a_node_that_fires) {
  static timer_thread* of = nullptr;
  std::atomic<int> looks{0};
  timer_thread timers{[&] { return ++looks < 3; }, ms};
  of = &timers;
  timer_node n;
  n.fire = [](timer_node*) noexcept { of->arm_monitor(); };
  timers.add(n, now_ns());
  BOOST_TEST(test::eventually(10s, [&] { return looks >= 3; }));
  timers.stop();
}

BOOST_AUTO_TEST_SUITE_END()
