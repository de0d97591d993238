// SPDX-License-Identifier: MIT
#include "core/wait_graph.hpp"

#include <mutex>
#include <unordered_set>

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
  return record != nullptr
         && (!cell::info_of(&c).is_reentrant || !record->frame);
}

// The state that `c` waits for; null when it doesn't, when it lets others in
// meanwhile, and when the answer is there.
state_base* waits_for(const cell& c) {
  auto* record = cell::records_of(&c); // a callee may be destroyed
  if (!is_busy(c, record))
    return nullptr;
  auto* s = record->waiting.load();
  return s == nullptr || s->is_settled() ? nullptr : s;
}

std::string hop(const cell& c, const state_base& s) {
  auto text = name_of(c);
  text += ".ask<";
  text += plain_name(s.what);
  text += "> -> ";
  return text;
}

constexpr int steps_max = 100'000; // then its deadline ends the wait
constexpr int depth_max = 500;     // of states that wait for states

// Follows waits until they lead to an actor, or to whoever waits for a state.
class search {
public:
  explicit search(const cell& target) : target_(&target) {}
  explicit search(const state_base& goal) : goal_(&goal) {}

  /// Whether `at` waits in vain for `s`, as far as the edges show.
  bool is_stuck(const cell* at, const state_base* s) {
    if (depth_ >= depth_max)
      return false;
    ++depth_;
    auto before = hops_.size();
    auto result = follow(at, s);
    while (hops_.size() > before) {
      seen_.erase(hops_.back().to);
      hops_.pop_back();
    }
    --depth_;
    return result;
  }

  /// The asks in `s` that make it so.
  void collect(const cell* at, state_base* s,
               std::vector<state_ptr<state_base>>& asks) {
    if (s->ops->next_part == nullptr) {
      s->retain();
      asks.emplace_back(s);
      return;
    }
    std::size_t i = 0;
    while (auto* part = s->ops->next_part(s, i))
      if (is_stuck(at, part))
        collect(at, part, asks);
  }

  /// The first cycle found that leads to the target.
  const std::string& text() const { return text_; }

private:
  struct edge {
    const cell* at;
    const state_base* s;
    const cell* to;
  };

  // From actor to actor; recursion is left to states with parts.
  bool follow(const cell* at, const state_base* s) {
    for (;;) {
      if (++steps_ > steps_max || s->is_settled())
        return false;
      if (s == goal_) {
        note_goal(at);
        return true;
      }
      if (auto* next = s->passed_to.load(); next != nullptr) {
        if (next == s)
          return false; // whoever has it may answer
        s = next;
        continue;
      }
      if (s->ops->next_part != nullptr && is_stuck_by_parts(at, s))
        return true;
      auto* to = s->callee;
      if (to == nullptr)
        return false;
      if (to == target_) {
        note(at, s);
        return true;
      }
      if (!seen_.insert(to).second)
        return true;
      hops_.push_back({at, s, to});
      at = to;
      s = waits_for(*to);
      if (s == nullptr)
        return false;
    }
  }

  bool is_stuck_by_parts(const cell* at, const state_base* s) {
    auto one_is_enough = s->ops->one_part_is_enough;
    std::size_t i = 0;
    auto* part = s->ops->next_part(s, i);
    for (; part != nullptr; part = s->ops->next_part(s, i))
      if (is_stuck(at, part) != one_is_enough)
        return !one_is_enough;
    return one_is_enough && i > 0;
  }

  void note(const cell* at, const state_base* s) {
    if (!text_.empty())
      return;
    for (auto& h : hops_)
      text_ += hop(*h.at, *h.s);
    text_ += hop(*at, *s) + name_of(*target_);
  }

  // The first wait has no actor: it is what the goal is passed on to.
  void note_goal(const cell* at) {
    if (!text_.empty())
      return;
    if (hops_.empty()) {
      text_ = plain_name(goal_->what.empty() ? "a future" : goal_->what)
              + " waits for itself";
      return;
    }
    for (auto h = hops_.begin() + 1; h != hops_.end(); ++h)
      text_ += hop(*h->at, *h->s);
    text_ += hop(*at, *hops_.front().s) + name_of(*hops_.front().to);
  }

  const cell* const target_ = nullptr;
  const state_base* const goal_ = nullptr;
  std::vector<edge> hops_;
  std::unordered_set<const cell*> seen_; // those in hops_
  std::string text_;
  int steps_ = 0;
  int depth_ = 0;
};

} // namespace

