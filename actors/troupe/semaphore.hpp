// SPDX-License-Identifier: MIT
// semaphore: an actor that lends a fixed number of permits.
//
//   troupe::semaphore slots{sys, {.permits = 3}};
//   troupe::lease mine = slots.acquire().get();     // returned when it goes
//
// Invariants: (1) lent + free == permits. (2) waiters are served in order of
//             arrival: one that wants many is not passed by ones that want few.
// Who may call: anybody, from any thread; copies share the permits.
// A death:    a holder's permits return with its lease, also when its process
//             dies; a waiter's request is dropped.
// Not for:    one owner only (see guarded).
#pragma once

#include "troupe/handle.hpp"

namespace troupe {

class system;

namespace detail {
class semaphore_actor;
void read_actor(wire::reader& in, ref<semaphore_actor>& actor);
} // namespace detail

struct semaphore_options {
  /// How many there are. Default 1. Range: 1..2^62; 0 throws bad_argument.
  std::size_t permits = 1;
};

/// Permits on loan. Movable; they return when it goes.
class lease {
public:
  lease() = default;
  /// For the library.
  lease(ref<detail::semaphore_actor> lender, std::uint64_t id, std::size_t n);
  lease(lease&& other) noexcept;
  lease& operator=(lease&& other) noexcept;
  ~lease();

  /// How many; 0 when they were returned.
  std::size_t permits() const { return permits_; }

  /// Returns them now.
  /// Errors: bad_argument when they were returned before.
  void release();

  /// For the library.
  void leave_to(wire::writer& out);
  void come_from(wire::reader& in);

private:
  void give_back() noexcept;

  ref<detail::semaphore_actor> lender_;
  std::uint64_t id_ = 0;
  std::size_t permits_ = 0;
  ref<detail::keeper<lease>> keeper_; // of one that came from another process
};

struct semaphore_state {
  std::size_t permits = 0, free = 0, leases = 0, waiting = 0;
  bool is_closed = false;
};

class semaphore : public handle<semaphore, detail::semaphore_actor> {
public:
  semaphore() = default;

  explicit semaphore(system& sys, semaphore_options opts = {});

  /// Asks for `n` permits; the future settles when they are lent.
  /// Units:  1 <= n <= permits.
  /// Errors: timeout, closed, bad_argument.
  future<lease> acquire(std::size_t n = 1) const;

  /// The same, but nothing instead of waiting.
  future<std::optional<lease>> try_acquire(std::size_t n = 1) const;

  /// Permits that can be had at this moment.
  future<std::size_t> available() const;

  future<semaphore_state> state() const;

  /// Fails who waits and who comes later with `closed`; leases stay good.
  future<void> close() const;
};

} // namespace troupe
