// SPDX-License-Identifier: MIT
// node_hosts: nodes on hosts of their own: each in a network namespace, with a
// cable to us that can be cut. What the kernel gives for delay and loss (netem)
// is not everywhere: a cable that is out for a moment stands for loss, the
// relay of node_failure_test.cpp for delay.
//
// Where namespaces aren't allowed it is skipped (77) and says why.
#define BOOST_TEST_MODULE node_hosts
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "support/processes.hpp"

#include <cstdlib>
#include <fstream>
#include <ranges>
#include <sched.h>

#include "troupe/node_pool.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using troupe::on_node;

bool shell(const std::string& command) {
  return std::system(command.c_str()) == 0; // NOLINT: no threads use env here
}

void must(const std::string& command) {
  BOOST_TEST_REQUIRE(shell(command), command);
}

std::string network_of(int pid) {
  std::error_code gone;
  return std::filesystem::read_symlink(
           "/proc/" + std::to_string(pid) + "/ns/net", gone)
    .string();
}

/// A machine at the other end of a cable, with a node on it.
class machine : public test::program {
public:
  explicit machine(int number, const std::string& port = "7000")
    : program({"--net", "--", "/bin/sh", "-c",
               "read go; exec \"$0\" node --listen \"$1\" --with-stdin "
               "--troupe-workers=2 --troupe-heartbeat=100ms "
               "--troupe-patience=1s",
               std::filesystem::read_symlink("/proc/self/exe").string(),
               address_of(number, port)},
              {"TROUPE_KEYS=" + test::keys() / "keys"}, "/usr/bin/unshare"),
      number_(number),
      address_(address_of(number, port)) {
    const auto ours = network_of(::getpid());
    BOOST_TEST_REQUIRE(eventually(5s, [&] {
      const auto theirs = network_of(pid());
      return !theirs.empty() && theirs != ours;
    }));
    const auto n = std::to_string(number);
    must("ip link add " + cable() + " type veth peer name eth0 netns "
         + std::to_string(pid()));
    must("ip addr add 10.77." + n + ".1/24 dev " + cable());
    must("ip link set " + cable() + " up");
    inside("ip addr add 10.77." + n + ".2/24 dev eth0");
    inside("ip link set eth0 up");
    inside("ip link set lo up");
    say("go");
    BOOST_TEST_REQUIRE(line() == "listening on " + address_);
  }

  const std::string& address() const { return address_; }
  void cut() const { must("ip link set " + cable() + " down"); }
  void mend() const { must("ip link set " + cable() + " up"); }
  // Nothing of what it sends arrives any more; it hears everything.
  void go_dumb() const {
    inside("ip route add blackhole 10.77." + std::to_string(number_) + ".1/32");
  }
  void speak_again() const {
    inside("ip route del blackhole 10.77." + std::to_string(number_) + ".1/32");
  }

private:
  static std::string address_of(int number, const std::string& port) {
    return "10.77." + std::to_string(number) + ".2:" + port;
  }
  std::string cable() const { return "cable" + std::to_string(number_); }
  void inside(const std::string& command) const {
    must("nsenter -t " + std::to_string(pid()) + " -n " + command);
  }

  const int number_;
  const std::string address_;
};

class counter {
public:
  int add(int n) { return value_ += n; }
  int pid() const { return ::getpid(); }

private:
  int value_ = 0;
};

int slow_square(int x) {
  std::this_thread::sleep_for(2ms); // sleeps: it is work
  return x * x;
}

int next_number() {
  static int last = 0;
  return ++last;
}

