// SPDX-License-Identifier: MIT
#include "process/host.hpp"

#include "core/log.hpp"
#include "sched/worker.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>

extern char** environ;

namespace troupe::process {

namespace {

constexpr std::int64_t backlog_look_ns = 1'000'000;
// How long a zygote may leave an order, or a death, without any report.
constexpr std::int64_t answer_limit_ns = 10'000'000'000;

} // namespace

void host::start_zygote_locked() {
  auto [ours, theirs] = make_socket_pair();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // Through a number that is not 3 itself: a dup2 to itself would stay closed
  // on exec.
  const descriptor high{::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10)};
  if (!high) {
    ::posix_spawn_file_actions_destroy(&actions);
    throw std::system_error{errno, std::generic_category(),
                            "starting this executable again"};
  }
  ::posix_spawn_file_actions_adddup2(&actions, high.get(), zygote_socket);
  auto* name = ::program_invocation_name;
  char flag[32];
  std::snprintf(flag, sizeof(flag), "%s", zygote_flag);
  char* arguments[] = {name, flag, nullptr};
  pid_t pid = 0;
  const int rc = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr,
                               arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (rc != 0)
    throw std::system_error{rc, std::generic_category(),
                            "starting this executable again"};
  zygote_ = std::move(ours);
  zygote_pid_ = pid;
  listen_to(zygote_.get(), source::zygote, 0);
}

void host::send_order_locked(const std::shared_ptr<child>& c,
                             const worker_limits& limits) {
  orders_.push_back({c, {c->number(), limits}, c->take_birth()});
  send_orders_locked();
}

void host::send_orders_locked() {
  while (!orders_.empty()) {
    if (!zygote_)
      start_zygote_locked();
    auto& first = orders_.front();
    const int fds[] = {first.fds.socket.get(), first.fds.memory, first.fds.bell,
                       first.fds.stderr_end.get()};
    static_assert(std::size(fds) == order::descriptors);
    // Ended: the loop finds out, buries it and comes here again.
    if (send_value(zygote_.get(), first.what, fds) != transfer::done) {
      tick_by(sched::now_ns() + backlog_look_ns);
      return;
    }
    await_report_locked(first.what.worker);
    orders_.pop_front();
  }
}

void host::zygote_died() {
  std::vector<std::shared_ptr<child>> left;
  {
    const std::lock_guard guard{mutex_};
    if (!zygote_)
      return;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, zygote_.get(), nullptr);
    zygote_.reset();
    siginfo_t info{};
    ::kill(zygote_pid_, SIGKILL);
    ::waitid(P_PID, static_cast<id_t>(zygote_pid_), &info, WEXITED);
    zygote_pid_ = 0;
    awaited_.clear();
    if (stopped_)
      return;
    for (auto& [number, c] : all_)
      left.push_back(c);
  }
  detail::log().warn(
    "the process that starts workers has ended; the workers "
    "go on, the next ones come from another");
  for (auto& c : left) {
    auto ordered = false;
    {
      const std::lock_guard guard{mutex_};
      for (auto& o : orders_)
        ordered = ordered || o.to == c;
    }
    if (ordered)
      continue; // the next one's to start
    c->orphaned = true;
    if (c->pidfd() >= 0)
      listen_to(c->pidfd(), source::pid, c->number());
    else
      bury(c->number(), nullptr, "the process that starts workers has ended");
  }
  retry_orders();
}

// On the thread: what can't be started now is told to its owner.
void host::retry_orders() {
  std::vector<std::uint64_t> refused;
  std::string why;
  {
    const std::lock_guard guard{mutex_};
    try {
      send_orders_locked();
    } catch (const std::exception& e) {
      why = e.what();
      for (auto& o : orders_)
        refused.push_back(o.to->number());
      orders_.clear();
    }
  }
  for (auto number : refused)
    bury(number, nullptr, why);
}

void host::read_reports() {
  for (;;) {
    report r;
    int fd = -1;
    {
      const std::lock_guard guard{mutex_};
      fd = zygote_.get();
    }
    if (fd < 0)
      return;
    auto got = receive_record(fd, std::as_writable_bytes(std::span{&r, 1}));
    if (got.how == transfer::again)
      return;
    if (got.how == transfer::ended) {
      zygote_died();
      return;
    }
    take_report(r, std::move(got.fds));
  }
}

void host::take_report(const report& r, std::vector<descriptor> fds) {
  {
    const std::lock_guard guard{mutex_};
    awaited_.erase(r.worker);
    report_due_ns_ = sched::now_ns() + answer_limit_ns;
  }
  auto c = find(r.worker);
  if (c == nullptr)
    return;
  switch (r.what) {
    case report::kind::born:
      c->was_born(r.pid, fds.empty() ? descriptor{} : std::move(fds.front()));
      listen_to(c->pidfd(), source::pid, c->number());
      break;
    case report::kind::not_born:
      bury(r.worker, nullptr, fmt::format("fork: {}", std::strerror(r.error)));
      break;
    case report::kind::died:
      bury(r.worker, &r, {});
      break;
  }
}

void host::await_report_locked(std::uint64_t number) {
  if (awaited_.empty())
    report_due_ns_ = sched::now_ns() + answer_limit_ns;
  awaited_.insert(number);
  tick_by(report_due_ns_);
}

// Its zygote says how; without it nobody knows, unless orphans come to us.
void host::has_ended(child& c) {
  if (c.orphaned) {
    if (c.pid() > 0)
      ::kill(-c.pid(), SIGKILL); // its group: nobody else does it
    report seen{.what = report::kind::died};
    siginfo_t info{};
    const auto is_ours = ::waitid(P_PIDFD, static_cast<id_t>(c.pidfd()), &info,
                                  WEXITED | WNOHANG)
                           == 0
                         && info.si_pid != 0;
    seen.code = info.si_code;
    seen.status = info.si_status;
    bury(c.number(), is_ours ? &seen : nullptr,
         is_ours
           ? ""
           : "how is not known: the process that started it had ended before");
    return;
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c.pidfd(), nullptr);
  const std::lock_guard guard{mutex_};
  await_report_locked(c.number());
}

// A zygote that is stopped or stuck would hold up births and deaths for ever.
std::int64_t host::look_at_zygote() {
  const auto overdue = [this] {
    const std::lock_guard guard{mutex_};
    if (!zygote_ || awaited_.empty())
      return INT64_MAX;
    return report_due_ns_;
  };
  if (const auto due = overdue(); due > sched::now_ns())
    return due;
  read_reports(); // perhaps it was this thread that was late
  if (const auto due = overdue(); due > sched::now_ns())
    return due;
  detail::log().warn(
    "the process that starts workers has been silent for {} s "
    "and is killed",
    answer_limit_ns / 1'000'000'000);
  const std::lock_guard guard{mutex_};
  ::kill(zygote_pid_, SIGKILL);
  return report_due_ns_ = sched::now_ns() + answer_limit_ns;
}

void host::end_zygote() {
  descriptor socket;
  pid_t pid = 0;
  {
    const std::lock_guard guard{mutex_};
    socket = std::move(zygote_);
    pid = std::exchange(zygote_pid_, 0);
  }
  socket.reset(); // it kills what is left and ends
  if (pid == 0)
    return;
  const descriptor pidfd{static_cast<int>(::syscall(SYS_pidfd_open, pid, 0))};
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (!pidfd || ::poll(&ended, 1, 2000) <= 0)
    ::kill(pid, SIGKILL);
  siginfo_t info{};
  while (::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED) != 0
         && errno == EINTR) {}
}

} // namespace troupe::process
