// SPDX-License-Identifier: MIT
// coroutine: methods that wait, and the replies that let them go on.
#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "core/wait_graph.hpp"
#include "core/waiters.hpp"
#include "sched/clock.hpp"

namespace troupe::detail {

namespace {

// A reply of its own, for states that several actors await.
struct extra_reply final : reply_node, pooled {};

// The node in the block of `s`, null where there is none.
reply_node* own_reply(state_base& s) noexcept {
  return s.ops->reply == nullptr ? nullptr : s.ops->reply(&s);
}

// The node alone. One that lies in a state goes with that.
void free_node(reply_node* r) noexcept {
  if (r != own_reply(*r->of))
    delete static_cast<extra_reply*>(r);
}

void free_reply(reply_node* r) noexcept {
  const auto is_left = r->record == nullptr;
  auto* s = is_left || r->holds ? r->of : nullptr;
  auto* to = r->to;
  free_node(r);
  if (s != nullptr)
    s->release();
  if (is_left)
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
  free_node(r); // what it holds is the awaiter's now
  drive(*record, at);
}

void drop_reply(envelope* e, drop_reason) noexcept {
  free_reply(reply_of(e));
}

constexpr message_ops reply_ops{&run_reply, &drop_reply, "a reply",
                                message_kind::urgent};

void notify_reply(waiter* w, state_base&) noexcept {
  auto* r = static_cast<reply_node*>(w);
  if (!r->to->push(r, true)) // from here on it may be gone, and we with it
    free_reply(r);
}

} // namespace

reply_node::reply_node() : waiter(&notify_reply), envelope(&reply_ops) {}

namespace {

// Links the reply that `record` waits for; null: the state has settled. It may
// come at once, and is read only by this actor, later.
reply_node* link_reply(state_base& s, call_record& record, bool hold) {
  auto* own = own_reply(s);
  std::unique_ptr<extra_reply> extra;
  reply_node* chosen = nullptr;
  auto choose = [&]() -> waiter* {
    if (extra)
      chosen = extra.get();
    else if (own != nullptr && !s.reply_used.load(std::memory_order_relaxed))
      chosen = own;
    else
      return nullptr;
    s.reply_used.store(true, std::memory_order_relaxed);
    chosen->of = &s;
    chosen->to = record.self;
    chosen->record = &record;
    chosen->holds = hold;
    return chosen;
  };
  if (own == nullptr || s.reply_used.load(std::memory_order_relaxed))
    extra = std::make_unique<extra_reply>();
  if (hold)
    s.retain();
  for (;;) {
    if (!list_of(s).add_one(s.at, choose)) {
      if (hold)
        s.release();
      return nullptr;
    }
    if (chosen != nullptr)
      break;
    extra = std::make_unique<extra_reply>(); // another took it meanwhile
  }
  static_cast<void>(extra.release());
  return chosen;
}

} // namespace

bool suspend_on(state_base& s, call_record& record, std::coroutine_handle<> at,
                bool hold) {
  struct edge {
    call_record& record;
    bool linked = true;
    void remove() {
      if (!std::exchange(linked, false))
        return;
      record.resume_at = {};
      record.self->remove_record(record);
    }
    ~edge() {
      if (record.message_reply == nullptr)
        remove();
    }
  };
  auto* self = record.self;
  record.waiting.store(&s, std::memory_order_relaxed);
  self->add_record(record); // shows both
  edge unless_it_waits{record};
  if (auto cycle = find_cycle(*self, s); !cycle.text.empty()) {
    unless_it_waits.remove();
    break_cycle(s, cycle);
  }
  if (s.due != INT64_MAX)
    self->note_deadline(s.due);
  record.resume_at = at;
  record.message_reply = link_reply(s, record, hold);
  return record.message_reply != nullptr;
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
  if (r->of->remove_waiter(*r)) {
    free_reply(r);
    return;
  }
  // It is in our mailbox or about to be. Until now the coroutine has kept the
  // state, where it lies, and the actor.
  if (!r->holds)
    r->of->retain();
  retain_self(record.self);
  r->record = nullptr;
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
  if (r.next != nullptr)
    r.next->prev = r.prev;
  auto* next = std::exchange(r.next, nullptr);
  // The store that hides the edge is seq_cst: of the newest, it is unlinked.
  if (auto* prev = std::exchange(r.prev, nullptr); prev != nullptr) {
    prev->next = next;
    r.waiting.store(nullptr);
  } else {
    r.waiting.store(nullptr, std::memory_order_relaxed);
    extras().active.store(next);
  }
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
