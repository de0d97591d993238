// SPDX-License-Identifier: MIT
#include "core/timers.hpp"

#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "sched/clock.hpp"

namespace troupe::detail {

namespace {

void unlink(actor_timer& t) {
  auto& x = t.owner->extras();
  if (t.prev_timer != nullptr)
    t.prev_timer->next_timer = t.next_timer;
  else
    x.timers = t.next_timer;
  if (t.next_timer != nullptr)
    t.next_timer->prev_timer = t.prev_timer;
  t.prev_timer = t.next_timer = nullptr;
}

sched::timer_thread& wheel_of(actor_timer& t) {
  return t.owner->home().rt->scheduler().timers();
}

// Leaves the actor's list, once.
void finish(actor_timer& t) {
  if (t.finished.exchange(true))
    return;
  unlink(t);
  release_timer(&t);
}

void run_timer(envelope* e, cell& self, void*) {
  auto* t = static_cast<actor_timer*>(e);
  struct hold {
    actor_timer* t;
    ~hold() { release_timer(t); }
  } mailbox_reference{t};
  if (t->finished.load(std::memory_order_relaxed))
    return;
  if (t->cancelled.load(std::memory_order_acquire)) {
    finish(*t);
    return;
  }
  if (t->period_ns == 0) {
    auto call = std::move(t->call);
    finish(*t);
    call->run(self);
    return;
  }
  // Late runs are left out: the next is the first that lies ahead.
  auto late = sched::now_ns() - t->due_ns;
  t->due_ns += (late / t->period_ns + 1) * t->period_ns;
  t->call->run(self);
  if (!t->cancelled.load(std::memory_order_acquire)
      && !self.has(cell::flag_quit))
    wheel_of(*t).add(*t, t->due_ns);
  else
    finish(*t);
}

void drop_timer(envelope* e, drop_reason) noexcept {
  release_timer(static_cast<actor_timer*>(e));
}

constexpr message_ops timer_ops{&run_timer, &drop_timer, "a timer",
                                message_kind::system};

void fire_timer(sched::timer_node* n) noexcept {
  auto* t = static_cast<actor_timer*>(n);
  auto* owner = t->owner; // once pushed, it may run and be gone
  if (!lock_weak(owner))
    return;
  t->refs.fetch_add(1, std::memory_order_relaxed);
  if (!owner->push_system(t))
    release_timer(t);
  release_later(owner);
}

} // namespace

actor_timer::actor_timer(cell* c, std::int64_t first, std::int64_t period,
                         std::unique_ptr<timer_call> f)
  : envelope(&timer_ops),
    owner(c),
    period_ns(period),
    due_ns(first),
    call(std::move(f)) {
  fire = &fire_timer;
  retain_weak(c);
}

void release_timer(actor_timer* t) noexcept {
  if (t->refs.fetch_sub(1, std::memory_order_acq_rel) != 1)
    return;
  auto* owner = t->owner;
  delete t;
  release_weak(owner);
}

bool cancel_timer(actor_timer* t) noexcept {
  if (t->finished.load() || t->cancelled.exchange(true))
    return false;
  // The actor itself takes it off its list; from elsewhere that waits until the
  // timer would have run, or the actor ends.
  if (current.self == t->owner && wheel_of(*t).remove(*t))
    finish(*t);
  return true;
}

actor_timer* start_timer(cell* self, std::int64_t delay_ns,
                         std::int64_t period_ns,
                         std::unique_ptr<timer_call> call) {
  auto now = sched::now_ns();
  if (delay_ns < 0)
    delay_ns = 0;
  auto first = delay_ns > sched::never_ns - now ? sched::never_ns
                                                : now + delay_ns;
  auto* t = new actor_timer{self, first, period_ns, std::move(call)};
  auto& x = self->extras();
  t->next_timer = x.timers;
  if (x.timers != nullptr)
    x.timers->prev_timer = t;
  x.timers = t;
  wheel_of(*t).add(*t, first);
  return t;
}

void remove_timers(cell& c) {
  auto& x = c.extras();
  while (auto* t = x.timers) {
    t->cancelled.store(true);
    wheel_of(*t).remove(*t);
    t->call.reset();
    finish(*t);
  }
}

} // namespace troupe::detail
