// SPDX-License-Identifier: MIT
// actors_process: what actors in other processes share with those of this one,
// and what comes back when such a process dies.
#define BOOST_TEST_MODULE actors_process
#define BOOST_TEST_NO_MAIN
#include "support/fixture.hpp"

#include <csignal>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

#include "troupe/serialize.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

struct entry {
  int key = 0;
  std::string text;
};

// Can't travel if it is bad.
struct parcel {
  int value = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(value);
    if (value < 0)
      throw std::domain_error{"a bad parcel"};
  }
};

// Lives in a process of its own; does with handles what it is told.
class clerk : public troupe::actor {
public:
  void die() { ::raise(SIGKILL); }

  // -- guarded ----------------------------------------------------------------

  troupe::task<> count(troupe::guarded<long> total, int n) {
    for (int i = 0; i < n; ++i)
      co_await total.with([](long& x) { ++x; });
  }
  troupe::task<std::string> fill(troupe::guarded<std::vector<entry>> list) {
    entry mine{7, "seven"};
    co_await list.with([](auto& v, entry e) { v.push_back(std::move(e)); },
                       mine);
    auto all = co_await list.copy();
    co_return all.at(0).text;
  }
  troupe::task<> fail(troupe::guarded<long> total) {
    co_await total.with([](long&) { throw std::out_of_range{"no"}; });
  }
  troupe::task<> capture(troupe::guarded<long> total, int n) {
    co_await total.with([n](long& x) { x += n; });
  }

  // -- queue ------------------------------------------------------------------

  troupe::task<> put(troupe::queue<int> q, int from, int to) {
    for (int i = from; i < to; ++i)
      co_await q.put(i);
  }
  troupe::task<int> put_parcels(troupe::queue<parcel> q) {
    int refused = 0;
    for (int i : {1, -1, 2, -1, 3})
      try {
        parcel p{i};
        co_await q.put(p);
      } catch (const std::domain_error&) {
        ++refused;
      }
    co_return refused;
  }
  troupe::task<long> sum(troupe::queue<int> q) {
    long total = 0;
    while (true) {
      auto item = co_await q.take();
      if (!item)
        break;
      total += **item;
    }
    co_return total;
  }
  troupe::task<long> sum_of_batches(troupe::queue<int> q) {
    long total = 0;
    while (true) {
      auto some = co_await q.take_some(16);
      if (!some)
        break;
      for (auto x : some)
        total += x;
    }
    co_return total;
  }
  troupe::task<int> hold_item(troupe::queue<int> q) {
    item_ = co_await q.take();
    co_return **item_;
  }
  troupe::task<int> hold_batch(troupe::queue<int> q, int at) {
    batch_ = co_await q.take_some(10);
    int x = 0;
    for (int i = 0; i < at; ++i)
      x = *batch_.next();
    co_return x;
  }
  std::size_t drop_batch() {
    auto left = batch_.size();
    batch_ = {};
    return left;
  }
  troupe::task<> throw_with_item(troupe::queue<int> q) {
    auto item = co_await q.take();
    throw std::runtime_error{"not this one"};
  }

  // -- the others -------------------------------------------------------------

  troupe::task<> acquire(troupe::semaphore s, int n) {
    mine_ = co_await s.acquire(static_cast<std::size_t>(n));
  }
  void release() { mine_.release(); }
  troupe::lease hand_over() { return std::move(mine_); }
  void keep(troupe::lease l) { mine_ = std::move(l); }

  troupe::task<> signal(troupe::event ready, troupe::event go,
                        troupe::latch done) {
    (void)co_await ready.set();
    co_await go.wait();
    co_await done.count_down();
  }
  troupe::task<> meet(troupe::barrier b) { (void)co_await b.arrive_and_wait(); }
  troupe::task<int> echo(troupe::pipe_end<int> end) {
    int n = 0;
    while (true) {
      auto x = co_await end.receive();
      if (!x)
        break;
      co_await end.send(*x + 1);
      ++n;
    }
    co_return n;
  }
  troupe::task<int> listen(troupe::topic<int> t, troupe::event ready) {
    auto mine = co_await t.subscribe();
    (void)co_await ready.set();
    co_return co_await total(std::move(mine));
  }
  troupe::task<int> total(troupe::subscription<int> mine) {
    int sum = 0;
    while (true) {
      auto x = co_await mine.next();
      if (!x)
        break;
      sum += *x;
    }
    co_return sum;
  }

private:
  std::optional<troupe::item<int>> item_;
  troupe::batch<int> batch_;
  troupe::lease mine_;
};

