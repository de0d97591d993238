// SPDX-License-Identifier: MIT
// actor: what a class may derive from to know itself, to have timers, to spawn
// and to watch others. It is optional; a plain class is an actor too.
//
// Hooks are found by name, in any class, and run as messages of the actor:
//   void on_start();                    // before the first message
//   void on_stop(troupe::stop_reason);  // the last thing it does
//   void on_down(troupe::down);         // an actor that it monitors has ended
// Who may call: the actor itself, in its constructor or its methods.
#pragma once

#include <memory>

#include "troupe/ref.hpp"

namespace troupe {

class system;

/// Why an actor ended.
struct stop_reason {
  enum kind_type : unsigned char {
    normal,      // stop()
    killed,      // kill()
    failed,      // a tell, a timer or a hook threw: `error`, `text`
    unreachable, // nobody had a handle any more
    shutdown,    // the system stopped
  };
  kind_type kind = normal;
  std::exception_ptr error;
  std::string text;

  bool is_normal() const { return kind != killed && kind != failed; }
};

/// `normal`, `killed`, `failed: ...`
std::string to_string(const stop_reason& r);

/// What a monitor gets, once, when the other actor has ended.
struct down {
  std::uint64_t id = 0; // ref::id of the other
  std::string name;     // its class
  stop_reason reason;
};

/// True on a thread that is ending an actor: its coroutines, on_stop and the
/// object's destructor run. RAII guards see by it that their work was given up,
/// though no exception passes.
bool is_ending() noexcept;

namespace detail {

/// A timer's function and its place in the wheel; core/timers.cpp.
struct actor_timer;
void release_timer(actor_timer* t) noexcept;
bool cancel_timer(actor_timer* t) noexcept;

struct timer_call {
  virtual ~timer_call() = default;
  virtual void run(cell& self) = 0;
};

actor_timer* start_timer(cell* self, std::int64_t delay_ns,
                         std::int64_t period_ns,
                         std::unique_ptr<timer_call> call);

template <class F>
struct timer_function final : timer_call {
  F f;
  explicit timer_function(F fn) : f(std::move(fn)) {}
  void run(cell&) override { static_cast<void>(f()); }
};

cell* constructing_cell();
system& system_of(cell* c);
void monitor_cell(cell* watcher, cell* other);
void demonitor_cell(cell* watcher, cell* other) noexcept;
void quit_cell(cell* c) noexcept;
void check_class(cell* c, std::string_view name); // throws bad_argument

} // namespace detail

/// Handle to a timer; letting it go doesn't cancel it.
class timer {
public:
  timer() = default;
  explicit timer(detail::actor_timer* t) : timer_(t) {}
  timer(timer&& other) noexcept
    : timer_(std::exchange(other.timer_, nullptr)) {}
  timer& operator=(timer&& other) noexcept {
    std::swap(timer_, other.timer_);
    return *this;
  }
  ~timer() {
    if (timer_ != nullptr)
      detail::release_timer(timer_);
  }

  /// After this the function will not begin; false when it had its last run.
  bool cancel() { return timer_ != nullptr && detail::cancel_timer(timer_); }

private:
  detail::actor_timer* timer_ = nullptr;
};

class actor {
public:
  actor() : cell_(detail::constructing_cell()) {}
  actor(const actor&) = delete;
  actor& operator=(const actor&) = delete;

protected:
  ~actor() = default;

  /// Converts to the ref of the actor's own class.
  class any_self {
  public:
    explicit any_self(const actor& a) : actor_(a) {}
    template <class T>
    operator ref<T>() const {
      return actor_.make_self<T>();
    }

  private:
    const actor& actor_;
  };

  /// A handle to itself: `ref<teller> me = self();`, or as an argument that is
  /// a ref.
  /// Errors: bad_argument when the object was not made by spawn, or for the ref
  ///         of another class.
  any_self self() const { return any_self{*this}; }

  /// The system it lives in.
  troupe::system& system() const { return detail::system_of(checked()); }

  /// Calls `f()` as a message of this actor after `d`.
  /// Units: 1 ms resolution, never early; 0 and below: as soon as possible.
  /// Errors: a function that throws is a failure of the actor.
  template <class F>
  timer after(time_limit d, F f) {
    return start(d.ns(), 0, std::move(f));
  }

  /// Calls `f()` every `d`, first after `d`; runs that are late are left out.
  /// Units: d > 0, else bad_argument.
  template <class F>
  timer every(time_limit d, F f) {
    if (d.ns() <= 0)
      throw bad_argument{"every: the period must be above 0"};
    return start(d.ns(), d.ns(), std::move(f));
  }

  /// Spawns in the same system; see system::spawn.
  template <class T, class... As>
  auto spawn(As&&... as);

  /// Asks for one `on_down` when `other` ends; at once if it has.
  template <class T>
  void monitor(const ref<T>& other) {
    detail::monitor_cell(checked(), other.get());
  }

  template <class T>
  void demonitor(const ref<T>& other) {
    detail::demonitor_cell(checked(), other.get());
  }

  /// Ends this actor once the method that runs has returned; messages that
  /// wait become dead letters.
  void stop() { detail::quit_cell(checked()); }

private:
  template <class T>
  ref<T> make_self() const {
    auto* c = checked();
    detail::check_class(c, detail::type_name<T>());
    detail::retain_self(c);
    return ref<T>::adopt(c);
  }

  template <class F>
  timer start(std::int64_t delay, std::int64_t period, F f) {
    return timer{detail::start_timer(
      checked(), delay, period,
      std::make_unique<detail::timer_function<F>>(std::move(f)))};
  }

  detail::cell* checked() const {
    if (cell_ == nullptr)
      throw bad_argument{"this actor was not made by spawn: it has no self"};
    return cell_;
  }

  detail::cell* cell_;
};

} // namespace troupe
