// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE pipe
#include "support/fixture.hpp"

#include <memory>

#include "troupe/pipe.hpp"
#include "troupe/topic.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

class peer {
public:
  explicit peer(troupe::pipe_end<int> end) : end_(std::move(end)) {}

  troupe::task<int> echo() {
    int n = 0;
    while (true) {
      auto x = co_await end_.receive();
      if (!x)
        break;
      co_await end_.send(*x + 1);
      ++n;
    }
    co_return n;
  }
  void nothing() {}

private:
  troupe::pipe_end<int> end_;
};

class reader {
public:
  explicit reader(troupe::subscription<int> s) : mine_(std::move(s)) {}

  troupe::task<long> sum() {
    long total = 0;
    while (true) {
      auto x = co_await mine_.next();
      if (!x)
        break;
      total += *x;
    }
    co_return total;
  }

private:
  troupe::subscription<int> mine_;
};

// Waits for one value; with one worker, `ask_and_go` leaves before it is heard.
class taker {
public:
  explicit taker(troupe::pipe_end<int> end) : end_(std::move(end)) {}
  explicit taker(troupe::subscription<int> s) : mine_(std::move(s)) {}

  troupe::task<int> take() { co_return *co_await end_.receive(); }
  void ask_and_go() { (void)end_.receive(); }
  void ask_topic_and_go() { (void)mine_.next(); }
  troupe::task<int> next() { co_return *co_await mine_.next(); }

private:
  troupe::pipe_end<int> end_;
  troupe::subscription<int> mine_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  a.send(1).get();
  b.send(2).get();
  BOOST_TEST(*b.receive().get() == 1);
  BOOST_TEST(*a.receive().get() == 2);
  troupe::topic<int> t{live.sys};
  auto mine = t.subscribe().get();
  BOOST_TEST(t.publish(7).get() == 1u);
  BOOST_TEST(*mine.next().get() == 7);
}

BOOST_AUTO_TEST_SUITE(a_pipe)

BOOST_AUTO_TEST_CASE(of_capacity_0_is_refused) {
  live_system live;
  BOOST_CHECK_THROW((troupe::pipe<int>{live.sys, {.capacity = 0}}),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(holds_back_a_sender_that_is_too_fast) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys, {.capacity = 2}};
  a.send(1).get();
  a.send(2).get();
  BOOST_TEST(!a.try_send(9).get());
  auto third = a.send(3);
  BOOST_CHECK_THROW(a.within(2ms).send(4).get(), troupe::timeout);
  for (int i = 1; i <= 3; ++i)
    BOOST_TEST(*b.receive().get() == i);
  third.get();
  BOOST_CHECK_THROW((void)b.within(2ms).receive().get(), troupe::timeout);
  a.send(5).get();
  BOOST_TEST(*b.receive().get() == 5);
}

BOOST_AUTO_TEST_CASE(ends_for_the_receiver_when_the_sender_closes) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  a.send(1).get();
  a.close().get();
  a.close().get();
  BOOST_TEST(*b.receive().get() == 1);
  BOOST_TEST(!b.receive().get().has_value());
  BOOST_CHECK_THROW(a.send(2).get(), troupe::closed);
  BOOST_CHECK_THROW(b.send(2).get(), troupe::closed);
}

BOOST_AUTO_TEST_CASE(says_that_the_peer_has_died_instead_of_hanging) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  auto other = live.sys.spawn<peer>(std::move(b));
  auto echo = other.ask<&peer::echo>();
  a.send(1).get();
  BOOST_TEST(*a.receive().get() == 2);
  auto waits = a.receive();
  other.kill();
  BOOST_CHECK_THROW((void)echo.get(), troupe::actor_stopped);
  BOOST_CHECK_THROW((void)waits.get(), troupe::actor_stopped);
  BOOST_CHECK_THROW(a.send(2).get(), troupe::closed);
}

BOOST_AUTO_TEST_CASE(carries_many_both_ways) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys, {.capacity = 4}};
  auto echo = live.sys.spawn<peer>(std::move(b)).ask<&peer::echo>();
  std::thread sender{[end = a] {
    for (int i = 0; i < 3000; ++i)
      end.send(i).get();
  }};
  for (int i = 0; i < 3000; ++i)
    BOOST_TEST_REQUIRE(*a.receive().get() == i + 1);
  sender.join();
  a.close().get();
  BOOST_TEST(echo.get() == 3000);
}

