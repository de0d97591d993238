// SPDX-License-Identifier: MIT
// coroutine: methods that wait, and the replies that let them go on.
#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "core/wait_graph.hpp"
#include "sched/clock.hpp"

namespace troupe::detail {

namespace {

// A reply of its own, for states that several actors await.
struct extra_reply final : reply_node, pooled {};

// The node in the block of `s`, null where there is none.
reply_node* own_reply(state_base& s) noexcept {
  return s.ops->reply == nullptr ? nullptr : s.ops->reply(&s);
}

void free_reply(reply_node* r) noexcept {
  auto* s = r->of;
  auto* to = r->to;
  if (r != own_reply(*s))
    delete static_cast<extra_reply*>(r);
  s->release();
  if (to != nullptr)
    release(to);
}

reply_node* reply_of(envelope* e) {
  return static_cast<reply_node*>(e);
}

void run_reply(envelope* e, cell& self, void*) {
  auto* r = reply_of(e);
  auto* record = r->record;
  if (record == nullptr) {
    free_reply(r); // the coroutine is gone
    return;
  }
  self.remove_record(*record);
  current.op = record->op;
  current.deadline = record->deadline;
  auto at = std::exchange(record->resume_at, {});
  record->message_reply = nullptr;
  // The future that is awaited keeps the state; the actor keeps itself.
  free_reply(r);
  drive(*record, at);
}

void drop_reply(envelope* e, drop_reason) noexcept {
  free_reply(reply_of(e));
}

constexpr message_ops reply_ops{&run_reply, &drop_reply, "a reply",
                                message_kind::urgent};

void notify_reply(waiter* w, state_base&) noexcept {
  auto* r = static_cast<reply_node*>(w);
  auto* to = std::exchange(r->to, nullptr); // the push takes the reference
  to->push_owning(r);
}

} // namespace

reply_node::reply_node() : waiter(&notify_reply), envelope(&reply_ops) {}

bool suspend_on(state_base& s, call_record& record,
                std::coroutine_handle<> at) {
  auto* self = record.self;
  auto* r = own_reply(s);
  if (r == nullptr || s.reply_used.exchange(true, std::memory_order_relaxed))
    r = new extra_reply;
  r->of = &s;
  r->to = self;
  r->record = &record;
  s.retain();
  retain(self);
  record.resume_at = at;
  record.message_reply = r;
  record.waiting.store(&s);
  self->add_record(record);
  auto undo = [&] {
    self->remove_record(record);
    record.resume_at = {};
    record.message_reply = nullptr;
    free_reply(r);
  };
  if (auto cycle = find_cycle(*self, s); !cycle.text.empty()) {
    undo();
    break_cycle(s, cycle);
  }
  if (s.due != INT64_MAX)
    self->note_deadline(s.due);
  // From here on the reply may come; it is read only by this actor, later.
  if (s.add_waiter(*r))
    return true;
  undo();
  return false;
}

void begin_coroutine(cell& self, call_record& record, envelope* message) {
  record.self = &self;
  record.op = message->ops;
  record.deadline = current.deadline;
  record.message = message;
}

void end_coroutine(call_record& record) noexcept {
  // Ended while it waits: the reply must not find us any more.
  auto* r = std::exchange(record.message_reply, nullptr);
  if (r == nullptr)
    return;
  record.self->remove_record(record);
  if (r->of->remove_waiter(*r))
    free_reply(r);
  else
    r->record = nullptr; // it is in our mailbox or about to be
}

// -- records of a cell --------------------------------------------------------

void cell::add_record(call_record& r) {
  auto& active = extras().active;
  auto* head = active.load(std::memory_order_relaxed);
  r.prev = nullptr;
  r.next = head;
  if (head != nullptr)
    head->prev = &r;
  active.store(&r);
}

void cell::remove_record(call_record& r) noexcept {
  if (r.prev != nullptr)
    r.prev->next = r.next;
  else
    extras().active.store(r.next);
  if (r.next != nullptr)
    r.next->prev = r.prev;
  r.prev = r.next = nullptr;
  r.waiting.store(nullptr);
  pass_gate();
}

// -- deadlines of waiting coroutines ------------------------------------------

// The wheel knows one time per actor, and only the earliest: the usual ask is
// answered long before, and the next one is due later, so nothing is done.
void cell::note_deadline(std::int64_t due) {
  auto& x = extras();
  if (due >= x.deadline_armed.load(std::memory_order_relaxed))
    return;
  x.deadline_armed.store(due, std::memory_order_relaxed);
  home().rt->scheduler().timers().add(x.deadline, due);
}

namespace {

struct deadline_check final : envelope, pooled {
  deadline_check() : envelope(&table) {}
  static void run(envelope* e, cell& self, void*) {
    delete static_cast<deadline_check*>(e);
    self.expire_records();
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<deadline_check*>(e);
  }
  static constexpr message_ops table{&run, &drop, "a deadline",
                                     message_kind::urgent};
};

} // namespace

void cell_extras::on_deadline(sched::timer_node* n) noexcept {
  auto* node = static_cast<deadline_node*>(n);
  auto* x = reinterpret_cast<cell_extras*>(reinterpret_cast<char*>(node)
                                           - offsetof(cell_extras, deadline));
  if (!lock_weak(x->self))
    return;
  auto* check = new deadline_check;
  if (!x->self->push(check, true))
    delete check;
  release_later(x->self);
}

void cell::expire_records() {
  auto& x = extras();
  x.deadline_armed.store(INT64_MAX, std::memory_order_relaxed);
  auto now = sched::now_ns();
  auto next = INT64_MAX;
  for (auto* r = records(); r != nullptr; r = r->next) {
    auto* s = r->waiting.load();
    if (s == nullptr || s->expire(now))
      continue; // its reply comes through the mailbox
    if (!s->is_settled())
      next = std::min(next, s->due);
  }
  if (next != INT64_MAX)
    note_deadline(next);
}

} // namespace troupe::detail
