// SPDX-License-Identifier: MIT
#include "node/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/worker.hpp"
#include "troupe/fn.hpp"
#include "wire/failure.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

namespace {

constexpr auto pool_name = "node_pool";
constexpr std::size_t workers_most = 1024;
constexpr std::size_t queue_tasks_most = 1'000'000'000;
constexpr std::size_t gone_max = 100;
// After a refusal.
constexpr std::int64_t rest_ns = 10'000'000;
// While a shutdown waits.
constexpr std::int64_t look_again_ns = 20'000'000;

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

// Runs at the node.
std::uint64_t workers_here() {
  return current.home == nullptr ? 1 : current.home->settings().workers;
}

const wire::entry& workers_question() {
  return wire::task_entry<fn_t<&workers_here>>();
}

std::int64_t after(std::int64_t now, std::int64_t limit) {
  return limit >= INT64_MAX - now ? INT64_MAX : now + limit;
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

// The lock, and what is to be settled once it is free. Until that is done the
// pool is not drained.
struct node_pool_core::section {
  node_pool_core& core;
  std::unique_lock<std::mutex> lock;
  verdicts out;

  explicit section(node_pool_core& c) : core(c), lock(c.mutex_) {}
  ~section() {
    if (!out.empty())
      settle_now();
  }
  section(const section&) = delete;
  section& operator=(const section&) = delete;

  void settle_now() {
    const auto n = out.size();
    core.settling_ += n;
    lock.unlock();
    settle(out);
    lock.lock();
    core.settling_ -= n;
    if (core.is_drained())
      core.changed_.notify_all();
  }
};

// -- nodes --------------------------------------------------------------------

void node_pool_core::add(const node& n) {
  auto& core = n.checked();
  {
    const std::lock_guard guard{mutex_};
    if (closed_)
      std::rethrow_exception(why_closed());
    if (auto* p = find(core)) {
      p->leaving = false;
    } else {
      auto made = std::make_unique<place>();
      made->number = ++last_place_;
      made->node = n.core();
      made->workers = workers_each_;
      places_.push_back(std::move(made));
    }
  }
  core.watch(self());
}

void node_pool_core::remove(const node& n) {
  const std::lock_guard guard{mutex_};
  if (auto* p = find(n.checked())) {
    p->leaving = true;
    forget_if_done(*p);
    note_change();
  }
}

void node_pool_core::came_up(node_core& n, std::shared_ptr<nodes::session> s) {
  section locked{*this};
  auto& out = locked.out;
  auto* p = find(n);
  if (p == nullptr || p->session == s || stopped_ || !s->add_sender(self()))
    return;
  p->session = std::move(s);
  p->ready = workers_each_ != 0;
  p->rest_until = 0;
  if (!p->ready)
    ask_for_workers(*p);
  dispatch(out);
}

void node_pool_core::ask_for_workers(place& p) {
  try {
    p.setup = p.session->send_task(self(), {.name = workers_question().id()},
                                   {});
  } catch (const error& e) {
    log().warn("node_pool: node {}: {}", p.node->address(), e.what());
  }
}

void node_pool_core::take_workers(place& p, const wire::frame_header& head,
                                  std::span<const std::byte> payload) {
  std::uint64_t n = 1;
  try {
    if (head.kind != wire::frame_kind::result)
      throw decode_error{"it does not say how many workers it has"};
    wire::reader in{payload};
    wire::decode(in, n);
    in.finish();
  } catch (const std::exception& e) {
    log().warn("node_pool: node {}: {}; it gets one task at a time",
               p.node->address(), e.what());
  }
  p.setup = 0;
  p.workers = std::clamp<std::size_t>(n, 1, workers_most);
  p.ready = true;
}

void node_pool_core::went_for_good(node_core& n,
                                   const std::exception_ptr& why) {
  const std::lock_guard guard{mutex_};
  auto* p = find(n);
  if (p == nullptr)
    return;
  p->leaving = true; // its session, if any, ends by itself
  last_loss_ = why;
  forget_if_done(*p);
  note_change();
}

void node_pool_core::on_end(nodes::session& from,
                            const std::exception_ptr& why) {
  section locked{*this};
  auto& out = locked.out;
  auto* p = find(from);
  if (p == nullptr)
    return;
  p->session = nullptr;
  p->ready = false;
  p->setup = 0;
  last_loss_ = why;
  std::vector<remote_task*> victims;
  for (auto& [call, t] : std::exchange(p->calls, {}))
    if (t != nullptr)
      victims.push_back(t);
  if (!victims.empty() && !stopped_)
    log().warn("node_pool: {} tasks are lost with node {}: {}", victims.size(),
               p->node->address(), text_of(why));
  // Those that go back into the queue: in their order.
  std::sort(victims.begin(), victims.end(),
            [](auto* a, auto* b) { return a->call > b->call; });
  for (auto* t : victims)
    lose(*p, *t, why, out);
  forget_if_done(*p);
  note_change();
  dispatch(out);
}

// Its attempt is over: tried again, or failed.
void node_pool_core::lose(place& p, remote_task& t,
                          const std::exception_ptr& why, verdicts& out) {
  --running_;
  ++p.lost;
  ++counts_.lost;
  t.lost_with.push_back(p.node->address());
  t.where = static_cast<std::uint8_t>(task_place::over);
  const auto attempts = t.lost_with.size();
  const auto name = plain_name(t.entry.name());
  if (stopped_) {
    ++counts_.failed;
    out.push_back({&t, why_closed()});
  } else if (t.is_ended) {
    ++counts_.failed;
    out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                         "{} was cancelled while it ran at node {}, which was "
                         "lost",
                         name, p.node->address())})});
  } else if (t.is_idempotent
             && attempts <= static_cast<std::size_t>(options_.retries)) {
    ++counts_.retried;
    queue_.push(t, true);
  } else {
    ++counts_.failed;
    out.push_back({&t, std::make_exception_ptr(node_lost{fmt::format(
                         "{}: lost with node {}, attempt {}: {}", name,
                         p.node->address(), attempts, text_of(why))})});
  }
}

