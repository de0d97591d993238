// SPDX-License-Identifier: MIT
#include "process/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/cpus.hpp"
#include "sched/worker.hpp"
#include "wire/block.hpp"
#include "wire/failure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace troupe::detail {

namespace {

using process::window;

constexpr std::int64_t ms = 1'000'000;
constexpr std::int64_t ahead_ns = 200'000; // of work sent ahead to a worker
constexpr int bad_starts_max = 8;          // in a row: then the pool is broken
constexpr std::int64_t brake_ns = 5 * ms, brake_max_ns = 2'000 * ms;
constexpr std::int64_t end_limit_ns = 5'000 * ms, end_least_ns = 200 * ms;
constexpr std::int64_t birth_limit_ns = 10'000 * ms;
constexpr std::size_t quarantine_max = 100;
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

std::size_t process_core::standing(bool spare) const {
  return static_cast<std::size_t>(
    std::count_if(places_.begin(), places_.end(), [spare](auto& p) {
      return p->spare == spare && !p->leaving;
    }));
}

void process_core::make_places(verdicts& out) {
  if (broken_ || (closed_ && is_drained()))
    return; // closed: what was accepted still needs its workers
  if (start_again_ > sched::now_ns()) {
    host_.tick_by(start_again_);
    return;
  }
  while (standing(false) < wanted_ && !broken_) {
    auto spare = std::find_if(places_.begin(), places_.end(),
                              [](auto& p) { return p->spare && !p->leaving; });
    if (spare != places_.end())
      (*spare)->spare = false;
    else
      open_place(false, out);
    if (start_again_ > sched::now_ns())
      return;
  }
  if (wants_spares_ && !closed_)
    while (standing(true) < static_cast<std::size_t>(options_.spares)
           && !broken_ && start_again_ <= sched::now_ns())
      open_place(true, out);
}

void process_core::open_place(bool spare, verdicts& out) {
  auto made = std::make_unique<place>();
  auto& p = *made;
  p.number = ++last_place_;
  p.spare = spare;
  p.idle_since = sched::now_ns();
  if (options_.tasks_per_worker_max != auto_size) {
    const auto limit =
      static_cast<std::uint64_t>(options_.tasks_per_worker_max);
    const auto tenth = limit / 10;
    p.tasks_max = limit - tenth / 2 + (tenth == 0 ? 0 : jitter_() % tenth);
  }
  try {
    p.worker = host_.start(self(), limits_);
  } catch (const std::exception& e) {
    note_bad_start(e.what(), out);
    return;
  }
  ++counts_.started;
  places_.push_back(std::move(made));
  p.worker->owners_note = &p;
  p.ready = !options_.initializer;
  if (options_.initializer)
    send_setup(p, *options_.initializer.entry());
}

// A worker that came to nothing before its first task: the next one later.
void process_core::note_bad_start(const std::string& why, verdicts& out) {
  // Several that were started together, or with a zygote that died, are one.
  if (start_again_ <= sched::now_ns())
    ++bad_starts_;
  log().warn("process_pool: a worker could not start: {}", why);
  if (bad_starts_ >= bad_starts_max) {
    break_pool(std::make_exception_ptr(closed{fmt::format(
                 "process_pool: {} workers in a row could not be started; the "
                 "last one: {}",
                 bad_starts_, why)}),
               out);
    return;
  }
  brake();
}

// The next worker comes later, and later each time until one has served. All
// that end while it is on are one.
void process_core::brake() {
  const auto now = sched::now_ns();
  if (start_again_ > now)
    return;
  start_again_ = now
                 + std::min(brake_ns << std::min(brakes_, 16), brake_max_ns);
  ++brakes_;
  host_.tick_by(start_again_);
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

// -- taking back --------------------------------------------------------------

bool process_core::take_back(place& p, std::uint64_t call) {
  auto& slot = p.calls[call % window];
  if (slot == nullptr || !p.worker->withdraw(call))
    return false;
  slot = nullptr;
  --p.live;
  --p.tasks;
  --running_;
  return true;
}

void process_core::take_back_behind(place& p, std::uint64_t call) {
  std::vector<remote_task*> taken;
  for (auto c = p.next; c-- > call + 1;) {
    auto* t = p.calls[c % window];
    if (t != nullptr && take_back(p, c))
      taken.push_back(t);
  }
  requeue(taken);
}

// `tasks` from the last to the first.
void process_core::requeue(std::vector<remote_task*>& tasks) {
  for (auto* t : tasks)
    queue_.push(*t, true);
}

// An idle worker gets half of what stands behind the longest line.
bool process_core::rebalance() {
  if (!queue_.empty())
    return false;
  const auto idle =
    std::any_of(places_.begin(), places_.end(),
                [this](auto& p) { return p->live == 0 && has_room(*p); });
  place* longest = nullptr;
  for (auto& p : places_)
    if (p->live >= 2 && (longest == nullptr || p->live > longest->live))
      longest = p.get();
  if (!idle || longest == nullptr)
    return false;
  auto most = longest->live / 2;
  std::vector<remote_task*> taken;
  for (auto c = longest->next; c-- > longest->first && taken.size() < most;) {
    auto* t = longest->calls[c % window];
    if (t == nullptr)
      continue;
    if (!take_back(*longest, c))
      break;
    taken.push_back(t);
  }
  requeue(taken);
  return !taken.empty();
}

void process_core::stop_task(remote_task& t) noexcept {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    if (t.is_given_up)
      return;
    if (t.where == static_cast<std::uint8_t>(task_place::queued)) {
      unqueue(t);
      drop(t, out);
    } else if (t.where == static_cast<std::uint8_t>(task_place::sent)) {
      auto i = std::find_if(places_.begin(), places_.end(),
                            [&](auto& p) { return p->number == t.place; });
      if (i == places_.end())
        return;
      auto& p = **i;
      if (take_back(p, t.call)) {
        drop(t, out);
        dispatch(out);
      } else if (!t.is_ended) {
        t.is_ended = true;
        begin_ending(p, t, "it was cancelled");
        dispatch(out);
      }
    }
  }
  settle(out);
}

// -- ending a call that runs --------------------------------------------------

void process_core::begin_ending(place& p, remote_task& t, std::string why) {
  if (p.ending != stage::none)
    return;
  take_back_behind(p, t.call);
  p.ending = stage::asked;
  p.ending_call = t.call;
  p.why_ending = std::move(why);
  p.next_stage = sched::now_ns() + options_.grace.count();
  p.worker->ask_to_stop(t.call);
  host_.tick_by(p.next_stage);
}

void process_core::look_at_ending(place& p, std::int64_t now) {
  if (p.ending == stage::none || now < p.next_stage)
    return;
  p.next_stage = now + options_.grace.count();
  switch (p.ending) {
    case stage::asked:
      p.ending = stage::term;
      p.worker->condemn(p.why_ending, SIGTERM);
      break;
    case stage::term:
      p.ending = stage::abort;
      p.worker->condemn(p.why_ending, SIGABRT);
      break;
    default:
      p.ending = stage::kill;
      p.worker->condemn(p.why_ending, SIGKILL);
  }
}

remote_task* process_core::head_of(place& p) {
  while (p.first < p.next && p.calls[p.first % window] == nullptr
         && p.first != p.setup)
    ++p.first;
  return p.first < p.next ? p.calls[p.first % window] : nullptr;
}

// When `t`, the head, began; `now` if it has not. A worker tells once and is
// held to it, or it could put its deadline off for ever.
std::int64_t process_core::began(place& p, const remote_task& t,
                                 std::int64_t now) {
  if (p.known_call == t.call)
    return p.head_began;
  if (!p.worker->has_begun(t.call))
    return now;
  p.known_call = t.call;
  p.head_began = std::clamp(p.worker->began_at(), p.head_began,
                            std::max(p.head_began, now));
  return p.head_began;
}

void process_core::look_at_deadline(place& p, std::int64_t now, verdicts& out) {
  auto* t = head_of(p);
  if (t == nullptr || t->is_given_up || t->is_ended)
    return;
  const auto limit = deadline_of(*t);
  if (limit == INT64_MAX || now - p.head_began < limit
      || now - began(p, *t, now) < limit)
    return;
  t->is_given_up = true;
  ++counts_.failed;
  t->state().retain(); // its answer may come before we get to settle it
  out.push_back(
    {t, std::make_exception_ptr(timeout{fmt::format(
          "{}: not done after {} ms, its deadline", plain_name(t->entry.name()),
          static_cast<double>(limit) / ms)})});
  begin_ending(
    p, *t,
    fmt::format("its deadline of {} ms", static_cast<double>(limit) / ms));
}

void process_core::look_at_heartbeat(place& p, std::int64_t now) {
  auto limit = options_.heartbeat.count();
  if (limit <= 0 || (p.live == 0 && p.setup < p.first))
    return;
  if (p.pid_unknown()) // it is being started
    limit = std::max(limit, birth_limit_ns);
  if (p.pongs != p.pings && p.worker->last_pong() == p.pings) {
    p.pongs = p.pings; // each counts once
    p.heard = now;
  }
  if (now - p.heard < limit / 2)
    return;
  // One ping at a time: half of the patience is for its answer, however late
  // we come to look.
  if (p.pongs == p.pings) {
    p.worker->ping(++p.pings);
    p.pinged_at = now;
  } else if (now - std::max(p.pinged_at, p.heard) >= limit / 2) {
    p.leaving = true;
    p.worker->condemn(
      fmt::format("no sign of life for {} ms (was it stopped?)", limit / ms),
      SIGKILL);
    p.heard = now; // once is enough
  } else {
    p.worker->ping(p.pings); // the same: the first may not have found room
  }
}

void process_core::tell_to_end(place& p, std::int64_t limit_ns) {
  const auto end_by = sched::now_ns() + limit_ns;
  if (std::exchange(p.told_to_end, true)) {
    p.end_by = std::min(p.end_by, end_by);
    host_.tick_by(p.end_by);
    return;
  }
  p.leaving = true;
  p.end_by = end_by;
  if (options_.finalizer && p.ready)
    send_setup(p, *options_.finalizer.entry());
  p.worker->send({.kind = wire::frame_kind::stop}, {});
  host_.tick_by(p.end_by);
}

// -- what workers say ---------------------------------------------------------

void process_core::on_frame(process::child& from,
                            const wire::frame_header& head,
                            std::span<const std::byte> payload,
                            process::incoming& road) {
  if (head.kind == wire::frame_kind::hello) {
    const std::lock_guard guard{mutex_};
    if (auto* p = find(from))
      p->greeted = true;
    return;
  }
  const auto is_error = head.kind == wire::frame_kind::error;
  if (!is_error && head.kind != wire::frame_kind::result)
    throw decode_error{
      fmt::format("a {} frame from a worker", wire::to_string(head.kind))};
  remote_task* t = nullptr;
  auto is_setup = false;
  auto is_settled = false;
  {
    const std::lock_guard guard{mutex_};
    auto* p = find(from);
    if (p == nullptr)
      return;
    static_cast<void>(head_of(*p));
    is_setup = head.call == p->setup;
    if (head.call != p->first || head.call >= p->next
        || !from.has_begun(head.call))
      throw decode_error{fmt::format(
        "an answer to call {}; the one it owes is {}, {}begun", head.call,
        p->first, from.has_begun(p->first) ? "" : "not ")};
    t = std::exchange(p->calls[head.call % window], nullptr);
    ++p->first;
    ++p->answers;
    p->served = true;
    p->head_began = 0;
    if (t != nullptr) {
      --p->live;
      t->where = static_cast<std::uint8_t>(task_place::over);
      is_settled = t->is_given_up;
    }
    if (p->ending != stage::none && p->ending_call == head.call) {
      // In time after all; but a signal may be under way to it.
      if (p->ending == stage::asked)
        p->ending = stage::none;
      else
        p->leaving = true;
    }
  }
  std::exception_ptr error;
  if (is_error) {
    try {
      wire::reader in{payload, {}, &road};
      wire::failure record;
      wire::decode(in, record);
      error = wire::rebuild(record);
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (is_setup) {
    verdicts out;
    {
      const std::lock_guard guard{mutex_};
      auto* p = find(from);
      if (p != nullptr && !p->told_to_end) {
        if (error == nullptr) {
          p->ready = true;
          bad_starts_ = brakes_ = 0;
        } else {
          log().error("process_pool: the initializer failed: {}",
                      text_with_type(error));
          break_pool(std::make_exception_ptr(
                       closed{"process_pool: its initializer failed: "
                              + text_with_type(error)}),
                     out);
        }
      } else if (error != nullptr) {
        log().error("process_pool: the finalizer failed: {}",
                    text_with_type(error));
      }
    }
    settle(out);
    return;
  }
  t->let_go();
  if (!is_settled) {
    if (is_error) {
      t->state().fail(error ? error
                            : std::make_exception_ptr(
                                decode_error{"an error without a type"}));
    } else {
      wire::reader in{payload, {}, &road};
      t->decode(in);
    }
  }
  const auto good = t->state().at.load() == phase::value;
  t->state().release();
  const std::lock_guard guard{mutex_};
  --running_;
  bad_starts_ = brakes_ = 0;
  if (!is_settled)
    ++(good ? counts_.done : counts_.failed);
}

void process_core::on_pumped(process::child& from) {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    auto* p = find(from);
    if (p == nullptr)
      return;
    const auto now = sched::now_ns();
    if (p->answers != 0) {
      const auto each = (now - p->last_answer)
                        / static_cast<std::int64_t>(p->answers);
      p->task_ns = std::max<std::int64_t>(
        1, p->task_ns == 0 ? each : (3 * p->task_ns + each) / 4);
      p->answers = 0;
    }
    p->last_answer = p->heard = now;
    if (p->head_began == 0)
      p->head_began = now;
    if (p->live == 0) {
      p->idle_since = now;
      if (!p->told_to_end && p->ending != stage::kill
          && (p->leaving || p->tasks >= p->tasks_max)) {
        if (!p->leaving)
          ++counts_.recycled;
        tell_to_end(*p, end_limit_ns);
        make_places(out);
      }
    }
    if (auto* t = head_of(*p); t != nullptr && deadline_of(*t) != INT64_MAX)
      host_.tick_by(now + deadline_of(*t));
    dispatch(out);
    if (rebalance())
      dispatch(out);
    if (!wants_spares_ && p->served && options_.spares > 0) {
      wants_spares_ = true;
      host_.tick_by(now + ms);
    }
  }
  settle(out);
}

void process_core::on_end(process::child& from, certificate why) {
  verdicts out;
  std::unique_ptr<place> gone; // outlives the lock
  {
    const std::lock_guard guard{mutex_};
    auto* p = find(from);
    if (p == nullptr)
      return;
    auto i = std::find_if(places_.begin(), places_.end(),
                          [p](auto& x) { return x.get() == p; });
    gone = std::move(*i);
    places_.erase(i);
    const auto now = sched::now_ns();
    // A task may go elsewhere if it can be taken back: also here, since a
    // worker may be given up while it lives (its zygote died before it told of
    // the birth) and begin one at this moment. More than one has begun only if
    // there are answers that can't be read; then the oldest one is taken for
    // begun whatever stands in its claim.
    static_cast<void>(head_of(*p));
    std::vector<remote_task*> victims, unbegun;
    auto died_in_setup = false;
    for (auto c = p->next; c-- > p->first;) {
      if (c == p->setup)
        died_in_setup = from.has_begun(c);
      auto* t = p->calls[c % window];
      if (t == nullptr)
        continue;
      --running_;
      const auto is_fresh = from.withdraw(c)
                            && !(from.wrote_nonsense() && c == p->first);
      (is_fresh ? unbegun : victims).push_back(t);
    }
    from.owners_note = nullptr;
    const auto in_order = p->told_to_end && why.exit_code == 0;
    if (!in_order && !stopped_)
      ++counts_.crashes;
    if (!victims.empty()) {
      why.run_time = std::chrono::nanoseconds{now - p->head_began};
      p->served = true;
    }
    requeue(unbegun);
    for (auto* t : victims) {
      counts_.killed += t->is_ended || p->ending != stage::none ? 1 : 0;
      bury_task(*t, why, out);
    }
    if (stopped_ || broken_)
      fail_queue(why_closed(), out);
    else if (!in_order && !p->leaving && !(p->greeted && p->ready))
      note_bad_start(
        (died_in_setup ? "its initializer: " : "") + to_string(why), out);
    else if (!in_order && !p->leaving && victims.empty()) {
      log().warn("process_pool: an idle worker ended: {}", to_string(why));
      if (!p->served)
        brake();
    }
    make_places(out);
    dispatch(out);
    if (rebalance()) // for a spare that takes its place
      dispatch(out);
    changed_.notify_all();
  }
  settle(out);
}

// Its attempt is over: tried again, set aside, or failed.
void process_core::bury_task(remote_task& t, certificate why, verdicts& out) {
  if (t.is_given_up) {
    out.push_back({&t, nullptr, fate::settled_before});
    return;
  }
  why.task = plain_name(t.entry.name());
  why.attempt = static_cast<unsigned>(t.deaths.size()) + 1;
  if (t.is_ended) {
    ++counts_.failed;
    out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                         "{} was cancelled while it ran; its worker, process "
                         "{}, was ended",
                         why.task, why.pid)})});
    return;
  }
  if (stopped_) {
    ++counts_.failed;
    out.push_back({&t, why_closed()});
    return;
  }
  t.deaths.push_back(why);
  const auto deaths = static_cast<int>(t.deaths.size());
  const auto again = t.is_idempotent && deaths <= options_.retries;
  if (again && deaths < options_.quarantine_after && !broken_) {
    ++counts_.retried;
    queue_.push(t, true);
    return;
  }
  if (deaths >= options_.quarantine_after) {
    ++counts_.quarantined;
    quarantine_.push_back({why.task, t.deaths});
    if (quarantine_.size() > quarantine_max)
      quarantine_.pop_front();
  }
  ++counts_.failed;
  out.push_back({&t, std::make_exception_ptr(worker_died{std::move(why)})});
}

