// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE deque
#include <boost/test/unit_test.hpp>

#include <atomic>
#include <deque>
#include <thread>
#include <vector>

#include "sched/deque.hpp"
#include "support/seed.hpp"

namespace {

using small_deque = troupe::sched::job_deque<int, 4>;

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  small_deque d;
  int job = 0;
  BOOST_TEST(d.push(&job));
  BOOST_TEST(d.pop() == &job);
  BOOST_TEST(d.pop() == nullptr);
}

BOOST_AUTO_TEST_SUITE(one_thread)

BOOST_AUTO_TEST_CASE(refuses_what_does_not_fit) {
  small_deque d;
  int jobs[5] = {};
  for (int i = 0; i < 4; ++i)
    BOOST_TEST(d.push(&jobs[i]));
  BOOST_TEST(!d.push(&jobs[4]));
  BOOST_TEST(d.size() == 4);
  BOOST_TEST(d.steal() == &jobs[0]);
  BOOST_TEST(d.push(&jobs[4]));
}

BOOST_AUTO_TEST_CASE(behaves_like_a_std_deque_of_capacity_4) {
  TEST_WITH_SEED() {
    test::random_source random;
    small_deque d;
    std::deque<int*> model;
    std::vector<int> jobs(64);
    for (int step = 0; step < 100'000; ++step) {
      switch (random.below(3)) {
        case 0: {
          auto* job = &jobs[random.below(jobs.size())];
          auto fits = model.size() < 4;
          BOOST_REQUIRE(d.push(job) == fits);
          if (fits)
            model.push_back(job);
          break;
        }
        case 1: {
          auto* expected = model.empty() ? nullptr : model.back();
          if (!model.empty())
            model.pop_back();
          BOOST_REQUIRE(d.pop() == expected);
          break;
        }
        default: {
          auto* expected = model.empty() ? nullptr : model.front();
          if (!model.empty())
            model.pop_front();
          BOOST_REQUIRE(d.steal() == expected);
        }
      }
      BOOST_REQUIRE(d.size() == static_cast<std::int64_t>(model.size()));
      BOOST_REQUIRE(d.empty() == model.empty());
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_owner_and_three_thieves)

BOOST_AUTO_TEST_CASE(take_every_job_once) {
  TEST_WITH_SEED() {
    test::random_source random;
    small_deque d;
    constexpr int count = 200'000;
    std::vector<std::atomic<int>> taken(count);
    std::vector<int> jobs(count);
    std::atomic<bool> done{false};
    auto take = [&](int* job) {
      taken[static_cast<std::size_t>(job - jobs.data())].fetch_add(1);
    };
    std::vector<std::thread> thieves;
    for (int i = 0; i < 3; ++i)
      thieves.emplace_back([&] {
        while (!done)
          if (auto* job = d.steal())
            take(job);
      });
    for (int i = 0; i < count;) {
      if (d.push(&jobs[static_cast<std::size_t>(i)]))
        ++i;
      if (random.chance(50))
        if (auto* job = d.pop())
          take(job);
    }
    while (auto* job = d.pop())
      take(job);
    done = true;
    for (auto& t : thieves)
      t.join();
    int wrong = 0;
    for (auto& n : taken)
      wrong += n != 1;
    BOOST_TEST(wrong == 0);
  }
}

BOOST_AUTO_TEST_SUITE_END()