void node_pool_core::forget_if_done(place& p) {
  if (!p.leaving || !p.calls.empty())
    return;
  gone_.push_back(load_of(p));
  gone_.back().is_gone = true;
  if (gone_.size() > gone_max)
    gone_.pop_front();
  std::erase_if(places_, [&p](auto& x) { return x.get() == &p; });
}

bool node_pool_core::is_alone() const {
  return std::none_of(places_.begin(), places_.end(), [](auto& p) {
    return p->session != nullptr && !p->leaving;
  });
}

// A node has gone, perhaps the last one.
void node_pool_core::note_change() {
  if (is_alone()) {
    alone_since_ = sched::now_ns();
    if (!queue_.empty())
      tick_by(after(alone_since_, options_.patience.ns()));
  }
  changed_.notify_all();
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

// -- answers ------------------------------------------------------------------

void node_pool_core::on_answer(nodes::session& from,
                               const wire::frame_header& head,
                               std::span<const std::byte> payload) {
  auto* t = take_answer(from, head, payload);
  if (t == nullptr)
    return;
  t->let_go();
  wire::reader in{payload};
  if (head.kind == wire::frame_kind::error) {
    try {
      wire::failure record;
      wire::decode(in, record);
      auto error = wire::rebuild(record);
      t->state().fail(error ? error
                            : std::make_exception_ptr(
                                decode_error{"an error without a type"}));
    } catch (...) {
      t->state().fail(std::current_exception());
    }
  } else {
    t->decode(in);
  }
  const auto good = t->state().at.load() == phase::value;
  t->state().release();
  const std::lock_guard guard{mutex_};
  --running_;
  ++(good ? counts_.done : counts_.failed);
  if (is_drained())
    changed_.notify_all();
}

// The task that it settles, if any. Its worker gets the next one meanwhile.
remote_task* node_pool_core::take_answer(nodes::session& from,
                                         const wire::frame_header& head,
                                         std::span<const std::byte> payload) {
  section locked{*this};
  auto* p = find(from);
  if (p == nullptr)
    return nullptr;
  remote_task* t = nullptr;
  if (head.call == p->setup) {
    take_workers(*p, head, payload);
  } else if (auto i = p->calls.find(head.call); i != p->calls.end()) {
    t = i->second;
    p->calls.erase(i);
    if ((head.flags & nodes::flag_unbegun) != 0)
      take_back(*p, std::exchange(t, nullptr), locked.out);
    else
      ++p->answered;
    if (t != nullptr)
      t->where = static_cast<std::uint8_t>(task_place::over);
    forget_if_done(*p);
  }
  dispatch(locked.out);
  return t;
}

// The node has refused it, or found it cancelled, before it began.
void node_pool_core::take_back(place& p, remote_task* t, verdicts& out) {
  if (t == nullptr)
    return;
  --running_;
  if (t->is_ended) {
    drop(*t, out);
    return;
  }
  queue_.push(*t, true);
  p.rest_until = sched::now_ns() + rest_ns;
  tick_by(p.rest_until);
}

// -- giving up ----------------------------------------------------------------

// Cancelled, and at no node. One that waits for its next attempt has run
// before: it can't be called unbegun.
void node_pool_core::drop(remote_task& t, verdicts& out) {
  t.where = static_cast<std::uint8_t>(task_place::over);
  if (t.lost_with.empty()) {
    ++counts_.cancelled;
    out.push_back({&t, nullptr});
    return;
  }
  ++counts_.failed;
  out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                       "{} was cancelled before its next attempt; {} were lost "
                       "with their nodes",
                       plain_name(t.entry.name()), t.lost_with.size())})});
}

