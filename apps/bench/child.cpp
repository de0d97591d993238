// SPDX-License-Identifier: MIT

#include "child.hpp"

#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>

extern char** environ;

namespace bench {

namespace {

constexpr std::size_t kept_bytes_max = 64 * 1024;

struct pipe_pair {
  int read_end = -1;
  int write_end = -1;

  pipe_pair() {
    std::array<int, 2> ends{-1, -1};
    if (pipe2(ends.data(), O_CLOEXEC) == 0) {
      read_end = ends[0];
      write_end = ends[1];
    }
  }

  ~pipe_pair() {
    close_end(read_end);
    close_end(write_end);
  }

  static void close_end(int& end) {
    if (end >= 0)
      close(end);
    end = -1;
  }
};

// Instructions of this thread and of the processes that it starts meanwhile:
// it only waits for them.
class instruction_counter {
public:
  instruction_counter() {
    perf_event_attr what{};
    what.size = sizeof what;
    what.type = PERF_TYPE_HARDWARE;
    what.config = PERF_COUNT_HW_INSTRUCTIONS;
    what.inherit = 1;
    what.exclude_kernel = 1;
    what.exclude_hv = 1;
    fd_ = static_cast<int>(
      syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
  }
  instruction_counter(const instruction_counter&) = delete;
  instruction_counter& operator=(const instruction_counter&) = delete;
  ~instruction_counter() { pipe_pair::close_end(fd_); }

  std::optional<double> value() const {
    std::uint64_t n = 0;
    if (fd_ < 0 || read(fd_, &n, sizeof n) != sizeof n)
      return std::nullopt;
    return static_cast<double>(n);
  }

private:
  int fd_ = -1;
};

pid_t start(const std::vector<std::string>& command, const pipe_pair& out,
            const pipe_pair& err, int& error) {
  std::vector<char*> args;
  for (auto& word : command)
    args.push_back(const_cast<char*>(word.c_str()));
  args.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out.write_end, STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.write_end, STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t pid = -1;
  error = posix_spawnp(&pid, args[0], &actions, &attributes, args.data(),
                       environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return error == 0 ? pid : -1;
}

// Returns false at the end of the file.
bool take(int from, std::string& to) {
  std::array<char, 4096> buffer;
  auto n = read(from, buffer.data(), buffer.size());
  if (n <= 0)
    return false;
  if (to.size() < kept_bytes_max)
    to.append(buffer.data(), static_cast<std::size_t>(n));
  return true;
}

// Reads both pipes until both are closed; false when time ran out before.
bool read_all(pipe_pair& out, pipe_pair& err, ending& result,
              std::chrono::steady_clock::time_point due) {
  while (out.read_end >= 0 || err.read_end >= 0) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      due - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      return false;
    std::array<pollfd, 2> fds{pollfd{out.read_end, POLLIN, 0},
                              pollfd{err.read_end, POLLIN, 0}};
    if (poll(fds.data(), fds.size(), static_cast<int>(left.count())) <= 0)
      continue;
    if (fds[0].revents != 0 && !take(out.read_end, result.output))
      pipe_pair::close_end(out.read_end);
    if (fds[1].revents != 0 && !take(err.read_end, result.errors))
      pipe_pair::close_end(err.read_end);
  }
  return true;
}

std::string last_line(const std::string& text) {
  auto end = text.find_last_not_of(" \n");
  if (end == std::string::npos)
    return "nothing on stderr";
  auto begin = text.find_last_of('\n', end);
  begin = begin == std::string::npos ? 0 : begin + 1;
  return text.substr(begin, end + 1 - begin);
}

double seconds_of(const timeval& t) {
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
}

} // namespace

ending run_child(const std::vector<std::string>& command,
                 std::chrono::milliseconds limit) {
  ending result;
  pipe_pair out;
  pipe_pair err;
  int error = 0;
  const instruction_counter instructions;
  auto due = std::chrono::steady_clock::now() + limit;
  auto pid = start(command, out, err, error);
  if (pid < 0) {
    result.failure = command[0] + ": " + std::strerror(error);
    return result;
  }
  pipe_pair::close_end(out.write_end);
  pipe_pair::close_end(err.write_end);
  auto in_time = read_all(out, err, result, due);
  if (!in_time)
    kill(-pid, SIGKILL);
  int status = 0;
  rusage used{};
  wait4(pid, &status, 0, &used);
  result.cpu_seconds = seconds_of(used.ru_utime) + seconds_of(used.ru_stime);
  result.switches = static_cast<double>(used.ru_nvcsw + used.ru_nivcsw);
  result.peak_mib = static_cast<double>(used.ru_maxrss) / 1024;
  result.instructions = instructions.value();
  if (!in_time)
    result.failure = "no end within " + std::to_string(limit.count()) + " ms";
  else if (WIFSIGNALED(status))
    result.failure = "signal " + std::to_string(WTERMSIG(status)) + ": "
                     + last_line(result.errors);
  else if (WEXITSTATUS(status) != 0)
    result.failure = "exit code " + std::to_string(WEXITSTATUS(status)) + ": "
                     + last_line(result.errors);
  return result;
}

std::string self_path() {
  std::error_code ignored;
  return std::filesystem::read_symlink("/proc/self/exe", ignored).string();
}

bool is_executable(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

} // namespace bench
