// SPDX-License-Identifier: MIT
// setup: CAF 0.17.6 as someone who knows it sets it up for speed. Work
// stealing, its default, is up to twice as fast here as work sharing on every
// row but `wake` (see the note in the catalogue). As many workers as asked for
// (the default is never below 4), and a finite throughput, which a program
// needs whose actors shall not starve each other; 300 costs nothing.

#pragma once

#include "measure.hpp"
#include "sizes.hpp"

#include <caf/all.hpp>

namespace bench::peer_caf {

struct config : caf::actor_system_config {
  explicit config(const setting& how) {
    set("scheduler.max-threads", static_cast<std::size_t>(how.workers));
    set("scheduler.max-throughput", std::size_t{300});
  }
};

using ping_atom = caf::atom_constant<caf::atom("ping")>;
using pong_atom = caf::atom_constant<caf::atom("pong")>;
using start_atom = caf::atom_constant<caf::atom("start")>;
using add_atom = caf::atom_constant<caf::atom("add")>;
using get_atom = caf::atom_constant<caf::atom("get")>;
using sum_atom = caf::atom_constant<caf::atom("sum")>;
using hop_atom = caf::atom_constant<caf::atom("hop")>;

figures ping_pong(const setting& how);
figures ask_loop(const setting& how);
figures many_to_one(const setting& how);
figures skynet(const setting& how);
figures spawn(const setting& how);
figures wake(const setting& how);
figures idle(const setting& how);
figures actors(const setting& how);
figures actors_scale(const setting& how);
figures workers(const setting& how);
figures mailbox(const setting& how);
figures pipeline(const setting& how);
figures node_round_trip(const setting& how);
figures node_pipelined(const setting& how);
figures node_bytes(const setting& how);

/// The other side of these.
int serve_node();
figures thread_ring(const setting& how);
figures counting(const setting& how);
figures fork_join(const setting& how);
figures fork_join_create(const setting& how);
figures chameneos(const setting& how);
figures big(const setting& how);
figures dictionary(const setting& how);
figures sorted_list(const setting& how);
figures bounded_buffer(const setting& how);
figures philosophers(const setting& how);
figures barber(const setting& how);
figures smokers(const setting& how);
figures logistic_map(const setting& how);
figures bank_transaction(const setting& how);
figures radix_sort(const setting& how);
figures filter_bank(const setting& how);
figures sieve(const setting& how);
figures bitonic_sort(const setting& how);
figures cobwebbed_tree(const setting& how);
figures quick_sort(const setting& how);
figures n_queens(const setting& how);
figures a_star(const setting& how);
figures fibonacci(const setting& how);

} // namespace bench::peer_caf
