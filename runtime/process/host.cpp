// SPDX-License-Identifier: MIT
#include "process/host.hpp"

#include "core/log.hpp"
#include "core/modes.hpp"
#include "sched/worker.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <system_error>

extern char** environ;

namespace troupe::process {

namespace {

constexpr std::int64_t lazy_look_ns = 500'000;
constexpr std::int64_t backlog_look_ns = 1'000'000;

std::atomic<bool> allowed{false};

// How often the system's memory killer has struck, for verdicts.
std::uint64_t memory_kills() {
  std::uint64_t kills = 0;
  if (auto* file = std::fopen("/proc/vmstat", "re")) {
    char name[64];
    unsigned long long value = 0;
    while (std::fscanf(file, "%63s %llu", name, &value) == 2)
      if (std::strcmp(name, "oom_kill") == 0)
        kills = value;
    std::fclose(file);
  }
  return kills;
}

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

} // namespace

host& host::of(detail::runtime& rt) {
  if (!allowed.load())
    throw not_sendable{
      "worker processes are this executable started again: they need a main "
      "that calls troupe::run (a troupe::system of your own has none)"};
  return static_cast<host&>(
    rt.processes([](detail::runtime& r) -> std::unique_ptr<detail::part> {
      return std::make_unique<host>(r);
    }));
}

host::host(detail::runtime& rt)
  : runtime_(rt),
    memory_kills_(memory_kills()),
    epoll_(::epoll_create1(EPOLL_CLOEXEC)),
    wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_)
    fail("epoll");
  listen_to(wake_.get(), source::wake, 0);
  {
    const std::lock_guard guard{mutex_};
    start_zygote_locked();
  }
  thread_ = std::thread{[this] { loop(); }};
  wire::open_blocks();
}

host::~host() {
  stop();
  wire::close_blocks();
}

// -- the zygote ---------------------------------------------------------------

void host::start_zygote_locked() {
  auto [ours, theirs] = make_socket_pair();
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  // Through a number that is not 3 itself: a dup2 to itself would stay closed
  // on exec.
  const int high = ::fcntl(theirs.get(), F_DUPFD_CLOEXEC, 10);
  ::posix_spawn_file_actions_adddup2(&actions, high, zygote_socket);
  auto* name = ::program_invocation_name;
  char flag[32];
  std::snprintf(flag, sizeof(flag), "%s", zygote_flag);
  char* arguments[] = {name, flag, nullptr};
  pid_t pid = 0;
  const int rc = ::posix_spawn(&pid, "/proc/self/exe", &actions, nullptr,
                               arguments, environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(high);
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
    if (c->pidfd() >= 0)
      listen_to(c->pidfd(), source::pid, c->number());
    else if (!ordered)
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

// -- children -----------------------------------------------------------------

std::shared_ptr<child> host::start(std::shared_ptr<child_owner> owner,
                                   const worker_limits& limits) {
  const std::lock_guard guard{mutex_};
  if (stopped_)
    throw closed{"a worker process: the system has stopped"};
  auto c = std::make_shared<child>(*this, std::move(owner), ++last_number_);
  listen_to(c->bell(), source::bell, c->number());
  listen_to(c->stderr_end(), source::err, c->number());
  all_.emplace(c->number(), c);
  changed_.store(true);
  try {
    send_order_locked(c, limits);
  } catch (...) { // nobody can be forked from: it was never there
    std::erase_if(orders_, [&](auto& o) { return o.to == c; });
    all_.erase(c->number());
    throw;
  }
  return c;
}

std::shared_ptr<child> host::find(std::uint64_t number) {
  const std::lock_guard guard{mutex_};
  auto i = all_.find(number);
  return i == all_.end() ? nullptr : i->second;
}

void host::bury(std::uint64_t number, const report* seen, std::string why) {
  std::shared_ptr<child> c;
  {
    const std::lock_guard guard{mutex_};
    auto i = all_.find(number);
    if (i == all_.end())
      return;
    c = i->second;
    all_.erase(i);
    changed_.store(true);
  }
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->bell(), nullptr);
  if (c->pidfd() >= 0)
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->pidfd(), nullptr);
  const auto kills = memory_kills();
  c->has_died(seen, std::move(why),
              std::exchange(memory_kills_, kills) < kills);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->stderr_end(), nullptr);
}

void host::add(std::shared_ptr<child_owner> owner) {
  const std::lock_guard guard{mutex_};
  if (stopped_)
    throw closed{"worker processes: the system has stopped"};
  owners_.push_back(std::move(owner));
}

void host::remove(const child_owner* owner) {
  std::shared_ptr<child_owner> gone;
  const std::lock_guard calling{tick_mutex_};
  const std::lock_guard guard{mutex_};
  std::erase_if(owners_, [&](auto& o) {
    if (o.get() != owner)
      return false;
    gone = o;
    return true;
  });
}

void host::tick_by(std::int64_t due) {
  auto next = next_look_.load();
  while (due < next)
    if (next_look_.compare_exchange_weak(next, due)) {
      if (asleep_.load())
        wake();
      return;
    }
}

// -- the thread ---------------------------------------------------------------

