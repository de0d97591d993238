// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE queue
#include "support/fixture.hpp"

#include <atomic>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

#include "troupe/latch.hpp"
#include "troupe/queue.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

class consumer {
public:
  static inline std::atomic<int> holding{0};

  explicit consumer(troupe::queue<int> q) : queue_(q) {}

  troupe::task<long> run() {
    long sum = 0;
    for (;;) {
      auto item = co_await queue_.take();
      if (!item)
        break;
      sum += **item;
    }
    co_return sum;
  }

  troupe::task<> hold_until(troupe::future<void> end) {
    auto item = co_await queue_.take();
    ++holding;
    co_await end;
  }

private:
  troupe::queue<int> queue_;
};

class producer {
public:
  explicit producer(troupe::queue<int> q) : queue_(q) {}

  troupe::task<> run(int from, int to) {
    for (int i = from; i < to; ++i)
      co_await queue_.put(i);
  }

private:
  troupe::queue<int> queue_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 100}};
  for (int i = 1; i <= 10; ++i)
    q.put(i).get();
  q.close().get();
  int sum = 0;
  while (auto item = q.take().get())
    sum += **item;
  BOOST_TEST(sum == 55);
  q.join().get();
}

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(a_negative_capacity_is_refused_as_it_was_written) {
  live_system live;
  auto text = test::text_thrown<troupe::bad_argument>([&] {
    troupe::queue<int>{live.sys, {.capacity = static_cast<std::size_t>(-1)}};
  });
  BOOST_TEST(text == "queue: capacity is -1; the least is 1, the most 2^62");
}

BOOST_AUTO_TEST_CASE(capacity_0_is_refused) {
  live_system live;
  BOOST_CHECK_THROW((troupe::queue<int>{live.sys, {.capacity = 0}}),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(a72_a_full_queue_makes_put_wait_and_try_put_fail) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 2}};
  q.put(1).get();
  q.put(2).get();
  auto third = q.put(3);
  BOOST_TEST(!q.try_put(4).get());
  BOOST_TEST(!third.ready());
  BOOST_TEST(**q.take().get() == 1);
  third.get();
  BOOST_TEST(**q.take().get() == 2);
  BOOST_TEST(**q.take().get() == 3);
  BOOST_TEST(!q.try_take().get().has_value());
}

BOOST_AUTO_TEST_CASE(put_all_may_be_more_than_the_capacity) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 4}};
  std::vector<int> many(100);
  std::iota(many.begin(), many.end(), 0);
  auto all = q.put_all(many);
  auto later = q.put(100);
  for (int i = 0; i <= 100; ++i) {
    auto item = q.take().get();
    BOOST_TEST(**item == i);
  }
  all.get();
  later.get();
  q.put_all({}).get();
}

BOOST_AUTO_TEST_CASE(a72_a_put_that_times_out_is_not_in) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 1}};
  q.put(1).get();
  BOOST_CHECK_THROW(q.within(5ms).put(2).get(), troupe::timeout);
  auto third = q.put(3);
  BOOST_TEST(**q.take().get() == 1);
  third.get();
  BOOST_TEST(**q.take().get() == 3);
  BOOST_TEST(q.size().get() == 0u);
}

BOOST_AUTO_TEST_CASE(a_take_that_times_out_loses_nothing_and_keeps_the_order) {
  live_system live;
  troupe::queue<int> q{live.sys};
  for (int i = 0; i < 50; ++i)
    BOOST_CHECK_THROW(q.within(1ms).take().get(), troupe::timeout);
  auto gone = q.take();
  BOOST_TEST(gone.cancel());
  for (int i = 0; i < 10; ++i)
    q.put(i).get();
  for (int i = 0; i < 10; ++i)
    BOOST_TEST(**q.take().get() == i);
}

