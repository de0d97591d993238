// SPDX-License-Identifier: MIT
// process_pool: the contract of all pools, then its workers, its bounds and its
// options. How it lives with crashes is in process_crash_test.cpp.
#define BOOST_TEST_MODULE process_pool
#define BOOST_TEST_NO_MAIN
#include "support/huge_bytes.hpp"
#include "support/processes.hpp"

#include <filesystem>
#include <map>
#include <set>

#include "troupe/serialize.hpp"

namespace test {

using executor_backends = std::tuple<on_processes>;

} // namespace test

#include "support/executor_suite.hpp"
#include "support/sanitized.hpp"

TROUPE_TEST_MAIN

namespace {

using namespace std::chrono_literals;
using test::contains;
using test::eventually;
using test::live_system;
using test::on_processes;
using test::text_thrown;
using test::word;
using troupe::fn;
using bench = test::bench_of<on_processes>;

std::string refusal(troupe::process_pool_options o) {
  live_system live;
  return text_thrown<troupe::bad_argument>(
    [&] { troupe::process_pool pool{live.sys, o}; });
}

// Counts those inside, and the most that ever were.
void enter_and_pass(word inside, word most, word gate) {
  const auto n = test::at(inside).fetch_add(1) + 1;
  auto seen = test::at(most).load();
  while (seen < n && !test::at(most).compare_exchange_weak(seen, n)) {}
  test::await_word(gate);
  test::at(inside).fetch_sub(1);
}

int memfds_named(const std::string& name) {
  int n = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator{"/proc/self/fd"}) {
    std::error_code gone;
    const auto to = std::filesystem::read_symlink(entry, gone).string();
    n += to.starts_with(name) ? 1 : 0;
  }
  return n;
}

std::uint32_t value(word w) {
  return test::at(w).load();
}

} // namespace

// -- options ------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(options_out_of_range)

BOOST_AUTO_TEST_CASE(are_refused_with_value_and_range) {
  using troupe::process_pool_options;
  const std::vector<std::tuple<process_pool_options, const char*, const char*>>
    bad{
      {{.workers = 0}, "workers is 0", "1..1024"},
      {{.workers = -1}, "workers is -1", "1..1024"},
      {{.workers = 1025}, "workers is 1025", "1..1024"},
      {{.workers = 2, .workers_min = 0}, "workers_min is 0", "1..2"},
      {{.workers = 2, .workers_min = 3}, "workers_min is 3", "1..2"},
      {{.spares = -1}, "spares is -1", "0..64"},
      {{.spares = 65}, "spares is 65", "0..64"},
      {{.deadline = 0ms}, "deadline (ns) is 0", "above 0"},
      {{.deadline = -5ns}, "deadline (ns) is -5", "above 0"},
      {{.retries = -1}, "retries is -1", "0..1000"},
      {{.retries = 1001}, "retries is 1001", "0..1000"},
      {{.quarantine_after = 0}, "quarantine_after is 0", "1 and above"},
      {{.tasks_per_worker_max = 0}, "tasks_per_worker_max is 0", "1 and"},
      {{.tasks_per_worker_max = -1}, "tasks_per_worker_max is -1", "1 and"},
      {{.cpu_time_max = -1s}, "cpu_time_max (s) is -1", "0 and above"},
      {{.open_files_max = -1}, "open_files_max is -1", "16 and above"},
      {{.open_files_max = 15}, "open_files_max is 15", "16 and above"},
      {{.nice = 20}, "nice is 20", "-20..19"},
      {{.nice = -21}, "nice is -21", "-20..19"},
      {{.queue_tasks_max = 0}, "queue_tasks_max is 0", "1..1000000000"},
      {{.queue_tasks_max = -7}, "queue_tasks_max is -7", "1..1000000000"},
      {{.grace = -1ns}, "grace (ns) is -1", "0 and above"},
      {{.heartbeat = -1ns}, "heartbeat (ns) is -1", "0 (none)"},
      {{.idle_after = -1ns}, "idle_after (ns) is -1", "0 and above"},
    };
  for (auto& [opts, seen, range] : bad) {
    const auto text = refusal(opts);
    BOOST_TEST(contains(text, seen), text << " / " << seen);
    BOOST_TEST(contains(text, range), text << " / " << range);
  }
  for (auto full :
       {troupe::full_policy::drop_newest, troupe::full_policy::drop_oldest,
        troupe::full_policy::caller_runs})
    BOOST_TEST(contains(refusal({.full = full}), "wait or reject"));
}

