// SPDX-License-Identifier: MIT
// thread_pool: plain functions on the system's worker threads.
//
//   troupe::thread_pool pool{sys, {.workers = 4}};
//   auto f = pool.submit([](int x) { return x * x; }, 7);      // future<int>
//   for (int y : pool.map(troupe::fn<&square>, numbers)) use(y);
//
//   submit ─▶ [ inbox ] ─▶ [ ready ] ─batch─▶ runner: deque ─▶ run
//                                             runner: deque ◀── steal
//
// A pool is up to `workers` runners that share the workers with the actors; a
// task is no message and no allocation but its own. With more workers than the
// system has, the system starts the missing threads.
// Who may call: anybody, from any thread, tasks included.
// Waiting: a task that waits for another task of its pool runs it itself if
//          nobody has begun it; while it waits for when_all, when_any or what
//          `then` returned, another takes its place: a pool of one can't lock
//          up by that. Any other wait keeps its place.
// A death:  leaving the scope drains: what was accepted runs to its end. A task
//          that never ends is waited for; `shutdown` sets a limit.
#pragma once

#include <functional>
#include <iterator>
#include <mutex>
#include <stop_token>

#include "troupe/executor.hpp"
#include "troupe/system.hpp"

namespace troupe {

struct thread_pool_options {
  /// Tasks at the same time. Default: the system's workers. Range: 1..1024;
  /// 0 and below throw bad_argument.
  std::ptrdiff_t workers = auto_size;
  /// Tasks that may be queued beside those that run; at least 1. Raising it
  /// costs memory.
  std::ptrdiff_t queue_tasks_max = 4'000'000;
  /// What submit does past that: wait, reject or caller_runs. A task of the
  /// pool itself never waits: it runs what it submits. A map always waits.
  full_policy full = full_policy::wait;
  /// Runs once in each thread before its first task of this pool (a thread that
  /// stands in for one that waits is one more). If it throws the pool is
  /// broken: what is queued and submitted fails with `closed`, whose text names
  /// the cause.
  std::function<void()> initializer = {};
};

namespace detail {

class pool_core; // core/pool_core.hpp

/// A task, whatever it does; owned by the pool until it has run.
struct pool_task {
  pool_task* next = nullptr;
  /// dropped: by the pool, without having begun. elsewhere: another counts it.
  enum class end : unsigned char {
    done,
    failed,
    cancelled,
    dropped,
    elsewhere
  };
  /// Runs it, unless it was cancelled or a waiting task has run it.
  end (*run)(pool_task*) noexcept;
  /// Gives it up: fails with `why` (null: cancelled).
  end (*drop)(pool_task*, std::exception_ptr why) noexcept;
};

pool_core* make_pool(runtime& rt, const thread_pool_options& opts);
void close_pool(pool_core* p) noexcept; // drains, then frees
void submit_to(pool_core* p, pool_task* t, bool may_reject = true);
bool is_inside(const pool_core* p) noexcept;
void count_inline(pool_core* p, pool_task::end how) noexcept;
drain_report shut_down(pool_core* p, shutdown_mode mode, std::int64_t limit_ns);
std::size_t workers_of(const pool_core* p) noexcept;

/// A running task that can be asked to stop.
struct stoppable {
  stoppable* previous = nullptr;
  stoppable* next = nullptr;
  std::stop_source source;
};
void begin_stoppable(pool_core* p, stoppable& s) noexcept;
void end_stoppable(pool_core* p, stoppable& s) noexcept;

// Of a task that can't be claimed: a cancel it was, not a helper that runs it.
bool was_cancelled(const state_base& s) noexcept;

template <class F, class... As>
constexpr bool takes_token = std::is_invocable_v<F&, std::stop_token, As&&...>
                             && !std::is_invocable_v<F&, As&&...>;

template <class F, class... As>
struct task_result {
  using type = std::invoke_result_t<F&, As&&...>;
};
template <class F, class... As>
  requires takes_token<F, As...>
struct task_result<F, As...> {
  using type = std::invoke_result_t<F&, std::stop_token, As&&...>;
};

/// The function, its arguments, its future's state: one block.
template <class F, class... As>
struct bound_task final
  : pool_task,
    state<std::decay_t<typename task_result<F, As...>::type>>,
    pooled {
  using result = std::decay_t<typename task_result<F, As...>::type>;
  using base = state<result>;
  static constexpr bool with_token = takes_token<F, As...>;
  static_assert(!is_task<result>::value,
                "coroutines run in actors; a pool takes plain functions");

  struct work {
    F f;
    std::tuple<As...> args;
  };
  union {
    work body; // gone once it has run
  };
  pool_core* pool;
  [[no_unique_address]] std::conditional_t<with_token, stoppable, nothing> stop;

  template <class G, class... Bs>
  explicit bound_task(pool_core* p, G&& g, Bs&&... bs)
    : pool_task{nullptr, &run_it, &drop_it},
      base(&table),
      pool(p) {
    ::new (static_cast<void*>(std::addressof(body)))
      work{std::forward<G>(g), std::tuple<As...>(std::forward<Bs>(bs)...)};
    this->refs.store(2, std::memory_order_relaxed); // pool and future
  }
  ~bound_task() {}

  // Runs it, once it is claimed: nobody else settles it then.
  pool_task::end perform() noexcept {
    if constexpr (with_token)
      begin_stoppable(pool, stop);
    std::exception_ptr error;
    auto gone = false, settled = false;
    try {
      // The arguments are gone before the future settles.
      if constexpr (std::is_void_v<result>) {
        call();
        gone = true;
        error = drop_body();
        settled = !error;
        if (settled)
          conclude();
      } else {
        result r = call();
        gone = true;
        error = drop_body();
        settled = !error;
        if (settled)
          conclude(std::move(r));
      }
    } catch (...) {
      error = std::current_exception();
      if (!gone)
        drop_body();
    }
    if (!settled) {
      if constexpr (with_token)
        end_stoppable(pool, stop);
      this->failure = std::move(error);
      this->finish(phase::error);
    }
    return this->at.load(std::memory_order_relaxed) == phase::value
             ? pool_task::end::done
             : pool_task::end::failed;
  }

  template <class... Value>
  void conclude(Value&&... value) noexcept {
    if constexpr (with_token)
      end_stoppable(pool, stop);
    this->put(std::forward<Value>(value)...);
  }

  // A destructor that throws is an error like any other.
  std::exception_ptr drop_body() noexcept {
    if constexpr (std::is_nothrow_destructible_v<work>) {
      body.~work();
    } else {
      try {
        body.~work();
      } catch (...) {
        return std::current_exception();
      }
    }
    return nullptr;
  }

  decltype(auto) call() {
    return std::apply(
      [this](As&... as) -> decltype(auto) {
        if constexpr (with_token)
          return std::invoke(body.f, stop.source.get_token(), std::move(as)...);
        else
          return std::invoke(body.f, std::move(as)...);
      },
      body.args);
  }

  // The body of a cancelled task stays with the queue.
  static pool_task::end run_it(pool_task* t) noexcept {
    auto* self = static_cast<bound_task*>(t);
    auto how = pool_task::end::elsewhere;
    if (self->claim()) {
      how = self->perform();
    } else if (was_cancelled(*self)) {
      how = pool_task::end::cancelled;
      self->drop_body();
    }
    self->release();
    return how;
  }

  static pool_task::end drop_it(pool_task* t, std::exception_ptr why) noexcept {
    auto* self = static_cast<bound_task*>(t);
    auto how = pool_task::end::elsewhere;
    auto was = phase::pending;
    if (self->at.compare_exchange_strong(was, phase::settling)) {
      how = pool_task::end::dropped;
      self->drop_body();
      self->failure = std::move(why);
      self->finish(self->failure ? phase::error : phase::cancelled);
    } else if (was_cancelled(*self)) {
      how = pool_task::end::cancelled;
      self->drop_body();
    }
    self->release();
    return how;
  }

  static void free(state_base* s) noexcept {
    delete static_cast<bound_task*>(static_cast<base*>(s));
  }

  static void ask_stop(state_base* s) noexcept {
    if constexpr (with_token)
      static_cast<bound_task*>(static_cast<base*>(s))
        ->stop.source.request_stop();
  }

  // A task of the same pool waits for it: runs it there, if it is unbegun.
  static void run_here(state_base* s) noexcept {
    auto* self = static_cast<bound_task*>(static_cast<base*>(s));
    if (!is_inside(self->pool))
      return;
    if (self->claim())
      count_inline(self->pool, self->perform());
  }

  static constexpr state_ops table{&free, &ask_stop, &run_here};
};

} // namespace detail

class thread_pool {
public:
  /// Errors: bad_argument for a size out of range.
  explicit thread_pool(system& sys, thread_pool_options opts = {})
    : core_(detail::make_pool(sys.runtime(), opts)) {}
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;

