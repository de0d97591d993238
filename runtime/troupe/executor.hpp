// SPDX-License-Identifier: MIT
// executor: what every pool can do, whatever its workers are: submit, map,
// imap, imap_unordered, starmap, for_each, shutdown. The words are those of
// Python's concurrent.futures and multiprocessing.
//
//   inputs ──pull──▶ [ window: chunks in flight ] ──in order──▶ for (auto y :
//   …)
//
// A map pulls no more inputs than its window, so that endless input and slow
// consumers cost flat memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span> // std::ranges::view
#include <tuple>
#include <vector>

#include "troupe/wait.hpp"

namespace troupe {

/// Stands for a size that the library chooses.
inline constexpr std::ptrdiff_t auto_size = PTRDIFF_MIN;
/// The same, for chunks.
inline constexpr std::ptrdiff_t auto_chunk = auto_size;

/// How a map cuts its inputs and how long it may take.
struct map_options {
  /// Inputs per task; 0 and below are refused before anything runs. Automatic:
  /// about 8 tasks per worker when the number of inputs is known, else 16, and
  /// less in a small window.
  std::ptrdiff_t chunk = auto_chunk;
  /// Inputs pulled ahead of the results taken; 0 and below are refused.
  /// Automatic: 4 chunks per worker, at least 256 inputs.
  std::ptrdiff_t window = auto_size;
  /// For all results together, from the call on; what has not begun by then is
  /// given up.
  time_limit deadline = no_deadline;
};

/// What became of the tasks of a pool.
struct drain_report {
  std::uint64_t done = 0;      // returned a value
  std::uint64_t failed = 0;    // threw, died, or was ended by force
  std::uint64_t cancelled = 0; // never began
  std::uint64_t killed = 0;    // of those that failed: ended by force
  std::uint64_t running = 0;   // did not end in time and still run
  bool clean = true;           // nothing was cancelled by it, killed or left
};

std::string to_string(const drain_report& r);

/// How `shutdown` treats what is queued.
enum class shutdown_mode : unsigned char { drain, cancel_pending };
inline constexpr auto drain = shutdown_mode::drain;
inline constexpr auto cancel_pending = shutdown_mode::cancel_pending;

namespace detail {

// One result of a map, or why there is none.
template <class R>
struct outcome {
  std::conditional_t<std::is_void_v<R>, nothing, std::optional<R>> value;
  std::exception_ptr error;
};

// A task that is about to wait for another of its pool runs it, if unbegun.
inline void help(state_base& s) {
  if (s.ops->run_here != nullptr && !s.is_settled())
    s.ops->run_here(&s);
}

template <class R>
using chunk_result = std::vector<outcome<R>>;

// What the chunks of a map share: they outlive it when it is let go.
template <class F>
struct map_work {
  F f;
  std::atomic<bool> given_up{false}; // nothing more is to begin

  explicit map_work(F fn) : f(std::move(fn)) {}
};

// Calls `f` on each input of a chunk; what one throws concerns that one alone.
template <class R, class F, class In>
chunk_result<R> run_chunk(map_work<F>& work, std::vector<In>& inputs) {
  chunk_result<R> results(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (work.given_up.load(std::memory_order_relaxed))
      break; // nobody looks at the rest
    try {
      if constexpr (std::is_void_v<R>)
        std::invoke(work.f, std::move(inputs[i]));
      else
        results[i].value.emplace(std::invoke(work.f, std::move(inputs[i])));
    } catch (...) {
      results[i].error = std::current_exception();
    }
  }
  return results;
}

/// The error of a chunk that came back with `got` results for `inputs` inputs.
std::exception_ptr wrong_number(std::size_t got, std::size_t inputs);
std::size_t checked_size(std::ptrdiff_t n, std::size_t automatic,
                         const char* what);
std::size_t chunk_for(std::size_t inputs, std::size_t workers);
// The same for inputs that stay where they are.
std::size_t stretch_for(std::size_t inputs, std::size_t workers);

std::size_t window_for(std::size_t chunk, std::size_t workers);

// Turns `f(a, b)` into a function of one tuple.
template <class F>
struct spread {
  F f;
  template <class Tuple>
  decltype(auto) operator()(Tuple&& t) {
    return std::apply(f, std::forward<Tuple>(t));
  }
};

// A range that is somewhere else: of one that can't be copied, or of two
// iterators. Not the standard's: <ranges> is a tenth of what hello compiles.
template <class Range>
struct range_elsewhere {
  Range* range = nullptr;

  auto begin() const { return std::begin(*range); }
  auto end() const { return std::end(*range); }
};

template <class Iterator, class End>
struct range_between {
  Iterator first;
  End last;

