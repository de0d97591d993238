// SPDX-License-Identifier: MIT
// state: what a future and whoever settles it share.
//
// Invariants: (1) `phase` only moves forward: pending -> running -> settling ->
//             {value, error, cancelled}; running may be left out. Whoever moves
//             it to settling, alone, writes the result and calls `finish`.
//             (2) waiters are linked only while the phase is not final;
//             `finish` takes the list and stores the final phase in one
//             critical section, so each waiter is notified exactly once or was
//             never linked.
// Pairing:    `finish` stores phase with release; `is_settled` loads it with
//             acquire, so that the result is seen.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "troupe/detail/envelope.hpp"

namespace troupe::detail {

struct state_base;
struct call_record;
struct reply_node;

/// Somebody who wants to know that a state has settled.
struct waiter {
  waiter* next = nullptr;
  /// Called once, by the settling thread, with no lock held.
  void (*notify)(waiter*, state_base&) noexcept;

  explicit waiter(void (*f)(waiter*, state_base&) noexcept) : notify(f) {}
};

/// A waiter that settles another state when it is told. Where that tells
/// further ones, each has its turn when the one before has returned: however
/// long a chain is, the stack does not grow.
struct relay : waiter {
  void (*pass)(relay*) noexcept; // what it does in its turn

  explicit relay(void (*f)(relay*) noexcept,
                 void (*tell)(waiter*, state_base&) noexcept = &told)
    : waiter(tell),
      pass(f) {}

  static void told(waiter* w, state_base&) noexcept;
  void in_turn() noexcept;
};

struct relay_queue;

/// For as long as it lives, a function of the user runs in the turn of a relay.
/// It may wait for what it settles itself, so relays have a turn at once.
class relays_aside {
public:
  relays_aside() noexcept;
  ~relays_aside();
  relays_aside(const relays_aside&) = delete;
  relays_aside& operator=(const relays_aside&) = delete;

private:
  relay_queue* const before_;
};

struct state_ops {
  /// Frees the state and the block it lives in.
  void (*destroy)(state_base*) noexcept;
  /// Asks running work to stop; null where that can't be.
  void (*request_stop)(state_base*) noexcept = nullptr;
  /// Runs work that is still pending on the calling thread; null for asks.
  void (*run_here)(state_base*) noexcept = nullptr;
  /// The reply node that lies in the same block; null where there is none.
  reply_node* (*reply)(state_base*) noexcept = nullptr;
  /// Brings the answer nearer for a moment: looks where it will come from.
  void (*look)(state_base*) noexcept = nullptr;
  /// For when_all, then and the like: the next of the states that this one
  /// waits for (the first for i = 0; counts `i` on), null when there are no
  /// more. Called under the gate of the wait graph while this is not settled.
  state_base* (*next_part)(const state_base*,
                           std::size_t& i) noexcept = nullptr;
  bool one_part_is_enough = false;
};

enum class phase : std::uint8_t {
  pending,
  running,
  settling,
  value,
  error,
  cancelled,
};

/// One move of a phase that others move, too; whether it was ours. acq_rel:
/// who moves it on sees what the last mover wrote.
template <class Phase>
bool move_phase(Phase& at, phase from, phase to) noexcept {
  return at.compare_exchange_strong(from, to, std::memory_order_acq_rel);
}

/// From pending or running to settling: true for exactly one caller.
template <class Phase>
bool move_to_settling(Phase& at) noexcept {
  auto now = at.load(std::memory_order_relaxed);
  while (now < phase::settling)
    if (at.compare_exchange_weak(now, phase::settling,
                                 std::memory_order_acq_rel))
      return true;
  return false;
}

/// The reply to an actor that awaits. An ask has one in its own block, for the
/// first actor that awaits it.
struct reply_node : waiter, envelope {
  // The coroutine that waits keeps both. Without one, this holds a reference to
  // each; to the state also where its future may be taken away (`holds`).
  state_base* of = nullptr;
  cell* to = nullptr;
  call_record* record = nullptr; // null once the coroutine is gone
  bool holds = false;
  reply_node();
};

struct state_base {
  std::atomic<std::uint32_t> refs{1};
  std::atomic<phase> at{phase::pending};
  std::atomic<bool> observed{false};
  std::atomic<bool> reply_used{false};    // changed under the lock of waiters
  std::atomic<std::uintptr_t> waiters{0}; // bit 0: locked
  // The state that the callee has passed it on to; itself: not known which.
  std::atomic<const state_base*> passed_to{nullptr};
  const state_ops* ops;
  std::int64_t due = INT64_MAX; // steady nanoseconds; fixed before it is shared
  std::exception_ptr failure;
  cell* callee = nullptr; // weak reference; who will answer, if known
  std::string_view what;  // the method or task

  explicit state_base(const state_ops* o) : ops(o) {}
  state_base(const state_base&) = delete;
  state_base& operator=(const state_base&) = delete;