// -- time ---------------------------------------------------------------------

std::int64_t process_core::next_look(place& p, std::int64_t now) {
  auto next = INT64_MAX;
  if (p.ending != stage::none)
    next = std::min(next, p.next_stage);
  if (p.told_to_end)
    next = std::min(next, p.end_by);
  const auto busy = p.live != 0 || p.setup >= p.first;
  if (busy && options_.heartbeat.count() > 0)
    next = std::min(next, std::max(p.heard + options_.heartbeat.count() / 2,
                                   now + options_.heartbeat.count() / 8));
  if (auto* t = head_of(p); t != nullptr && !t->is_given_up && !t->is_ended)
    if (const auto limit = deadline_of(*t); limit != INT64_MAX)
      next = std::min(next, std::max(p.head_began + limit, now + ms));
  if (p.live == 0 && wanted_ > least_ && !p.spare && !p.leaving)
    next = std::min(next, p.idle_since + options_.idle_after.count());
  return next;
}

std::int64_t process_core::tick(std::int64_t now) {
  verdicts out;
  auto next = INT64_MAX;
  {
    const std::lock_guard guard{mutex_};
    for (std::size_t i = 0; i < places_.size(); ++i) {
      auto& p = *places_[i];
      look_at_deadline(p, now, out);
      look_at_ending(p, now);
      look_at_heartbeat(p, now);
      if (p.told_to_end && now >= p.end_by) {
        p.worker->condemn("it did not end when told to", SIGKILL);
        p.end_by = now + end_limit_ns;
      }
      if (wanted_ > least_ && p.live == 0 && !p.spare && !p.leaving && p.ready
          && queue_.empty()
          && now - p.idle_since >= options_.idle_after.count()) {
        --wanted_;
        tell_to_end(p, end_limit_ns);
      }
    }
    make_places(out);
    dispatch(out);
    for (auto& p : places_)
      next = std::min(next, next_look(*p, now));
    if (start_again_ > now && !(closed_ && is_drained()))
      next = std::min(next, start_again_);
  }
  settle(out);
  return next;
}

