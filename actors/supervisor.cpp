// SPDX-License-Identifier: MIT
// supervisor: specs checked, trees printed, handles.
#include "troupe/supervisor.hpp"

#include <algorithm>
#include <set>

namespace troupe {

namespace {

std::string quoted(const std::string& name) {
  return "\"" + name + "\"";
}

// A cycle of needs that goes through `from`, as "a needs b needs a".
std::string cycle_from(const supervisor_spec& spec, const child_spec& from) {
  std::vector<const child_spec*> path;
  std::set<std::string> seen;
  std::function<bool(const child_spec&)> visit = [&](const child_spec& c) {
    path.push_back(&c);
    for (auto& need : c.needs) {
      if (need == from.name)
        return true;
      auto next = std::ranges::find(spec.children, need, &child_spec::name);
      if (next != spec.children.end() && seen.insert(need).second
          && visit(*next))
        return true;
    }
    path.pop_back();
    return false;
  };
  if (!visit(from))
    return {};
  std::string text;
  for (auto* c : path)
    text += c->name + " needs ";
  return text + from.name;
}

std::string fault_of(const supervisor_spec& spec, const child_spec& c,
                     const std::set<std::string>& before) {
  if (c.name.empty())
    return "child " + std::to_string(before.size()) + " has no name";
  auto who = "child " + quoted(c.name);
  if (before.contains(c.name))
    return who + " is there twice";
  if (!c.make_slot)
    return who + " has no start: specs are made by child<T>(...)";
  if (c.stop_deadline.count() < 0)
    return who + ": stop_deadline is below 0";
  for (auto& need : c.needs) {
    if (before.contains(need))
      continue;
    if (auto cycle = cycle_from(spec, c); !cycle.empty())
      return who + ": a cycle: " + cycle;
    auto is_there = std::ranges::find(spec.children, need, &child_spec::name)
                    != spec.children.end();
    return who + " needs " + quoted(need)
           + (is_there ? ", which stands after it" : ", which is not there");
  }
  return {};
}

// A supervisor as a child. Its own children outlive its incarnations.
class tree final : public detail::typed_slot<detail::supervisor_actor> {
public:
  explicit tree(supervisor_spec spec) : spec_(std::move(spec)) {}

  void start(system& sys, calls_during_restart calls) override {
    child_ = sys.spawn<detail::supervisor_actor>(restartable{calls}, spec_,
                                                 kept_);
  }
  future<void> restart() override {
    // Set by the new object, or broken with it: an ask would wait for the one
    // after it.
    auto up = std::make_shared<promise<void>>();
    return troupe::restart(child_, spec_, kept_, up)
      .then([is_up = up->get_future()](const future<void>& made) {
        made.get();
        return is_up;
      });
  }
  // Its children first.
  void stop() const override {
    child_.tell(
      [](detail::supervisor_actor& a) { static_cast<void>(a.stop_all()); });
  }
  void park() const override {
    typed_slot::park();
    each_kept([](const detail::child_slot& s) { s.park(); });
  }
  void retire() const override {
    typed_slot::retire();
    each_kept([](const detail::child_slot& s) { s.retire(); });
  }

private:
  template <class F>
  void each_kept(F f) const {
    std::lock_guard guard{kept_->mutex};
    for (auto& [name, s] : kept_->of_name)
      f(*s);
  }

  const supervisor_spec spec_;
  const std::shared_ptr<detail::kept_children> kept_ =
    std::make_shared<detail::kept_children>();
};

// What stop returns: the result of the ask, but one that has ended has done
// what it was asked for.
struct stop_state final : detail::state<void>, detail::waiter, detail::pooled {
  const detail::state_ptr<detail::state<void>> from;

  explicit stop_state(const future<void>& asked)
    : state(&table),
      waiter(&pass),
      from(asked.shared_state()) {
    due = from->due;
    what = from->what;
    claim(); // so that a cancel comes to request_stop
  }

  static void pass(detail::waiter* w, detail::state_base& s) noexcept {
    const detail::state_ptr<stop_state> self{static_cast<stop_state*>(w)};
    detail::pass_on_unseen(*self);
    s.observed.store(true, std::memory_order_relaxed);
    switch (s.at.load(std::memory_order_acquire)) {
      case detail::phase::value:
        self->set();
        break;
      case detail::phase::cancelled:
        if (self->begin_settle())
          self->finish(detail::phase::cancelled);
        break;
      default:
        if (has_stopped(s.failure))
          self->set();
        else
          self->fail(s.failure);
    }
  }

  static bool has_stopped(const std::exception_ptr& e) noexcept {
    try {
      std::rethrow_exception(e);
    } catch (const actor_stopped&) {
      return true;
    } catch (...) {
      return false;
    }
  }

