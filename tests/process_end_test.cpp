// SPDX-License-Identifier: MIT
// How worker processes end with whatever they belong to: the pool, the zygote,
// the system, the program; and that nothing of them is left.
#define BOOST_TEST_MODULE process_end
#define BOOST_TEST_NO_MAIN
#include "support/processes.hpp"

#include <poll.h>
#include <ranges>
#include <set>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

namespace {

using namespace std::chrono_literals;
using test::contains;
using test::eventually;
using test::live_system;
using test::on_processes;
using test::text_thrown;
using test::word;
using troupe::fn;
using troupe::process_pool;

int square(int x) {
  return x * x;
}

std::int32_t here() {
  return ::getpid();
}

// -- a program to be killed ---------------------------------------------------

// What a worker of it is at; it says on descriptor 1 who is there.
void misbehave(int how) {
  auto tell = [] {
    const auto line = std::to_string(::getpid()) + "\n";
    static_cast<void>(!::write(1, line.data(), line.size()));
  };
  switch (how) {
    case 0: // computes
      tell();
      for (;;)
        std::atomic_signal_fence(std::memory_order_seq_cst);
    case 1: // sleeps
      tell();
      for (;;)
        ::pause();
    case 2: // doesn't listen
      for (int s : {SIGTERM, SIGINT, SIGHUP, SIGABRT, SIGPIPE})
        ::signal(s, SIG_IGN);
      tell();
      for (;;)
        ::pause();
    case 3: // has children
    case 4: // has a daemon
      if (::fork() == 0) {
        if (how == 4) {
          ::setsid();
          if (::fork() != 0)
            ::_exit(0);
        }
        ::signal(SIGTERM, SIG_IGN);
        tell();
        for (;;)
          ::pause();
      }
      tell();
      for (;;)
        ::pause();
    default: // is stopped
      tell();
      ::raise(SIGSTOP);
  }
}

int slow_square(int x) {
  if (x == 0) {
    std::puts("runs");
    std::fflush(stdout);
  }
  ::usleep(500'000); // sleeps: a slow task
  return x * x;
}

// The program: "--victim behave" or "--victim map".
int victim(troupe::system& sys, const std::string& what) {
  process_pool pool{sys, {.workers = what == "map" ? 2 : 6}};
  if (what == "map") {
    long sum = 0;
    for (int y : pool.map(fn<&slow_square>, std::views::iota(0, 100'000)))
      sum += y;
    return sum == 0 ? 3 : 4;
  }
  std::vector<troupe::future<void>> fs;
  for (int how = 0; how < 6; ++how)
    fs.push_back(pool.submit(fn<&misbehave>, how));
  for (auto& f : fs)
    f.wait();
  return 5;
}

class program {
public:
  explicit program(const char* what) {
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    output_ = ends[0];
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    char name[] = "process_end_test", flag[] = "--victim";
    std::string text = what;
    char* arguments[] = {name, flag, text.data(), nullptr};
    BOOST_REQUIRE(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr,
                                arguments, environ)
                  == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(ends[1]);
  }
  ~program() {
    ::kill(pid_, SIGKILL);
    status();
    ::close(output_);
  }

  int pid() const { return pid_; }

  /// Its next line; empty after 20 s.
  std::string line() {
    std::string text;
    for (;;) {
      pollfd readable{output_, POLLIN, 0};
      char c = 0;
      if (::poll(&readable, 1, 20'000) <= 0 || ::read(output_, &c, 1) != 1)
        return {};
      if (c == '\n')
        return text;
      text += c;
    }
  }

  /// Waits for its end.
  int status() {
    if (!over_)
      ::waitpid(pid_, &status_, 0);
    over_ = true;
    return status_;
  }

private:
  int pid_ = 0, output_ = -1, status_ = 0;
  bool over_ = false;
};

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      if (args.size() == 3 && std::string{args[1]} == "--victim")
        return victim(sys, args[2]);
      return boost::unit_test::unit_test_main(
        &init_unit_test, static_cast<int>(args.size()), args.data());
    });
}

// -- the program --------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(the_program)

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  process_pool pool{live.sys, {.workers = 1}};
  BOOST_TEST(pool.submit(fn<&square>, 4).get() == 16);
}

BOOST_AUTO_TEST_CASE(b12_b14_a66_killed_leaves_nobody) {
  for (auto kills_zygote : {false, true}) {
    program p{"behave"};
    std::set<int> all;
    for (int i = 0; i < 8; ++i) // six workers, a child, a daemon
      all.insert(std::stoi("0" + p.line()));
    BOOST_TEST_REQUIRE(!all.contains(0));
    for (int pid : test::descendants_of(p.pid()))
      all.insert(pid);
    BOOST_TEST(all.size() >= 10u); // the zygote, its keeper
    const auto zygotes = test::children_of(p.pid());
    BOOST_TEST_REQUIRE(zygotes.size() == 1u);
    if (kills_zygote) // then each worker looks after itself
      ::kill(zygotes[0], SIGKILL);
    ::kill(p.pid(), SIGKILL);
    unsigned left = 0;
    eventually(2s, [&] {
      left = 0;
      for (int pid : all)
        left += test::is_gone(pid) ? 0 : 1;
      return left == 0;
    });
    BOOST_TEST(left == 0u);
    for (int pid : all)
      if (!test::is_gone(pid))
        ::kill(pid, SIGKILL);
    p.status();
  }
}

BOOST_AUTO_TEST_CASE(b11_interrupted_drains_and_killed_at_the_second) {
  for (auto twice : {false, true}) {
    program p{"map"};
    BOOST_TEST(p.line() == "runs"); // else there is nothing to drain
    std::vector<int> all;
    BOOST_TEST(eventually(10s, [&] {
      all = test::descendants_of(p.pid());
      return all.size() >= 3;
    }));
    ::kill(p.pid(), SIGINT);
    if (twice) {
      test::eventually(300ms, [] { return false; }); // for it to be seen
      ::kill(p.pid(), SIGINT);
    } else {
      test::eventually(300ms, [] { return false; });
      ::kill(p.pid(), SIGTERM);
    }
    const auto status = p.status();
    BOOST_TEST(WIFEXITED(status));
    BOOST_TEST(WEXITSTATUS(status) == 128 + (twice ? SIGINT : SIGTERM));
    BOOST_TEST(eventually(
      2s, [&] { return std::all_of(all.begin(), all.end(), &test::is_gone); }));
  }
}

BOOST_AUTO_TEST_SUITE_END()

// -- the zygote ---------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(the_zygote)

int zygote_of(int worker) {
  std::ifstream stat{"/proc/" + std::to_string(worker) + "/stat"};
  std::string text;
  std::getline(stat, text);
  return std::stoi(text.substr(text.rfind(')') + 4));
}

BOOST_AUTO_TEST_CASE(a69_killed_leaves_running_tasks_and_comes_again) {
  live_system live{{.workers = 2, .log_level = "off"}};
  process_pool pool{live.sys, {.workers = 2, .spares = 0}};
  for (int round = 0; round < 10; ++round) {
    auto gate = test::new_word(), pid = test::new_word();
    auto f = pool.submit(
      [](word p, word g) {
        test::set_word(p, static_cast<std::uint32_t>(here()));
        test::await_word(g);
        return here();
      },
      pid, gate);
    test::await_word(pid);
    const auto worker = static_cast<int>(test::at(pid).load());
    // Until its birth is reported, only the zygote knows it.
    BOOST_TEST_REQUIRE(eventually(10s, [&] {
      const auto pids = pool.pids();
      return std::find(pids.begin(), pids.end(), worker) != pids.end();
    }));
    // Not the one it came from, perhaps: the one for the next, which starts
    // once the end of the one before has been seen.
    std::vector<int> zygotes;
    BOOST_TEST_REQUIRE(eventually(10s, [&] {
      zygotes = test::children_of(here());
      return zygotes.size() == 1u;
    }));
    const auto zygote = zygotes[0];
    const auto crash = round % 2 != 0;
    // A sanitizer's handler can't run within the sanitizer's own fork.
    if (crash)
      BOOST_TEST_REQUIRE(
        eventually(10s, [&] { return pool.pids().size() == 2; }));
    ::kill(zygote, crash ? SIGSEGV : SIGKILL);
    BOOST_TEST(eventually(10s, [&] { return test::is_gone(zygote); }));
    test::set_word(gate, 1);
    BOOST_TEST(f.get() == worker);
    // The next spawn works: the worker is killed, too.
    ::kill(worker, SIGKILL);
    BOOST_TEST(eventually(10s, [&] { return test::is_gone(worker); }));
    for (int i = 0; i < 20; ++i)
      BOOST_TEST_REQUIRE(pool.submit(fn<&square>, i).get() == i * i);
    BOOST_TEST(eventually(10s, [&] { return pool.stats().workers == 2; }));
  }
}

BOOST_AUTO_TEST_CASE(a69_a_worker_without_it_has_a_certificate_too) {
  live_system live{{.workers = 2, .log_level = "off"}};
  process_pool pool{live.sys, {.workers = 1, .spares = 0}};
  auto pid = test::new_word();
  auto f = pool.submit(
    [](word p) {
      test::set_word(p, static_cast<std::uint32_t>(here()));
      ::pause();
    },
    pid);
  test::await_word(pid);
  const auto worker = static_cast<int>(test::at(pid).load());
  BOOST_TEST(eventually(10s, [&] { return !pool.pids().empty(); }));
  const auto zygote = zygote_of(worker);
  ::kill(zygote, SIGKILL);
  BOOST_TEST(eventually(10s, [&] { return test::is_gone(zygote); }));
  BOOST_TEST(!f.wait_for(50ms));
  ::kill(worker, SIGKILL);
  const auto c = test::death_of(f);
  BOOST_TEST(c.pid == worker);
  BOOST_TEST(contains(c.reason, "how is not known"), c.reason);
}

BOOST_AUTO_TEST_CASE(one_that_is_stopped_holds_up_no_birth_and_no_death) {
  live_system live{{.workers = 2, .log_level = "off"}};
  process_pool pool{live.sys, {.workers = 1, .spares = 0, .heartbeat = 0s}};
  auto pid = test::new_word();
  auto dies = pool.submit(
    [](word p) {
      test::set_word(p, static_cast<std::uint32_t>(here()));
      ::pause();
    },
    pid);
  test::await_word(pid);
  const auto worker = static_cast<int>(test::at(pid).load());
  BOOST_TEST_REQUIRE(eventually(10s, [&] { return !pool.pids().empty(); }));
  const auto zygote = zygote_of(worker);
  ::kill(zygote, SIGSTOP);
  process_pool born_late{live.sys, {.workers = 1, .spares = 0}};
  auto waits = born_late.submit(fn<&square>, 3);
  ::kill(worker, SIGKILL);
  const auto c = test::death_of(dies); // waits for the zygote's 10 s
  BOOST_TEST(c.pid == worker);
  BOOST_TEST(contains(c.reason, "how is not known"), c.reason);
  BOOST_TEST(waits.get() == 9);
  BOOST_TEST(pool.submit(fn<&square>, 4).get() == 16);
  BOOST_TEST(test::is_gone(zygote));
}

BOOST_AUTO_TEST_CASE(b14_a_daemon_goes_with_its_own_worker_alone) {
  live_system live{{.workers = 2, .log_level = "off"}};
  process_pool pool{live.sys, {.workers = 2, .spares = 0}};
  const auto daemon = test::new_word(), ready = test::new_word();
  auto with_daemon = pool.submit(
    [](word d, word r) {
      if (::fork() == 0) {
        ::setsid();
        if (::fork() == 0) {
          test::set_word(d, static_cast<std::uint32_t>(here()));
          for (;;)
            ::pause();
        }
        ::_exit(0);
      }
      ::wait(nullptr);
      test::await_word(d);
      test::set_word(r, static_cast<std::uint32_t>(here()));
      ::pause();
    },
    daemon, ready);
  test::await_word(ready);
  const auto its_pid = static_cast<int>(test::at(daemon).load());
  for (int i = 0; i < 5; ++i) {
    auto other = pool.submit([] { ::raise(SIGKILL); });
    BOOST_TEST(test::death_of(other).signal == SIGKILL);
  }
  BOOST_TEST(!test::is_gone(its_pid));
  ::kill(static_cast<int>(test::at(ready).load()), SIGKILL);
  BOOST_TEST(test::death_of(with_daemon).signal == SIGKILL);
  BOOST_TEST(eventually(5s, [&] { return test::is_gone(its_pid); }));
}

BOOST_AUTO_TEST_CASE(b18_goes_with_the_system_and_is_reaped) {
  int zygote = 0;
  {
    live_system live;
    process_pool pool{live.sys, {.workers = 1}};
    zygote = zygote_of(pool.submit(fn<&here>).get());
    BOOST_TEST(test::process_state(zygote) != 0);
  }
  BOOST_TEST(test::process_state(zygote) == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// -- the system and the pool --------------------------------------------------

BOOST_AUTO_TEST_SUITE(the_pool)

BOOST_AUTO_TEST_CASE(a64_a_late_shutdown_kills_and_says_so) {
  live_system live;
  process_pool pool{live.sys, {.workers = 2}};
  auto stays = [] {
    ::signal(SIGTERM, SIG_IGN);
    for (;;)
      ::pause();
  };
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 10; ++i)
    fs.push_back(pool.submit(stays));
  BOOST_TEST(eventually(10s, [&] { return pool.pids().size() == 2; }));
  const auto pids = pool.pids();
  const auto began = std::chrono::steady_clock::now();
  const auto r = pool.shutdown(troupe::drain, 20ms);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
  BOOST_TEST(!r.clean);
  BOOST_TEST(r.running == 0u);
  BOOST_TEST(r.cancelled + r.killed == 10u);
  for (auto& f : fs)
    BOOST_CHECK_THROW(f.get(), troupe::cancelled);
  for (int pid : pids)
    BOOST_TEST(test::process_state(pid) == 0);
}

BOOST_AUTO_TEST_CASE(a64_a_second_shutdown_may_be_less_patient) {
  live_system live;
  process_pool pool{live.sys, {.workers = 1}};
  auto f = pool.submit([] {
    for (;;)
      ::pause();
  });
  std::thread patient{[&] { BOOST_TEST(!pool.shutdown().clean); }};
  BOOST_TEST(!f.wait_for(20ms));
  BOOST_TEST(!pool.shutdown(troupe::drain, 10ms).clean);
  patient.join();
  BOOST_CHECK_THROW(f.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_CASE(a42_workers_are_stopped_if_the_others_cant_be_started) {
  live_system live{{.workers = 2, .log_level = "off"}};
  { // the zygote is there
    process_pool first{live.sys, {.workers = 1}};
    BOOST_TEST(first.submit(fn<&square>, 3).get() == 9);
  }
  rlimit all{};
  ::getrlimit(RLIMIT_NOFILE, &all);
  rlimit few = all;
  few.rlim_cur = test::open_files() + 20; // of three workers or so
  ::setrlimit(RLIMIT_NOFILE, &few);
  process_pool pool{live.sys, {.workers = 8, .spares = 0}};
  std::set<int> seen;
  const auto stopped = eventually(20s, [&] {
    for (auto pid : pool.pids())
      seen.insert(pid);
    return !seen.empty() && pool.stats().workers == 0;
  });
  ::setrlimit(RLIMIT_NOFILE, &all);
  BOOST_TEST(stopped);
  BOOST_TEST(contains(
    text_thrown<troupe::closed>([&] { (void)pool.submit(fn<&square>, 1); }),
    "could not be started"));
  BOOST_TEST(eventually(10s, [&] {
    return std::all_of(seen.begin(), seen.end(), &test::is_gone);
  }));
}

BOOST_AUTO_TEST_CASE(a40_a_worker_that_hangs_in_its_initializer_is_killed) {
  live_system live;
  process_pool pool{live.sys, {.workers = 2, .initializer = [] {
                                 for (;;)
                                   ::pause();
                               }}};
  auto f = pool.submit(fn<&square>, 1);
  BOOST_TEST(eventually(10s, [&] { return pool.pids().size() == 2; }));
  const auto began = std::chrono::steady_clock::now();
  pool.shutdown(troupe::drain, 20ms);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 3s));
  BOOST_CHECK_THROW(f.get(), troupe::cancelled);
}

BOOST_AUTO_TEST_CASE(the_systems_stop_fails_what_is_left) {
  troupe::system sys{{.workers = 2, .log_level = "off"}};
  test::watchdog dog{sys};
  process_pool pool{sys, {.workers = 2}};
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 10; ++i)
    fs.push_back(pool.submit([] {
      for (;;)
        ::pause();
    }));
  BOOST_TEST(eventually(10s, [&] { return pool.pids().size() == 2; }));
  const auto pids = pool.pids();
  BOOST_TEST(!sys.stop(50ms).clean);
  for (auto& f : fs)
    BOOST_TEST(text_thrown<troupe::closed>([&] { f.get(); })
               == "process_pool: the system has stopped");
  for (int pid : pids)
    BOOST_TEST(test::process_state(pid) == 0);
}

BOOST_AUTO_TEST_CASE(outlives_its_system) {
  std::unique_ptr<process_pool> pool;
  {
    troupe::system sys{{.workers = 2}};
    pool = std::make_unique<process_pool>(sys);
    BOOST_TEST(pool->submit(fn<&square>, 1).get() == 1);
    sys.stop();
    BOOST_CHECK_THROW((void)pool->submit(fn<&square>, 1), troupe::closed);
    BOOST_CHECK_THROW((process_pool{sys}), troupe::closed);
  }
  BOOST_CHECK_THROW((void)pool->submit(fn<&square>, 1), troupe::closed);
  BOOST_TEST(pool->shutdown(troupe::drain, 1s).done == 1u);
}

BOOST_AUTO_TEST_CASE(submit_races_with_shutdown_and_nothing_is_lost) {
  live_system live;
  for (int round = 0; round < test::rounds(40); ++round) {
    auto ran = test::new_word();
    std::atomic<std::uint64_t> accepted{0};
    process_pool pool{live.sys, {.workers = 2}};
    std::vector<std::jthread> threads;
    for (int k = 0; k < 2; ++k)
      threads.emplace_back([&] {
        try {
          for (;;) {
            (void)pool.submit(fn<&on_processes::count>, ran);
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
    BOOST_TEST_REQUIRE(test::at(ran).load() == r.done);
    if (mode == troupe::drain)
      BOOST_TEST_REQUIRE(r.cancelled == 0u);
  }
}

BOOST_AUTO_TEST_SUITE_END()

// -- signals and locks --------------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_busy_program)

std::atomic<int> alarms{0};

BOOST_AUTO_TEST_CASE(a70_loses_nothing_to_signals) {
  struct sigaction action{}, before{};
  action.sa_handler = [](int) { ++alarms; }; // and no SA_RESTART
  ::sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 700}, {0, 700}};
  {
    live_system live;
    process_pool pool{live.sys, {.workers = 2}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    const std::string large(std::size_t{2} << 20, 'x');
    for (int i = 0; i < 60; ++i) {
      std::vector<troupe::future<int>> fs;
      for (int k = 0; k < 20; ++k)
        fs.push_back(pool.submit(fn<&square>, k));
      auto size = pool.submit([](std::string s) { return s; }, large);
      if (i % 10 == 0)
        BOOST_TEST(
          (pool.submit([] { ::raise(SIGKILL); }).exception() != nullptr));
      for (int k = 0; k < 20; ++k)
        BOOST_TEST_REQUIRE(fs[static_cast<std::size_t>(k)].get() == k * k);
      BOOST_TEST_REQUIRE((size.get() == large));
    }
  }
  const itimerval never{};
  ::setitimer(ITIMER_REAL, &never, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  BOOST_TEST(alarms > 10);
}

BOOST_AUTO_TEST_CASE(b17_forks_while_its_threads_hold_locks) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<bool> over{false};
  std::vector<std::jthread> threads;
  for (int k = 0; k < 2; ++k)
    threads.emplace_back([&over] {
      while (!over) {
        std::vector<std::string> some(50, std::string(100, 'x'));
        std::fflush(stdout);
      }
    });
  process_pool pool{live.sys, {.workers = 2}};
  for (int i = 0; i < 60; ++i) {
    BOOST_TEST_REQUIRE(
      (pool.submit([] { ::_exit(1); }).exception() != nullptr));
    BOOST_TEST_REQUIRE(
      pool
        .submit([] {
          return std::vector<std::string>(10, std::string(100, 'y')).size();
        })
        .get_for(20s)
      == 10u);
  }
  over = true;
}

BOOST_AUTO_TEST_SUITE_END()

// -- what is left -------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(nothing)

struct counts {
  std::size_t files = test::open_files(), threads = test::threads(),
              children = test::children_of(::getpid()).size();
  friend bool operator==(const counts&, const counts&) = default;
};

BOOST_AUTO_TEST_CASE(is_left_of_200_pools) {
  counts before;
  {
    live_system live;
    counts with_zygote;
    for (int round = 0; round < test::rounds(200); ++round) {
      process_pool pool{live.sys, {.workers = 2}};
      auto f = pool.submit(fn<&square>, round);
      auto large = pool.submit([](std::string s) { return s; },
                               std::string(std::size_t{2} << 20, 'x'));
      if (round % 5 == 0)
        (void)pool.submit([] { ::raise(SIGKILL); }).exception();
      BOOST_TEST_REQUIRE(f.get() == round * round);
      large.wait();
      if (round == 0)
        with_zygote = {};
    }
    // The socket of the zygote, what the host needs, and no more.
    BOOST_TEST(eventually(10s, [&] {
      return test::open_files() <= before.files + 8
             && test::children_of(::getpid()).size() == before.children + 1;
    }));
    BOOST_TEST(test::descendants_of(::getpid()).size() >= 1u);
    BOOST_TEST(eventually(10s, [&] { // spares are gone with their pools
      return test::descendants_of(::getpid()).size()
             <= before.children + 2; // zygote, keeper
    }));
  }
  BOOST_TEST(eventually(10s, [&] { return counts{} == before; }));
  BOOST_TEST(counts{}.files == before.files);
  BOOST_TEST(counts{}.threads == before.threads);
  BOOST_TEST(counts{}.children == before.children);
}

BOOST_AUTO_TEST_CASE(a68_is_left_of_100_workers_that_were_killed) {
  counts before;
  {
    live_system live{{.workers = 2, .log_level = "off"}};
    process_pool pool{live.sys, {.workers = 8}};
    for (int round = 0; round < 13; ++round) {
      BOOST_TEST(eventually(10s, [&] { return pool.pids().size() == 8; }));
      for (int pid : pool.pids())
        ::kill(pid, round % 2 == 0 ? SIGTERM : SIGKILL);
      BOOST_TEST(pool.submit(fn<&square>, 5).get_for(20s) == 25);
      BOOST_TEST(eventually(10s, [&] {
        return pool.stats().crashes >= 8u * (static_cast<unsigned>(round) + 1);
      }));
    }
    BOOST_TEST(pool.submit(fn<&square>, 5).get() == 25);
  }
  BOOST_TEST(eventually(10s, [&] { return counts{} == before; }));
}

BOOST_AUTO_TEST_SUITE_END()