// -- ending -------------------------------------------------------------------

void process_core::fail_queue(const std::exception_ptr& why, verdicts& out) {
  while (!queue_.empty()) {
    auto& t = queue_.front();
    queue_.erase(t);
    t.where = static_cast<std::uint8_t>(task_place::over);
    if (why && !t.state().is_settled()) {
      ++counts_.failed;
      out.push_back({&t, why});
    } else {
      drop(t, out);
    }
  }
  changed_.notify_all();
}

// Cancelled, and not at a worker. One that waits for its next attempt has run
// before: it can't be called unbegun.
void process_core::drop(remote_task& t, verdicts& out) {
  t.where = static_cast<std::uint8_t>(task_place::over);
  if (t.deaths.empty()) {
    ++counts_.cancelled;
    out.push_back({&t, nullptr});
    return;
  }
  ++counts_.failed;
  out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                       "{} was cancelled before its next attempt; {} workers "
                       "had died of it",
                       t.entry.name(), t.deaths.size())})});
}

void process_core::cancel_queue(verdicts& out) {
  for (auto& p : places_)
    take_back_behind(*p, p->first - 1);
  fail_queue(nullptr, out);
}

void process_core::break_pool(std::exception_ptr why, verdicts& out) {
  if (!broken_)
    broken_ = std::move(why);
  for (auto& p : places_)
    take_back_behind(*p, p->first - 1);
  fail_queue(broken_, out);
  for (auto& p : places_)
    if (p->live == 0)
      tell_to_end(*p, end_limit_ns);
}

