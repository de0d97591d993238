// SPDX-License-Identifier: MIT
// supervisor_actor: does what supervision decides, one thing at a time.
//
// Protocol: 1. a child's end comes as on_down. The end of one that is being
//              stopped is a step of the job; any other end is decided upon,
//              after the jobs that are on.
//           2. a decision becomes a job: stop some (each: stop, its deadline,
//              kill, the deadline again, then it is left behind), wait, start
//              some. A start that throws is an end like any other.
//           3. one_for_one restarts don't hold each other up: they are no jobs,
//              the child itself waits for its time.
//           4. the last job stops all; then the supervisor goes or fails.
#include "troupe/supervisor.hpp"

#include <algorithm>

namespace troupe::detail {

namespace {

std::string text_of(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const std::exception& x) {
    return x.what();
  } catch (...) {
    return "an exception of another kind";
  }
}

exit_kind kind_of(const stop_reason& r) {
  switch (r.kind) {
    case stop_reason::failed:
      return exit_kind::failed;
    case stop_reason::killed:
      return exit_kind::killed;
    default:
      return exit_kind::normal;
  }
}

} // namespace

supervisor_actor::supervisor_actor(supervisor_spec spec)
  : spec_(std::move(spec)),
    logic_(spec_.strategy, spec_.intensity, spec_.period, spec_.backoff),
    seed_(reinterpret_cast<std::uintptr_t>(this)
          ^ static_cast<std::uint64_t>(
            std::chrono::steady_clock::now().time_since_epoch().count())) {
  for (auto& c : std::exchange(spec_.children, {}))
    add(std::move(c));
}

// -- starting and stopping as a whole -----------------------------------------

future<void> supervisor_actor::start() {
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  auto result = answer->get_future();
  me_ = self();
  try {
    for (std::size_t i = 0; i < children_.size(); ++i)
      launch(children_[i]);
    answer->try_set_value();
  } catch (...) {
    auto error = std::current_exception();
    is_ending_ = true;
    begin({.stop = running_in_reverse(), .then = [this, answer, error] {
             answer->try_set_exception(error);
             me_ = {};
             stop();
           }});
  }
  return result;
}

void supervisor_actor::start_as_child() {
  try {
    for (std::size_t i = 0; i < children_.size(); ++i)
      launch(children_[i]);
  } catch (...) {
    is_ending_ = true;
    begin(
      {.stop = running_in_reverse(),
       .then = [e = std::current_exception()] { std::rethrow_exception(e); }});
  }
}

future<void> supervisor_actor::stop_all() {
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  is_ending_ = true;
  begin({.stop = {}, .then = [this, answer] {
           begin({.stop = running_in_reverse(), .then = [this, answer] {
                    for (auto& c : children_)
                      set_down(*c, true);
                    answer->try_set_value();
                    me_ = {};
                    stop();
                  }});
         }});
  return answer->get_future();
}

// -- one child ----------------------------------------------------------------

supervisor_actor::child_ptr supervisor_actor::add(child_spec spec) {
  auto c = std::make_shared<child_record>();
  c->slot = spec.make_slot();
  c->slot->name = spec.name;
  c->slot->calls_wait = spec.calls == calls_during_restart::queued;
  c->spec = std::move(spec);
  children_.push_back(c);
  return c;
}

supervisor_actor::child_ptr supervisor_actor::named(const std::string& name,
                                                    const char* what) {
  for (auto& c : children_)
    if (c->spec.name == name)
      return c;
  throw bad_argument{std::string{"supervisor::"} + what + ": no child \"" + name
                     + "\""};
}

supervisor_actor::child_ptr supervisor_actor::of_id(std::uint64_t id) {
  for (auto& c : children_)
    if (c->id == id && c->id != 0)
      return c;
  return nullptr;
}

void supervisor_actor::forget(const child_ptr& c) {
  set_down(*c, true);
  std::erase(children_, c);
}

void supervisor_actor::set_down(child_record& c, bool is_gone) {
  c.slot->set(is_gone ? slot_base::phase::gone : slot_base::phase::down);
  if (is_gone)
    for (auto& f : std::exchange(c.slot->parked, {}))
      f(false);
}

void supervisor_actor::launch(const child_ptr& c) {
  try {
    c->spec.start(system(), *this, *c->slot);
  } catch (const closed&) {
    throw; // the system stops
  } catch (...) {
    c->at = child_phase::down;
    throw;
  }
  c->id = c->slot->id();
  c->at = child_phase::running;
  c->is_killed = false;
  ++c->slot->starts;
  c->slot->publish();
  for (auto& f : std::exchange(c->slot->parked, {}))
    f(true);
}

