// SPDX-License-Identifier: MIT
// command: `app keys ...` and `app node ...`, which every program made with
// troupe::run has.
#include "core/modes.hpp"
#include "node/host.hpp"
#include "node/keys.hpp"
#include "troupe/error.hpp"
#include "troupe/run.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <unistd.h>

namespace troupe::nodes {

namespace {

constexpr std::string_view keys_words =
  "usage: {0} keys new                  makes a key, if there is none\n"
  "       {0} keys show                 its fingerprint, and who is let in\n"
  "       {0} keys allow FINGERPRINT [WHOSE]\n"
  "                                     lets the owner of that key in\n";

int show(const key_folder& keys) {
  fmt::print("{}\n", keys.check());
  fmt::print("let in ({}):\n", keys.allowed_file());
  std::ifstream list{keys.allowed_file()};
  for (std::string line; std::getline(list, line);)
    if (read_fingerprint(line))
      fmt::print("  {}\n", line);
  return 0;
}

int allow(const key_folder& keys, std::span<char*> args) {
  std::string comment;
  for (auto* word : args.subspan(1))
    comment += (comment.empty() ? "" : " ") + std::string{word};
  keys.allow(args.front(), comment);
  return 0;
}

constexpr auto node_usage =
  "app node --listen HOST:PORT [--listen ...] [--with-stdin]: a node for "
  "programs elsewhere; with --with-stdin it ends when its standard input does";

/// Listens, says where, and stays until a signal ends it.
struct node_mode final : detail::program {
  std::vector<std::string> addresses;
  bool with_stdin = false;

  int call(system& sys, std::span<char*>) override {
    for (const auto& a : addresses)
      fmt::print("listening on {}\n", sys.listen(a));
    fmt::print("key {}\n", host::of(sys.runtime()).keys()->own());
    std::fflush(stdout);
    char bytes[256];
    if (with_stdin) {
      // Nobody reads our output any more: what is printed here goes to the
      // error output, which whoever started us has left alone.
      ::dup2(STDERR_FILENO, STDOUT_FILENO);
      while (::read(STDIN_FILENO, bytes, sizeof(bytes)) > 0) {}
      return 0;
    }
    for (;;)
      ::pause();
  }
};

} // namespace

} // namespace troupe::nodes

namespace troupe::detail {

bool show_help_of_mode(std::span<char*> args) {
  if (args.size() != 3 || std::string_view{args[2]} != "--help")
    return false;
  const std::string_view mode{args[1]};
  if (mode == "keys")
    fmt::print(fmt::runtime(nodes::keys_words), args[0]);
  else if (mode == "node")
    fmt::print("usage: {}\n", nodes::node_usage);
  else
    return false;
  return true;
}

std::optional<int> run_keys(const options& opts, std::span<char*> args) {
  using namespace nodes;
  if (args.size() < 3 || std::string_view{args[1]} != "keys")
    return std::nullopt;
  const std::string_view what{args[2]};
  const auto rest = args.subspan(3);
  const auto is_ours = (what == "new" && rest.empty())
                       || (what == "show" && rest.empty())
                       || (what == "allow" && !rest.empty());
  if (!is_ours && what != "new" && what != "show" && what != "allow")
    return std::nullopt; // the program's own word
  const auto keys = key_folder::by_default(opts.keys);
  if (!is_ours) {
    fmt::print(stderr, fmt::runtime(keys_words), args[0]);
    fmt::print(stderr,
               "The folder is {} (TROUPE_KEYS or --troupe-keys=DIR sets "
               "another).\n",
               keys.path().string());
    return 2;
  }
  try {
    if (what == "new")
      fmt::print("{}\n", keys.make());
    else if (what == "show")
      return show(keys);
    else
      return allow(keys, rest);
    return 0;
  } catch (const bad_argument&) {
    throw;
  } catch (const std::exception& e) {
    fmt::print(stderr, "{}: {}\n", program_invocation_short_name, e.what());
    return 1;
  }
}

program* node_program(std::span<char*> args) {
  static auto* mode = new nodes::node_mode; // for the life of the program
  if (args.size() < 3 || std::string_view{args[1]} != "node"
      || !std::string_view{args[2]}.starts_with("--"))
    return nullptr; // the program's own word
  for (std::size_t i = 2; i < args.size(); ++i) {
    const std::string_view word{args[i]};
    if (word == "--listen" && i + 1 < args.size())
      mode->addresses.emplace_back(args[++i]);
    else if (word.starts_with("--listen="))
      mode->addresses.emplace_back(word.substr(9));
    else if (word == "--with-stdin")
      mode->with_stdin = true;
    else
      throw bad_argument{fmt::format("node: {} is not known here\nusage: {}",
                                     word, nodes::node_usage)};
  }
  if (mode->addresses.empty())
    throw bad_argument{std::string{"usage: "} + nodes::node_usage};
  return mode;
}

} // namespace troupe::detail
