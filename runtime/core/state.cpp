// SPDX-License-Identifier: MIT
#include "troupe/detail/state.hpp"

#include <algorithm>

#include "core/runtime.hpp"
#include "core/wait_graph.hpp"
#include "core/waiters.hpp"
#include "sched/clock.hpp"
#include "troupe/future.hpp"

namespace troupe::detail {

namespace {

struct thread_waiter final : waiter {
  basic_sleeper<> sleeper;

  thread_waiter() : waiter(&wake) {}

  static void wake(waiter* w, state_base&) noexcept {
    static_cast<thread_waiter*>(w)->sleeper.wake();
  }
  bool is_woken() const { return sleeper.is_woken(); }
  void sleep(std::int64_t until) {
    sleeper.sleep([until]() -> std::int64_t {
      return until == sched::never_ns
               ? -1
               : std::max<std::int64_t>(0, until - sched::now_ns());
    });
  }
};

// Foreign threads look a little before they sleep: as long as a wake-up takes
// if the last wait was of that order, else hardly at all.
constexpr std::int64_t spin_least_ns = 2'000, spin_most_ns = 60'000;
thread_local std::int64_t spin_ns = spin_most_ns;

bool spin_for(thread_waiter& w, std::int64_t began) {
  auto until = began + spin_ns;
  do {
    for (int i = 0; i < 32; ++i) {
      if (w.is_woken())
        return true;
      sched::cpu_relax();
    }
  } while (sched::now_ns() < until);
  return false;
}

// The relays of this thread that have yet to have their turn; null while none
// has it.
constinit thread_local relay_queue* turns = nullptr;

void adapt_spin(std::int64_t waited) {
  spin_ns = waited < 2 * spin_most_ns ? spin_most_ns
                                      : std::max(spin_least_ns, spin_ns / 2);
}

} // namespace

struct relay_queue {
  waiter* first = nullptr;
  waiter** last = &first;

  void put(relay& r) {
    r.next = nullptr;
    *last = &r;
    last = &r.next;
  }
  relay* take() {
    auto* r = first;
    if (r != nullptr && (first = r->next) == nullptr)
      last = &first;
    return static_cast<relay*>(r);
  }
};

void relay::told(waiter* w, state_base&) noexcept {
  static_cast<relay*>(w)->in_turn();
}

void relay::in_turn() noexcept {
  if (turns != nullptr) {
    turns->put(*this);
    return;
  }
  relay_queue mine;
  turns = &mine;
  for (auto* r = this; r != nullptr; r = mine.take())
    r->pass(r);
  turns = nullptr;
}

relays_aside::relays_aside() noexcept
  : before_(std::exchange(turns, nullptr)) {}

relays_aside::~relays_aside() {
  turns = before_;
}

void state_base::finish(phase final) noexcept {
  auto* list = list_of(*this).settle(at, final);
  if (list == nullptr)
    return; // and from here on we may be gone
  // Newest first; each may free itself, and the last one may free us.
  if (list->next == nullptr) {
    list->notify(list, *this);
    return;
  }
  retain();
  for (auto* w = list; w != nullptr;) {
    auto* next = w->next;
    w->notify(w, *this);
    w = next;
  }
  release();
}

bool state_base::add_waiter(waiter& w) noexcept {
  return list_of(*this).add(at, w);
}

bool state_base::remove_waiter(waiter& w) noexcept {
  return list_of(*this).remove(w);
}

bool state_base::expire(std::int64_t now) noexcept {
  if (now < due || is_settled())
    return false;
  return fail(std::make_exception_ptr(
    timeout{plain_name(what.empty() ? "a future" : what)
            + ": no answer before the deadline"
            + (callee != nullptr ? " by " + name_of(*callee) : "")}));
}

bool state_base::cancel() noexcept {
  if (move_phase(at, phase::pending, phase::settling)) {
    finish(phase::cancelled);
    return true;
  }
  if (at.load(std::memory_order_acquire) == phase::running
      && ops->request_stop != nullptr)
    ops->request_stop(this);
  return at.load(std::memory_order_acquire) == phase::cancelled;
}

void state_base::destroy() noexcept {
  if (at.load(std::memory_order_acquire) == phase::error
      && !observed.load(std::memory_order_relaxed))
    report_unobserved(*this);
  if (callee != nullptr)
    release_callee(callee);
  ops->destroy(this);
}

bool wait_settled(state_base& s, std::int64_t until) {
  if (s.is_settled())
    return true;
  auto now = sched::now_ns();
  if (s.expire(now))
    return true;
  if (until <= now)
    return s.is_settled();
  if (current.open != nullptr)
    close_tell();
  if (s.ops->run_here != nullptr && sched::worker::current() != nullptr) {
    s.ops->run_here(&s);
    if (s.is_settled())
      return true;
  }
  if (s.ops->look != nullptr) {
    s.ops->look(&s);
    if (s.is_settled())
      return true;
  }
  wait_edge edge{s}; // throws deadlock
  thread_waiter w;
  if (!s.add_waiter(w))
    return true;
  auto is_worker = sched::worker::current() != nullptr;
  if (is_worker || !spin_for(w, now)) {
    sched::blocking_section section{s.ops->next_part != nullptr};
    w.sleep(std::min(until, s.due));
    if (!w.is_woken()) {
      // Late; or an answer is being written at this moment: then it comes.
      s.expire(sched::now_ns());
      w.sleep(until);
    }
    if (!is_worker)
      adapt_spin(sched::now_ns() - now);
  }
  if (!w.is_woken() && !s.remove_waiter(w))
    w.sleep(sched::never_ns); // it is being notified at this moment
  return s.is_settled();
}

bool expire_if_due(state_base& s) {
  if (s.due == INT64_MAX)
    return false;
  return s.expire(sched::now_ns());
}

std::int64_t due_after(time_limit limit) {
  if (limit.ns() == time_limit::none)
    return sched::never_ns;
  auto now = sched::now_ns();
  if (limit.ns() <= 0)
    return now;
  return limit.ns() > sched::never_ns - now ? sched::never_ns
                                            : now + limit.ns();
}

void throw_failure(state_base& s) {
  s.observed.store(true, std::memory_order_relaxed);
  if (s.at.load(std::memory_order_acquire) == phase::cancelled)
    throw cancelled{std::string{s.what.empty() ? "the task" : s.what}
                    + " was cancelled before it began"};
  std::rethrow_exception(s.failure);
}

void throw_no_state() {
  throw bad_argument{"this future belongs to nothing (default-made)"};
}

state_base* take_asking(const void* tag) noexcept {
  auto* s = current.asking;
  if (s == nullptr || current.asking_tag != tag)
    return nullptr;
  current.asking = nullptr;
  // Pending again: whoever asked may still cancel.
  move_phase(s->at, phase::running, phase::pending);
  s->retain();
  return s;
}

asking_scope::asking_scope(state_base& s, const void* tag) noexcept
  : state_(std::exchange(current.asking, &s)),
    tag_(std::exchange(current.asking_tag, tag)) {}

asking_scope::~asking_scope() {
  current.asking = state_;
  current.asking_tag = tag_;
}

std::exception_ptr broken_promise() noexcept {
  return std::make_exception_ptr(actor_stopped{
    "the promise was dropped without a value (its owner has ended)"});
}

} // namespace troupe::detail