void host::listen_to(int fd, source s, std::uint64_t number) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = key(s, number);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void host::wake() noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
}

void host::loop() {
  sched::name_thread("troupe.process");
  epoll_event events[64];
  while (!over_.load()) {
    // A wish that came before is seen below: its owner changed first, and then
    // said so.
    next_look_.store(INT64_MAX);
    auto next = arm_all();
    next = std::min(next, tick_all());
    next = std::min(next, wire::trim_blocks(sched::now_ns()));
    asleep_.store(true);
    auto asked = next_look_.load();
    while (next < asked && !next_look_.compare_exchange_weak(asked, next)) {}
    next = std::min(next, asked);
    timespec limit{};
    if (next != INT64_MAX) {
      const auto left = std::max<std::int64_t>(0, next - sched::now_ns());
      limit.tv_sec = static_cast<time_t>(left / 1'000'000'000);
      limit.tv_nsec = static_cast<long>(left % 1'000'000'000);
    }
    const int n = ::epoll_pwait2(epoll_.get(), events, std::size(events),
                                 next == INT64_MAX ? nullptr : &limit, nullptr);
    asleep_.store(false);
    for (int i = 0; i < n; ++i)
      handle(events[i].data.u64);
  }
}

void host::handle(std::uint64_t what) {
  const auto number = what & ((std::uint64_t{1} << 56) - 1);
  const auto from = static_cast<source>(what >> 56);
  if (from == source::wake) {
    std::uint64_t count = 0;
    static_cast<void>(!::read(wake_.get(), &count, sizeof(count)));
    return;
  }
  if (from == source::zygote) {
    read_reports();
    return;
  }
  auto c = find(number);
  if (c == nullptr)
    return;
  if (from == source::bell) {
    c->silence_bell();
    c->armed = bell_mode::quiet;
    c->pump();
  } else if (from == source::err) {
    if (!c->read_stderr()) // closed: it would be readable for ever
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->stderr_end(), nullptr);
  } else {
    bury(number, nullptr,
         "how is not known: the process that started it had "
         "ended before");
  }
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
  auto c = find(r.worker);
  if (c == nullptr)
    return;
  switch (r.what) {
    case report::kind::born:
      c->was_born(r.pid, fds.empty() ? descriptor{} : std::move(fds.front()));
      break;
    case report::kind::not_born:
      bury(r.worker, nullptr, fmt::format("fork: {}", std::strerror(r.error)));
      break;
    case report::kind::died:
      bury(r.worker, &r, {});
      break;
  }
}

// When to look again for what may come without a bell. Each child is armed
// first and looked at after that (child::arm); a worker publishes first and
// looks at the bell's mode after that: one of them sees the other. What is
// armed lazily may stay unrung, so it is looked at again in any case.
std::int64_t host::arm_all() {
  if (changed_.exchange(false)) {
    snapshot_.clear();
    const std::lock_guard guard{mutex_};
    for (auto& [number, c] : all_)
      snapshot_.push_back(c);
  }
  auto next = INT64_MAX;
  for (auto& c : snapshot_) {
    c->pump();
    const auto pumps = c->pumps();
    const auto busy = pumps != c->pumped;
    c->pumped = pumps;
    const auto mode = busy ? bell_mode::lazy : bell_mode::strict;
    if (c->arm(mode))
      next = 0;
    if (busy)
      next = std::min(next, sched::now_ns() + lazy_look_ns);
  }
  retry_orders();
  return next;
}

std::int64_t host::tick_all() {
  auto next = INT64_MAX;
  const std::lock_guard calling{tick_mutex_};
  std::vector<std::shared_ptr<child_owner>> owners;
  {
    const std::lock_guard guard{mutex_};
    owners = owners_;
  }
  for (auto& o : owners)
    next = std::min(next, o->tick(sched::now_ns()));
  return next;
}

bool host::is_idle() {
  std::vector<std::shared_ptr<child_owner>> owners;
  {
    const std::lock_guard guard{mutex_};
    owners = owners_;
  }
  return std::all_of(owners.begin(), owners.end(),
                     [](auto& o) { return o->is_idle(); });
}

void host::stop() {
  std::vector<std::shared_ptr<child_owner>> owners;
  {
    const std::lock_guard guard{mutex_};
    if (std::exchange(stopped_, true))
      return;
    owners = owners_;
  }
  for (auto& o : owners)
    o->on_stop();
  // The thread first: it reads from the zygote's socket.
  over_.store(true);
  wake();
  if (thread_.joinable())
    thread_.join();
  end_zygote(); // and with it all workers
  std::vector<std::uint64_t> left;
  {
    const std::lock_guard guard{mutex_};
    for (auto& [number, c] : all_)
      left.push_back(number);
    orders_.clear();
  }
  for (auto number : left)
    bury(number, nullptr, "the system has stopped");
  const std::lock_guard guard{mutex_};
  owners_.clear();
}

} // namespace troupe::process

namespace troupe::detail {

std::optional<int> run_as_child(int argc, char** argv) {
  if (process::is_zygote(argc, argv))
    return process::zygote_main();
  process::allowed.store(true);
  return std::nullopt;
}

} // namespace troupe::detail
