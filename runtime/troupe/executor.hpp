// SPDX-License-Identifier: MIT
// executor: what every pool can do, whatever its workers are: submit, map,
// imap, imap_unordered, starmap, for_each, shutdown. The words are those of
// Python's concurrent.futures and multiprocessing.
//
//   inputs ──pull──▶ [ window: chunks in flight ] ──in order──▶ for (auto y : …)
//
// A map pulls no more inputs than its window, so that endless input and slow
// consumers cost flat memory.
#pragma once

#include <deque>
#include <iterator>
#include <memory>
#include <optional>
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
  /// about 8 tasks per worker when the number of inputs is known, else 16.
  std::ptrdiff_t chunk = auto_chunk;
  /// Inputs pulled ahead of the results taken; automatic: 4 chunks per worker.
  std::ptrdiff_t window = auto_size;
  /// For all results together, from the call on.
  time_limit deadline = no_deadline;
};

/// What became of the tasks of a pool.
struct drain_report {
  std::uint64_t done = 0;      // returned a value
  std::uint64_t failed = 0;    // threw
  std::uint64_t cancelled = 0; // never began
  std::uint64_t killed = 0;    // ended by force (processes only)
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

template <class R>
using chunk_result = std::vector<outcome<R>>;

// Calls `f` on each input of a chunk; what one throws concerns that one alone.
template <class R, class F, class In>
chunk_result<R> run_chunk(F& f, std::vector<In>& inputs) {
  chunk_result<R> results(inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    try {
      if constexpr (std::is_void_v<R>)
        f(std::move(inputs[i]));
      else
        results[i].value.emplace(f(std::move(inputs[i])));
    } catch (...) {
      results[i].error = std::current_exception();
    }
  }
  return results;
}

std::size_t checked_size(std::ptrdiff_t n, std::size_t automatic,
                         const char* what);
std::size_t chunk_for(std::size_t inputs, std::size_t workers);

// Turns `f(a, b)` into a function of one tuple.
template <class F>
struct spread {
  F f;
  template <class Tuple>
  decltype(auto) operator()(Tuple&& t) {
    return std::apply(f, std::forward<Tuple>(t));
  }
};

template <class Range>
using input_of = std::decay_t<decltype(*std::begin(std::declval<Range&>()))>;

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
/// `++it` gives the next. Letting it go cancels what has not begun.
template <class Pool, class F, class Range, bool Ordered>
class map_range {
  using input = detail::input_of<Range>;

public:
  using value_type = std::decay_t<std::invoke_result_t<F&, input>>;

  map_range(Pool& pool, F f, Range range, const map_options& opts)
    : impl_(std::make_unique<impl>(pool, std::move(f), std::move(range),
                                   opts)) {
    impl_->fill();
  }

  class iterator {
  public:
    using value_type = map_range::value_type;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(map_range* r) : range_(r) {
    }
    /// Waits for the result; once for each position.
    /// Errors: what `f` or the input threw; timeout (then it is at its end).
    value_type operator*() const {
      return range_->impl_->take();
    }
    iterator& operator++() {
      range_->impl_->advance();
      return *this;
    }
    void operator++(int) {
      ++*this;
    }
    friend bool operator==(const iterator& i, std::default_sentinel_t) {
      return i.is_at_end();
    }

  private:
    bool is_at_end() const {
      return range_->impl_->at_end();
    }

    map_range* range_ = nullptr;
  };

  iterator begin() {
    return iterator{this};
  }
  std::default_sentinel_t end() const {
    return {};
  }

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
  using chunk_future = future<results>;

  struct impl {
    Pool& pool;
    F f;
    Range range;
    decltype(std::begin(std::declval<Range&>())) next;
    std::size_t chunk, window;
    std::int64_t until;
    std::deque<chunk_future> flying;
    std::deque<std::size_t> sizes; // inputs of each of them
    std::size_t in_flight = 0;     // inputs pulled, results not taken
    results current;
    std::size_t at = 0;  // in current
    bool taken = false;  // current[at] was handed out
    bool dry = false;    // the input has ended
    std::exception_ptr input_error;

    impl(Pool& p, F fn, Range r, const map_options& o)
      : pool(p), f(std::move(fn)), range(std::move(r)),
        next(std::begin(range)), until(detail::due_after(o.deadline)) {
      std::size_t automatic = 16;
      if constexpr (detail::is_sized<Range>)
        automatic = detail::chunk_for(detail::size_of(range), p.workers());
      chunk = detail::checked_size(o.chunk, automatic, "map: chunk");
      window = detail::checked_size(o.window, 4 * chunk * p.workers(),
                                    "map: window");
    }

    ~impl() {
      for (auto& c : flying)
        c.cancel();
    }

    // Pulls inputs and submits chunks until the window is full.
    void fill() {
      while (!dry && in_flight < window) {
        std::vector<input> inputs;
        auto most = std::min(chunk, window - in_flight);
        inputs.reserve(std::min<std::size_t>(most, 1024));
        try {
          while (inputs.size() < most) {
            if (next == std::end(range)) {
              dry = true;
              break;
            }
            inputs.push_back(*next);
            ++next;
          }
        } catch (...) {
          input_error = std::current_exception();
          dry = true;
        }
        if (inputs.empty())
          break;
        in_flight += inputs.size();
        sizes.push_back(inputs.size());
        flying.push_back(pool.submit_chunk(f, std::move(inputs)));
      }
    }

    bool at_end() {
      return at == current.size() && flying.empty() && !input_error;
    }

    value_type take() {
      if (at == current.size())
        load();
      auto& o = current[at];
      taken = true;
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
      fill();
    }

    // Makes the next chunk's results current.
    void load() {
      if (flying.empty()) {
        std::rethrow_exception(std::exchange(input_error, nullptr));
      }
      std::size_t i = 0;
      if constexpr (!Ordered)
        i = first_done();
      auto done = flying[i];
      if (!done.wait_for(left())) {
        give_up();
        throw timeout{"map: the deadline has passed, "
                      + std::to_string(in_flight)
                      + " inputs were in flight and are given up"};
      }
      auto n = sizes[i];
      flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(i));
      sizes.erase(sizes.begin() + static_cast<std::ptrdiff_t>(i));
      at = 0;
      try {
        current = done.get();
      } catch (...) {
        // The chunk as a whole came to nothing (cancelled, pool closed).
        current = results(n);
        for (auto& o : current)
          o.error = std::current_exception();
      }
    }

    std::size_t first_done() {
      for (std::size_t i = 0; i < flying.size(); ++i)
        if (flying[i].ready())
          return i;
      auto r = troupe::wait(flying, first_completed, left());
      for (std::size_t i = 0; i < flying.size(); ++i)
        if (flying[i].ready())
          return i;
      return 0;
    }

    time_limit left() const {
      if (until == INT64_MAX)
        return no_deadline;
      return std::chrono::nanoseconds{
        until - detail::due_after(std::chrono::nanoseconds{0})};
    }

    void give_up() {
      for (auto& c : flying)
        c.cancel();
      flying.clear();
      sizes.clear();
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
