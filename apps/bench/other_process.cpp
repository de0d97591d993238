// SPDX-License-Identifier: MIT

#include "other_process.hpp"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

extern char** environ;

namespace bench {

other_process::other_process(std::vector<std::string> args) {
  int to[2];
  int from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
    throw std::system_error{errno, std::generic_category(), "pipe"};
  std::vector<char*> words{program_invocation_name};
  for (auto& a : args)
    words.push_back(a.data());
  words.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  const int rc = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr,
                             words.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  in_ = to[1];
  out_ = from[0];
  if (rc != 0) {
    pid_ = -1;
    throw std::system_error{rc, std::generic_category(), "posix_spawn"};
  }
}

other_process::~other_process() {
  close(in_);
  close(out_);
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
}

std::string other_process::line() {
  std::string text;
  for (char c = 0; read(out_, &c, 1) == 1 && c != '\n';)
    text += c;
  return text;
}

} // namespace bench
