// SPDX-License-Identifier: MIT
#include "process/pool.hpp"

#include "sched/clock.hpp"
#include "sched/cpus.hpp"
#include "sched/worker.hpp"
#include "wire/block.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

namespace {

using process::window;

constexpr std::int64_t ahead_ns = 200'000; // of work sent ahead to a worker
constexpr std::size_t queue_default = 1'000'000;
constexpr std::size_t queue_tasks_most = 1'000'000'000;

// How long a thread that waits for a task looks for its answer itself.
constexpr std::int64_t look_ns = 100'000, short_look_ns = 5'000;

[[noreturn]] void refuse(const char* what, std::int64_t value,
                         const char* range) {
  refuse_option("process_pool", what, value, range);
}

process_pool_options checked(process_pool_options o) {
  if (o.full != full_policy::wait && o.full != full_policy::reject)
    throw bad_argument{
      "process_pool: full must be wait or reject: a pool does "
      "not drop tasks, and the parent does not run them"};
  if (o.spares < 0 || o.spares > 64)
    refuse("spares", o.spares, "0..64");
  if (o.retries < 0 || o.retries > 1000)
    refuse("retries", o.retries, "0..1000");
  if (o.quarantine_after < 1)
    refuse("quarantine_after", o.quarantine_after, "1 and above");
  if (o.tasks_per_worker_max != auto_size && o.tasks_per_worker_max < 1)
    refuse("tasks_per_worker_max", o.tasks_per_worker_max, "1 and above");
  if (o.deadline.ns() != time_limit::none && o.deadline.ns() <= 0)
    refuse("deadline (ns)", o.deadline.ns(), "above 0");
  if (o.grace.count() < 0)
    refuse("grace (ns)", o.grace.count(), "0 and above");
  if (o.cpu_time_max.count() < 0)
    refuse("cpu_time_max (s)", o.cpu_time_max.count(), "0 and above");
  if (o.open_files_max != 0 && o.open_files_max < 16)
    refuse("open_files_max", o.open_files_max, "0, or 16 and above");
  if (o.nice < -20 || o.nice > 19)
    refuse("nice", o.nice, "-20..19");
  if (o.heartbeat.count() < 0)
    refuse("heartbeat (ns)", o.heartbeat.count(), "0 (none) and above");
  if (o.idle_after.count() < 0)
    refuse("idle_after (ns)", o.idle_after.count(), "0 and above");
  return o;
}

std::size_t size_of_pool(std::ptrdiff_t n, std::size_t automatic,
                         std::size_t most, const char* what) {
  return checked_pool_size("process_pool", n, automatic, most, what);
}

} // namespace

// -- making -------------------------------------------------------------------

process_core::process_core(runtime& rt, const process_pool_options& opts)
  : host_(process::host::of(rt)),
    options_(checked(opts)),
    most_(size_of_pool(opts.workers, sched::usable_cpus(), 1024, "workers")),
    least_(size_of_pool(opts.workers_min, most_, most_, "workers_min")),
    queue_max_(size_of_pool(opts.queue_tasks_max, queue_default,
                            queue_tasks_most, "queue_tasks_max")),
    limits_{.memory_bytes = static_cast<std::int64_t>(opts.memory_max_bytes),
            .cpu_seconds = opts.cpu_time_max.count(),
            .open_files = opts.open_files_max,
            .nice = opts.nice},
    wanted_(least_),
    jitter_(static_cast<std::uint32_t>(sched::now_ns())) {}

process_core::~process_core() = default;

void process_core::start() {
  host_.add(self());
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    make_places(out);
  }
  settle(out);
}

// -- submitting ---------------------------------------------------------------

std::exception_ptr process_core::why_closed() const {
  if (broken_)
    return broken_;
  return std::make_exception_ptr(closed{"process_pool: submit after shutdown"});
}

void process_core::submit(remote_task& t, bool may_reject) {
  static_cast<void>(t.entry.id()); // throws if it came too late
  verdicts out;
  {
    std::unique_lock lock{mutex_};
    while (queue_.size() >= queue_max_ && !closed_ && !broken_) {
      if (may_reject && options_.full == full_policy::reject)
        throw rejected{
          fmt::format("process_pool: its queue is full (the limit "
                      "is {} tasks, option queue_tasks_max)",
                      queue_max_)};
      ++waiting_;
      const sched::blocking_section section;
      changed_.wait(lock);
      --waiting_;
    }
    if (closed_ || broken_)
      std::rethrow_exception(why_closed());
    t.state().retain();
    queue_.push(t, false);
    dispatch(out);
  }
  settle(out);
}

void process_core::unqueue(remote_task& t) {
  queue_.erase(t);
  if (waiting_ != 0)
    changed_.notify_one();
}

bool process_core::has_room(place& p) {
  if (!p.ready || p.leaving || p.spare || p.ending != stage::none
      || p.tasks >= p.tasks_max || p.worker->has_backlog())
    return false;
  static_cast<void>(head_of(p)); // past what was taken back
  if (p.next - p.first >= window - 1)
    return false;
  if (p.live == 0)
    return true;
  const auto ahead = p.task_ns == 0 ? 2
                                    : std::clamp<std::int64_t>(
                                        ahead_ns / p.task_ns, 2, window - 2);
  return p.live < static_cast<std::size_t>(ahead);
}

process_core::place* process_core::place_for_next() {
  place* best = nullptr;
  for (auto& p : places_)
    if (has_room(*p) && (best == nullptr || p->live < best->live))
      best = p.get();
  return best;
}

