// SPDX-License-Identifier: MIT
// future: what an ask or a submit returns; it settles exactly once, with a
// value, an error or a cancellation.
// Who may call: anybody, from any thread; copies share the result.
// A death:      the actor or task that should answer is gone: it fails with
//               the reason at once. A deadline passes: it fails with timeout.
#pragma once

#include <chrono>
#include <coroutine>
#include <memory>
#include <string>

#include "troupe/deadline.hpp"
#include "troupe/detail/state.hpp"
#include "troupe/error.hpp"

namespace troupe {

template <class R>
class future;

namespace detail {

template <class R>
struct is_future : std::false_type {};
template <class R>
struct is_future<future<R>> : std::true_type {};

template <class R>
struct unwrap {
  using type = R;
};
template <class R>
struct unwrap<future<R>> {
  using type = R;
};

std::int64_t due_after(time_limit limit);
bool expire_if_due(state_base& s);

// Links `next` behind `from`: calls `next->run` in the actor that called
// `then`, else as a job of its own; at once when `from` is settled.
struct continuation : relay, envelope {
  void (*run)(continuation*, bool alive) noexcept;
  state_ptr<state_base> from;
  cell* home = nullptr;
  std::uint64_t incarnation =
    0;                          // of home: an object's continuations go with it
  state_base* target = nullptr; // what `then` returned
  bool is_lost = false;         // nobody is left who would run it
  continuation(void (*f)(continuation*, bool) noexcept);
};
void continue_with(state_base& from, continuation* next);

template <class R>
void forward_state(future<R> from, state_ptr<state<R>> to);

template <class R>
struct future_awaiter;

} // namespace detail

/// Handle to a result that comes later.
template <class R>
class [[nodiscard]] future {
public:
  using value_type = R;

  /// Belongs to nothing; only assignment, destruction and `valid` are allowed,
  /// everything else throws bad_argument.
  future() = default;

  explicit future(detail::state_ptr<detail::state<R>> s)
    : state_(std::move(s)) {}

  bool valid() const { return static_cast<bool>(state_); }

  /// Whether it has settled, with whatever.
  bool ready() const {
    auto& s = checked();
    return s.is_settled() || expired(s);
  }

  /// Waits and returns the value or throws the error.
  /// Shape:  a copy of the value; a move-only value is moved out, once. From a
  ///         temporary or moved future that nobody shares it is moved out too.
  /// Errors: what the work threw, timeout (the ask's deadline), cancelled,
  ///         actor_stopped, deadlock.
  R get() const& { return result(checked(), false); }
  R get() && { return result(checked(), true); }

  /// `get`, but waits no longer than `limit`: throws timeout then and leaves
  /// the work as it is.
  R get_for(time_limit limit) const {
    if (!wait_for(limit))
      throw timeout{"get_for: no result of " + describe() + " in time"};
    return get();
  }

  /// Waits until settled, `limit` at most; whether it is settled. 0 and below
  /// look without waiting.
  bool wait_for(time_limit limit) const {
    return detail::wait_settled(checked(), detail::due_after(limit));
  }

  void wait() const { detail::wait_settled(checked(), time_limit::none); }

  /// The error, null for a value; waits like `get`.
  std::exception_ptr exception() const {
    auto& s = checked();
    detail::wait_settled(s, time_limit::none);
    s.observed.store(true, std::memory_order_relaxed);
    if (s.at.load(std::memory_order_acquire) == detail::phase::cancelled)
      return std::make_exception_ptr(cancelled{describe() + " was cancelled"});
    return s.failure;
  }

  /// Gives up work that has not begun: true, and it never runs. True again for
  /// what is cancelled already; false for what runs (it is asked to stop, where
  /// it takes a std::stop_token) and for what has settled.
  bool cancel() const { return checked().cancel(); }

  bool is_cancelled() const {
    return checked().at.load(std::memory_order_acquire)
           == detail::phase::cancelled;
  }

  /// Calls `f(value)` (or `f()` for void, or `f(future<R>)` to see errors too)
  /// when this has settled; returns the future of what `f` returns. Inside an
  /// actor `f` runs in that actor, as one of its messages; elsewhere as a job
  /// of its own on the workers, or at once when the result is there or a thread
  /// that is not the system's settles it.
  /// Errors: an error skips `f(value)` and goes on to the result. A method that
  ///         waits for the result of its own `then` gets deadlock: `f` could
  ///         not run before the method ends. `co_await` this future instead.
  ///         actor_stopped or closed: the actor or the system stopped before
  ///         `f` could run.
  template <class F>
  auto then(F f) const;

  /// What was asked, for messages: `counter::value`.
  std::string describe() const {
    auto& s = checked();
    return s.what.empty() ? std::string{"a task"} : std::string{s.what};
  }

  friend bool operator==(const future& a, const future& b) {
    return a.state_.get() == b.state_.get();
  }