  Iterator begin() const { return first; }
  End end() const { return last; }
};

template <class Range>
constexpr bool is_elsewhere = std::ranges::view<Range>;
template <class Range>
constexpr bool is_elsewhere<range_elsewhere<Range>> = true;
template <class Iterator, class End>
constexpr bool is_elsewhere<range_between<Iterator, End>> = true;

// What a map keeps of a range: a copy of what is named, so that it may go; a
// view as the view it is; what can't be copied by reference.
template <class Range>
auto hold_range(Range&& range) {
  using plain = std::remove_cvref_t<Range>;
  if constexpr (std::is_array_v<plain>)
    return std::vector<std::remove_cv_t<std::remove_extent_t<plain>>>(
      std::begin(range), std::end(range));
  else if constexpr (std::is_constructible_v<plain, Range>)
    return plain(std::forward<Range>(range));
  else
    return range_elsewhere<std::remove_reference_t<Range>>{&range};
}

template <class Range>
using held_t = decltype(hold_range(std::declval<Range>()));

template <class Iterator>
struct value_at {
  using type = std::decay_t<decltype(*std::declval<Iterator&>())>;
};
template <class Iterator>
  requires requires { typename std::iter_value_t<Iterator>; }
struct value_at<Iterator> {
  using type = std::iter_value_t<Iterator>;
};

template <class Range>
using input_of =
  typename value_at<decltype(std::begin(std::declval<Range&>()))>::type;

// The elements of our copy of a container may be moved out, those behind a view
// may not. A container is what gives constant elements when it is constant.
template <class Range>
constexpr bool owns_elements = false;
template <class Range>
  requires requires(const Range& r) { *std::begin(r); }
constexpr bool owns_elements<Range> =
  !is_elsewhere<Range>
  && std::is_const_v<std::remove_reference_t<decltype(*std::begin(
    std::declval<const Range&>()))>>;

template <class Range>
constexpr bool is_sized = requires(Range& r) { std::size(r); }
                          || requires(Range& r) {
                               { std::end(r) - std::begin(r) };
                             };

template <class Range>
std::size_t size_of(Range& r) {
  if constexpr (requires { std::size(r); })
    return static_cast<std::size_t>(std::size(r));
  else
    return static_cast<std::size_t>(std::end(r) - std::begin(r));
}

} // namespace detail

/// The results of a map: an input range, to be gone through once. What an input
/// made `f` throw is thrown where its result is taken (`*it`); going on with
/// `++it` gives the next. Letting it go cancels what has not begun; calls that
/// run are not waited for. The pool must outlive it.
/// One `f` serves all calls, from several threads at the same time.
template <class Pool, class F, class Range, bool Ordered>
class map_range {
  using input = detail::input_of<Range>;
  struct impl;

public:
  using value_type = std::decay_t<std::invoke_result_t<F&, input>>;
  /// Moves when something is made from it, as std::generator's.
  using reference = std::add_rvalue_reference_t<value_type>;

  map_range(Pool& pool, F f, Range range, const map_options& opts)
    : impl_(
        std::make_unique<impl>(pool, std::move(f), std::move(range), opts)) {
    impl_->start();
  }

  class iterator {
  public:
    using value_type = map_range::value_type;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(impl* i) : impl_(i) {}
    /// Waits for the result, which is valid until `++`.
    /// Errors: what `f` or the input threw; closed, when the pool was shut down
    ///         before it began; timeout (then it is at its end).
    reference operator*() const { return impl_->take(); }
    iterator& operator++() {
      impl_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) {
      return i.is_at_end();
    }

  private:
    bool is_at_end() const { return impl_->is_at_end(); }

    impl* impl_ = nullptr;
  };

  iterator begin() { return iterator{impl_.get()}; }
  std::default_sentinel_t end() const { return {}; }

  /// All results at once. Errors: the first one.
  auto to_vector() {
    if constexpr (std::is_void_v<value_type>) {
      for (auto i = begin(); i != end(); ++i)
        *i;
    } else {
      std::vector<value_type> all;
      for (auto i = begin(); i != end(); ++i)
        all.push_back(*i);
      return all;
    }
  }

private:
  using results = detail::chunk_result<value_type>;

  struct flight {
    future<results> result;
    std::size_t inputs;
  };

  struct impl {
    Pool& pool;
    std::shared_ptr<detail::map_work<F>> work;
    Range range;
    decltype(std::begin(std::declval<Range&>())) next;
    std::size_t chunk, window;
    std::int64_t until;
    std::deque<flight> flying;
    std::size_t in_flight = 0; // inputs pulled, results not passed
    results current;
    std::size_t at = 0;             // in current
    bool dry = false;               // no more is pulled
    std::exception_ptr input_error; // comes after the results

