// SPDX-License-Identifier: MIT
// event: a flag that many wait for.
//
//   troupe::event ready{sys};
//   ready.wait().get();                 // another thread: ready.set().get();
//
// Invariants: (1) no wake-up is lost: who waits before `set` is woken by it,
//             who comes after it does not wait at all, until `clear`.
// Who may call: anybody, from any thread; copies share the flag.
// A death:    a waiter's request is dropped.
#pragma once

#include "troupe/handle.hpp"

namespace troupe {

class system;

namespace detail {
class event_actor;
void read_actor(wire::reader& in, ref<event_actor>& actor);
} // namespace detail

class event : public handle<event, detail::event_actor> {
public:
  event() = default;

  explicit event(system& sys);

  /// Raises the flag and wakes all; how many waited.
  /// Errors: closed.
  future<std::size_t> set() const;

  /// Takes the flag down.
  /// Errors: closed.
  future<void> clear() const;

  future<bool> is_set() const;

  /// Settles when the flag is up.
  /// Errors: timeout, closed.
  future<void> wait() const;

  /// Fails who waits and who comes later with `closed`.
  future<void> close() const;
};

} // namespace troupe