// Both sides lose patience after a second.
struct two_hosts {
  machine far{next_number()};
  live_system live{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 1s})};
  troupe::node n = live.sys.connect(far.address());
  troupe::ref<counter> c = live.sys.spawn<counter>(on_node{n});
};

} // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  if (mode != "node" && mode != "keys") {
    const auto uid = std::to_string(::geteuid());
    const auto gid = std::to_string(::getegid());
    const auto flags = uid == "0" ? CLONE_NEWNET : CLONE_NEWNET | CLONE_NEWUSER;
    if (::unshare(flags) != 0) {
      std::printf("skipped: no network namespace is allowed here: %s\n",
                  std::strerror(errno));
      return 77;
    }
    if (uid != "0") {
      std::ofstream{"/proc/self/setgroups"} << "deny";
      std::ofstream{"/proc/self/uid_map"} << "0 " << uid << " 1";
      std::ofstream{"/proc/self/gid_map"} << "0 " << gid << " 1";
    }
    if (!shell(
          "ip link set lo up && ip link add probe0 type veth peer name "
          "probe1 && ip link del probe0 && nsenter --version >/dev/null")) {
      std::printf("skipped: ip, nsenter or veth can't be used here\n");
      return 77;
    }
  }
  return troupe::run(argc, argv, [](troupe::system&, std::span<char*> args) {
    return boost::unit_test::unit_test_main(
      &init_unit_test, static_cast<int>(args.size()), args.data());
  });
}

BOOST_AUTO_TEST_SUITE(two_hosts_and_a_cable)

BOOST_FIXTURE_TEST_CASE(smoke, two_hosts) {
  BOOST_TEST(c.ask<&counter::add>(2).get() == 2);
  BOOST_TEST(c.ask<&counter::pid>().get() == far.pid());
}

BOOST_FIXTURE_TEST_CASE(that_is_out_for_a_moment_loses_nothing, two_hosts) {
  for (int round = 0; round < 3; ++round) {
    far.cut();
    auto f = c.ask<&counter::add>(1);
    BOOST_TEST(!f.wait_for(100ms));
    far.mend();
    BOOST_TEST(f.get_for(10s) == round + 1);
  }
  BOOST_TEST(n.is_up());
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_ends_what_waits_and_comes_back_as_another,
                        two_hosts) {
  BOOST_TEST(c.ask<&counter::add>(1).get() == 1);
  far.cut();
  auto f = c.ask<&counter::add>(1);
  BOOST_CHECK_THROW(f.get_for(10s), troupe::node_lost);
  BOOST_TEST(eventually(5s, [&] { return !n.is_up(); }));
  far.mend();
  BOOST_TEST(n.await_up(15s));
  // The same process, another connection: handles of the old one are over.
  BOOST_CHECK_THROW(c.ask<&counter::add>(1).get(), troupe::node_lost);
  auto d = live.sys.spawn<counter>(on_node{n});
  BOOST_TEST(d.ask<&counter::add>(5).get() == 5);
}

BOOST_FIXTURE_TEST_CASE(of_one_way_is_a_cut_for_both, two_hosts) {
  BOOST_TEST(c.ask<&counter::add>(1).get() == 1);
  far.go_dumb();
  const auto began = std::chrono::steady_clock::now();
  BOOST_CHECK_THROW(c.ask<&counter::add>(1).get_for(10s), troupe::node_lost);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
  far.speak_again();
  BOOST_TEST(n.await_up(15s));
  BOOST_TEST(live.sys.spawn<counter>(on_node{n}).ask<&counter::add>(5).get()
             == 5);
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_while_it_is_connected_costs_the_deadline,
                        two_hosts) {
  far.cut();
  const auto began = std::chrono::steady_clock::now();
  BOOST_CHECK_THROW((void)live.sys.connect(far.address(), {.deadline = 300ms}),
                    troupe::error);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 3s));
  far.mend();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_partition)

// Two hosts work; one of them can't be reached any more, and later it can.
BOOST_AUTO_TEST_CASE(in_the_middle_of_a_map_leaves_it_whole) {
  const machine left{next_number()};
  const machine right{next_number()};
  live_system live{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 1s})};
  troupe::node_pool pool{live.sys,
                         {.nodes = {live.sys.connect(left.address()),
                                    live.sys.connect(right.address())}}};
  int n = 0;
  for (int y : pool.map(troupe::idempotent(troupe::fn<&slow_square>),
                        std::views::iota(0, 2000), {.chunk = 4})) {
    BOOST_TEST_REQUIRE(y == n * n);
    if (++n == 200)
      left.cut();
  }
  BOOST_TEST(n == 2000);
  BOOST_TEST(pool.stats().lost > 0u);
  BOOST_TEST(pool.stats().lost == pool.stats().retried);
  left.mend();
  BOOST_TEST(eventually(15s, [&] { return pool.stats().nodes == 2; }));
}

BOOST_AUTO_TEST_SUITE_END()