BOOST_AUTO_TEST_CASE(of_one_task_are_refused_too) {
  bench t;
  for (auto bad : {0ms, -1ms})
    BOOST_TEST(contains(
      text_thrown<troupe::bad_argument>([&] {
        (void)t.pool.with({.deadline = bad}).submit(fn<&test::square>, 2);
      }),
      "above 0"));
  BOOST_TEST(t.pool.submit(fn<&test::square>, 2).get() == 4);
}

BOOST_AUTO_TEST_SUITE_END()

// -- workers ------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(workers)

int prepared = 0;

void prepare() {
  prepared = 77;
}

void prepare_badly() {
  throw std::runtime_error{"no model on disk"};
}

void prepare_by_crashing() {
  std::_Exit(3);
}

BOOST_AUTO_TEST_CASE(a33_the_initializer_ran_before_the_first_task) {
  live_system live;
  troupe::process_pool pool{live.sys,
                            {.workers = 2, .initializer = fn<&prepare>}};
  std::vector<troupe::future<int>> seen;
  for (int i = 0; i < 200; ++i)
    seen.push_back(pool.submit([] { return prepared; }));
  for (auto& s : seen)
    BOOST_TEST_REQUIRE(s.get() == 77);
  BOOST_TEST(prepared == 0); // not here
}

BOOST_AUTO_TEST_CASE(a34_a_failing_initializer_breaks_the_pool_by_name) {
  live_system live{{.workers = 2, .log_level = "off"}};
  troupe::process_pool pool{live.sys,
                            {.workers = 2, .initializer = fn<&prepare_badly>}};
  std::vector<troupe::future<int>> fs;
  try {
    for (int i = 0; i < 100; ++i)
      fs.push_back(pool.submit(fn<&test::square>, i));
  } catch (const troupe::closed&) {
    // So soon.
  }
  for (auto& f : fs)
    BOOST_TEST_REQUIRE(
      contains(text_thrown<troupe::closed>([&] { f.get(); }), "no model"));
  BOOST_TEST(eventually(10s, [&] {
    return contains(text_thrown<troupe::closed>(
                      [&] { (void)pool.submit(fn<&test::square>, 1); }),
                    "no model");
  }));
  BOOST_TEST(pool.shutdown(troupe::drain, 10s).done == 0u);
}

BOOST_AUTO_TEST_CASE(a34_an_initializer_that_crashes_ends_in_a_named_error) {
  live_system live{{.workers = 2, .log_level = "off"}};
  troupe::process_pool pool{
    live.sys, {.workers = 1, .initializer = fn<&prepare_by_crashing>}};
  auto f = pool.submit(fn<&test::square>, 1);
  const auto text = text_thrown<troupe::closed>([&] { f.get(); });
  BOOST_TEST(contains(text, "could not be started"), text);
  BOOST_TEST(contains(text, "initializer"), text);
  BOOST_TEST(contains(text, "exited with 3"), text);
  const auto s = pool.stats();
  BOOST_TEST(s.started < 20u); // and not one after the other for ever
}

