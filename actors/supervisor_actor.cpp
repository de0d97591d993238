// SPDX-License-Identifier: MIT
// supervisor_actor: does what supervision decides, one thing at a time.
//
// Protocol: 1. a child's end comes as on_down. The end of one that is being
//              stopped is a step of the job; any other end is decided upon,
//              after the jobs that are on.
//           2. a decision becomes a job: stop some (each: stop, its deadline,
//              kill, the deadline again, then it is left behind), wait, start
//              some. A start that throws is an end like any other; so is one of
//              a child that was left behind and still runs.
//           3. one_for_one restarts don't hold each other up: they are no jobs,
//              the child itself waits for its time.
//           4. the last job stops all; then the supervisor goes or fails.
// Starts:   the first one spawns the child's actor, in the turn of the
//           supervisor; further ones make a new object in that actor, in its
//           own turn (troupe/restart.hpp): the answer comes as a continuation.
//           A child is monitored from then on; one that has ended meanwhile
//           says so at once.
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

supervisor_actor::supervisor_actor(supervisor_spec spec,
                                   std::shared_ptr<kept_children> kept,
                                   std::shared_ptr<promise<void>> up)
  : spec_(std::move(spec)),
    kept_(std::move(kept)),
    up_(std::move(up)),
    logic_(spec_.strategy, spec_.intensity, spec_.period, spec_.backoff),
    seed_(reinterpret_cast<std::uintptr_t>(this)
          ^ static_cast<std::uint64_t>(
            std::chrono::steady_clock::now().time_since_epoch().count())) {
  for (auto& c : std::exchange(spec_.children, {}))
    add(std::move(c));
  if (kept_)
    adopt_children();
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
    begin({.stop = up_in_reverse(), .then = [this, answer, error] {
             end_children();
             answer->try_set_exception(error);
             me_ = {};
             stop();
           }});
  }
  return result;
}

// Of one that is a child itself; children of a former life go first.
void supervisor_actor::on_start() {
  if (!kept_)
    return;
  job j;
  for (auto& c : children_) {
    if (c->slot->is_made()) {
      c->at = child_phase::running; // or down, then that is told at once
      c->slot->watch(*this);
      j.stop.push_front(c);
    }
    j.start.push_back(c);
  }
  j.then = [this] {
    if (up_)
      up_->try_set_value();
  };
  j.failed = [this](const std::exception_ptr& e) {
    if (up_)
      up_->try_set_exception(e);
    is_ending_ = true;
    begin({.stop = up_in_reverse(), .then = [this, e] { fail_with(e); }});
  };
  begin(std::move(j));
}

future<void> supervisor_actor::stop_all() {
  auto result = stoppers_.park();
  is_ending_ = true;
  if (std::exchange(is_stopping_all_, true))
    return result; // it ends with the first one
  begin({.then = [this] {
    begin({.stop = up_in_reverse(), .then = [this] {
             end_children();
             stoppers_.serve_all();
             me_ = {};
             stop();
           }});
  }});
  return result;
}

// However it ends, no child goes on without it.
void supervisor_actor::on_stop(const stop_reason&) {
  stoppers_.serve_all();
  end_children();
  for (auto& c : up_in_reverse())
    c->slot->kill();
}

// Those of a supervisor that is a child are ended by the one above, if it does
// not come back.
void supervisor_actor::end_children() {
  if (kept_)
    return;
  for (auto& c : children_)
    if (c->slot->is_made())
      c->slot->retire();
}

// Outside of a message of its own, a throw would be no failure.
void supervisor_actor::fail_with(const std::exception_ptr& e) {
  ref<supervisor_actor> me = self();
  me.tell<&supervisor_actor::gives_up>(me, e);
}

// The message keeps it until then.
void supervisor_actor::gives_up(const ref<supervisor_actor>&,
                                const std::exception_ptr& why) {
  std::rethrow_exception(why);
}

// -- the list -----------------------------------------------------------------

supervisor_actor::child_ptr supervisor_actor::add(child_spec spec) {
  auto c = std::make_shared<child_record>();
  c->slot = spec.make_slot();
  c->spec = std::move(spec);
  children_.push_back(c);
  return c;
}

