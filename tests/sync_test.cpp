// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE sync
#include "support/fixture.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "troupe/barrier.hpp"
#include "troupe/event.hpp"
#include "troupe/latch.hpp"
#include "troupe/semaphore.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

// Holds a permit until it ends, as a member or in a waiting method.
class holder {
public:
  explicit holder(troupe::semaphore s) : semaphore_(s) {}

  troupe::task<> take() { mine_ = co_await semaphore_.acquire(); }

  troupe::task<> take_and_wait(troupe::future<void> end) {
    auto local = co_await semaphore_.acquire();
    co_await end;
  }

private:
  troupe::semaphore semaphore_;
  troupe::lease mine_;
};

// A party of a barrier.
class party {
public:
  explicit party(troupe::barrier b) : barrier_(b) {}
  troupe::task<> meet() { (void)co_await barrier_.arrive_and_wait(); }

private:
  troupe::barrier barrier_;
};

// How many of `all` fail with `closed`.
template <class T>
std::size_t closed_ones(std::vector<troupe::future<T>>& all) {
  std::size_t n = 0;
  for (auto& f : all)
    try {
      (void)f.get();
    } catch (const troupe::closed&) {
      ++n;
    }
  return n;
}

long resident_mb() {
  long size = 0, resident = 0;
  std::ifstream{"/proc/self/statm"} >> size >> resident;
  return resident * ::sysconf(_SC_PAGESIZE) >> 20;
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  troupe::semaphore s{live.sys, {.permits = 2}};
  auto a = s.acquire().get();
  BOOST_TEST(a.permits() == 1u);
  BOOST_TEST(s.available().get() == 1u);
  troupe::event e{live.sys};
  e.set().get();
  e.wait().get();
  troupe::latch l{live.sys, 1};
  l.arrive_and_wait().get();
  troupe::barrier b{live.sys, 1};
  BOOST_TEST(b.arrive_and_wait().get() == 0u);
}

BOOST_AUTO_TEST_SUITE(a_semaphore)

