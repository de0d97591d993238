// SPDX-License-Identifier: MIT
// A worker that crashes: what it costs, what is known of it afterwards, and how
// a task is ended that does not end by itself.
#define BOOST_TEST_MODULE process_crash
#define BOOST_TEST_NO_MAIN
#include "support/processes.hpp"

#include <set>
#include <sys/resource.h>

#include "process/channel.hpp"
#include "support/seed.hpp"
#include "troupe/serialize.hpp"
#include "wire/frame.hpp"

TROUPE_TEST_MAIN

namespace {

using namespace std::chrono_literals;
using test::contains;
using test::death_of;
using test::eventually;
using test::live_system;
using test::on_processes;
using test::text_thrown;
using test::word;
using troupe::fn;
using troupe::process_pool;

std::uint32_t value(word w) {
  return test::at(w).load();
}

int square(int x) {
  return x * x;
}

std::int32_t here() {
  return ::getpid();
}

struct bench {
  live_system live{{.workers = 2, .log_level = "off"}};
  process_pool pool;
  explicit bench(troupe::process_pool_options o = {.workers = 2})
    : pool(live.sys, o) {}
};

enum class way : std::uint8_t { segv, bus, fpe, ill, abrt, kill, term, exit };
constexpr way all_ways[] = {way::segv, way::bus,  way::fpe,  way::ill,
                            way::abrt, way::kill, way::term, way::exit};

int signal_of(way w) {
  constexpr int numbers[] = {SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                             SIGABRT, SIGKILL, SIGTERM, 0};
  return numbers[static_cast<int>(w)];
}

// Named, external and not inlined: it must stand in backtraces.
} // namespace

namespace test {

[[gnu::noinline]] int crash_here(int number) {
  if (number == SIGSEGV) {
    // Not null: that would be a sanitizer's to tell. Read at run time: else
    // the compiler tells.
    volatile std::uintptr_t nowhere = 64;
    *reinterpret_cast<volatile int*>(nowhere) = 1;
  } else if (number != 0) {
    // Not std::abort for SIGABRT: what never returns is moved out of the
    // function by the optimiser, to where it has no name.
    ::raise(number);
  } else {
    ::_exit(99);
  }
  return number;
}

[[gnu::noinline]] int overflow_here(int n) {
  volatile char room[4096];
  room[0] = static_cast<char>(n);
  return (n < 0 ? 0 : overflow_here(n + 1)) + room[0];
}

} // namespace test

namespace {

int crash(way w) {
  return test::crash_here(signal_of(w)) + 1;
}

// Goes wrong when it is decoded or encoded in a process that is not `home`.
struct trap {
  std::int32_t home = 0;
  std::int32_t number = -1; // -1: throws; 0: exits with 99; else a signal
  bool on_load = false, in_parent = false;

  template <class Archive>
  void serialize(Archive& ar) {
    ar(home, number, on_load, in_parent);
    const auto is_parent = ::getpid() == home;
    if (home == 0 || is_parent != in_parent
        || on_load != Archive::is_loading::value)
      return;
    if (number < 0)
      throw std::domain_error{"a trap"};
    test::crash_here(number);
  }
};

template <class E, class F>
void throws(F f) {
  BOOST_CHECK_THROW(f(), E);
}

} // namespace

BOOST_AUTO_TEST_SUITE(a_crash)

BOOST_AUTO_TEST_CASE(smoke) {
  bench t;
  BOOST_TEST(death_of(t.pool.submit(fn<&crash>, way::segv)).signal == SIGSEGV);
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a44_a48_costs_its_own_task_alone) {
  for (auto w : all_ways) {
    bench t;
    std::vector<troupe::future<int>> before, after;
    for (int i = 0; i < 50; ++i)
      before.push_back(t.pool.submit(fn<&square>, i));
    auto bad = t.pool.submit(fn<&crash>, w);
    for (int i = 0; i < 50; ++i)
      after.push_back(t.pool.submit(fn<&square>, i));
    const auto c = death_of(bad);
    BOOST_TEST(c.signal == signal_of(w));
    BOOST_TEST(c.exit_code == (w == way::exit ? 99 : -1));
    for (int i = 0; i < 50; ++i) {
      BOOST_TEST_REQUIRE(before[static_cast<std::size_t>(i)].get() == i * i);
      BOOST_TEST_REQUIRE(after[static_cast<std::size_t>(i)].get() == i * i);
    }
    const auto r = t.pool.shutdown();
    BOOST_TEST(r.done == 100u);
    BOOST_TEST(r.failed == 1u);
  }
}