BOOST_AUTO_TEST_CASE(takers_that_gave_up_do_not_pile_up) {
  live_system live;
  troupe::queue<int> q{live.sys};
  for (int i = 0; i < 1000; ++i) {
    auto gone = q.take(); // cancelled once it waits, not while it is looked at
    BOOST_TEST_REQUIRE(eventually(5s, [&] { return gone.cancel(); }));
  }
  BOOST_TEST(q.state().get().takers == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(the_end)

BOOST_AUTO_TEST_CASE(a72_put_after_close_is_an_error) {
  live_system live;
  troupe::queue<int> q{live.sys};
  q.close().get();
  q.close().get();
  BOOST_CHECK_THROW(q.put(1).get(), troupe::closed);
  BOOST_CHECK_THROW((void)q.try_put(1).get(), troupe::closed);
  BOOST_CHECK_THROW(q.put_all({1}).get(), troupe::closed);
}

BOOST_AUTO_TEST_CASE(close_fails_putters_and_ends_takers) {
  live_system live;
  troupe::queue<int> full{live.sys, {.capacity = 1}}, empty{live.sys};
  full.put(1).get();
  auto putter = full.put(2);
  auto taker = empty.take();
  auto some = empty.take_some(3);
  full.close().get();
  empty.close().get();
  BOOST_CHECK_THROW(putter.get(), troupe::closed);
  BOOST_TEST(!taker.get().has_value());
  BOOST_TEST(!some.get());
}

BOOST_AUTO_TEST_CASE(ten_thousand_waiters_closed_at_once) {
  live_system live;
  troupe::queue<int> q{live.sys};
  std::vector<troupe::future<std::optional<troupe::item<int>>>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(q.take());
  q.close().get();
  for (auto& f : all)
    BOOST_TEST(!f.get().has_value());
}

BOOST_AUTO_TEST_CASE(join_before_the_first_put_waits) {
  live_system live;
  troupe::queue<int> q{live.sys};
  auto joined = q.join();
  q.put(1).get();
  {
    auto item = q.take().get();
    q.close().get();
    BOOST_TEST(!joined.ready());
  }
  joined.get();
}

BOOST_AUTO_TEST_CASE(a73_join_waits_for_the_last_of_four_consumers) {
  live_system live;
  troupe::queue<int> q{live.sys};
  std::atomic<int> acknowledged{0};
  troupe::latch all_hold{live.sys, 4};
  std::vector<std::thread> consumers;
  for (int i = 0; i < 4; ++i)
    consumers.emplace_back([&] {
      bool is_first = true;
      while (auto item = q.take().get()) {
        if (std::exchange(is_first, false)) {
          all_hold.count_down().get();
          all_hold.wait().get();
        }
        ++acknowledged; // before it is acknowledged: with the item
      }
    });
  for (int i = 0; i < 10; ++i)
    q.put(i).get();
  q.close().get();
  q.join().get();
  BOOST_TEST(acknowledged.load() == 10);
  for (auto& c : consumers)
    c.join();
}

BOOST_AUTO_TEST_CASE(a_taker_may_hold_the_last_item_and_still_see_the_end) {
  live_system live;
  troupe::queue<int> q{live.sys, {.linger = 10ms}};
  q.put(1).get();
  q.close().get();
  auto item = q.take().get();
  BOOST_TEST(!q.take().get().has_value());
}

BOOST_AUTO_TEST_CASE(each_taker_lingers_for_its_own_time) {
  live_system live;
  troupe::queue<int> q{live.sys, {.linger = 200ms}};
  q.put(1).get();
  auto item = q.take().get();
  q.close().get();
  BOOST_CHECK_THROW((void)q.within(150ms).take().get(), troupe::timeout);
  auto came = std::chrono::steady_clock::now();
  auto some = q.take_some(2);
  BOOST_TEST(!q.take().get().has_value());
  BOOST_TEST(!some.get());
  BOOST_TEST((std::chrono::steady_clock::now() - came >= 200ms));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(acknowledgement)

BOOST_AUTO_TEST_CASE(a_consumer_that_throws_gives_its_item_back) {
  live_system live;
  troupe::queue<int> q{live.sys};
  q.put(1).get();
  q.put(2).get();
  try {
    auto item = q.take().get();
    throw std::runtime_error{"no"};
  } catch (const std::runtime_error&) {}
  auto again = q.take().get();
  BOOST_TEST(**again == 1);
  BOOST_TEST(again->attempts() == 1u);
}

BOOST_AUTO_TEST_CASE(what_always_fails_becomes_a_dead_letter_and_join_ends) {
  live_system live;
  troupe::queue<int> q{live.sys, {.redeliver_max = 2}};
  q.put(1).get();
  q.put(2).get();
  q.close().get();
  auto joined = q.join();
  int deliveries = 0, done = 0;
  for (;;) {
    try {
      auto item = q.take().get();
      if (!item)
        break;
      if (**item == 1) {
        ++deliveries;
        throw std::runtime_error{"poison"};
      }
      ++done;
    } catch (const std::runtime_error&) {}
  }
  joined.get();
  BOOST_TEST(deliveries == 3);
  BOOST_TEST(done == 1);
  BOOST_TEST(q.state().get().dead == 1u);
  BOOST_TEST(q.dead().get() == std::vector<int>{1});
}

BOOST_AUTO_TEST_CASE(acknowledging_twice_is_an_error) {
  live_system live;
  troupe::queue<int> q{live.sys};
  q.put(1).get();
  auto item = q.take().get();
  item->ack();
  BOOST_CHECK_THROW(item->ack(), troupe::bad_argument);
  BOOST_CHECK_THROW(item->give_back(), troupe::bad_argument);
  BOOST_TEST(q.state().get().acknowledged == 1u);
}

BOOST_AUTO_TEST_CASE(an_item_that_nobody_fetched_goes_back) {
  live_system live;
  troupe::queue<int> q{live.sys};
  {
    auto dropped = q.take();
    q.put(1).get();
    dropped.wait();
  }
  auto item = q.take().get();
  BOOST_TEST(**item == 1);
  BOOST_TEST(item->attempts() == 0u);
}

BOOST_AUTO_TEST_CASE(a_batch_gives_back_what_was_not_done) {
  live_system live;
  troupe::queue<int> q{live.sys};
  q.put_all({1, 2, 3, 4}).get();
  try {
    auto some = q.take_some(10).get();
    for (int x : some)
      if (x == 3)
        throw std::runtime_error{"no"};
  } catch (const std::runtime_error&) {}
  auto state = q.state().get();
  BOOST_TEST(state.acknowledged == 2u);
  BOOST_TEST(state.given_back == 1u);
  auto rest = q.take_some(10).get();
  std::vector<int> left;
  for (int x : rest)
    left.push_back(x);
  BOOST_TEST(left == (std::vector<int>{3, 4}));
}

BOOST_AUTO_TEST_CASE(a_stream_goes_on_until_closed_and_empty) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 8}};
  std::thread putter{[q] {
    for (int i = 1; i <= 1000; ++i)
      q.put(i).get();
    q.close().get();
  }};
  int sum = 0;
  for (int x : q.each())
    sum += x;
  putter.join();
  BOOST_TEST(sum == 500500);
  q.join().get();
}

