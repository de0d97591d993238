// SPDX-License-Identifier: MIT
#include "core/pool_core.hpp"

#include <algorithm>
#include <sched.h>
#include <thread>

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::detail {

namespace {

constexpr std::size_t batch_max = 64;
constexpr std::int64_t batch_short_ns = 50'000;
constexpr std::size_t tasks_per_turn = 256;
constexpr std::int64_t turn_ns = 1'000'000;

std::atomic<std::uint64_t> next_pool_id{1};

// The pool whose task runs on this thread.
constinit thread_local const pool_core* inside = nullptr;

// Threads by number: the system's ids are given again.
std::atomic<std::uint64_t> next_thread_number{1};
thread_local std::uint64_t thread_number = 0;
// The pool whose initializer is known to have run on this thread.
constinit thread_local std::uint64_t initialized_for = 0;

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
  : home_(rt.home()),
    rt_(&rt),
    scheduler_(&rt.scheduler()),
    workers_(size_between(opts.workers, rt.settings().workers, 1024,
                          "thread_pool: workers")),
    most_(size_between(opts.queue_tasks_max, 1, SIZE_MAX / 2,
                       "thread_pool: queue_tasks_max")),
    full_(opts.full),
    initializer_(opts.initializer),
    has_initializer_(initializer_ != nullptr),
    id_(next_pool_id.fetch_add(1)) {
  if (full_ == full_policy::drop_newest || full_ == full_policy::drop_oldest)
    throw bad_argument{
      "thread_pool: full must be wait, reject or caller_runs: "
      "a pool does not drop tasks"};
  room_until_.store(most_ + workers_);
  for (std::size_t i = 0; i < workers_; ++i) {
    runners_.push_back(std::make_unique<runner>());
    runners_[i]->pool = this;
    runners_[i]->index = i;
  }
  std::lock_guard guard{home_.pools_mutex};
  if (home_.pools_closed)
    throw closed{"thread_pool: the system has stopped"};
  home_.pools.reserve(home_.pools.size() + 1);
  scheduler_->reserve(workers_);
  home_.pools.push_back(this);
}

pool_core::~pool_core() = default;

void pool_core::close() {
  shut_down(shutdown_mode::drain, time_limit::none);
  drop_initializer();
  {
    // In the list: the system is alive as long as the lock is held.
    std::lock_guard guard{home_.pools_mutex};
    if (std::erase(home_.pools, this) > 0)
      scheduler_->unreserve(workers_);
  }
  release();
}

// What it holds goes now and here, though runners may still come: they find
// only tasks that somebody else has run, or runs no more.
void pool_core::drop_initializer() {
  {
    std::lock_guard guard{mutex_};
    is_initializer_over_ = true;
  }
  await([this] { return initializing_.load() == 0; }, sched::never_ns);
  if (!orphaned_.load())
    initializer_ = nullptr;
}

bool pool_core::is_current() const {
  return inside == this;
}

// -- submitting ---------------------------------------------------------------

void pool_core::submit(pool_task* t, bool may_reject) {
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
    if (full_ == full_policy::reject && may_reject) {
      submitted_.fetch_sub(1);
      refuse(std::make_exception_ptr(
        rejected{"thread_pool: its queue is full (the limit is "
                 + std::to_string(most_) + " tasks, option queue_tasks_max)"}));
    }
    if (full_ == full_policy::caller_runs || is_current()) {
      auto* before = std::exchange(inside, this);
      count_elsewhere(finish(t));
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
    drop_queued(why_closed());
}

bool pool_core::has_room(std::uint64_t n) {
  // Those that run are not queued.
  auto until = finished() + most_ + workers_;
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
  return call_stand_in();
}

// False when the system is gone.
bool pool_core::schedule(runner& r) {
  std::lock_guard guard{schedule_mutex_};
  if (orphaned_.load())
    return false;
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
  return std::make_exception_ptr(closed{"thread_pool: submit after shutdown"});
}

// -- running ------------------------------------------------------------------

caf::resumable::resume_result
pool_core::runner::resume(caf::execution_unit* host, std::size_t) {
  auto& p = *pool;
  auto* w = static_cast<sched::worker*>(host);
  context_scope scope{nullptr, p.rt_};
  auto* before = std::exchange(inside, pool);
  w->listen(this);
  auto result = resume_later;
  auto until = sched::now_ns() + turn_ns;
  for (std::size_t n = 0; n < tasks_per_turn; ++n) {
    auto* t = is_surplus() ? nullptr : p.take(*this);
    if (t != nullptr) {
      run_one(t);
      // Long tasks come in small batches.
      if (batch < 8 && (p.rt_->is_stopping() || sched::now_ns() >= until))
        break;
      continue;
    }
    // Rule 3: leave first, look again after.
    leave();
    if (come_back())
      continue;
    result = done;
    break;
  }
  w->listen(nullptr);
  inside = before;
  if (p.waiting_.load() > 0)
    p.signal();
  return result;
}

void pool_core::runner::run_one(pool_task* t) {
  in_task.store(true, std::memory_order_relaxed);
  auto how = pool->finish(t);
  in_task.store(false, std::memory_order_relaxed);
  if (how != pool_task::end::elsewhere)
    count(how);
}

bool pool_core::runner::come_back() {
  auto idle = false;
  if (!pool->has_work() || !active.compare_exchange_strong(idle, true))
    return false;
  pool->active_.fetch_add(1);
  return true;
}

// -- while tasks wait ---------------------------------------------------------

void pool_core::runner::wait_begins() {
  pool->waits_.fetch_add(1);
  pool->active_.fetch_sub(1);
  // A submit from now on sees that one is missing; one before is seen here.
  if (pool->has_work())
    pool->activate_one();
}

void pool_core::runner::wait_ends() {
  pool->active_.fetch_add(1);
  pool->waits_.fetch_sub(1);
}

pool_core::stand_in::stand_in(pool_core& p) {
  pool = &p;
  index = p.workers_; // none of theirs: it steals from all
  active.store(true);
}

bool pool_core::stand_in::is_surplus() const {
  return pool->active_.load() > pool->workers_;
}

void pool_core::stand_in::leave() {
  pool->stand_ins_.fetch_sub(1);
  pool->active_.fetch_sub(1);
}

// Never itself: another is called if there is need of one.
bool pool_core::stand_in::come_back() {
  if (pool->has_work() && pool->active_.load() < pool->workers_)
    pool->activate_one();
  return false;
}

bool pool_core::call_stand_in() {
  auto n = stand_ins_.load();
  do {
    if (n >= waits_.load())
      return false;
  } while (!stand_ins_.compare_exchange_weak(n, n + 1));
  active_.fetch_add(1);
  std::unique_ptr<stand_in> s{new stand_in{*this}};
  if (!schedule(*s)) {
    s->leave();
    return false;
  }
  s.release();
  return true;
}

// -- tasks --------------------------------------------------------------------

// Runs a task, or drops it when that is all that may happen to it.
pool_task::end pool_core::finish(pool_task* t) {
  auto how = pool_task::end::elsewhere;
  if (dropping_.load(std::memory_order_relaxed))
    how = t->drop(t, nullptr);
  else if (!is_initialized() && !initialize())
    how = t->drop(t, why_closed());
  else
    return t->run(t);
  if (how == pool_task::end::dropped)
    has_dropped_.store(true);
  return how;
}

pool_task* pool_core::take(runner& r) {
  if (auto* t = r.deque.pop())
    return t;
  if (auto* t = take_ready(r))
    return t;
  return steal(r);
}

void pool_core::drain_inbox_locked() {
  // Before the inbox is empty: whoever looks for work meanwhile sees some, or
  // a runner would leave and nobody would call it again.
  ready_hint_.store(ready_size_ + 1, std::memory_order_seq_cst);
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
  if (r.index == workers_)
    r.batch = 1; // nobody steals from a stand-in
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
  for (std::size_t i = 0; i < workers_; ++i) {
    auto& victim = *runners_[(thief.index + i) % workers_];
    if (&victim == &thief)
      continue;
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

bool pool_core::is_initialized() {
  return !is_broken_.load(std::memory_order_relaxed)
         && (!has_initializer_ || initialized_for == id_);
}

// Once per thread; false when the pool is broken by it, or is at its end: then
// nothing is left that may begin.
bool pool_core::initialize() {
  if (is_broken_.load())
    return false;
  if (thread_number == 0)
    thread_number = next_thread_number.fetch_add(1);
  {
    std::lock_guard guard{mutex_};
    if (std::find(initialized_.begin(), initialized_.end(), thread_number)
        != initialized_.end()) {
      initialized_for = id_;
      return true;
    }
    if (is_initializer_over_)
      return false;
    initializing_.fetch_add(1);
  }
  struct counted {
    pool_core& pool;
    ~counted() {
      pool.initializing_.fetch_sub(1);
      if (pool.waiting_.load() > 0)
        pool.signal();
    }
  } const initializing{*this};
  try {
    initializer_();
    std::lock_guard guard{mutex_};
    initialized_.push_back(thread_number);
    initialized_for = id_;
    return true;
  } catch (...) {
    auto text = text_with_type(std::current_exception());
    detail::log().error("thread_pool: its initializer failed: {}", text);
    auto why = std::make_exception_ptr(
      closed{"thread_pool: broken, its initializer failed: " + text});
    {
      std::lock_guard guard{mutex_};
      if (!broken_)
        broken_ = why;
    }
    is_broken_.store(true);
    closed_.store(true);
    drop_queued(why);
    return false;
  }
}

void pool_core::begin_stoppable(stoppable& s) noexcept {
  std::lock_guard guard{stoppable_mutex_};
  s.next = stoppable_;
  if (s.next != nullptr)
    s.next->previous = &s;
  stoppable_ = &s;
}

void pool_core::end_stoppable(stoppable& s) noexcept {
  std::lock_guard guard{stoppable_mutex_};
  if (s.next != nullptr)
    s.next->previous = s.previous;
  (s.previous != nullptr ? s.previous->next : stoppable_) = s.next;
}

void pool_core::ask_to_stop() {
  std::vector<std::stop_source> all;
  {
    std::lock_guard guard{stoppable_mutex_};
    for (auto* s = stoppable_; s != nullptr; s = s->next)
      all.push_back(s->source);
  }
  // Callbacks of users, so without the lock.
  for (auto& s : all)
    s.request_stop();
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
  if (how == pool_task::end::dropped)
    has_dropped_.store(true);
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

// False when late.
template <class Done>
bool pool_core::await(Done done, std::int64_t until) {
  sched::blocking_section section;
  for (;;) {
    auto seen = signal_.load();
    waiting_.fetch_add(1);
    auto is_done = done() || orphaned_.load();
    auto left = until == sched::never_ns ? INT64_MAX : until - sched::now_ns();
    // A runner that misses us looks again within this time.
    if (!is_done && left > 0)
      sched::futex_wait(signal_, seen, std::min<std::int64_t>(left, 5'000'000));
    waiting_.fetch_sub(1);
    if (is_done)
      return true;
    if (left <= 0)
      return false;
  }
}

drain_report pool_core::shut_down(shutdown_mode mode, std::int64_t limit_ns) {
  if (is_current())
    throw bad_argument{
      "thread_pool: shutdown by one of its own tasks would "
      "wait for itself"};
  closed_.store(true, std::memory_order_seq_cst);
  signal();
  auto until = limit_ns == time_limit::none
                 ? sched::never_ns
                 : due_after(std::chrono::nanoseconds{limit_ns});
  has_dropped_.store(false);
  if (mode == shutdown_mode::cancel_pending) {
    dropping_.store(true);
    drop_queued(nullptr);
  }
  drain_report r;
  if (!await([this] { return is_drained(); }, until)) {
    r.clean = false;
    dropping_.store(true);
    drop_queued(nullptr);
    ask_to_stop();
  }
  r.cancelled = cancelled();
  r.done = elsewhere_.done.load();
  r.failed = elsewhere_.failed.load();
  for (std::size_t i = 0; i < workers_; ++i) {
    r.done += runners_[i]->counts.done.load();
    r.failed += runners_[i]->counts.failed.load();
  }
  r.running = running();
  if (has_dropped_.load())
    r.clean = false;
  return r;
}

std::size_t pool_core::running() const {
  std::size_t n = 0;
  for (std::size_t i = 0; i < workers_; ++i)
    n += runners_[i]->in_task.load() ? 1 : 0;
  return n;
}

std::uint64_t pool_core::cancelled() const {
  auto n = elsewhere_.cancelled.load();
  for (std::size_t i = 0; i < workers_; ++i)
    n += runners_[i]->counts.cancelled.load();
  return n;
}

void pool_core::orphan() {
  auto why =
    std::make_exception_ptr(closed{"thread_pool: the system has stopped"});
  {
    std::lock_guard guard{mutex_};
    if (!broken_)
      broken_ = why;
  }
  closed_.store(true);
  {
    std::lock_guard guard{schedule_mutex_};
    orphaned_.store(true);
  }
  drop_queued(why);
  ask_to_stop();
  signal();
}

// -- the public header's services ---------------------------------------------

pool_core* make_pool(runtime& rt, const thread_pool_options& opts) {
  return new pool_core{rt, opts};
}

void close_pool(pool_core* p) noexcept {
  if (!p->is_current()) {
    p->close();
    return;
  }
  detail::log().error(
    "a thread_pool is destroyed by one of its own tasks; it drains "
    "in the background");
  std::thread{[p] { p->close(); }}.detach();
}

void submit_to(pool_core* p, pool_task* t, bool may_reject) {
  p->submit(t, may_reject);
}

bool was_cancelled(const state_base& s) noexcept {
  // Tasks are in `settling` for as long as a cancel takes, and no longer.
  auto at = s.at.load(std::memory_order_acquire);
  for (; at == phase::settling; at = s.at.load(std::memory_order_acquire))
    ::sched_yield();
  return at == phase::cancelled;
}

void begin_stoppable(pool_core* p, stoppable& s) noexcept {
  p->begin_stoppable(s);
}

void end_stoppable(pool_core* p, stoppable& s) noexcept {
  p->end_stoppable(s);
}

void sweep::note(std::size_t at) noexcept {
  std::lock_guard guard{mutex};
  if (error && error_at < at)
    return;
  error = std::current_exception();
  error_at = at;
}

bool sweep::is_late() noexcept {
  if (sched::now_ns() >= due)
    over.store(true, std::memory_order_relaxed);
  return over.load(std::memory_order_relaxed);
}

void sweep::join(std::vector<future<void>>& parts) {
  for (auto& p : parts)
    if (!wait_settled(*p.shared_state(), due)) {
      over.store(true, std::memory_order_relaxed);
      break;
    }
  if (over.load(std::memory_order_relaxed))
    for (auto& p : parts)
      p.cancel();
  for (auto& p : parts)
    p.wait();
}

void sweep::conclude(std::vector<future<void>>& parts) {
  if (error)
    std::rethrow_exception(error);
  auto begun = std::min(size, next.load());
  if (over.load())
    throw timeout{"for_each: the deadline has passed, " + std::to_string(begun)
                  + " of " + std::to_string(size) + " inputs had begun"};
  if (begun < size)
    for (auto& p : parts)
      p.get(); // the pool was shut down: one of them says so
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

std::exception_ptr wrong_number(std::size_t got, std::size_t inputs) {
  return std::make_exception_ptr(decode_error{
    fmt::format("map: {} results came back for {} inputs", got, inputs)});
}

std::size_t checked_size(std::ptrdiff_t n, std::size_t automatic,
                         const char* what) {
  return size_between(n, std::max<std::size_t>(1, automatic), SIZE_MAX / 2,
                      what);
}

// Small chunks want many of them under way.
std::size_t window_for(std::size_t chunk, std::size_t workers) {
  constexpr std::size_t most = SIZE_MAX / 2;
  constexpr std::size_t least = 256;
  return chunk > most / (4 * workers) ? most
                                      : std::max(4 * chunk * workers, least);
}

// Not above 8192, so that the results of a chunk stay in the cache.
std::size_t chunk_for(std::size_t inputs, std::size_t workers) {
  return std::clamp<std::size_t>(inputs / (workers * 8), 1, 8192);
}

// Nothing is kept for them: longer ones only run faster through memory.
std::size_t stretch_for(std::size_t inputs, std::size_t workers) {
  return std::clamp<std::size_t>(inputs / (workers * 8), 1, 65'536);
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