  /// Drains.
  ~thread_pool() { detail::close_pool(core_); }

  /// Runs `f(args...)` on a worker; a function that takes a std::stop_token
  /// first gets one that `future::cancel` triggers, and so does a shutdown that
  /// can't wait.
  /// Shape:  arguments are copied or moved in; future<R>.
  /// Errors: closed after shutdown; rejected when full, by policy. What `f`
  ///         throws comes out of the future as it is.
  template <class F, class... As>
  auto submit(F&& f, As&&... args) {
    return start<true>(std::forward<F>(f), std::forward<As>(args)...);
  }

  /// `f(x)` for each x, results in order, lazily; work begins at once.
  /// Shape:  a named container is copied (hand a view to avoid that), one that
  ///         is handed over is moved from.
  /// Errors: bad_argument for a chunk or window of 0 and below; see map_range.
  template <class F, class Range>
  auto map(F f, Range&& range, map_options opts = {}) {
    return map_range<thread_pool, F, detail::held_t<Range>, true>{
      *this, std::move(f), detail::hold_range(std::forward<Range>(range)),
      opts};
  }

  /// The same with chunks of 1 unless said otherwise.
  template <class F, class Range>
  auto imap(F f, Range&& range, map_options opts = {.chunk = 1}) {
    return map(std::move(f), std::forward<Range>(range), opts);
  }

