// SPDX-License-Identifier: MIT
// wait_group: several states, one waiting thread. And continuations.
#include <deque>
#include <unordered_set>

#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "core/wait_graph.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"
#include "troupe/wait.hpp"

namespace troupe::detail {

// References: one of the owner, one per state that may still notify.
class wait_group : public pooled {
public:
  struct member final : waiter {
    wait_group* group = nullptr;
    state_base* state = nullptr; // counted while linked
    std::size_t index = 0;
    bool linked = false;  // the owner's view
    bool yielded = false; // likewise
    member() : waiter(&settled) {}
  };

  explicit wait_group(std::size_t n) : members_(new member[n]), size_(n) {}

  static void settled(waiter* w, state_base&) noexcept {
    auto* m = static_cast<member*>(w);
    auto* g = m->group;
    {
      std::lock_guard guard{g->mutex_};
      g->done_.push_back(m->index);
    }
    g->signal_.fetch_add(1, std::memory_order_release);
    sched::futex_wake(g->signal_);
    g->unref();
  }

  void watch(std::size_t index, state_base& s) {
    auto& m = members_[index];
    m.group = this;
    m.index = index;
    m.state = &s;
    s.retain();
    m.linked = true;
    nested_ = nested_ || s.ops->next_part != nullptr;
    refs_.fetch_add(1, std::memory_order_relaxed);
    if (!s.add_waiter(m)) {
      {
        std::lock_guard guard{mutex_};
        done_.push_back(index);
      }
      unref();
    }
  }

  std::optional<std::size_t> next(std::int64_t until) {
    for (;;) {
      auto seen = signal_.load(std::memory_order_acquire);
      if (auto i = pop())
        return i;
      auto now = sched::now_ns();
      auto due = expire(now);
      if (auto i = pop())
        return i;
      if (until <= now)
        return std::nullopt;
      if (help())
        continue;
      auto gave_up = false;
      wait_edge edge{waits_, gave_up};
      if (gave_up)
        continue;
      auto wake = std::min(until, due);
      sched::blocking_section section{nested_};
      sched::futex_wait(signal_, seen,
                        wake == sched::never_ns ? -1 : wake - now);
    }
  }

  void abandon() {
    for (std::size_t i = 0; i < size_; ++i) {
      auto& m = members_[i];
      if (!m.linked)
        continue;
      if (m.state->remove_waiter(m))
        unref();
      m.state->release();
      m.linked = false;
    }
    unref();
  }

private:
  std::optional<std::size_t> pop() {
    std::lock_guard guard{mutex_};
    if (done_.empty())
      return std::nullopt;
    auto i = done_.front();
    done_.pop_front();
    members_[i].yielded = true;
    return i;
  }

  // What the owner waits for, as deadlock walkers see it: any that is left.
  struct waits final : state_base {
    wait_group* group;
    explicit waits(wait_group* g) : state_base(&table), group(g) {
      what = "several futures";
    }
    static state_base* next_part(const state_base* s, std::size_t& i) noexcept {
      auto* g = static_cast<const waits*>(s)->group;
      while (i < g->size_) {
        auto& m = g->members_[i++];
        if (m.linked && !m.yielded)
          return m.state;
      }
      return nullptr;
    }
    static constexpr state_ops table{
      .destroy = nullptr, .next_part = &next_part, .one_part_is_enough = true};
  };

  // A task of a pool runs what it waits for and nobody has begun.
  bool help() {
    while (helped_ < size_) {
      auto& m = members_[helped_++];
      if (!m.linked || m.state->is_settled())
        continue;
      if (m.state->ops->run_here != nullptr) {
        m.state->ops->run_here(m.state);
        if (m.state->is_settled())
          return true;
      }
    }
    return false;
  }

