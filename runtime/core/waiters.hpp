// SPDX-License-Identifier: MIT
// waiters: who is told that a state has settled, and the thread that sleeps
// until then. The protocol stands in troupe/detail/state.hpp; here are its
// steps, as templates so that a test can run them in every order
// (tests/model_future_test.cpp).
//
// Pairing: the list's lock bit: acquire to take it, release to give it back, so
//          that links written under it are seen by the next holder. The final
//          phase is stored under it: a waiter is on the list that `take_list`
//          returns, or `add` saw the phase and did not link it.
//          sleeper: the exchange to 1 releases what settled the state; whoever
//          sees the 1 acquires it. After the exchange the sleeper may be gone.
#pragma once

#include "sched/atomics.hpp"
#include "sched/futex.hpp"
#include "troupe/detail/state.hpp"

namespace troupe::detail {

using sched::futex_wait;
using sched::futex_wake;

/// The word of state_base::waiters: a list of Waiter, bit 0 is its lock.
/// Critical sections are a few instructions.
template <class Waiter, class Atomics = sched::std_atomics>
class waiter_list {
public:
  using word_type = typename Atomics::template atomic<std::uintptr_t>;

  explicit waiter_list(word_type& w) : word_(w) {}

  /// Makes the phase `at` final; returns those who are to be told.
  template <class Phase>
  Waiter* settle(Phase& at, phase final) {
    auto* list = lock();
    at.store(final, std::memory_order_release);
    unlock(nullptr);
    return list;
  }

  /// False when `at` is final already.
  template <class Phase>
  bool add(Phase& at, Waiter& w) {
    return add_one(at, [&] { return &w; });
  }

  /// The same for the one that `choose` returns; it is called under the lock,
  /// once, unless it is too late. Null: nobody is added.
  template <class Phase, class Choose>
  bool add_one(Phase& at, Choose choose) {
    auto* list = lock();
    if (at.load(std::memory_order_acquire) >= phase::value) {
      unlock(list);
      return false;
    }
    auto* w = choose();
    if (w != nullptr)
      w->next = list;
    unlock(w != nullptr ? w : list);
    return true;
  }

  /// False when it was on no list any more: it is being told.
  bool remove(Waiter& w) {
    auto* head = lock();
    auto found = false;
    for (decltype(&w.next) link = nullptr; auto* at = link ? *link : head;) {
      if (at == &w) {
        (link ? *link : head) = static_cast<Waiter*>(w.next);
        found = true;
        break;
      }
      link = &at->next;
    }
    unlock(head);
    return found;
  }

private:
  static constexpr std::uintptr_t locked = 1;

  Waiter* lock() {
    for (;;) {
      auto seen = word_.load(std::memory_order_relaxed);
      for (int i = 0; (seen & locked) == 0 && i < 64; ++i)
        if (word_.compare_exchange_weak(seen, seen | locked,
                                        std::memory_order_acquire,
                                        std::memory_order_relaxed))
          return reinterpret_cast<Waiter*>(seen);
      Atomics::pause();
    }
  }

  void unlock(Waiter* list) {
    word_.store(reinterpret_cast<std::uintptr_t>(list),
                std::memory_order_release);
  }

  word_type& word_;
};

inline waiter_list<waiter> list_of(state_base& s) {
  return waiter_list<waiter>{s.waiters};
}

/// A thread that sleeps until it is told.
template <class Atomics = sched::std_atomics>
class basic_sleeper {
public:
  bool is_woken() const {
    return word_.load(std::memory_order_acquire) == woken;
  }

  /// From any thread, once.
  void wake() {
    auto* key = &word_; // all that is left of it after the exchange
    if (word_.exchange(woken, std::memory_order_acq_rel) == asleep)
      futex_wake(*key, 1);
  }

  /// `left()`: nanoseconds until it is late, -1 for never, 0 when it is.
  template <class Left>
  void sleep(Left left) {
    std::uint32_t was = looking;
    word_.compare_exchange_strong(was, asleep, std::memory_order_acq_rel,
                                  std::memory_order_acquire);
    while (!is_woken()) {
      const std::int64_t ns = left();
      if (ns == 0)
        return;
      futex_wait(word_, asleep, ns);
    }
  }

private:
  static constexpr std::uint32_t looking = 0, woken = 1, asleep = 2;

  typename Atomics::template atomic<std::uint32_t> word_{looking};
};

} // namespace troupe::detail