  /// Results as they come.
  template <class F, class Range>
  auto imap_unordered(F f, Range&& range, map_options opts = {.chunk = 1}) {
    return map_range<thread_pool, F, detail::held_t<Range>, false>{
      *this, std::move(f), detail::hold_range(std::forward<Range>(range)),
      opts};
  }

  /// `f(a, b, ...)` for each tuple.
  template <class F, class Range>
  auto starmap(F f, Range&& range, map_options opts = {}) {
    return map(detail::spread<F>{std::move(f)}, std::forward<Range>(range),
               opts);
  }

  /// Calls `f(x)` for each x of a range and returns when all calls are over.
  /// Shape:  a random-access range is indexed in place, nothing is copied. A
  ///         task of this pool takes part in the work.
  /// Errors: what a call throws (of several the one whose x comes first), after
  ///         all calls; timeout, when the calls that run have ended; closed or
  ///         cancelled, when the pool was shut down before all had begun.
  template <class F, class Range>
  void for_each(F f, Range&& range, map_options opts = {});

  /// Refuses new tasks, then waits for those accepted (drain) or cancels what
  /// has not begun (cancel_pending); past the deadline the rest is cancelled,
  /// running tasks are asked to stop, and it returns. Idempotent.
  /// Errors: bad_argument when one of its own tasks calls it.
  drain_report shutdown(shutdown_mode mode = drain,
                        time_limit deadline = no_deadline) {
    return detail::shut_down(core_, mode, deadline.ns());
  }

  std::size_t workers() const { return detail::workers_of(core_); }