BOOST_AUTO_TEST_CASE(close_settles_ten_thousand_waiters_on_both_ends) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys, {.capacity = 1}};
  std::vector<troupe::future<std::optional<int>>> receivers;
  std::vector<troupe::future<void>> senders;
  for (int i = 0; i < 5'000; ++i) {
    receivers.push_back(a.receive());
    senders.push_back(a.send(i));
  }
  b.close().get();
  std::size_t ended = 0, failed = 0;
  for (auto& f : receivers)
    ended += f.get().has_value() ? 0 : 1;
  for (auto& f : senders)
    try {
      f.get();
    } catch (const troupe::closed&) {
      ++failed;
    }
  BOOST_TEST(ended == receivers.size());
  BOOST_TEST(failed == senders.size() - 1); // one had its place
}

BOOST_AUTO_TEST_CASE(gives_nothing_to_a_receive_that_nobody_waits_for) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  BOOST_CHECK_THROW((void)b.receive().get_for(0ms), troupe::timeout);
  a.send(1).get();
  a.send(2).get();
  BOOST_TEST(*b.receive().get() == 1);
  BOOST_TEST(*b.receive().get() == 2);
}

BOOST_AUTO_TEST_CASE(gives_a_value_to_a_future_that_was_kept) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  auto kept = b.receive();
  BOOST_CHECK_THROW((void)kept.get_for(0ms), troupe::timeout);
  a.send(1).get();
  a.send(2).get();
  BOOST_TEST(*kept.get() == 1);
  BOOST_TEST(*b.receive().get() == 2);
}

BOOST_AUTO_TEST_CASE(gives_nothing_to_a_receiver_that_was_killed) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys};
  auto t = live.sys.spawn<taker>(b);
  auto taken = t.ask<&taker::take>();
  BOOST_CHECK_THROW((void)taken.get_for(5ms), troupe::timeout);
  t.kill();
  BOOST_CHECK_THROW((void)taken.get(), troupe::actor_stopped);
  a.send(1).get();
  BOOST_TEST(*b.receive().get() == 1);
}

BOOST_AUTO_TEST_CASE(keeps_what_waits_from_a_receive_that_came_too_late) {
  live_system live{{.workers = 1}};
  auto [a, b] = troupe::pipe<int>{live.sys};
  a.send(1).get();
  auto t = live.sys.spawn<taker>(b);
  t.ask<&taker::ask_and_go>().get();
  BOOST_TEST(*b.receive().get() == 1);
}

BOOST_AUTO_TEST_CASE(sends_what_nobody_waits_for) {
  live_system live;
  auto [a, b] = troupe::pipe<int>{live.sys, {.capacity = 1}};
  for (int i = 0; i < 100; ++i)
    (void)a.send(i);
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(*b.receive().get() == i);
}

BOOST_AUTO_TEST_CASE(carries_values_that_only_move) {
  live_system live;
  auto [a, b] = troupe::pipe<std::unique_ptr<int>>{live.sys};
  a.send(std::make_unique<int>(3)).get();
  BOOST_TEST(**b.receive().get() == 3);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_topic)

BOOST_AUTO_TEST_CASE(gives_all_to_all_in_order) {
  live_system live;
  troupe::topic<int> t{live.sys};
  std::vector<troupe::future<long>> sums;
  for (int i = 0; i < 4; ++i)
    sums.push_back(
      live.sys.spawn<reader>(t.subscribe({.full = troupe::wait}).get())
        .ask<&reader::sum>());
  for (int i = 1; i <= 1000; ++i)
    BOOST_TEST(t.publish(i).get() == 4u);
  t.close().get();
  for (auto& f : sums)
    BOOST_TEST(f.get() == 500500);
  BOOST_CHECK_THROW((void)t.publish(1).get(), troupe::closed);
  BOOST_CHECK_THROW((void)t.subscribe().get(), troupe::closed);
}

BOOST_AUTO_TEST_CASE(keeps_a_slow_subscriber_bounded_as_it_chose) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto oldest = t.subscribe({.buffer = 3}).get();
  auto newest = t.subscribe({.buffer = 3, .full = troupe::drop_newest}).get();
  auto strict = t.subscribe({.buffer = 3, .full = troupe::reject}).get();
  for (int i = 1; i <= 10; ++i)
    (void)t.publish(i).get();
  BOOST_TEST(*oldest.next().get() == 8);
  BOOST_TEST(*newest.next().get() == 1);
  BOOST_TEST(oldest.missed().get() == 7u);
  BOOST_TEST(newest.missed().get() == 7u);
  for (int i = 1; i <= 3; ++i)
    BOOST_TEST(*strict.next().get() == i);
  BOOST_CHECK_THROW((void)strict.next().get(), troupe::rejected);
}

