// SPDX-License-Identifier: MIT

#include "ours/workloads.hpp"

namespace bench {

std::span<const entry> our_workloads() {
  static constexpr entry all[] = {
    {"ping_pong", ours::ping_pong},
    {"ask_loop", ours::ask_loop},
    {"many_to_one", ours::many_to_one},
    {"skynet", ours::skynet},
    {"spawn", ours::spawn},
    {"wake", ours::wake},
    {"idle", ours::idle},
    {"actors", ours::actors},
    {"actors_scale", ours::actors_scale},
    {"workers", ours::workers},
    {"mailbox", ours::mailbox},
    {"submit_get", ours::submit_get},
    {"submit_many", ours::submit_many},
    {"map", ours::map},
    {"guarded_counter", ours::guarded_counter},
    {"section", ours::section},
    {"queue", ours::queue},
    {"pipeline", ours::pipeline},
    {"restart", ours::restart},
    {"thread_ring", ours::thread_ring},
    {"counting", ours::counting},
    {"fork_join", ours::fork_join},
    {"fork_join_create", ours::fork_join_create},
    {"chameneos", ours::chameneos},
    {"big", ours::big},
    {"dictionary", ours::dictionary},
    {"sorted_list", ours::sorted_list},
    {"bounded_buffer", ours::bounded_buffer},
    {"philosophers", ours::philosophers},
    {"barber", ours::barber},
    {"smokers", ours::smokers},
    {"logistic_map", ours::logistic_map},
    {"bank_transaction", ours::bank_transaction},
    {"radix_sort", ours::radix_sort},
    {"filter_bank", ours::filter_bank},
    {"sieve", ours::sieve},
    {"bitonic_sort", ours::bitonic_sort},
    {"cobwebbed_tree", ours::cobwebbed_tree},
    {"quick_sort", ours::quick_sort},
    {"n_queens", ours::n_queens},
    {"a_star", ours::a_star},
    {"fibonacci", ours::fibonacci},
    {"process_round_trip", ours::process_round_trip},
    {"process_map_1", ours::process_map_1},
    {"process_map", ours::process_map},
    {"process_bytes", ours::process_bytes},
    {"process_start", ours::process_start},
    {"process_crash", ours::process_crash},
    {"process_ask", ours::process_ask},
    {"node_round_trip", ours::node_round_trip},
    {"node_pipelined", ours::node_pipelined},
    {"node_bytes", ours::node_bytes},
    {"node_lost", ours::node_lost},
  };
  return all;
}

ours::counted_system::~counted_system() {
  const auto s = stats();
  for (auto& [name, n] : {std::pair{"messages", s.messages},
                          {"actors", s.actors_spawned},
                          {"steals", s.steals},
                          {"wakes", s.wakes}})
    counted()[name] += static_cast<double>(n);
}

} // namespace bench