// Two clerks, each in a process of its own.
struct office {
  live_system live;
  troupe::ref<clerk> a = live.sys.spawn<clerk>(troupe::in_process{});
  troupe::ref<clerk> b = live.sys.spawn<clerk>(troupe::in_process{});
};

} // namespace

BOOST_AUTO_TEST_SUITE(in_another_process)

BOOST_FIXTURE_TEST_CASE(smoke, office) {
  troupe::guarded<long> total{live.sys, 0L};
  auto x = a.ask<&clerk::count>(total, 500);
  auto y = b.ask<&clerk::count>(total, 500);
  x.get();
  y.get();
  BOOST_TEST(total.copy().get() == 1000);
}

BOOST_FIXTURE_TEST_CASE(a_guarded_value_takes_functions_by_name, office) {
  troupe::guarded<std::vector<entry>> list{live.sys};
  BOOST_TEST(a.ask<&clerk::fill>(list).get() == "seven");
  BOOST_TEST(list.with([](auto& v) { return v.at(0).key; }).get() == 7);
  troupe::guarded<long> total{live.sys, 0L};
  BOOST_CHECK_THROW(a.ask<&clerk::fail>(total).get(), std::out_of_range);
  BOOST_CHECK_THROW(a.ask<&clerk::capture>(total, 3).get(),
                    troupe::not_sendable);
  BOOST_TEST(total.copy().get() == 0);
}

BOOST_FIXTURE_TEST_CASE(a_handle_may_come_again_while_it_goes, office) {
  troupe::guarded<long> total{live.sys, 0L};
  for (int i = 1; i <= 500; ++i)
    BOOST_REQUIRE_NO_THROW(a.ask<&clerk::count>(total, 1).get());
  BOOST_TEST(total.copy().get() == 500);
}

BOOST_FIXTURE_TEST_CASE(a_queue_has_producers_and_consumers, office) {
  troupe::queue<int> q{live.sys, {.capacity = 8}};
  auto other = live.sys.spawn<clerk>(troupe::in_process{});
  auto puts = a.ask<&clerk::put>(q, 0, 300);
  auto one = b.ask<&clerk::sum>(q);
  auto some = other.ask<&clerk::sum_of_batches>(q);
  for (int i = 300; i < 600; ++i)
    q.put(i).get();
  puts.get();
  q.close().get();
  q.join().get();
  BOOST_TEST(one.get() + some.get() == 600 * 599 / 2);
  auto state = q.state().get();
  BOOST_TEST(state.acknowledged == 600u);
  BOOST_TEST(state.in_hands == 0u);
}

BOOST_FIXTURE_TEST_CASE(a74_an_item_that_cant_travel_stops_no_later_ones,
                        office) {
  troupe::queue<parcel> q{live.sys};
  BOOST_TEST(a.ask<&clerk::put_parcels>(q).get() == 2);
  BOOST_TEST(q.state().get().queued == 3u);
  for (int i : {1, 2, 3})
    BOOST_TEST((*q.take().get())->value == i);
}

