// SPDX-License-Identifier: MIT
// latch: opens once, when a count has come down to 0, and stays open.
//
//   troupe::latch done{sys, 8};
//   done.count_down().get();            // each of the eight
//   done.wait().get();
//
// Who may call: anybody, from any thread; copies share the count.
// A death:    a waiter's request is dropped; what it counted stays counted.
#pragma once

#include "troupe/handle.hpp"

namespace troupe {

class system;

namespace detail {
class latch_actor;
void read_actor(wire::reader& in, ref<latch_actor>& actor);
} // namespace detail

class latch : public handle<latch, detail::latch_actor> {
public:
  latch() = default;

  /// With a count of 0 it is open from the start.
  /// Errors: bad_argument for more than 2^62 (a negative number, say).
  latch(system& sys, std::size_t count);

  /// Errors: bad_argument when fewer than `n` are left to count, closed.
  future<void> count_down(std::size_t n = 1) const;

  /// What is left to count.
  future<std::size_t> pending() const;

  /// Settles when it is open.
  /// Errors: timeout, closed.
  future<void> wait() const;

  /// `count_down(n)`, then `wait()`.
  future<void> arrive_and_wait(std::size_t n = 1) const;

  /// Fails who waits and who comes later with `closed`. An open latch stays
  /// open for who waits.
  future<void> close() const;
};

} // namespace troupe
