// SPDX-License-Identifier: MIT
// mailbox: how messages get into a cell, bounded or not.
#include <optional>

#include "core/extras.hpp"
#include "core/own_thread.hpp"
#include "core/runtime.hpp"
#include "core/wait_graph.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::detail {

// -- the word -----------------------------------------------------------------

bool cell::push(envelope* e, bool urgent) {
  auto how = inbox_.push(e, urgent);
  if (how == pushed::wakes)
    schedule();
  return how != pushed::refused;
}

void cell::schedule() {
  if (has(flag_own_thread)) {
    // Held: once woken, the actor may end and free itself and the extras.
    auto thread = extras().thread;
    thread->wake();
    return;
  }
  auto* w = sched::worker::current();
  if (w != nullptr && &w->system() == block()->home_system)
    w->push(this);
  else
    block()->home_system->scheduler().enqueue(this);
}

std::size_t cell::mailbox_size() const {
  auto n = inbox_.size() + pending_size_.load(std::memory_order_relaxed);
  if (auto* x = extras_or_null(); x != nullptr && x->box)
    n += x->box->size();
  return n;
}

// Takes the whole stack; calls go to pending_ in order, urgent ones to
// `urgent`, linked in order. False when it was empty.
bool cell::take_inbox(envelope*& urgent) {
  auto* e = inbox_.take();
  if (e == nullptr)
    return false;
  envelope *first = nullptr, *last = nullptr;
  std::uint32_t n = 0;
  while (e != nullptr) {
    auto* next = e->next;
    if (e->ops->kind == message_kind::urgent) {
      e->next = urgent;
      urgent = e;
    } else {
      if (last == nullptr)
        last = e;
      e->next = first;
      first = e;
      ++n;
    }
    e = next;
  }
  if (first != nullptr)
    append_pending(first, last, n);
  return true;
}

void cell::append_pending(envelope* first, envelope* last, std::uint32_t n) {
  if (pending_ == nullptr) {
    last->next = first;
  } else {
    last->next = pending_->next;
    pending_->next = first;
  }
  pending_ = last;
  pending_size_.store(pending_size_.load(std::memory_order_relaxed) + n,
                      std::memory_order_relaxed);
}

void cell::prepend_pending(envelope* e) {
  auto* last = pending_;
  append_pending(e, e, 1);
  if (last != nullptr)
    pending_ = last; // it comes behind the last: the first of the ring
}

envelope* cell::pop_pending() {
  if (pending_ == nullptr)
    return nullptr;
  auto* e = pending_->next;
  if (e == pending_)
    pending_ = nullptr;
  else
    pending_->next = e->next;
  pending_size_.store(pending_size_.load(std::memory_order_relaxed) - 1,
                      std::memory_order_relaxed);
  return e;
}

// An idle remote cell with nothing before `e`: the sender forwards it, in the
// cell's place. What comes meanwhile waits for a worker.
bool cell::try_forward(envelope* e) {
  if (!has(flag_remote) || has(flag_bounded) || !inbox_.claim())
    return false;
  {
    const context_scope scope{this, home().rt};
    run_message(e, extras().remote->at);
  }
  if (!try_rest())
    schedule();
  return true;
}

// -- posting ------------------------------------------------------------------