BOOST_FIXTURE_TEST_CASE(an_exception_gives_the_item_back, office) {
  troupe::queue<int> q{live.sys};
  q.put(5).get();
  BOOST_CHECK_THROW(a.ask<&clerk::throw_with_item>(q).get(),
                    std::runtime_error);
  auto item = q.take().get();
  BOOST_TEST(**item == 5);
  BOOST_TEST(item->attempts() == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_lease_is_returned_and_handed_on, office) {
  troupe::semaphore s{live.sys, {.permits = 3}};
  a.ask<&clerk::acquire>(s, 2).get();
  BOOST_TEST(s.available().get() == 1u);
  auto lease = a.ask<&clerk::hand_over>().get();
  BOOST_TEST(lease.permits() == 2u);
  BOOST_CHECK_THROW(a.ask<&clerk::release>().get(), troupe::bad_argument);
  BOOST_TEST(s.available().get() == 1u);
  b.ask<&clerk::keep>(std::move(lease)).get();
  BOOST_TEST(s.available().get() == 1u);
  b.ask<&clerk::release>().get();
  BOOST_TEST(eventually(5s, [&] { return s.available().get() == 3; }));
}

BOOST_FIXTURE_TEST_CASE(events_latches_and_barriers_work, office) {
  troupe::event ready{live.sys}, go{live.sys};
  troupe::latch done{live.sys, 1};
  auto f = a.ask<&clerk::signal>(ready, go, done);
  ready.wait().get();
  BOOST_TEST(done.pending().get() == 1u);
  go.set().get();
  done.wait().get();
  f.get();
  troupe::barrier meet{live.sys, 3};
  auto x = a.ask<&clerk::meet>(meet), y = b.ask<&clerk::meet>(meet);
  (void)meet.arrive_and_wait().get();
  x.get();
  y.get();
  BOOST_TEST(meet.state().get().rounds == 1u);
}

BOOST_FIXTURE_TEST_CASE(a_pipe_has_an_end, office) {
  auto [here, there] = troupe::pipe<int>{live.sys, {.capacity = 2}};
  auto n = a.ask<&clerk::echo>(there);
  for (int i = 0; i < 100; ++i) {
    here.send(i).get();
    BOOST_TEST_REQUIRE(*here.receive().get() == i + 1);
  }
  here.close().get();
  BOOST_TEST(n.get() == 100);
}

BOOST_FIXTURE_TEST_CASE(a_topic_has_subscribers, office) {
  troupe::topic<int> t{live.sys};
  troupe::event ready{live.sys};
  auto x = a.ask<&clerk::listen>(t, ready);
  auto y = b.ask<&clerk::total>(t.subscribe().get());
  ready.wait().get();
  for (int i = 1; i <= 10; ++i)
    BOOST_TEST(t.publish(i).get() == 2u);
  t.close().get();
  BOOST_TEST(x.get() == 55);
  BOOST_TEST(y.get() == 55);
}

BOOST_FIXTURE_TEST_CASE(a_handle_keeps_its_deadline, office) {
  troupe::queue<int> q{live.sys};
  BOOST_CHECK_THROW(a.ask<&clerk::hold_item>(q.within(20ms)).get(),
                    troupe::timeout);
  BOOST_TEST(eventually(5s, [&] { return q.state().get().takers == 0; }));
}

BOOST_FIXTURE_TEST_CASE(a_handle_to_nothing_is_an_error, office) {
  BOOST_CHECK_THROW(a.ask<&clerk::hold_item>(troupe::queue<int>{}).get(),
                    troupe::bad_argument);
  BOOST_CHECK_THROW(a.ask<&clerk::echo>(troupe::pipe_end<int>{}).get(),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(a_task_of_a_pool_has_no_handles) {
  live_system live;
  troupe::semaphore s{live.sys};
  troupe::process_pool pool{live.sys, {.workers = 1, .spares = 0}};
  BOOST_CHECK_THROW(
    (void)pool.submit([](troupe::semaphore x) { return x.id(); }, s),
    troupe::not_sendable);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_death_of_a_process)

BOOST_FIXTURE_TEST_CASE(returns_its_permits_to_the_next_waiter, office) {
  troupe::semaphore s{live.sys, {.permits = 2}};
  a.ask<&clerk::acquire>(s, 2).get();
  auto next = s.acquire(2);
  BOOST_TEST(!next.wait_for(5ms));
  a.tell<&clerk::die>();
  BOOST_TEST(next.get().permits() == 2u);
  BOOST_TEST(eventually(5s, [&] { return s.available().get() == 2; }));
}

BOOST_FIXTURE_TEST_CASE(returns_no_permits_that_it_has_handed_over, office) {
  troupe::semaphore s{live.sys};
  a.ask<&clerk::acquire>(s, 1).get();
  auto lease = a.ask<&clerk::hand_over>().get();
  a.tell<&clerk::die>();
  BOOST_TEST(eventually(5s, [&] { return !a.is_alive(); }));
  BOOST_TEST(s.available().get() == 0u);
  lease.release();
  BOOST_TEST(s.available().get() == 1u);
}

BOOST_FIXTURE_TEST_CASE(gives_its_item_back, office) {
  troupe::queue<int> q{live.sys};
  q.put(1).get();
  BOOST_TEST(a.ask<&clerk::hold_item>(q).get() == 1);
  auto next = q.take();
  BOOST_TEST(!next.wait_for(5ms));
  a.tell<&clerk::die>();
  auto item = next.get();
  BOOST_TEST(**item == 1);
  BOOST_TEST(item->attempts() == 1u);
}

BOOST_FIXTURE_TEST_CASE(gives_back_what_it_had_not_done_of_a_batch, office) {
  troupe::queue<int> q{live.sys};
  q.put_all({1, 2, 3, 4, 5}).get();
  BOOST_TEST(a.ask<&clerk::hold_batch>(q, 3).get() == 3); // it is at the third
  a.tell<&clerk::die>();
  BOOST_TEST(eventually(5s, [&] { return q.size().get() == 3; }));
  for (int i = 3; i <= 5; ++i) {
    auto item = q.take().get();
    BOOST_TEST(**item == i);
    BOOST_TEST(item->attempts() == (i == 3 ? 1u : 0u));
  }
  BOOST_TEST(eventually(5s, [&] { return q.state().get().acknowledged == 5; }));
}

BOOST_FIXTURE_TEST_CASE(takes_nothing_along_that_it_waited_for, office) {
  troupe::queue<int> q{live.sys};
  troupe::semaphore s{live.sys};
  auto lease = s.acquire().get();
  auto x = a.ask<&clerk::hold_item>(q);
  auto y = b.ask<&clerk::acquire>(s, 1);
  BOOST_TEST(eventually(5s, [&] { return q.state().get().takers == 1; }));
  BOOST_TEST(eventually(5s, [&] { return s.state().get().waiting == 1; }));
  a.kill();
  b.kill();
  BOOST_CHECK_THROW(x.get(), troupe::error);
  BOOST_CHECK_THROW(y.get(), troupe::error);
  BOOST_TEST(eventually(5s, [&] { return q.state().get().takers == 0; }));
  BOOST_TEST(eventually(5s, [&] { return s.state().get().waiting == 0; }));
  q.put(4).get();
  BOOST_TEST(q.take().get()->attempts() == 0u);
}

BOOST_FIXTURE_TEST_CASE(breaks_the_barrier_at_which_it_waits, office) {
  troupe::barrier meet{live.sys, 3};
  auto x = a.ask<&clerk::meet>(meet);
  BOOST_TEST(eventually(5s, [&] { return meet.state().get().waiting == 1; }));
  auto mine = meet.arrive_and_wait();
  a.kill();
  BOOST_CHECK_THROW(x.get(), troupe::error);
  BOOST_TEST(eventually(5s, [&] { return meet.state().get().is_broken; }));
  BOOST_CHECK_THROW((void)mine.get(), troupe::broken_barrier);
}

BOOST_FIXTURE_TEST_CASE(is_told_to_the_other_end_of_a_pipe, office) {
  auto [here, there] = troupe::pipe<int>{live.sys};
  auto n = a.ask<&clerk::echo>(std::move(there));
  here.send(1).get();
  BOOST_TEST(*here.receive().get() == 2);
  there = {};
  auto waits = here.receive();
  a.tell<&clerk::die>();
  a.kill();
  BOOST_CHECK_THROW((void)n.get(), troupe::error);
  BOOST_CHECK_THROW((void)waits.get(), troupe::actor_stopped);
  BOOST_CHECK_THROW(here.send(1).get(), troupe::closed);
}

BOOST_FIXTURE_TEST_CASE(ends_its_subscription, office) {
  troupe::topic<int> t{live.sys};
  auto sum = a.ask<&clerk::total>(t.subscribe().get());
  BOOST_TEST(t.publish(1).get() == 1u);
  a.kill();
  BOOST_CHECK_THROW((void)sum.get(), troupe::error);
  BOOST_TEST(eventually(5s, [&] { return t.subscribers().get() == 0; }));
}

BOOST_FIXTURE_TEST_CASE(is_not_the_end_of_a_batch_that_was_dropped, office) {
  troupe::queue<int> q{live.sys};
  q.put_all({1, 2, 3}).get();
  BOOST_TEST(a.ask<&clerk::hold_batch>(q, 1).get() == 1);
  BOOST_TEST(a.ask<&clerk::drop_batch>().get() == 2u);
  BOOST_TEST(eventually(5s, [&] {
    auto s = q.state().get();
    return s.acknowledged == 1 && s.queued == 2 && s.in_hands == 0;
  }));
}

BOOST_AUTO_TEST_SUITE_END()

int main(int argc, char** argv) {
  return troupe::run(argc, argv, [](troupe::system&, std::span<char*> args) {
    return boost::unit_test::unit_test_main(
      &init_unit_test, static_cast<int>(args.size()), args.data());
  });
}
