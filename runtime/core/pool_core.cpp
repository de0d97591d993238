// SPDX-License-Identifier: MIT
#include "core/pool_core.hpp"

#include <algorithm>
#include <sched.h>
#include <thread>

#include <spdlog/spdlog.h>

#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::detail {

namespace {

constexpr std::size_t batch_max = 64;
constexpr std::int64_t batch_short_ns = 50'000;
constexpr std::size_t tasks_per_turn = 256;

std::atomic<std::uint64_t> next_pool_id{1};

// The pool whose task runs on this thread.
constinit thread_local const pool_core* inside = nullptr;

// The pools whose initializer has run on this thread.
thread_local std::vector<std::uint64_t> initialized;

std::size_t size_between(std::ptrdiff_t n, std::size_t automatic,
                         std::size_t most, const char* what) {
  if (n == auto_size)
    return automatic;
  if (n < 1 || static_cast<std::size_t>(n) > most)
    throw bad_argument{std::string{what} + " is " + std::to_string(n)
                       + "; it must be 1.." + std::to_string(most)};
  return static_cast<std::size_t>(n);
}

} // namespace

pool_core::pool_core(runtime& rt, const thread_pool_options& opts)
  : home_(rt.home()), rt_(&rt), scheduler_(&rt.scheduler()),
    workers_(size_between(opts.workers, rt.settings().workers, 1024,
                          "thread_pool: workers")),
    most_(size_between(opts.queue_tasks_max, 1, SIZE_MAX / 2,
                       "thread_pool: queue_tasks_max")),
    full_(opts.full), initializer_(opts.initializer),
    id_(next_pool_id.fetch_add(1)) {
  if (full_ == full_policy::drop_newest || full_ == full_policy::drop_oldest)
    throw bad_argument{"thread_pool: full must be wait, reject or caller_runs: "
                       "a pool does not drop tasks"};
  room_until_.store(most_);
  std::lock_guard guard{home_.pools_mutex};
  if (home_.pools_closed)
    throw closed{"thread_pool: the system is stopping"};
  for (std::size_t i = 0; i < workers_; ++i) {
    runners_.push_back(new runner);
    runners_[i]->pool = this;
    runners_[i]->index = i;
  }
  home_.pools.push_back(this);
  scheduler_->reserve(workers_);
}

pool_core::~pool_core() {
  shut_down(shutdown_mode::drain, time_limit::none);
  {
    // In the list: the system is alive as long as the lock is held.
    std::lock_guard guard{home_.pools_mutex};
    if (std::erase(home_.pools, this) > 0)
      scheduler_->unreserve(workers_);
  }
  while (!orphaned_.load() && present_.load(std::memory_order_acquire) != 0)
    ::sched_yield();
  for (auto* r : runners_)
    r->intrusive_ptr_release_impl();
}

bool pool_core::is_current() const {
  return inside == this;
}

// -- submitting ---------------------------------------------------------------

void pool_core::submit(pool_task* t) {
  auto refuse = [t](std::exception_ptr why) {
    t->drop(t, nullptr);
    std::rethrow_exception(why);
  };
  auto n = submitted_.fetch_add(1) + 1;
  if (closed_.load()) {
    submitted_.fetch_sub(1);
    refuse(why_closed());
  }
  if (n > room_until_.load(std::memory_order_relaxed) && !has_room(n)) {
    if (full_ == full_policy::reject) {
      submitted_.fetch_sub(1);
      refuse(std::make_exception_ptr(rejected{
        "thread_pool: its queue is full (the limit is "
        + std::to_string(most_) + " tasks, option queue_tasks_max)"}));
    }
    if (full_ == full_policy::caller_runs || is_current()) {
      auto* before = std::exchange(inside, this);
      count_elsewhere(t->run(t));
      inside = before;
      return;
    }
    if (!wait_for_room(n)) {
      submitted_.fetch_sub(1);
      refuse(why_closed());
    }
  }
  auto* head = inbox_.load(std::memory_order_relaxed);
  do
    t->next = head;
  while (!inbox_.compare_exchange_weak(head, t, std::memory_order_seq_cst,
                                       std::memory_order_relaxed));
  if (active_.load(std::memory_order_seq_cst) < workers_)
    activate_one();
  // The system ended between our look and our push: nobody else will look.
  if (orphaned_.load(std::memory_order_seq_cst))
    drop_queued(nullptr);
}

