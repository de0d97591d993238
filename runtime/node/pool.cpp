// SPDX-License-Identifier: MIT
#include "node/pool.hpp"

#include "sched/clock.hpp"
#include "sched/worker.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

namespace {

constexpr auto pool_name = "node_pool";
constexpr std::size_t queue_tasks_most = 1'000'000'000;

node_pool_options checked(node_pool_options o) {
  if (o.full != full_policy::wait && o.full != full_policy::reject)
    throw bad_argument{
      "node_pool: full must be wait or reject: a pool does not drop tasks, and "
      "the submitter does not run them"};
  if (o.retries < 0 || o.retries > 1000)
    refuse_option(pool_name, "retries", o.retries, "0..1000");
  if (o.deadline.ns() != time_limit::none && o.deadline.ns() <= 0)
    refuse_option(pool_name, "deadline (ns)", o.deadline.ns(), "above 0");
  if (o.patience.ns() != time_limit::none && o.patience.ns() <= 0)
    refuse_option(pool_name, "patience (ns)", o.patience.ns(), "above 0");
  for (const auto& n : o.nodes)
    static_cast<void>(n.checked());
  o.nodes.clear(); // one that is removed may go
  return o;
}

} // namespace

node_pool_core::node_pool_core(runtime& rt, const node_pool_options& opts)
  : host_(nodes::host::of(rt)),
    options_(checked(opts)),
    workers_each_(
      checked_pool_size(pool_name, opts.workers, 0, workers_most, "workers")),
    queue_max_(checked_pool_size(pool_name, opts.queue_tasks_max, 1,
                                 queue_tasks_most, "queue_tasks_max")),
    context_(host_.loop().context()),
    timer_(*context_) {}

void node_pool_core::start(const std::vector<node>& first) {
  host_.add(self());
  for (const auto& n : first)
    add(n);
}

// -- submitting ---------------------------------------------------------------

std::exception_ptr node_pool_core::why_closed() const {
  return std::make_exception_ptr(
    closed{stopped_ ? "node_pool: the system has stopped"
                    : "node_pool: submit after shutdown"});
}

void node_pool_core::submit(remote_task& t, bool may_reject) {
  static_cast<void>(t.entry.id()); // throws if it came too late
  section locked{*this};
  while (queue_.size() >= queue_max_ && !closed_) {
    // The loop can't wait: it is what makes room.
    if ((may_reject && options_.full == full_policy::reject)
        || host_.loop().is_driver())
      throw rejected{
        fmt::format("node_pool: its queue is full (the limit is "
                    "{} tasks, option queue_tasks_max)",
                    queue_max_)};
    ++waiting_;
    const sched::blocking_section blocking;
    changed_.wait(locked.lock);
    --waiting_;
  }
  if (closed_)
    std::rethrow_exception(why_closed());
  t.state().retain();
  if (queue_.empty() && is_alone()) {
    alone_since_ = sched::now_ns();
    tick_by(after(alone_since_, options_.patience.ns()));
  }
  queue_.push(t, false);
  dispatch(locked.out);
}

// The node with the least to do for its size; of equals the one that waits
// longest.
node_pool_core::place* node_pool_core::place_for_next(std::int64_t now) {
  place* best = nullptr;
  for (auto& each : places_) {
    auto& p = *each;
    if (!p.ready || p.leaving || p.session == nullptr || p.session->is_leaving()
        || p.calls.size() >= p.workers || p.rest_until > now
        || (!p.calls.empty() && !p.session->takes_more()))
      continue;
    if (best != nullptr) {
      const auto mine = p.calls.size() * best->workers;
      const auto others = best->calls.size() * p.workers;
      if (mine > others || (mine == others && p.used > best->used))
        continue;
    }
    best = &p;
  }
  return best;
}

void node_pool_core::dispatch(verdicts& out) {
  const auto now = sched::now_ns();
  while (!queue_.empty()) {
    auto* p = place_for_next(now);
    if (p == nullptr)
      break;
    auto& t = queue_.front();
    queue_.erase(t);
    if (waiting_ != 0)
      changed_.notify_one();
    if (!t.is_claimed && !t.state().claim()) {
      t.where = static_cast<std::uint8_t>(task_place::over);
      ++counts_.cancelled;
      out.push_back({&t, nullptr});
      continue;
    }
    t.is_claimed = true;
    if (!send(*p, t, now))
      queue_.push(t, true);
  }
  if (is_drained())
    changed_.notify_all();
}

