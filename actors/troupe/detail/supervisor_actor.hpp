// SPDX-License-Identifier: MIT
// supervisor_actor: the actor behind a supervisor, and the specs that it works
// by. Included by troupe/supervisor.hpp.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <string>

#include "troupe/handle.hpp"
#include "troupe/restart.hpp"
#include "troupe/supervision.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class supervisor_actor;

/// A child as its supervisor sees it. The actor behind it stays the same over
/// restarts.
class child_slot {
public:
  child_slot() = default;
  child_slot(const child_slot&) = delete;
  child_slot& operator=(const child_slot&) = delete;
  virtual ~child_slot() = default;

  /// The first start; throws what the constructor throws.
  virtual void start(system& sys, calls_during_restart calls) = 0;
  /// A further one; requires that it is down.
  virtual future<void> restart() = 0;

  virtual bool is_made() const = 0; // `start` has succeeded
  virtual void watch(supervisor_actor& by) const = 0;
  virtual void stop() const = 0;
  virtual void kill() const = 0;
  virtual void park() const = 0;   // down for good, for now
  virtual void retire() const = 0; // for ever
  virtual std::uint64_t id() const = 0;
  virtual std::string describe() const = 0;
};

/// The children of a supervisor that is a child itself: they stay over its
/// restarts, so that handles to them do.
struct kept_children {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<child_slot>> of_name;
};

template <class T>
class typed_slot : public child_slot {
public:
  const ref<T>& child() const { return child_; }

  bool is_made() const override { return static_cast<bool>(child_); }
  void watch(supervisor_actor& by) const override;
  void stop() const override { child_.stop(); }
  void kill() const override { child_.kill(); }
  void park() const override { troupe::park(child_); }
  void retire() const override { troupe::retire(child_); }
  std::uint64_t id() const override { return child_.id(); }
  std::string describe() const override { return to_string(child_); }

protected:
  ref<T> child_; // fixed by `start`
};

template <class T, class... As>
class slot_from final : public typed_slot<T> {
public:
  explicit slot_from(std::tuple<As...> args) : args_(std::move(args)) {}

  void start(system& sys, calls_during_restart calls) override {
    this->child_ = std::apply(
      [&](const As&... as) { return sys.spawn<T>(restartable{calls}, as...); },
      args_);
  }

  future<void> restart() override {
    return std::apply(
      [this](const As&... as) { return troupe::restart(this->child_, as...); },
      args_);
  }

private:
  const std::tuple<As...> args_;
};

} // namespace detail

/// One child, as data: made by `child<T>(...)`, then changed at will.
struct child_spec {
  std::string name;
  restart_kind kind = restart_kind::permanent;
  /// How long `stop` may take before it is a kill.
  std::chrono::nanoseconds stop_deadline = std::chrono::seconds{5};
  /// What calls do while it is being restarted.
  calls_during_restart calls = calls_during_restart::queued;
  /// Children that must stand before this one in the list.
  std::vector<std::string> needs;

  /// For the library.
  std::function<std::shared_ptr<detail::child_slot>()> make_slot;
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
  /// `kept`: it is the child of another one, which may restart it. `up` is set
  /// when all its children are up.
  explicit supervisor_actor(supervisor_spec spec,
                            std::shared_ptr<kept_children> kept = {},
                            std::shared_ptr<promise<void>> up = {});

  // -- messages ---------------------------------------------------------------

  future<void> start();
  future<void> stop_all();
  future<void> start_child(child_spec spec);
  future<void> stop_child(std::string name);
  future<void> restart_child(std::string name);
  future<void> remove_child(std::string name);
  std::shared_ptr<child_slot> find(const std::string& name);
  supervisor_state state();
  void gives_up(const ref<supervisor_actor>& me, const std::exception_ptr& why);
  void on_start();
  void on_down(const down& d);
  void on_stop(const stop_reason& why);

  // -- called by slots, in this actor -----------------------------------------

  template <class T>
  void watch(const ref<T>& child) {
    monitor(child);
  }

private:
  enum class child_phase : std::uint8_t {
    down,
    waiting, // for its time to be started
    starting,
    running,
    stopping,
  };

  struct child_record {
    child_spec spec;
    std::shared_ptr<child_slot> slot;
    child_phase at = child_phase::down;
    bool is_killed = false;   // while stopping
    bool is_starting = false; // while stopping: its constructor runs
    bool is_stuck = false;    // while down: left behind, it may still run
    std::uint64_t starts = 0;
    std::uint64_t stops = 0; // which deadline is meant
  };
  using child_ptr = std::shared_ptr<child_record>;
  using started_function = std::function<void(const std::exception_ptr&)>;

  struct ended {
    child_ptr child;
    std::uint64_t starts; // which incarnation of it
    exit_kind how;
    std::string text;
  };

  // One thing at a time: children to stop one after the other, then a pause,
  // then children to start, then `then`.
  struct job {
    std::deque<child_ptr> stop{};
    std::chrono::nanoseconds delay{};
    std::deque<child_ptr> start{};
    std::function<void()> then{};
    // A start has failed; without it that is decided upon.
    std::function<void(const std::exception_ptr&)> failed{};
  };

  static bool is_up(const child_record& c) {
    return c.at == child_phase::running || c.at == child_phase::starting;
  }

  child_ptr add(child_spec spec);
  child_ptr named(const std::string& name, const char* what);
  child_ptr of_id(std::uint64_t id);
  void adopt_children();
  void forget(const child_ptr& c);
  void end_children();
  void fail_with(const std::exception_ptr& e);
  void launch(const child_ptr& c); // the first time; throws
  // `answer` is told in any case, `then` unless a stop came in between.
  void relaunch(const child_ptr& c, started_function then,
                started_function answer = {});
  void on_started(const child_ptr& c, const std::exception_ptr& error,
                  const started_function& then);
  void restart_alone(const child_ptr& c);
  bool start_next(job& j); // false: an end, or a start, has to be awaited
  void begin_stop(const child_ptr& c);
  void hurry(const child_ptr& c, std::uint64_t stop);
  void decide(ended e);
  void failed_start(const child_ptr& c, const std::exception_ptr& e);
  void give_up(const ended& e, supervision::decision d);
  void begin(job j);
  void advance();
  std::deque<child_ptr> up_in_reverse() const;
  double random();

  supervisor_spec spec_;
  std::shared_ptr<kept_children> kept_;
  std::shared_ptr<promise<void>> up_; // broken if it ends before
  supervision logic_;
  std::vector<child_ptr> children_;
  std::deque<job> jobs_; // the first one is being done
  bool is_paused_ = false;
  bool is_advancing_ = false;
  bool is_ending_ = false;
  std::deque<ended> ended_; // while a job is on
  waiting_line<void> stoppers_;
  bool is_stopping_all_ = false;
  std::uint64_t restarts_ = 0;
  std::uint64_t seed_;
  ref<supervisor_actor> me_; // until it ends, see Lifetime
};

template <class T>
void typed_slot<T>::watch(supervisor_actor& by) const {
  by.watch(child_);
}

} // namespace detail

} // namespace troupe