  // Expires what is due; the earliest of what is not.
  std::int64_t expire(std::int64_t now) {
    if (now < next_due_)
      return next_due_; // due times don't change: no need to look at them all
    auto next = sched::never_ns;
    for (std::size_t i = 0; i < size_; ++i) {
      auto& m = members_[i];
      if (!m.linked || m.state->is_settled() || m.state->expire(now))
        continue;
      next = std::min(next, m.state->due);
    }
    next_due_ = next;
    return next;
  }

  void unref() {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }

  waits waits_{this};
  std::unique_ptr<member[]> members_;
  const std::size_t size_;
  std::mutex mutex_;
  std::deque<std::size_t> done_; // under mutex_
  std::int64_t next_due_ = 0;    // the owner's: nothing is due before
  bool nested_ = false;          // the owner's: some members wait for others
  std::size_t helped_ = 0; // the owner's: members before it were offered help
  std::atomic<std::uint32_t> signal_{0};
  std::atomic<std::uint32_t> refs_{1};
};

wait_group* make_wait_group(std::size_t n) {
  return new wait_group{n};
}

void release_wait_group(wait_group* g) noexcept {
  g->abandon();
}

void watch(wait_group* g, std::size_t index, state_base& s) {
  g->watch(index, s);
}

std::optional<std::size_t> next_settled(wait_group* g, std::int64_t until) {
  return g->next(until);
}

void throw_unfinished(std::size_t left, std::size_t of) {
  throw timeout{std::to_string(left) + " (of " + std::to_string(of)
                + ") futures unfinished"};
}

std::vector<bool> first_of_each(const std::vector<const void*>& keys) {
  std::unordered_set<const void*> seen;
  std::vector<bool> result;
  for (auto* k : keys)
    result.push_back(seen.insert(k).second);
  return result;
}

// -- continuations ------------------------------------------------------------

constinit thread_local sched::scheduler* upkeep_for = nullptr;

namespace {

// The system's workers, if the calling thread does something for the system.
sched::scheduler* scheduler_of_this_thread() {
  if (auto* w = sched::worker::current())
    return &w->parent();
  if (upkeep_for != nullptr)
    return upkeep_for;
  return current.home == nullptr ? nullptr : &current.home->scheduler();
}

void give_up(continuation* c) noexcept {
  c->target->fail(std::make_exception_ptr(
    closed{"then: the system has stopped before it could go on"}));
  c->run(c, false);
}

void run_continuation(envelope* e, cell& self, void*) {
  auto* c = static_cast<continuation*>(e);
  auto* home = c->home;
  c->run(c, c->incarnation == self.incarnation());
  release(home);
}

void drop_continuation(envelope* e, drop_reason) noexcept {
  auto* c = static_cast<continuation*>(e);
  auto* home = c->home;
  c->run(c, false);
  release(home);
}

constexpr message_ops continuation_ops{&run_continuation, &drop_continuation,
                                       "then", message_kind::system};

// A continuation outside of actors, as a job of the workers.
class continuation_job final : public caf::resumable, public pooled {
public:
  explicit continuation_job(continuation* c) : next_(c) {}
  resume_result resume(caf::execution_unit* host, std::size_t) override {
    context_scope scope{
      nullptr, &static_cast<const caf_config&>(host->system().config()).rt};
    auto* c = std::exchange(next_, nullptr);
    c->run(c, true);
    return done;
  }
  subtype_t subtype() const override { return function_object; }
  void intrusive_ptr_add_ref_impl() override {}
  void intrusive_ptr_release_impl() override {
    if (next_ != nullptr) // the workers have left before its turn came
      give_up(next_);
    delete this;
  }

private:
  continuation* next_;
};

void go_on(relay* r) noexcept {
  auto* c = static_cast<continuation*>(r);
  if (c->home != nullptr)
    drop_continuation(c, drop_reason::stopped);
  else if (c->is_lost)
    give_up(c);
  else
    c->run(c, true);
}

void notify_continuation(waiter* w, state_base&) noexcept {
  auto* c = static_cast<continuation*>(w);
  if (c->home != nullptr) {
    if (!c->home->push_system(c))
      c->in_turn();
    return;
  }
  auto* workers = scheduler_of_this_thread();
  if (workers != nullptr && !workers->is_stopping()) {
    workers->enqueue(new continuation_job{c});
    return;
  }
  c->is_lost = sched::worker::current() != nullptr;
  c->in_turn();
}

// Lets a deadline pass for a state at which only continuations look. It goes
// when that settles, or another that alone wants to know.
// References: one of the state, while it may still notify; one of the timers,
// while it may still fire, which whoever makes it holds until then.
struct expiry final : waiter, sched::timer_node, pooled {
  state_ptr<state_base> of, until;
  home_block& home; // the state may settle long after the system is gone
  bool linked = false, is_settled = false; // under home.timers_mutex
  std::atomic<int> refs{2};