// Any number of threads may be in here, each with a mode and a limit of its
// own: every step may be done again.
drain_report process_core::shut_down(shutdown_mode mode,
                                     std::int64_t limit_ns) {
  verdicts out;
  std::unique_lock lock{mutex_};
  const sched::blocking_section section;
  const auto until = due_after(limit_ns == time_limit::none
                                 ? time_limit{no_deadline}
                                 : time_limit{std::chrono::nanoseconds{
                                     std::max<std::int64_t>(0, limit_ns)}});
  auto wait_until = [&](std::int64_t limit, auto done) {
    lock.unlock();
    settle(out);
    lock.lock();
    while (!done()) {
      const auto now = sched::now_ns();
      if (now >= limit)
        return false;
      if (limit == INT64_MAX)
        changed_.wait(lock);
      else
        changed_.wait_for(lock, std::chrono::nanoseconds{limit - now});
    }
    return true;
  };
  auto drained = [this] { return is_drained(); };
  closed_ = true;
  changed_.notify_all(); // submits that wait for room
  if (mode == shutdown_mode::cancel_pending)
    cancel_queue(out);
  for (auto& v : out) // others may have cancelled it before
    was_clean_ = was_clean_ && v.task->state().is_settled();
  if (!wait_until(until, drained)) {
    was_clean_ = false;
    cancel_queue(out);
    kill_all("the pool was shut down");
    wait_until(sched::now_ns() + 2 * end_limit_ns, drained);
  }
  const auto limit = std::clamp<std::int64_t>(until - sched::now_ns(),
                                              end_least_ns, end_limit_ns);
  for (auto& p : places_)
    if (!p->leaving || p->live == 0)
      tell_to_end(*p, limit);
  wait_until(sched::now_ns() + 3 * end_limit_ns,
             [this] { return places_.empty(); });
  drain_report r;
  r.done = counts_.done;
  r.failed = counts_.failed;
  r.cancelled = counts_.cancelled;
  r.killed = counts_.killed;
  r.running = running_;
  r.clean = was_clean_ && running_ == 0;
  return r;
}