bool pool_core::has_room(std::uint64_t n) {
  auto until = finished() + most_;
  room_until_.store(until, std::memory_order_relaxed);
  return n <= until;
}

bool pool_core::activate_one() {
  for (std::size_t i = 0; i < workers_; ++i) {
    auto& r = *runners_[i];
    if (r.active.load(std::memory_order_relaxed))
      continue;
    auto idle = false;
    if (!r.active.compare_exchange_strong(idle, true))
      continue;
    active_.fetch_add(1);
    if (!schedule(r)) {
      active_.fetch_sub(1);
      r.active.store(false);
      return false;
    }
    return true;
  }
  return false;
}

// False when the system is gone.
bool pool_core::schedule(runner& r) {
  std::lock_guard guard{schedule_mutex_};
  if (orphaned_.load())
    return false;
  present_.fetch_add(1);
  r.intrusive_ptr_add_ref_impl();
  scheduler_->inject(&r);
  return true;
}

bool pool_core::wait_for_room(std::uint64_t n) {
  sched::blocking_section section;
  for (;;) {
    auto seen = signal_.load();
    waiting_.fetch_add(1);
    auto room = has_room(n);
    if (!room && !closed_.load())
      sched::futex_wait(signal_, seen, 10'000'000);
    waiting_.fetch_sub(1);
    if (room)
      return true;
    if (closed_.load())
      return false;
  }
}

std::exception_ptr pool_core::why_closed() {
  std::lock_guard guard{mutex_};
  if (broken_)
    return broken_;
  return std::make_exception_ptr(
    closed{"thread_pool: submit after shutdown"});
}

// -- running ------------------------------------------------------------------

caf::resumable::resume_result
pool_core::runner::resume(caf::execution_unit*, std::size_t) {
  context_scope scope{nullptr, pool->rt_};
  auto& p = *pool;
  auto* before = std::exchange(inside, pool);
  auto result = resume_later;
  if (!p.initialize()) {
    std::exception_ptr why = p.why_closed();
    p.drop_queued(why);
  }
  for (std::size_t n = 0; n < tasks_per_turn; ++n) {
    auto* t = p.take(*this);
    if (t != nullptr) {
      in_task.store(true, std::memory_order_relaxed);
      auto how = t->run(t);
      in_task.store(false, std::memory_order_relaxed);
      if (how != pool_task::end::elsewhere)
        counts.count(how);
      continue;
    }
    // Rule 3: leave first, look again after.
    active.store(false);
    p.active_.fetch_sub(1);
    auto idle = false;
    if (p.has_work() && active.compare_exchange_strong(idle, true)) {
      p.active_.fetch_add(1);
      continue;
    }
    result = done;
    break;
  }
  inside = before;
  if (p.waiting_.load() > 0)
    p.signal();
  if (result == done)
    p.present_.fetch_sub(1, std::memory_order_release);
  return result;
}

pool_task* pool_core::take(runner& r) {
  if (auto* t = r.deque.pop())
    return t;
  if (auto* t = take_ready(r))
    return t;
  return steal(r);
}

void pool_core::drain_inbox_locked() {
  auto* stack = inbox_.exchange(nullptr, std::memory_order_acquire);
  pool_task *first = nullptr, *last = stack;
  std::size_t n = 0;
  while (stack != nullptr) {
    auto* next = stack->next;
    stack->next = first;
    first = stack;
    stack = next;
    ++n;
  }
  if (first == nullptr)
    return;
  if (ready_first_ == nullptr)
    ready_first_ = first;
  else
    ready_last_->next = first;
  ready_last_ = last;
  ready_size_ += n;
}