// One more worker, if there may be one; null unless it can begin at once.
process_core::place* process_core::grow(verdicts& out) {
  const auto starting = static_cast<std::size_t>(
    std::count_if(places_.begin(), places_.end(),
                  [](auto& p) { return !p->ready && !p->leaving; }));
  if (wanted_ >= most_ || closed_ || starting >= queue_.size())
    return nullptr;
  ++wanted_;
  make_places(out);
  auto* p = place_for_next();
  return p != nullptr && p->live == 0 ? p : nullptr;
}

void process_core::dispatch(verdicts& out) {
  while (!queue_.empty()) {
    auto& t = queue_.front();
    auto* p = place_for_next();
    if (p == nullptr || p->live != 0)
      if (auto* fresh = grow(out))
        p = fresh;
    if (p == nullptr || queue_.empty()) // growing may have broken the pool
      break;
    unqueue(t);
    if (!t.is_claimed && !t.state().claim()) {
      ++counts_.cancelled;
      out.push_back({&t, nullptr});
      continue;
    }
    t.is_claimed = true;
    send(*p, t);
  }
  if (is_drained())
    changed_.notify_all();
}

void process_core::send(place& p, remote_task& t) {
  const auto call = p.next++;
  p.calls[call % window] = &t;
  if (p.live++ == 0) {
    const auto now = sched::now_ns();
    p.head_began = p.last_answer = p.heard = now;
    p.answers = 0;
    if (options_.heartbeat.count() > 0)
      host_.tick_by(now + options_.heartbeat.count() / 2);
    if (const auto limit = deadline_of(t); limit != INT64_MAX)
      host_.tick_by(now + limit);
  }
  ++p.tasks;
  ++running_;
  t.where = static_cast<std::uint8_t>(task_place::sent);
  t.call = call;
  t.place = p.number;
  p.worker->offer(call);
  wire::frame_header head{.kind = wire::frame_kind::call,
                          .flags = t.flags,
                          .call = call,
                          .name = t.entry.id()};
  if (const auto limit = deadline_of(t); limit != INT64_MAX)
    head.deadline_us = static_cast<std::uint64_t>(limit / 1'000);
  head.attachments = static_cast<std::uint32_t>(t.road.attached.size());
  if (head.attachments != 0) // blocks among them are looked after
    host_.tick_by(sched::now_ns() + wire::idle_ns);
  p.worker->send(head, t.arguments.bytes(), &t.road);
}

void process_core::send_setup(place& p, const wire::entry& e) {
  const auto call = p.next++;
  p.setup = call;
  p.heard = sched::now_ns();
  p.worker->offer(call);
  p.worker->send({.kind = wire::frame_kind::call, .call = call, .name = e.id()},
                 {});
}

std::int64_t process_core::deadline_of(const remote_task& t) const {
  const auto limit = t.deadline_ns >= 0 ? t.deadline_ns
                                        : options_.deadline.ns();
  return limit == time_limit::none ? INT64_MAX : limit;
}

// -- looking ------------------------------------------------------------------

process_core::place* process_core::find(const process::child& c) {
  return static_cast<place*>(c.owners_note);
}

void process_core::help(remote_task& t) noexcept {
  std::shared_ptr<process::child> worker;
  auto limit = look_ns;
  {
    const std::lock_guard guard{mutex_};
    if (t.where != static_cast<std::uint8_t>(task_place::sent))
      return;
    for (auto& p : places_)
      if (p->number == t.place) {
        worker = p->worker;
        if (p->task_ns > look_ns)
          limit = short_look_ns;
      }
  }
  if (worker == nullptr)
    return;
  const upkeep_scope upkeep{host_.runtime().scheduler()};
  worker->pump_until(sched::now_ns() + limit,
                     [&t] { return t.state().is_settled(); });
}

process_pool_statistics process_core::stats() {
  const std::lock_guard guard{mutex_};
  auto s = counts_;
  s.workers = standing(false);
  s.spares = standing(true);
  s.queued = queue_.size();
  s.running = running_;
  s.busy = static_cast<std::size_t>(std::count_if(
    places_.begin(), places_.end(), [](auto& p) { return p->live != 0; }));
  return s;
}

std::vector<std::int32_t> process_core::pids() {
  const std::lock_guard guard{mutex_};
  std::vector<std::int32_t> all;
  for (auto& p : places_)
    if (const auto pid = p->worker->pid(); pid != 0 && !p->spare)
      all.push_back(pid);
  return all;
}

std::vector<quarantined_task> process_core::quarantined() {
  const std::lock_guard guard{mutex_};
  return {quarantine_.begin(), quarantine_.end()};
}

// -- for the header -----------------------------------------------------------

std::shared_ptr<remote_pool>
make_process_pool(runtime& rt, const process_pool_options& opts) {
  auto core = std::make_shared<process_core>(rt, opts);
  core->start();
  return core;
}

void close_process_pool(const std::shared_ptr<remote_pool>& p) noexcept {
  static_cast<process_core&>(*p).close();
}

void process_core::seal(remote_task& t) {
  if (t.arguments.size() < process::attached_bytes_min)
    return;
  if (process::attach_bytes(t.arguments, t.road))
    t.flags |= process::attached_payload;
}

} // namespace troupe::detail

namespace troupe {

namespace {

detail::process_core& in(const std::shared_ptr<detail::remote_pool>& p) {
  return static_cast<detail::process_core&>(*p);
}

} // namespace

process_pool_statistics process_pool::stats() const {
  return in(core_).stats();
}

std::vector<std::int32_t> process_pool::pids() const {
  return in(core_).pids();
}

std::vector<quarantined_task> process_pool::quarantined() const {
  return in(core_).quarantined();
}

} // namespace troupe
