// SPDX-License-Identifier: MIT
// node_clock: the clock on the wall jumps by ten years, back and forth, at
// every look, here and at the nodes: only steady clocks may count.
#define BOOST_TEST_MODULE node_clock
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "support/processes.hpp"

#include <atomic>
#include <ctime>
#include <sys/syscall.h>
#include <sys/time.h>

#include "troupe/node_pool.hpp"

namespace {

constexpr std::time_t ten_years = 10 * 365 * 24 * 3600;

std::time_t jump() {
  static std::atomic<unsigned> looks{0};
  return looks.fetch_add(1) % 2 == 0 ? ten_years : -ten_years;
}

} // namespace

// In place of the C library's, for all that is linked to this program.
extern "C" int clock_gettime(clockid_t which, timespec* t) noexcept {
  const auto rc = static_cast<int>(::syscall(SYS_clock_gettime, which, t));
  if (rc == 0 && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE))
    t->tv_sec += jump();
  return rc;
}

extern "C" std::time_t time(std::time_t* to) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  if (to != nullptr)
    *to = now.tv_sec;
  return now.tv_sec;
}

extern "C" int gettimeofday(timeval* to, void*) noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  to->tv_sec = now.tv_sec;
  to->tv_usec = now.tv_nsec / 1000;
  return 0;
}

TROUPE_TEST_MAIN

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using test::node_process;
using troupe::on_node;
using steady = std::chrono::steady_clock;

class sleeper {
public:
  int nap(int ms) {
    std::this_thread::sleep_for(ms * 1ms); // sleeps: a method that takes long
    return ms;
  }
};

int nap(int ms) {
  std::this_thread::sleep_for(ms * 1ms); // sleeps: a task that takes long
  return ms;
}

// Neither side is patient.
struct pair {
  node_process process{{"--troupe-heartbeat=50ms", "--troupe-patience=500ms"}};
  live_system live{
    test::with_keys({.workers = 2, .heartbeat = 50ms, .patience = 500ms})};
  troupe::node n = live.sys.connect(process.address());
  troupe::ref<sleeper> s = live.sys.spawn<sleeper>(on_node{n});
};

} // namespace

BOOST_AUTO_TEST_SUITE(while_the_clock_jumps)

BOOST_FIXTURE_TEST_CASE(smoke, pair) {
  using std::chrono::system_clock;
  const auto one = system_clock::now();
  const auto two = system_clock::now();
  BOOST_TEST((two - one > 24h || one - two > 24h)); // it does
  BOOST_TEST(s.ask<&sleeper::nap>(1).get() == 1);
}

BOOST_FIXTURE_TEST_CASE(a_silent_connection_stays, pair) {
  const auto before = n.incarnation();
  BOOST_TEST(!eventually(1500ms, [&] { return !n.is_up(); }));
  BOOST_TEST(n.incarnation() == before);
  BOOST_TEST(s.ask<&sleeper::nap>(2).get() == 2);
}

BOOST_FIXTURE_TEST_CASE(deadlines_are_as_long_as_ever, pair) {
  BOOST_TEST(s.within(10s).ask<&sleeper::nap>(100).get() == 100);
  const auto began = steady::now();
  BOOST_CHECK_THROW(s.within(100ms).ask<&sleeper::nap>(400).get(),
                    troupe::timeout);
  BOOST_TEST((steady::now() - began >= 100ms));
  BOOST_TEST((steady::now() - began < 5s));
}

BOOST_FIXTURE_TEST_CASE(a_pools_deadlines_and_patience_too, pair) {
  troupe::node_pool pool{live.sys, {.nodes = {n}, .patience = 100ms}};
  BOOST_TEST(pool.with({.deadline = 10s}).submit(troupe::fn<&nap>, 50).get()
             == 50);
  auto began = steady::now();
  BOOST_CHECK_THROW(
    pool.with({.deadline = 50ms}).submit(troupe::fn<&nap>, 300).get(),
    troupe::timeout);
  BOOST_TEST((steady::now() - began >= 50ms));
  process.signal(SIGKILL);
  BOOST_TEST(eventually(5s, [&] { return !n.is_up(); }));
  began = steady::now();
  BOOST_CHECK_THROW(pool.submit(troupe::fn<&nap>, 1).get(), troupe::node_lost);
  BOOST_TEST((steady::now() - began >= 90ms));
}

BOOST_FIXTURE_TEST_CASE(a_frozen_node_is_found_by_patience, pair) {
  auto f = s.ask<&sleeper::nap>(1);
  f.get();
  process.freeze();
  const auto began = steady::now();
  BOOST_CHECK_THROW(s.ask<&sleeper::nap>(1).get(), troupe::node_lost);
  BOOST_TEST((steady::now() - began >= 200ms));
  BOOST_TEST((steady::now() - began < 5s));
}

BOOST_FIXTURE_TEST_CASE(a_node_that_comes_back_is_connected_again, pair) {
  const auto address = process.address();
  process.signal(SIGKILL);
  process.wait();
  BOOST_TEST(eventually(5s, [&] { return !n.is_up(); }));
  const node_process again{{}, address};
  BOOST_TEST(n.await_up(10s));
}

BOOST_AUTO_TEST_SUITE_END()
