// SPDX-License-Identifier: MIT
#include "core/wait_graph.hpp"

#include <mutex>

#include "core/runtime.hpp"

namespace troupe::detail {

namespace {

std::atomic<int> walkers{0};
std::mutex gate;

class walk {
public:
  walk() {
    walkers.fetch_add(1);
    gate.lock();
  }
  ~walk() {
    gate.unlock();
    walkers.fetch_sub(1);
  }
};

// Whether `c` takes no message while its newest record waits: a thread that
// blocks (it has no coroutine) takes none in a reentrant class either.
bool is_busy(const cell& c, const call_record* record) {
  return record != nullptr && (!c.info().is_reentrant || !record->frame);
}

// The state that `c` waits for; null when it doesn't, when it lets others in
// meanwhile, and when the answer is on its way.
state_base* waits_for(const cell& c) {
  auto* record = c.records();
  if (!is_busy(c, record))
    return nullptr;
  auto* s = record->waiting.load();
  return s == nullptr || s->is_settled() || s->delegated.load() ? nullptr : s;
}

std::string hop(const cell& c, const state_base& s) {
  auto text = name_of(c);
  text += ".ask<";
  text += plain_name(s.what);
  text += "> -> ";
  return text;
}

constexpr int hops_max = 100'000;

} // namespace

std::string find_cycle(cell& waiter, std::string_view, state_base& s) {
  if (s.callee == nullptr || s.delegated.load()
      || !is_busy(waiter, waiter.records()))
    return {};
  auto* to = s.callee;
  if (to != &waiter && to->records() == nullptr)
    return {}; // the usual case: the callee waits for nobody
  walk guard;
  auto text = hop(waiter, s);
  for (int i = 0; i < hops_max; ++i) {
    if (to == &waiter)
      return text + name_of(waiter);
    auto* next = waits_for(*to);
    if (next == nullptr || next->callee == nullptr)
      return {};
    text += hop(*to, *next);
    to = next->callee;
  }
  return {};
}

void pass_gate() noexcept {
  if (walkers.load() == 0)
    return;
  std::lock_guard guard{gate};
}

wait_edge::wait_edge(state_base& s) {
  auto* self = current.self;
  if (self == nullptr)
    return;
  record_.self = self;
  record_.op = current.op;
  record_.deadline = current.deadline;
  record_.waiting.store(&s);
  self->add_record(record_);
  linked_ = true;
  auto cycle = find_cycle(*self, {}, s);
  if (cycle.empty())
    return;
  self->remove_record(record_);
  throw deadlock{"this wait would never end: " + cycle};
}

wait_edge::~wait_edge() {
  if (linked_)
    record_.self->remove_record(record_);
}

std::string describe_wait(const cell& c) {
  walk guard;
  auto* record = c.records();
  auto* s = record == nullptr ? nullptr : record->waiting.load();
  if (s == nullptr)
    return {};
  std::string text;
  if (record->op != nullptr)
    text = "in " + plain_name(record->op->name) + " ";
  text += "waits for " + plain_name(s->what.empty() ? "a future" : s->what);
  if (s->callee != nullptr)
    text += " of " + name_of(*s->callee);
  return text;
}

} // namespace troupe::detail