  expiry(state_base& s, state_base& last, home_block& h)
    : waiter(&settled),
      home(h) {
    s.retain();
    of = state_ptr<state_base>{&s};
    last.retain();
    until = state_ptr<state_base>{&last};
    fire = &passed;
  }
  void release(int n) {
    if (refs.fetch_sub(n, std::memory_order_acq_rel) == n)
      delete this;
  }
  static void settled(waiter* w, state_base&) noexcept {
    auto* self = static_cast<expiry*>(w);
    auto n = 1;
    {
      std::lock_guard guard{self->home.timers_mutex};
      self->is_settled = true;
      auto* timers = self->home.timers;
      if (self->linked && (timers == nullptr || timers->remove(*self)))
        n = 2; // it will not fire
    }
    self->release(n);
  }
  static void passed(sched::timer_node* n) noexcept {
    auto* self = static_cast<expiry*>(n);
    if (self->until->remove_waiter(*self))
      expired.push_back(self);
    else
      finished.push_back(self);
  }
  static inline thread_local std::vector<expiry*> expired, finished;
};

} // namespace

void flush_expiries() {
  for (auto* e : std::exchange(expiry::expired, {})) {
    {
      // Timers end before the runtime does.
      const upkeep_scope upkeep{e->home.rt->scheduler()};
      e->of->expire(INT64_MAX);
    }
    e->release(2);
  }
  for (auto* e : std::exchange(expiry::finished, {}))
    e->release(1);
}

continuation::continuation(void (*f)(continuation*, bool) noexcept)
  : relay(&go_on, &notify_continuation),
    envelope(&continuation_ops),
    run(f) {}

void continue_with(state_base& from, continuation* next) {
  from.retain();
  next->from = state_ptr<state_base>{&from};
  // An actor that ends without last words is none any more.
  auto* self = current.self;
  next->home = self != nullptr && lock_ending(self) ? self : nullptr;
  expire_in_time(from, from);
  if (next->home != nullptr) {
    next->incarnation = next->home->incarnation();
    // `f` runs there: whoever waits for its result waits for that actor.
    retain_weak(next->home);
    next->target->callee = next->home;
    next->target->what = "then";
  }
  if (from.add_waiter(*next))
    return;
  if (next->home != nullptr)
    release(std::exchange(next->home, nullptr));
  next->run(next, true);
}

void expire_in_time(state_base& part, state_base& until) {
  if (part.due == INT64_MAX || part.is_settled())
    return;
  home_block* known = nullptr;
  if (auto* rt = runtime::of_this_thread(); rt != nullptr)
    known = &rt->home();
  else if (part.callee != nullptr)
    known = &cell::home_of(part.callee);
  else
    return; // whoever waits looks at the time
  auto& home = *known;
  auto* e = new expiry{part, until, home};
  if (!until.add_waiter(*e)) {
    e->release(2);
    return;
  }
  {
    std::lock_guard guard{home.timers_mutex};
    if (!e->is_settled) {
      e->linked = true;
      if (home.timers != nullptr)
        home.timers->add(*e, part.due);
      return;
    }
  }
  e->release(1);
}

} // namespace troupe::detail
