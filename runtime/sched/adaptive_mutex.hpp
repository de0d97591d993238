// SPDX-License-Identifier: MIT
// adaptive_mutex: for a few instructions at a time that many threads run often.
// Who finds it taken looks again for a moment before it sleeps: a sleep and the
// wake-up cost a hundred times what the holder still has to do.
// Source: glibc's adaptive kind of mutex (PTHREAD_MUTEX_ADAPTIVE_NP).
#pragma once

#include <pthread.h>

namespace troupe::sched {

class adaptive_mutex {
public:
  adaptive_mutex() = default;
  adaptive_mutex(const adaptive_mutex&) = delete;
  adaptive_mutex& operator=(const adaptive_mutex&) = delete;
  ~adaptive_mutex() { ::pthread_mutex_destroy(&mutex_); }

  void lock() noexcept { ::pthread_mutex_lock(&mutex_); }
  bool try_lock() noexcept { return ::pthread_mutex_trylock(&mutex_) == 0; }
  void unlock() noexcept { ::pthread_mutex_unlock(&mutex_); }

private:
  ::pthread_mutex_t mutex_ = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP;
};

} // namespace troupe::sched
