// SPDX-License-Identifier: MIT
// wait_graph: who waits for whose answer; a cycle is found when it closes.
//
// An edge is a call_record among the records of its actor with `waiting` set to
// a state that knows its callee. Each wait sets its edge first and walks then:
// of two waits that close a cycle together at least one sees the whole of it
// (seq_cst stores before seq_cst loads).
// A state may wait for others in its turn (state_ops::next_part): for all of
// them (when_all, then: it is stuck when one is) or for any (when_any,
// as_completed, wait: it is stuck when all are). What a walk meets a second
// time counts as stuck, so a knot of such waits is found by the one that ties
// it. An ask that a method has passed on, by returning a future, is waited for
// where it has gone (state_base::passed_to); that is an edge, too, which may be
// the last of a cycle. Reading the edges of others: a walker announces itself
// in `walkers`, then holds `gate`. Whoever takes an edge away looks at
// `walkers` afterwards and passes through the gate if there are any: what a
// walker saw stays whole until it is done.
#pragma once

#include <string>
#include <vector>

#include "troupe/task.hpp"

namespace troupe::detail {

/// What makes a wait vain: as text, and the asks that should be given up.
struct wait_cycle {
  std::string text; // empty: there is none
  std::vector<state_ptr<state_base>> asks;
};

/// The cycle that `waiter`'s wait for `s` closes.
wait_cycle find_cycle(cell& waiter, state_base& s);

/// Throws deadlock. An ask of the cycle that nobody has begun fails with it as
/// well: were it run later, methods that ask each other would go on for ever.
[[noreturn]] void break_cycle(state_base& s, const wait_cycle& cycle);

/// After an edge was taken away by a seq_cst store: lets walkers finish.
void pass_gate() noexcept;

/// The edge of a thread that blocks inside an actor. Throws deadlock.
class wait_edge {
public:
  explicit wait_edge(state_base& s);
  /// Gives up what closes a cycle; throws only where nothing can be given up.
  wait_edge(state_base& s, bool& gave_up);
  ~wait_edge();
  wait_edge(const wait_edge&) = delete;
  wait_edge& operator=(const wait_edge&) = delete;

private:
  wait_cycle link(state_base& s);

  call_record record_;
  bool linked_ = false;
};

/// "a#1 in a::f waits for b::g of b#2"; empty when it waits for nothing.
std::string describe_wait(const cell& c);

} // namespace troupe::detail
