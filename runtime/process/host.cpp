// SPDX-License-Identifier: MIT
#include "process/host.hpp"

#include "core/log.hpp"
#include "core/modes.hpp"
#include "sched/worker.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <system_error>

namespace troupe::process {

namespace {

constexpr std::int64_t lazy_look_ns = 500'000;

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
  // A bell is never read: who rings shares its flags and could let a read wait.
  event.events = s == source::bell ? EPOLLIN | EPOLLET : EPOLLIN;
  event.data.u64 = key(s, number);
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void host::wake() noexcept {
  const std::uint64_t one = 1;
  static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
}

void host::loop() {
  sched::name_thread("troupe.process");
  const detail::upkeep_scope upkeep{runtime_.scheduler()};
  epoll_event events[64];
  while (!over_.load()) {
    // A wish that came before is seen below: its owner changed first, and then
    // said so.
    next_look_.store(INT64_MAX);
    auto next = arm_all();
    next = std::min(next, tick_all());
    next = std::min(next, look_at_zygote());
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
    c->armed = bell_mode::quiet;
    c->pump();
  } else if (from == source::err) {
    if (!c->read_stderr()) // closed: it would be readable for ever
      ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, c->stderr_end(), nullptr);
  } else {
    has_ended(*c);
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