BOOST_AUTO_TEST_CASE(a35_exactly_n_of_15_n_blocked_tasks_run) {
  for (unsigned n : {1u, 2u, 5u}) {
    bench t{static_cast<std::ptrdiff_t>(n)};
    auto inside = test::new_word(), most = test::new_word();
    for (unsigned i = 0; i < 15 * n; ++i)
      (void)t.pool.submit(fn<&enter_and_pass>, inside, most, t.gate.token());
    BOOST_TEST(eventually(20s, [&] { return value(inside) == n; }));
    BOOST_TEST(!eventually(50ms, [&] { return value(most) > n; }));
    BOOST_TEST(t.pool.stats().workers == n);
    t.gate.open();
    t.pool.shutdown();
    BOOST_TEST(value(most) == n);
  }
}

BOOST_AUTO_TEST_CASE(a36_tasks_in_a_row_start_no_processes) {
  bench t{2};
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 200; ++i)
    seen.insert(t.pool.submit(fn<&on_processes::here>).get());
  BOOST_TEST(seen.size() <= 2u);
  const auto s = t.pool.stats();
  BOOST_TEST(s.started <= 3u); // and one spare
  BOOST_TEST(!seen.contains(static_cast<std::uint64_t>(::getpid())));
}

BOOST_AUTO_TEST_CASE(a36_an_elastic_pool_starts_only_what_is_needed) {
  live_system live;
  troupe::process_pool pool{
    live.sys,
    {.workers = 4, .workers_min = 1, .spares = 0, .idle_after = 30ms}};
  for (int i = 0; i < 20; ++i)
    (void)pool.submit(fn<&test::square>, i).get();
  BOOST_TEST(pool.stats().started == 1u);
  test::on_processes::gate gate;
  auto inside = test::new_word(), most = test::new_word();
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 4; ++i)
    fs.push_back(pool.submit(fn<&enter_and_pass>, inside, most, gate.token()));
  BOOST_TEST(eventually(10s, [&] { return value(inside) == 4; }));
  BOOST_TEST(pool.stats().started == 4u);
  gate.open();
  for (auto& f : fs)
    f.get();
  // What was idle for long goes.
  BOOST_TEST(eventually(10s, [&] { return pool.pids().size() == 1; }));
  BOOST_TEST(pool.submit(fn<&test::square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a37_a_worker_is_replaced_after_its_tasks) {
  live_system live;
  troupe::process_pool pool{
    live.sys, {.workers = 1, .spares = 0, .tasks_per_worker_max = 3}};
  std::vector<std::uint64_t> seen;
  for (int i = 0; i < 7; ++i) {
    seen.push_back(pool.submit(fn<&on_processes::here>).get());
    BOOST_TEST(pool.stats().workers <= 1u);
  }
  BOOST_TEST(seen[0] == seen[2]);
  BOOST_TEST(seen[3] != seen[2]);
  BOOST_TEST(seen[3] == seen[5]);
  BOOST_TEST(seen[6] != seen[5]);
  // The old one is reaped, not a zombie.
  BOOST_TEST(eventually(
    10s, [&] { return test::process_state(static_cast<int>(seen[0])) == 0; }));
  BOOST_TEST(eventually(10s, [&] { return pool.stats().recycled == 2; }));
  BOOST_TEST(pool.stats().crashes == 0u);
}

BOOST_AUTO_TEST_CASE(a38_a_backlog_beyond_the_workers_tasks_completes) {
  for (auto [workers, limit, tasks] :
       {std::tuple{1, 2, 6}, std::tuple{2, 2, 8}, std::tuple{2, 1, 40}}) {
    live_system live;
    troupe::process_pool pool{
      live.sys, {.workers = workers, .tasks_per_worker_max = limit}};
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < tasks; ++i)
      fs.push_back(pool.submit(fn<&test::square>, i));
    for (int i = 0; i < tasks; ++i)
      BOOST_TEST(fs[static_cast<std::size_t>(i)].get_for(20s) == i * i);
  }
}