void node_pool_core::stop_task(remote_task& t) noexcept {
  section locked{*this};
  auto& out = locked.out;
  if (t.where == static_cast<std::uint8_t>(task_place::queued)) {
    queue_.erase(t);
    drop(t, out);
    changed_.notify_all();
  } else if (t.where == static_cast<std::uint8_t>(task_place::sent)) {
    auto* p = find(t.place);
    if (p != nullptr && p->session != nullptr
        && !std::exchange(t.is_ended, true))
      p->session->cancel_task(t.call);
  }
}

// Past their deadline: their futures fail; their nodes are asked to end them.
void node_pool_core::give_up_late(std::int64_t now, verdicts& out) {
  for (auto& p : places_)
    for (auto& [call, t] : p->calls) {
      if (t == nullptr || t->due == INT64_MAX)
        continue;
      if (t->due > now) {
        tick_by(t->due);
        continue;
      }
      --running_;
      ++counts_.failed;
      t->where = static_cast<std::uint8_t>(task_place::over);
      out.push_back(
        {t, std::make_exception_ptr(timeout{fmt::format(
              "{}: not done after {} ms at node {}, its deadline",
              plain_name(t->entry.name()),
              static_cast<double>(limit_of(*t)) / 1e6, p->node->address())})});
      t = nullptr;
      if (p->session != nullptr)
        p->session->cancel_task(call);
    }
}

void node_pool_core::fail_queue(const std::exception_ptr& why, verdicts& out) {
  fail_all(queue_, why, counts_.failed, out,
           [&](remote_task& t) { drop(t, out); });
  changed_.notify_all();
}

void node_pool_core::drop_cancelled(verdicts& out) {
  std::vector<remote_task*> dropped;
  queue_.for_each([&](remote_task& t) {
    if (t.state().is_settled())
      dropped.push_back(&t);
  });
  for (auto* t : dropped) {
    queue_.erase(*t);
    drop(*t, out);
  }
}

void node_pool_core::stop_running() {
  for (auto& p : places_)
    for (auto& [call, t] : p->calls)
      if (t != nullptr && p->session != nullptr
          && !std::exchange(t->is_ended, true))
        p->session->cancel_task(call);
}

// -- time ---------------------------------------------------------------------