// What runs is cancelled by force; workers without work are left to end.
void process_core::kill_all(const char* why) {
  for (auto& p : places_) {
    auto* t = head_of(*p);
    if (p->live == 0 && p->ready)
      continue;
    if (t != nullptr)
      t->is_ended = true;
    p->leaving = true;
    p->worker->condemn(why, SIGKILL);
  }
}

void process_core::close() noexcept {
  try {
    shut_down(shutdown_mode::drain, time_limit::none);
  } catch (const std::exception& e) {
    log().error("process_pool: its end failed: {}", e.what());
  }
  {
    const std::lock_guard guard{mutex_};
    if (stopped_)
      return; // the host may be gone, and has let go of us
  }
  host_.remove(this);
}

bool process_core::is_idle() {
  const std::lock_guard guard{mutex_};
  return is_drained();
}

// The workers are ended with the zygote; their tasks fail as they are reported.
void process_core::on_stop() {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    closed_ = stopped_ = true;
    if (!broken_)
      broken_ =
        std::make_exception_ptr(closed{"process_pool: the system has stopped"});
    fail_queue(broken_, out);
    for (auto& p : places_) {
      p->leaving = true;
      p->worker->condemn("the system has stopped", SIGKILL);
    }
  }
  settle(out);
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
  if (worker)
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
