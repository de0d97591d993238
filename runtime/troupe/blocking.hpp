// SPDX-License-Identifier: MIT
// blocking: runs code that waits (files, sockets, libraries) on a thread that
// may wait, so that workers don't.
#pragma once

#include <functional>

#include "troupe/system.hpp"

namespace troupe {

namespace detail {

void run_blocking(runtime* rt, std::function<void()> f);

// The function and its result in one block.
template <class R, class F>
struct blocking_call final : state<R>, pooled {
  std::optional<F> f;

  explicit blocking_call(F fn) : state<R>(&table), f(std::move(fn)) {
    this->what = "blocking";
  }

  void run() noexcept {
    if (!this->claim())
      return;
    try {
      if constexpr (std::is_void_v<R>) {
        (*f)();
        f.reset();
        this->set();
      } else {
        R made = (*f)();
        f.reset();
        this->set(std::move(made));
      }
    } catch (...) {
      this->fail(std::current_exception());
    }
  }

  static void free(state_base* s) noexcept {
    delete static_cast<blocking_call*>(s);
  }
  static constexpr state_ops table{&free};
};

} // namespace detail

/// Runs `f()` on a thread for blocking code and returns the future of its
/// result; `co_await blocking([] { return read_file(); })` in an actor.
/// Limits: at most blocking_threads_max at a time, further ones wait in line.
/// Errors: what `f` throws; bad_argument outside of actors, tasks and `run`
///         (then use the form with the system).
template <class F>
auto blocking(system& sys, F f) {
  using R = std::decay_t<std::invoke_result_t<F&>>;
  auto* call = new detail::blocking_call<R, F>{std::move(f)};
  future<R> result{detail::state_ptr<detail::state<R>>{call}};
  detail::run_blocking(&sys.runtime(), [keep = result, call] { call->run(); });
  return result;
}

template <class F>
auto blocking(F f) {
  using R = std::decay_t<std::invoke_result_t<F&>>;
  auto* call = new detail::blocking_call<R, F>{std::move(f)};
  future<R> result{detail::state_ptr<detail::state<R>>{call}};
  detail::run_blocking(nullptr, [keep = result, call] { call->run(); });
  return result;
}

} // namespace troupe
