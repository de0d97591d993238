// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE timer_wheel
#include <boost/test/unit_test.hpp>

#include <map>
#include <memory>
#include <vector>

#include "sched/timer_wheel.hpp"
#include "support/seed.hpp"

namespace {

using troupe::sched::timer_node;
using troupe::sched::timer_wheel;

struct noted : timer_node {
  std::vector<noted*>* fired = nullptr;
  explicit noted(std::vector<noted*>& to) : fired(&to) {
    fire = [](timer_node* n) noexcept {
      auto* self = static_cast<noted*>(n);
      self->fired->push_back(self);
    };
  }
};

constexpr std::uint64_t years = 365ull * 24 * 3600 * 1000;

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  timer_wheel wheel;
  std::vector<noted*> fired;
  noted n{fired};
  wheel.add(n, 5);
  BOOST_TEST(wheel.advance(4) == 0u);
  BOOST_TEST(wheel.advance(5) == 1u);
  BOOST_TEST(wheel.size() == 0u);
  BOOST_TEST(wheel.next_event() == timer_wheel::never);
}

BOOST_AUTO_TEST_SUITE(a_node)

BOOST_AUTO_TEST_CASE(that_is_due_already_fires_at_the_next_advance) {
  timer_wheel wheel;
  wheel.advance(1'000'000);
  std::vector<noted*> fired;
  noted n{fired};
  wheel.add(n, 3);
  BOOST_TEST(wheel.next_event() == 1'000'000u);
  BOOST_TEST(wheel.advance(1'000'000) == 1u);
}

BOOST_AUTO_TEST_CASE(that_is_removed_does_not_fire) {
  timer_wheel wheel;
  std::vector<noted*> fired;
  noted a{fired}, b{fired}, c{fired};
  for (auto* n : {&a, &b, &c})
    wheel.add(*n, 70);
  BOOST_TEST(wheel.remove(b));
  BOOST_TEST(!wheel.remove(b));
  wheel.advance(70);
  BOOST_TEST(fired.size() == 2u);
  BOOST_TEST(!wheel.remove(a));
}

// A slot of the top level once meant both now and one turn later: `advance`
// never came back.
BOOST_AUTO_TEST_CASE(farther_than_the_wheel_reaches_waits_its_time) {
  for (std::uint64_t now : {0ull, 1ull, 12'345ull, (1ull << 30) - 1,
                            (1ull << 36) - 1, (1ull << 36) + 12'345}) {
    timer_wheel wheel;
    wheel.advance(now);
    std::vector<noted*> fired;
    noted near{fired}, two{fired}, ten{fired}, most{fired};
    wheel.add(near, now + 5);
    wheel.add(two, now + 2 * years);
    wheel.add(ten, now + 10 * years);
    wheel.add(most, INT64_MAX / 1'000'000);
    BOOST_TEST(wheel.advance(now + 5) == 1u);
    BOOST_TEST(wheel.advance(now + 2 * years - 1) == 0u);
    BOOST_TEST(wheel.advance(now + 2 * years) == 1u);
    BOOST_TEST(wheel.advance(now + 10 * years - 1) == 0u);
    BOOST_TEST(wheel.advance(now + 10 * years) == 1u);
    BOOST_TEST(fired.back() == &ten);
    BOOST_TEST(wheel.remove(most));
    BOOST_TEST(wheel.size() == 0u);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(random_times)

BOOST_AUTO_TEST_CASE(behave_like_a_multimap) {
  TEST_WITH_SEED() {
    test::random_source random;
    for (int round = 0; round < 30; ++round) {
      timer_wheel wheel;
      std::uint64_t now = random.below(3) == 0 ? 0 : random.below(1ull << 37);
      wheel.advance(now);
      std::vector<noted*> fired;
      std::multimap<std::uint64_t, noted*> model;
      std::vector<std::unique_ptr<noted>> nodes;
      for (int step = 0; step < 3'000; ++step) {
        auto what = random.below(10);
        if (what < 5) {
          auto n = std::make_unique<noted>(fired);
          auto due = now + random.below(1ull << random.below(40));
          wheel.add(*n, due);
          model.emplace(due, n.get());
          nodes.push_back(std::move(n));
        } else if (what < 7 && !model.empty()) {
          auto i = model.begin();
          std::advance(i,
                       random.below(std::min<std::size_t>(model.size(), 20)));
          BOOST_REQUIRE(wheel.remove(*i->second));
          model.erase(i);
        } else {
          now += random.below(1ull << random.below(33));
          fired.clear();
          auto n = wheel.advance(now);
          BOOST_REQUIRE(n == fired.size());
          std::size_t expected = 0;
          while (!model.empty() && model.begin()->first <= now) {
            BOOST_REQUIRE(!model.begin()->second->linked);
            model.erase(model.begin());
            ++expected;
          }
          BOOST_REQUIRE(n == expected);
          for (auto* f : fired)
            BOOST_REQUIRE(f->due <= now);
        }
        BOOST_REQUIRE(wheel.size() == model.size());
        auto event = wheel.next_event();
        if (model.empty())
          BOOST_REQUIRE(event == timer_wheel::never);
        else // may come early, to look again; never late
          BOOST_REQUIRE(event <= std::max(now, model.begin()->first));
      }
      for (auto& [due, n] : model)
        BOOST_REQUIRE(wheel.remove(*n));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
