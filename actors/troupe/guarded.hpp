// SPDX-License-Identifier: MIT
// guarded: a value that many share, one at a time; what a lock around it was.
//
//   troupe::guarded<std::vector<int>> list{sys};
//   list.with([](auto& v) { v.push_back(3); }).get();
//   auto n = list.with([](auto& v) { return v.size(); }).get();
//
// Invariants: (1) one function at a time sees the value, in the order of the
//             calls of each caller. (2) a function that throws fails its own
//             future; what it did to the value before stays done.
// Who may call: anybody, from any thread; in an actor `co_await g.with(...)`.
// A death:    the functions that a dead caller sent before are still run.
// Elsewhere:  from another process a function travels by its name, so it must
//             have no captures; what it needs comes as arguments:
//               g.with([](auto& v, int n) { v.push_back(n); }, 3)
#pragma once

#include <functional>

#include "troupe/handle.hpp"
#include "troupe/system.hpp"

namespace troupe {

namespace detail {

template <class T>
struct guarded_value {
  T value;
  bool is_closed = false;

  template <class... As>
  explicit guarded_value(std::in_place_t, As&&... as)
    : value(std::forward<As>(as)...) {}

  T& open() {
    if (is_closed)
      throw closed{"guarded::with after close"};
    return value;
  }

  /// A function without captures.
  template <class F, class... As>
  auto call(As... as) {
    return std::invoke(F{}, open(), std::move(as)...);
  }

  void close() { is_closed = true; }
};

} // namespace detail

template <class T>
class guarded : public handle<guarded<T>, detail::guarded_value<T>> {
  using value_actor = detail::guarded_value<T>;
  using base = handle<guarded<T>, value_actor>;

public:
  guarded() = default;

  /// Makes the value from `args`, in the caller.
  template <class... As>
  explicit guarded(system& sys, As&&... args)
    : base(sys.spawn<value_actor>(std::in_place, std::forward<As>(args)...)) {}

  /// Calls `f(T&, args...)` when it is its turn; the future of what it returns,
  /// by value: no reference to the inside gets out.
  /// Errors: what `f` throws, closed, timeout, deadlock (waited for inside
  ///         another `with` of the same value).
  template <class F, class... As>
    requires std::is_invocable_v<F&, T&, As...>
  auto with(F f, As... args) const {
    if constexpr (std::is_empty_v<F> && std::is_default_constructible_v<F>)
      return base::template ask<&value_actor::template call<F, As...>>(
        std::move(args)...);
    else
      return base::ask(
        [f = std::move(f), ... args = std::move(args)](value_actor& g) mutable {
          return f(g.open(), std::move(args)...);
        });
  }

  /// `with` that nobody waits for, many times cheaper: what one message of an
  /// actor posts in a row shares an envelope (ref::tell). In order with the
  /// caller's other calls.
  /// Errors: what `f` throws is a failure of the value: all that comes later
  ///         fails with actor_stopped. After close, and from another process,
  ///         it is dropped.
  template <class F>
    requires std::is_invocable_v<F&, T&>
  void post(F f) const {
    this->actor_.tell([f = std::move(f)](value_actor& g) mutable {
      if (!g.is_closed)
        static_cast<void>(f(g.value));
    });
  }

  /// A copy of the value.
  future<T> copy() const {
    return with([](T& value) { return value; });
  }

  /// What was asked before still runs; what comes later fails with `closed`.
  future<void> close() const {
    return base::template ask<&value_actor::close>();
  }
};

} // namespace troupe