int slow_square(int x) {
  ::usleep(5'000); // sleeps: a slow task
  return x * x;
}

BOOST_AUTO_TEST_CASE(a39_a41_recycling_in_a_shutdown_runs_the_queue) {
  for (auto closes : {true, false}) {
    live_system live;
    std::vector<troupe::future<int>> fs;
    {
      troupe::process_pool pool{live.sys,
                                {.workers = 2, .tasks_per_worker_max = 1}};
      for (int i = 0; i < 6; ++i)
        fs.push_back(pool.submit(fn<&slow_square>, i));
      if (closes) {
        auto r = pool.shutdown();
        BOOST_TEST(r.done == 6u);
        BOOST_TEST(r.clean);
      }
    }
    for (int i = 0; i < 6; ++i)
      BOOST_TEST(fs[static_cast<std::size_t>(i)].get() == i * i);
  }
}

BOOST_AUTO_TEST_CASE(a67_a_worker_has_only_its_own_descriptors) {
  live_system live;
  const int high = ::fcntl(0, F_DUPFD, 700); // not even closed on exec
  const int low = ::open("/dev/null", O_RDONLY);
  troupe::process_pool pool{live.sys, {.workers = 3}};
  test::on_processes::gate gate;
  auto inside = test::new_word();
  std::vector<troupe::future<std::pair<std::uint64_t, std::size_t>>> fs;
  for (int i = 0; i < 3; ++i)
    fs.push_back(pool.submit(
      [](word in, word g) {
        test::at(in).fetch_add(1);
        test::await_word(g);
        return std::pair{on_processes::here(), test::open_files()};
      },
      inside, gate.token()));
  BOOST_TEST(eventually(10s, [&] { return value(inside) == 3; }));
  gate.open();
  std::map<std::uint64_t, std::size_t> counts;
  for (auto& f : fs)
    counts.insert(f.get());
  BOOST_TEST(counts.size() == 3u);
  for (auto& [pid, n] : counts)
    BOOST_TEST(n == counts.begin()->second);
  BOOST_TEST(counts.begin()->second <= 12u);
  BOOST_TEST(
    pool.submit([](int fd) { return ::fcntl(fd, F_GETFD); }, high).get() == -1);
  ::close(high);
  ::close(low);
}

BOOST_AUTO_TEST_CASE(the_finalizer_runs_in_each_worker) {
  live_system live;
  static word counter; // in a worker: as the initializer's task left it
  auto count = test::new_word();
  {
    troupe::process_pool pool{live.sys,
                              {.workers = 2, .spares = 0, .finalizer = [] {
                                 test::at(counter).fetch_add(1);
                               }}};
    test::on_processes::gate gate;
    std::vector<troupe::future<void>> fs;
    auto inside = test::new_word();
    for (int i = 0; i < 2; ++i)
      fs.push_back(pool.submit(
        [](word c, word in, word g) {
          counter = c;
          test::at(in).fetch_add(1);
          test::await_word(g);
        },
        count, inside, gate.token()));
    BOOST_TEST(eventually(10s, [&] { return value(inside) == 2; }));
    gate.open();
  }
  BOOST_TEST(value(count) == 2u);
}

BOOST_AUTO_TEST_CASE(limits_of_the_kernel_reach_the_worker) {
  live_system live;
  troupe::process_pool pool{live.sys,
                            {.workers = 1, .open_files_max = 32, .nice = 5}};
  BOOST_TEST(pool
               .submit([] {
                 int n = 0;
                 while (::open("/dev/null", O_RDONLY) >= 0)
                   ++n;
                 return n;
               })
               .get()
             < 32);
  BOOST_TEST(pool.submit([] { return ::nice(0); }).get() == ::nice(0) + 5);
}

BOOST_AUTO_TEST_SUITE_END()

// -- tasks --------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(tasks)

struct picky {
  int n = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    if (n == 13)
      throw std::invalid_argument{"13 does not travel"};
    ar(n);
  }
};