BOOST_AUTO_TEST_CASE(a44_a65_from_outside_too) {
  bench t{{.workers = 1}};
  auto pid = test::new_word();
  for (int number : {SIGTERM, SIGKILL, SIGINT}) {
    test::set_word(pid, 0);
    auto f = t.pool.submit(
      [](word w) {
        test::set_word(w, static_cast<std::uint32_t>(here()));
        ::pause();
      },
      pid);
    auto next = t.pool.submit(fn<&square>, 4);
    BOOST_TEST(eventually(10s, [&] { return value(pid) != 0; }));
    ::kill(static_cast<int>(value(pid)), number);
    BOOST_TEST(death_of(f).signal == number);
    BOOST_TEST(next.get() == 16);
  }
}

BOOST_AUTO_TEST_CASE(a45_each_task_gets_its_own_error) {
  bench t;
  auto a = death_of(t.pool.submit(fn<&crash>, way::kill));
  auto b = death_of(t.pool.submit(fn<&crash>, way::exit));
  BOOST_TEST(a.pid != b.pid);
  BOOST_TEST(a.signal == SIGKILL);
  BOOST_TEST(b.exit_code == 99);
}

BOOST_AUTO_TEST_CASE(a46_says_how_it_ended) {
  bench t;
  auto f = t.pool.submit(fn<&crash>, way::exit);
  auto text = text_thrown<troupe::worker_died>([&] { f.get(); });
  BOOST_TEST(contains(text, "exited with 99"), text);
  BOOST_TEST(contains(text, "crash (attempt 1)"), text);
  f = t.pool.submit(fn<&crash>, way::segv);
  text = text_thrown<troupe::worker_died>([&] { f.get(); });
  BOOST_TEST(contains(text, "SIGSEGV (Segmentation fault)"), text);
  const auto c = death_of(f);
  BOOST_TEST(contains(text, "process " + std::to_string(c.pid)), text);
  BOOST_TEST(contains(c.task, "crash"));
  BOOST_TEST(c.attempt == 1u);
}

