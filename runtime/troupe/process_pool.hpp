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
// A death: costs the task that ran its attempt: worker_died, with the
//          certificate. All others go on; the next worker is warm already.
// Who may call: anybody, from any thread.
#pragma once

#include <functional>
#include <map>

#include "troupe/certificate.hpp"
#include "troupe/detail/remote_task.hpp"
#include "troupe/executor.hpp"
#include "troupe/system.hpp"

namespace troupe {

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

/// How one submit differs from the pool's options.
struct task_options {
  /// The pool's, unless said otherwise; 0 and below throw bad_argument.
  std::optional<time_limit> deadline{};
  /// Higher ones begin first; equal ones in order.
  int priority = 0;
};

/// `pool.submit(idempotent(fn<&f>), ...)`: may run more than once, so that it
/// can be tried again when its worker dies.
template <class F>
struct idempotent_t {
  static constexpr std::string_view name()
    requires requires { F::name(); }
  {
    return F::name();
  }
  template <class... Args>
    requires std::is_invocable_v<const F&, Args...>
  decltype(auto) operator()(Args&&... args) const {
    return std::invoke(F{}, std::forward<Args>(args)...);
  }
};

template <class F>
  requires std::is_empty_v<F>
constexpr idempotent_t<F> idempotent(F) {
  return {};
}

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

class process_pool {
public:
  /// Returns at once; workers start meanwhile.
  /// Errors: bad_argument for a number out of range; not_sendable in a program
  ///         whose main doesn't call troupe::run; closed after a stop.
  explicit process_pool(system& sys, process_pool_options opts = {})
    : core_(detail::make_process_pool(sys.runtime(), opts)) {}
  process_pool(const process_pool&) = delete;
  process_pool& operator=(const process_pool&) = delete;

  /// Drains.
  ~process_pool() { detail::close_process_pool(core_); }

  /// Runs `f(args...)` in a worker; a function that takes a std::stop_token
  /// first gets one that `future::cancel` and the deadline trigger.
  /// Shape:  arguments are encoded here and now; future<R>. cancel() takes back
  ///         a task that has not begun (true); one that runs is ended by force
  ///         and fails with cancelled (false).
  /// Errors: what `f` throws (standard types as themselves, others as
  ///         task_failed), worker_died, timeout, cancelled, decode_error;
  ///         closed after shutdown; rejected when full, by policy; bad_argument
  ///         for arguments too large to travel.
  template <class F, class... As>
  auto submit(F f, As&&... args) {
    return start({}, true, f, std::forward<As>(args)...);
  }

  /// `with({.deadline = 50ms}).submit(f, args...)`.
  class limited {
  public:
    limited(process_pool& pool, task_options opts)
      : pool_(pool),
        options_(opts) {}
    template <class F, class... As>
    auto submit(F f, As&&... args) const {
      return pool_.start(options_, true, f, std::forward<As>(args)...);
    }

  private:
    process_pool& pool_;
    task_options options_;
  };
  limited with(task_options opts) { return {*this, opts}; }

  /// `f(x)` for each x, results in order, lazily; see map_range.
  /// Errors: bad_argument for a chunk or window of 0 and below.
  template <class F, class Range>
  auto map(F f, Range&& range, map_options opts = {}) {
    return map_range<process_pool, F, detail::held_t<Range>, true>{
      *this, f, detail::hold_range(std::forward<Range>(range)), opts};
  }

  /// The same with chunks of 1 unless said otherwise.
  template <class F, class Range>
  auto imap(F f, Range&& range, map_options opts = {.chunk = 1}) {
    return map(f, std::forward<Range>(range), opts);
  }

  /// Results as they come.
  template <class F, class Range>
  auto imap_unordered(F f, Range&& range, map_options opts = {.chunk = 1}) {
    return map_range<process_pool, F, detail::held_t<Range>, false>{
      *this, f, detail::hold_range(std::forward<Range>(range)), opts};
  }

  /// `f(a, b, ...)` for each tuple.
  template <class F, class Range>
  auto starmap(F, Range&& range, map_options opts = {}) {
    return map(detail::spread_t<F>{}, std::forward<Range>(range), opts);
  }

  /// Calls `f(x)` for each x and returns when all calls are over.
  /// Errors: the first one, after all calls.
  template <class F, class Range>
  void for_each(F f, Range&& range, map_options opts = {}) {
    auto results = map(f, std::forward<Range>(range), opts);
    std::exception_ptr error;
    for (auto i = results.begin(); i != results.end(); ++i) {
      try {
        static_cast<void>(*i);
      } catch (...) {
        if (!error)
          error = std::current_exception();
      }
    }
    if (error)
      std::rethrow_exception(error);
  }

  /// Refuses new tasks, then waits for those accepted (drain) or cancels what
  /// has not begun (cancel_pending); past the deadline the rest is cancelled
  /// and killed. Workers are gone when it returns. Idempotent.
  drain_report shutdown(shutdown_mode mode = drain,
                        time_limit deadline = no_deadline) {
    return detail::shut_down(*core_, mode, deadline.ns());
  }

  std::size_t workers() const { return detail::workers_of(*core_); }
  process_pool_statistics stats() const;
  /// The processes of the workers that are there, for people and tests.
  std::vector<std::int32_t> pids() const;
  /// The last 100 tasks that were set aside.
  std::vector<quarantined_task> quarantined() const;

  /// For map_range: one chunk as one task.
  template <class F, class In>
  auto submit_chunk(const std::shared_ptr<detail::map_work<F>>&,
                    std::vector<In> inputs) {
    using task = detail::chunk_task<F, In>;
    return start_as<typename task::results>(
      wire::task_entry<task, std::vector<wire::packed_t<In>>>(),
      detail::is_idempotent<F>, {}, false,
      [&](wire::writer& out) {
        wire::encode_args<std::vector<wire::packed_t<In>>>(out, inputs);
      },
      detail::decode_chunk<F, In>);
  }

private:
  template <class F, class... As>
  auto start(task_options opts, bool may_reject, F, As&&... args) {
    using result = wire::task_result_t<F, wire::packed_t<As>...>;
    return start_as<result>(
      wire::task_entry<F, wire::packed_t<As>...>(), detail::is_idempotent<F>,
      opts, may_reject,
      [&](wire::writer& out) {
        wire::encode_args<wire::packed_t<As>...>(out, args...);
      },
      detail::decode_value<result>);
  }

  template <class R, class Encode>
  future<R> start_as(const wire::entry& entry, bool idempotent,
                     const task_options& opts, bool may_reject, Encode encode,
                     void (*decode)(detail::state<R>&, wire::reader&)) {
    auto* t = new detail::process_task<R>{*core_, entry, decode};
    future<R> f{detail::state_ptr<detail::state<R>>{t}};
    t->is_idempotent = idempotent;
    t->priority = opts.priority;
    if (opts.deadline)
      t->deadline_ns = detail::checked_task_limit(*opts.deadline);
    detail::encode_arguments(*t, encode);
    detail::submit_to(*core_, *t, may_reject);
    return f;
  }

  std::shared_ptr<detail::process_core> core_;
};

} // namespace troupe
