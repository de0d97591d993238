// SPDX-License-Identifier: MIT
// troupe-bench-caf: the workloads in raw CAF, one per run.

#include "peers/caf/setup.hpp"
#include "run_one.hpp"

#include <string_view>

int main(int argc, char** argv) {
  using namespace bench::peer_caf;
  static constexpr bench::entry entries[] = {
    {"ping_pong", ping_pong},
    {"ask_loop", ask_loop},
    {"many_to_one", many_to_one},
    {"skynet", skynet},
    {"spawn", spawn},
    {"wake", wake},
    {"idle", idle},
    {"actors", actors},
    {"actors_scale", actors_scale},
    {"workers", workers},
    {"mailbox", mailbox},
    {"pipeline", pipeline},
    {"node_round_trip", node_round_trip},
    {"node_pipelined", node_pipelined},
    {"node_bytes", node_bytes},
    {"thread_ring", thread_ring},
    {"counting", counting},
    {"fork_join", fork_join},
    {"fork_join_create", fork_join_create},
    {"chameneos", chameneos},
    {"big", big},
    {"dictionary", dictionary},
    {"sorted_list", sorted_list},
    {"bounded_buffer", bounded_buffer},
    {"philosophers", philosophers},
    {"barber", barber},
    {"smokers", smokers},
    {"logistic_map", logistic_map},
    {"bank_transaction", bank_transaction},
    {"radix_sort", radix_sort},
    {"filter_bank", filter_bank},
    {"sieve", sieve},
    {"bitonic_sort", bitonic_sort},
    {"cobwebbed_tree", cobwebbed_tree},
    {"quick_sort", quick_sort},
    {"n_queens", n_queens},
    {"a_star", a_star},
    {"fibonacci", fibonacci},
  };
  if (argc == 2 && std::string_view{argv[1]} == "--caf-node")
    return serve_node();
  return bench::run_one(entries, argc, argv);
}
