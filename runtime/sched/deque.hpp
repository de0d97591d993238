// SPDX-License-Identifier: MIT
// deque: a worker's bounded run queue, after Chase and Lev (2005) in the C11
// form of Le, Pop, Cohen and Zappa Nardelli (2013).
//
// Who may call: push and pop belong to the owner; steal, size and empty to all.
// Invariants: (1) bottom - top <= capacity. (2) A job leaves once: by the owner
//             at the bottom or, through a CAS on top, by whoever is first.
// Pairing:    each store of bottom releases the slots below it to steal's load
//             of bottom: pop's too, as a thief may read the value that pop put
//             back. pop's seq_cst fence against steal's: for the last job one
//             of the two sees the other and the CAS on top decides.
// Checked in every order by tests/model_sched_test.cpp.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "sched/atomics.hpp"

#if defined(__SANITIZE_THREAD__)
#  define TROUPE_TSAN 1
#elif defined(__has_feature)
#  if __has_feature(thread_sanitizer)
#    define TROUPE_TSAN 1
#  endif
#endif

namespace troupe::sched {

/// A bounded deque of `T*`; `Capacity` is a power of two.
template <class T, std::int64_t Capacity = 4096, class Atomics = std_atomics>
class job_deque {
  static_assert(Capacity >= 2 && (Capacity & (Capacity - 1)) == 0);

public:
  job_deque() : buffer_(new slot[Capacity]) {}

  /// Appends at the bottom; false when full.
  bool push(T* job) {
    auto b = bottom_.load(std::memory_order_relaxed);
    auto t = top_.load(std::memory_order_acquire);
    if (b - t >= Capacity)
      return false;
    at(b).store(job, std::memory_order_release);
    bottom_.store(b + 1, std::memory_order_release);
    return true;
  }

  /// Takes the youngest job; null when empty.
  T* pop() {
    auto b = bottom_.load(std::memory_order_relaxed) - 1;
    // The owner alone adds jobs, so this look needs no fence.
    if (top_.load(std::memory_order_relaxed) > b)
      return nullptr;
    exchange_fence(b);
    auto t = top_.load(std::memory_order_seq_cst);
    if (t > b) {
      bottom_.store(b + 1, std::memory_order_release);
      return nullptr;
    }
    auto job = at(b).load(std::memory_order_relaxed);
    if (t == b) {
      if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                        std::memory_order_relaxed))
        job = nullptr;
      bottom_.store(b + 1, std::memory_order_release);
    }
    return job;
  }

  /// Takes the oldest job; null when empty or when another was faster.
  T* steal() {
    auto t = top_.load(std::memory_order_seq_cst);
#ifndef TROUPE_TSAN
    Atomics::fence(std::memory_order_seq_cst);
#endif
    auto b = bottom_.load(std::memory_order_seq_cst);
    if (t >= b)
      return nullptr;
    auto job = at(t).load(std::memory_order_acquire);
    if (!top_.compare_exchange_strong(t, t + 1, std::memory_order_seq_cst,
                                      std::memory_order_relaxed))
      return nullptr;
    return job;
  }

  /// An estimate: exact only for the owner while nobody steals.
  std::int64_t size() const {
    auto n = bottom_.load(std::memory_order_relaxed)
             - top_.load(std::memory_order_relaxed);
    return n > 0 ? n : 0;
  }

  bool empty() const { return size() == 0; }

private:
  using slot = typename Atomics::template atomic<T*>;
  using index = typename Atomics::template atomic<std::int64_t>;

  slot& at(std::int64_t i) {
    return buffer_[static_cast<std::size_t>(i & (Capacity - 1))];
  }

  // Stores the new bottom so that thieves see it before we read top. TSan does
  // not know fences; there an exchange does the same.
  void exchange_fence(std::int64_t b) {
#ifdef TROUPE_TSAN
    bottom_.exchange(b, std::memory_order_seq_cst);
#else
    bottom_.store(b, std::memory_order_release);
    Atomics::fence(std::memory_order_seq_cst);
#endif
  }

  alignas(64) index top_{0};
  alignas(64) index bottom_{0};
  std::unique_ptr<slot[]> buffer_;
};

} // namespace troupe::sched