  /// For the library: the shared state.
  const detail::state_ptr<detail::state<R>>& shared_state() const {
    return state_;
  }

private:
  detail::state<R>& checked() const {
    if (!state_)
      detail::throw_no_state();
    return *state_;
  }

  static bool expired(detail::state_base& s);

  // A temporary's value is moved out if nobody else can read it. Whoever
  // answered may hold a reference for a moment more: then it is copied.
  static R result(detail::state<R>& s, bool is_temporary) {
    detail::wait_settled(s, time_limit::none);
    return take(s, is_temporary && s.refs.load(std::memory_order_acquire) == 1);
  }

  static R take(detail::state<R>& s, bool move_out) {
    if (s.at.load(std::memory_order_acquire) != detail::phase::value)
      detail::throw_failure(s);
    if constexpr (!std::is_void_v<R>) {
      if constexpr (std::is_copy_constructible_v<R>) {
        if (move_out)
          return std::move(s.value);
        return s.value;
      } else {
        if (!s.take())
          throw bad_argument{"the value of this future was taken before"};
        return std::move(s.value);
      }
    }
  }

  template <class>
  friend class future;
  template <class>
  friend class promise;
  template <class>
  friend struct detail::future_awaiter;

  detail::state_ptr<detail::state<R>> state_;
};

template <class R>
bool future<R>::expired(detail::state_base& s) {
  return detail::expire_if_due(s);
}

/// The other end of a future. One that goes away unset fails its future with
/// actor_stopped ("broken promise"). Movable, not copyable.
/// Errors: a second set throws bad_argument and changes nothing.
template <class R>
class promise {
public:
  promise() : state_(new detail::plain_state<R>) {}
  promise(promise&&) noexcept = default;
  promise& operator=(promise&& other) noexcept {
    if (this != &other) {
      abandon();
      state_ = std::move(other.state_);
    }
    return *this;
  }
  ~promise() { abandon(); }

  future<R> get_future() const { return future<R>{state_}; }

  /// Settles with a value made from `args`.
  template <class... Args>
  void set_value(Args&&... args) {
    if (!try_set_value(std::forward<Args>(args)...))
      throw bad_argument{"this promise is settled already"};
  }

  /// The same; false instead of an error when it is settled already (by a
  /// cancel or a deadline of the asker, say).
  template <class... Args>
  bool try_set_value(Args&&... args) {
    return state_ && state_->set(std::forward<Args>(args)...);
  }

  void set_exception(std::exception_ptr e) {
    if (!try_set_exception(std::move(e)))
      throw bad_argument{"this promise is settled already"};
  }

  bool try_set_exception(std::exception_ptr e) {
    return state_ && state_->fail(std::move(e));
  }

  /// Whether somebody still waits for it: not settled, not given up, not late.
  bool is_pending() const {
    return state_ && !state_->is_settled() && !detail::expire_if_due(*state_);
  }

  /// For the library: settles `s` instead of a state of its own.
  explicit promise(detail::state_ptr<detail::state<R>> s)
    : state_(std::move(s)) {}

private:
  void abandon() noexcept;

  detail::state_ptr<detail::state<R>> state_;
};

namespace detail {

std::exception_ptr broken_promise() noexcept;

// One address per type.
template <class R>
inline constexpr char type_tag = 0;

// The ask that runs on this thread, if it wants an answer of that type and
// nobody has taken it; pending again, and with a reference for the caller.
state_base* take_asking(const void* tag) noexcept;

// For as long as it lives, `s` can be taken.
class asking_scope {
public:
  asking_scope(state_base& s, const void* tag) noexcept;
  ~asking_scope();
  asking_scope(const asking_scope&) = delete;
  asking_scope& operator=(const asking_scope&) = delete;

private:
  state_base* state_;
  const void* tag_;
};

} // namespace detail

/// In a method that returns future<R>: the promise of the ask itself, so that
/// the answer can come later while the actor goes on. Return its get_future().
/// The asker's deadline and cancel reach it: is_pending turns false and
/// try_set_value refuses, leaving its argument as it was.
/// In any other place (called by a tell, say) it is a promise of its own.
template <class R>
promise<R> answer_later() {
  if (auto* s = detail::take_asking(&detail::type_tag<R>))
    return promise<R>{
      detail::state_ptr<detail::state<R>>{static_cast<detail::state<R>*>(s)}};
  return {};
}

template <class R>
void promise<R>::abandon() noexcept {
  if (state_ && !state_->is_settled())
    state_->fail(detail::broken_promise());
}

/// A future that has its value already.
template <class R>
future<std::decay_t<R>> make_ready_future(R&& value) {
  promise<std::decay_t<R>> p;
  p.set_value(std::forward<R>(value));
  return p.get_future();
}

inline future<void> make_ready_future() {
  promise<void> p;
  p.set_value();
  return p.get_future();
}

/// A future that has failed already.
template <class R>
future<R> make_failed_future(std::exception_ptr e) {
  promise<R> p;
  p.set_exception(std::move(e));
  return p.get_future();
}

} // namespace troupe

#include "troupe/detail/then.hpp"
