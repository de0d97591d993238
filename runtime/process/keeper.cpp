// SPDX-License-Identifier: MIT
#include "process/keeper.hpp"

#include <csignal>
#include <cstdint>
#include <cstdio>
#include <dirent.h>
#include <fcntl.h>
#include <map>
#include <memory>
#include <poll.h>
#include <set>
#include <span>
#include <string>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

namespace troupe::process {

namespace {

constexpr int line_number = 3; // where the zygote has its parent
constexpr int zygote_patience_ms = 500;
constexpr int rounds_max = 100; // of a fork bomb

struct birth_note {
  std::int32_t worker = 0;
};

descriptor open_pidfd(pid_t pid) {
  return descriptor{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
}

void send(const descriptor& pidfd, int signal) {
  ::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0);
}

void add_descendants(pid_t pid, std::set<pid_t>& all) {
  const auto folder = "/proc/" + std::to_string(pid) + "/task";
  const std::unique_ptr<DIR, int (*)(DIR*)> tasks{::opendir(folder.c_str()),
                                                  &::closedir};
  if (!tasks)
    return; // it has ended
  while (const auto* task = ::readdir(tasks.get())) {
    const auto path = folder + "/" + task->d_name + "/children";
    const std::unique_ptr<FILE, int (*)(FILE*)> list{
      std::fopen(path.c_str(), "re"), &std::fclose};
    int child = 0;
    while (list && std::fscanf(list.get(), "%d", &child) == 1)
      if (all.insert(child).second)
        add_descendants(child, all);
  }
}

// Stopped first, so that it starts no more.
void end_worker(pid_t pid, const descriptor& pidfd) {
  send(pidfd, SIGSTOP);
  kill_descendants(pid);
  ::kill(-pid, SIGKILL);
  send(pidfd, SIGKILL);
}

[[noreturn]] void keep(descriptor line, const descriptor& program,
                       const descriptor& zygote) {
  ::prctl(PR_SET_NAME, "troupe.keeper");
  ::setpgid(0, 0);
  // Whoever reads what the program writes needn't wait for us.
  if (const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC); null >= 0)
    for (int fd = 0; fd < 3; ++fd)
      ::dup2(null, fd);
  ::close(line_number);
  std::map<pid_t, descriptor> workers;
  while (line || !workers.empty()) {
    std::vector<pollfd> fds{{program.get(), POLLIN, 0},
                            {line.get(), POLLIN, 0}};
    for (auto& [pid, pidfd] : workers)
      fds.push_back({pidfd.get(), POLLIN, 0});
    if (::poll(fds.data(), fds.size(), -1) < 0)
      continue;
    if (fds[0].revents != 0) {
      // Its zygote ends them, if it can.
      pollfd ended{zygote.get(), POLLIN, 0};
      ::poll(&ended, 1, zygote_patience_ms);
      send(zygote, SIGKILL);
      for (auto& [pid, pidfd] : workers)
        end_worker(pid, pidfd);
      break;
    }
    auto at = fds.begin() + 2;
    std::erase_if(workers, [&](auto&) { return (at++)->revents != 0; });
    while (line) {
      birth_note born;
      auto got = receive_record(line.get(),
                                std::as_writable_bytes(std::span{&born, 1}));
      if (got.how == transfer::again)
        break;
      if (got.how == transfer::ended)
        line.reset();
      else if (!got.fds.empty())
        workers.insert_or_assign(born.worker, std::move(got.fds.front()));
    }
  }
  ::_exit(0);
}

} // namespace

void kill_descendants(pid_t pid) noexcept {
  try {
    std::set<pid_t> killed;
    for (int round = 0; round < rounds_max; ++round) {
      std::set<pid_t> there;
      add_descendants(pid, there);
      const auto before = killed.size();
      for (const auto p : there)
        if (killed.insert(p).second)
          ::kill(p, SIGKILL);
      if (killed.size() == before)
        return;
    }
  } catch (const std::exception&) {
    // No memory: then its group has to do.
  }
}

void keeper::start() noexcept {
  try {
    const auto parent = ::getppid();
    auto program = open_pidfd(parent);
    const auto zygote = open_pidfd(::getpid());
    if (!program || !zygote || ::getppid() != parent)
      return; // it has ended: so do we
    auto [ours, theirs] = make_socket_pair();
    const auto pid = ::fork();
    if (pid == 0) {
      ours.reset();
      keep(std::move(theirs), program, zygote);
    }
    if (pid < 0)
      return;
    pid_ = pid;
    line_ = std::move(ours);
  } catch (const std::exception&) {
    // Workers look after themselves.
  }
}

void keeper::tell_birth(pid_t worker, int pidfd) noexcept {
  if (line_)
    send_value(line_.get(), birth_note{worker}, std::span{&pidfd, 1});
}

} // namespace troupe::process