void supervisor_actor::adopt_children() {
  std::lock_guard guard{kept_->mutex};
  std::erase_if(kept_->of_name, [this](auto& entry) {
    auto& [name, slot] = entry;
    for (auto& c : children_)
      if (c->spec.name == name) {
        c->slot = slot;
        return false;
      }
    slot->retire(); // it was added while the other life lasted
    slot->kill();
    return true;
  });
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
    if (c->slot->is_made() && c->slot->id() == id)
      return c;
  return nullptr;
}

void supervisor_actor::forget(const child_ptr& c) {
  if (c->slot->is_made())
    c->slot->retire();
  if (kept_) {
    std::lock_guard guard{kept_->mutex};
    kept_->of_name.erase(c->spec.name);
  }
  std::erase(children_, c);
}

std::deque<supervisor_actor::child_ptr>
supervisor_actor::up_in_reverse() const {
  std::deque<child_ptr> result;
  for (auto& c : children_)
    if (is_up(*c) || c->at == child_phase::stopping)
      result.push_front(c);
  return result;
}

// -- starting one child -------------------------------------------------------

void supervisor_actor::launch(const child_ptr& c) {
  c->slot->start(system(), c->spec.calls);
  if (kept_) {
    std::lock_guard guard{kept_->mutex};
    kept_->of_name[c->spec.name] = c->slot;
  }
  c->at = child_phase::running;
  ++c->starts;
  c->slot->watch(*this);
}

void supervisor_actor::relaunch(const child_ptr& c, started_function then,
                                started_function answer) {
  if (c->is_stuck) {
    auto e = std::make_exception_ptr(
      error{c->slot->describe() + " was stopped and has not ended"});
    then(e);
    if (answer)
      answer(e);
    return;
  }
  c->at = child_phase::starting;
  static_cast<void>(
    c->slot->restart().then([this, c, then, answer](const future<void>& done) {
      on_started(c, done.exception(), then);
      if (answer)
        answer(done.exception());
    }));
}

void supervisor_actor::on_started(const child_ptr& c,
                                  const std::exception_ptr& error,
                                  const started_function& then) {
  auto was = c->at;
  c->is_starting = false;
  if (error) {
    c->at = child_phase::down;
  } else {
    ++c->starts;
    c->slot->watch(*this);
    if (was == child_phase::starting)
      c->at = child_phase::running;
    else
      c->slot->stop();
  }
  if (was == child_phase::starting) {
    then(error);
  } else if (c->is_stuck) {
    c->is_stuck = !error;
    if (error)
      c->slot->park(); // as in on_down
  } else if (error) {
    advance();
  }
}

void supervisor_actor::restart_alone(const child_ptr& c) {
  relaunch(c, [this, c](const std::exception_ptr& e) {
    if (e)
      failed_start(c, e);
  });
}

void supervisor_actor::failed_start(const child_ptr& c,
                                    const std::exception_ptr& e) {
  if (!system().is_stopping())
    decide({c, c->starts, exit_kind::failed, "its start threw: " + text_of(e)});
}

// -- stopping one child -------------------------------------------------------

void supervisor_actor::begin_stop(const child_ptr& c) {
  c->is_starting = c->at == child_phase::starting;
  c->is_killed = false;
  c->at = child_phase::stopping;
  if (!c->is_starting) // else once its constructor is done
    c->slot->stop();
  hurry(c, ++c->stops);
}

// After its deadline it is killed, after another one it is left behind.
void supervisor_actor::hurry(const child_ptr& c, std::uint64_t stop) {
  after(c->spec.stop_deadline, [this, c, stop] {
    if (c->stops != stop || c->at != child_phase::stopping)
      return;
    if (!std::exchange(c->is_killed, true)) {
      c->slot->kill();
      hurry(c, stop);
      return;
    }
    c->at = child_phase::down;
    c->is_stuck = true;
    advance();
  });
}

// -- ends ---------------------------------------------------------------------