BOOST_AUTO_TEST_CASE(a18_an_argument_that_cant_travel_is_the_callers) {
  bench t;
  BOOST_CHECK_THROW((void)t.pool.submit([](picky p) { return p.n; }, picky{13}),
                    std::invalid_argument);
  BOOST_TEST(t.pool.submit([](picky p) { return p.n; }, picky{4}).get() == 4);
  const auto r = t.pool.shutdown();
  BOOST_TEST(r.done == 1u);
  BOOST_TEST(r.failed == 0u);
}

BOOST_AUTO_TEST_CASE(higher_priorities_begin_first) {
  bench t{1};
  auto blocked = t.block();
  BOOST_TEST(eventually(10s, [&] { return t.pool.stats().running == 1; }));
  // One may stand at the worker already.
  (void)t.pool.submit(fn<&on_processes::count>, t.tally.token());
  auto low = t.pool.with({.priority = -1})
               .submit(fn<&on_processes::count>, t.tally.token());
  auto normal = t.pool.submit(fn<&on_processes::count>, t.tally.token());
  auto high = t.pool.with({.priority = 9})
                .submit(fn<&on_processes::count>, t.tally.token());
  t.gate.open();
  BOOST_TEST(high.get() < normal.get());
  BOOST_TEST(normal.get() < low.get());
}

BOOST_AUTO_TEST_CASE(a75_large_things_travel_both_ways) {
  bench t;
  for (std::size_t n : {std::size_t{1} << 16, (std::size_t{1} << 18) - 100,
                        std::size_t{1} << 18, (std::size_t{1} << 20) - 1,
                        (std::size_t{1} << 20) + 1, std::size_t{16} << 20}) {
    std::string text(n, 'x');
    text[n / 2] = 'y';
    auto back = t.pool.submit(
      [](std::string s) {
        s[0] = 'z';
        return s;
      },
      text);
    text[0] = 'z';
    BOOST_TEST((back.get() == text), n);
  }
}

BOOST_AUTO_TEST_CASE(b07_what_is_too_large_is_refused_by_name) {
  bench t{1};
  const auto pid = t.pool.submit([] { return ::getpid(); }).get();
  for (auto n : {test::past_2_gib, test::past_4_gib}) {
    BOOST_TEST(contains(text_thrown<troupe::bad_argument>([&] {
                          (void)t.pool.submit(
                            [](const test::huge_bytes& b) { return b.size(); },
                            test::huge_bytes(n));
                        }),
                        "too large"));
    auto f =
      t.pool.submit([](std::size_t size) { return test::huge_bytes(size); }, n);
    BOOST_TEST(contains(
      text_thrown<troupe::bad_argument>([&] { (void)f.get(); }), "too large"));
  }
  // Nobody died of it.
  BOOST_TEST(t.pool.submit([] { return ::getpid(); }).get() == pid);
}

// Where a large argument stood serves the next one, and goes when none comes.
BOOST_AUTO_TEST_CASE(large_arguments_use_the_same_memory_again) {
  auto blocks = [] { return memfds_named("/memfd:troupe.block"); };
  bench t{2};
  std::vector<troupe::future<bool>> all;
  for (int i = 0; i < 40; ++i) {
    const auto size = (std::size_t{2} << 20)
                      + static_cast<std::size_t>(i) * 4099;
    const auto byte = static_cast<char>('a' + i % 26);
    all.push_back(t.pool.submit([](const std::string& s, std::size_t n,
                                   char c) { return s == std::string(n, c); },
                                std::string(size, byte), size, byte));
    if (i % 4 == 3)
      for (auto& f : std::exchange(all, {})) {
        BOOST_TEST(f.get());
        all.push_back(std::move(f)); // it is kept, its argument is not
      }
    if (i % 4 == 3)
      all.clear();
    BOOST_TEST(blocks() <= 5);
  }
  BOOST_TEST(blocks() >= 1);
  BOOST_TEST(eventually(10s, [&] { return blocks() == 0; }));
}