  static void destroy_it(detail::state_base* s) noexcept {
    delete static_cast<stop_state*>(s);
  }
  static void cancel_it(detail::state_base* s) noexcept {
    static_cast<stop_state*>(s)->from->cancel();
  }
  static constexpr detail::state_ops table{.destroy = &destroy_it,
                                           .request_stop = &cancel_it};
};

const char* name_of(strategy_kind s) {
  switch (s) {
    case strategy_kind::one_for_one:
      return "one_for_one";
    case strategy_kind::one_for_all:
      return "one_for_all";
    default:
      return "rest_for_one";
  }
}

const char* name_of(restart_kind k) {
  switch (k) {
    case restart_kind::permanent:
      return "permanent";
    case restart_kind::transient:
      return "transient";
    default:
      return "temporary";
  }
}

} // namespace

std::string first_fault(const supervisor_spec& spec) {
  auto& b = spec.backoff;
  if (spec.period.count() <= 0)
    return "period must be above 0";
  if (spec.intensity > 1'000'000)
    return "intensity is " + std::to_string(spec.intensity)
           + "; the most is 1000000";
  if (b.first.count() < 0 || b.max < b.first)
    return "backoff: 0 <= first <= max does not hold";
  if (!(b.factor >= 1) || !(b.jitter >= 0 && b.jitter <= 1))
    return "backoff: factor must be 1 or more, jitter in 0..1";
  std::set<std::string> before;
  for (auto& c : spec.children) {
    if (auto fault = fault_of(spec, c, before); !fault.empty())
      return fault;
    before.insert(c.name);
  }
  return {};
}

child_spec child_supervisor(std::string name, restart_kind kind,
                            supervisor_spec spec) {
  if (auto fault = first_fault(spec); !fault.empty())
    throw bad_argument{"supervisor " + quoted(name) + ": " + fault};
  child_spec result;
  result.name = std::move(name);
  result.kind = kind;
  result.make_slot = [spec = std::move(spec)] {
    return std::make_shared<tree>(spec);
  };
  return result;
}

supervisor system::supervise(supervisor_spec spec) {
  if (auto fault = first_fault(spec); !fault.empty())
    throw bad_argument{"supervise: " + fault};
  auto a = spawn<detail::supervisor_actor>(std::move(spec));
  a.within(no_deadline).ask<&detail::supervisor_actor::start>().get();
  return supervisor{std::move(a)};
}

using detail::supervisor_actor;

std::shared_ptr<detail::child_slot>
supervisor::find(const std::string& name) const {
  return ask<&supervisor_actor::find>(name).get();
}

supervisor supervisor::child_tree(const std::string& name) const {
  return supervisor{child<supervisor_actor>(name)};
}

future<void> supervisor::start_child(child_spec spec) const {
  return ask<&supervisor_actor::start_child>(std::move(spec));
}

future<void> supervisor::stop_child(std::string name) const {
  return ask<&supervisor_actor::stop_child>(std::move(name));
}

future<void> supervisor::restart_child(std::string name) const {
  return ask<&supervisor_actor::restart_child>(std::move(name));
}

future<void> supervisor::remove_child(std::string name) const {
  return ask<&supervisor_actor::remove_child>(std::move(name));
}

future<supervisor_state> supervisor::state() const {
  return ask<&supervisor_actor::state>();
}

future<void> supervisor::stop() const {
  auto asked = ask<&supervisor_actor::stop_all>();
  auto* s = new stop_state{asked};
  future<void> result{detail::state_ptr<detail::state<void>>{s}};
  s->retain(); // for the link
  detail::pass_on(*s, *s->from);
  if (!s->from->add_waiter(*s))
    stop_state::pass(s, *s->from);
  return result;
}

std::string supervisor::tree() const {
  return tree("");
}

std::string supervisor::tree(const std::string& indent) const {
  auto s = state().get();
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(s.period);
  auto text = std::string{name_of(s.strategy)} + ", "
              + std::to_string(s.restarts_in_period) + " of "
              + std::to_string(s.intensity) + " restarts in "
              + std::to_string(ms.count()) + " ms\n";
  std::size_t width = 0;
  for (auto& c : s.children)
    width = std::max(width, c.name.size());
  for (auto& c : s.children) {
    text += indent + "|- " + c.name + std::string(width - c.name.size(), ' ')
            + "  " + name_of(c.kind) + "  ";
    if (c.is_supervisor && c.is_running) {
      text += child_tree(c.name).tree(indent + "|  ");
      continue;
    }
    text += c.is_running ? "running  " + c.actor : std::string{"down"};
    text += "  " + std::to_string(c.starts)
            + (c.starts == 1 ? " start\n" : " starts\n");
  }
  return text;
}

} // namespace troupe