void supervisor_actor::on_down(const down& d) {
  auto c = of_id(d.id);
  if (c == nullptr || system().is_stopping())
    return;
  if (c->is_stuck) {
    c->is_stuck = false;
    if (c->at == child_phase::down)
      c->slot->park(); // nobody is about to start it
    return;
  }
  auto was = c->at;
  if (was != child_phase::running && was != child_phase::stopping)
    return;
  c->at = child_phase::down;
  if (was == child_phase::stopping)
    advance();
  else
    decide({c, c->starts, kind_of(d.reason), to_string(d.reason)});
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
  if (e.child->at != child_phase::down || e.child->starts != e.starts)
    return;
  std::vector<supervision::child_state> states;
  for (auto& c : children_)
    states.push_back({c->spec.kind, is_up(*c)});
  auto d = logic_.on_exit(static_cast<std::size_t>(at - children_.begin()),
                          e.how, std::chrono::steady_clock::now(), random(),
                          states);
  switch (d.action) {
    case supervision::decision::nothing:
      e.child->slot->park();
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
      restart_alone(e.child);
      return;
    }
    e.child->at = child_phase::waiting;
    after(d.delay, [this, c = e.child] {
      if (c->at != child_phase::waiting || is_ending_)
        return;
      c->at = child_phase::down;
      restart_alone(c);
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
    end_children();
    fail_with(std::make_exception_ptr(error{text}));
    me_ = {};
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
      if (is_up(*c))
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
      if (!start_next(j))
        return; // the answer comes here again
    } else {
      auto then = std::move(j.then);
      jobs_.pop_front();
      if (then)
        then();
      while (jobs_.empty() && !ended_.empty()) {
        auto e = std::move(ended_.front());
        ended_.pop_front();
        decide(std::move(e));
      }
    }
  }
}

// False when its answer has to be awaited.
bool supervisor_actor::start_next(job& j) {
  auto c = j.start.front();
  if (c->at == child_phase::starting)
    return false;
  if (c->at == child_phase::running) {
    j.start.pop_front();
    return true;
  }
  auto then = [this, c](const std::exception_ptr& e) {
    if (e) { // what comes next is decided anew
      auto& current = jobs_.front();
      current.start.clear();
      current.then = {};
      if (auto f = std::move(current.failed))
        f(e);
      else
        failed_start(c, e);
    }
    advance();
  };
  if (c->slot->is_made()) {
    relaunch(c, then);
  } else {
    try {
      launch(c);
    } catch (...) {
      then(std::current_exception());
    }
  }
  return c->at != child_phase::starting;
}

double supervisor_actor::random() {
  seed_ = seed_ * 6364136223846793005u + 1442695040888963407u;
  return static_cast<double>(seed_ >> 11) * 0x1p-53;
}

// -- children by name ---------------------------------------------------------

std::shared_ptr<child_slot> supervisor_actor::find(const std::string& name) {
  auto c = named(name, "child");
  if (!c->slot->is_made())
    throw actor_stopped{"supervisor::child: \"" + name
                        + "\" has not been started"};
  return c->slot;
}

future<void> supervisor_actor::start_child(child_spec spec) {
  if (is_ending_)
    throw closed{"supervisor::start_child: it is stopping"};
  // What those that are there needed may have gone meanwhile.
  supervisor_spec all = spec_;
  for (auto& c : children_) {
    all.children.push_back(c->spec);
    all.children.back().needs.clear();
  }
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
           // An end of its own that was to be decided upon after this.
           std::erase_if(ended_, [&](const ended& e) { return e.child == c; });
           if (c->slot->is_made())
             c->slot->park();
           answer->try_set_value();
         }});
  return answer->get_future();
}

future<void> supervisor_actor::restart_child(std::string name) {
  auto c = named(name, "restart_child");
  auto answer = std::make_shared<promise<void>>(answer_later<void>());
  if (c->at == child_phase::waiting)
    c->at = child_phase::down;
  begin({.stop = {c}, .then = [this, c, answer] {
           auto down_if = [c](const std::exception_ptr& e) {
             if (e)
               c->slot->park();
           };
           relaunch(c, down_if, [answer](const std::exception_ptr& e) {
             if (e)
               answer->try_set_exception(e);
             else
               answer->try_set_value();
           });
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
       is_running ? c->slot->describe() : std::string{}, c->starts,
       dynamic_cast<typed_slot<supervisor_actor>*>(c->slot.get()) != nullptr});
  }
  return result;
}

} // namespace troupe::detail
