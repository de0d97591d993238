// SPDX-License-Identifier: MIT
// restart: an actor that ends and comes back behind the same handle.
//
//   auto c = sys.spawn<counter>(troupe::restartable{}, 5);
//   c.kill();                            // its object goes ...
//   troupe::restart(c, 7).get();         // ... and another one takes its place
//   troupe::retire(c);                   // now it ends for good
//
// This is what a supervisor's children are made of (supervisor.hpp); by itself
// it is for those who write a supervisor of their own.
//
// Down:       when the object has gone (stop, kill, failure) the actor is down.
//             What was in its mailbox is dropped: asks fail with actor_stopped.
//             Monitors get their `down`; timers, coroutines, continuations and
//             monitors of the object are gone, none of them reaches the next.
//             What is sent from then on waits, in order and within its
//             deadline, or is refused, as restartable::calls says.
// Invariants: (1) at most one object at a time. (2) a message meets the object
//             that lived when it was sent, or the next one if none did.
// A death:    of the last handle, and of the system: it ends for good.
#pragma once

#include <tuple>

#include "troupe/system.hpp"

namespace troupe {

namespace detail {

// What makes the object anew; called in the actor's own turn.
struct construction {
  virtual ~construction() = default;
  virtual void run(void* memory) = 0;
  virtual envelope* first() = 0; // null without on_start
};

future<void> restart_cell(cell* c, std::unique_ptr<construction> how);
void park_cell(cell* c);
void retire_cell(cell* c);
std::uint64_t starts_of(const cell* c) noexcept;

// Spawn options are about the cell, which stays as it was.
template <class T, class... As>
void construct_from(void* memory, const As&... as);

template <class T>
void construct_from(void* memory) {
  construct<T>(memory);
}

template <class T, class A, class... As>
void construct_from(void* memory, const A& a, const As&... as) {
  if constexpr (remote_placement<A>)
    construct_remote<T>(memory, a, as...);
  else if constexpr (spawn_option<A>)
    construct_from<T>(memory, as...);
  else
    construct<T>(memory, a, as...);
}

template <class T, class... As>
struct construction_of final : construction {
  std::tuple<As...> args;

  template <class... Bs>
  explicit construction_of(std::in_place_t, Bs&&... bs)
    : args(std::forward<Bs>(bs)...) {}

  void run(void* memory) override {
    std::apply([&](const As&... as) { construct_from<T>(memory, as...); },
               args);
  }
  envelope* first() override {
    // A remote one starts by itself, where it is.
    if constexpr ((remote_placement<As> || ...))
      return nullptr;
    else
      return start_message<T>();
  }
};

} // namespace detail

/// Makes a new object for an actor that is down, from `args` as for spawn
/// (options among them are left out). Its constructor runs in the actor.
/// Shape:  settles when the constructor has returned; on_start comes first,
///         then what waited.
/// Errors: what the constructor throws (it stays down); bad_argument when it is
///         not down or not restartable; actor_stopped when it has ended.
template <class T, class... As>
future<void> restart(const ref<T>& r, As&&... args) {
  if (!r)
    detail::throw_null_ref();
  return detail::restart_cell(
    r.get(), std::make_unique<detail::construction_of<T, std::decay_t<As>...>>(
               std::in_place, std::forward<As>(args)...));
}

/// It stays down for now: what waits and what comes fails with actor_stopped,
/// until it is restarted. Without effect on one that is not down.
template <class T>
void park(const ref<T>& r) {
  if (!r)
    detail::throw_null_ref();
  detail::park_cell(r.get());
}

/// Ends it for good: at once when it is down, else as `stop` does.
template <class T>
void retire(const ref<T>& r) {
  if (!r)
    detail::throw_null_ref();
  detail::retire_cell(r.get());
}

/// How many objects it has had, the one that lives included: 1 for an actor
/// that was never restarted, 0 for no actor.
template <class T>
std::uint64_t starts(const ref<T>& r) noexcept {
  return r ? detail::starts_of(r.get()) : 0;
}

} // namespace troupe
