// SPDX-License-Identifier: MIT
// restart: a cell that outlives its object.
//
// Protocol: 1. a restartable cell that shall end comes down instead: what its
//              object had goes, then what waits in the mailbox, then the
//              object; then the monitors are told.
//           2. down it rests like a suspended one: only urgent messages are
//              looked at. Others gather in order, or are refused (a tag of the
//              inbox, that only the cell itself sets and clears).
//           3. an urgent message brings it up: the constructor runs, on_start
//              is put before all that waits.
//           4. the system's stop, the last handle's end and `retire` end a cell
//              that is down; an urgent message lets it look.
// Kills:    the flag of a kill that finds nothing to kill is cleared when the
//           cell comes up, before the constructor runs.
#include "troupe/restart.hpp"

#include <caf/attachable.hpp>

#include "core/caf_inlet.hpp"
#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "core/timers.hpp"

namespace troupe::detail {

namespace {

// An order to a cell that is down; one that is not leaves it.
template <class Derived>
struct order : envelope, pooled {
  order() : envelope(&table) {}
  static void run(envelope* e, cell& self, void*) {
    std::unique_ptr<Derived> m{static_cast<Derived*>(e)};
    m->obey(self);
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<Derived*>(e);
  }
  static constexpr message_ops table{&run, &drop, "restart",
                                     message_kind::urgent};
};

struct look_order final : order<look_order> {
  void obey(cell& self) {
    if (self.is_down())
      self.quit();
    else
      self.push_stop(); // it was down, or came up, when it was told to stop
  }
};

struct park_order final : order<park_order> {
  void obey(cell& self) {
    if (self.is_down())
      self.refuse_calls();
  }
};

struct restart_order final : order<restart_order> {
  std::unique_ptr<construction> how;
  promise<void> answer;

  void obey(cell& self) {
    try {
      if (!self.is_down())
        throw bad_argument{"restart: " + name_of(self) + " is not down"};
      if (self.has(cell::flag_shutdown | cell::flag_retired))
        throw actor_stopped{"restart: " + name_of(self) + " ends for good"};
      self.come_up(*how);
      answer.try_set_value();
    } catch (...) {
      answer.try_set_exception(std::current_exception());
    }
  }
};

void give(cell& to, envelope* order) {
  if (!to.push(order, true))
    order->ops->drop(order, drop_reason::stopped);
}

} // namespace

std::uint64_t cell::incarnation() const {
  return has(flag_restartable) ? extras_or_null()->restart->incarnation.load(
                                   std::memory_order_relaxed)
                               : 0;
}

void cell::look() {
  give(*this, new look_order);
}

bool cell::come_down() {
  if (!has(flag_restartable)
      || has(flag_shutdown | flag_retired | flag_unreachable)) {
    end(why_ended());
    return false;
  }
  if (!has(flag_down)) {
    auto& x = extras();
    auto reason = why_ended();
    current.ending = true;
    end_work(reason);
    remove_timers(*this);
    home().rt->scheduler().timers().remove(x.deadline);
    x.deadline_armed.store(INT64_MAX, std::memory_order_relaxed);
    drop_all(
      x.restart->calls == calls_during_restart::queued ? 0 : inbox::refusing);
    destroy_object();
    current.ending = false;
    tell_monitors(reason);
    set_failure(nullptr); // who asks from now on gets the reason
  }
  clear(flag_quit | flag_killed);
  // An order to look that came before the inbox was emptied went with it.
  if (has(flag_shutdown | flag_retired))
    quit();
  return true;
}

// As CAF's cleanup does, but others may come and monitor the next object.
void cell::tell_monitors(const stop_reason& reason) {
  caf::attachable_ptr head;
  {
    auto& part = *extras().restart;
    std::lock_guard guard{part.mutex};
    part.last = reason;
  }
  exclusive_critical_section([&] {
    flags_.fetch_or(flag_down);
    attachables_head_.swap(head);
  });
  tell_our_monitors(*this);
  auto error = to_caf_error(reason);
  auto* w = sched::worker::current();
  auto here = w != nullptr && &w->system() == block()->home_system;
  while (head != nullptr) {
    head->actor_exited(error, here ? w : nullptr);
    auto next = std::move(head->next);
    head = std::move(next);
  }
}

void cell::come_up(construction& how) {
  auto& part = *extras().restart;
  clear(flag_quit | flag_killed);
  // What the constructor tells itself must get in.
  auto refusing = inbox_.accept() ? inbox::refusing : 0;
  if (has(flag_bounded))
    extras().box->reopen();
  part.incarnation.fetch_add(1, std::memory_order_relaxed);
  constructing_as(info().has_self ? this : nullptr);
  try {
    how.run(object());
  } catch (...) {
    constructing_as(nullptr);
    remove_timers(*this);
    if (refusing != 0 || (info().has_self && has(flag_bounded)))
      drop_all(refusing);
    else if (info().has_self)
      drop_inbox(0);
    if (has(flag_shutdown | flag_retired))
      quit(); // the order to look may have been dropped
    throw;
  }
  constructing_as(nullptr);
  part.starts.fetch_add(1, std::memory_order_relaxed);
  clear(flag_down);
  if (auto* first = how.first())
    prepend_pending(first);
}

// Orders that came meanwhile stay: a restart may be among them. Calls among
// what came are dropped when the inbox is taken (resume).
void cell::refuse_calls() {
  inbox_.refuse();
  drop_pending();
}

future<void> restart_cell(cell* c, std::unique_ptr<construction> how) {
  if (!c->has(cell::flag_restartable))
    throw bad_argument{"restart: " + name_of(*c)
                       + " was not spawned with restartable{}"};
  auto* m = new restart_order;
  m->how = std::move(how);
  auto result = m->answer.get_future();
  give(*c, m);
  return result;
}

void park_cell(cell* c) {
  give(*c, new park_order);
}

void retire_cell(cell* c) {
  c->set(cell::flag_retired);
  c->stop();
}

std::uint64_t starts_of(const cell* c) noexcept {
  if (!c->has(cell::flag_restartable))
    return 1;
  return c->extras_or_null()->restart->starts.load(std::memory_order_relaxed);
}

} // namespace troupe::detail
