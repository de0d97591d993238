// SPDX-License-Identifier: MIT
// task: the return type of a method that is a coroutine.
//
//   troupe::task<int> withdraw(int n) {
//     int have = co_await account_.ask<&account::balance>();
//     ...
//     co_return co_await account_.within(50ms).ask<&account::take>(n);
//   }
//
// While it waits its actor takes no other message (what a mutex gave the class,
// the actor keeps), unless the class derives from troupe::reentrant. It is
// started by its actor when the message's turn comes; tasks may await tasks.
// With g++ 12 no aggregate and no lambda with captures may be made inside a
// co_await expression: the compiler destroys it twice. Name it, or the future.
// A death: the actor ends: the coroutine is destroyed where it waits, its
//          locals with it, and whoever asked gets actor_stopped.
#pragma once

#include <optional>

#include "troupe/future.hpp"

namespace troupe {

/// Derive from it to let other messages in while a coroutine method waits.
struct reentrant {};

template <class R = void>
class task;

namespace detail {

/// One coroutine method of an actor between its begin and its end.
struct call_record {
  cell* self = nullptr;
  const message_ops* op = nullptr;
  std::int64_t deadline = INT64_MAX;
  std::coroutine_handle<> frame;     // of the method itself
  std::coroutine_handle<> resume_at; // the innermost, while it waits
  std::coroutine_handle<> up_next;   // where `drive` goes on
  std::atomic<state_base*> waiting{nullptr};
  envelope* message = nullptr;
  reply_node* message_reply = nullptr; // while it waits
  void (*done)(call_record*) noexcept = nullptr;
  void (*abandon)(call_record*) noexcept = nullptr;
  call_record* prev = nullptr;
  call_record* next = nullptr;
};

// Resumes `at`, then whatever it hands over to, until the method waits or has
// ended. A loop, because below -O2 g++ makes no tail call of a transfer from
// one coroutine to another: each would take a piece of the stack.
inline void drive(call_record& r, std::coroutine_handle<> at) {
  for (; at; at = std::exchange(r.up_next, {}))
    at.resume();
  if (r.frame.done())
    r.done(&r);
}

// Links `s` to the record's actor. False when it has settled meanwhile; throws
// deadlock when the wait would close a cycle, which then can't run any more.
// `hold`: the wait holds a reference to `s`, which goes to who is resumed.
bool suspend_on(state_base& s, call_record& record, std::coroutine_handle<> at,
                bool hold);

struct task_promise_base : pooled {
  call_record* root = nullptr;
  std::coroutine_handle<> parent;
  std::exception_ptr failure;
  call_record record; // used by the method itself, not by tasks it awaits

  std::suspend_always initial_suspend() noexcept { return {}; }

  struct at_end {
    bool await_ready() noexcept { return false; }
    template <class P>
    void await_suspend(std::coroutine_handle<P> h) noexcept {
      auto& p = h.promise();
      p.root->up_next = p.parent; // none: the method itself has ended
    }
    void await_resume() noexcept {}
  };

  at_end final_suspend() noexcept { return {}; }

  void unhandled_exception() noexcept { failure = std::current_exception(); }

  static call_record& root_of(call_record* root) {
    if (root == nullptr)
      throw bad_argument{
        "co_await on a future works in methods of actors; "
        "elsewhere use get() or then()"};
    return *root;
  }
};

template <class R>
struct future_awaiter {
  state<R>* s;
  call_record* root;
  bool is_temporary;  // the future; then its value need not be copied
  bool holds = false; // a reference to the state, since it waited

  bool await_ready() const noexcept { return s->is_settled(); }
  // A future with a name may get another value while we wait.
  bool await_suspend(std::coroutine_handle<> h) {
    auto& record = task_promise_base::root_of(root);
    auto waits = suspend_on(*s, record, h, !is_temporary);
    holds = waits && !is_temporary;
    return waits;
  }
  R await_resume();
};

template <class P>
struct task_awaiter {
  std::coroutine_handle<P> child;

  bool await_ready() const noexcept { return false; }
  template <class Q>
  void await_suspend(std::coroutine_handle<Q> h) {
    auto& root = task_promise_base::root_of(h.promise().root);
    child.promise().parent = h;
    child.promise().root = &root;
    root.up_next = child;
  }
  decltype(auto) await_resume() { return child.promise().take(); }
};

template <class R>
struct task_promise : task_promise_base {
  std::optional<R> value;

  task<R> get_return_object();

  template <class U>
  void return_value(U&& u) {
    value.emplace(std::forward<U>(u));
  }

  R take() {
    if (failure)
      std::rethrow_exception(failure);
    return std::move(*value);
  }

  template <class A>
  decltype(auto) await_transform(A&& a);
};

template <>
struct task_promise<void> : task_promise_base {
  task<void> get_return_object();

  void return_void() {}

  void take() {
    if (failure)
      std::rethrow_exception(failure);
  }

  template <class A>
  decltype(auto) await_transform(A&& a);
};

template <class R>
struct is_task : std::false_type {};
template <class R>
struct is_task<task<R>> : std::true_type {};

} // namespace detail

template <class R>
class [[nodiscard]] task {
public:
  using value_type = R;
  using promise_type = detail::task_promise<R>;
  using handle = std::coroutine_handle<promise_type>;

  explicit task(handle h) : handle_(h) {}
  task(task&& other) noexcept : handle_(std::exchange(other.handle_, {})) {}
  task& operator=(task&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~task() {
    if (handle_)
      handle_.destroy();
  }

  /// For the library: the coroutine, no longer owned by this.
  handle release() { return std::exchange(handle_, {}); }

  handle get() const { return handle_; }

private:
  handle handle_;
};

namespace detail {

template <class R>
task<R> task_promise<R>::get_return_object() {
  return task<R>{std::coroutine_handle<task_promise>::from_promise(*this)};
}

inline task<void> task_promise<void>::get_return_object() {
  return task<void>{std::coroutine_handle<task_promise>::from_promise(*this)};
}

// Awaiters own nothing: what they point to is an operand of the co_await
// expression or a local of the coroutine and lives as long as they do.
template <class A>
auto awaiter_for(A&& a, call_record* root) {
  using plain = std::remove_cvref_t<A>;
  if constexpr (is_future<plain>::value) {
    auto* s = a.shared_state().get();
    if (s == nullptr)
      throw bad_argument{"co_await on a future that belongs to nothing"};
    return future_awaiter<typename plain::value_type>{
      s, root, !std::is_lvalue_reference_v<A>};
  } else {
    static_assert(is_task<plain>::value,
                  "co_await takes a troupe::future or a troupe::task");
    return task_awaiter<typename plain::promise_type>{a.get()};
  }
}

template <class R>
template <class A>
decltype(auto) task_promise<R>::await_transform(A&& a) {
  return awaiter_for(std::forward<A>(a), root);
}

template <class A>
decltype(auto) task_promise<void>::await_transform(A&& a) {
  return awaiter_for(std::forward<A>(a), root);
}

template <class R>
R future_awaiter<R>::await_resume() {
  state_ptr<state<R>> held{holds ? s : nullptr};
  return future<R>::result(*s, is_temporary);
}

} // namespace detail

} // namespace troupe
