// SPDX-License-Identifier: MIT
// node_launch: nodes that a program starts itself, and finding others.
#define BOOST_TEST_MODULE node_launch
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "support/processes.hpp"

#include <fstream>

#include "troupe/launch.hpp"
#include "troupe/node_pool.hpp"

namespace {

using namespace std::chrono_literals;
using test::contains;
using test::eventually;
using test::live_system;
using test::text_thrown;
using troupe::find_nodes;
using strings = std::vector<std::string>;

int pid_there() {
  return ::getpid();
}

int pid_of(live_system& live, const troupe::node& n) {
  troupe::node_pool pool{live.sys, {.nodes = {n}}};
  return pool.submit(troupe::fn<&pid_there>).get();
}

// Sets a variable for as long as it lives.
class variable {
public:
  variable(const char* name, const std::string& value) : name_(name) {
    const char* before = std::getenv(name);
    if (before != nullptr)
      before_ = before;
    ::setenv(name, value.c_str(), 1);
  }
  ~variable() {
    if (before_.empty())
      ::unsetenv(name_);
    else
      ::setenv(name_, before_.c_str(), 1);
  }
  variable(const variable&) = delete;
  variable& operator=(const variable&) = delete;

private:
  const char* name_;
  std::string before_;
};

int launch_and_die(troupe::system& sys) {
  const auto all = troupe::launch_local(sys, 1);
  std::printf("%d\n", all[0].pid());
  std::fflush(stdout);
  return ::raise(SIGKILL);
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      if (args.size() == 2 && std::string{args[1]} == "launches-and-dies")
        return launch_and_die(sys);
      return boost::unit_test::unit_test_main(
        &init_unit_test, static_cast<int>(args.size()), args.data());
    });
}

BOOST_AUTO_TEST_SUITE(local_nodes)

BOOST_AUTO_TEST_CASE(smoke) {
  std::vector<int> pids;
  {
    live_system live{test::with_keys()};
    auto all = troupe::launch_local(live.sys, 3,
                                    {.arguments = {"--troupe-workers=2"}});
    BOOST_TEST(all.size() == 3u);
    for (auto& n : all) {
      BOOST_TEST(n.node().is_up());
      BOOST_TEST(pid_of(live, n.node()) == n.pid());
      pids.push_back(n.pid());
    }
  }
  for (const int pid : pids) // reaped, too
    BOOST_TEST(test::process_state(pid) == 0);
}

BOOST_AUTO_TEST_CASE(that_are_killed_are_lost_and_reaped) {
  live_system live{test::with_keys()};
  auto all = troupe::launch_local(live.sys, 1);
  const int pid = all[0].pid();
  all[0].kill();
  BOOST_TEST(test::process_state(pid) == 0);
  BOOST_TEST(eventually(5s, [&] { return !all[0].node().is_up(); }));
}

// A program that has no keys has some that nobody else has.
BOOST_AUTO_TEST_CASE(need_no_keys_to_be_made) {
  const test::folder home;
  const auto none = home / "keys";
  live_system live{{.workers = 2, .keys = none}};
  auto all = troupe::launch_local(live.sys, 2);
  BOOST_TEST(pid_of(live, all[1].node()) == all[1].pid());
  BOOST_TEST(!std::filesystem::exists(none));
  // Others are not let in, and we are not by them.
  test::node_process stranger;
  BOOST_CHECK_THROW((void)live.sys.connect(stranger.address()),
                    troupe::node_lost);
  live_system other{test::with_keys()};
  BOOST_CHECK_THROW((void)other.sys.connect(all[0].node().address()),
                    troupe::node_lost);
}

BOOST_AUTO_TEST_CASE(go_with_the_program_that_started_them) {
  test::program p{{"launches-and-dies"},
                  {"TROUPE_KEYS=" + test::keys() / "keys"}};
  const int pid = std::stoi(p.line());
  BOOST_TEST(p.wait() == 128 + SIGKILL);
  BOOST_TEST(eventually(5s, [pid] { return test::is_gone(pid); }));
}

