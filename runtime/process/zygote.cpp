// SPDX-License-Identifier: MIT
#include "process/zygote.hpp"

#include "process/channel.hpp"
#include "process/keeper.hpp"

#include <boost/stacktrace.hpp>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

namespace troupe::process {

namespace {

struct child {
  std::uint64_t worker;
  pid_t pid;
  descriptor memory; // to read the black box
};

using children_map = std::map<pid_t, child>;

int open_pidfd(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

// glibc's waitid has no room for the usage.
int wait_for(pid_t pid, siginfo_t& info, int options, rusage* usage) {
  int rc = 0;
  do {
    rc = static_cast<int>(
      ::syscall(SYS_waitid, P_PID, pid, &info, options, usage));
  } while (rc < 0 && errno == EINTR);
  return rc;
}

void send_report(const report& r, std::span<const int> fds = {}) {
  // The parent always reads; if it doesn't for long, it is dead or stopped.
  for (;;) {
    // Only as much of the backtrace as there is.
    auto bytes = offsetof(report, backtrace) + std::strlen(r.backtrace) + 1;
    auto how = send_record(zygote_socket,
                           std::as_bytes(std::span{&r, 1}).first(bytes), fds);
    if (how != transfer::again)
      return;
    pollfd writable{zygote_socket, POLLOUT, 0};
    ::poll(&writable, 1, -1);
  }
}

// The worker's addresses mean the same here, where it was forked from.
std::string text_of(const black_box& box) {
  std::string text;
  auto n = std::min<std::size_t>(box.frames, black_box::frames_max);
  for (std::size_t i = 0; i < n; ++i) {
    auto* at = reinterpret_cast<const void*>(box.at[i]);
    // Frame 1 is where the signal came. All others are where a call returns to,
    // which after one that never returns is another function: look before it.
    const boost::stacktrace::frame frame{
      reinterpret_cast<const void*>(box.at[i] - (i == 1 ? 0 : 1))};
    auto name = frame.name();
    if (name.find("troupe::process::worker") != std::string::npos)
      break; // below it is the worker's loop
    Dl_info where{};
    ::dladdr(at, &where);
    char offset[32];
    std::snprintf(
      offset, sizeof(offset), "(+0x%zx)\n",
      static_cast<std::size_t>(static_cast<const char*>(at)
                               - static_cast<const char*>(where.dli_fbase)));
    text += "    " + (name.empty() ? std::string{} : name + " in ")
            + (where.dli_fname == nullptr ? "?" : where.dli_fname) + offset;
  }
  if (!text.empty())
    text.pop_back();
  return text;
}

void read_black_box(child& c, report& r) {
  try {
    auto memory = shared_memory::map(std::move(c.memory));
    const auto& box = memory.page().box;
    if (box.signal.load(std::memory_order_acquire) == 0)
      return;
    auto text = text_of(box);
    auto n = std::min(text.size(), sizeof(r.backtrace) - 1);
    std::memcpy(r.backtrace, text.data(), n);
  } catch (...) {
    // Then there is none.
  }
}

// Its group goes while its number can't be anybody else's: before it is reaped.
void bury(child& c) {
  ::kill(-c.pid, SIGKILL);
  siginfo_t info{};
  rusage usage{};
  report r{.what = report::kind::died, .pid = c.pid, .worker = c.worker};
  if (wait_for(c.pid, info, WEXITED, &usage) == 0) {
    r.code = info.si_code;
    r.status = info.si_status;
  }
  r.peak_rss_bytes = usage.ru_maxrss * 1024;
  r.cpu_ns = (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1'000'000'000
             + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1'000;
  read_black_box(c, r);
  send_report(r);
}

// What dead workers left behind is ours by now: daemons of their own sessions.
// Those of a worker that lives are that worker's: it is a subreaper, too.
void kill_strays(const children_map& known, pid_t keeper_pid) {
  for (int round = 0; round < 100; ++round) {
    auto path = "/proc/self/task/" + std::to_string(::getpid()) + "/children";
    auto* file = std::fopen(path.c_str(), "re");
    if (file == nullptr)
      return;
    auto found = false;
    int pid = 0;
    while (std::fscanf(file, "%d", &pid) == 1) {
      if (pid == keeper_pid || known.contains(pid)
          || known.contains(::getpgid(pid)))
        continue;
      if (::kill(pid, SIGKILL) != 0)
        continue; // another user's: not ours to wait for
      found = true;
      siginfo_t info{};
      wait_for(pid, info, WEXITED, nullptr);
    }
    std::fclose(file);
    if (!found)
      return;
  }
}

[[noreturn]] void become_worker(std::vector<descriptor>& fds, const order& o) {
  ::setpgid(0, 0);
  // 0..2 as they are (stderr is the parent's pipe), then what is ours.
  ::dup2(fds[3].get(), 2);
  int ours[3];
  for (int i = 0; i < 3; ++i)
    ours[i] = ::fcntl(fds[static_cast<std::size_t>(i)].get(), F_DUPFD_CLOEXEC,
                      6);
  for (int i = 0; i < 3; ++i)
    ::dup3(ours[i], 3 + i, O_CLOEXEC);
  ::syscall(SYS_close_range, 6u, ~0u, 0u);
  for (auto& fd : fds)
    fd.release(); // closed by the lines above
  worker_main(descriptor{3}, descriptor{4}, descriptor{5}, o.limits);
}

void give_birth(const order& o, std::vector<descriptor> fds,
                children_map& children, keeper& guard) {
  report r{.what = report::kind::not_born, .worker = o.worker};
  if (fds.size() != order::descriptors) {
    r.error = EBADF;
    send_report(r);
    return;
  }
  std::fflush(nullptr);
  auto pid = ::fork();
  if (pid == 0) {
    children.clear(); // their descriptors are closed below
    become_worker(fds, o);
  }
  if (pid < 0) {
    r.error = errno;
    send_report(r);
    return;
  }
  ::setpgid(pid, pid);
  const descriptor pidfd{open_pidfd(pid)};
  if (!pidfd) {
    r.error = errno;
    ::kill(pid, SIGKILL);
    siginfo_t info{};
    wait_for(pid, info, WEXITED, nullptr);
    send_report(r);
    return;
  }
  r.what = report::kind::born;
  r.pid = pid;
  const int fd = pidfd.get();
  guard.tell_birth(pid, fd);
  send_report(r, std::span{&fd, 1});
  children.emplace(pid, child{o.worker, pid, std::move(fds[1])});
}

// Workers are reported, anything else is only reaped.
void bury_the_dead(children_map& children, pid_t keeper_pid) {
  for (;;) {
    siginfo_t info{};
    if (::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0
        || info.si_pid == 0)
      return;
    auto i = children.find(info.si_pid);
    if (i == children.end()) {
      wait_for(info.si_pid, info, WEXITED, nullptr);
      continue;
    }
    bury(i->second);
    children.erase(i);
    kill_strays(children, keeper_pid);
  }
}

void set_up() {
  ::prctl(PR_SET_NAME, "troupe.zygote");
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::setpgid(0, 0); // a ^C at the terminal is the parent's to handle
  ::syscall(SYS_close_range, 4u, ~0u, 0u);
  ::fcntl(zygote_socket, F_SETFD, FD_CLOEXEC);
  if (const int null = ::open("/dev/null", O_RDONLY | O_CLOEXEC); null >= 0) {
    ::dup2(null, 0);
    ::close(null);
  }
  for (int s : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD})
    ::signal(s, SIG_DFL);
  ::signal(SIGPIPE, SIG_IGN);
}

// Deaths are read from it; workers unblock the signal again.
descriptor watch_deaths() {
  sigset_t deaths;
  ::sigemptyset(&deaths);
  ::sigaddset(&deaths, SIGCHLD);
  ::sigprocmask(SIG_SETMASK, &deaths, nullptr);
  return descriptor{::signalfd(-1, &deaths, SFD_CLOEXEC | SFD_NONBLOCK)};
}

} // namespace

bool is_zygote(int argc, char** argv) {
  struct stat info{};
  return argc == 2 && std::strcmp(argv[1], zygote_flag) == 0
         && ::fstat(zygote_socket, &info) == 0 && S_ISSOCK(info.st_mode);
}

int zygote_main() {
  set_up();
  keeper guard;
  guard.start();
  const auto deaths = watch_deaths();
  children_map children;
  for (auto open = true; open;) {
    pollfd fds[] = {{zygote_socket, POLLIN, 0}, {deaths.get(), POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0)
      continue;
    if (fds[1].revents != 0) {
      signalfd_siginfo info;
      while (::read(deaths.get(), &info, sizeof(info)) > 0) {}
      bury_the_dead(children, guard.pid());
    }
    while (open) {
      order o;
      auto got = receive_record(zygote_socket,
                                std::as_writable_bytes(std::span{&o, 1}));
      if (got.how == transfer::again)
        break;
      if (got.how == transfer::ended)
        open = false;
      else
        give_birth(o, std::move(got.fds), children, guard);
    }
  }
  for (auto& [pid, c] : children)
    ::kill(-pid, SIGKILL);
  for (auto& [pid, c] : children) {
    siginfo_t info{};
    ::kill(pid, SIGKILL);
    wait_for(pid, info, WEXITED, nullptr);
  }
  kill_strays({}, 0);
  return 0;
}

} // namespace troupe::process