BOOST_AUTO_TEST_CASE(a77_b19_a_blob_outlives_who_reads_it) {
  bench t{1};
  {
    troupe::shared_buffer fill{std::size_t{2} << 20};
    std::ranges::fill(fill.bytes(), std::byte{'b'});
    const troupe::blob shared = std::move(fill).freeze();
    BOOST_TEST(shared.is_shared());
    auto last = [](const troupe::blob& b, bool dies) {
      if (dies)
        ::raise(SIGKILL);
      return std::to_integer<char>(b.data()[b.size() - 1]);
    };
    for (auto dies : {false, true, false, true, false}) {
      auto f = t.pool.submit(last, shared, dies);
      if (dies)
        BOOST_CHECK_THROW((void)f.get(), troupe::worker_died);
      else
        BOOST_TEST(f.get() == 'b');
    }
    // One that a worker made, which then ends.
    auto made = t.pool.submit([] {
      troupe::shared_buffer b{std::size_t{2} << 20};
      b.bytes()[7] = std::byte{'w'};
      return std::move(b).freeze();
    });
    const auto from_worker = made.get();
    BOOST_CHECK_THROW((void)t.pool.submit(last, shared, true).get(),
                      troupe::worker_died);
    BOOST_TEST((from_worker.data()[7] == std::byte{'w'}));
  }
  BOOST_TEST(t.pool.submit([] { return 1; }).get() == 1);
  BOOST_TEST(
    eventually(10s, [] { return memfds_named("/memfd:troupe ") == 0; }));
}