std::int64_t node_pool_core::limit_of(const remote_task& t) const {
  const auto limit = t.deadline_ns >= 0 ? t.deadline_ns
                                        : options_.deadline.ns();
  return limit == time_limit::none ? INT64_MAX : limit;
}

// False: the session has ended, which we are about to hear.
bool node_pool_core::send(place& p, remote_task& t, std::int64_t now) {
  wire::frame_header head{.name = t.entry.id()};
  const auto limit = limit_of(t);
  if (limit != INT64_MAX)
    head.deadline_us = static_cast<std::uint64_t>(limit / 1'000);
  try {
    t.call = p.session->send_task(self(), head, t.arguments.bytes());
  } catch (const error&) {
    p.ready = false;
    return false;
  }
  t.place = p.number;
  t.where = static_cast<std::uint8_t>(task_place::sent);
  t.due = after(now, limit);
  if (t.due != INT64_MAX)
    tick_by(t.due);
  p.calls.emplace(t.call, &t);
  p.used = ++last_use_;
  ++running_;
  return true;
}

// -- looking ------------------------------------------------------------------

node_pool_core::place* node_pool_core::find(const node_core& n) {
  auto i = std::find_if(places_.begin(), places_.end(),
                        [&n](auto& p) { return p->node.get() == &n; });
  return i == places_.end() ? nullptr : i->get();
}

node_pool_core::place* node_pool_core::find(const nodes::session& s) {
  auto i = std::find_if(places_.begin(), places_.end(),
                        [&s](auto& p) { return p->session.get() == &s; });
  return i == places_.end() ? nullptr : i->get();
}

node_pool_core::place* node_pool_core::find(std::uint64_t number) {
  auto i = std::find_if(places_.begin(), places_.end(),
                        [number](auto& p) { return p->number == number; });
  return i == places_.end() ? nullptr : i->get();
}

void node_pool_core::help(remote_task& t) noexcept {
  std::shared_ptr<nodes::session> s;
  {
    const std::lock_guard guard{mutex_};
    if (t.where != static_cast<std::uint8_t>(task_place::sent))
      return;
    if (auto* p = find(t.place))
      s = p->session;
  }
  if (s != nullptr)
    s->look(t.state());
}

std::size_t node_pool_core::workers() const noexcept {
  const std::lock_guard guard{mutex_};
  std::size_t n = 0;
  for (auto& p : places_)
    n += p->leaving ? 0 : p->workers;
  return std::max<std::size_t>(1, n);
}

node_load node_pool_core::load_of(const place& p) const {
  return {.address = p.node->address(),
          .is_up = p.ready && p.session != nullptr && !p.leaving,
          .is_gone = p.leaving,
          .workers = p.workers,
          .running = p.calls.size(),
          .answered = p.answered,
          .lost = p.lost};
}

node_pool_statistics node_pool_core::stats() {
  const std::lock_guard guard{mutex_};
  auto s = counts_;
  for (auto& p : places_)
    if (p->ready && p->session != nullptr && !p->leaving) {
      ++s.nodes;
      s.workers += p->workers;
    }
  s.queued = queue_.size();
  s.running = running_;
  return s;
}

std::vector<node_load> node_pool_core::nodes() {
  const std::lock_guard guard{mutex_};
  std::vector<node_load> all{gone_.begin(), gone_.end()};
  for (auto& p : places_)
    all.push_back(load_of(*p));
  return all;
}

// -- for the header -----------------------------------------------------------

std::shared_ptr<remote_pool> make_node_pool(runtime& rt,
                                            const node_pool_options& opts) {
  auto core = std::make_shared<node_pool_core>(rt, opts);
  core->start(opts.nodes);
  return core;
}

void close_node_pool(const std::shared_ptr<remote_pool>& p) noexcept {
  static_cast<node_pool_core&>(*p).close();
}

} // namespace troupe::detail

namespace troupe {

namespace {

detail::node_pool_core& in(const std::shared_ptr<detail::remote_pool>& p) {
  return static_cast<detail::node_pool_core&>(*p);
}

} // namespace

void node_pool::add(const node& n) {
  in(core_).add(n);
}

void node_pool::remove(const node& n) {
  in(core_).remove(n);
}

node_pool_statistics node_pool::stats() const {
  return in(core_).stats();
}

std::vector<node_load> node_pool::nodes() const {
  return in(core_).nodes();
}

} // namespace troupe
