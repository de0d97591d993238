// SPDX-License-Identifier: MIT
// supervisor_actor: the actor behind a supervisor, and the specs that it works
// by. Included by troupe/supervisor.hpp.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "troupe/handle.hpp"
#include "troupe/supervision.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class supervisor_actor;

/// What handles to a child share: where it lives now. A lock of a few
/// instructions, as the supervisor is the only writer.
class slot_base {
public:
  enum class phase : std::uint8_t { down, up, gone };

  std::string name;         // fixed before it is shared
  bool calls_wait = true;   // likewise
  std::uint64_t starts = 0; // the supervisor's
  std::vector<std::function<void(bool is_up)>> parked; // the supervisor's

  slot_base() = default;
  slot_base(const slot_base&) = delete;
  slot_base& operator=(const slot_base&) = delete;
  virtual ~slot_base() = default;

  virtual void publish() = 0; // what was started is the one that lives
  virtual void stop() = 0;
  virtual void kill() = 0;
  virtual std::uint64_t id() const = 0;
  virtual std::string describe() const = 0;

  void set(phase p) {
    std::lock_guard lock{mutex_};
    phase_ = p;
  }
  phase at() const {
    std::lock_guard lock{mutex_};
    return phase_;
  }
  bool waits() const { return calls_wait && at() != phase::gone; }

  actor_stopped why_down() const {
    return actor_stopped{"child \"" + name
                         + (at() == phase::gone ? "\" is down for good"
                                                : "\" is being restarted")};
  }

protected:
  mutable std::mutex mutex_;
  phase phase_ = phase::down;
};

template <class T>
class slot : public slot_base {
public:
  ref<T> next; // the supervisor's: what was started last

  ref<T> now() const {
    std::lock_guard lock{mutex_};
    return phase_ == phase::up && current_.is_alive() ? current_ : ref<T>{};
  }
  void publish() override {
    std::lock_guard lock{mutex_};
    current_ = next;
    phase_ = phase::up;
  }
  void stop() override { next.stop(); }
  void kill() override { next.kill(); }
  std::uint64_t id() const override { return next.id(); }
  std::string describe() const override { return to_string(next); }

private:
  ref<T> current_;
};

} // namespace detail

/// What calls of a child_ref do while the child is down.
enum class calls_during_restart : std::uint8_t { queued, fail_fast };

/// One child, as data: made by `child<T>(...)`, then changed at will.
struct child_spec {
  std::string name;
  restart_kind kind = restart_kind::permanent;
  /// How long `stop` may take before it is a kill.
  std::chrono::nanoseconds stop_deadline = std::chrono::seconds{5};
  calls_during_restart calls = calls_during_restart::queued;
  /// Children that must stand before this one in the list.
  std::vector<std::string> needs;

  /// For the library.
  std::function<std::shared_ptr<detail::slot_base>()> make_slot;
  std::function<void(system&, detail::supervisor_actor&, detail::slot_base&)>
    start;
};

struct supervisor_spec {
  strategy_kind strategy = strategy_kind::one_for_one;
  /// Restarts within `period` that are borne; one more and it gives up.
  std::size_t intensity = 1;
  std::chrono::nanoseconds period = std::chrono::seconds{5};
  backoff_options backoff{};
  /// Started in this order, stopped in reverse.
  std::vector<child_spec> children{};
};

struct child_info {
  std::string name;
  restart_kind kind;
  bool is_running;
  std::string actor; // `counter#12`
  std::uint64_t starts;
  bool is_supervisor;
};

struct supervisor_state {
  strategy_kind strategy;
  std::size_t intensity, restarts_in_period;
  std::chrono::nanoseconds period;
  std::uint64_t restarts; // since its start
  std::vector<child_info> children;
};

namespace detail {

class supervisor_actor : public actor {
public:
  explicit supervisor_actor(supervisor_spec spec);

  // -- messages ---------------------------------------------------------------

  future<void> start();
  void start_as_child();
  future<void> stop_all();
  future<void> start_child(child_spec spec);
  future<void> stop_child(std::string name);
  future<void> restart_child(std::string name);
  future<void> remove_child(std::string name);
  std::shared_ptr<slot_base> find(const std::string& name);
  supervisor_state state();
  void on_down(const down& d);
  void on_stop(const stop_reason& why);

  // -- called by specs and handles, in this actor -----------------------------

  template <class T>
  void watch(const ref<T>& child) {
    monitor(child);
  }

  /// Calls `f(true)` when the child is up (now, if it is), `f(false)` when it
  /// is gone.
  void when_up(slot_base& s, std::function<void(bool)> f);

private:
  enum class child_phase : std::uint8_t { down, waiting, running, stopping };

  struct child_record {
    child_spec spec;
    std::shared_ptr<slot_base> slot;
    child_phase at = child_phase::down;
    bool is_killed = false; // while stopping
    std::uint64_t id = 0;   // of the incarnation
  };
  using child_ptr = std::shared_ptr<child_record>;

  struct ended {
    child_ptr child;
    std::uint64_t id;
    exit_kind how;
    std::string text;
  };

  // One thing at a time: children to stop one after the other, then a pause,
  // then children to start, then `then`.
  struct job {
    std::deque<child_ptr> stop;
    std::chrono::nanoseconds delay{};
    std::deque<child_ptr> start;
    std::function<void()> then;
  };

  child_ptr add(child_spec spec);
  child_ptr named(const std::string& name, const char* what);
  child_ptr of_id(std::uint64_t id);
  void forget(const child_ptr& c);
  void set_down(child_record& c, bool is_gone);
  void launch(const child_ptr& c); // throws what the start throws
  bool try_launch(const child_ptr& c);
  void begin_stop(const child_ptr& c);
  void hurry(const child_ptr& c, std::uint64_t id);
  void decide(ended e);
  void give_up(const ended& e, supervision::decision d);
  void begin(job j);
  void advance();
  std::deque<child_ptr> running_in_reverse() const;
  double random();

  supervisor_spec spec_;
  supervision logic_;
  std::vector<child_ptr> children_;
  std::deque<job> jobs_; // the first one is being done
  bool is_paused_ = false;
  bool is_advancing_ = false;
  bool is_ending_ = false;
  std::deque<ended> ended_; // while a job is on
  std::uint64_t restarts_ = 0;
  std::uint64_t seed_;
  ref<supervisor_actor> me_; // until it ends, see Lifetime
};

} // namespace detail

} // namespace troupe
