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
//             killed; one that does not end then is left behind, and can't be
//             started again before it has ended.
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
  spec.make_slot =
    [args = std::make_tuple(std::decay_t<As>(std::forward<As>(args))...)] {
      return std::make_shared<detail::slot_from<T, std::decay_t<As>...>>(args);
    };
  return spec;
}

/// A supervisor as a child of another.
child_spec child_supervisor(std::string name, restart_kind kind,
                            supervisor_spec spec);

/// Names the first fault of a spec, or is empty: no name, a name twice, a need
/// that isn't there, stands later or is a cycle, a number out of range.
std::string first_fault(const supervisor_spec& spec);

class supervisor : public handle<supervisor, detail::supervisor_actor> {
public:
  /// For the library: see system::supervise.
  explicit supervisor(ref<detail::supervisor_actor> a) : handle(std::move(a)) {}

  /// The child of that name. The handle stays good over restarts: it reaches
  /// the incarnation that lives, never one that has ended. While there is none,
  /// calls wait for the next (in order, within their deadline) or fail with
  /// actor_stopped, as child_spec::calls says; those to a child that is down
  /// for good fail with actor_stopped.
  /// Errors: bad_argument when there is none or it is no T.
  template <class T>
  ref<T> child(const std::string& name) const {
    auto found = find(name);
    auto typed = std::dynamic_pointer_cast<detail::typed_slot<T>>(found);
    if (!typed)
      throw bad_argument{"supervisor: child \"" + name
                         + "\" is of another class"};
    return typed->child();
  }

  /// The supervisor that is the child of that name.
  supervisor child_tree(const std::string& name) const;

  /// A new child, after the others.
  /// Errors: bad_argument for a fault of the spec, what its start throws.
  future<void> start_child(child_spec spec) const;

  /// Stops a child; it stays on the list. Errors: bad_argument for no child.
  future<void> stop_child(std::string name) const;

  /// Starts a child that is down, or stops and starts it.
  /// Errors: what its start throws; then it is down, and calls to it fail.
  future<void> restart_child(std::string name) const;

  /// Stops a child and forgets it.
  future<void> remove_child(std::string name) const;

  future<supervisor_state> state() const;

  /// The children, one a line, those of supervisors among them indented:
  ///   one_for_one, 1 of 3 restarts in 5000 ms
  ///   |- counter  permanent  running  counter#12  2 starts
  std::string tree() const;

  /// Stops the children in reverse, then the supervisor. Idempotent.
  future<void> stop() const;

private:
  std::shared_ptr<detail::child_slot> find(const std::string& name) const;
  std::string tree(const std::string& indent) const;
};

} // namespace troupe
