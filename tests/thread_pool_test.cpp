// SPDX-License-Identifier: MIT
// thread_pool: the contract of all pools, then what threads alone can show.
#define BOOST_TEST_MODULE thread_pool
#include "support/fixture.hpp"

#include <condition_variable>
#include <deque>
#include <fstream>
#include <list>
#include <memory>
#include <mutex>
#include <ranges>
#include <semaphore>
#include <set>
#include <tuple>

#include <unistd.h>

namespace test {

struct on_threads {
  using pool = troupe::thread_pool;
  using options = troupe::thread_pool_options;

  // A condition variable: to the scheduler a task in it is one that computes.
  class gate {
  public:
    struct shared {
      std::mutex mutex;
      std::condition_variable changed;
      bool is_open = false;
    };
    std::shared_ptr<shared> token() const { return shared_; }
    void open() {
      std::lock_guard guard{shared_->mutex};
      shared_->is_open = true;
      shared_->changed.notify_all();
    }

  private:
    std::shared_ptr<shared> shared_ = std::make_shared<shared>();
  };

  static void pass(const std::shared_ptr<gate::shared>& g) {
    std::unique_lock guard{g->mutex};
    g->changed.wait(guard, [&] { return g->is_open; });
  }

  class tally {
  public:
    std::shared_ptr<std::atomic<int>> token() const { return count_; }
    int value() const { return *count_; }

  private:
    std::shared_ptr<std::atomic<int>> count_ =
      std::make_shared<std::atomic<int>>(0);
  };

  static int count(const std::shared_ptr<std::atomic<int>>& t) {
    return t->fetch_add(1);
  }

  static std::uint64_t here() { return static_cast<std::uint64_t>(::gettid()); }
};

using executor_backends = std::tuple<on_threads>;

} // namespace test

#include "support/executor_suite.hpp"