pool_task* pool_core::take_ready(runner& r) {
  if (ready_hint_.load(std::memory_order_relaxed) == 0
      && inbox_.load(std::memory_order_seq_cst) == nullptr)
    return nullptr;
  auto now = sched::now_ns();
  if (r.batch_began != 0) {
    auto took = now - r.batch_began;
    r.batch = took < batch_short_ns ? std::min(batch_max, r.batch * 2)
                                    : std::max<std::size_t>(1, r.batch / 4);
  }
  r.batch_began = now;
  std::lock_guard guard{mutex_};
  if (ready_first_ == nullptr || ready_size_ < r.batch)
    drain_inbox_locked();
  if (ready_first_ == nullptr) {
    ready_hint_.store(0, std::memory_order_relaxed);
    r.batch_began = 0;
    return nullptr;
  }
  auto n = std::clamp<std::size_t>(ready_size_ / (2 * workers_), 1, r.batch);
  pool_task* chain[batch_max];
  for (std::size_t i = 0; i < n; ++i) {
    chain[i] = ready_first_;
    ready_first_ = ready_first_->next;
  }
  if (ready_first_ == nullptr)
    ready_last_ = nullptr;
  ready_size_ -= n;
  ready_hint_.store(ready_size_, std::memory_order_relaxed);
  // The deque gives its youngest first: from last to first.
  for (auto i = n; i-- > 1;)
    r.deque.push(chain[i]); // empty before, and it holds more than batch_max
  return chain[0];
}

pool_task* pool_core::steal(const runner& thief) {
  for (std::size_t i = 1; i < workers_; ++i) {
    auto& victim = *runners_[(thief.index + i) % workers_];
    if (auto* t = victim.deque.steal())
      return t;
  }
  return nullptr;
}

bool pool_core::has_work() {
  if (inbox_.load(std::memory_order_seq_cst) != nullptr
      || ready_hint_.load(std::memory_order_seq_cst) > 0)
    return true;
  for (std::size_t i = 0; i < workers_; ++i)
    if (!runners_[i]->deque.empty())
      return true;
  return false;
}

// Once per thread; false when the pool is broken by it.
bool pool_core::initialize() {
  if (!initializer_)
    return true;
  if (is_broken_.load())
    return false;
  if (std::find(initialized.begin(), initialized.end(), id_)
      != initialized.end())
    return true;
  try {
    initializer_();
    initialized.push_back(id_);
    return true;
  } catch (...) {
    auto text = text_with_type(std::current_exception());
    spdlog::error("thread_pool: its initializer failed: {}", text);
    std::lock_guard guard{mutex_};
    if (!broken_)
      broken_ = std::make_exception_ptr(
        closed{"thread_pool: broken, its initializer failed: " + text});
    is_broken_.store(true);
    closed_.store(true);
    return false;
  }
}

// -- ending -------------------------------------------------------------------

std::uint64_t pool_core::finished() const {
  auto n = elsewhere_.sum();
  for (std::size_t i = 0; i < workers_; ++i)
    n += runners_[i]->counts.sum();
  return n;
}

void pool_core::count_elsewhere(pool_task::end how) {
  if (how == pool_task::end::elsewhere)
    return;
  {
    std::lock_guard guard{mutex_};
    elsewhere_.count(how);
  }
  if (waiting_.load() > 0)
    signal();
}

void pool_core::signal() {
  signal_.fetch_add(1);
  sched::futex_wake(signal_, INT_MAX);
}

void pool_core::drop_queued(std::exception_ptr why) {
  pool_task* first = nullptr;
  {
    std::lock_guard guard{mutex_};
    drain_inbox_locked();
    first = std::exchange(ready_first_, nullptr);
    ready_last_ = nullptr;
    ready_size_ = 0;
    ready_hint_.store(0);
  }
  while (first != nullptr) {
    auto* t = first;
    first = t->next;
    count_elsewhere(t->drop(t, why));
  }
  for (std::size_t i = 0; i < workers_; ++i)
    while (!runners_[i]->deque.empty())
      if (auto* t = runners_[i]->deque.steal())
        count_elsewhere(t->drop(t, why));
}

