// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE options
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "sched/cpus.hpp"
#include "troupe/error.hpp"
#include "troupe/options.hpp"

namespace {

using namespace std::chrono_literals;

// Sets a variable for as long as it lives.
struct variable {
  std::string name;
  variable(std::string n, const char* value) : name(std::move(n)) {
    ::setenv(name.c_str(), value, 1);
  }
  ~variable() { ::unsetenv(name.c_str()); }
};

std::vector<std::string> read(troupe::options& o,
                              std::vector<std::string> args) {
  args.insert(args.begin(), "app");
  std::vector<char*> raw;
  for (auto& a : args)
    raw.push_back(a.data());
  auto rest = troupe::read_options(o, raw);
  return {rest.begin(), rest.end()};
}

std::string refusal(std::vector<std::string> args) {
  troupe::options o;
  try {
    read(o, std::move(args));
  } catch (const troupe::bad_argument& e) {
    return e.what();
  }
  return "accepted";
}

bool names_all(const std::string& text, const std::string& option) {
  auto flag = "--troupe-" + option, variable = "TROUPE_" + option;
  for (auto& c : flag)
    c = c == '_' ? '-' : c;
  for (auto& c : variable)
    c = static_cast<char>(std::toupper(c));
  auto has = [&](const std::string& s) {
    return text.find(s) != std::string::npos;
  };
  return has("options::" + option) && has(flag) && has(variable);
}

const std::string all[] = {
  "workers",       "throughput", "ask_deadline",      "stop_deadline",
  "stall_after",   "spin_max",   "spare_workers_max", "blocking_threads_max",
  "log_level",     "heartbeat",  "patience",          "node_backlog_bytes_max",
  "node_calls_max"};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  troupe::options o;
  auto rest = read(o, {"a", "--troupe-workers=3", "b"});
  BOOST_TEST(o.workers == 3u);
  BOOST_TEST(rest.size() == 3u);
}

BOOST_AUTO_TEST_SUITE(a_value)

BOOST_AUTO_TEST_CASE(of_the_command_line_wins_over_the_environment_over_code) {
  troupe::options o{.workers = 7, .throughput = 8, .stall_after = 9ms};
  variable w{"TROUPE_WORKERS", "5"}, t{"TROUPE_THROUGHPUT", "6"};
  read(o, {"--troupe-workers=3"});
  BOOST_TEST(o.workers == 3u);
  BOOST_TEST(o.throughput == 6u);
  BOOST_TEST((o.stall_after == 9ms));
}

BOOST_AUTO_TEST_CASE(of_time_takes_every_unit) {
  troupe::options o;
  for (auto& [text, value] :
       std::vector<std::pair<std::string, std::chrono::nanoseconds>>{
         {"1500us", 1500us},
         {"20ms", 20ms},
         {"30s", 30s},
         {"5min", 5min},
         {"2h", 2h},
         {"2000000ns", 2ms}}) {
    read(o, {"--troupe-ask-deadline=" + text});
    BOOST_TEST((o.ask_deadline == value), text);
  }
  read(o, {"--troupe-ask-deadline=none"});
  BOOST_TEST((o.ask_deadline == std::chrono::nanoseconds::max()));
}

BOOST_AUTO_TEST_CASE(after_two_dashes_is_the_programs) {
  troupe::options o;
  auto rest = read(o, {"--", "--troupe-workers=3"});
  BOOST_TEST(rest.size() == 3u);
  BOOST_TEST(o.workers == 0u);
}

BOOST_AUTO_TEST_CASE(that_is_bad_is_refused_by_all_three_names) {
  for (auto& option : all) {
    auto flag = "--troupe-" + option;
    for (auto& c : flag)
      c = c == '_' ? '-' : c;
    for (std::string bad : {"", "x", "-1", "-1s", "1.5", "99999999999999999999",
                            "99999999999999h", " 1", "1 "}) {
      auto text = refusal({flag + "=" + bad});
      BOOST_TEST(names_all(text, option), option << "=" << bad << ": " << text);
      variable v{"TROUPE_" + option, ""};
      auto name = v.name;
      for (auto& c : name)
        c = static_cast<char>(std::toupper(c));
      variable upper{name, bad.c_str()};
      text = refusal({});
      BOOST_TEST(names_all(text, option), name << "=" << bad << ": " << text);
    }
    BOOST_TEST(names_all(refusal({flag}), option));
  }
}

BOOST_AUTO_TEST_CASE(out_of_range_in_code_is_refused) {
  auto bad = [](troupe::options o) {
    BOOST_CHECK_THROW(troupe::check_options(o), troupe::bad_argument);
  };
  bad({.workers = 1025});
  bad({.workers = static_cast<std::size_t>(-1)});
  bad({.throughput = 0});
  bad({.throughput = 1'000'001});
  bad({.ask_deadline = 0s});
  bad({.ask_deadline = -1s});
  bad({.ask_deadline = 10'001h});
  bad({.stop_deadline = -1ns});
  bad({.stop_deadline = 25h});
  bad({.stall_after = 999us});
  bad({.spin_max = 101ms});
  bad({.spare_workers_max = 4097});
  bad({.blocking_threads_max = 0});
  bad({.log_level = "loud"});
  BOOST_CHECK_NO_THROW(troupe::check_options({}));
}

// An option without a row in `all` would be tried by no test; `keys` takes
// every text.
BOOST_AUTO_TEST_CASE(is_known_to_this_test) {
  const auto help = troupe::options_help();
  const auto lines = std::count(help.begin(), help.end(), '\n');
  BOOST_TEST(lines == static_cast<long>(std::size(all)) + 1, help);
}

BOOST_AUTO_TEST_CASE(unknown_lists_what_is_known) {
  auto text = refusal({"--troupe-wrokers=3"});
  BOOST_TEST(text.find("--troupe-wrokers=3") != std::string::npos);
  for (auto& option : all)
    BOOST_TEST(names_all(text + " options::" + option, option), option);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_quota)

BOOST_AUTO_TEST_CASE(is_rounded_up_to_whole_cpus) {
  using troupe::sched::cpus_of_quota;
  BOOST_TEST(cpus_of_quota("200000 100000") == 2u);
  BOOST_TEST(cpus_of_quota("150000 100000") == 2u);
  BOOST_TEST(cpus_of_quota("1000 100000") == 1u);
  BOOST_TEST(cpus_of_quota("max 100000") == 0u);
  for (auto* bad : {"", "max", "0 100000", "100000 0", "-1 100000", "x y",
                    "100000", "99999999999999999999 1"})
    BOOST_TEST(cpus_of_quota(bad) == 0u, bad);
  BOOST_TEST(troupe::sched::usable_cpus() >= 1u);
}

BOOST_AUTO_TEST_SUITE_END()