namespace {

using namespace std::chrono_literals;
using test::counted;
using test::eventually;
using test::live_system;
using bench = test::bench_of<test::on_threads>;

// How many calls are inside at the same time.
class crowd {
public:
  void enter() {
    auto n = inside_.fetch_add(1) + 1;
    auto most = most_.load();
    while (most < n && !most_.compare_exchange_weak(most, n)) {}
  }
  void leave() { --inside_; }
  int inside() const { return inside_; }
  int most() const { return most_; }

private:
  std::atomic<int> inside_{0}, most_{0};
};

std::size_t resident_kib() {
  std::ifstream statm{"/proc/self/statm"};
  std::size_t total = 0, resident = 0;
  statm >> total >> resident;
  return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
}

struct worker_holder {
  void hold(std::binary_semaphore* held, std::binary_semaphore* gate) {
    held->release();
    gate->acquire();
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(workers)

BOOST_AUTO_TEST_CASE(a10_sizes_past_the_limit_are_refused) {
  live_system live;
  BOOST_CHECK_THROW((troupe::thread_pool{live.sys, {.workers = 1025}}),
                    troupe::bad_argument);
  for (std::ptrdiff_t bad : {0, -1})
    BOOST_CHECK_THROW((troupe::thread_pool{live.sys, {.queue_tasks_max = bad}}),
                      troupe::bad_argument);
  for (auto bad :
       {troupe::full_policy::drop_newest, troupe::full_policy::drop_oldest})
    BOOST_CHECK_THROW((troupe::thread_pool{live.sys, {.full = bad}}),
                      troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(its_size_is_the_systems_unless_said) {
  live_system live{{.workers = 3}};
  troupe::thread_pool pool{live.sys};
  BOOST_TEST(pool.workers() == 3u);
}

BOOST_AUTO_TEST_CASE(a35_exactly_n_of_15_n_blocked_tasks_run) {
  for (int n : {1, 2, 5}) { // also more than the system has workers
    bench t{n};
    crowd in;
    for (int i = 0; i < 15 * n; ++i)
      (void)t.pool.submit([&, gate = t.gate.token()] {
        in.enter();
        test::on_threads::pass(gate);
        in.leave();
      });
    BOOST_TEST(eventually(20s, [&] { return in.inside() == n; }));
    // Time for one too many to show up; a stall of theirs starts a stand-in.
    BOOST_TEST(!eventually(60ms, [&] { return in.most() > n; }));
    t.gate.open();
    t.pool.shutdown();
    BOOST_TEST(in.most() == n);
  }
}

BOOST_AUTO_TEST_CASE(a35_no_worker_is_left_out_when_a_burst_arrives) {
  live_system live;
  for (int round = 0; round < 500; ++round) {
    test::on_threads::gate gate;
    crowd in;
    troupe::thread_pool pool{live.sys, {.workers = 2}};
    for (int i = 0; i < 6; ++i)
      (void)pool.submit([&, g = gate.token()] {
        in.enter();
        test::on_threads::pass(g);
        in.leave();
      });
    BOOST_TEST_REQUIRE(eventually(10s, [&] { return in.inside() == 2; }));
    gate.open();
  }
}

BOOST_AUTO_TEST_CASE(a35_a_gate_that_is_a_future_counts_the_same) {
  live_system live;
  troupe::thread_pool pool{live.sys, {.workers = 2}};
  troupe::promise<void> open;
  auto gate = open.get_future();
  crowd in;
  for (int i = 0; i < 30; ++i)
    (void)pool.submit([&, gate] {
      in.enter();
      gate.get();
      in.leave();
    });
  BOOST_TEST(eventually(20s, [&] { return in.inside() == 2; }));
  BOOST_TEST(!eventually(60ms, [&] { return in.most() > 2; }));
  open.set_value();
  pool.shutdown();
  BOOST_TEST(in.most() == 2);
}

BOOST_AUTO_TEST_CASE(a36_tasks_in_a_row_start_no_threads) {
  bench t{2};
  t.pool.submit([] {}).get();
  auto before = t.live.sys.stats().threads;
  std::set<std::uint64_t> threads;
  for (int i = 0; i < 200; ++i)
    threads.insert(t.pool.submit(&test::on_threads::here).get());
  BOOST_TEST(threads.size() <= 2u);
  BOOST_TEST(t.live.sys.stats().threads == before);
}

thread_local int prepared = 0;

BOOST_AUTO_TEST_CASE(a33_the_initializer_ran_before_the_first_task) {
  live_system live;
  std::atomic<int> runs{0};
  for (int round = 0; round < 3; ++round) { // for each pool anew
    prepared = 0;
    troupe::thread_pool pool{live.sys,
                             {.workers = 2, .initializer = [&, round] {
                                prepared = round + 1;
                                ++runs;
                              }}};
    std::vector<troupe::future<int>> seen;
    for (int i = 0; i < 500; ++i)
      seen.push_back(pool.submit([] { return prepared; }));
    for (auto& s : seen)
      BOOST_TEST_REQUIRE(s.get() == round + 1);
  }
  BOOST_TEST(runs >= 3);
  BOOST_TEST(static_cast<std::size_t>(runs.load())
             <= 3 * live.sys.stats().threads);
}

BOOST_AUTO_TEST_CASE(a34_a_failing_initializer_breaks_the_pool_by_name) {
  live_system live{{.workers = 2, .log_level = "off"}};
  test::on_threads::gate gate;
  troupe::thread_pool pool{live.sys,
                           {.workers = 2, .initializer = [g = gate.token()] {
                              test::on_threads::pass(g);
                              throw std::runtime_error{"no model on disk"};
                            }}};
  std::atomic<int> ran{0};
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 100; ++i)
    fs.push_back(pool.submit([&] { return ++ran; }));
  gate.open();
  for (auto& f : fs)
    BOOST_TEST_REQUIRE(
      test::text_thrown<troupe::closed>([&] { f.get(); }).find("no model")
      != std::string::npos);
  BOOST_TEST(test::text_thrown<troupe::closed>([&] {
               (void)pool.submit([] {});
             }).find("no model")
             != std::string::npos);
  BOOST_TEST(ran == 0);
  auto r = pool.shutdown(troupe::drain, 10s);
  BOOST_TEST(r.cancelled == 100u);
}

// What a waiting task has run stays in the queue as a shell, and a worker that
// finds it there is none that the end has waited for.
BOOST_AUTO_TEST_CASE(the_end_waits_for_an_initializer_that_runs) {
  struct probe {
    std::atomic<bool>& gone;
    ~probe() { gone = true; }
  };
  live_system live{{.workers = 2, .stall_after = 20s}};
  std::binary_semaphore held{0}, hold{0}, second{0}, goes_on{0};
  std::atomic<int> runs{0};
  std::atomic<bool> gone{false}, was_gone{false};
  auto other = live.sys.spawn<worker_holder>();
  other.tell<&worker_holder::hold>(&held, &hold);
  held.acquire();
  std::thread late;
  {
    auto p = std::make_shared<probe>(gone);
    troupe::thread_pool pool{live.sys, {.workers = 2, .initializer = [&, p] {
                                          if (++runs != 2)
                                            return;
                                          second.release();
                                          goes_on.acquire();
                                          was_gone = gone.load();
                                        }}};
    p = nullptr;
    auto f = pool.submit([&] {
      auto shell = pool.submit([] {});
      shell.wait(); // it is run here, and its shell stays
      hold.release();
      second.acquire(); // the other worker has found the shell
    });
    f.wait();
    late = std::thread{[&] {
      eventually(100ms, [&] { return gone.load(); });
      goes_on.release();
    }};
  }
  late.join();
  BOOST_TEST(!was_gone);
  BOOST_TEST(gone);
}

BOOST_AUTO_TEST_CASE(caller_runs_initializes_the_caller_too) {
  live_system live;
  test::on_threads::gate gate;
  prepared = 0;
  troupe::thread_pool pool{live.sys,
                           {.workers = 1,
                            .queue_tasks_max = 1,
                            .full = troupe::full_policy::caller_runs,
                            .initializer = [] { prepared = 77; }}};
  auto block = [g = gate.token()] { test::on_threads::pass(g); };
  (void)pool.submit(block);
  (void)pool.submit([] {});
  auto here =
    pool.submit([] { return std::pair{prepared, std::this_thread::get_id()}; });
  BOOST_TEST(here.ready());
  BOOST_TEST(here.get().first == 77);
  BOOST_TEST((here.get().second == std::this_thread::get_id()));
  gate.open();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(errors_and_values)

BOOST_AUTO_TEST_CASE(a20_the_original_error_comes_out) {
  struct mine : std::runtime_error {
    int code = 42;
    using std::runtime_error::runtime_error;
  };
  bench t;
  const void* thrown = nullptr;
  auto f = t.pool.submit([&] {
    try {
      throw mine{"x"};
    } catch (const mine& m) {
      thrown = &m;
      throw;
    }
  });
  try {
    f.get();
    BOOST_ERROR("no error");
  } catch (const mine& m) {
    BOOST_TEST(m.code == 42);
    BOOST_TEST(static_cast<const void*>(&m) == thrown); // not a copy
  }
  BOOST_CHECK_THROW(t.pool.submit([] { throw 7; }).get(), int);
  BOOST_CHECK_THROW(t.pool.submit([] { throw test::odd_error{}; }).get(),
                    test::odd_error);
}

BOOST_AUTO_TEST_CASE(a25_a_promise_settles_once) {
  troupe::promise<int> p;
  auto f = p.get_future();
  p.set_value(1);
  BOOST_CHECK_THROW(p.set_value(2), troupe::bad_argument);
  BOOST_CHECK_THROW(
    p.set_exception(std::make_exception_ptr(std::runtime_error{"late"})),
    troupe::bad_argument);
  BOOST_TEST(f.get() == 1);
}

BOOST_AUTO_TEST_CASE(a18_an_argument_that_cant_be_copied_is_the_callers) {
  struct stubborn {
    stubborn() = default;
    stubborn(const stubborn&) { throw std::runtime_error{"not copied"}; }
  };
  bench t;
  stubborn s;
  BOOST_CHECK_THROW((void)t.pool.submit([](const stubborn&) {}, s),
                    std::runtime_error);
  BOOST_TEST(t.pool.submit([] { return 1; }).get() == 1);
  BOOST_TEST(t.pool.shutdown().done == 1u);
}

BOOST_AUTO_TEST_CASE(move_only_arguments_and_results) {
  bench t;
  auto f = t.pool.submit(
    [](std::unique_ptr<int> p) { return std::make_unique<int>(*p + 1); },
    std::make_unique<int>(1));
  auto p = f.get();
  BOOST_TEST(*p == 2);
  BOOST_CHECK_THROW(f.get(), troupe::bad_argument); // it was moved out
  std::vector<std::unique_ptr<int>> inputs;
  for (int i = 0; i < 40; ++i)
    inputs.push_back(std::make_unique<int>(i));
  int n = 0;
  for (auto y : t.pool.map(
         [](std::unique_ptr<int> x) { return std::make_unique<int>(*x * 2); },
         std::move(inputs)))
    BOOST_TEST_REQUIRE(*y == 2 * n++);
  BOOST_TEST(n == 40);
}

BOOST_AUTO_TEST_CASE(members_references_and_functions_are_callable) {
  struct box {
    int v;
    int plus(int n) const { return v + n; }
  };
  bench t;
  BOOST_TEST(t.pool.submit(&box::plus, box{4}, 3).get() == 7);
  BOOST_TEST(t.pool.submit(&box::v, box{4}).get() == 4);
  int x = 1;
  t.pool.submit([](int& r) { r = 5; }, std::ref(x)).get();
  BOOST_TEST(x == 5);
  BOOST_TEST(t.pool.submit(&test::square, 5).get() == 25);
  std::vector<box> boxes{{1}, {2}};
  BOOST_TEST(t.pool.map(&box::v, boxes).to_vector() == (std::vector{1, 2}),
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(maps_take_all_kinds_of_input) {
  bench t;
  auto twice = [](int x) { return 2 * x; };
  auto want = std::vector{2, 4, 6};
  auto same = [&](auto&& results) {
    BOOST_TEST(results.to_vector() == want, boost::test_tools::per_element());
  };
  const std::vector<int> constant{1, 2, 3};
  same(t.pool.map(twice, constant));
  same(t.pool.map(twice, std::vector{1, 2, 3}));
  same(t.pool.map(twice, std::list{1, 2, 3}));
  same(t.pool.map(twice, std::set{3, 1, 2}));
  same(t.pool.map(twice, std::array{1, 2, 3}));
  int raw[] = {1, 2, 3};
  same(t.pool.map(twice, raw));
  same(t.pool.map(twice, std::span{raw}));
  same(t.pool.map(twice, std::views::iota(1, 4)));
  same(t.pool.map(twice,
                  constant | std::views::filter([](int x) { return x > 0; })));
  same(t.pool.map(twice, std::deque{1, 2, 3}, {.chunk = 2}));
  BOOST_TEST(constant.size() == 3u);
  std::vector<std::string> words{"a", "b"}; // a named container stays whole
  BOOST_TEST(
    t.pool.map([](std::string s) { return s.size(); }, words).to_vector()
      == (std::vector<std::size_t>{1, 1}),
    boost::test_tools::per_element());
  BOOST_TEST(words[1] == "b");
  std::vector<std::unique_ptr<int>> lent(2); // only lent: it can't be copied
  BOOST_TEST(t.pool
               .map([](const auto* p) { return *p == nullptr; },
                    lent | std::views::transform([](auto& p) { return &p; }))
               .to_vector()
               .size()
             == 2u);
}

BOOST_AUTO_TEST_CASE(a_result_is_there_until_the_next) {
  bench t;
  auto results = t.pool.map([](int x) { return std::string(40, 'a' + x % 26); },
                            std::views::iota(0, 9));
  auto i = results.begin();
  BOOST_TEST((*i).size() == 40u);
  BOOST_TEST((*i).size() == 40u); // looking is not taking
  std::string first = *i;
  BOOST_TEST(first[0] == 'a');
  static_assert(std::ranges::input_range<decltype(results)>);
  auto long_ones = results | std::views::filter([](const std::string& s) {
                     return s[0] > 'f';
                   });
  BOOST_TEST(std::ranges::distance(long_ones.begin(), long_ones.end()) == 3);
}

BOOST_AUTO_TEST_CASE(for_each_calls_all_and_throws_the_first_error) {
  bench t;
  std::vector<std::atomic<int>> seen(1000);
  t.pool.for_each([&](int i) { ++seen[static_cast<std::size_t>(i)]; },
                  std::views::iota(0, 1000));
  for (auto& n : seen)
    BOOST_TEST_REQUIRE(n == 1);
  for (std::ptrdiff_t chunk : {1, 7, 5000}) {
    auto text = test::text_thrown<std::runtime_error>([&] {
      t.pool.for_each(
        [&](int i) {
          ++seen[static_cast<std::size_t>(i)];
          if (i % 10 == 3)
            throw std::runtime_error{std::to_string(i)};
        },
        std::views::iota(0, 1000), {.chunk = chunk});
    });
    BOOST_TEST(text == "3");
  }
  for (auto& n : seen)
    BOOST_TEST_REQUIRE(n == 4);
  std::vector<int> in_place{1, 2, 3};
  t.pool.for_each([](int& x) { x *= 10; }, in_place);
  BOOST_TEST(in_place == (std::vector{10, 20, 30}),
             boost::test_tools::per_element());
  std::atomic<int> sum{0};
  t.pool.for_each([&](int x) { sum += x; }, std::list{1, 2, 3});
  BOOST_TEST(sum == 6);
}

BOOST_AUTO_TEST_CASE(for_each_keeps_its_deadline) {
  bench t{2};
  auto blocked = t.block(2);
  BOOST_CHECK_THROW(t.pool.for_each([&](int) { t.tally.token()->fetch_add(1); },
                                    std::views::iota(0, 100),
                                    {.deadline = 10ms}),
                    troupe::timeout);
  t.gate.open();
  BOOST_TEST(t.tally.value() == 0);
  std::atomic<int> calls{0};
  auto slow = [&](int) {
    ++calls;
    std::this_thread::sleep_for(1ms); // sleeps: a slow call
  };
  BOOST_CHECK_THROW(
    t.pool.for_each(slow, std::views::iota(0, 10'000), {.deadline = 20ms}),
    troupe::timeout);
  BOOST_TEST(calls < 1000);
}

BOOST_AUTO_TEST_SUITE_END()

// Whatever becomes of a task, its argument's and its result's destructors run
// once, and before anybody learns of the end.
BOOST_AUTO_TEST_SUITE(a11_destructors)

struct args_checked {
  args_checked() { BOOST_TEST(counted::alive == 0); }
  ~args_checked() { BOOST_TEST(counted::alive == 0); }
};

BOOST_FIXTURE_TEST_CASE(of_done_and_failed_tasks, args_checked) {
  bench t;
  for (int i = 0; i < 100; ++i) {
    auto f = t.pool.submit(
      [](counted, bool bad) {
        if (bad)
          throw std::runtime_error{"x"};
      },
      counted{}, i % 2 == 0);
    f.wait();
    BOOST_TEST_REQUIRE(counted::alive == 0); // though the handle lives
    BOOST_TEST((f.exception() != nullptr) == (i % 2 == 0));
  }
  (void)t.pool.submit([](counted c) { return c; }, counted{}); // dropped
  {
    auto results = t.pool.map([](counted c) { return c; },
                              std::vector<counted>(50));
    auto i = results.begin();
    ++i;
  }
  t.pool.shutdown();
}

BOOST_FIXTURE_TEST_CASE(of_cancelled_tasks, args_checked) {
  bench t{1};
  auto blocked = t.block();
  for (int i = 0; i < 20; ++i) {
    auto f = t.pool.submit([](counted) {}, counted{});
    if (i % 2 == 0)
      f.cancel();
  }
  t.gate.open();
  auto r = t.pool.shutdown();
  BOOST_TEST(r.cancelled == 10u);
  BOOST_TEST(r.done == 11u);
  BOOST_TEST(r.clean); // they were cancelled by others, not by it
  BOOST_TEST(counted::alive == 0);
}

BOOST_FIXTURE_TEST_CASE(of_tasks_that_a_shutdown_cancels, args_checked) {
  bench t{1};
  auto blocked = t.block();
  for (int i = 0; i < 1000; ++i)
    (void)t.pool.submit([](counted) {}, counted{});
  t.pool.shutdown(troupe::cancel_pending, 0ns);
  BOOST_TEST(counted::alive == 0);
}

BOOST_FIXTURE_TEST_CASE(of_refused_tasks, args_checked) {
  live_system live;
  test::on_threads::gate gate;
  troupe::thread_pool pool{
    live.sys, {.workers = 1, .queue_tasks_max = 1, .full = troupe::reject}};
  auto block = [g = gate.token()] { test::on_threads::pass(g); };
  auto first = pool.submit(block);
  auto second = pool.submit([] {});
  for (int i = 0; i < 10; ++i)
    BOOST_CHECK_THROW((void)pool.submit([](counted) {}, counted{}),
                      troupe::rejected);
  BOOST_TEST(counted::alive == 0);
  // A map has a window of its own: it waits for room.
  gate.open();
  auto all = pool.map([](int x) { return x; }, test::numbers(100), {.chunk = 1})
               .to_vector();
  BOOST_TEST(all.size() == 100u);
  pool.shutdown();
  BOOST_CHECK_THROW((void)pool.submit([](counted) {}, counted{}),
                    troupe::closed);
}

BOOST_FIXTURE_TEST_CASE(of_tasks_that_the_systems_stop_orphans, args_checked) {
  troupe::system sys{{.workers = 2, .log_level = "off"}};
  test::watchdog dog{sys};
  troupe::thread_pool pool{sys, {.workers = 1}};
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 200; ++i)
    fs.push_back(pool.submit(
      [](counted) {
        std::this_thread::sleep_for(10ms); // sleeps: a slow task
        return 1;
      },
      counted{}));
  sys.stop(100ms); // ends after the task in hand
  int done = 0;
  for (auto& f : fs) {
    try {
      done += f.get();
    } catch (const troupe::closed& e) {
      BOOST_TEST(e.what() == "thread_pool: the system has stopped");
    }
  }
  BOOST_TEST(done < 150);
  BOOST_TEST(counted::alive == 0);
  BOOST_TEST(
    test::text_thrown<troupe::closed>([&] { (void)pool.submit([] {}); })
    == "thread_pool: the system has stopped");
}

#ifndef __SANITIZE_THREAD__ // the thread that is left behind is a leak to it
BOOST_FIXTURE_TEST_CASE(of_tasks_behind_one_that_outlives_all, args_checked) {
  test::on_threads::gate gate;
  troupe::future<int> block;
  {
    troupe::system sys{{.workers = 2, .log_level = "off"}};
    test::watchdog dog{sys};
    troupe::thread_pool pool{sys, {.workers = 1}};
    block = pool.submit([g = gate.token()] {
      test::on_threads::pass(g);
      return 5;
    });
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 100; ++i)
      fs.push_back(pool.submit([](counted) { return 1; }, counted{}));
    auto began = std::chrono::steady_clock::now();
    sys.stop(50ms);
    BOOST_TEST((std::chrono::steady_clock::now() - began < 10s));
    for (auto& f : fs)
      BOOST_CHECK_THROW(f.get(), troupe::closed);
    BOOST_TEST(counted::alive == 0);
  }
  gate.open();
  BOOST_TEST(block.get() == 5); // pool and system are gone
}
#endif

BOOST_AUTO_TEST_CASE(that_throw_are_errors_like_any_other) {
  struct bomb {
    bool armed = true;
    bomb() = default;
    bomb(bomb&& b) noexcept : armed(std::exchange(b.armed, false)) {}
    ~bomb() noexcept(false) {
      if (armed)
        throw std::runtime_error{"bomb"};
    }
  };
  bench t;
  BOOST_TEST(test::text_thrown<std::runtime_error>([&] {
               t.pool.submit([](const bomb&) {}, bomb{}).get();
             }).find("bomb")
             != std::string::npos);
  BOOST_TEST(t.pool.submit([] { return 1; }).get() == 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(a_full_pool_rejects) {
  live_system live;
  test::on_threads::gate gate;
  troupe::thread_pool pool{
    live.sys, {.workers = 2, .queue_tasks_max = 1, .full = troupe::reject}};
  auto block = [g = gate.token()] { test::on_threads::pass(g); };
  auto one = pool.submit(block), two = pool.submit(block);
  auto queued = pool.submit([] { return 3; });
  BOOST_TEST(test::text_thrown<troupe::rejected>([&] {
               (void)pool.submit([] {});
             }).find("the limit is 1 ")
             != std::string::npos);
  gate.open();
  BOOST_TEST(queued.get() == 3);
  pool.shutdown();
}

BOOST_AUTO_TEST_CASE(a_full_pool_makes_the_submitter_wait) {
  live_system live;
  test::on_threads::gate gate;
  troupe::thread_pool pool{live.sys, {.workers = 1, .queue_tasks_max = 1}};
  (void)pool.submit([g = gate.token()] { test::on_threads::pass(g); });
  std::atomic<int> accepted{0}, ran{0};
  std::thread submitter{[&] {
    for (int i = 0; i < 20; ++i) {
      (void)pool.submit([&] { ++ran; });
      ++accepted;
    }
  }};
  BOOST_TEST(eventually(10s, [&] { return accepted == 1; }));
  BOOST_TEST(!eventually(20ms, [&] { return accepted > 1; }));
  gate.open();
  submitter.join();
  pool.shutdown();
  BOOST_TEST(ran == 20);
}

BOOST_AUTO_TEST_CASE(who_waits_for_room_learns_of_the_shutdown) {
  live_system live;
  test::on_threads::gate gate;
  troupe::thread_pool pool{live.sys, {.workers = 1, .queue_tasks_max = 1}};
  (void)pool.submit([g = gate.token()] { test::on_threads::pass(g); });
  (void)pool.submit([] {});
  std::atomic<bool> closed{false};
  std::thread submitter{[&] {
    try {
      (void)pool.submit([] {});
    } catch (const troupe::closed&) {
      closed = true;
    }
  }};
  std::this_thread::yield();
  pool.shutdown(troupe::drain, 0ns);
  submitter.join();
  BOOST_TEST(closed);
  gate.open();
}

BOOST_AUTO_TEST_CASE(a_full_pool_lets_the_caller_run) {
  live_system live;
  test::on_threads::gate gate;
  troupe::thread_pool pool{live.sys,
                           {.workers = 1,
                            .queue_tasks_max = 1,
                            .full = troupe::full_policy::caller_runs}};
  (void)pool.submit([g = gate.token()] { test::on_threads::pass(g); });
  (void)pool.submit([] {});
  for (int i = 0; i < 10; ++i) {
    auto f = pool.submit([] { return std::this_thread::get_id(); });
    BOOST_TEST(f.ready());
    BOOST_TEST((f.get() == std::this_thread::get_id()));
  }
  gate.open();
  BOOST_TEST(pool.shutdown().done == 12u);
}

BOOST_AUTO_TEST_CASE(a_task_of_a_full_pool_never_waits_for_room) {
  live_system live;
  troupe::thread_pool pool{live.sys, {.workers = 1, .queue_tasks_max = 1}};
  auto sum = pool.submit([&] {
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 100; ++i)
      fs.push_back(pool.submit([i] { return i; }));
    int n = 0;
    for (auto& f : fs)
      n += f.get();
    return n;
  });
  BOOST_TEST(sum.get() == 4950);
}

BOOST_AUTO_TEST_CASE(b25_a_slow_consumer_costs_flat_memory) {
  bench t;
  int pulled = 0, taken = 0;
  std::size_t before = 0, after = 0;
  for (auto&& block :
       t.pool.imap([](int) { return std::string(100'000, 'x'); },
                   test::generator{&pulled}, {.chunk = 1, .window = 8})) {
    BOOST_TEST_REQUIRE(block.size() == 100'000u);
    ++taken;
    BOOST_TEST_REQUIRE(pulled <= taken + 8);
    if (taken == 200)
      before = resident_kib();
    if (taken == 4000) { // 400 MB have passed
      after = resident_kib();
      break;
    }
  }
  // Sanitizers keep freed memory in the process, and shadows of all memory.
  BOOST_TEST((test::is_sanitized || after < before + 30'000),
             after << " KiB after " << before);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(tasks_among_themselves)

int fibonacci(troupe::thread_pool& pool, int n) {
  if (n < 2)
    return n;
  auto a = pool.submit([&pool, n] { return fibonacci(pool, n - 1); });
  auto b = pool.submit([&pool, n] { return fibonacci(pool, n - 2); });
  return a.get() + b.get();
}

BOOST_AUTO_TEST_CASE(b24_a_pool_of_one_waits_for_what_comes_of_its_tasks) {
  bench t{1};
  auto& pool = t.pool;
  auto inside = [&](auto f) { return pool.submit(f).get_for(20s); };
  auto two = [&] {
    std::vector<troupe::future<int>> fs;
    for (int i = 1; i < 3; ++i)
      fs.push_back(pool.submit([i] { return i; }));
    return fs;
  };
  auto add = [](int x) { return x + 1; };
  BOOST_TEST(
    inside([&] { return pool.submit([] { return 5; }).then(add).get(); }) == 6);
  BOOST_TEST(inside([&] {
               // What the continuation submits is the pool's, too.
               auto more = [&](int x) { return pool.submit(add, x); };
               return pool.submit([] { return 5; }).then(more).then(more).get();
             })
             == 7);
  BOOST_TEST(inside([&] { return troupe::when_all(two()).get().at(1); }) == 2);
  BOOST_TEST(inside([&] { return troupe::when_any(two()).get() < 2 ? 1 : 0; })
             == 1);
  BOOST_TEST(inside([&] {
               auto f = pool.submit([] { return 5; }).then(add);
               std::vector fs{f, pool.submit([] { return 1; })};
               return static_cast<int>(
                 troupe::wait(fs, troupe::all_completed, 10s).done.size());
             })
             == 2);
  BOOST_TEST(
    inside([&] { return pool.submit([] { return 5; }).then(add).get_for(10s); })
    == 6);
  t.pool.shutdown();
  BOOST_TEST(t.live.sys.stats().threads >= 2u); // somebody stood in
}

BOOST_AUTO_TEST_CASE(waits_within_waits_let_few_in_at_once) {
  bench t{2};
  crowd in;
  // Each level waits for the next: many stand-ins come and go.
  std::function<int(int)> level = [&](int n) {
    if (n == 0) {
      in.enter();
      in.leave();
      return 1;
    }
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 3; ++i)
      fs.push_back(t.pool.submit(level, n - 1));
    int sum = 0;
    for (int x : troupe::when_all(fs).get())
      sum += x;
    return sum;
  };
  BOOST_TEST(t.pool.submit(level, 5).get_for(30s) == 243);
  // Two, and those that came back while their stand-ins were at a task.
  BOOST_TEST(in.most() <= 4);
  auto report = t.pool.shutdown();
  BOOST_TEST(report.done == 364u);
  BOOST_TEST(report.clean);
}

BOOST_AUTO_TEST_CASE(who_waits_for_several_runs_those_that_nobody_has_begun) {
  bench t{2};
  auto& pool = t.pool;
  std::function<int(int)> tree = [&](int n) {
    if (n == 0)
      return 1;
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 2; ++i)
      fs.push_back(pool.submit(tree, n - 1));
    auto sums = troupe::when_all(fs).get();
    return sums[0] + sums[1];
  };
  BOOST_TEST(pool.submit(tree, 9).get_for(30s) == 512);
  // Each level waits in another way; when none is run here it takes a thread.
  std::function<int(int)> line = [&](int n) {
    if (n == 0)
      return 0;
    std::vector fs{pool.submit(line, n - 1)};
    if (n % 3 == 0)
      return troupe::when_all(fs).get()[0] + 1;
    if (n % 3 == 1)
      return fs[troupe::when_any(fs).get()].get() + 1;
    return fs[0].then([](int x) { return x + 1; }).get();
  };
  BOOST_TEST(pool.submit(line, 300).get_for(30s) == 300);
  BOOST_TEST(t.live.sys.stats().threads < 100u);
}

BOOST_AUTO_TEST_CASE(b24_a_pool_of_one_waits_for_itself_in_all_ways) {
  bench t{1};
  auto& pool = t.pool;
  auto inside = [&](auto f) { return pool.submit(f).get_for(20s); };
  auto three = [&] {
    std::vector<troupe::future<int>> fs;
    for (int i = 1; i < 4; ++i)
      fs.push_back(pool.submit([i] { return i; }));
    return fs;
  };
  BOOST_TEST(inside([&] { return pool.submit([] { return 5; }).get(); }) == 5);
  BOOST_TEST(inside([&] {
               int n = 0;
               for (auto& f : troupe::as_completed(three()))
                 n += f.get();
               return n;
             })
             == 6);
  BOOST_TEST(
    inside([&] { return static_cast<int>(troupe::wait(three()).done.size()); })
    == 3);
  BOOST_TEST(inside([&] {
               return static_cast<int>(
                 troupe::wait(three(), troupe::first_completed).done.size());
             })
             >= 1);
  BOOST_TEST(
    inside([&] {
      int n = 0;
      for (int y : pool.map(troupe::fn<&test::square>, std::views::iota(0, 30)))
        n += y;
      for (int y : pool.imap_unordered(troupe::fn<&test::square>,
                                       std::views::iota(0, 30)))
        n += y;
      for (int y : pool.map(troupe::fn<&test::square>, std::views::iota(0, 30),
                            {.deadline = 10s}))
        n += y;
      return n;
    })
    == 3 * 8555);
  BOOST_TEST(inside([&] {
               std::atomic<int> n{0};
               pool.for_each([&](int i) { n += i; }, std::views::iota(0, 100));
               return n.load();
             })
             == 4950);
  BOOST_TEST(inside([&] { return fibonacci(pool, 12); }) == 144);
}

BOOST_AUTO_TEST_CASE(tasks_submit_tasks_of_any_depth) {
  bench t{2};
  BOOST_TEST(t.pool.submit([&] { return fibonacci(t.pool, 15); }).get_for(30s)
             == 610);
  // Without waiting: the drain covers what is submitted while it runs out.
  std::atomic<int> n{0};
  std::function<void(int)> spread = [&](int depth) {
    ++n;
    if (depth > 0)
      for (int i = 0; i < 2; ++i)
        (void)t.pool.submit(spread, depth - 1);
  };
  t.pool.submit(spread, 9).get();
  BOOST_TEST(eventually(20s, [&] { return n == 1023; }));
}

BOOST_AUTO_TEST_CASE(a_shutdown_by_a_task_is_refused) {
  bench t;
  BOOST_CHECK_THROW(t.pool.submit([&] { t.pool.shutdown(); }).get(),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(two_pools_may_wait_for_each_other) {
  live_system live;
  troupe::thread_pool a{live.sys, {.workers = 1}}, b{live.sys, {.workers = 1}};
  for (int i = 0; i < 100; ++i)
    BOOST_TEST_REQUIRE(
      a.submit([&] { return b.submit([&, i] { return i; }).get() + 1; })
        .get_for(20s)
      == i + 1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(stopping)

BOOST_AUTO_TEST_CASE(cancel_reaches_a_running_tasks_token) {
  bench t;
  std::atomic<bool> began{false};
  auto f = t.pool.submit(
    [&](std::stop_token stop, int n) {
      began = true;
      while (!stop.stop_requested())
        std::this_thread::yield();
      return n;
    },
    5);
  BOOST_TEST(eventually(20s, [&] { return began.load(); }));
  BOOST_TEST(!f.cancel()); // asked, but not undone
  BOOST_TEST(f.get() == 5);
}

BOOST_AUTO_TEST_CASE(a_late_shutdown_asks_running_tasks_to_stop) {
  bench t;
  std::atomic<int> began{0};
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 2; ++i)
    fs.push_back(t.pool.submit([&](std::stop_token stop) {
      ++began;
      while (!stop.stop_requested())
        std::this_thread::yield();
    }));
  BOOST_TEST(eventually(20s, [&] { return began == 2; }));
  auto r = t.pool.shutdown(troupe::drain, 5ms);
  BOOST_TEST(!r.clean);
  for (auto& f : fs)
    f.get();
  BOOST_TEST(eventually(10s, [&] { return t.pool.shutdown().done == 2; }));
}

BOOST_AUTO_TEST_CASE(a_shutdown_counts_what_still_runs) {
  bench t{2};
  crowd in;
  for (int i = 0; i < 2; ++i)
    (void)t.pool.submit([&, gate = t.gate.token()] {
      in.enter();
      test::on_threads::pass(gate);
    });
  BOOST_TEST(eventually(20s, [&] { return in.inside() == 2; }));
  auto r = t.pool.shutdown(troupe::drain, 1ms);
  BOOST_TEST(r.running == 2u);
  BOOST_TEST(!r.clean);
  BOOST_TEST(r.done == 0u);
  t.gate.open();
  r = t.pool.shutdown();
  BOOST_TEST(r.running == 0u);
  BOOST_TEST(r.done == 2u);
}

BOOST_AUTO_TEST_CASE(a63_a_pool_of_many_turns_ends_on_one_worker) {
  // The tasks fill whole turns: the runner is queued again behind the actor
  // that waits for it, on the only worker.
  class owner {
  public:
    int work(troupe::system* sys, int tasks) {
      std::atomic<int> n{0};
      {
        troupe::thread_pool pool{*sys, {.workers = 1}};
        for (int i = 0; i < tasks; ++i)
          (void)pool.submit([&] { ++n; });
      }
      return n;
    }
  };
  live_system live{{.workers = 1}};
  auto a = live.sys.spawn<owner>();
  for (int tasks : {1, 255, 256, 512, 1024, 1000})
    BOOST_TEST(a.ask<&owner::work>(&live.sys, tasks).get() == tasks);
}

BOOST_AUTO_TEST_CASE(a_pool_lives_in_an_actor) {
  class worker_owner : public troupe::actor {
  public:
    int sum(int n) {
      int total = 0;
      for (int y : pool_.map(troupe::fn<&test::square>, std::views::iota(0, n)))
        total += y;
      return total;
    }

  private:
    troupe::thread_pool pool_{system(), {.workers = 2}};
  };
  live_system live;
  auto a = live.sys.spawn<worker_owner>();
  BOOST_TEST(a.ask<&worker_owner::sum>(10).get() == 285);
  a.stop();
}

BOOST_AUTO_TEST_CASE(a_pool_outlives_its_system) {
  std::unique_ptr<troupe::thread_pool> pool;
  {
    troupe::system sys{{.workers = 2}};
    pool = std::make_unique<troupe::thread_pool>(sys);
    BOOST_TEST(pool->submit([] { return 1; }).get() == 1);
    sys.stop();
    BOOST_CHECK_THROW((void)pool->submit([] {}), troupe::closed);
    BOOST_CHECK_THROW((troupe::thread_pool{sys}), troupe::closed);
  }
  BOOST_CHECK_THROW((void)pool->submit([] {}), troupe::closed);
  BOOST_CHECK_THROW(pool->for_each([](int) {}, std::views::iota(0, 9)),
                    troupe::closed);
  BOOST_TEST(pool->shutdown(troupe::drain, 1s).done == 1u);
}

BOOST_AUTO_TEST_CASE(b27_threads_that_still_run_may_submit) {
  live_system live;
  std::atomic<int> ran{0};
  troupe::thread_pool pool{live.sys, {.workers = 2}};
  {
    std::vector<std::jthread> threads;
    for (int k = 0; k < 4; ++k)
      threads.emplace_back([&] {
        for (int i = 0; i < 500; ++i)
          (void)pool.submit([&] { ++ran; });
      });
  }
  pool.shutdown();
  BOOST_TEST(ran == 2000);
}

BOOST_AUTO_TEST_CASE(submit_races_with_shutdown_and_nothing_is_lost) {
  live_system live;
  for (int round = 0; round < 60; ++round) {
    std::atomic<int> ran{0};
    std::atomic<std::uint64_t> accepted{0};
    troupe::thread_pool pool{live.sys, {.workers = 2}};
    std::vector<std::jthread> threads;
    for (int k = 0; k < 2; ++k)
      threads.emplace_back([&] {
        try {
          for (;;) {
            (void)pool.submit([&] { ++ran; });
            ++accepted;
          }
        } catch (const troupe::closed&) {}
      });
    eventually(1s, [&] { return accepted > 20; });
    auto mode = round % 2 == 0 ? troupe::drain : troupe::cancel_pending;
    pool.shutdown(mode);
    threads.clear();
    auto r = pool.shutdown();
    BOOST_TEST_REQUIRE(r.done + r.cancelled == accepted);
    BOOST_TEST_REQUIRE(static_cast<std::uint64_t>(ran.load()) == r.done);
    if (mode == troupe::drain)
      BOOST_TEST_REQUIRE(r.cancelled == 0u);
  }
}

BOOST_AUTO_TEST_CASE(a_map_let_go_leaves_its_function_to_those_who_run) {
  bench t{2};
  for (int round = 0; round < 100; ++round) {
    auto text = std::make_shared<std::string>(100, 'x');
    std::weak_ptr<std::string> watch = text;
    {
      auto results = t.pool.map(
        [text = std::move(text)](int x) { return *text + std::to_string(x); },
        std::views::iota(0), {.chunk = 4});
      auto i = results.begin();
      BOOST_TEST_REQUIRE((*i).size() == 101u);
    }
    BOOST_TEST_REQUIRE(eventually(10s, [&] { return watch.expired(); }));
  }
}

BOOST_AUTO_TEST_CASE(a_shutdown_in_the_middle_of_a_map_is_closed_in_its_place) {
  bench t{2};
  auto results = t.pool.map(troupe::fn<&test::square>, std::views::iota(0),
                            {.chunk = 1, .window = 4});
  auto i = results.begin();
  BOOST_TEST(*i == 0);
  t.pool.shutdown();
  int n = 0;
  BOOST_CHECK_THROW(for (; i != results.end(); ++i) n += *i >= 0,
                    troupe::closed);
  BOOST_TEST(n == 4);
  BOOST_TEST((i == results.end()));
}

BOOST_AUTO_TEST_SUITE_END()