BOOST_AUTO_TEST_CASE(b04_large_results_need_no_reader) {
  bench t{1};
  std::vector<troupe::future<std::string>> fs;
  for (int i = 0; i < 20; ++i)
    fs.push_back(t.pool.submit([](char c) { return std::string(262'000, c); },
                               static_cast<char>('a' + i)));
  t.pool.shutdown();
  for (int i = 0; i < 20; ++i)
    BOOST_TEST((fs[static_cast<std::size_t>(i)].get()
                == std::string(262'000, static_cast<char>('a' + i))));
}

BOOST_AUTO_TEST_CASE(a11_b25_a_slow_consumer_costs_flat_memory) {
  bench t;
  auto resident = [] {
    std::ifstream statm{"/proc/self/statm"};
    std::size_t total = 0, pages = 0;
    statm >> total >> pages;
    return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
  };
  // A sanitizer keeps what was freed: up to 256 MiB of it.
  const int warm = test::is_sanitized ? 4000 : 200;
  int pulled = 0, taken = 0;
  std::size_t before = 0, after = 0;
  for (auto&& block :
       t.pool.imap([](int) { return std::string(100'000, 'x'); },
                   test::generator{&pulled}, {.chunk = 1, .window = 8})) {
    BOOST_TEST_REQUIRE(block.size() == 100'000u);
    BOOST_TEST_REQUIRE(pulled <= ++taken + 8);
    if (taken == warm)
      before = resident();
    if (taken == warm + 2800) { // 280 MB have passed
      after = resident();
      break;
    }
  }
  BOOST_TEST(after < before + 30'000, after << " KiB after " << before);
}

BOOST_AUTO_TEST_CASE(a_tasks_stop_token_hears_of_cancel_and_deadline) {
  live_system live;
  troupe::process_pool pool{live.sys, {.workers = 1, .grace = 20s}};
  auto began = test::new_word();
  auto obedient = [](std::stop_token stop, word w) {
    test::set_word(w, 1);
    while (!stop.stop_requested())
      ::usleep(100); // sleeps: it is busy
    return on_processes::here();
  };
  auto f = pool.submit(obedient, began);
  BOOST_TEST(eventually(10s, [&] { return value(began) == 1; }));
  BOOST_TEST(!f.cancel());
  const auto pid = f.get(); // it had its say
  auto late = pool.with({.deadline = 20ms}).submit(obedient, began);
  BOOST_CHECK_THROW(late.get(), troupe::timeout);
  BOOST_TEST(pool.submit(fn<&on_processes::here>).get() == pid);
  BOOST_TEST(pool.stats().crashes == 0u);
}

BOOST_AUTO_TEST_CASE(a_task_knows_what_remains_to_it) {
  bench t;
  auto left = [] { return troupe::remaining().count(); };
  BOOST_TEST(t.pool.submit(left).get() == INT64_MAX);
  const auto some = t.pool.with({.deadline = 10s}).submit(left).get();
  BOOST_TEST(some <= 10'000'000'000);
  BOOST_TEST(some > 8'000'000'000);
}

BOOST_AUTO_TEST_CASE(a_deadline_counts_from_the_tasks_own_beginning) {
  live_system live;
  troupe::process_pool pool{live.sys, {.workers = 1, .initializer = [] {
                                         ::usleep(150'000); // sleeps: slow
                                       }}};
  // Both stand behind the initializer, the second behind the first.
  auto slow = [] { ::usleep(60'000); }; // sleeps: a slow task
  auto one = pool.with({.deadline = 110ms}).submit(slow);
  auto two = pool.with({.deadline = 110ms}).submit(slow);
  one.get();
  two.get();
}

BOOST_AUTO_TEST_SUITE_END()

// -- bounds -------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(bounds)

BOOST_AUTO_TEST_CASE(a_full_pool_rejects) {
  live_system live;
  test::on_processes::gate gate;
  troupe::process_pool pool{
    live.sys, {.workers = 1, .queue_tasks_max = 3, .full = troupe::reject}};
  std::vector<troupe::future<void>> fs;
  const auto text = text_thrown<troupe::rejected>([&] {
    for (int i = 0; i < 100; ++i)
      fs.push_back(pool.submit(fn<&on_processes::pass>, gate.token()));
  });
  BOOST_TEST(contains(text, "the limit is 3 "), text);
  BOOST_TEST(fs.size() >= 4u);
  BOOST_TEST(fs.size() < 10u);
  gate.open();
  for (auto& f : fs)
    f.get();
  // A map has a window of its own: it waits for room.
  BOOST_TEST(pool.map(fn<&test::square>, test::numbers(100), {.chunk = 1})
               .to_vector()
               .size()
             == 100u);
}

BOOST_AUTO_TEST_CASE(a_full_pool_makes_the_submitter_wait) {
  live_system live;
  test::on_processes::gate gate;
  auto ran = test::new_word();
  troupe::process_pool pool{live.sys, {.workers = 1, .queue_tasks_max = 1}};
  (void)pool.submit(fn<&on_processes::pass>, gate.token());
  std::atomic<int> accepted{0};
  std::thread submitter{[&] {
    for (int i = 0; i < 20; ++i) {
      (void)pool.submit(fn<&on_processes::count>, ran);
      ++accepted;
    }
  }};
  BOOST_TEST(eventually(10s, [&] { return accepted >= 1; }));
  BOOST_TEST(!eventually(30ms, [&] { return accepted > 4; }));
  gate.open();
  submitter.join();
  pool.shutdown();
  BOOST_TEST(value(ran) == 20u);
}

BOOST_AUTO_TEST_CASE(who_waits_for_room_learns_of_the_shutdown) {
  live_system live;
  test::on_processes::gate gate;
  troupe::process_pool pool{live.sys, {.workers = 1, .queue_tasks_max = 1}};
  std::atomic<bool> closed{false};
  std::thread submitter{[&] {
    try {
      for (;;)
        (void)pool.submit(fn<&on_processes::pass>, gate.token());
    } catch (const troupe::closed&) {
      closed = true;
    }
  }};
  BOOST_TEST(eventually(10s, [&] { return pool.stats().queued == 1; }));
  pool.shutdown(troupe::drain, 0ns);
  submitter.join();
  BOOST_TEST(closed);
}

BOOST_AUTO_TEST_SUITE_END()