  /// For map_range: one chunk as one task.
  template <class F, class In>
  auto submit_chunk(std::shared_ptr<detail::map_work<F>> work,
                    std::vector<In> inputs) {
    using R = std::decay_t<std::invoke_result_t<F&, In>>;
    return start<false>(
      [](const std::shared_ptr<detail::map_work<F>>& w, std::vector<In> xs) {
        return detail::run_chunk<R>(*w, xs);
      },
      std::move(work), std::move(inputs));
  }

private:
  template <bool MayReject, class F, class... As>
  auto start(F&& f, As&&... args) {
    using task = detail::bound_task<std::decay_t<F>, std::decay_t<As>...>;
    auto* t = new task{core_, std::forward<F>(f), std::forward<As>(args)...};
    future<typename task::result> result{
      detail::state_ptr<detail::state<typename task::result>>{t}};
    detail::submit_to(core_, t, MayReject);
    return result;
  }

  template <class F, class Iterator>
  void sweep_all(F& f, Iterator first, std::size_t n, const map_options& opts);

  detail::pool_core* core_;
};

namespace detail {

// A range that several tasks go through, chunk by chunk.
struct sweep {
  const std::size_t size, chunk;
  const std::int64_t due;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> over{false}; // the deadline has passed
  std::mutex mutex;
  std::exception_ptr error; // under mutex
  std::size_t error_at = 0; // under mutex

  sweep(std::size_t n, std::size_t c, time_limit limit)
    : size(n),
      chunk(std::min(n, c)),
      due(due_after(limit)) {}

  // Of all errors that of the first position stays.
  void note(std::size_t at) noexcept;
  bool is_late() noexcept;
  // Waits for the parts; those that have not begun when it is late, never do.
  void join(std::vector<future<void>>& parts);
  // Throws what is to be said.
  void conclude(std::vector<future<void>>& parts);

  template <class F, class Iterator>
  void run(F& f, Iterator first) {
    if (due == INT64_MAX)
      run_until<false>(f, first);
    else
      run_until<true>(f, first);
  }

private:
  template <bool Limited, class F, class Iterator>
  void run_until(F& f, Iterator first) {
    using difference = typename std::iterator_traits<Iterator>::difference_type;
    while (next.load(std::memory_order_relaxed) < size) {
      auto i = next.fetch_add(chunk, std::memory_order_relaxed);
      if (i >= size)
        return;
      // Of a trivial `f` little more than this loop is left: one thing counts.
      auto at = first + static_cast<difference>(i);
      const auto end = at + static_cast<difference>(std::min(chunk, size - i));
      while (at != end) {
        try {
          for (; at != end; ++at) {
            if (Limited && is_late())
              return;
            f(*at);
          }
        } catch (...) {
          note(static_cast<std::size_t>(at - first));
          ++at;
        }
      }
    }
  }
};

} // namespace detail

template <class F, class Iterator>
void thread_pool::sweep_all(F& f, Iterator first, std::size_t n,
                            const map_options& opts) {
  auto chunk = detail::checked_size(
    opts.chunk, detail::stretch_for(n, workers()), "for_each: chunk");
  if (n == 0)
    return;
  detail::sweep all{n, chunk, opts.deadline};
  auto body = [&] { all.run(f, first); };
  std::vector<future<void>> parts;
  parts.reserve(std::min(workers(), (n - 1) / all.chunk + 1));
  try {
    while (parts.size() < parts.capacity())
      parts.push_back(start<false>(body));
  } catch (...) {
    if (parts.empty())
      throw;
    // It was shut down in between: those that were taken do it all.
  }
  // Until all parts have ended nothing may throw: they use our locals.
  if (detail::is_inside(core_)) {
    body();
    for (auto& p : parts)
      p.cancel();
  }
  all.join(parts);
  all.conclude(parts);
}

template <class F, class Range>
void thread_pool::for_each(F f, Range&& range, map_options opts) {
  auto first = std::begin(range);
  if constexpr (requires(std::ptrdiff_t n) {
                  first + n;
                  std::end(range) - first;
                }) {
    sweep_all(f, first, static_cast<std::size_t>(std::end(range) - first),
              opts);
  } else {
    auto results = map(std::move(f),
                       detail::range_between{first, std::end(range)}, opts);
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
}

} // namespace troupe