namespace {

std::string full_text(const cell& to, const bounded_box& box,
                      const envelope* e) {
  return plain_name(e->ops->name) + ": the mailbox of " + name_of(to)
         + " is full (" + std::to_string(box.size()) + " messages wait, the "
         + "limit is " + std::to_string(box.max()) + ")";
}

// What a sender waits for that waits for room.
struct room final : state_base, pooled {
  room() : state_base(&table) {}
  static void free(state_base* s) noexcept { delete static_cast<room*>(s); }
  static constexpr state_ops table{&free};
};

// Waits for room; throws timeout, deadlock or closed. The edge names the
// receiver, so that full mailboxes in a circle are found.
void wait_for_room(cell& to, bounded_box& box, const envelope* e,
                   std::int64_t until) {
  state_ptr<room> s{new room};
  s->what = e->ops->name;
  s->callee = &to;
  retain_weak(&to);
  wait_edge edge{*s};
  sched::blocking_section section;
  if (!box.await_room(until))
    throw timeout{full_text(to, box, e) + ", and stayed so until the deadline"};
}

// A tell waits for room as long as an ask waits for its answer.
std::int64_t default_due(const cell& to) {
  return std::min(current.deadline, due_after(std::chrono::nanoseconds{
                                      to.home().ask_deadline_ns}));
}

// True when taken over; false when it should be refused (dead or full).
// `due`: until when it may wait for room; none: the default.
bool post_bounded(cell& to, envelope* e, std::optional<std::int64_t> due) {
  auto& box = *to.extras().box;
  for (;;) {
    switch (box.offer(e)) {
      case bounded_box::verdict::taken:
        to.ring();
        return true;
      case bounded_box::verdict::closed:
        dead_letter_to(to, e, drop_reason::stopped);
        return true;
      case bounded_box::verdict::full:
        break;
    }
    switch (box.policy()) {
      case full_policy::drop_newest:
        dead_letter_to(to, e, drop_reason::rejected);
        return true;
      case full_policy::drop_oldest:
        if (auto* oldest = box.take_oldest_call(); oldest != nullptr)
          dead_letter_to(to, oldest, drop_reason::rejected);
        break;
      case full_policy::wait:
        if (current.must_not_wait)
          return false;
        if (!due)
          due = default_due(to);
        wait_for_room(to, box, e, *due);
        break;
      default:
        return false;
    }
  }
}

} // namespace

// -- tells that share an envelope ---------------------------------------------

constinit thread_local told told_last{};

void close_tell() noexcept {
  auto* open = std::exchange(current.open, nullptr);
  if ((open->word.load(std::memory_order_relaxed) & ~shared_tell::taken) < 2)
    told_last.to = nullptr;
  open->leave();
}

shared_tell* open_tell(const cell* to, const message_ops* ops) noexcept {
  auto* open = current.open;
  return open != nullptr && open->to == to && open->ops == ops ? open : nullptr;
}

bool may_share(const cell* to) noexcept {
  return !to->has(cell::flag_bounded | cell::flag_remote);
}

void send_shared(shared_tell* m) {
  auto* to = m->to;
  if (current.open != nullptr)
    close_tell();
  m->holders.store(2, std::memory_order_relaxed);
  if (!to->push(m, false))
    dead_letter_to(*to, m, drop_reason::stopped);
  current.open = m;
}

bool goes_on(const cell& self) noexcept {
  return !self.has(cell::flag_killed | cell::flag_quit);
}

void count_handled(std::uint32_t n) noexcept {
  current.also_handled = n - 1;
}

void put_back(cell& self, envelope* e) noexcept {
  self.prepend_pending(e);
}

void also_dropped(cell& to, const message_ops* ops, drop_reason why,
                  std::uint32_t n) noexcept {
  for (; n != 0; --n)
    note_dead_letter(to, ops, why);
}

void close_tell_to(const cell* to) noexcept {
  if (current.open != nullptr && current.open->to == to)
    close_tell();
}

// -- all calls ----------------------------------------------------------------

void post(cell* to, envelope* e) {
  close_tell_to(to);
  if (to->has(cell::flag_bounded)) {
    struct guard {
      envelope* e;
      ~guard() {
        if (e != nullptr)
          e->ops->drop(e, drop_reason::rejected);
      }
    } owned{e};
    auto& box = *to->extras().box;
    if (!post_bounded(*to, e, std::nullopt))
      throw rejected{full_text(*to, box, e)};
    owned.e = nullptr;
    return;
  }
  if (to->try_forward(e))
    return;
  if (current.self != nullptr) // other threads have no turns that end
    told_last = {to, e->ops};
  if (!to->push(e, false))
    dead_letter_to(*to, e, drop_reason::stopped);
}

void post_ask(cell* to, envelope* e, state_base* s, std::int64_t limit_ns) {
  close_tell_to(to);
  retain_callee(to);
  s->callee = to;
  std::int64_t now = 0;
  if (limit_ns == default_limit) {
    limit_ns = to->home().ask_deadline_ns;
    now = sched::coarse_now_ns();
  } else {
    now = sched::now_for_ns(limit_ns);
  }
  auto due = limit_ns > sched::never_ns - now ? sched::never_ns
                                              : now + limit_ns;
  s->due = std::min(due, current.deadline);
  if (s->due <= now) {
    s->expire(now);
    e->ops->drop(e, drop_reason::rejected);
    return;
  }
  if (to->has(cell::flag_bounded)) {
    try {
      if (!post_bounded(*to, e, s->due)) {
        s->fail(std::make_exception_ptr(
          rejected{full_text(*to, *to->extras().box, e)}));
        e->ops->drop(e, drop_reason::rejected);
      }
    } catch (...) {
      s->fail(std::current_exception());
      e->ops->drop(e, drop_reason::rejected);
    }
    return;
  }
  if (to->try_forward(e))
    return;
  if (!to->push(e, false))
    dead_letter_to(*to, e, drop_reason::stopped);
}

