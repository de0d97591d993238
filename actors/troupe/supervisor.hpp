// SPDX-License-Identifier: MIT
// supervisor: starts children in order, restarts them when they end, stops them
// in reverse. In OTP's words; what it decides is supervision.hpp.
//
//   auto sup = sys.supervise({.strategy = troupe::one_for_one,
//     .intensity = 3, .period = 5s, .children = {
//       troupe::child<counter>("counter", troupe::permanent),
//       troupe::child<teller>("teller", troupe::transient, acc)}});
//   auto c = sup.child<counter>("counter");      // stays good over restarts
//
// Start:      in order; one that throws stops those before it and the error
//             comes out of supervise.
// Restart:    as strategy, restart_kind and exit say. The first one is at once,
//             further ones of the same period wait longer and longer. More than
//             `intensity` within `period`: it gives up: stops all and fails,
//             which its own supervisor sees as a child that failed.
// Stop:       in reverse; a child that isn't down after its stop_deadline is
//             killed.
// Lifetime:   a tree lives until `stop` or the end of the system, whoever holds
//             handles.
// A death:    is what it is for.
#pragma once

#include "troupe/detail/supervisor_actor.hpp"

namespace troupe {

/// The spec of a child: made anew from copies of `args` at each start, which
/// may begin with placement options as in spawn.
template <class T, class... As>
child_spec child(std::string name, restart_kind kind, As&&... args) {
  child_spec spec;
  spec.name = std::move(name);
  spec.kind = kind;
  spec.make_slot = [] { return std::make_shared<detail::slot<T>>(); };
  spec.start =
    [args = std::make_tuple(std::decay_t<As>(std::forward<As>(args))...)](
      system& sys, detail::supervisor_actor& by, detail::slot_base& s) {
      auto made = std::apply(
        [&](const auto&... copies) { return sys.spawn<T>(copies...); }, args);
      by.watch(made);
      static_cast<detail::slot<T>&>(s).next = std::move(made);
    };
  return spec;
}

/// A supervisor as a child of another.
child_spec child_supervisor(std::string name, restart_kind kind,
                            supervisor_spec spec);

/// Names the first fault of a spec, or is empty: no name, a name twice, a need
/// that isn't there, stands later or is a cycle, a number out of range.
std::string first_fault(const supervisor_spec& spec);

/// A handle to a child that stays good over restarts: it reaches the child that
/// lives now, never one that ended. Copyable; usable from any thread.
/// During a restart calls wait for the next incarnation (in order, within their
/// deadline) or fail with actor_stopped, as child_spec::calls says. A child
/// that is down for good: actor_stopped.
template <class T>
class child_ref {
public:
  using actor_type = T;

  /// For the library.
  child_ref(ref<detail::supervisor_actor> by,
            std::shared_ptr<detail::slot<T>> s)
    : by_(std::move(by)),
      slot_(std::move(s)) {}

  /// As ref::ask.
  template <auto M, class... As>
  auto ask(As&&... as) const {
    using R = typename decltype(std::declval<const ref<T>&>().template ask<M>(
      std::forward<As>(as)...))::value_type;
    if (auto now = slot_->now())
      return limited(now).template ask<M>(std::forward<As>(as)...);
    return later<R>([args = std::make_tuple(std::decay_t<As>(
                       std::forward<As>(as))...)](const ref<T>& r) mutable {
      return std::apply(
        [&](auto&... xs) { return r.template ask<M>(std::move(xs)...); }, args);
    });
  }

  template <class F>
    requires std::is_invocable_v<F&, T&>
  auto ask(F f) const {
    using R =
      typename decltype(std::declval<const ref<T>&>().ask(f))::value_type;
    if (auto now = slot_->now())
      return limited(now).ask(std::move(f));
    return later<R>([f = std::move(f)](const ref<T>& r) mutable {
      return r.ask(std::move(f));
    });
  }

  /// As ref::tell. To a child that is down for good it is dropped.
  template <auto M, class... As>
  void tell(As&&... as) const {
    if (auto now = slot_->now())
      return now.template tell<M>(std::forward<As>(as)...);
    send_later([args = std::make_tuple(std::decay_t<As>(
                  std::forward<As>(as))...)](const ref<T>& r) mutable {
      std::apply([&](auto&... xs) { r.template tell<M>(std::move(xs)...); },
                 args);
    });
  }

  template <class F>
    requires std::is_invocable_v<F&, T&>
  void tell(F f) const {
    if (auto now = slot_->now())
      return now.tell(std::move(f));
    send_later(
      [f = std::move(f)](const ref<T>& r) mutable { r.tell(std::move(f)); });
  }

