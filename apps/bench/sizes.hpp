// SPDX-License-Identifier: MIT
// sizes: how much each workload does, the same for us and for each peer.
// The figures are per operation unless the row says otherwise.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace bench {

using namespace std::chrono_literals;

inline constexpr int ping_pong_rounds = 1'000'000;
inline constexpr int ask_loop_asks = 500'000;
inline constexpr int many_senders = 4;
inline constexpr int messages_per_sender = 500'000;

/// A tree of 10 children each down to 1 M leaves: 1,111,111 actors.
inline constexpr std::int64_t skynet_leaves = 1'000'000;
inline constexpr std::int64_t skynet_sum = 499'999'500'000;

inline constexpr int spawned_actors = 100'000;

inline constexpr int wake_samples = 100;
inline constexpr auto wake_idle = 15ms;
inline constexpr auto idle_time = 5s;

/// Tokens hop round a ring of 1 k, then of 1 M actors, 4 M hops in all.
inline constexpr int few_actors = 1'000;
inline constexpr int many_actors = 1'000'000;
inline constexpr int ring_tokens = 8;
inline constexpr int ring_messages = 4'000'000;

/// The same with ever more actors, for a plot.
inline constexpr int scale_steps[] = {10,     100,     1'000,
                                      10'000, 100'000, 1'000'000};
inline constexpr int scale_messages = 1'000'000;

inline std::string scale_row(int actors) {
  return "scale_" + std::to_string(actors);
}

/// 16 pairs play ping-pong, on so many workers.
inline constexpr int worker_steps[] = {1, 2, 4};
inline constexpr int worker_pairs = 16;
inline constexpr int worker_rounds = 50'000; // each

inline std::string workers_row(unsigned workers) {
  return "workers_" + std::to_string(workers);
}

/// An actor tells itself so many messages before it may take the first.
inline constexpr int shallow_mailbox = 1'000;
inline constexpr int deep_mailbox = 10'000'000;

/// One value, 1 M increments in all by 8 threads or actors.
inline constexpr int counter_sharers = 8;
inline constexpr int counter_increments = 1'000'000;

/// The same with work in the critical section: so many steps of `work`, by so
/// many calls in all.
inline constexpr int section_steps[] = {0, 30, 100, 300, 1'000, 3'000, 10'000};
constexpr int section_calls(int steps) {
  return 40'000'000 / (steps + 200);
}

inline std::string section_row(int steps) {
  return "section_" + std::to_string(steps);
}

/// A chain of multiplications that nobody can shorten: about 1 ns each.
constexpr std::uint64_t work(std::uint64_t x, int steps) {
  for (int i = 0; i < steps; ++i)
    x = x * 6'364'136'223'846'793'005u + 1'442'695'040'888'963'407u;
  return x;
}

/// 4 producers and 4 consumers.
inline constexpr int queue_sides = 4;
inline constexpr std::size_t queue_capacity = 1'024;
inline constexpr int queue_items = 2'000'000;
inline constexpr int queue_items_single = 500'000;
inline constexpr std::size_t queue_batch = 64;

/// Each of 8 stages adds 1; the end is a number that stays below 0.
inline constexpr int pipeline_stages = 8;
inline constexpr int pipeline_items = 1'000'000;
inline constexpr int pipeline_end = -1'000;
inline constexpr std::int64_t pipeline_sum =
  std::int64_t{pipeline_items} * (pipeline_items - 1) / 2
  + std::int64_t{pipeline_items} * (pipeline_stages - 1);

inline constexpr int restart_samples = 500;

/// Python's side has the same sizes (peers/python.py), fewer round trips apart.
inline constexpr int round_trip_samples = 20'000;
inline constexpr int process_map_1_tasks = 200'000;
inline constexpr std::size_t large_bytes = std::size_t{64} << 20;
inline constexpr int large_samples = 9;
inline constexpr int start_tasks = 10;
inline constexpr int crash_samples = 100;

/// Asks to another node, so many of them open at a time.
inline constexpr int node_asks = 500'000;
inline constexpr std::size_t node_window = 1'000;

inline constexpr int submit_get_tasks = 300'000;
inline constexpr int submit_many_tasks = 2'000'000;
inline constexpr int map_elements = 10'000'000;
inline constexpr int map_lazy_repeats = 3;
inline constexpr int map_repeats = 21; ///< one alone takes some milliseconds

/// std::async starts a thread per task, so that it gets fewer of them and
/// only so many at a time; its figure is per task as everywhere.
inline constexpr int std_async_tasks = 20'000;
inline constexpr int std_async_wave = 100;

/// What each pool's task and each mapped element computes.
constexpr int trivial(int x) {
  return x * 3 + 1;
}

/// The sum of trivial(i) for 0 <= i < n.
constexpr std::int64_t trivial_sum(std::int64_t n) {
  return 3 * (n * (n - 1) / 2) + n;
}

} // namespace bench