bool pool_core::await_drained(std::int64_t until) {
  sched::blocking_section section;
  for (;;) {
    auto seen = signal_.load();
    waiting_.fetch_add(1);
    auto drained = is_drained() || orphaned_.load();
    auto left = until == sched::never_ns ? INT64_MAX : until - sched::now_ns();
    // A runner that misses us looks again within this time.
    if (!drained && left > 0)
      sched::futex_wait(signal_, seen, std::min<std::int64_t>(left, 5'000'000));
    waiting_.fetch_sub(1);
    if (drained)
      return true;
    if (left <= 0)
      return false;
  }
}

drain_report pool_core::shut_down(shutdown_mode mode, std::int64_t limit_ns) {
  if (is_current())
    throw bad_argument{"thread_pool: shutdown by one of its own tasks would "
                       "wait for itself"};
  closed_.store(true, std::memory_order_seq_cst);
  signal();
  auto until = limit_ns == time_limit::none
                 ? sched::never_ns
                 : due_after(std::chrono::nanoseconds{limit_ns});
  auto before = cancelled();
  if (mode == shutdown_mode::cancel_pending)
    drop_queued(nullptr);
  drain_report r;
  if (!await_drained(until)) {
    drop_queued(nullptr);
    r.clean = false;
  }
  r.cancelled = cancelled();
  r.done = elsewhere_.done.load();
  r.failed = elsewhere_.failed.load();
  for (std::size_t i = 0; i < workers_; ++i) {
    r.done += runners_[i]->counts.done.load();
    r.failed += runners_[i]->counts.failed.load();
    if (runners_[i]->in_task.load())
      ++r.running;
  }
  if (r.cancelled != before)
    r.clean = false;
  return r;
}

std::uint64_t pool_core::cancelled() const {
  auto n = elsewhere_.cancelled.load();
  for (std::size_t i = 0; i < workers_; ++i)
    n += runners_[i]->counts.cancelled.load();
  return n;
}

void pool_core::orphan() {
  closed_.store(true);
  {
    std::lock_guard guard{schedule_mutex_};
    orphaned_.store(true);
  }
  drop_queued(std::make_exception_ptr(
    closed{"thread_pool: the system has stopped"}));
  signal();
}

// -- the public header's services ---------------------------------------------

pool_core* make_pool(runtime& rt, const thread_pool_options& opts) {
  return new pool_core{rt, opts};
}

void close_pool(pool_core* p) noexcept {
  if (!p->is_current()) {
    delete p;
    return;
  }
  spdlog::error("a thread_pool is destroyed by one of its own tasks; it drains "
                "in the background");
  std::thread{[p] { delete p; }}.detach();
}

void submit_to(pool_core* p, pool_task* t) {
  p->submit(t);
}

bool is_inside(const pool_core* p) noexcept {
  return p->is_current();
}

void count_inline(pool_core* p, pool_task::end how) noexcept {
  p->count_elsewhere(how);
}

drain_report shut_down(pool_core* p, shutdown_mode mode,
                       std::int64_t limit_ns) {
  return p->shut_down(mode, limit_ns);
}

std::size_t workers_of(const pool_core* p) noexcept {
  return p->workers();
}

std::size_t checked_size(std::ptrdiff_t n, std::size_t automatic,
                         const char* what) {
  return size_between(n, std::max<std::size_t>(1, automatic), SIZE_MAX / 2,
                      what);
}

std::size_t chunk_for(std::size_t inputs, std::size_t workers) {
  return std::clamp<std::size_t>(inputs / (workers * 8), 1, 1'000'000);
}

} // namespace troupe::detail

namespace troupe {

std::string to_string(const drain_report& r) {
  return std::to_string(r.done) + " done, " + std::to_string(r.failed)
         + " failed, " + std::to_string(r.cancelled) + " cancelled, "
         + std::to_string(r.killed) + " killed, " + std::to_string(r.running)
         + " still running";
}

} // namespace troupe