void node_pool_core::tick_by(std::int64_t due) {
  if (due >= next_tick_)
    return;
  next_tick_ = due;
  host_.loop().post([weak = weak_from_this()] {
    auto alive = weak.lock();
    if (alive == nullptr)
      return;
    auto& core = static_cast<node_pool_core&>(*alive);
    std::int64_t at = 0;
    {
      const std::lock_guard guard{core.mutex_};
      at = core.next_tick_;
    }
    core.timer_.expires_at(
      std::chrono::steady_clock::time_point{std::chrono::nanoseconds{at}});
    core.timer_.async_wait([weak](const boost::system::error_code& ec) {
      if (auto still = weak.lock(); still != nullptr && !ec)
        static_cast<node_pool_core&>(*still).tick();
    });
  });
}

void node_pool_core::tick() {
  section locked{*this};
  auto& out = locked.out;
  if (stopped_)
    return;
  const auto now = sched::now_ns();
  next_tick_ = INT64_MAX;
  give_up_late(now, out);
  dispatch(out);
  if (!queue_.empty() && is_alone()) {
    const auto until = after(alone_since_, options_.patience.ns());
    if (now >= until)
      fail_queue(std::make_exception_ptr(node_lost{fmt::format(
                   "node_pool: no node was there for {} ms{}",
                   options_.patience.ns() / 1'000'000,
                   last_loss_ ? "; the last one: " + text_of(last_loss_)
                              : std::string{})}),
                 out);
    else
      tick_by(until);
  }
  for (auto& p : places_)
    if (p->rest_until > now)
      tick_by(p->rest_until);
  if (is_drained())
    changed_.notify_all();
}

// -- ending -------------------------------------------------------------------

void node_pool_core::refuse_in_loop(const char* what) const {
  if (host_.loop().is_driver())
    throw bad_argument{fmt::format(
      "node_pool: {} where answers come in would wait for itself", what)};
}

// Any number of threads may be in here, each with a mode and a limit of its
// own: every step may be done again.
drain_report node_pool_core::shut_down(shutdown_mode mode,
                                       std::int64_t limit_ns) {
  section locked{*this};
  auto& out = locked.out;
  if (!stopped_)
    refuse_in_loop("shutdown");
  const sched::blocking_section blocking;
  const auto until = due_after(limit_ns == time_limit::none
                                 ? time_limit{no_deadline}
                                 : time_limit{std::chrono::nanoseconds{
                                     std::max<std::int64_t>(0, limit_ns)}});
  auto cancel_queue = [&] {
    fail_queue(nullptr, out);
    for (auto& v : out) // others may have cancelled it before
      was_clean_ = was_clean_ && v.task->state().is_settled();
    locked.settle_now();
  };
  closed_ = true;
  changed_.notify_all(); // submits that wait for room
  if (mode == shutdown_mode::cancel_pending)
    cancel_queue();
  while (!is_drained()) {
    const auto now = sched::now_ns();
    if (now >= until) {
      was_clean_ = false;
      cancel_queue();
      stop_running();
      break;
    }
    drop_cancelled(out);
    if (!out.empty()) {
      locked.settle_now();
      continue;
    }
    // Nobody tells of a future that is cancelled while its task waits.
    const auto pause = queue_.empty() ? until - now
                                      : std::min(until - now, look_again_ns);
    if (pause > INT64_MAX / 2)
      changed_.wait(locked.lock);
    else
      changed_.wait_for(locked.lock, std::chrono::nanoseconds{pause});
  }
  drain_report r;
  r.done = counts_.done;
  r.failed = counts_.failed;
  r.cancelled = counts_.cancelled;
  r.running = running_;
  r.clean = was_clean_ && running_ == 0;
  return r;
}

void node_pool_core::close() noexcept {
  try {
    shut_down(shutdown_mode::drain, time_limit::none);
  } catch (const std::exception& e) {
    log().error("node_pool: its end failed: {}", e.what());
  }
  {
    const std::lock_guard guard{mutex_};
    if (stopped_)
      return; // the host may be gone, and has let go of us
  }
  host_.remove(*this);
}

bool node_pool_core::is_idle() {
  const std::lock_guard guard{mutex_};
  return is_drained();
}

// What runs fails as its connections end.
void node_pool_core::on_stop() {
  section locked{*this};
  auto& out = locked.out;
  closed_ = stopped_ = true;
  fail_queue(why_closed(), out);
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
