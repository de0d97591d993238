// SPDX-License-Identifier: MIT
// slot: the one job that a worker runs next and that thieves leave alone.
//
// Who may call: exchange and take belong to the owner, take_from_outside to
// one other thread at a time, is_empty to all.
// Protocol:   asymmetric, so that the owner pays no locked instruction. The
//             owner stores busy_, then looks at wanted_; the other stores
//             wanted_, runs membarrier(2), then waits for busy_ to fall.
// Pairing:    of the owner's (busy_, wanted_) and the other's (wanted_, busy_)
//             at least one sees the other: membarrier stands between both
//             pairs. Else both would change job_ and a job ran twice or never.
//             busy_ (release) gives job_ to the other's acquire load, wanted_
//             (release) gives it back to the owner's acquire load.
#pragma once

#include "sched/atomics.hpp"

namespace troupe::sched {

template <class T, class Atomics = std_atomics>
class job_slot {
public:
  /// Puts `job` there (null empties it); returns what was there.
  T* exchange(T* job) {
    busy_.store(true, std::memory_order_relaxed);
    Atomics::fence_compiler();
    while (wanted_.load(std::memory_order_acquire)) {
      busy_.store(false, std::memory_order_release);
      Atomics::pause();
      busy_.store(true, std::memory_order_relaxed);
      Atomics::fence(std::memory_order_seq_cst);
    }
    auto* old = job_.load(std::memory_order_relaxed);
    job_.store(job, std::memory_order_relaxed);
    busy_.store(false, std::memory_order_release);
    return old;
  }

  T* take() { return is_empty() ? nullptr : exchange(nullptr); }

  /// For the monitor; null also where membarrier(2) is missing.
  T* take_from_outside() {
    if (is_empty())
      return nullptr;
    wanted_.store(true);
    if (!Atomics::fence_all()) {
      wanted_.store(false);
      return nullptr;
    }
    while (busy_.load(std::memory_order_acquire))
      Atomics::pause();
    auto* job = job_.load(std::memory_order_relaxed);
    job_.store(nullptr, std::memory_order_relaxed);
    wanted_.store(false, std::memory_order_release);
    return job;
  }

  /// Exact for the owner, unless the monitor takes the job at this moment.
  bool is_empty() const {
    return job_.load(std::memory_order_relaxed) == nullptr;
  }

private:
  typename Atomics::template atomic<T*> job_{nullptr};
  typename Atomics::template atomic<bool> busy_{false};
  typename Atomics::template atomic<bool> wanted_{false};
};

} // namespace troupe::sched