BOOST_AUTO_TEST_CASE(that_cant_start_are_an_error_at_once) {
  live_system live{test::with_keys()};
  BOOST_CHECK_THROW((void)troupe::launch_local(live.sys, 0),
                    troupe::bad_argument);
  BOOST_CHECK_THROW((void)troupe::launch_local(live.sys, 1000),
                    troupe::bad_argument);
  BOOST_CHECK_THROW(
    (void)troupe::launch_local(live.sys, 1, {.program = "/nonexistent"}),
    std::system_error);
  BOOST_TEST(contains(text_thrown<troupe::node_lost>([&] {
                        (void)troupe::launch_local(live.sys, 1,
                                                   {.program = "/bin/false"});
                      }),
                      "has ended without saying"));
  BOOST_TEST(contains(text_thrown<troupe::timeout>([&] {
                        (void)troupe::launch(live.sys, "sleep 60", {"x"},
                                             {.deadline = 50ms});
                      }),
                      "the node on x"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_command)

// What ssh does, as far as we see it: a host, then words for a shell there.
constexpr auto like_ssh =
  "sh -c 'shift; echo Welcome to $0; exec \"$@\"' {host} -- {program} node "
  "--listen 127.0.0.1:0 --with-stdin";

BOOST_AUTO_TEST_CASE(starts_a_node_on_each_host) {
  const variable keys{"TROUPE_KEYS", test::keys() / "keys"};
  live_system live;
  auto all = troupe::launch(live.sys, like_ssh, {"alpha", "user@beta.net"});
  BOOST_TEST(all.size() == 2u);
  BOOST_TEST(all[1].host() == "user@beta.net");
  for (auto& n : all) {
    const int pid = pid_of(live, n.node());
    n.kill(); // all of the command
    BOOST_TEST(eventually(5s, [pid] { return test::is_gone(pid); }));
  }
}

// As by_ssh has it, with our own `ssh` in the path: its options go, then the
// host, and a shell gets the rest.
BOOST_AUTO_TEST_CASE(by_ssh_listens_at_the_host_without_its_user) {
  const test::folder where;
  const auto ssh = where / "ssh";
  std::ofstream{ssh} << "#!/bin/sh\n"
                        "test \"$3\" = someone@127.0.0.1 || exit 1\n"
                        "shift 3\n"
                        "exec sh -c \"exec $*\"\n";
  std::filesystem::permissions(ssh, std::filesystem::perms::owner_all);
  const variable keys{"TROUPE_KEYS", test::keys() / "keys"};
  const variable path{"PATH", std::filesystem::path{ssh}.parent_path().string()
                                + ":/usr/bin:/bin"};
  live_system live;
  auto all = troupe::launch(live.sys, troupe::by_ssh, {"someone@127.0.0.1"});
  BOOST_TEST(all.size() == 1u);
  BOOST_TEST(all[0].host() == "someone@127.0.0.1");
  BOOST_TEST(pid_of(live, all[0].node()) != ::getpid());
}

BOOST_AUTO_TEST_CASE(gets_no_words_that_are_no_host) {
  live_system live{test::with_keys()};
  for (const char* bad :
       {"", "-oProxyCommand=touch x", "a b", "a;b", "$(a)", "a'b", "a\nb"})
    BOOST_CHECK_THROW((void)troupe::launch(live.sys, like_ssh, {bad}),
                      troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(names_the_program_in_quotes_where_it_must) {
  const test::folder where;
  const auto odd = where / "it's a program";
  std::filesystem::create_symlink("/bin/false", odd);
  live_system live{test::with_keys()};
  BOOST_TEST(contains(text_thrown<troupe::node_lost>([&] {
                        (void)troupe::launch(live.sys, "{program} || exit 1",
                                             {"a"}, {.program = odd});
                      }),
                      "has ended"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(found_by)

BOOST_AUTO_TEST_CASE(a_list_each_comes_once) {
  BOOST_TEST(find_nodes("a:1,b:2,,a:1,[::1]:3")
               == (strings{"a:1", "b:2", "[::1]:3"}),
             boost::test_tools::per_element());
  for (const char* bad : {"", ",", "a", "a:", "a:70000", "dns:a", "a b:1"})
    BOOST_CHECK_THROW((void)find_nodes(bad), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(slurm_are_those_of_the_job) {
  const std::vector<std::pair<const char*, strings>> lists{
    {"n1", {"n1:7"}},
    {"n1,n2", {"n1:7", "n2:7"}},
    {"n[1-3]", {"n1:7", "n2:7", "n3:7"}},
    {"n[08-10,2],gpu", {"n08:7", "n09:7", "n10:7", "n2:7", "gpu:7"}},
    {"r[1-2]n[1,3].x", {"r1n1.x:7", "r1n3.x:7", "r2n1.x:7", "r2n3.x:7"}},
    {"n[18446744073709551615]", {"n18446744073709551615:7"}}, // the last number
  };
  for (auto& [list, hosts] : lists) {
    const variable job{"SLURM_JOB_NODELIST", list};
    BOOST_TEST(find_nodes("slurm:7") == hosts,
               boost::test_tools::per_element());
  }
  for (const char* bad :
       {"n[", "n[1", "n[1-]", "n[3-1]", "n[]", "n[x]", "n]", "n[1-9999999]",
        ",", "n[[1]]", "n[1-99999,1-99999]"}) {
    const variable job{"SLURM_JOB_NODELIST", bad};
    BOOST_CHECK_THROW((void)find_nodes("slurm:7"), troupe::bad_argument);
  }
  // Small to write, large to be.
  std::string deep;
  for (int i = 0; i < 1000; ++i)
    deep += "[1]";
  for (const auto& bad : {"n[" + std::string(30, '0') + "1-9]",
                          std::string(300, 'n') + "[1-9]", deep}) {
    const variable job{"SLURM_JOB_NODELIST", bad.c_str()};
    BOOST_CHECK_THROW((void)find_nodes("slurm:7"), troupe::bad_argument);
  }
  BOOST_TEST(contains(
    text_thrown<troupe::bad_argument>([] { (void)find_nodes("slurm:7"); }),
    "no job of Slurm"));
}

// As in a job: nodes that srun has started are found and joined.
BOOST_AUTO_TEST_CASE(slurm_are_joined) {
  test::node_process process;
  const auto port = process.address().substr(process.address().rfind(':') + 1);
  const variable job{"SLURM_JOB_NODELIST", "127.0.0.[1-1]"};
  live_system live{test::with_keys()};
  auto all = troupe::connect_all(live.sys, find_nodes("slurm:" + port));
  BOOST_TEST(all.size() == 1u);
  BOOST_TEST(pid_of(live, all[0]) == process.pid());
}

// A headless service: a name with an address for each pod.
BOOST_AUTO_TEST_CASE(dns_are_joined) {
  test::node_process process;
  const auto port = process.address().substr(process.address().rfind(':') + 1);
  live_system live{test::with_keys({.workers = 2, .log_level = "off"})};
  const auto found = find_nodes("dns:localhost:" + port);
  BOOST_TEST(std::count(found.begin(), found.end(), process.address()) == 1);
  auto all = troupe::connect_all(live.sys, found, {.deadline = 1s});
  BOOST_TEST(all.size() == 1u); // nobody listens on ::1
  BOOST_TEST(pid_of(live, all[0]) == process.pid());
  BOOST_CHECK_THROW((void)find_nodes("dns:no-such-host.invalid:1"),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(a_file_of_hosts) {
  const test::folder where;
  const auto path = where / "hosts";
  std::ofstream{path} << "# ours\n a:1  # the first\n\nb:2\r\na:1\n";
  BOOST_TEST(find_nodes("file:" + path) == (strings{"a:1", "b:2"}),
             boost::test_tools::per_element());
  std::ofstream{path} << "a:1\nb\n";
  const auto text = text_thrown<troupe::bad_argument>(
    [&] { (void)find_nodes("file:" + path); });
  BOOST_TEST(contains(text, "hosts:2: "), text);
  std::ofstream{path} << "# nobody\n";
  BOOST_CHECK_THROW((void)find_nodes("file:" + path), troupe::bad_argument);
  BOOST_CHECK_THROW((void)find_nodes("file:/nonexistent"),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(an_address_where_a_node_is_just_being_started) {
  std::string address;
  {
    test::node_process first;
    address = first.address();
  }
  live_system live{test::with_keys()};
  std::unique_ptr<test::node_process> late;
  std::thread starter{[&] {
    std::this_thread::sleep_for(100ms); // sleeps: it comes later
    late = std::make_unique<test::node_process>(strings{}, address);
  }};
  auto all = troupe::connect_all(live.sys, {address});
  starter.join();
  BOOST_TEST(pid_of(live, all.at(0)) == late->pid());
}

BOOST_AUTO_TEST_CASE(none_that_answers_is_an_error_that_names_each) {
  live_system live{test::with_keys({.workers = 2, .log_level = "off"})};
  const auto text = text_thrown<troupe::node_lost>([&] {
    (void)troupe::connect_all(live.sys, {"127.0.0.1:1", "127.0.0.1:2"},
                              {.deadline = 200ms});
  });
  BOOST_TEST(contains(text, "127.0.0.1:1: "), text);
  BOOST_TEST(contains(text, "127.0.0.1:2: "), text);
}

BOOST_AUTO_TEST_SUITE_END()
