// SPDX-License-Identifier: MIT
// workloads: Troupe's side of the catalogue, written as a user would.

#pragma once

#include "run_one.hpp"

#include <troupe/system.hpp>

namespace bench {

std::span<const entry> our_workloads();

namespace ours {

inline troupe::options options_of(const setting& how) {
  return {.workers = how.workers};
}

/// Leaves its statistics behind when it goes.
class counted_system : public troupe::system {
public:
  using troupe::system::system;
  explicit counted_system(const setting& how)
    : troupe::system(options_of(how)) {}
  ~counted_system();
};

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
figures submit_get(const setting& how);
figures submit_many(const setting& how);
figures map(const setting& how);
figures guarded_counter(const setting& how);
figures section(const setting& how);
figures queue(const setting& how);
figures pipeline(const setting& how);
figures restart(const setting& how);
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
figures process_round_trip(const setting& how);
figures process_map_1(const setting& how);
figures process_map(const setting& how);
figures process_bytes(const setting& how);
figures process_start(const setting& how);
figures process_crash(const setting& how);
figures process_ask(const setting& how);
figures node_round_trip(const setting& how);
figures node_pipelined(const setting& how);
figures node_bytes(const setting& how);
figures node_lost(const setting& how);

} // namespace ours
} // namespace bench
