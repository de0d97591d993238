// SPDX-License-Identifier: MIT
// wait_graph: who waits for whose answer; a cycle is found when it closes.
//
// An edge is a call_record among the records of its actor with `waiting` set to
// a state that knows its callee. Each wait sets its edge first and walks then:
// of two waits that close a cycle together at least one sees the whole of it
// (seq_cst stores before seq_cst loads).
// Reading the edges of others: a walker announces itself in `walkers`, then
// holds `gate`. Whoever takes an edge away looks at `walkers` afterwards and
// passes through the gate if there are any: what a walker saw stays whole until
// it is done.
#pragma once

#include "troupe/task.hpp"

namespace troupe::detail {

/// The cycle that `waiter`'s wait for `s` closes, as text; empty for none.
std::string find_cycle(cell& waiter, std::string_view op, state_base& s);

/// After an edge was taken away: lets walkers finish.
void pass_gate() noexcept;

/// The edge of a thread that blocks inside an actor. Throws deadlock.
class wait_edge {
public:
  explicit wait_edge(state_base& s);
  ~wait_edge();
  wait_edge(const wait_edge&) = delete;
  wait_edge& operator=(const wait_edge&) = delete;

private:
  call_record record_;
  bool linked_ = false;
};

/// "a#1 in a::f waits for b::g of b#2"; empty when it waits for nothing.
std::string describe_wait(const cell& c);

} // namespace troupe::detail