bool supervisor_actor::try_launch(const child_ptr& c) {
  try {
    launch(c);
    return true;
  } catch (...) {
    if (!system().is_stopping())
      decide({c, 0, exit_kind::failed,
              "its start threw: " + text_of(std::current_exception())});
    return false;
  }
}

void supervisor_actor::begin_stop(const child_ptr& c) {
  c->at = child_phase::stopping;
  set_down(*c, false);
  c->slot->stop();
  hurry(c, c->id);
}

// After its deadline it is killed, after another one it is left behind.
void supervisor_actor::hurry(const child_ptr& c, std::uint64_t id) {
  after(c->spec.stop_deadline, [this, c, id] {
    if (c->id != id || c->at != child_phase::stopping)
      return;
    if (!std::exchange(c->is_killed, true)) {
      c->slot->kill();
      hurry(c, id);
      return;
    }
    c->at = child_phase::down;
    c->id = 0;
    advance();
  });
}

void supervisor_actor::when_up(slot_base& s, std::function<void(bool)> f) {
  auto is_down_for_good = s.at() == slot_base::phase::gone || is_ending_;
  if (is_down_for_good)
    f(false);
  else if (s.at() == slot_base::phase::up && of_id(s.id()) != nullptr
           && of_id(s.id())->at == child_phase::running)
    f(true);
  else
    s.parked.push_back(std::move(f));
}

// -- ends ---------------------------------------------------------------------

void supervisor_actor::on_down(const down& d) {
  auto c = of_id(d.id);
  if (c == nullptr || system().is_stopping())
    return;
  auto was = std::exchange(c->at, child_phase::down);
  set_down(*c, false);
  if (was == child_phase::stopping) {
    advance();
    return;
  }
  decide({c, d.id, kind_of(d.reason), to_string(d.reason)});
}

// However it ends, no child goes on without it.
void supervisor_actor::on_stop(const stop_reason&) {
  for (auto& c : children_) {
    if (c->at == child_phase::running || c->at == child_phase::stopping)
      c->slot->kill();
    set_down(*c, true);
  }
}

void supervisor_actor::decide(ended e) {
  auto at = std::ranges::find(children_, e.child);
  if (is_ending_ || at == children_.end())
    return;
  if (!jobs_.empty()) {
    ended_.push_back(std::move(e));
    return;
  }
  // Started again meanwhile, or about to be.
  if (e.child->at != child_phase::down || (e.id != 0 && e.child->id != e.id))
    return;
  std::vector<supervision::child_state> states;
  for (auto& c : children_)
    states.push_back({c->spec.kind, c->at == child_phase::running});
  auto d = logic_.on_exit(static_cast<std::size_t>(at - children_.begin()),
                          e.how, std::chrono::steady_clock::now(), random(),
                          states);
  switch (d.action) {
    case supervision::decision::nothing:
      set_down(*e.child, true);
      return;
    case supervision::decision::forget:
      forget(e.child);
      return;
    case supervision::decision::give_up:
      give_up(e, std::move(d));
      return;
    case supervision::decision::restart:
      break;
  }
  ++restarts_;
  if (spec_.strategy == strategy_kind::one_for_one) {
    if (d.delay.count() <= 0) {
      try_launch(e.child);
      return;
    }
    e.child->at = child_phase::waiting;
    after(d.delay, [this, c = e.child] {
      if (c->at == child_phase::waiting && !is_ending_)
        try_launch(c);
    });
    return;
  }
  job j{.delay = d.delay};
  for (auto i : d.stop)
    j.stop.push_back(children_[i]);
  for (auto i : d.start)
    j.start.push_back(children_[i]);
  begin(std::move(j));
}

void supervisor_actor::give_up(const ended& e, supervision::decision d) {
  is_ending_ = true;
  auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(spec_.period);
  auto text = "the supervisor gives up: more than "
              + std::to_string(spec_.intensity) + " restarts in "
              + std::to_string(ms.count()) + " ms; the last to end was \""
              + e.child->spec.name + "\": " + e.text;
  job j;
  for (auto i : d.stop)
    j.stop.push_back(children_[i]);
  j.then = [this, text] {
    for (auto& c : children_)
      set_down(*c, true);
    me_ = {};
    throw error{text};
  };
  begin(std::move(j));
}

