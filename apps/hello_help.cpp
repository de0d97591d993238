// SPDX-License-Identifier: MIT
// hello_help: what `hello --help` says. It stands apart so that hello.cpp is
// the README's program, word for word.
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace {

void help() {
  std::puts(
    "hello: a plain class, spawned: its methods are its messages.\n"
    "\n"
    "It teaches: spawn, tell and ask. It counts to 5 in an actor and "
    "says nothing.\n"
    "Exit codes: 0 fine, 1 another sum, 2 a bad option.\n"
    "Usage: hello [--troupe-OPTION=VALUE...]\n"
    "Options of every Troupe program: see <troupe/options.hpp>.");
  std::exit(std::fflush(stdout) == 0 ? 0 : 1);
}

// Before main, with main's arguments, which glibc passes on.
[[gnu::constructor]] void look_at_arguments(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view word{argv[i]};
    if (word == "--help" || word == "-h")
      help();
    if (!word.starts_with("--troupe-")) {
      std::fprintf(stderr, "hello: %s was not expected\n", argv[i]);
      std::exit(2);
    }
  }
}

} // namespace
