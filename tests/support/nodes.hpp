// SPDX-License-Identifier: MIT
// nodes: other nodes for tests: this same program in processes of their own, on
// loopback, with keys of their own. A test program that includes it is one of
// `troupe::run` (TROUPE_TEST_MAIN).
#pragma once

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <spawn.h>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "support/fixture.hpp"
#include "support/processes.hpp"
#include "troupe/node.hpp"
#include "troupe/run.hpp"

extern char** environ;

namespace test {

/// A folder that goes with the test.
class folder {
public:
  folder() {
    auto name =
      (std::filesystem::temp_directory_path() / "troupe-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr)
      throw std::system_error{errno, std::generic_category(), name};
    path_ = name;
  }
  ~folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ / name; }

private:
  std::filesystem::path path_;
};

/// A program that writes to us.
class program {
public:
  program(std::vector<std::string> args, const std::vector<std::string>& env,
          const char* exe = "/proc/self/exe") {
    int out[2];
    int in[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(in, O_CLOEXEC) != 0)
      throw std::system_error{errno, std::generic_category(), "pipe"};
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<char*> words{program_invocation_name};
    for (auto& a : args)
      words.push_back(a.data());
    words.push_back(nullptr);
    std::vector<std::string> ours = env;
    for (char** e = environ; *e != nullptr; ++e) {
      const std::string line{*e};
      const auto name = line.substr(0, line.find('=') + 1);
      if (std::none_of(env.begin(), env.end(),
                       [&](auto& x) { return x.starts_with(name); }))
        ours.push_back(line);
    }
    std::vector<char*> lines;
    for (auto& e : ours)
      lines.push_back(e.data());
    lines.push_back(nullptr);
    const int rc = ::posix_spawn(&pid_, exe, &actions, nullptr, words.data(),
                                 lines.data());
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    ::close(in[0]);
    out_ = ::fdopen(out[0], "r");
    in_ = in[1];
    if (rc != 0)
      throw std::system_error{rc, std::generic_category(), "posix_spawn"};
  }
  ~program() {
    signal(SIGKILL);
    signal(SIGCONT);
    wait();
    std::fclose(out_);
    close_stdin();
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;

  int pid() const { return pid_; }
  void signal(int number) const {
    if (pid_ > 0 && !status_known_)
      ::kill(pid_, number);
  }
  /// Stops it: it runs no more when this returns.
  void freeze() const {
    signal(SIGSTOP);
    BOOST_TEST_REQUIRE(
      eventually(5s, [this] { return process_state(pid_) == 'T'; }));
  }
  void close_stdin() {
    if (in_ >= 0)
      ::close(std::exchange(in_, -1));
  }
  void say(const std::string& text) const {
    const auto all = text + "\n";
    BOOST_TEST_REQUIRE(::write(in_, all.data(), all.size())
                       == static_cast<ssize_t>(all.size()));
  }
  /// A line that it writes; empty at the end.
  std::string line() {
    std::string text;
    for (int c = std::fgetc(out_); c != EOF && c != '\n'; c = std::fgetc(out_))
      text += static_cast<char>(c);
    return text;
  }
  /// Its exit code, or 128 and the signal.
  int wait() {
    if (!status_known_) {
      int status = 0;
      while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {}
      status_known_ = true;
      code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return code_;
  }

private:
  pid_t pid_ = 0;
  FILE* out_ = nullptr;
  int in_ = -1;
  bool status_known_ = false;
  int code_ = 0;
};

/// Keys for the tests of this process and its nodes, made once; they go with
/// the process.
inline const folder& keys() {
  struct made : folder {
    made() {
      program p{{"keys", "new"}, {"TROUPE_KEYS=" + (*this / "keys")}};
      p.line();
      if (p.wait() != 0)
        throw std::runtime_error{"no keys could be made"};
    }
  };
  static const made here;
  return here;
}

/// Options of a system that has these keys.
inline troupe::options with_keys(troupe::options o = {.workers = 2}) {
  if (o.keys.empty())
    o.keys = keys() / "keys";
  return o;
}

/// A node in a process of its own.
class node_process : public program {
public:
  explicit node_process(const std::vector<std::string>& more = {},
                        const std::string& listen = "127.0.0.1:0",
                        std::string key_folder = {})
    : program(arguments(more, listen),
              {"TROUPE_KEYS="
               + (key_folder.empty() ? keys() / "keys" : key_folder)}) {
    const auto first = line();
    const std::string words = "listening on ";
    if (!first.starts_with(words))
      throw std::runtime_error{"the node said: " + first};
    address_ = first.substr(words.size());
    key_ = line();
  }
  const std::string& address() const { return address_; }

private:
  static std::vector<std::string> arguments(std::vector<std::string> more,
                                            const std::string& listen) {
    std::vector<std::string> all{"node", "--listen", listen, "--with-stdin",
                                 "--troupe-workers=2"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  std::string address_, key_;
};

} // namespace test
