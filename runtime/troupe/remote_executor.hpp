// SPDX-License-Identifier: MIT
// remote_executor: what the pools share whose tasks run in other processes:
// process_pool and node_pool. executor.hpp has the words that all pools share.
//
// A task is a function without state (a captureless lambda, fn<&f>) with values
// that travel (sendable.hpp); no registration.
#pragma once

#include <functional>

#include "troupe/detail/remote_task.hpp"
#include "troupe/executor.hpp"

namespace troupe {

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

/// The common part of both pools; its own page says what differs: what ends a
/// task that runs, and what its worker's death costs it.
class remote_executor {
public:
  remote_executor(const remote_executor&) = delete;
  remote_executor& operator=(const remote_executor&) = delete;

  /// Runs `f(args...)` there; a function that takes a std::stop_token first
  /// gets one that `future::cancel` and the deadline trigger.
  /// Shape:  arguments are encoded here and now; future<R>. cancel() takes back
  ///         a task that has not begun (true); to one that runs (false) happens
  ///         what its pool's page says.
  /// Errors: what `f` throws (standard types as themselves, others as
  ///         task_failed), worker_died or node_lost, timeout, cancelled,
  ///         decode_error; closed after shutdown; rejected when full, by
  ///         policy; bad_argument for arguments too large to travel.
  template <class F, class... As>
  auto submit(F f, As&&... args) {
    return start({}, true, f, std::forward<As>(args)...);
  }

  /// `with({.deadline = 50ms}).submit(f, args...)`.
  class limited {
  public:
    limited(remote_executor& pool, task_options opts)
      : pool_(pool),
        options_(opts) {}
    template <class F, class... As>
    auto submit(F f, As&&... args) const {
      return pool_.start(options_, true, f, std::forward<As>(args)...);
    }

  private:
    remote_executor& pool_;
    task_options options_;
  };
  limited with(task_options opts) { return {*this, opts}; }

  /// `f(x)` for each x, results in order, lazily; see map_range.
  /// Errors: bad_argument for a chunk or window of 0 and below.
  template <class F, class Range>
  auto map(F f, Range&& range, map_options opts = {}) {
    return map_range<remote_executor, F, detail::held_t<Range>, true>{
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
    return map_range<remote_executor, F, detail::held_t<Range>, false>{
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
  /// and ended as its pool can. Idempotent.
  drain_report shutdown(shutdown_mode mode = drain,
                        time_limit deadline = no_deadline) {
    return core_->shut_down(mode, deadline.ns());
  }

  /// That tasks can run on, at least 1.
  std::size_t workers() const { return core_->workers(); }

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
    auto* t = new detail::remote_call<R>{*core_, entry, decode};
    future<R> f{detail::state_ptr<detail::state<R>>{t}};
    t->is_idempotent = idempotent;
    t->priority = opts.priority;
    if (opts.deadline)
      t->deadline_ns = detail::checked_task_limit(*opts.deadline);
    detail::encode_arguments(*core_, *t, encode);
    core_->submit(*t, may_reject);
    return f;
  }

protected:
  explicit remote_executor(std::shared_ptr<detail::remote_pool> core)
    : core_(std::move(core)) {}
  ~remote_executor() = default;

  const std::shared_ptr<detail::remote_pool> core_;
};

} // namespace troupe
