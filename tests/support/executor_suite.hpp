// SPDX-License-Identifier: MIT
// executor_suite: what every pool must do, as one suite for all backends. The
// numbers A.. and B.. are those of CPython's tests and of known bug reports:
// the list that the pools of Troupe are held to.
//
// The file that includes this says first which backends it runs, as
// `using executor_backends = std::tuple<...>` in namespace test. A backend:
//
//   struct backend {
//     using pool = ...;      // made by pool{sys, options}
//     using options = ...;   // with .workers
//     using gate = ...;      // open(); token(): what a task can take along
//     static void pass(token);   // waits until it is open
//     using tally = ...;     // value(); token()
//     static int count(token);   // adds one; what it was before
//     static std::uint64_t here();   // who runs this: a thread, a process
//     // optional: news of a cancel takes a while to get there
//     static constexpr bool is_far = true;
//   };
//
// Tasks are named functions that get all they need as arguments, so that they
// can run in another process.
#pragma once

#include "support/sanitized.hpp"

#include <algorithm>
#include <numeric>
#include <ranges>
#include <string>
#include <tuple>
#include <vector>

#include "support/fixture.hpp"

namespace test {

template <class B>
using gate_of = decltype(std::declval<typename B::gate&>().token());
template <class B>
using tally_of = decltype(std::declval<typename B::tally&>().token());

template <class B>
inline constexpr bool is_far = requires { requires B::is_far; };

// -- tasks --------------------------------------------------------------------

inline int square(int x) {
  return x * x;
}

inline int square_or_throw(int x) {
  if (x == 3)
    throw std::domain_error{"three"};
  return x * x;
}

inline int throw_timeout(int x) {
  if (x == 1)
    throw troupe::timeout{"of the task"};
  return x;
}

inline int add(int a, int b) {
  return a + b;
}

inline void throw_large(int) {
  throw std::runtime_error{std::string(100'000, 'x')};
}

struct odd_error {};

inline void throw_odd(int kind) {
  switch (kind) {
    case 0:
      throw odd_error{};
    case 1:
      throw 7;
    case 2:
      throw "text";
    default:
      throw std::runtime_error{""};
  }
}

template <class B>
int pass_then_count(gate_of<B> g, tally_of<B> t) {
  B::pass(g);
  return B::count(t);
}

template <class B>
int count_each(std::tuple<tally_of<B>, int> x) {
  B::count(std::get<0>(x));
  return std::get<1>(x);
}

template <class B>
int gated_first(std::tuple<gate_of<B>, tally_of<B>, int> x) {
  if (std::get<2>(x) == 0)
    B::pass(std::get<0>(x));
  B::count(std::get<1>(x));
  return std::get<2>(x);
}

template <class B>
std::uint64_t pass_here(gate_of<B> g) {
  B::pass(g);
  return B::here();
}

// -- what the cases share -----------------------------------------------------

/// A system, a pool of `workers` on it, and what tasks need.
template <class B>
struct bench_of {
  live_system live{{.workers = 2}};
  typename B::pool pool;
  typename B::gate gate;
  typename B::tally tally;

  explicit bench_of(std::ptrdiff_t workers = 2)
    : pool(live.sys, {.workers = workers}) {}
  ~bench_of() { gate.open(); }

  // Occupies the pool's workers until the gate opens.
  auto block(std::size_t n = 1) {
    std::vector<troupe::future<int>> all;
    for (std::size_t i = 0; i < n; ++i)
      all.push_back(pool.submit(troupe::fn<&pass_then_count<B>>, gate.token(),
                                started.token()));
    return all;
  }
  typename B::tally started;

  auto counting(int n) {
    std::vector<std::tuple<tally_of<B>, int>> all;
    for (int i = 0; i < n; ++i)
      all.emplace_back(tally.token(), i);
    return all;
  }
};

inline std::vector<int> numbers(int n) {
  std::vector<int> all(static_cast<std::size_t>(n));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

inline std::vector<int> squares(int n) {
  auto all = numbers(n);
  for (auto& x : all)
    x *= x;
  return all;
}

/// Inputs 0, 1, ..., without an end or with an error at `bad`.
class generator {
public:
  explicit generator(int* pulled, int bad = -1) : pulled_(pulled), bad_(bad) {}
  class iterator {
  public:
    explicit iterator(generator* g) : g_(g) { read(); }
    int operator*() const { return n_; }
    iterator& operator++() {
      ++n_;
      fresh_ = false;
      return *this;
    }
    // Only a look at the end makes the next element.
    friend bool operator==(iterator& i, std::default_sentinel_t) {
      i.read();
      return false;
    }

  private:
    void read() {
      if (std::exchange(fresh_, true))
        return;
      if (n_ == g_->bad_)
        throw std::out_of_range{"the input ends badly"};
      ++*g_->pulled_;
    }
    generator* g_;
    int n_ = 0;
    bool fresh_ = false;
  };
  iterator begin() { return iterator{this}; }
  std::default_sentinel_t end() const { return {}; }

private:
  int* pulled_;
  int bad_;
};

} // namespace test

using namespace std::chrono_literals;

// -- submit and map -----------------------------------------------------------

BOOST_AUTO_TEST_SUITE(submit_and_map)

BOOST_AUTO_TEST_CASE_TEMPLATE(smoke, B, test::executor_backends) {
  test::bench_of<B> t;
  BOOST_TEST(t.pool.submit(troupe::fn<&test::square>, 7).get() == 49);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a01_submit_returns_at_once, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  auto blocked = t.block();
  BOOST_TEST(!blocked[0].ready());
  BOOST_TEST(!blocked[0].wait_for(0ns));
  t.gate.open();
  BOOST_TEST(blocked[0].get() == 0);
  BOOST_TEST(blocked[0].ready());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a02_map_keeps_the_order_whatever_the_chunk, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (std::ptrdiff_t chunk : {1, 6, 40, 50})
    BOOST_TEST(
      t.pool.map(troupe::fn<&test::square>, test::numbers(40), {.chunk = chunk})
          .to_vector()
        == test::squares(40),
      boost::test_tools::per_element());
  BOOST_TEST(
    t.pool.map(troupe::fn<&test::square>, test::numbers(1000)).to_vector()
      == test::squares(1000),
    boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a02_a_chunk_below_1_is_refused_at_once, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (std::ptrdiff_t bad : {0, -1, -1000}) {
    BOOST_CHECK_THROW((void)t.pool.map(troupe::fn<&test::count_each<B>>,
                                       t.counting(9), {.chunk = bad}),
                      troupe::bad_argument);
    BOOST_CHECK_THROW((void)t.pool.map(troupe::fn<&test::count_each<B>>,
                                       t.counting(9), {.window = bad}),
                      troupe::bad_argument);
    BOOST_CHECK_THROW(t.pool.for_each(troupe::fn<&test::count_each<B>>,
                                      t.counting(9), {.chunk = bad}),
                      troupe::bad_argument);
  }
  t.pool.shutdown();
  BOOST_TEST(t.tally.value() == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a03_an_error_stands_at_its_own_position, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (std::ptrdiff_t chunk : {1, 2, 100}) {
    auto results = t.pool.map(troupe::fn<&test::square_or_throw>,
                              test::numbers(6), {.chunk = chunk});
    std::vector<int> seen;
    int errors = 0;
    for (auto i = results.begin(); i != results.end(); ++i) {
      try {
        seen.push_back(*i);
      } catch (const std::domain_error& e) {
        BOOST_TEST(e.what() == "three");
        BOOST_TEST(seen.size() == 3u);
        ++errors;
      }
    }
    BOOST_TEST(errors == 1);
    BOOST_TEST(seen == (std::vector{0, 1, 4, 16, 25}),
               boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a04_a_late_map_ends_with_timeout, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto blocked = t.block();
  auto results = t.pool.map(troupe::fn<&test::count_each<B>>, t.counting(20),
                            {.chunk = 3, .deadline = 20ms});
  auto i = results.begin();
  BOOST_CHECK_THROW((void)*i, troupe::timeout);
  BOOST_TEST((i == results.end()));
  t.gate.open();
  t.pool.shutdown();
  BOOST_TEST(t.tally.value() == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a04_what_is_done_is_given_before_the_timeout, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  std::vector<std::tuple<test::gate_of<B>, test::tally_of<B>, int>> inputs;
  for (int i : {1, 2, 0, 3})
    inputs.emplace_back(t.gate.token(), t.tally.token(), i);
  auto results = t.pool.map(troupe::fn<&test::gated_first<B>>, inputs,
                            {.chunk = 1, .deadline = 300ms});
  auto i = results.begin();
  BOOST_TEST(*i == 1);
  ++i;
  BOOST_TEST(*i == 2);
  ++i;
  BOOST_CHECK_THROW((void)*i, troupe::timeout);
  BOOST_TEST((i == results.end()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a05_a_timeout_of_the_task_is_its_own, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  auto results = t.pool.map(troupe::fn<&test::throw_timeout>, test::numbers(3),
                            {.deadline = 30s});
  auto i = results.begin();
  BOOST_TEST(*i == 0);
  ++i;
  BOOST_TEST(test::text_thrown<troupe::timeout>([&] { (void)*i; })
             == "of the task");
  ++i;
  BOOST_TEST(*i == 2);
  ++i;
  BOOST_TEST((i == results.end()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a06_letting_a_map_go_cancels_the_rest, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  {
    std::vector<std::tuple<test::gate_of<B>, test::tally_of<B>, int>> inputs;
    for (int i = 0; i < 20; ++i)
      inputs.emplace_back(t.gate.token(), t.tally.token(), i);
    auto results = t.pool.map(troupe::fn<&test::gated_first<B>>, inputs,
                              {.chunk = 5, .window = 20});
    auto moved = std::move(results);
  }
  t.gate.open();
  t.pool.shutdown();
  // The call that was running when it went ends; no other begins, or none of
  // another chunk where the news may come late.
  BOOST_TEST(t.tally.value() <= (test::is_far<B> ? 5 : 1));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a07_a_window_pulls_no_more_than_its_size, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (std::ptrdiff_t chunk : {std::ptrdiff_t{1}, troupe::auto_chunk}) {
    int pulled = 0;
    auto results = t.pool.map(troupe::fn<&test::square>,
                              test::generator{&pulled},
                              {.chunk = chunk, .window = 4});
    BOOST_TEST(pulled == 4);
    auto i = results.begin();
    for (int n = 0; n < 50; ++n, ++i) {
      BOOST_TEST(*i == n * n);
      BOOST_TEST(pulled == 4 + n);
    }
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a07_endless_input_works, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  int n = 1;
  for (int y : t.pool.map(troupe::fn<&test::square>, std::views::iota(1))) {
    BOOST_TEST_REQUIRE(y == n * n);
    if (++n > 2000)
      break;
  }
  n = 0;
  for (int y : t.pool.imap(troupe::fn<&test::square>, std::views::iota(0))) {
    BOOST_TEST_REQUIRE(y == n * n);
    if (++n > 500)
      break;
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a07_chunks_stay_whole_as_the_window_moves, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  int pulled = 0;
  auto results = t.pool.map(troupe::fn<&test::square>, test::generator{&pulled},
                            {.chunk = 10, .window = 40});
  auto i = results.begin();
  for (int n = 0; n < 1000; ++n, ++i) {
    BOOST_TEST_REQUIRE(*i == n * n);
    BOOST_TEST_REQUIRE(pulled % 10 == 0);
    BOOST_TEST_REQUIRE(pulled <= n + 40);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a08_work_begins_before_it_is_looked_at, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  auto results = t.pool.map(troupe::fn<&test::count_each<B>>, t.counting(4),
                            {.chunk = 1});
  BOOST_TEST(test::eventually(10s, [&] { return t.tally.value() == 4; }));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a09_after_a_timeout_nothing_of_it_runs, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto blocked = t.block();
  auto results = t.pool.map(troupe::fn<&test::count_each<B>>, t.counting(3),
                            {.chunk = 1, .deadline = 0ns});
  BOOST_CHECK_THROW((void)results.to_vector(), troupe::timeout);
  t.gate.open();
  BOOST_TEST(t.pool.submit(troupe::fn<&test::square>, 2).get() == 4);
  BOOST_TEST(t.tally.value() == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a10_a_size_below_1_is_refused, B,
                              test::executor_backends) {
  test::live_system live;
  using options = typename B::options;
  for (std::ptrdiff_t bad : {0, -1, -1000})
    BOOST_CHECK_THROW((typename B::pool{live.sys, options{.workers = bad}}),
                      troupe::bad_argument);
  BOOST_TEST(test::text_thrown<troupe::bad_argument>([&] {
               typename B::pool{live.sys, options{.workers = 0}};
             }).find("workers is 0")
             != std::string::npos);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a12_odd_errors_count_as_failures, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (int kind = 0; kind < 4; ++kind) {
    auto f = t.pool.submit(troupe::fn<&test::throw_odd>, kind);
    BOOST_TEST((f.exception() != nullptr));
    BOOST_TEST(f.ready());
    BOOST_TEST(!f.is_cancelled());
  }
  BOOST_TEST(t.pool.shutdown().failed == 4u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a13_starmap_spreads_tuples, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  std::vector<std::tuple<int, int>> pairs;
  for (int i = 0; i < 100; ++i)
    pairs.emplace_back(i, 2 * i);
  int n = 0;
  for (int y : t.pool.starmap(troupe::fn<&test::add>, pairs, {.chunk = 20}))
    BOOST_TEST_REQUIRE(y == 3 * n++);
  BOOST_TEST(n == 100);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a15_imap_keeps_the_order_or_the_multiset, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  troupe::map_options by_100{.chunk = 100};
  BOOST_TEST(t.pool.imap(troupe::fn<&test::square>, test::numbers(1000), by_100)
                 .to_vector()
               == test::squares(1000),
             boost::test_tools::per_element());
  for (auto o : {by_100, troupe::map_options{.chunk = 1}}) {
    auto found =
      t.pool.imap_unordered(troupe::fn<&test::square>, test::numbers(1000), o)
        .to_vector();
    std::sort(found.begin(), found.end());
    BOOST_TEST(found == test::squares(1000), boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a15_unordered_gives_what_is_done_first, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  std::vector<std::tuple<test::gate_of<B>, test::tally_of<B>, int>> inputs;
  for (int i = 0; i < 6; ++i)
    inputs.emplace_back(t.gate.token(), t.tally.token(), i);
  auto results = t.pool.imap_unordered(troupe::fn<&test::gated_first<B>>,
                                       inputs);
  auto i = results.begin();
  for (int n = 0; n < 5; ++n, ++i)
    BOOST_TEST(*i != 0);
  t.gate.open();
  BOOST_TEST(*i == 0);
  ++i;
  BOOST_TEST((i == results.end()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a16_a_throwing_input_ends_after_its_results, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (std::ptrdiff_t chunk : {1, 3, 100}) {
    int pulled = 0;
    std::vector<int> seen;
    auto results = t.pool.map(troupe::fn<&test::square>,
                              test::generator{&pulled, 7}, {.chunk = chunk});
    auto i = results.begin();
    BOOST_TEST(test::text_thrown<std::out_of_range>([&] {
                 for (; i != results.end(); ++i)
                   seen.push_back(*i);
               })
               == "the input ends badly");
    BOOST_TEST(seen == test::squares(7), boost::test_tools::per_element());
    BOOST_TEST((i == results.end()));
    auto unordered = t.pool.imap_unordered(
      troupe::fn<&test::square>, test::generator{&pulled, 7}, {.chunk = chunk});
    BOOST_CHECK_THROW((void)unordered.to_vector(), std::out_of_range);
  }
  // An error of the very first is the call's: nothing ran, there is no range.
  BOOST_TEST(t.pool.submit(troupe::fn<&test::square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a17_empty_input_ends_at_once, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto blocked = t.block(); // so nothing could be waited for
  std::vector<int> none;
  std::vector<std::tuple<int, int>> no_pairs;
  BOOST_TEST(t.pool.map(troupe::fn<&test::square>, none).to_vector().empty());
  BOOST_TEST(t.pool.imap(troupe::fn<&test::square>, none).to_vector().empty());
  BOOST_TEST(
    t.pool.imap_unordered(troupe::fn<&test::square>, none).to_vector().empty());
  BOOST_TEST(
    t.pool.starmap(troupe::fn<&test::add>, no_pairs).to_vector().empty());
  t.pool.for_each(troupe::fn<&test::square>, none);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a19_large_errors_in_flight_do_not_block, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  {
    auto results = t.pool.map(troupe::fn<&test::throw_large>, test::numbers(2),
                              {.chunk = 1});
    auto r = t.pool.shutdown(troupe::drain, 20s);
    BOOST_TEST(r.clean);
  }
}

BOOST_AUTO_TEST_SUITE_END()

// -- futures and waiting ------------------------------------------------------

BOOST_AUTO_TEST_SUITE(futures_and_waiting)

BOOST_AUTO_TEST_CASE_TEMPLATE(a14_then_runs_exactly_once, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  std::atomic<int> good{0}, bad{0};
  std::vector<troupe::future<void>> all;
  for (int i = 0; i < 200; ++i)
    all.push_back(t.pool.submit(troupe::fn<&test::square_or_throw>, i % 4)
                    .then([&](troupe::future<int> f) {
                      ++(f.exception() == nullptr ? good : bad);
                    }));
  troupe::when_all(all).get();
  BOOST_TEST(good == 150);
  BOOST_TEST(bad == 50);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a21_cancel_is_for_what_has_not_begun, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto running = t.block();
  auto pending = t.pool.submit(troupe::fn<&test::square>, 3);
  BOOST_TEST(pending.cancel());
  BOOST_TEST(pending.cancel()); // again
  BOOST_TEST(pending.is_cancelled());
  auto begun = t.pool.submit(troupe::fn<&test::square>, 4);
  t.gate.open();
  BOOST_TEST(begun.get() == 16);
  BOOST_TEST(!begun.cancel());
  BOOST_TEST(begun.get() == 16);
  BOOST_TEST(!running[0].cancel());
  BOOST_TEST(running[0].get() == 0);
  BOOST_CHECK_THROW(pending.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a21_what_runs_is_not_cancelled, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  typename B::tally began;
  auto f = t.pool.submit(troupe::fn<&test::pass_then_count<B>>, t.gate.token(),
                         t.tally.token());
  auto later = t.pool.submit(troupe::fn<&B::count>, began.token());
  // Nothing tells from outside that it runs, so ask until it can't be undone.
  t.gate.open();
  BOOST_TEST(later.get() == 0);
  BOOST_TEST(!f.cancel());
  BOOST_TEST(!f.is_cancelled());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a22_then_sees_value_error_and_cancel, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto blocked = t.block();
  auto value = t.pool.submit(troupe::fn<&test::square>, 2);
  auto error = t.pool.submit(troupe::fn<&test::square_or_throw>, 3);
  auto gone = t.pool.submit(troupe::fn<&test::square>, 2);
  auto thrown = value.then([](int) -> int { throw std::logic_error{"mine"}; });
  auto next = value.then([](int x) { return x + 1; });
  auto after_error = error.then([](int x) { return x; });
  auto after_cancel = gone.then([](int x) { return x; });
  gone.cancel();
  t.gate.open();
  BOOST_CHECK_THROW(thrown.get(), std::logic_error);
  BOOST_TEST(next.get() == 5);
  BOOST_CHECK_THROW(after_error.get(), std::domain_error);
  BOOST_CHECK_THROW(after_cancel.get(), troupe::cancelled);
  BOOST_TEST(value.then([](int x) { return x; }).get() == 4); // done already
  BOOST_CHECK_THROW(gone.then([](int x) { return x; }).get(),
                    troupe::cancelled);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a23_waiting_in_vain_is_a_timeout, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto running = t.block();
  auto pending = t.pool.submit(troupe::fn<&test::square>, 3);
  for (auto limit : {1ms, 0ms, -5ms}) {
    BOOST_CHECK_THROW(running[0].get_for(limit), troupe::timeout);
    BOOST_CHECK_THROW(pending.get_for(limit), troupe::timeout);
  }
  pending.cancel();
  BOOST_CHECK_THROW(pending.get_for(1ms), troupe::cancelled);
  t.gate.open();
  BOOST_TEST(running[0].get_for(20s) == 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a24_cancel_wakes_who_waits, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto running = t.block();
  auto pending = t.pool.submit(troupe::fn<&test::square>, 3);
  std::atomic<bool> cancelled{false};
  std::thread waiter{[&] {
    try {
      pending.get();
    } catch (const troupe::cancelled&) {
      cancelled = true;
    }
  }};
  std::this_thread::yield();
  pending.cancel();
  waiter.join();
  BOOST_TEST(cancelled);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a26_first_completed_leaves_the_rest, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  auto blocked = t.block();
  std::vector fs{blocked[0], t.pool.submit(troupe::fn<&test::square>, 3)};
  auto r = troupe::wait(fs, troupe::first_completed);
  BOOST_TEST(r.done.size() == 1u);
  BOOST_TEST((r.done[0] == fs[1]));
  BOOST_TEST((r.not_done.at(0) == fs[0]));
  // Some have completed already: it returns at once.
  BOOST_TEST(troupe::wait(fs, troupe::first_completed).done.size() == 1u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a27_success_does_not_end_first_exception, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  auto blocked = t.block();
  auto good = t.pool.submit(troupe::fn<&test::square>, 2);
  auto bad = t.pool.submit(troupe::fn<&test::square_or_throw>, 3);
  std::vector fs{blocked[0], good, bad};
  auto r = troupe::wait(fs, troupe::first_exception);
  BOOST_TEST(bad.ready());
  BOOST_TEST(!blocked[0].ready());
  BOOST_TEST((r.not_done.at(0) == blocked[0]));
  // One has failed already: at once.
  BOOST_TEST(!troupe::wait(fs, troupe::first_exception).not_done.empty());
  // Successes alone: all of them.
  t.gate.open();
  std::vector well{blocked[0], good};
  BOOST_TEST(troupe::wait(well, troupe::first_exception).done.size() == 2u);
  BOOST_TEST((bad.exception() != nullptr));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a28_wait_parts_done_from_not_done, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  auto blocked = t.block();
  auto good = t.pool.submit(troupe::fn<&test::square>, 2);
  good.wait();
  std::vector fs{good, blocked[0]};
  auto r = troupe::wait(fs, troupe::all_completed, 5ms);
  BOOST_TEST(r.done.size() == 1u);
  BOOST_TEST(r.not_done.size() == 1u);
  t.gate.open();
  r = troupe::wait(fs);
  BOOST_TEST(r.done.size() == 2u);
  BOOST_TEST(r.not_done.empty());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a29_a_future_given_thrice_comes_once, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  auto f = t.pool.submit(troupe::fn<&test::square>, 2);
  std::vector fs{f, f, f};
  int n = 0;
  for (auto& done : troupe::as_completed(fs))
    n += done.get() == 4;
  BOOST_TEST(n == 1);
  BOOST_TEST(troupe::wait(fs).done.size() == 1u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a30_no_wake_up_is_lost, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  for (int round = 0; round < 30; ++round) {
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 100; ++i)
      fs.push_back(t.pool.submit(troupe::fn<&test::square>, i));
    BOOST_TEST_REQUIRE(
      troupe::wait(fs, troupe::all_completed, 20s).not_done.empty());
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a31_done_ones_come_before_the_timeout, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  auto blocked = t.block();
  auto done = t.pool.submit(troupe::fn<&test::square>, 2);
  done.wait();
  std::vector fs{blocked[0], done};
  for (auto limit : {0ms, 5ms}) {
    int n = 0;
    BOOST_CHECK_THROW(for (auto& f : troupe::as_completed(fs, limit))
                        n += f.ready(),
                      troupe::timeout);
    BOOST_TEST(n == 1);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a32_the_timeout_counts_the_unfinished, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  auto blocked = t.block(2);
  std::vector fs{blocked[0], blocked[1], troupe::make_ready_future(1),
                 troupe::make_ready_future(2)};
  BOOST_TEST(test::text_thrown<troupe::timeout>([&] {
               for (auto& f : troupe::as_completed(fs, 1ms))
                 f.get();
             })
             == "2 (of 4) futures unfinished");
}

BOOST_AUTO_TEST_SUITE_END()

// -- shutdown -----------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(shutdown)

BOOST_AUTO_TEST_CASE_TEMPLATE(a59_submit_after_shutdown_is_closed, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  t.pool.shutdown();
  BOOST_CHECK_THROW((void)t.pool.submit(troupe::fn<&test::square>, 1),
                    troupe::closed);
  BOOST_CHECK_THROW(
    (void)t.pool.map(troupe::fn<&test::square>, test::numbers(3)),
    troupe::closed);
  BOOST_CHECK_THROW(
    t.pool.for_each(troupe::fn<&test::square>, test::numbers(3)),
    troupe::closed);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a60_leaving_the_scope_runs_what_was_accepted, B,
                              test::executor_backends) {
  test::live_system live;
  typename B::tally tally;
  {
    typename B::pool pool{live.sys, {.workers = 2}};
    for (int i = 0; i < 300; ++i)
      (void)pool.submit(troupe::fn<&B::count>, tally.token());
  }
  BOOST_TEST(tally.value() == 300);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a61_what_is_queued_at_shutdown_runs, B,
                              test::executor_backends) {
  test::bench_of<B> t{2};
  for (int i = 0; i < 50; ++i)
    (void)t.pool.submit(troupe::fn<&B::count>, t.tally.token());
  auto r = t.pool.shutdown();
  BOOST_TEST(t.tally.value() == 50);
  BOOST_TEST(r.done == 50u);
  BOOST_TEST(r.clean);
  BOOST_TEST(r.cancelled == 0u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a62_cancelling_leaves_nothing_pending, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto fs = t.block();
  for (int i = 0; i < 50; ++i)
    fs.push_back(t.pool.submit(troupe::fn<&test::square>, 2));
  auto early = t.pool.shutdown(troupe::cancel_pending, 1ms);
  BOOST_TEST(!early.clean);
  t.gate.open();
  auto r = t.pool.shutdown();
  int done = 0, cancelled = 0;
  for (auto& f : fs) {
    BOOST_TEST(f.wait_for(10s));
    ++(f.is_cancelled() ? cancelled : done);
  }
  BOOST_TEST(done + cancelled == 51);
  BOOST_TEST(cancelled >= 50);
  // What still runs is waited for, or killed: both have not been cancelled.
  BOOST_TEST(r.done + r.killed == static_cast<unsigned>(done));
  BOOST_TEST(r.cancelled == static_cast<unsigned>(cancelled));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a63_a_shutdown_that_does_not_wait_returns, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto fs = t.block();
  auto queued = t.pool.submit(troupe::fn<&test::square>, 2);
  auto r = t.pool.shutdown(troupe::drain, 0ns);
  BOOST_TEST(!r.clean);
  BOOST_CHECK_THROW(queued.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a63_submit_cancel_shutdown_never_hangs, B,
                              test::executor_backends) {
  test::live_system live;
  for (int i = 0; i < test::rounds(200); ++i) {
    typename B::pool pool{live.sys, {.workers = 2}};
    auto f = pool.submit(troupe::fn<&test::square>, i);
    f.cancel();
    if (i % 2 == 0)
      pool.shutdown(i % 4 == 0 ? troupe::drain : troupe::cancel_pending);
    BOOST_TEST_REQUIRE(f.wait_for(i % 2 == 0 ? 0s : 10s));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a64_cancelling_10_000_is_prompt_and_idempotent, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto fs = t.block();
  for (int i = 0; i < 10'000; ++i)
    (void)t.pool.submit(troupe::fn<&B::count>, t.tally.token());
  auto began = std::chrono::steady_clock::now();
  auto r = t.pool.shutdown(troupe::cancel_pending, 100ms);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
  BOOST_TEST(r.cancelled >= 10'000u);
  t.gate.open();
  r = t.pool.shutdown(troupe::cancel_pending);
  BOOST_TEST(r.cancelled + r.done + r.killed == 10'001u);
  auto again = t.pool.shutdown();
  BOOST_TEST(again.cancelled == r.cancelled);
  BOOST_TEST(t.tally.value() == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// -- regressions that others had ----------------------------------------------

BOOST_AUTO_TEST_SUITE(regressions)

BOOST_AUTO_TEST_CASE_TEMPLATE(a43_a_large_pool_works, B,
                              test::executor_backends) {
  test::bench_of<B> t{200};
  BOOST_TEST(t.pool.workers() == 200u);
  std::int64_t sum = 0;
  for (int y : t.pool.map(troupe::fn<&test::square>, test::numbers(1000)))
    sum += y;
  BOOST_TEST(sum == 332'833'500);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a52_much_may_be_submitted_at_once, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 500; ++i)
    fs.push_back(t.pool.submit(troupe::fn<&test::square>, i));
  for (int i = 0; i < 500; ++i)
    BOOST_TEST_REQUIRE(fs[static_cast<std::size_t>(i)].get() == i * i);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(b20_cancels_in_odd_orders_hit_their_own, B,
                              test::executor_backends) {
  test::bench_of<B> t{1};
  auto blocked = t.block();
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 12; ++i)
    fs.push_back(t.pool.submit(troupe::fn<&test::square>, i));
  for (std::size_t i : {11u, 0u, 5u, 6u, 1u})
    BOOST_TEST(fs[i].cancel());
  t.gate.open();
  for (std::size_t i = 0; i < fs.size(); ++i) {
    auto hit = i == 11 || i == 0 || i == 5 || i == 6 || i == 1;
    BOOST_TEST(fs[i].wait_for(10s));
    BOOST_TEST(fs[i].is_cancelled() == hit);
    if (!hit)
      BOOST_TEST(fs[i].get() == static_cast<int>(i * i));
  }
  BOOST_TEST(t.pool.submit(troupe::fn<&test::square>, 9).get() == 81);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(b27_closed_is_a_type_of_its_own, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  t.pool.shutdown();
  try {
    (void)t.pool.submit(troupe::fn<&test::square>, 1);
    BOOST_ERROR("it was accepted");
  } catch (const troupe::rejected&) {
    BOOST_ERROR("closed is not rejected");
  } catch (const troupe::error& e) {
    BOOST_TEST(dynamic_cast<const troupe::closed*>(&e) != nullptr);
    BOOST_TEST(std::string{e.what()}.find("shutdown") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(b30_a_pool_survives_100_failures, B,
                              test::executor_backends) {
  test::bench_of<B> t;
  for (int i = 0; i < 100; ++i)
    BOOST_TEST((t.pool.submit(troupe::fn<&test::throw_odd>, i % 4).exception()
                != nullptr));
  BOOST_TEST(t.pool.submit(troupe::fn<&test::square>, 9).get() == 81);
  BOOST_TEST(t.pool.workers() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()
