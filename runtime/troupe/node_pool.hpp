// SPDX-License-Identifier: MIT
// node_pool: plain functions on other machines.
//
//   troupe::node_pool pool{sys, {.nodes = {a, b}}};
//   auto f = pool.submit(troupe::fn<&square>, 7);                // future<int>
//   for (int y : pool.map(troupe::fn<&square>, numbers)) use(y);
//   pool.add(sys.connect("10.0.0.9:7000"));                      // any time
//
//   submit ─▶ [ queue ] ─▶ node a: as many tasks as it has workers ─▶ future
//                          node b: ...
//
// Tasks as for a process_pool (remote_executor.hpp), on the workers of nodes
// (node.hpp). The next task goes to the node with the least of them for its
// size. No more are sent than run there at once: what waits, waits here, and
// cancel takes it back exactly.
// Ledger:  the pool knows of each task where it is. Nothing runs twice unless
//          it was declared idempotent. What a node refused unbegun (it drains)
//          goes elsewhere at no cost.
// A death: costs the tasks that ran there their attempt: node_lost, or another
//          try elsewhere if they are idempotent. A node that comes back takes
//          part again by itself. With no node at all tasks wait for one, for
//          `patience`.
// The end: a task that runs on a node can be asked to stop, by its stop_token,
//          and is left to end; a deadline fails its future all the same.
// Not for: handles and methods: those are actors' (on_node). What a task needs
//          of its node the node prepares; there is no initializer.
// Who may call: anybody, from any thread.
#pragma once

#include "troupe/node.hpp"
#include "troupe/remote_executor.hpp"

namespace troupe {

struct node_pool_options {
  /// Those that it begins with; more may join. They need not be up.
  std::vector<node> nodes{};
  /// Tasks that run at each node at a time. Default: as many as it has workers.
  /// Range: 1..1024; 0 and below throw bad_argument.
  std::ptrdiff_t workers = auto_size;
  /// What one task may take, from its sending. Past it the future fails with
  /// timeout and the task's stop_token is triggered; its place at the node is
  /// free when it has ended.
  time_limit deadline = no_deadline;
  /// How often a task declared `idempotent` is tried again when its node is
  /// lost. Default 3. Range: 0..1000.
  int retries = 3;
  /// Tasks that may be queued beside those that run. Range: 1..10^9.
  std::ptrdiff_t queue_tasks_max = 1'000'000;
  /// What submit does past that: wait or reject. A map always waits.
  full_policy full = full_policy::wait;
  /// How long tasks wait when there is no node at all; then they fail with
  /// node_lost. Range: above 0.
  time_limit patience = std::chrono::seconds{10};
};

struct node_pool_statistics {
  std::size_t nodes = 0, workers = 0; // that are there now
  std::size_t queued = 0, running = 0;
  std::uint64_t done = 0, failed = 0, cancelled = 0, retried = 0;
  std::uint64_t lost = 0; // attempts that ended with their node
};

/// What one node has done for a pool.
struct node_load {
  std::string address;
  bool is_up = false;   // tasks can go there
  bool is_gone = false; // it was removed or closed; it gets no more
  std::size_t workers = 0, running = 0;
  std::uint64_t answered = 0, lost = 0;
};

namespace detail {

std::shared_ptr<remote_pool> make_node_pool(runtime& rt,
                                            const node_pool_options&);
void close_node_pool(const std::shared_ptr<remote_pool>& p) noexcept;

} // namespace detail

class node_pool : public remote_executor {
public:
  /// Returns at once.
  /// Errors: bad_argument for a number out of range or a node that is none;
  ///         closed after a stop.
  explicit node_pool(system& sys, node_pool_options opts = {})
    : remote_executor(detail::make_node_pool(sys.runtime(), opts)) {}
  node_pool(const node_pool&) = delete;
  node_pool& operator=(const node_pool&) = delete;

  /// Drains.
  ~node_pool() { detail::close_node_pool(core_); }

  /// From now on tasks go there, too; one that takes part already stays.
  /// Errors: bad_argument (none), closed.
  void add(const node& n);

  /// No more tasks go there; those that run there end there.
  void remove(const node& n);

  node_pool_statistics stats() const;
  /// Those that take part, and the last 100 that did.
  std::vector<node_load> nodes() const;
};

} // namespace troupe