wait_cycle find_cycle(cell& waiter, state_base& s) {
  if (!is_busy(waiter, waiter.records()))
    return {};
  if (s.ops->next_part == nullptr) {
    auto* to = s.callee;
    if (s.passed_to.load() == nullptr
        && (to == nullptr
            || (to != &waiter && cell::records_of(to) == nullptr)))
      return {}; // the usual case: the callee waits for nobody
  }
  walk guard;
  search found{waiter};
  // A knot that leads past the waiter was tied by another, who breaks it.
  if (!found.is_stuck(&waiter, &s) || found.text().empty())
    return {};
  wait_cycle result{found.text(), {}};
  found.collect(&waiter, &s, result.asks);
  return result;
}

namespace {

std::string vain(const wait_cycle& cycle) {
  return "this wait would never end: " + cycle.text;
}

// True when at least one was given up.
bool give_up(const wait_cycle& cycle) {
  auto any = false;
  for (auto& ask : cycle.asks)
    if (ask->refuse(std::make_exception_ptr(deadlock{vain(cycle)})))
      any = true;
  return any;
}

} // namespace

void break_cycle(state_base& s, const wait_cycle& cycle) {
  s.observed.store(true, std::memory_order_relaxed);
  for (auto& ask : cycle.asks)
    ask->observed.store(true, std::memory_order_relaxed);
  give_up(cycle);
  throw deadlock{vain(cycle)};
}

void pass_on(state_base& to, state_base& from) noexcept {
  to.passed_to.store(&from);
  if (from.ops->next_part == nullptr && from.passed_to.load() == nullptr
      && (from.callee == nullptr || cell::records_of(from.callee) == nullptr))
    return; // the usual case: it waits for nobody
  try {
    std::string text;
    {
      walk guard;
      search found{to};
      if (found.is_stuck(nullptr, &from))
        text = found.text();
    }
    if (text.empty())
      return;
    auto error = std::make_exception_ptr(deadlock{vain({text, {}})});
    if (!from.refuse(error)) // somebody has begun it, and waits
      to.fail(error);
  } catch (const std::bad_alloc&) { // then its deadline ends the wait
  }
}

void pass_on_unseen(state_base& to) noexcept {
  to.passed_to.store(&to);
  pass_gate(); // what it was passed to may go
}

void pass_gate() noexcept {
  if (walkers.load() == 0)
    return;
  std::lock_guard guard{gate};
}

namespace {

// The next part of `s`, which stays; null when there is none any more.
struct part_of {
  state_ptr<state_base> it;
  bool is_last = true;

  part_of(const state_base& s, std::size_t& i) {
    walk guard;
    if (s.is_settled())
      return;
    auto* part = s.ops->next_part(&s, i);
    if (part == nullptr)
      return;
    part->retain();
    it = state_ptr<state_base>{part};
    auto after = i;
    is_last = s.ops->next_part(&s, after) == nullptr;
  }
};

} // namespace

void help_parts(state_base* s) noexcept {
  if (sched::worker::current() == nullptr)
    return;
  s->retain();
  state_ptr<state_base> at{s};
  for (std::size_t i = 0;;) {
    part_of part{*at, i};
    if (!part.it)
      return;
    auto* run_here = part.it->ops->run_here;
    if (run_here == nullptr || part.it->is_settled())
      continue;
    if (run_here == &help_parts && part.is_last) {
      at = std::move(part.it); // a long chain of `then` is no recursion
      i = 0;
    } else {
      run_here(part.it.get());
    }
  }
}

wait_cycle wait_edge::link(state_base& s) {
  auto* self = current.self;
  if (self == nullptr)
    return {};
  record_.self = self;
  record_.op = current.op;
  record_.deadline = current.deadline;
  record_.waiting.store(&s);
  self->add_record(record_);
  linked_ = true;
  auto cycle = find_cycle(*self, s);
  if (!cycle.text.empty()) {
    self->remove_record(record_);
    linked_ = false;
  }
  return cycle;
}

wait_edge::wait_edge(state_base& s) {
  if (auto cycle = link(s); !cycle.text.empty())
    break_cycle(s, cycle);
}

wait_edge::wait_edge(state_base& s, bool& gave_up) {
  auto cycle = link(s);
  gave_up = !cycle.text.empty();
  if (gave_up && !give_up(cycle))
    throw deadlock{vain(cycle)};
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