  void retain() noexcept { refs.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (refs.load(std::memory_order_acquire) == 1
        || refs.fetch_sub(1, std::memory_order_acq_rel) == 1)
      destroy();
  }

  bool is_settled() const noexcept {
    return at.load(std::memory_order_acquire) >= phase::value;
  }

  /// Pending to running; false when it was cancelled or has settled.
  bool claim() noexcept {
    return move_phase(at, phase::pending, phase::running);
  }

  /// True for exactly one caller, who then writes the result and calls
  /// `finish`.
  bool begin_settle() noexcept { return move_to_settling(at); }

  void finish(phase final) noexcept;

  /// Fails it if nobody has begun it: then it will never run.
  bool refuse(std::exception_ptr error) noexcept {
    if (!move_phase(at, phase::pending, phase::settling))
      return false;
    failure = std::move(error);
    finish(phase::error);
    return true;
  }

  bool fail(std::exception_ptr error) noexcept {
    if (!begin_settle())
      return false;
    failure = std::move(error);
    finish(phase::error);
    return true;
  }

  /// Links `w`; false when settled already (`w` will not be called).
  bool add_waiter(waiter& w) noexcept;

  /// Unlinks `w`; false when it has been called or is about to be.
  bool remove_waiter(waiter& w) noexcept;

  /// Fails with `timeout` if `due` has passed.
  bool expire(std::int64_t now) noexcept;

  /// See future::cancel.
  bool cancel() noexcept;

  void destroy() noexcept;
};

/// Waits until settled or until `until` (steady nanoseconds); whether it is
/// settled. On a worker the scheduler puts another in its place; inside an
/// actor a cycle of waits throws `deadlock`. Expires the state when it is due.
bool wait_settled(state_base& s, std::int64_t until);

/// `to` gets the result of `from`. A cycle of waits that this closes gives
/// `from` up, or `to` if somebody has begun `from`.
void pass_on(state_base& to, state_base& from) noexcept;

/// `to` gets its result from nobody knows whom, or gets it now: who waits for
/// it waits for nobody that is known.
void pass_on_unseen(state_base& to) noexcept;

/// After a seq_cst store that hides them, the parts of next_part may go.
void pass_gate() noexcept;

/// The run_here of states with parts: has what they wait for run by the calling
/// worker, as far as nobody has begun it.
void help_parts(state_base* s) noexcept;

/// Throws the failure or the cancellation of a settled state.
[[noreturn]] void throw_failure(state_base& s);

/// Of a future that belongs to nothing.
[[noreturn]] void throw_no_state();

/// An intrusive pointer to a state.
template <class S>
class state_ptr {
public:
  state_ptr() = default;
  /// Takes over one reference.
  explicit state_ptr(S* s) : ptr_(s) {}
  state_ptr(const state_ptr& other) : ptr_(other.ptr_) {
    if (ptr_ != nullptr)
      ptr_->retain();
  }
  state_ptr(state_ptr&& other) noexcept
    : ptr_(std::exchange(other.ptr_, nullptr)) {}
  state_ptr& operator=(state_ptr other) noexcept {
    std::swap(ptr_, other.ptr_);
    return *this;
  }
  ~state_ptr() {
    if (ptr_ != nullptr)
      ptr_->release();
  }
  S* get() const { return ptr_; }
  S* operator->() const { return ptr_; }
  S& operator*() const { return *ptr_; }
  explicit operator bool() const { return ptr_ != nullptr; }
  S* detach() { return std::exchange(ptr_, nullptr); }

private:
  S* ptr_ = nullptr;
};

struct nothing {};

template <class R>
using stored = std::conditional_t<std::is_void_v<R>, nothing, R>;

/// A state with room for its value.
template <class R>
struct state : state_base {
  union {
    stored<R> value;
  };
  std::atomic<bool> taken{false}; // moved out (move-only types)

  explicit state(const state_ops* o) : state_base(o) {}

  /// True for one caller, who may move a move-only value out.
  bool take() noexcept {
    return !taken.exchange(true, std::memory_order_relaxed);
  }

  ~state() {
    if (at.load(std::memory_order_acquire) == phase::value)
      value.~stored<R>();
  }

  /// False when it had settled already; then nothing changes.
  template <class... Args>
  bool set(Args&&... args) noexcept {
    if (!begin_settle())
      return false;
    put(std::forward<Args>(args)...);
    return true;
  }

  /// Settles with what `f` returns or throws; `begin_settle` is done.
  template <class... Args>
  void put(Args&&... args) noexcept {
    try {
      ::new (static_cast<void*>(std::addressof(value)))
        stored<R>(std::forward<Args>(args)...);
    } catch (...) {
      failure = std::current_exception();
      finish(phase::error);
      return;
    }
    finish(phase::value);
  }
};

/// A state on its own, for promises and continuations.
template <class R>
struct plain_state final : state<R>, pooled {
  plain_state() : state<R>(&table) {}
  static constexpr state_ops table{
    [](state_base* s) noexcept { delete static_cast<plain_state*>(s); }};
};

} // namespace troupe::detail
