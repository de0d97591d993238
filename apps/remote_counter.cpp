// SPDX-License-Identifier: MIT
// remote_counter: an actor on another machine, in two terminals
//
//   there   remote_counter keys new
//           remote_counter node --listen 127.0.0.1:7000
//   here    remote_counter --node 127.0.0.1:7000
//
// The first time, `keys new` makes the key that both sides show each other; on
// two machines each makes its own and lets the other one in (`keys allow`).
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <span>
#include <string>
#include <string_view>
#include <unistd.h>

namespace {

class counter {
public:
  int add(int n) { return value_ += n; }
  int pid() const { return ::getpid(); }

private:
  int value_ = 0;
};

int count(troupe::system& sys, const std::string& address, int times) {
  const auto node = sys.connect(address);
  const auto c = sys.spawn<counter>(troupe::on_node{node});
  for (int i = 1; i < times; ++i)
    c.tell<&counter::add>(1);
  const auto sum = c.ask<&counter::add>(1).get();
  fmt::print("counted to {} in another process: {}\n", sum,
             c.ask<&counter::pid>().get() != ::getpid() ? "yes" : "no");
  return sum == times ? 0 : 1;
}

// Those of every program come first: only what they did not know gets here.
bool is_unfinished(std::span<char*> args) {
  if (args.size() < 2)
    return false;
  const std::string_view word{args[1]};
  if (word == "keys")
    fmt::print(stderr,
               "remote_counter: keys needs new, show or allow FINGERPRINT{}; "
               "see keys --help\n",
               args.size() > 2 ? fmt::format(", not {}", args[2]) : "");
  else if (word == "node")
    fmt::print(stderr,
               "remote_counter: node needs --listen HOST:PORT{}; see node "
               "--help\n",
               args.size() > 2 ? fmt::format(", not {}", args[2]) : "");
  else
    return false;
  return true;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      if (is_unfinished(args))
        return 2;
      CLI::App app{
        "remote_counter: an actor on another machine, in two "
        "terminals\nother ways to start it: keys new, node --listen "
        "HOST:PORT\n(keys --help and node --help tell more)"};
      std::string address;
      int times = 1000;
      app.add_option("--node", address,
                     "where the other terminal listens; needed");
      app.add_option("--times", times, "how far to count")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      if (address.empty()) {
        fmt::print(stderr,
                   "remote_counter: --node HOST:PORT is needed; "
                   "--help tells more\n");
        return 2;
      }
      return count(sys, address, times);
    });
}