// -- jobs ---------------------------------------------------------------------

void supervisor_actor::begin(job j) {
  jobs_.push_back(std::move(j));
  advance();
}

void supervisor_actor::advance() {
  if (is_advancing_ || is_paused_)
    return;
  struct guard {
    bool& flag;
    explicit guard(bool& f) : flag(f) { flag = true; }
    ~guard() { flag = false; }
  } scope{is_advancing_};
  while (!jobs_.empty()) {
    auto& j = jobs_.front();
    if (!j.stop.empty()) {
      auto c = j.stop.front();
      if (c->at == child_phase::running)
        begin_stop(c);
      if (c->at == child_phase::stopping)
        return; // its end, or its deadline, comes here again
      j.stop.pop_front();
      if (c->spec.kind == restart_kind::temporary && !j.start.empty())
        forget(c);
    } else if (auto d = std::exchange(j.delay, {}); d.count() > 0) {
      is_paused_ = true;
      after(d, [this] {
        is_paused_ = false;
        advance();
      });
      return;
    } else if (!j.start.empty() && !is_ending_) {
      auto c = j.start.front();
      j.start.pop_front();
      if (c->at == child_phase::running || try_launch(c))
        continue;
      j.start.clear(); // what comes next is decided anew
    } else {
      auto then = std::move(j.then);
      jobs_.pop_front();
      if (then)
        then(); // may throw: that is how it fails
      while (jobs_.empty() && !ended_.empty()) {
        auto e = std::move(ended_.front());
        ended_.pop_front();
        decide(std::move(e));
      }
    }
  }
}

std::deque<supervisor_actor::child_ptr>
supervisor_actor::running_in_reverse() const {
  std::deque<child_ptr> result;
  for (auto& c : children_)
    if (c->at == child_phase::running || c->at == child_phase::stopping)
      result.push_front(c);
  return result;
}

double supervisor_actor::random() {
  seed_ = seed_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<double>(seed_ >> 11) * 0x1p-53;
}

// -- children by name ---------------------------------------------------------

std::shared_ptr<slot_base> supervisor_actor::find(const std::string& name) {
  return named(name, "child")->slot;
}

future<void> supervisor_actor::start_child(child_spec spec) {
  if (is_ending_)
    throw closed{"supervisor::start_child: it is stopping"};
  supervisor_spec all = spec_;
  for (auto& c : children_)
    all.children.push_back(c->spec);
  all.children.push_back(spec);
  if (auto fault = first_fault(all); !fault.empty())
    throw bad_argument{"supervisor::start_child: " + fault};
  auto c = add(std::move(spec));
  try {
    launch(c);
  } catch (...) {
    forget(c);
    throw;
  }
  return answer_now<void>();
}

future<void> supervisor_actor::stop_child(std::string name) {
  auto c = named(name, "stop_child");
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  if (c->at == child_phase::waiting)
    c->at = child_phase::down;
  begin({.stop = {c}, .then = [this, c, answer] {
           set_down(*c, true);
           answer->try_set_value();
         }});
  return answer->get_future();
}

future<void> supervisor_actor::restart_child(std::string name) {
  auto c = named(name, "restart_child");
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  if (c->at == child_phase::waiting)
    c->at = child_phase::down;
  set_down(*c, false);
  begin({.stop = {c}, .then = [this, c, answer] {
           try {
             launch(c);
             answer->try_set_value();
           } catch (...) {
             answer->try_set_exception(std::current_exception());
           }
         }});
  return answer->get_future();
}

future<void> supervisor_actor::remove_child(std::string name) {
  auto c = named(name, "remove_child");
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  begin({.stop = {c}, .then = [this, c, answer] {
           forget(c);
           answer->try_set_value();
         }});
  return answer->get_future();
}

supervisor_state supervisor_actor::state() {
  supervisor_state result{
    spec_.strategy,
    spec_.intensity,
    logic_.restarts_in_period(std::chrono::steady_clock::now()),
    spec_.period,
    restarts_,
    {}};
  for (auto& c : children_) {
    auto is_running = c->at == child_phase::running;
    result.children.push_back(
      {c->spec.name, c->spec.kind, is_running,
       is_running ? c->slot->describe() : std::string{}, c->slot->starts,
       dynamic_cast<slot<supervisor_actor>*>(c->slot.get()) != nullptr});
  }
  return result;
}

} // namespace troupe::detail
