// SPDX-License-Identifier: MIT
// process_pool: plain functions in worker processes, which may crash.
//
//   troupe::process_pool pool{sys, {.workers = 2, .deadline = 2s}};
//   auto f = pool.submit(troupe::fn<&square>, 7);                // future<int>
//   for (int y : pool.map(troupe::fn<&square>, numbers)) use(y);
//
//   submit ─▶ [ queue ] ─▶ worker 1: [ ring ] ─▶ run ─▶ [ ring ] ─▶ future
//                          worker 2: ...         one private channel each
//
// A task is a function without state (a captureless lambda, fn<&f>) with values
// that travel (sendable.hpp); no registration. It runs in a process forked from
// a copy of this executable that has done nothing yet: nothing of the parent's
// memory is there; what several tasks of a worker share they keep in globals,
// which `initializer` can prepare.
// Ledger:  the parent knows of each task where it is. One that was queued at a
//          worker but not begun goes elsewhere, at no cost, when that worker is
//          slow or dies. Nothing runs twice unless it was declared idempotent.
// The end: a task that runs and is cancelled, or whose pool is shut down with a
//          deadline, is ended by force and fails with cancelled; workers are
//          gone when shutdown returns.
// A death: costs the task that ran its attempt: worker_died, with the
//          certificate. All others go on; the next worker is warm already.
// Who may call: anybody, from any thread.
#pragma once

#include "troupe/certificate.hpp"
#include "troupe/remote_executor.hpp"
#include "troupe/system.hpp"

namespace troupe {

struct process_pool_options;

namespace detail {

std::shared_ptr<remote_pool> make_process_pool(runtime& rt,
                                               const process_pool_options&);
void close_process_pool(const std::shared_ptr<remote_pool>& p) noexcept;

} // namespace detail

/// A function for other processes, as a value: without arguments.
class process_function {
public:
  process_function() = default;
  template <class F>
    requires(std::is_empty_v<F> && std::is_invocable_v<const F&>)
  process_function(F) : entry_(&wire::task_entry<F>()) {}

  explicit operator bool() const noexcept { return entry_ != nullptr; }
  const wire::entry* entry() const noexcept { return entry_; }

private:
  const wire::entry* entry_ = nullptr;
};

struct process_pool_options {
  /// Worker processes. Default: the usable CPUs. Range: 1..1024; 0 and below
  /// throw bad_argument.
  std::ptrdiff_t workers = auto_size;
  /// How many of them are there from the start; the others come when tasks wait
  /// and go when they were idle for `idle_after`. Default: all.
  std::ptrdiff_t workers_min = auto_size;
  /// Warm workers beside these, for a worker that dies. Default 1. Costs the
  /// memory of an idle process.
  std::ptrdiff_t spares = 1;
  /// What one task may take, from its beginning. Past it the future fails with
  /// timeout, and the task is ended: its stop_token, then SIGTERM, SIGABRT and
  /// SIGKILL, `grace` apart.
  time_limit deadline = no_deadline;
  /// How often a task declared `idempotent` is tried again when its worker
  /// dies. Default 0.
  int retries = 0;
  /// Workers that one task may kill before it is set aside. Default 3.
  int quarantine_after = 3;
  /// Tasks after which a worker is replaced by a fresh one (a tenth more or
  /// less, so that not all go at once). Default: no limit.
  std::ptrdiff_t tasks_per_worker_max = auto_size;
  /// What a worker may take beyond what it starts with; checked every 5 ms. One
  /// that takes more is ended with SIGABRT. Default 0: no limit.
  std::size_t memory_max_bytes = 0;
  /// CPU time of a worker's life. Default 0: no limit.
  std::chrono::seconds cpu_time_max{0};
  /// Open files of a worker, 16 and above. Default 0: as the parent.
  int open_files_max = 0;
  /// Added to the priority number of the parent: above 0 is nicer to others.
  /// Range: -20..19.
  int nice = 0;
  /// Tasks that may be queued beside those that run. Range: 1..10^9.
  std::ptrdiff_t queue_tasks_max = 1'000'000;
  /// What submit does past that: wait or reject. A map always waits.
  full_policy full = full_policy::wait;
  /// Runs in each worker before its first task. If it throws, the pool is
  /// broken: what is queued and submitted fails with `closed`, which names it.
  process_function initializer{};
  /// Runs in each worker that ends in good order.
  process_function finalizer{};
  /// Between the steps by which a task is ended.
  std::chrono::nanoseconds grace = std::chrono::milliseconds{200};
  /// A worker that shows no sign of life for so long while it has work (it was
  /// stopped, say) is ended. A busy one does show signs. 0: never.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds{10};
  /// See workers_min.
  std::chrono::nanoseconds idle_after = std::chrono::seconds{30};
};

/// A task that killed too many workers.
struct quarantined_task {
  std::string task;
  std::vector<certificate> deaths;
};

struct process_pool_statistics {
  std::size_t workers = 0, spares = 0, busy = 0, queued = 0, running = 0;
  std::uint64_t done = 0, failed = 0, cancelled = 0, killed = 0, retried = 0,
                crashes = 0, started = 0, recycled = 0, quarantined = 0;
};

class process_pool : public remote_executor {
public:
  /// Returns at once; workers start meanwhile.
  /// Errors: bad_argument for a number out of range; not_sendable in a program
  ///         whose main doesn't call troupe::run; closed after a stop.
  explicit process_pool(system& sys, process_pool_options opts = {})
    : remote_executor(detail::make_process_pool(sys.runtime(), opts)) {}

  process_pool(const process_pool&) = delete;
  process_pool& operator=(const process_pool&) = delete;

  /// Drains.
  ~process_pool() { detail::close_process_pool(core_); }

  process_pool_statistics stats() const;
  /// The processes of the workers that are there, for people and tests.
  std::vector<std::int32_t> pids() const;
  /// The last 100 tasks that were set aside.
  std::vector<quarantined_task> quarantined() const;
};

} // namespace troupe
