// SPDX-License-Identifier: MIT
// barrier: a fixed number of parties meet, again and again.
//
//   troupe::barrier meet{sys, 4};
//   std::size_t place = meet.arrive_and_wait().get();   // 0..3
//
// Invariants: (1) nobody gets past before all parties of the round are there.
//             (2) a broken barrier tells everyone: who waits and who comes.
// Breaking:   a party that gives up (its deadline, or a cancel, which is seen
//             within a second) breaks it for the others, as nobody could know
//             what it has done; so does `abort`. `reset` makes a new round; who
//             still waits in the old one fails.
// A death:    a party that has arrived counts, though it dies afterwards, but
//             that of its process breaks the barrier at which it waits; one
//             that never comes breaks it by the others' deadline.
#pragma once

#include "troupe/handle.hpp"

namespace troupe {

class system;

namespace detail {
class barrier_actor;
void read_actor(wire::reader& in, ref<barrier_actor>& actor);
} // namespace detail

/// A party of a barrier gave up, or it was aborted or reset.
class broken_barrier : public error {
public:
  using error::error;
};

struct barrier_state {
  std::size_t parties = 0, waiting = 0;
  std::uint64_t rounds = 0; // completed
  bool is_broken = false, is_closed = false;
};

class barrier : public handle<barrier, detail::barrier_actor> {
public:
  barrier() = default;

  /// Errors: bad_argument for 0 parties and for more than 2^62.
  barrier(system& sys, std::size_t parties);

  /// Settles when all parties are there, with the order of arrival: 0 is who
  /// came first.
  /// Errors: broken_barrier, timeout (which breaks it), closed.
  future<std::size_t> arrive_and_wait() const;

  /// Breaks it for good, until `reset`.
  future<void> abort() const;

  /// An empty, whole barrier; who waits fails with broken_barrier.
  future<void> reset() const;

  future<barrier_state> state() const;

  /// Fails who waits and who comes later with `closed`.
  future<void> close() const;
};

} // namespace troupe