BOOST_AUTO_TEST_CASE(move_only_dead_letters_are_taken_out) {
  live_system live;
  troupe::queue<std::unique_ptr<int>> q{live.sys, {.redeliver_max = 0}};
  q.put(std::make_unique<int>(7)).get();
  q.take().get()->give_back();
  auto dead = q.dead().get();
  BOOST_TEST_REQUIRE(dead.size() == 1u);
  BOOST_TEST(*dead[0] == 7);
}

BOOST_AUTO_TEST_CASE(move_only_items_travel) {
  live_system live;
  troupe::queue<std::unique_ptr<int>> q{live.sys};
  q.put(std::make_unique<int>(7)).get();
  BOOST_TEST(***q.take().get() == 7);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_death)

BOOST_AUTO_TEST_CASE(a_holder_that_is_killed_gives_back) {
  live_system live;
  troupe::queue<int> q{live.sys};
  auto holder = live.sys.spawn<consumer>(q);
  holder.tell<&consumer::hold_until>(troupe::promise<void>{}.get_future());
  // A broken promise fails the holder: its item comes back.
  q.put(1).get();
  auto item = q.take().get();
  BOOST_TEST(**item == 1);
  item->ack();
  troupe::promise<void> never;
  auto second = live.sys.spawn<consumer>(q);
  auto held_before = consumer::holding + 1;
  auto held = second.ask<&consumer::hold_until>(never.get_future());
  q.put(2).get();
  BOOST_TEST(eventually(5s, [&] { return consumer::holding == held_before; }));
  second.kill();
  BOOST_CHECK_THROW(held.get(), troupe::actor_stopped);
  item = q.take().get();
  BOOST_TEST(**item == 2);
  BOOST_TEST(item->attempts() == 1u);
}

BOOST_AUTO_TEST_CASE(a_waiter_that_is_killed_takes_nothing_along) {
  live_system live;
  troupe::queue<int> q{live.sys};
  auto waiter = live.sys.spawn<consumer>(q);
  auto run = waiter.ask<&consumer::run>();
  BOOST_TEST(eventually(5s, [&] { return q.state().get().takers == 1; }));
  waiter.kill();
  BOOST_CHECK_THROW(run.get(), troupe::actor_stopped);
  q.put(1).get();
  BOOST_TEST(**q.take().get() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(several_producers_and_consumers_lose_nothing) {
  live_system live;
  troupe::queue<int> q{live.sys, {.capacity = 16}};
  constexpr int each = 2000;
  std::vector<troupe::future<void>> puts;
  std::vector<troupe::future<long>> sums;
  for (int i = 0; i < 4; ++i) {
    sums.push_back(live.sys.spawn<consumer>(q).ask<&consumer::run>());
    puts.push_back(live.sys.spawn<producer>(q).ask<&producer::run>(
      i * each, (i + 1) * each));
  }
  for (auto& f : puts)
    f.get();
  q.close().get();
  long sum = 0;
  for (auto& f : sums)
    sum += f.get();
  long n = 4 * each;
  BOOST_TEST(sum == n * (n - 1) / 2);
  q.join().get();
  BOOST_TEST(q.state().get().acknowledged == static_cast<std::size_t>(n));
}
