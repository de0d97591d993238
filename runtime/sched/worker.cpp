// SPDX-License-Identifier: MIT
#include "sched/worker.hpp"

#include <algorithm>

#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "sched/scheduler.hpp"

namespace troupe::sched {

namespace {

constexpr std::uint32_t streak_max = 4;      // slot jobs in a row
constexpr std::uint64_t fairness_turns = 61; // own deque between two looks out
constexpr std::int64_t spin_min_ns = 2'000;
constexpr int missed_max = 7;

void count(std::atomic<std::uint64_t>& n) {
  n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

} // namespace

constinit thread_local worker* worker::current_ = nullptr;

worker::worker(scheduler& parent, std::size_t index)
  : caf::execution_unit(&parent.system()),
    parent_(parent),
    index_(index),
    random_(static_cast<std::uint32_t>(index * 2654435761u) | 1u) {}

void worker::exec_later(caf::resumable* job) {
  if (current_ == this)
    push(job);
  else
    parent_.inject(job);
}

// -- slot and deque -----------------------------------------------------------

void worker::push(caf::resumable* job) {
  if (auto* old = slot_.exchange(job))
    push_deque(old);
  parent_.timers_.arm_monitor();
}

void worker::push_deque(caf::resumable* job) {
  if (!deque_.push(job))
    parent_.inject(job);
  else if (deque_.size() > 1)
    parent_.wake_for_backlog();
}

// -- the loop -----------------------------------------------------------------

void worker::run() {
  current_ = this;
  char name[16];
  std::snprintf(name, sizeof(name), "troupe.w%zu", index_);
  name_thread(name);
  busy_.store(true, std::memory_order_relaxed); // the first job needs no search
  while (auto* job = next())
    run_job(job);
  current_ = nullptr;
  parent_.ended_.fetch_add(1);
  futex_wake(parent_.ended_, INT32_MAX);
}

void worker::run_job(caf::resumable* job) {
  count(turn_);
  if (job->subtype() == caf::resumable::scheduled_actor
      && parent_.options_.adopt != nullptr)
    parent_.options_.adopt(job);
  switch (job->resume(this, parent_.options_.throughput)) {
    case caf::resumable::resume_later:
      // Alone here: go on with it. Else it queues behind all others.
      if (slot_.is_empty() && deque_.empty()
          && parent_.injected_size_.load(std::memory_order_relaxed) == 0)
        push(job);
      else
        parent_.inject(job);
      break;
    case run_and_gone:
      break;
    default: // no cell: it counts no messages
      count(others_);
      intrusive_ptr_release(job);
  }
  if (stalled_.load(std::memory_order_relaxed)
      || parent_.awake_.load(std::memory_order_relaxed)
           > parent_.limit_.load(std::memory_order_relaxed))
    yield_place();
}

caf::resumable* worker::next() {
  const auto turn = turn_.load(std::memory_order_relaxed);
  if (turn % fairness_turns == 0) {
    // Either of the two goes first in its turn: neither starves the other.
    const auto own_first = turn % (2 * fairness_turns) != 0;
    auto* job = own_first ? deque_.steal() : parent_.take_injected(nullptr);
    if (job == nullptr)
      job = own_first ? parent_.take_injected(nullptr) : deque_.steal();
    if (job != nullptr)
      return job;
  }
  if (parent_.stopping_.load(std::memory_order_relaxed))
    return nullptr;
  if (auto* job = slot_.take()) {
    if (++streak_ <= streak_max)
      return job;
    // This pair has had its share: the oldest of the others goes first.
    streak_ = 0;
    auto* other = deque_.empty() ? nullptr : deque_.steal();
    if (other == nullptr)
      other = parent_.take_injected(nullptr);
    if (other == nullptr)
      return job;
    push_deque(job);
    return other;
  }
  streak_ = 0;
  if (auto* job = deque_.pop())
    return job;
  return search();
}

caf::resumable* worker::steal() {
  auto n = parent_.started_.load(std::memory_order_acquire);
  if (n == 0)
    return nullptr;
  random_ = random_ * 1664525u + 1013904223u;
  auto first = random_ % n;
  for (std::size_t i = 0; i < n; ++i) {
    auto& victim = *parent_.workers_[(first + i) % n];
    if (&victim == this)
      continue;
    auto* job = victim.deque_.steal();
    if (job == nullptr)
      continue;
    count(steals_);
    if (const auto now = now_ns();
        pace_.measures(now)
        && now >= parent_.spread_until_ns_.load(std::memory_order_relaxed)) {
      is_measured_ = true;
      stole_from_ = &victim;
      pace_.stole(look_at(victim, now));
    }
    return job;
  }
  return deque_.pop();
}

caf::resumable* worker::search() {
  busy_.store(false, std::memory_order_relaxed);
  auto& p = parent_;
  p.searching_.fetch_add(1);
  auto now = now_ns();
  if (std::exchange(is_measured_, false))
    conclude(pace_.ran_dry(look_at(*stole_from_, now)));
  for (;;) {
    const auto until = now + spin_ns_;
    auto looks_on = [&] {
      return pace_.is_resting() ? pace_.is_trial() : now < until;
    };
    for (auto is_first = true; is_first || looks_on(); is_first = false) {
      const auto steals = may_steal(now);
      for (int i = 0; i < 16; ++i) {
        if (p.stopping_.load(std::memory_order_relaxed)) {
          p.searching_.fetch_sub(1);
          return nullptr;
        }
        auto* job = p.take_injected(this);
        if (job == nullptr && steals)
          job = steal();
        if (job != nullptr) {
          if (!is_first)
            missed_ = 0;
          found_work();
          return job;
        }
        cpu_relax();
      }
      now = now_ns();
    }
    if (pace_.is_resting()) {
      nap();
      now = now_ns();
    } else {
      const auto parked_at = now;
      const auto slept = park(true);
      now = now_ns();
      if (slept)
        adapt_spin(now - parked_at);
    }
  }
}

// -- keeping together ---------------------------------------------------------

// Rests if it is to, and says how that ended. One rests for all.
bool worker::may_steal(std::int64_t now) {
  auto& p = parent_;
  auto* rester = p.rester_.load(std::memory_order_relaxed);
  if (!pace_.is_resting())
    return rester == nullptr;
  if (rester != this
      && (rester != nullptr
          || !p.rester_.compare_exchange_strong(rester, this))) {
    pace_.cancel(); // somebody else does
    return false;
  }
  if (now < pace_.rests_until())
    return false;
  const auto found = pace_.rested(look_at(*stole_from_, now));
  conclude(found);
  if (found == steal_pace::verdict::free)
    p.spread_until_ns_.store(pace_.free_until(), std::memory_order_relaxed);
  if (pace_.is_resting())
    return false;
  end_rest();
  return true;
}

void worker::conclude(steal_pace::verdict v) {
  if (v == steal_pace::verdict::rest)
    parent_.together_.store(true, std::memory_order_relaxed);
  else if (v == steal_pace::verdict::free)
    parent_.together_.store(false, std::memory_order_relaxed);
}

void worker::end_rest() {
  if (parent_.rester_.load(std::memory_order_relaxed) == this)
    parent_.rester_.store(nullptr, std::memory_order_relaxed);
}

// Sleeps until the rest is over, or somebody brings a job.
void worker::nap() {
  auto& p = parent_;
  {
    std::lock_guard guard{p.mutex_};
    if (p.stopping_.load() || !p.injected_.empty())
      return;
    join_parked_locked();
    p.searching_.fetch_sub(1);
  }
  count(parks_);
  while (signal_.load(std::memory_order_acquire) == 0) {
    const auto left = pace_.rests_until() - now_ns();
    if (left > 0) {
      futex_wait(signal_, 0, left);
      continue;
    }
    end_rest(); // from here on it sleeps as any other, or doesn't
    std::lock_guard guard{p.mutex_};
    if (leave_parked_locked())
      return;
    break;
  }
  sleep();
}

// Looking for what comes within the limit saves a wake-up. But whoever would
// bring it may be waiting for this very core, and then looking keeps it there.
// So it is the whole limit or hardly at all, and each look in vain doubles the
// short sleeps that pass before the next one.
void worker::adapt_spin(std::int64_t slept_ns) {
  const auto most = parent_.options_.spin_max_ns;
  if (spin_ns_ > spin_min_ns) {
    missed_ = std::min(missed_ + 1, missed_max);
    patience_ = 1 << missed_;
    spin_ns_ = spin_min_ns;
  } else if (slept_ns < most && --patience_ <= 0) {
    spin_ns_ = most;
  }
}

void worker::found_work() {
  busy_.store(true, std::memory_order_relaxed);
  end_rest();
  // The last searcher wakes the next if there is more to do (rule 3).
  if (parent_.searching_.fetch_sub(1) == 1 && parent_.has_work())
    parent_.wake_for_backlog();
}

// -- parking ------------------------------------------------------------------

void worker::join_parked_locked() {
  parent_.parked_.push_back(this);
  is_parked_ = true;
  parent_.awake_.fetch_sub(1);
}

// By itself; it then counts as a searcher. False when it is being woken, or
// others have its place.
bool worker::leave_parked_locked() {
  auto& p = parent_;
  if (!is_parked_ || p.awake_.load() >= p.limit_.load())
    return false;
  std::erase(p.parked_, this);
  is_parked_ = false;
  p.awake_.fetch_add(1);
  p.searching_.fetch_add(1);
  return true;
}

void worker::sleep() {
  while (signal_.load(std::memory_order_acquire) == 0)
    futex_wait(signal_, 0);
  signal_.store(0, std::memory_order_relaxed);
}

// Whether it slept; in any case the worker counts as a searcher afterwards.
bool worker::park(bool was_searching) {
  auto& p = parent_;
  {
    std::lock_guard guard{p.mutex_};
    auto stay = p.stopping_.load()
                || (!p.injected_.empty() && p.awake_.load() <= p.limit_.load());
    if (stay) {
      if (!was_searching)
        p.searching_.fetch_add(1);
      return false;
    }
    join_parked_locked();
    if (was_searching)
      p.searching_.fetch_sub(1);
  }
  if (p.rester_.load(std::memory_order_relaxed) == nullptr) {
    // A deque may have filled between the last look and the count: its owner
    // saw a searcher then and woke nobody.
    p.together_.store(false, std::memory_order_relaxed);
    if (p.has_work()) {
      std::lock_guard guard{p.mutex_};
      if (leave_parked_locked())
        return false;
    }
  }
  count(parks_);
  sleep();
  return true;
}

void worker::unpark() {
  signal_.store(1, std::memory_order_release);
  futex_wake(signal_);
}

// Gives the place up after a job during which somebody else took it.
void worker::yield_place() {
  auto& p = parent_;
  {
    std::lock_guard guard{p.mutex_};
    if (stalled_.load()) {
      stalled_.store(false);
      --p.stalled_;
      p.awake_.fetch_add(1);
    }
    if (p.awake_.load() <= p.limit_.load() || p.stopping_.load())
      return;
  }
  hand_over();
  busy_.store(false, std::memory_order_relaxed);
  park(false);
  found_work();
}

// Gives what waits here to all. Left in the deque, it would wait for a thief,
// and workers that have enough of their own never search.
void worker::hand_over() {
  auto* last = slot_.take();
  if (last == nullptr && deque_.empty())
    return;
  std::lock_guard guard{parent_.mutex_};
  while (!deque_.empty())
    if (auto* job = deque_.steal())
      parent_.inject_locked(job);
  if (last != nullptr)
    parent_.inject_locked(last);
}

void worker::enter_blocking() {
  auto& p = parent_;
  hand_over();
  worker* next = nullptr;
  {
    std::lock_guard guard{p.mutex_};
    blocked_ = true;
    p.blocked_.fetch_add(1);
    if (stalled_.load()) { // its place is given up already
      stalled_.store(false);
      --p.stalled_;
    } else {
      p.awake_.fetch_sub(1);
    }
    if (!p.injected_.empty() || p.has_work())
      next = p.take_sleeper_locked();
  }
  if (next != nullptr)
    next->unpark();
}

void worker::exit_blocking() {
  std::lock_guard guard{parent_.mutex_};
  blocked_ = false;
  parent_.blocked_.fetch_sub(1);
  parent_.awake_.fetch_add(1);
}

constinit thread_local block_hook on_block;

blocking_section::blocking_section(bool tell) {
  auto* w = worker::current();
  if (w == nullptr && on_block.blocks != nullptr) {
    hooked_ = true;
    on_block.blocks(on_block.of);
  }
  if (w == nullptr || w->blocked_)
    return;
  worker_ = w;
  w->enter_blocking();
  if (tell)
    told_ = w->listener_;
  if (told_ != nullptr)
    told_->wait_begins();
}

blocking_section::~blocking_section() {
  if (worker_ == nullptr) {
    if (hooked_)
      on_block.goes_on(on_block.of);
    return;
  }
  if (told_ != nullptr)
    told_->wait_ends();
  worker_->exit_blocking();
}

} // namespace troupe::sched