  child_ref within(time_limit limit) const {
    auto copy = *this;
    copy.limit_ = limit;
    return copy;
  }

  /// The incarnation that lives now; empty during a restart.
  ref<T> current() const { return slot_->now(); }
  operator ref<T>() const { return current(); }

  std::uint64_t id() const { return current().id(); }
  bool is_alive() const { return current().is_alive(); }

  /// Ends this incarnation; its restart_kind says what comes next.
  void stop() const {
    if (auto now = slot_->now())
      now.stop();
  }
  void kill() const {
    if (auto now = slot_->now())
      now.kill();
  }

  friend bool operator==(const child_ref& a, const child_ref& b) {
    return a.slot_ == b.slot_;
  }

private:
  struct both { // a ref with the deadline of this handle, if it has one
    ref<T> r;
    std::optional<time_limit> limit;

    template <auto M, class... As>
    auto ask(As&&... as) const {
      return limit ? r.within(*limit).template ask<M>(std::forward<As>(as)...)
                   : r.template ask<M>(std::forward<As>(as)...);
    }
    template <class F>
    auto ask(F f) const {
      return limit ? r.within(*limit).ask(std::move(f)) : r.ask(std::move(f));
    }
  };

  both limited(ref<T> r) const { return {std::move(r), limit_}; }

  template <class R, class Call>
  future<R> later(Call call) const {
    if (!slot_->waits())
      return make_failed_future<R>(std::make_exception_ptr(slot_->why_down()));
    auto park = [s = slot_, call = std::make_shared<Call>(std::move(call))](
                  detail::supervisor_actor& by) {
      auto answer = std::make_shared<promise<R>>(answer_later<R>());
      by.when_up(*s, [s, answer, call](bool is_up) {
        auto now = is_up ? s->now() : ref<T>{};
        if (!now)
          answer->try_set_exception(std::make_exception_ptr(s->why_down()));
        else if (answer->is_pending())
          forward((*call)(now), answer);
      });
      return answer->get_future();
    };
    return limit_ ? by_.within(*limit_).ask(std::move(park))
                  : by_.ask(std::move(park));
  }

  template <class R>
  static void forward(const future<R>& from,
                      std::shared_ptr<promise<R>> answer) {
    static_cast<void>(from.then([answer](future<R> done) {
      try {
        if constexpr (std::is_void_v<R>) {
          done.get();
          answer->try_set_value();
        } else {
          answer->try_set_value(done.get());
        }
      } catch (...) {
        answer->try_set_exception(std::current_exception());
      }
    }));
  }

  template <class Call>
  void send_later(Call call) const {
    if (!slot_->waits())
      return;
    by_.tell([s = slot_, call = std::make_shared<Call>(std::move(call))](
               detail::supervisor_actor& by) {
      by.when_up(*s, [s, call](bool is_up) {
        if (auto now = is_up ? s->now() : ref<T>{})
          (*call)(now);
      });
    });
  }

  ref<detail::supervisor_actor> by_;
  std::shared_ptr<detail::slot<T>> slot_;
  std::optional<time_limit> limit_;
};

class supervisor : public handle<supervisor, detail::supervisor_actor> {
public:
  /// For the library: see system::supervise.
  explicit supervisor(ref<detail::supervisor_actor> a) : handle(std::move(a)) {}

  /// The child of that name.
  /// Errors: bad_argument when there is none or it is no T.
  template <class T>
  child_ref<T> child(const std::string& name) const {
    auto found = find(name);
    auto typed = std::dynamic_pointer_cast<detail::slot<T>>(found);
    if (!typed)
      throw bad_argument{"supervisor: child \"" + name
                         + "\" is of another class"};
    return child_ref<T>{actor_, std::move(typed)};
  }

  /// The supervisor that is the child of that name.
  supervisor child_tree(const std::string& name) const;

  /// A new child, after the others.
  /// Errors: bad_argument for a fault of the spec, what its start throws.
  future<void> start_child(child_spec spec) const;

  /// Stops a child; it stays on the list. Errors: bad_argument for no child.
  future<void> stop_child(std::string name) const;

  /// Starts a child that is down, or stops and starts it.
  future<void> restart_child(std::string name) const;

  /// Stops a child and forgets it.
  future<void> remove_child(std::string name) const;

  future<supervisor_state> state() const;

  /// The children, one a line, those of supervisors among them indented:
  ///   one_for_one, 1 of 3 restarts in 5000 ms
  ///   |- counter  permanent  running  counter#12  2 starts
  std::string tree() const;

  /// Stops the children in reverse, then the supervisor.
  future<void> stop() const;

private:
  std::shared_ptr<detail::slot_base> find(const std::string& name) const;
  std::string tree(const std::string& indent) const;
};

} // namespace troupe
