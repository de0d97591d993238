// SPDX-License-Identifier: MIT
// inbox: the one word by which messages get into a cell and the right to run
// it goes from thread to thread.
//
// Its low bits say who has to schedule the cell, the middle is a stack of
// envelopes (newest first), the top counts them (it saturates).
//   idle       unscheduled, empty: whoever pushes schedules
//   suspended  a method waits for a reply: only urgent messages schedule
//   refusing   down: only urgent messages get in (else it is as suspended)
//   closed     ended: nothing gets in; with idle: its last runner has left
//   held       the right to run comes with a reference (see lifetime.hpp)
//   else       scheduled or running: pushing is all there is to do
// Who may call: push, claim, size, and what lifetime.hpp needs belong to all;
//             the rest to whoever has the right to run the cell.
// Invariants: (1) one thread at most has the right to run. It is given away
//             by `rest`, and taken by whoever clears idle or suspended: the
//             one push that answers `wakes`, or a claim. (2) idle and
//             suspended stand only where nothing waits that would clear them,
//             so nothing waits for a wake-up that does not come.
// Pairing:    `rest` releases what its thread did to the object to the acquire
//             of the push or claim that takes the right over. Each push
//             releases its envelope to the acquire of `take` and `close`;
//             pushes in between carry it on (one release sequence). `close`
//             also releases what the end wrote to envelopes still on their
//             way to the acquire of the push that is refused, and may free.
// Checked in every order by tests/model_inbox_test.cpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sched/atomics.hpp"

namespace troupe::detail {

/// What became of a push.
enum class pushed {
  refused, // the caller still owns the envelope
  quietly, // whoever runs the cell will see it
  wakes,   // the caller has the right to run now, and must schedule
};

template <class Envelope, class Atomics = sched::std_atomics>
class basic_inbox {
public:
  using word = std::uintptr_t;
  static constexpr word idle = 1, suspended = 2, closed = 4, refusing = 8;
  static constexpr word held = word{1} << 48;

  /// As if running: the first to rest is whoever made the cell.
  basic_inbox() = default;

  pushed push(Envelope* e, bool urgent) {
    auto seen = word_.load(std::memory_order_acquire);
    for (;;) {
      if ((seen & (closed | refusing)) != 0
          && ((seen & closed) != 0 || !urgent))
        return pushed::refused;
      e->next = stack_of(seen);
      auto counted = seen >> count_shift == count_max ? seen : seen + one;
      auto wakes = (seen & idle) != 0 || ((seen & suspended) != 0 && urgent);
      auto kept = wakes ? refusing | held : refusing | suspended | held;
      auto next = (counted & ~(pointer_mask | tags)) | (seen & kept)
                  | reinterpret_cast<word>(e);
      if (word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        return wakes ? pushed::wakes : pushed::quietly;
    }
  }

  /// Takes the right to run an idle cell, for reasons of one's own.
  bool claim() {
    auto seen = word_.load(std::memory_order_relaxed);
    while ((seen & ~held) == idle) // and no message
      if (claim_from(seen))
        return true;
    return false;
  }

  /// All that waits, newest first; null when nothing does.
  Envelope* take() {
    auto seen = word_.load(std::memory_order_relaxed);
    if (stack_of(seen) == nullptr)
      return nullptr;
    return replace(seen & (refusing | held), std::memory_order_acquire);
  }

  /// The same; the tags are `then` from now on.
  Envelope* close(word then) {
    return replace(then, std::memory_order_acq_rel);
  }

  /// Gives the right to run away unless something came in. `keeps`: with the
  /// reference that may come with it; else that is in the way, too.
  bool rest(bool is_suspended, bool keeps = false) {
    word empty = 0;
    if (is_suspended || keeps) // nobody else sets or clears refusing
      empty = word_.load(std::memory_order_relaxed)
              & (keeps ? refusing | held : refusing);
    return word_.compare_exchange_strong(
      empty, empty | (is_suspended ? suspended : idle),
      std::memory_order_acq_rel);
  }

  // -- the last reference (lifetime.hpp) --------------------------------------

  word look() const { return word_.load(std::memory_order_acquire); }
  static bool is_running(word seen) { return (seen & (idle | suspended)) == 0; }
  static bool has_left(word seen) {
    return (seen & (closed | idle)) == (closed | idle);
  }

  /// Takes the right to run a cell that rests; else `seen` is what is there.
  bool claim_from(word& seen) {
    return word_.compare_exchange_weak(seen, seen & ~(idle | suspended),
                                       std::memory_order_acq_rel,
                                       std::memory_order_acquire);
  }

  /// Leaves a reference with whoever runs the cell; else as above.
  bool hold(word& seen) {
    return word_.compare_exchange_weak(
      seen, seen | held, std::memory_order_acq_rel, std::memory_order_acquire);
  }

  /// For whoever runs the cell: whether it has nothing but a reference.
  bool is_but_held() const {
    return (word_.load(std::memory_order_acquire) & ~refusing) == held;
  }
  void unhold() { word_.fetch_and(~held, std::memory_order_relaxed); }

  /// Gives the right to run away for good; whether a reference came with it,
  /// which is the caller's now. Else the cell may be gone at once.
  bool leave() {
    return (word_.fetch_or(idle, std::memory_order_acq_rel) & held) != 0;
  }

  /// Lets no calls in any more; what is in stays.
  void refuse() { word_.fetch_or(refusing, std::memory_order_acq_rel); }

  /// Lets calls in again; whether they had been refused.
  bool accept() { return (word_.fetch_and(~refusing) & refusing) != 0; }

  bool is_closed() const {
    return (word_.load(std::memory_order_acquire) & closed) != 0;
  }
  /// For whoever runs the cell: nobody else changes it.
  bool refuses() const {
    return (word_.load(std::memory_order_relaxed) & refusing) != 0;
  }
  /// Seen from outside: only a hint.
  bool is_idle() const { return (word_.load() & idle) != 0; }

  /// Exact up to count_max, where it stays.
  std::size_t size() const {
    return static_cast<std::size_t>(word_.load(std::memory_order_relaxed)
                                    >> count_shift);
  }

private:
  static constexpr word tags = 15;
  static constexpr int count_shift = 49;
  static constexpr word one = word{1} << count_shift;
  static constexpr word count_max = 0x7fff;
  static constexpr word pointer_mask = held - 1 - tags;

  static Envelope* stack_of(word w) {
    return reinterpret_cast<Envelope*>(w & pointer_mask);
  }

  // A reference that came at this moment stays: until we let it go, there is
  // no second one to come.
  Envelope* replace(word next, std::memory_order order) {
    auto before = word_.exchange(next, order);
    if ((before & held) != 0 && (next & held) == 0) [[unlikely]]
      word_.fetch_or(held, std::memory_order_acquire);
    return stack_of(before);
  }

  typename Atomics::template atomic<word> word_{0};
};

} // namespace troupe::detail