    impl(Pool& p, F fn, Range r, const map_options& o)
      : pool(p),
        work(std::make_shared<detail::map_work<F>>(std::move(fn))),
        range(std::move(r)),
        next(std::begin(range)),
        until(detail::due_after(o.deadline)) {
      std::size_t automatic = 16;
      if constexpr (detail::is_sized<Range>)
        automatic = detail::chunk_for(detail::size_of(range), p.workers());
      chunk = detail::checked_size(o.chunk, automatic, "map: chunk");
      window = detail::checked_size(
        o.window, detail::window_for(chunk, p.workers()), "map: window");
      if (o.chunk == auto_chunk)
        chunk = std::clamp<std::size_t>(window / (4 * p.workers()), 1, chunk);
      else
        chunk = std::min(chunk, window);
    }

    ~impl() { give_up(); }

    // The window is filled to the last input; errors of the pool come at once.
    void start() {
      while (in_flight < window && launch()) {}
      if (flying.empty() && input_error)
        std::rethrow_exception(std::exchange(input_error, nullptr));
    }

    // Afterwards in whole chunks, or chunks would shrink to one input each.
    void refill() {
      while ((window - in_flight >= chunk || flying.empty()) && launch()) {}
    }

    // Pulls a chunk and submits it; false when there is no more.
    bool launch() {
      if (dry)
        return false;
      auto inputs = pull(std::min(chunk, window - in_flight));
      if (inputs.empty())
        return false;
      auto n = inputs.size();
      try {
        flying.push_back({pool.submit_chunk(work, std::move(inputs)), n});
        in_flight += n;
        return true;
      } catch (...) {
        dry = true;
        input_error = std::current_exception();
        return false;
      }
    }

    std::vector<input> pull(std::size_t most) {
      std::vector<input> inputs;
      inputs.reserve(std::min<std::size_t>(most, 1024));
      try {
        for (; inputs.size() < most; ++next) {
          if (next == std::end(range)) {
            dry = true;
            break;
          }
          if constexpr (detail::owns_elements<Range>)
            inputs.push_back(std::move(*next));
          else
            inputs.push_back(*next);
        }
      } catch (...) {
        input_error = std::current_exception();
        dry = true;
      }
      return inputs;
    }

    bool is_at_end() {
      return at == current.size() && flying.empty() && !input_error;
    }

    reference take() {
      if (at == current.size())
        load();
      auto& o = current[at];
      if (o.error)
        std::rethrow_exception(o.error);
      if constexpr (!std::is_void_v<value_type>)
        return std::move(*o.value);
    }

    void advance() {
      if (at == current.size()) {
        if (flying.empty()) {
          input_error = nullptr; // it was thrown: the end
          return;
        }
        load();
      }
      ++at;
      --in_flight;
      refill();
    }

    // Makes the next chunk's results current.
    void load() {
      if (flying.empty())
        std::rethrow_exception(std::exchange(input_error, nullptr));
      auto i = flying.begin();
      if constexpr (!Ordered)
        i = first_settled();
      detail::help(*i->result.shared_state());
      if (!i->result.wait_for(left())) {
        auto n = in_flight;
        give_up();
        throw timeout{"map: the deadline has passed, " + std::to_string(n)
                      + " inputs were in flight and are given up"};
      }
      auto done = std::move(*i);
      flying.erase(i);
      at = 0;
      auto& state = *done.result.shared_state();
      if (state.at.load(std::memory_order_acquire) == detail::phase::value) {
        current = std::move(state.value);
        if (current.size() == done.inputs)
          return;
        // Another process counted wrong.
        fail_all(done.inputs,
                 detail::wrong_number(current.size(), done.inputs));
        return;
      }
      // The chunk as a whole came to nothing (cancelled, pool closed).
      fail_all(done.inputs, done.result.exception());
    }

    void fail_all(std::size_t inputs, const std::exception_ptr& why) {
      current = results(inputs);
      for (auto& o : current)
        o.error = why;
    }

    auto first_settled() {
      auto is_ready = [](const flight& f) { return f.result.ready(); };
      auto i = std::find_if(flying.begin(), flying.end(), is_ready);
      if (i != flying.end())
        return i;
      std::vector<future<results>> all;
      for (auto& f : flying)
        all.push_back(f.result);
      (void)troupe::wait(all, first_completed, left());
      i = std::find_if(flying.begin(), flying.end(), is_ready);
      return i != flying.end() ? i : flying.begin();
    }

    time_limit left() const {
      if (until == INT64_MAX)
        return no_deadline;
      return std::chrono::nanoseconds{
        until - detail::due_after(std::chrono::nanoseconds{0})};
    }

    void give_up() {
      work->given_up.store(true, std::memory_order_relaxed);
      for (auto& f : flying)
        f.result.cancel();
      flying.clear();
      current.clear();
      at = 0;
      in_flight = 0;
      dry = true;
      input_error = nullptr;
    }
  };

  std::unique_ptr<impl> impl_;
};

} // namespace troupe