BOOST_AUTO_TEST_CASE(refuses_counts_that_can_not_be) {
  live_system live;
  BOOST_CHECK_THROW((troupe::semaphore{live.sys, {.permits = 0}}),
                    troupe::bad_argument);
  troupe::semaphore s{live.sys, {.permits = 2}};
  BOOST_CHECK_THROW(s.acquire(0).get(), troupe::bad_argument);
  BOOST_CHECK_THROW(s.acquire(3).get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(a76_over_release_is_an_error) {
  live_system live;
  troupe::semaphore s{live.sys};
  auto mine = s.acquire().get();
  mine.release();
  BOOST_CHECK_THROW(mine.release(), troupe::bad_argument);
  BOOST_TEST(s.available().get() == 1u);
}

BOOST_AUTO_TEST_CASE(returns_a_lease_that_goes) {
  live_system live;
  troupe::semaphore s{live.sys};
  { auto mine = s.acquire().get(); }
  auto again = s.acquire().get();
  auto moved = std::move(again);
  again = {};
  BOOST_TEST(s.available().get() == 0u);
  moved = {};
  BOOST_TEST(s.available().get() == 1u);
}

BOOST_AUTO_TEST_CASE(serves_in_order_and_does_not_pass_one_that_wants_many) {
  live_system live;
  troupe::semaphore s{live.sys, {.permits = 3}};
  auto first = s.acquire(2).get();
  auto many = s.acquire(3);
  auto few = s.acquire(1);
  BOOST_TEST(!s.try_acquire(1).get().has_value());
  BOOST_TEST(!few.ready());
  first.release();
  auto three = many.get();
  BOOST_TEST(!few.ready());
  three.release();
  BOOST_TEST(few.get().permits() == 1u);
}

BOOST_AUTO_TEST_CASE(goes_on_when_the_first_in_line_gives_up) {
  live_system live;
  troupe::semaphore s{live.sys, {.permits = 2}};
  auto one = s.acquire().get();
  auto many = s.acquire(2);
  auto few = s.acquire(1);
  BOOST_TEST(!few.ready());
  BOOST_TEST(eventually(5s, [&] { return many.cancel(); }));
  BOOST_TEST(few.get().permits() == 1u);
}

BOOST_AUTO_TEST_CASE(forgets_who_timed_out) {
  live_system live;
  troupe::semaphore s{live.sys};
  auto mine = s.acquire().get();
  BOOST_CHECK_THROW(s.within(5ms).acquire().get(), troupe::timeout);
  mine.release();
  BOOST_TEST(s.available().get() == 1u);
}

BOOST_AUTO_TEST_CASE(returns_a_dead_holders_permits_to_the_next_waiter) {
  live_system live;
  troupe::semaphore s{live.sys};
  auto a = live.sys.spawn<holder>(s);
  a.ask<&holder::take>().get();
  auto next = s.acquire();
  BOOST_TEST(!next.ready());
  a.kill();
  BOOST_TEST(next.get().permits() == 1u);
}

BOOST_AUTO_TEST_CASE(returns_the_permits_of_a_holder_killed_in_a_method) {
  live_system live;
  troupe::semaphore s{live.sys};
  troupe::promise<void> never;
  auto a = live.sys.spawn<holder>(s);
  auto f = a.ask<&holder::take_and_wait>(never.get_future());
  BOOST_TEST(eventually(5s, [&] { return s.available().get() == 0; }));
  auto next = s.acquire();
  a.kill();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
  BOOST_TEST(next.get().permits() == 1u);
}

BOOST_AUTO_TEST_CASE(drops_the_request_of_a_waiter_that_is_killed) {
  live_system live;
  troupe::semaphore s{live.sys};
  auto mine = s.acquire().get();
  auto a = live.sys.spawn<holder>(s);
  auto f = a.ask<&holder::take>();
  BOOST_TEST(eventually(5s, [&] { return s.state().get().waiting == 1; }));
  a.kill();
  BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
  mine.release();
  BOOST_TEST(eventually(5s, [&] { return s.available().get() == 1; }));
}

BOOST_AUTO_TEST_CASE(close_fails_ten_thousand_waiters) {
  live_system live;
  troupe::semaphore s{live.sys};
  auto mine = s.acquire().get();
  std::vector<troupe::future<troupe::lease>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(s.acquire());
  s.close().get();
  BOOST_TEST(closed_ones(all) == all.size());
  BOOST_CHECK_THROW(s.acquire().get(), troupe::closed);
  mine.release();
}

BOOST_AUTO_TEST_CASE(never_lends_more_than_it_has) {
  live_system live;
  troupe::semaphore s{live.sys, {.permits = 3}};
  std::atomic<int> lent{0}, most{0};
  std::vector<std::thread> all;
  for (int t = 0; t < 6; ++t)
    all.emplace_back([&, s] {
      for (int i = 0; i < 500; ++i) {
        auto mine = s.acquire().get();
        auto now = ++lent;
        for (auto seen = most.load(); now > seen;)
          if (most.compare_exchange_weak(seen, now))
            break;
        --lent;
      }
    });
  for (auto& t : all)
    t.join();
  BOOST_TEST(most <= 3);
  BOOST_TEST(eventually(5s, [&] { return s.available().get() == 3; }));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(an_event)

BOOST_AUTO_TEST_CASE(wakes_who_waits_and_lets_later_ones_through) {
  live_system live;
  troupe::event e{live.sys};
  auto a = e.wait(), b = e.wait();
  BOOST_TEST(!e.is_set().get());
  BOOST_TEST(e.set().get() == 2u);
  a.get();
  b.get();
  e.wait().get();
  e.clear().get();
  BOOST_CHECK_THROW(e.within(2ms).wait().get(), troupe::timeout);
}

BOOST_AUTO_TEST_CASE(loses_no_wake_up) {
  live_system live;
  troupe::event e{live.sys};
  std::atomic<int> rounds{0};
  std::thread waiter{[&] {
    for (int i = 0; i < 500; ++i) {
      e.wait().get();
      e.clear().get();
      ++rounds;
    }
  }};
  for (int i = 0; i < 500; ++i) {
    e.set().get();
    BOOST_TEST_REQUIRE(eventually(10s, [&] { return rounds > i; }));
  }
  waiter.join();
}

BOOST_AUTO_TEST_CASE(close_fails_waiters_and_later_calls) {
  live_system live;
  troupe::event e{live.sys};
  std::vector<troupe::future<void>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(e.wait());
  e.close().get();
  BOOST_TEST(closed_ones(all) == all.size());
  BOOST_CHECK_THROW((void)e.set().get(), troupe::closed);
  BOOST_CHECK_THROW(e.wait().get(), troupe::closed);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_latch)

BOOST_AUTO_TEST_CASE(opens_at_0_and_stays_open) {
  live_system live;
  troupe::latch l{live.sys, 3};
  auto waiter = l.wait();
  l.count_down(2).get();
  BOOST_TEST(!waiter.ready());
  l.count_down().get();
  waiter.get();
  l.wait().get();
  BOOST_TEST(l.pending().get() == 0u);
  troupe::latch open{live.sys, 0};
  open.wait().get();
}

BOOST_AUTO_TEST_CASE(counting_too_far_is_an_error) {
  live_system live;
  troupe::latch l{live.sys, 2};
  BOOST_CHECK_THROW(l.count_down(3).get(), troupe::bad_argument);
  BOOST_CHECK_THROW(l.count_down(0).get(), troupe::bad_argument);
  l.count_down(2).get();
  BOOST_CHECK_THROW(l.count_down().get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(close_fails_who_waits_but_open_stays_open) {
  live_system live;
  troupe::latch l{live.sys, 1}, open{live.sys, 0};
  auto waiter = l.wait();
  l.close().get();
  open.close().get();
  BOOST_CHECK_THROW(waiter.get(), troupe::closed);
  BOOST_CHECK_THROW(l.count_down().get(), troupe::closed);
  open.wait().get();
}

BOOST_AUTO_TEST_CASE(close_fails_ten_thousand_waiters) {
  live_system live;
  troupe::latch l{live.sys, 1};
  std::vector<troupe::future<void>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(l.wait());
  l.close().get();
  BOOST_TEST(closed_ones(all) == all.size());
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_barrier)

BOOST_AUTO_TEST_CASE(of_0_is_refused) {
  live_system live;
  BOOST_CHECK_THROW((troupe::barrier{live.sys, 0}), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(of_a_negative_number_is_refused_as_it_was_written) {
  live_system live;
  const auto minus_one = static_cast<std::size_t>(-1);
  using bad = troupe::bad_argument;
  BOOST_TEST(
    test::text_thrown<bad>([&] { troupe::barrier{live.sys, minus_one}; })
    == "barrier of -1 parties; the least is 1, the most 2^62");
  BOOST_TEST(test::text_thrown<bad>([&] { troupe::latch{live.sys, minus_one}; })
             == "latch of -1; the least is 0, the most 2^62");
  BOOST_TEST(test::text_thrown<bad>(
               [&] { troupe::semaphore{live.sys, {.permits = minus_one}}; })
             == "semaphore: -1 permits; the least is 1, the most 2^62");
}

BOOST_AUTO_TEST_CASE(breaks_when_a_party_cancels) {
  live_system live;
  troupe::barrier b{live.sys, 3};
  auto patient = b.arrive_and_wait();
  auto fickle = b.within(troupe::no_deadline).arrive_and_wait();
  BOOST_TEST(eventually(5s, [&] { return b.state().get().waiting == 2; }));
  BOOST_TEST(fickle.cancel());
  BOOST_CHECK_THROW((void)patient.get_for(10s), troupe::broken_barrier);
}

// Timers of meetings that are over would be 30 MB.
BOOST_AUTO_TEST_CASE(keeps_nothing_of_rounds_that_are_over) {
  if (test::is_sanitized)
    return; // its memory is not ours
  live_system live;
  troupe::barrier b{live.sys, 2};
  auto meet = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      auto other = b.arrive_and_wait();
      (void)b.arrive_and_wait().get();
      (void)other.get();
    }
  };
  meet(1000);
  auto before = resident_mb();
  meet(200'000);
  BOOST_TEST(resident_mb() - before < 15);
}

BOOST_AUTO_TEST_CASE(lets_nobody_past_before_all_are_there) {
  live_system live;
  constexpr std::size_t parties = 4, rounds = 200;
  troupe::barrier b{live.sys, parties};
  std::atomic<std::size_t> arrived{0};
  std::atomic<bool> early{false};
  std::vector<std::thread> all;
  for (std::size_t t = 0; t < parties; ++t)
    all.emplace_back([&, b] {
      for (std::size_t i = 1; i <= rounds; ++i) {
        ++arrived;
        if (b.arrive_and_wait().get() >= parties)
          early = true;
        if (arrived < i * parties)
          early = true;
      }
    });
  for (auto& t : all)
    t.join();
  BOOST_TEST(!early);
  BOOST_TEST(b.state().get().rounds == rounds);
}

BOOST_AUTO_TEST_CASE(a76_breaks_for_all_when_one_gives_up) {
  live_system live;
  troupe::barrier b{live.sys, 3};
  auto patient = b.arrive_and_wait();
  auto hasty = b.within(300ms).arrive_and_wait();
  BOOST_TEST(eventually(5s, [&] { return b.state().get().waiting == 2; }));
  BOOST_CHECK_THROW((void)hasty.get(), troupe::timeout);
  BOOST_CHECK_THROW((void)patient.get_for(10s), troupe::broken_barrier);
  BOOST_CHECK_THROW((void)b.arrive_and_wait().get(), troupe::broken_barrier);
  b.reset().get();
  BOOST_TEST(!b.state().get().is_broken);
  auto x = b.arrive_and_wait(), y = b.arrive_and_wait(),
       z = b.arrive_and_wait();
  BOOST_TEST(x.get() == 0u);
  BOOST_TEST(y.get() == 1u);
  BOOST_TEST(z.get() == 2u);
}

BOOST_AUTO_TEST_CASE(counts_a_party_that_dies_while_it_waits) {
  live_system live;
  troupe::barrier b{live.sys, 2};
  auto a = live.sys.spawn<party>(b);
  auto met = a.ask<&party::meet>();
  BOOST_TEST(eventually(5s, [&] { return b.state().get().waiting == 1; }));
  a.kill();
  BOOST_CHECK_THROW(met.get(), troupe::actor_stopped);
  BOOST_TEST(b.arrive_and_wait().get() == 1u);
  BOOST_TEST(b.state().get().rounds == 1u);
}

BOOST_AUTO_TEST_CASE(breaks_by_the_deadline_when_a_party_dies_before_it_came) {
  live_system live;
  troupe::barrier b{live.sys, 3};
  auto a = live.sys.spawn<party>(b);
  a.kill();
  auto patient = b.arrive_and_wait();
  auto hasty = b.within(300ms).arrive_and_wait();
  BOOST_TEST(eventually(5s, [&] { return b.state().get().waiting == 2; }));
  BOOST_CHECK_THROW((void)hasty.get(), troupe::timeout);
  BOOST_CHECK_THROW((void)patient.get_for(10s), troupe::broken_barrier);
  BOOST_TEST(b.state().get().is_broken);
}

BOOST_AUTO_TEST_CASE(close_fails_ten_thousand_waiters) {
  live_system live;
  troupe::barrier b{live.sys, 20'000};
  std::vector<troupe::future<std::size_t>> all;
  for (int i = 0; i < 10'000; ++i)
    all.push_back(b.arrive_and_wait());
  b.close().get();
  BOOST_TEST(closed_ones(all) == all.size());
}

BOOST_AUTO_TEST_CASE(a76_abort_and_close_tell_everyone) {
  live_system live;
  troupe::barrier b{live.sys, 3};
  auto a = b.arrive_and_wait();
  b.abort().get();
  BOOST_CHECK_THROW((void)a.get(), troupe::broken_barrier);
  b.reset().get();
  auto c = b.arrive_and_wait();
  b.close().get();
  BOOST_CHECK_THROW((void)c.get(), troupe::closed);
  BOOST_CHECK_THROW((void)b.arrive_and_wait().get(), troupe::closed);
}

BOOST_AUTO_TEST_SUITE_END()