BOOST_AUTO_TEST_CASE(holds_no_more_values_than_the_buffers_of_slow_ones) {
  live_system live;
  {
    troupe::topic<test::counted> t{live.sys};
    std::vector<troupe::subscription<test::counted>> slow;
    for (auto full : {troupe::drop_oldest, troupe::drop_newest, troupe::reject})
      slow.push_back(t.subscribe({.buffer = 10, .full = full}).get());
    for (int i = 0; i < 20'000; ++i) {
      if (i % 2 == 0)
        t.post({});
      else
        (void)t.publish({}).get();
    }
    // A message that is on its way out may be one more.
    BOOST_TEST(
      eventually(5s, [] { return test::counted::alive.load() <= 30; }));
    BOOST_TEST(slow[0].missed().get() == 19'990u);
    slow.clear();
    BOOST_TEST(eventually(5s, [] { return test::counted::alive.load() == 0; }));
  }
}

BOOST_AUTO_TEST_CASE(ends_ten_thousand_waiters_when_it_is_closed) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto mine = t.subscribe().get();
  std::vector<troupe::future<std::optional<int>>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(mine.next());
  t.close().get();
  std::size_t ended = 0;
  for (auto& f : all)
    ended += f.get().has_value() ? 0 : 1;
  BOOST_TEST(ended == all.size());
}

BOOST_AUTO_TEST_CASE(makes_the_publisher_wait_for_one_that_asks_for_it) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto slow = t.subscribe({.buffer = 1, .full = troupe::wait}).get();
  (void)t.publish(1).get();
  auto second = t.publish(2);
  BOOST_CHECK_THROW((void)t.within(2ms).publish(3).get(), troupe::timeout);
  BOOST_TEST(!second.ready());
  BOOST_TEST(*slow.next().get() == 1);
  BOOST_TEST(second.get() == 1u);
  auto third = t.publish(4);
  slow = {};
  BOOST_TEST(third.get() == 0u);
}

BOOST_AUTO_TEST_CASE(gives_nothing_to_a_next_that_nobody_waits_for) {
  live_system live{{.workers = 1}};
  troupe::topic<int> t{live.sys};
  auto mine = t.subscribe().get();
  BOOST_CHECK_THROW((void)mine.next().get_for(0ms), troupe::timeout);
  auto kept = mine.next();
  BOOST_CHECK_THROW((void)kept.get_for(0ms), troupe::timeout);
  for (int i = 1; i <= 3; ++i)
    (void)t.publish(i).get();
  BOOST_TEST(*kept.get() == 1);
  BOOST_TEST(*mine.next().get() == 2);
  auto late = live.sys.spawn<taker>(std::move(mine));
  late.ask<&taker::ask_topic_and_go>().get();
  BOOST_TEST(late.ask<&taker::next>().get() == 3);
}

BOOST_AUTO_TEST_CASE(puts_posts_behind_publishers_that_wait) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto slow = t.subscribe({.buffer = 1, .full = troupe::wait}).get();
  auto fast = t.subscribe({.buffer = 10}).get();
  (void)t.publish(1).get();
  auto second = t.publish(2);
  t.post(3);
  auto fourth = t.publish(4);
  BOOST_TEST(*slow.next().get() == 1);
  (void)second.get();
  BOOST_TEST(*slow.next().get() == 2);
  (void)fourth.get();
  BOOST_TEST(slow.missed().get() == 1u);
  for (int i = 1; i <= 4; ++i)
    BOOST_TEST(*fast.next().get() == i);
}

BOOST_AUTO_TEST_CASE(lets_posts_go_on_when_the_publisher_before_gives_up) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto slow = t.subscribe({.buffer = 1, .full = troupe::wait}).get();
  auto fast = t.subscribe({.buffer = 2000}).get();
  (void)t.publish(1).get();
  auto second = t.publish(2);
  for (int i = 0; i < 1100; ++i)
    t.post(3);
  BOOST_TEST(fast.missed().get() == 1100u - 1024u); // so many may wait
  BOOST_TEST(*fast.next().get() == 1);
  BOOST_TEST(second.cancel());
  BOOST_TEST(*fast.next().get() == 3);
  t.close().get();
}

BOOST_AUTO_TEST_CASE(forgets_a_subscriber_that_dies) {
  live_system live;
  troupe::topic<int> t{live.sys};
  auto r = live.sys.spawn<reader>(t.subscribe().get());
  BOOST_TEST(t.subscribers().get() == 1u);
  r.kill();
  BOOST_TEST(eventually(5s, [&] { return t.subscribers().get() == 0; }));
  BOOST_CHECK_THROW((void)t.subscribe({.buffer = 0}).get(),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()