namespace {

// What a handle's node was lost of; null for any other end.
std::exception_ptr loss_of(cell* c) noexcept {
  if (c == nullptr || !c->has(cell::flag_remote) || c->is_down())
    return nullptr;
  auto error = c->why_ended().error;
  try {
    if (error)
      std::rethrow_exception(error);
  } catch (const node_lost&) {
    return error;
  } catch (...) {
    return nullptr;
  }
  return nullptr;
}

} // namespace

void settle_dropped(state_base& s, drop_reason why) noexcept {
  if (s.is_settled())
    return;
  if (auto loss = loss_of(s.callee); loss && why == drop_reason::stopped) {
    s.fail(std::move(loss));
    return;
  }
  auto text = plain_name(s.what) + ": "
              + (s.callee != nullptr ? name_of(*s.callee) : "the actor");
  if (why == drop_reason::stopped)
    s.fail(std::make_exception_ptr(actor_stopped{
      text
      + (s.callee != nullptr && s.callee->is_down() ? " is down"
                                                    : " has stopped")}));
  else
    s.fail(std::make_exception_ptr(
      rejected{text + " was full; its policy dropped this message"}));
}

// -- bounded_box --------------------------------------------------------------

bounded_box::verdict bounded_box::offer(envelope* e) {
  std::lock_guard guard{mutex_};
  if (closed_)
    return verdict::closed;
  if (e->ops->kind == message_kind::call) {
    if (calls_ >= max_)
      return verdict::full;
    ++calls_;
  }
  queue_.push_back(e);
  return verdict::taken;
}

envelope* bounded_box::take_oldest_call() {
  std::lock_guard guard{mutex_};
  for (auto i = queue_.begin(); i != queue_.end(); ++i) {
    if ((*i)->ops->kind == message_kind::call) {
      auto* e = *i;
      queue_.erase(i);
      --calls_;
      return e;
    }
  }
  return nullptr;
}

envelope* bounded_box::take() {
  std::lock_guard guard{mutex_};
  if (queue_.empty())
    return nullptr;
  auto* e = queue_.front();
  queue_.pop_front();
  if (e->ops->kind == message_kind::call) {
    --calls_;
    if (waiting_ > 0) {
      room_.fetch_add(1);
      sched::futex_wake(room_);
    }
  }
  return e;
}

envelope* bounded_box::close() {
  std::lock_guard guard{mutex_};
  closed_ = true;
  return take_all();
}

envelope* bounded_box::empty_out() {
  std::lock_guard guard{mutex_};
  return take_all();
}

void bounded_box::reopen() {
  std::lock_guard guard{mutex_};
  closed_ = false;
}

envelope* bounded_box::take_all() {
  calls_ = 0;
  envelope* first = nullptr;
  for (auto i = queue_.rbegin(); i != queue_.rend(); ++i) {
    (*i)->next = first;
    first = *i;
  }
  queue_.clear();
  room_.fetch_add(1);
  sched::futex_wake(room_, INT_MAX);
  return first;
}

bool bounded_box::await_room(std::int64_t until) {
  std::unique_lock guard{mutex_};
  while (!closed_ && calls_ >= max_) {
    auto left = until == INT64_MAX ? -1 : until - sched::now_ns();
    if (until != INT64_MAX && left <= 0)
      return false;
    auto seen = room_.load();
    ++waiting_;
    guard.unlock();
    sched::futex_wait(room_, seen, left);
    guard.lock();
    --waiting_;
  }
  return true;
}

bool bounded_box::is_empty() const {
  std::lock_guard guard{mutex_};
  return queue_.empty();
}

std::size_t bounded_box::size() const {
  std::lock_guard guard{mutex_};
  return calls_;
}

} // namespace troupe::detail