BOOST_AUTO_TEST_CASE(a47_while_decoding_the_arguments) {
  bench t{{.workers = 2, .spares = 0}};
  auto f = [](trap x) { return x.home; };
  const auto before = t.pool.stats().started;
  BOOST_CHECK_THROW(t.pool.submit(f, trap{here(), -1, true}).get(),
                    std::exception);
  BOOST_TEST(t.pool.stats().crashes == 0u); // an error, no death
  BOOST_TEST(t.pool.stats().started == before);
  BOOST_TEST(death_of(t.pool.submit(f, trap{here(), 0, true})).exit_code == 99);
  BOOST_TEST(death_of(t.pool.submit(f, trap{here(), SIGSEGV, true})).signal
             == SIGSEGV);
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a49_while_encoding_the_result) {
  bench t;
  auto f = [](trap x) { return x; };
  BOOST_CHECK_THROW(t.pool.submit(f, trap{here(), -1, false}).get(),
                    std::domain_error);
  BOOST_TEST(t.pool.stats().crashes == 0u);
  BOOST_TEST(death_of(t.pool.submit(f, trap{here(), 0, false})).exit_code
             == 99);
  BOOST_TEST(death_of(t.pool.submit(f, trap{here(), SIGKILL, false})).signal
             == SIGKILL);
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a50_while_the_parent_decodes_the_result) {
  bench t;
  auto f = [](trap x) { return x; };
  BOOST_CHECK_THROW(t.pool.submit(f, trap{here(), -1, true, true}).get(),
                    std::domain_error);
  BOOST_TEST(t.pool.stats().crashes == 0u);
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a51_with_large_arguments_blocks_nobody) {
  bench t;
  std::vector<troupe::future<int>> fs;
  const std::string large(std::size_t{3} << 20, 'x'), middle(900'000, 'x');
  for (int i = 0; i < 10; ++i)
    fs.push_back(t.pool.submit(
      [](const std::string&) { return test::crash_here(SIGKILL); },
      i % 2 == 0 ? large : middle));
  for (auto& f : fs)
    BOOST_TEST(death_of(f).signal == SIGKILL);
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

BOOST_AUTO_TEST_CASE(a53_after_shutdown_was_called) {
  for (int round = 0; round < 10; ++round) {
    bench t;
    auto gate = test::new_word();
    auto bad = t.pool.submit(
      [](word g) {
        test::await_word(g);
        return crash(way::segv);
      },
      gate);
    auto odd = t.pool.submit(
      [](word g, trap x) {
        test::await_word(g);
        return x;
      },
      gate, trap{here(), -1, false});
    std::vector<troupe::future<int>> fs;
    for (int i = 0; i < 20; ++i)
      fs.push_back(t.pool.submit(fn<&square>, i));
    std::thread opener{[&] { test::set_word(gate, 1); }};
    const auto r = t.pool.shutdown();
    opener.join();
    BOOST_TEST(r.done == 20u);
    BOOST_TEST(r.failed == 2u);
    BOOST_TEST(bad.ready());
    BOOST_TEST((bad.exception() && odd.exception()));
    for (int i = 0; i < 20; ++i)
      BOOST_TEST(fs[static_cast<std::size_t>(i)].get() == i * i);
  }
}

BOOST_AUTO_TEST_CASE(a54_results_that_cant_travel_lose_no_worker) {
  bench t{{.workers = 1}};
  const auto pid = t.pool.submit(fn<&here>).get();
  for (int i = 0; i < 20; ++i) {
    auto f = t.pool.submit([](trap x) { return x; }, trap{here(), -1, false});
    BOOST_TEST(text_thrown<std::domain_error>([&] { f.get(); }) == "a trap");
  }
  BOOST_TEST(t.pool.submit(fn<&here>).get() == pid);
}

struct odd_error : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct no_exception {};

BOOST_AUTO_TEST_CASE(b06_errors_of_unknown_types_come_by_type_and_text) {
  bench t{{.workers = 1}};
  const auto pid = t.pool.submit(fn<&here>).get();
  auto known = t.pool.submit([] { throw odd_error{"the text"}; });
  auto unknown = t.pool.submit([] { throw no_exception{}; });
  try {
    known.get();
    BOOST_ERROR("nothing was thrown");
  } catch (const troupe::task_failed& e) {
    BOOST_TEST(contains(e.type(), "odd_error"), e.type());
    BOOST_TEST(contains(e.what(), "the text"), e.what());
  }
  try {
    unknown.get();
    BOOST_ERROR("nothing was thrown");
  } catch (const troupe::task_failed& e) {
    BOOST_TEST(contains(e.type(), "no_exception"), e.type());
  }
  BOOST_TEST(t.pool.submit(fn<&here>).get() == pid); // nobody died
}

BOOST_AUTO_TEST_CASE(b01_in_the_middle_of_a_map_is_told_within_a_second) {
  bench t;
  auto pid = test::new_word();
  auto inputs = std::vector<std::tuple<word, int>>{};
  for (int i = 0; i < 40; ++i)
    inputs.emplace_back(pid, i);
  auto results = t.pool.map(
    [](std::tuple<word, int> x) {
      if (std::get<1>(x) == 17) {
        test::set_word(std::get<0>(x), static_cast<std::uint32_t>(here()));
        ::pause();
      }
      return std::get<1>(x);
    },
    inputs, {.chunk = 1});
  std::jthread killer{[&] {
    test::await_word(pid);
    ::kill(static_cast<int>(value(pid)), SIGKILL);
  }};
  int n = 0, errors = 0;
  for (auto i = results.begin(); i != results.end(); ++i, ++n) {
    const auto began = std::chrono::steady_clock::now();
    try {
      BOOST_TEST(*i == n);
    } catch (const troupe::worker_died&) {
      BOOST_TEST(n == 17);
      BOOST_TEST((std::chrono::steady_clock::now() - began < 1s));
      ++errors;
    }
  }
  BOOST_TEST(errors == 1);
  BOOST_TEST(n == 40);
}

BOOST_AUTO_TEST_CASE(b02_at_random_instants_leaves_nothing_stuck) {
  TEST_WITH_SEED() {
    test::random_source random;
    bench t;
    std::vector<troupe::future<int>> fs;
    unsigned kills = 0;
    for (int round = 0; round < 300; ++round) {
      if (round % 5 == 0)
        BOOST_TEST_REQUIRE(eventually(20s, [&] {
          return t.pool.stats().queued < 20 && !t.pool.pids().empty();
        }));
      for (int i = 0; i < 8; ++i)
        fs.push_back(t.pool.submit(fn<&square>, i));
      const auto pids = t.pool.pids();
      if (!pids.empty() && random.chance(50))
        kills += ::kill(pids[random.below(pids.size())], SIGKILL) == 0;
      for (auto spin = random.below(2000); spin != 0; --spin)
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    unsigned died = 0;
    for (std::size_t i = 0; i < fs.size(); ++i) {
      BOOST_TEST_REQUIRE(fs[i].wait_for(20s));
      try {
        const auto x = static_cast<int>(i % 8);
        BOOST_TEST_REQUIRE(fs[i].get() == x * x);
      } catch (const troupe::worker_died&) {
        ++died;
      }
    }
    BOOST_TEST(died <= kills);
    BOOST_TEST(kills > 20u);
    BOOST_TEST(t.pool.submit(fn<&square>, 9).get() == 81);
  }
}

BOOST_AUTO_TEST_CASE(b30_a_hundred_of_them_leave_the_pool_usable) {
  bench t;
  for (int i = 0; i < 100; ++i)
    BOOST_TEST_REQUIRE(
      (t.pool.submit(fn<&crash>, all_ways[i % 8]).exception() != nullptr));
  BOOST_TEST(t.pool.submit(fn<&square>, 9).get() == 81);
  const auto s = t.pool.stats();
  BOOST_TEST(s.crashes == 100u);
  BOOST_TEST(s.workers == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

// -- what is known afterwards -------------------------------------------------

BOOST_AUTO_TEST_SUITE(the_certificate)

BOOST_AUTO_TEST_CASE(has_a_backtrace_with_the_functions_name) {
  bench t;
  for (auto w : {way::segv, way::bus, way::fpe, way::ill, way::abrt}) {
    const auto c = death_of(t.pool.submit(fn<&crash>, w));
    BOOST_TEST(contains(c.backtrace, "test::crash_here"), c.backtrace);
    BOOST_TEST(contains(c.backtrace, "(+0x"), c.backtrace);
    BOOST_TEST(contains(to_string(c), "crash_here"));
  }
  for (auto w : {way::kill, way::term, way::exit})
    BOOST_TEST(death_of(t.pool.submit(fn<&crash>, w)).backtrace == "");
}

#ifndef __SANITIZE_ADDRESS__ // its frames are too large for the handler's stack
BOOST_AUTO_TEST_CASE(knows_a_stack_that_overflowed) {
  bench t;
  const auto c = death_of(t.pool.submit([] { return test::overflow_here(0); }));
  BOOST_TEST(c.signal == SIGSEGV);
  BOOST_TEST(contains(c.backtrace, "overflow_here"), c.backtrace);
}
#endif

BOOST_AUTO_TEST_CASE(has_the_last_4_kib_of_stderr) {
  bench t{{.workers = 1}};
  const auto c = death_of(t.pool.submit([] {
    for (int i = 0; i < 3000; ++i)
      std::fprintf(stderr, "line %d\n", i);
    std::fprintf(stderr, "the last words");
    ::_exit(1);
  }));
  BOOST_TEST(c.stderr_tail.size() == 4096u);
  BOOST_TEST(c.stderr_tail.ends_with("line 2999\nthe last words"));
  // The next worker begins with nothing said.
  BOOST_TEST(death_of(t.pool.submit(fn<&crash>, way::exit)).stderr_tail == "");
}

BOOST_AUTO_TEST_CASE(has_what_it_used) {
  bench t;
  const auto c = death_of(t.pool.submit([] {
    std::vector<char> much(std::size_t{64} << 20, 'x');
    volatile char sum = 0;
    const auto until = std::chrono::steady_clock::now() + 50ms;
    while (std::chrono::steady_clock::now() < until)
      sum = static_cast<char>(sum + much[static_cast<unsigned char>(sum)]);
    ::_exit(2);
  }));
  BOOST_TEST(c.peak_rss_bytes > 64 << 20);
  BOOST_TEST((c.run_time >= 50ms));
  BOOST_TEST((c.cpu_time > 1ms));
  BOOST_TEST(!c.out_of_memory);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
BOOST_AUTO_TEST_CASE(names_the_limit_of_memory) {
  bench t{{.workers = 2, .memory_max_bytes = std::size_t{64} << 20}};
  const auto c = death_of(t.pool.submit([] {
    std::vector<std::vector<char>> all;
    for (;;) {
      all.emplace_back(std::size_t{1} << 20, 'x');
      ::usleep(500); // sleeps: not to take the machine's
    }
  }));
  BOOST_TEST(c.out_of_memory);
  BOOST_TEST(contains(c.reason, "its limit of memory: it had taken"), c.reason);
  BOOST_TEST(c.peak_rss_bytes < 1 << 30);
  BOOST_TEST(contains(to_string(c), "out of memory"));
  BOOST_TEST(c.signal == SIGABRT);
  // Less than the limit is well.
  BOOST_TEST(t.pool
               .submit([] {
                 std::vector<char> some(std::size_t{20} << 20, 'x');
                 ::usleep(30'000); // sleeps: to be looked at
                 return some.size();
               })
               .get()
             == std::size_t{20} << 20);
}
#endif

BOOST_AUTO_TEST_CASE(names_the_limit_of_cpu_time) {
  bench t{{.workers = 1, .cpu_time_max = 1s}};
  const auto c = death_of(t.pool.submit([] {
    for (;;)
      std::atomic_signal_fence(std::memory_order_seq_cst);
  }));
  BOOST_TEST(c.signal == SIGXCPU);
  BOOST_TEST(c.reason == "its limit of CPU time");
  // The limit counts whole ticks, what was stolen from the machine included.
  BOOST_TEST((c.cpu_time >= 500ms));
}

BOOST_AUTO_TEST_CASE(a71_exit_runs_the_hooks_and_flushes) {
  bench t{{.workers = 1}};
  auto hook = test::new_word();
  static word in_worker;
  const auto c = death_of(t.pool.submit(
    [](word w) {
      in_worker = w;
      std::atexit([] { test::set_word(in_worker, 1); });
      static char room[1000];
      std::setvbuf(stderr, room, _IOFBF, sizeof(room));
      std::fprintf(stderr, "not flushed by the task");
      std::exit(7);
    },
    hook));
  BOOST_TEST(c.exit_code == 7);
  BOOST_TEST(value(hook) == 1u);
  BOOST_TEST(c.stderr_tail == "not flushed by the task");
}

BOOST_AUTO_TEST_CASE(a71_a_worker_without_stdio_is_no_trouble) {
  bench t{{.workers = 1}};
  const auto pid = t.pool
                     .submit([] {
                       for (int fd : {0, 1, 2})
                         ::close(fd);
                       std::puts("nowhere");
                       return here();
                     })
                     .get();
  BOOST_TEST(t.pool.submit(fn<&here>).get() == pid);
  BOOST_TEST(death_of(t.pool.submit(fn<&crash>, way::exit)).exit_code == 99);
}

BOOST_AUTO_TEST_SUITE_END()

// -- tasks that must be ended -------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_task_that_does_not_end)

// Tells its pid, then neither ends nor listens.
void stay(word pid, bool ignores_term, bool ignores_abort) {
  if (ignores_term)
    ::signal(SIGTERM, SIG_IGN);
  if (ignores_abort)
    ::signal(SIGABRT, SIG_IGN);
  test::set_word(pid, static_cast<std::uint32_t>(here()));
  for (;;)
    std::atomic_signal_fence(std::memory_order_seq_cst);
}

BOOST_AUTO_TEST_CASE(a57_is_ended_at_its_deadline_whatever_it_ignores) {
  for (auto [term, abort] : std::vector<std::pair<bool, bool>>{
         {false, false}, {true, false}, {true, true}}) {
    bench t{{.workers = 1, .grace = 20ms}};
    auto pid = test::new_word();
    const auto began = std::chrono::steady_clock::now();
    auto f =
      t.pool.with({.deadline = 50ms}).submit(fn<&stay>, pid, term, abort);
    const auto text = text_thrown<troupe::timeout>([&] { f.get(); });
    BOOST_TEST(contains(text, "not done after 50 ms"), text);
    BOOST_TEST((std::chrono::steady_clock::now() - began >= 50ms));
    const auto next = t.pool.submit(fn<&here>).get(); // on another worker
    BOOST_TEST(static_cast<std::uint32_t>(next) != value(pid));
    BOOST_TEST(eventually(10s, [&] {
      return test::process_state(static_cast<int>(value(pid))) == 0;
    }));
    BOOST_TEST(eventually(10s, [&] { return t.pool.stats().killed == 1; }));
  }
}

BOOST_AUTO_TEST_CASE(a57_is_ended_by_cancel_and_nothing_else_is) {
  bench t{{.workers = 1, .grace = 20ms}};
  auto pid = test::new_word();
  auto f = t.pool.submit(fn<&stay>, pid, true, false);
  std::vector<troupe::future<int>> fs;
  for (int i = 0; i < 20; ++i)
    fs.push_back(t.pool.submit(fn<&square>, i));
  BOOST_TEST(eventually(10s, [&] { return value(pid) != 0; }));
  BOOST_TEST(!f.cancel());
  BOOST_TEST(contains(text_thrown<troupe::cancelled>([&] { f.get(); }),
                      "was cancelled while it ran"));
  for (int i = 0; i < 20; ++i)
    BOOST_TEST(fs[static_cast<std::size_t>(i)].get() == i * i);
  BOOST_TEST(t.pool.stats().crashes == 1u);
}

BOOST_AUTO_TEST_CASE(a57_others_on_other_workers_do_not_notice) {
  bench t{{.workers = 2, .grace = 10ms}};
  auto pid = test::new_word(), other = test::new_word();
  auto gate = test::new_word();
  auto calm = t.pool.submit(
    [](word p, word g) {
      test::set_word(p, static_cast<std::uint32_t>(here()));
      test::await_word(g);
      return here();
    },
    other, gate);
  auto bad =
    t.pool.with({.deadline = 30ms}).submit(fn<&stay>, pid, false, false);
  BOOST_CHECK_THROW(bad.get(), troupe::timeout);
  BOOST_TEST(eventually(10s, [&] {
    return test::process_state(static_cast<int>(value(pid))) == 0;
  }));
  test::set_word(gate, 1);
  BOOST_TEST(static_cast<std::uint32_t>(calm.get()) == value(other));
}

BOOST_AUTO_TEST_CASE(b20_a_late_signal_never_meets_the_next_task) {
  bench t{{.workers = 2, .grace = 1ms}};
  for (int round = 0; round < 150; ++round) {
    auto pid = test::new_word();
    auto f = t.pool.submit(
      [](std::stop_token stop, word w, int spins) {
        test::set_word(w, 1);
        while (!stop.stop_requested()) {}
        for (int i = 0; i < spins; ++i)
          std::atomic_signal_fence(std::memory_order_seq_cst);
      },
      pid, round * 5'000);
    auto next = t.pool.submit(fn<&square>, round);
    test::await_word(pid);
    f.cancel();
    BOOST_TEST_REQUIRE(next.get() == round * round);
    BOOST_TEST_REQUIRE(f.wait_for(20s));
  }
}

BOOST_AUTO_TEST_CASE(b28_a_stopped_one_is_found_and_replaced) {
  for (auto warm : {false, true}) { // before or after it has shown signs
    bench t{{.workers = 1, .heartbeat = 500ms}};
    auto pid = test::new_word();
    auto f = t.pool.submit(fn<&stay>, pid, false, false);
    auto next = t.pool.submit(fn<&square>, 5);
    test::await_word(pid);
    if (warm) // a busy one lives on
      BOOST_TEST(!f.wait_for(1500ms));
    ::kill(static_cast<int>(value(pid)), SIGSTOP);
    const auto c = death_of(f);
    BOOST_TEST(c.signal == SIGKILL);
    BOOST_TEST(contains(c.reason, "no sign of life for 500 ms"), c.reason);
    BOOST_TEST(next.get() == 25);
  }
}

BOOST_AUTO_TEST_CASE(b14_its_children_go_with_it) {
  bench t{{.workers = 1, .grace = 10ms}};
  for (auto daemon : {false, true}) {
    auto pid = test::new_word(), below = test::new_word();
    auto f = t.pool.submit(
      [](word p, word b, bool apart) {
        if (::fork() == 0) {
          if (apart) {
            ::setsid();
            if (::fork() != 0)
              ::_exit(0);
          }
          ::signal(SIGTERM, SIG_IGN);
          test::set_word(b, static_cast<std::uint32_t>(here()));
          for (;;)
            ::pause();
        }
        test::await_word(b);
        test::set_word(p, static_cast<std::uint32_t>(here()));
        for (;;)
          ::pause();
      },
      pid, below, daemon);
    test::await_word(pid);
    f.cancel();
    BOOST_CHECK_THROW(f.get(), troupe::cancelled);
    BOOST_TEST(eventually(10s, [&] {
      return test::process_state(static_cast<int>(value(below))) == 0;
    }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

// -- trying again -------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(b23_attempts)

// Crashes the first `times` times.
int crash_first(word runs, std::uint32_t times) {
  const auto run = test::at(runs).fetch_add(1);
  if (run < times)
    test::crash_here(SIGKILL);
  return static_cast<int>(run);
}

BOOST_AUTO_TEST_CASE(what_is_not_idempotent_runs_once) {
  bench t{{.workers = 2, .retries = 5}};
  auto runs = test::new_word();
  BOOST_TEST(death_of(t.pool.submit(fn<&crash_first>, runs, 1u)).attempt == 1u);
  BOOST_TEST(value(runs) == 1u);
}

BOOST_AUTO_TEST_CASE(an_idempotent_one_is_tried_again_as_often_as_allowed) {
  bench t{{.workers = 2, .retries = 2, .quarantine_after = 10}};
  auto runs = test::new_word(), hopeless = test::new_word();
  BOOST_TEST(t.pool.submit(troupe::idempotent(fn<&crash_first>), runs, 2u).get()
             == 2);
  BOOST_TEST(t.pool.stats().retried == 2u);
  const auto c = death_of(
    t.pool.submit(troupe::idempotent(fn<&crash_first>), hopeless, 99u));
  BOOST_TEST(c.attempt == 3u);
  BOOST_TEST(value(hopeless) == 3u);
}

BOOST_AUTO_TEST_CASE(retries_are_none_unless_asked_for) {
  bench t;
  auto runs = test::new_word();
  death_of(t.pool.submit(troupe::idempotent(fn<&crash_first>), runs, 1u));
  BOOST_TEST(value(runs) == 1u);
}

BOOST_AUTO_TEST_CASE(one_that_kills_too_many_is_set_aside) {
  bench t{{.workers = 2, .retries = 100, .quarantine_after = 3}};
  auto runs = test::new_word();
  const auto c =
    death_of(t.pool.submit(troupe::idempotent(fn<&crash_first>), runs, 99u));
  BOOST_TEST(c.attempt == 3u);
  BOOST_TEST(value(runs) == 3u);
  const auto aside = t.pool.quarantined();
  BOOST_TEST_REQUIRE(aside.size() == 1u);
  BOOST_TEST(contains(aside[0].task, "crash_first"));
  BOOST_TEST(aside[0].deaths.size() == 3u);
  BOOST_TEST(aside[0].deaths[0].pid != aside[0].deaths[1].pid);
  BOOST_TEST(t.pool.stats().quarantined == 1u);
}

BOOST_AUTO_TEST_CASE(one_that_waits_for_its_next_is_not_called_unbegun) {
  bench t{{.workers = 1, .spares = 0, .retries = 5, .quarantine_after = 9}};
  auto pid = test::new_word(), gate = test::new_word();
  // Dies behind a task of higher priority that then holds the only worker.
  auto f = t.pool.submit(troupe::idempotent([](word p, word g) {
                           test::set_word(p, 1);
                           test::await_word(g);
                           test::crash_here(SIGKILL);
                         }),
                         pid, gate);
  test::await_word(pid);
  auto held = test::new_word();
  auto first = t.pool.with({.priority = 5})
                 .submit([](word g) { test::await_word(g); }, held);
  test::set_word(gate, 1);
  BOOST_TEST(eventually(10s, [&] { return t.pool.stats().retried == 1; }));
  BOOST_TEST(!f.cancel());
  BOOST_TEST(contains(text_thrown<troupe::cancelled>([&] { f.get(); }),
                      "before its next attempt"));
  BOOST_TEST(!f.is_cancelled());
  test::set_word(held, 1);
  first.get();
}

BOOST_AUTO_TEST_CASE(an_error_is_not_a_death) {
  bench t{{.workers = 1, .retries = 5}};
  auto runs = test::new_word();
  auto f = t.pool.submit(troupe::idempotent([](word w) {
                           test::at(w).fetch_add(1);
                           throw std::out_of_range{"mine"};
                         }),
                         runs);
  BOOST_CHECK_THROW(f.get(), std::out_of_range);
  BOOST_TEST(value(runs) == 1u);
}

BOOST_AUTO_TEST_SUITE_END()

// -- workers that lie ---------------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_worker_that_writes_nonsense)

// Inside a worker: its side of the channel, once more.
troupe::process::shared_memory& own_channel() {
  using troupe::process::descriptor, troupe::process::shared_memory;
  static auto* mapped =
    new shared_memory{shared_memory::map(descriptor{::dup(4)})};
  return *mapped;
}

int write_nonsense(std::uint64_t seed) {
  std::mt19937_64 random{seed};
  auto& memory = own_channel();
  auto& page = memory.page();
  auto* ring = reinterpret_cast<unsigned char*>(memory.responses());
  const auto kind = random() % 6;
  for (int round = 0; round < 200; ++round) {
    switch (kind) {
      case 0: // an index
        page.responses.put.store(random() >> random() % 64);
        break;
      case 1: // bytes that were never sent
        for (int i = 0; i < 300; ++i)
          ring[random() % troupe::process::ring_bytes] =
            static_cast<unsigned char>(random());
        page.responses.put.fetch_add(random() % 500);
        break;
      case 2: // what is claimed
        for (auto& c : page.claims)
          c.store(random() % 1000);
        break;
      case 3: // the parent's own
        page.requests.taken.store(random() >> random() % 64);
        page.responses.taken.store(random());
        break;
      case 4: // a frame that looks well
      {
        troupe::wire::buffer frame;
        troupe::wire::append_frame(
          frame,
          {.kind = static_cast<troupe::wire::frame_kind>(1 + random() % 16),
           .call = random() % 200,
           .name = random(),
           .payload_bytes = 0});
        auto put = page.responses.put.load();
        for (auto byte : frame.bytes())
          ring[put++ % troupe::process::ring_bytes] =
            static_cast<unsigned char>(byte);
        page.responses.put.store(put);
        break;
      }
      default:
        page.box.memory_bytes = random();
        page.box.frames = static_cast<std::uint32_t>(random());
        for (auto& a : page.box.at)
          a = random();
        page.box.signal.store(static_cast<std::uint32_t>(random()));
        page.beat.store(random());
        page.began_at.store(static_cast<std::int64_t>(random()));
    }
    const std::uint64_t one = 1;
    static_cast<void>(!::write(5, &one, sizeof(one)));
    if (kind == 5 && round == 100)
      ::_exit(5);
  }
  return 1;
}

BOOST_AUTO_TEST_CASE(costs_no_more_than_itself) {
  TEST_WITH_SEED() {
    test::random_source random;
    bench t{{.workers = 2, .grace = 10ms, .heartbeat = 2s}};
    for (int round = 0; round < 120; ++round) {
      auto bad =
        t.pool.with({.deadline = 2s}).submit(fn<&write_nonsense>, random());
      std::vector<troupe::future<int>> fs;
      for (int i = 0; i < 10; ++i)
        fs.push_back(t.pool.with({.deadline = 5s}).submit(fn<&square>, i));
      BOOST_TEST_REQUIRE(bad.wait_for(20s));
      for (int i = 0; i < 10; ++i) {
        auto& f = fs[static_cast<std::size_t>(i)];
        BOOST_TEST_REQUIRE(f.wait_for(20s));
        try { // one that it was given may be answered by its nonsense
          f.get();
        } catch (const troupe::error&) {}
      }
    }
    BOOST_TEST(t.pool.submit(fn<&square>, 9).get() == 81);
    BOOST_TEST(eventually(10s, [&] { return t.pool.stats().running == 0; }));
  }
}

BOOST_AUTO_TEST_CASE(over_the_claims_behind_it_fails_them_at_once) {
  bench t{{.workers = 1}};
  const auto behind = test::new_word();
  auto bad = t.pool.submit(
    [](word ready) {
      test::await_word(ready);
      auto& page = own_channel().page();
      std::uint64_t own = 0;
      for (auto& c : page.claims)
        if ((c.load() & 3) == 2)
          own = std::max(own, c.load());
      for (auto& c : page.claims)
        if (c.load() != own)
          c.store(~std::uint64_t{0} << 2); // nobody's
      return 1;
    },
    behind);
  auto next = t.pool.submit(fn<&square>, 3);
  test::set_word(behind, 1);
  BOOST_TEST(bad.get() == 1);
  BOOST_TEST_REQUIRE(next.wait_for(20s));
  const auto c = death_of(next);
  BOOST_TEST(c.signal == SIGABRT);
  BOOST_TEST(contains(c.stderr_tail, "its claims were overwritten"));
  BOOST_TEST(t.pool.submit(fn<&square>, 4).get() == 16);
}

BOOST_AUTO_TEST_CASE(that_never_ends_starves_nobody) {
  bench t{{.workers = 2, .grace = 10ms}};
  auto bad = t.pool.with({.deadline = 300ms}).submit([] {
    // Greetings, as fast as the parent can take them.
    auto& page = own_channel().page();
    auto* ring = own_channel().responses();
    troupe::wire::buffer frame;
    troupe::wire::append_frame(frame,
                               {.kind = troupe::wire::frame_kind::hello});
    auto put = page.responses.put.load();
    for (;;)
      for (auto byte : frame.bytes()) {
        while (put - page.responses.taken.load()
               >= troupe::process::ring_bytes) {}
        ring[put++ % troupe::process::ring_bytes] = byte;
        page.responses.put.store(put);
      }
  });
  for (int i = 0; i < 100; ++i)
    BOOST_TEST_REQUIRE(t.pool.submit(fn<&square>, i).get() == i * i);
  BOOST_TEST(bad.wait_for(20s));
  BOOST_CHECK_THROW(bad.get(), troupe::error);
}

BOOST_AUTO_TEST_SUITE_END()
