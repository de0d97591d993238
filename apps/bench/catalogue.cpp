// SPDX-License-Identifier: MIT

#include "catalogue.hpp"
#include "savina.hpp"
#include "sizes.hpp"

namespace bench {

namespace {

using namespace std::chrono_literals;

target at_least(double ratio, std::string peer) {
  return {target::ratio_min, ratio, std::move(peer)};
}

target at_most(double value) {
  return {target::value_max, value};
}

std::vector<row> section_rows() {
  std::vector<row> rows;
  for (auto n : section_steps)
    rows.push_back({section_row(n), "ns/call"});
  for (auto n : section_steps) {
    rows.push_back({section_row(n) + "_waited", "ns/call"});
    rows.back().reason = "each call is an ask that is waited for, two messages";
  }
  return rows;
}

std::vector<row> scale_rows() {
  std::vector<row> rows;
  for (auto n : scale_steps)
    rows.push_back({scale_row(n), "ns/message"});
  return rows;
}

std::vector<row> worker_rows() {
  std::vector<row> rows;
  for (unsigned n : worker_steps) {
    rows.push_back({workers_row(n), "M messages/s"});
    rows.back().higher_is_better = true;
  }
  return rows;
}

// Of a peer that can't read the steps: they come last.
template <class Steps>
std::vector<std::int64_t> with_steps(std::vector<std::int64_t> sizes,
                                     const Steps& steps) {
  sizes.insert(sizes.end(), std::begin(steps), std::end(steps));
  return sizes;
}

using sizes = std::vector<std::int64_t>;

// One of the Savina suite: raw CAF beside it, the whole program's time; with
// sizes, Go and Erlang too.
workload suite(const std::string& name, const std::string& says, sizes n = {}) {
  workload w{name, "Savina: " + says, {"caf"}, {{name, "ms"}}};
  w.rows[0].is_savina = true;
  if (!n.empty())
    w.peers.insert(w.peers.end(), {"go", "erlang"});
  w.sizes = std::move(n);
  return w;
}

// Why a peer may be ahead.
workload because(const std::string& reason, workload w) {
  for (auto& r : w.rows)
    r.reason = reason;
  return w;
}

constexpr auto own_block =
  "a message is a block of its own in a mailbox without bound; a channel of "
  "Go's holds 1,024 numbers and its senders wait";
constexpr auto arithmetic = "nearly all of it is the program's own arithmetic";
constexpr auto spinning = "MPI spins on both sides and never sleeps";

// The same for a workload of our own.
workload with(workload w, sizes n) {
  w.sizes = std::move(n);
  return w;
}

const std::vector<workload>& table() {
  static const std::vector<workload> all{
    because(
      "a third of it is 6 locked instructions, whose cost differs much between "
      "processors",
      with({"ping_pong",
            "one pair, 1 M round trips by plain tells",
            {"caf", "go", "erlang"},
            {{"ping_pong", "ns/round trip", at_least(7, "caf")}}},
           {ping_pong_rounds})),
    because("nearly half of it is some 14 locked instructions, whose cost "
            "differs much between processors",
            with({"ask_loop",
                  "one actor asks another 500 k times, by coroutine",
                  {"caf", "erlang"},
                  {{"ask_loop", "ns/ask", at_least(5, "caf")}},
                  "ours has the default deadline of 30 s on each ask, CAF's "
                  "has none"},
                 {ask_loop_asks})),
    because(own_block,
            with({"many_to_one",
                  "4 senders tell one receiver 500 k messages each",
                  {"caf", "go", "erlang"},
                  {{"many_to_one", "ns/message", at_least(4.5, "caf")}}},
                 {many_senders, messages_per_sender})),
    because("a third of it is locked instructions, the counter of CAF's actor "
            "ids among them, which the workers share",
            with({"skynet",
                  "a tree of 10, 1,111,111 actors, sums its leaves",
                  {"caf", "go", "erlang"},
                  {{"skynet", "s", at_least(12, "caf")}}},
                 {skynet_leaves})),
    with({"spawn",
          "100 k actors from outside, one message each",
          {"caf", "go", "erlang"},
          {{"spawn", "ns/actor", at_least(3, "caf")},
           {"spawn_bytes", "B/idle actor", at_most(320)}}},
         {spawned_actors}),
    {"wake",
     "ask an actor from outside after 15 ms idle, p50",
     {"caf"},
     {{"wake", "us", at_least(2.5, "caf")}},
     "CAF's work sharing takes about 0.7 of the time of its default, work "
     "stealing, which it loses elsewhere"},
    {"idle",
     "5 s with nothing to do",
     {"caf"},
     {{"idle", "% CPU", at_most(0.05)}, {"idle_switches", "1/s", at_most(1)}},
     {},
     false,
     60s,
     false},
    because("a ratio of two figures: with 1 M actors both sides wait for "
            "memory, and ours comes from a lower figure",
            workload{"actors",
                     "4 M hops round a ring of 1 k, then of 1 M actors",
                     {"caf"},
                     {{"actors_1k", "ns/message"},
                      {"actors_1m", "ns/message"},
                      {"actors_growth", "x", at_most(2)}}}),
    with({"actors_scale",
          "1 M hops round rings of 10 to 1 M actors",
          {"caf", "go"},
          scale_rows(),
          "scale_N: of N actors; --plot draws them",
          false,
          60s,
          false},
         with_steps({ring_tokens, scale_messages}, scale_steps)),
    with({"workers",
          "16 pairs play ping-pong on 1, 2 and 4 workers",
          {"caf", "go"},
          worker_rows(),
          "workers_N: on N of them; --plot draws them",
          false,
          60s,
          false},
         with_steps({worker_pairs, worker_rounds}, worker_steps)),
    because("a ratio of two figures: at 10 M messages both sides wait for "
            "memory, and ours comes from a lower figure",
            workload{"mailbox",
                     "10 M messages, 1 k and 10 M at a time in a mailbox",
                     {"caf"},
                     {{"mailbox_1k", "ns/message"},
                      {"mailbox_10m", "ns/message"},
                      {"mailbox_growth", "x", at_most(2)}}}),
    {"submit_get",
     "300 k futures through the pool",
     {"asio", "std_async"},
     {{"submit_get", "ns/task", at_least(2, "asio")}},
     "std_async starts a thread per task: 20 k tasks, 100 at a time"},
    with({"submit_many",
          "2 M tasks, nobody waits for each",
          {"tbb", "asio", "go"},
          {{"submit_many", "ns/task", at_least(1.3, "tbb")}}},
         {submit_many_tasks}),
    because(
      "map is at the speed of memory on both sides; map_lazy gives the results "
      "one by one, in order, TBB has them in an array",
      workload{"map",
               "10 M integers, trivial function, automatic chunks",
               {"tbb"},
               {{"map", "ns/element", at_least(0.9, "tbb")},
                {"map_lazy", "ns/element"}},
               "for_each into an array, as TBB's parallel_for does; map_lazy "
               "takes the "
               "results of pool.map one by one, in order, at flat memory"}),
    {"guarded_counter",
     "8 actors, or threads, increment one value 1 M times",
     {"mutex"},
     {{"guarded_counter", "ns/increment", at_least(1, "mutex")},
      {"guarded_counter_waited", "ns/increment"}},
     "ours posts the increments and reads back at the end; _waited waits for "
     "each, as a lock does"},
    {"section",
     "8 actors, or threads, work for N ns in a critical section",
     {"mutex"},
     section_rows(),
     "section_N: N steps of about 1 ns each, posted by us; _waited waits for "
     "each call; --plot draws them",
     true,
     60s,
     false},
    because(
      "items are acknowledged, so that a consumer's death loses none; Go's "
      "channel forgets them",
      with({"queue",
            "4 producers, 4 consumers, capacity 1,024, 2 M items",
            {"mutex", "go", "erlang", "python_threads"},
            {{"queue", "ns/item", at_least(2, "mutex"), at_least(0.5, "go")},
             {"queue_single", "ns/item"}},
            "ours puts and takes 64 at a time, the peers one by one; _single "
            "one by "
            "one, each waited for and acknowledged"},
           {queue_sides, queue_capacity, queue_items})),
    with({"pipeline",
          "8 stages, 1 M items",
          {"caf", "go", "erlang"},
          {{"pipeline", "ns/item", at_least(4, "caf")}}},
         {pipeline_stages, pipeline_items}),
    {"restart",
     "a supervised child crashes; until the new one has answered, p50",
     {},
     {{"restart", "us", at_most(50)}}},
    suite("thread_ring", "a token, 100 k hops round 100 actors",
          {savina::ring_actors, savina::ring_hops}),
    because(own_block,
            suite("counting", "1 M increments of a counter, one result",
                  {savina::counts})),
    because(own_block, suite("fork_join", "10 k messages to each of 60 actors",
                             {savina::fork_actors, savina::fork_messages})),
    suite("fork_join_create", "40 k actors with one message each",
          {savina::fork_creates}),
    suite("chameneos", "200 k meetings of 100 chameneos in a mall",
          {savina::chameneos, savina::meetings}),
    suite("big", "120 actors ping each other at random, 5 k times each",
          {savina::big_actors, savina::big_pings}),
    suite("dictionary", "20 actors, 10 k requests each, 1 in 10 writes"),
    suite("sorted_list", "20 actors, 1 k requests each to a linked list"),
    because("an item is two asks and an acknowledgement between actors; a "
            "channel of Go's moves it under a lock",
            suite("bounded_buffer", "40 producers, 40 consumers, 50 places",
                  {savina::made_sides, savina::made_items, savina::made_work,
                   savina::buffer_places})),
    suite("philosophers", "20 at a table, 2 k meals each"),
    suite("barber", "5 k customers, 1 k seats, one barber"),
    suite("smokers", "200 smokers, 1 k rounds, one at a time begins"),
    suite("logistic_map", "10 series of 25 k terms, each asked for"),
    suite("bank_transaction", "50 k transfers between 1,000 accounts"),
    suite("radix_sort", "50 k numbers of 60 bits, an actor per bit"),
    suite("filter_bank", "8 channels of filters, 20 k samples"),
    because(arithmetic,
            suite("sieve", "primes below 100 k, 1,000 of them in an actor",
                  {savina::sieve_below, savina::sieve_local_primes,
                   savina::sieve_primes})),
    suite("bitonic_sort", "a network of 160 k comparing actors, 4,096 numbers"),
    suite("cobwebbed_tree", "50 k nodes grow by chance, then all are visited"),
    because(arithmetic,
            suite("quick_sort", "1 M numbers, two actors per division",
                  {savina::sorted_values, savina::sorted_alone})),
    because(arithmetic, suite("n_queens", "14 queens, 20 workers",
                              {savina::queens, savina::queens_alone_from,
                               savina::queens_solutions})),
    suite("a_star", "a grid of 1 M nodes, searched by 20 workers"),
    suite("fibonacci", "the 25th number, an actor per call",
          {savina::fibonacci_of, savina::fibonacci_is}),
    because(
      spinning,
      workload{"process_round_trip",
               "one trivial task to a worker process and back, p50",
               {"python_pool", "python_executor", "mpi"},
               {{"process_round_trip", "us", at_least(20, "python_pool")}},
               "MPI spins while it waits, on both sides"}),
    because("the parent and two workers share two cores: a run takes 0.6 or "
            "some 2 us a task, by who has to share",
            {"process_map_1",
             "200 k trivial tasks in worker processes, chunks of 1",
             {"python_pool"},
             {{"process_map_1", "ns/task", at_least(20, "python_pool")}}}),
    {"process_map",
     "10 M integers in worker processes, automatic chunks",
     {"python_pool"},
     {{"process_map", "ns/element", at_least(5, "python_pool")}}},
    because("it is two copies, in and out of shared memory (42 %), zeroed "
            "pages for the worker's list (20 %) and page faults (15 %); MPI "
            "receives into the same memory again and again",
            {"process_bytes",
             "64 MiB to a worker process, by value and as a blob, p50",
             {"python_pool", "python_executor", "mpi"},
             {{"process_bytes", "ms", at_least(10, "python_pool")},
              {"process_blob", "ms", at_least(100, "python_pool")}},
             "Python has no blob: both rows show its bytes"}),
    {"process_start",
     "a pool of worker processes, ten tasks, gone: the first time",
     {"python_pool", "python_executor"},
     {{"process_start", "ms", at_least(1, "python_pool")}},
     {},
     false},
    {"process_crash",
     "SIGKILL of a busy worker: to the error, to the next result; p99",
     {},
     {{"process_crash", "ms", at_most(10)},
      {"process_crash_serving", "ms", at_most(30)}},
     {},
     false,
     60s,
     false},
    because(
      spinning,
      workload{
        "process_ask",
        "ask an actor in a process of its own, beside a pool's round trip",
        {"mpi"},
        {{"process_ask", "us"}, {"process_ask_ratio", "x", at_most(1.2)}}}),
    {"node_round_trip",
     "one ask to an actor in another process, over loopback, p50",
     {"caf"},
     {{"node_round_trip", "us", at_least(4, "caf")}},
     "in all rows of nodes ours is encrypted and both sides have proved a key; "
     "CAF's middleman speaks in the clear with everybody"},
    because("a fifth of it is locks between the threads that serve and those "
            "that carry, a sixth the kernel's switches between them: more "
            "threads than cores",
            {"node_pipelined",
             "500 k asks to another process, 1,000 of them open",
             {"caf"},
             {{"node_pipelined", "ns/ask", at_least(8, "caf")}},
             {},
             true,
             60s,
             false}),
    because("ours is encrypted, CAF's is not; runtime/node/README.md has the "
            "stages",
            workload{"node_bytes",
                     "64 MiB as an argument of an ask to another process, p50",
                     {"caf"},
                     {{"node_bytes", "ms", at_least(3, "caf")}}}),
    {"node_lost",
     "SIGKILL of the other process, to the caller's error; p99",
     {},
     {{"node_lost", "ms", at_most(50)}},
     {},
     false},
    {"compile",
     "hello.cpp against the same program in CAF",
     {"caf"},
     {{"compile", "s CPU", at_least(2.5, "caf")}},
     {},
     true,
     120s},
  };
  return all;
}

} // namespace

std::span<const workload> catalogue() {
  return table();
}

std::span<const std::string> peer_names() {
  static const std::vector<std::string> names{"caf",
                                              "go",
                                              "erlang",
                                              "mpi",
                                              "tbb",
                                              "asio",
                                              "std_async",
                                              "mutex",
                                              "python_threads",
                                              "python_pool",
                                              "python_executor"};
  return names;
}

} // namespace bench
