// SPDX-License-Identifier: MIT
// pool_workers: the places of a process_pool: how they are filled, watched and
// emptied, and what becomes of the tasks of a worker that died.
#include "process/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace troupe::detail {

namespace {

using process::window;

constexpr std::int64_t ms = 1'000'000;
constexpr int bad_starts_max = 8; // in a row: then the pool is broken
constexpr std::int64_t brake_ns = 5 * ms, brake_max_ns = 2'000 * ms;
constexpr std::int64_t birth_limit_ns = 10'000 * ms;
constexpr std::size_t quarantine_max = 100;

} // namespace

// -- births -------------------------------------------------------------------

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

// -- signs of life ------------------------------------------------------------

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

// -- deaths -------------------------------------------------------------------

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

} // namespace troupe::detail
