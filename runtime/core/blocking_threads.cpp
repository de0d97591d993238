// SPDX-License-Identifier: MIT
#include "core/blocking_threads.hpp"

#include <chrono>
#include <cstdio>
#include <system_error>

#include "sched/timer_thread.hpp"
#include "troupe/error.hpp"

namespace troupe::detail {

blocking_threads::blocking_threads(std::size_t max) : max_(max) {}

blocking_threads::~blocking_threads() {
  stop(0);
}

bool blocking_threads::start_locked(std::function<void()> f, bool owned) {
  reap_locked();
  if (alive_ >= max_ || stopping_)
    return false;
  auto self = threads_.emplace(threads_.end());
  try {
    self->thread =
      std::thread{[this, self, f = std::move(f), owned, n = next_]() mutable {
        char name[16];
        std::snprintf(name, sizeof(name), "troupe.blk%zu", n % 10000);
        sched::name_thread(name);
        loop(self, std::move(f), owned);
      }};
  } catch (const std::system_error&) {
    threads_.erase(self);
    return false;
  }
  ++next_;
  ++alive_;
  return true;
}

void blocking_threads::run(std::function<void()> f) {
  std::lock_guard guard{mutex_};
  if (stopping_)
    throw closed{"blocking: the system has stopped"};
  queue_.push_back(std::move(f));
  if (idle_ >= queue_.size()) {
    work_.notify_one();
  } else if (!start_locked(nullptr, false) && alive_ == 0) {
    queue_.pop_back();
    throw rejected{"blocking: no thread could be started"};
  }
}

bool blocking_threads::run_now(std::function<void()> f) {
  std::lock_guard guard{mutex_};
  return start_locked(std::move(f), true);
}

void blocking_threads::loop(slots::iterator self, std::function<void()> f,
                            bool owned) {
  if (owned)
    f();
  std::unique_lock guard{mutex_};
  // A thread that an actor gives back serves those who wait for one.
  while (!owned || !queue_.empty()) {
    if (queue_.empty()) {
      if (stopping_)
        break;
      ++idle_;
      auto woken = work_.wait_for(guard, std::chrono::seconds{10}, [this] {
        return stopping_ || !queue_.empty();
      });
      --idle_;
      if (!woken)
        break;
      continue;
    }
    f = std::move(queue_.front());
    queue_.pop_front();
    ++busy_;
    guard.unlock();
    f();
    f = nullptr;
    guard.lock();
    --busy_;
  }
  self->ended = true;
  --alive_;
  ended_.notify_all();
}

void blocking_threads::reap_locked() {
  for (auto i = threads_.begin(); i != threads_.end();) {
    if (i->ended) {
      i->thread.join(); // it has released, or is about to release, the lock
      i = threads_.erase(i);
    } else {
      ++i;
    }
  }
}

bool blocking_threads::is_idle() const {
  std::lock_guard guard{mutex_};
  return busy_ == 0 && queue_.empty();
}

std::size_t blocking_threads::size() const {
  std::lock_guard guard{mutex_};
  return alive_;
}

bool blocking_threads::stop(std::int64_t until) {
  using clock = std::chrono::steady_clock;
  std::unique_lock guard{mutex_};
  stopping_ = true;
  work_.notify_all();
  auto when = clock::time_point{std::chrono::nanoseconds{until}};
  ended_.wait_until(guard, when, [this] { return alive_ == 0; });
  reap_locked();
  for (auto& t : threads_)
    t.thread.detach();
  auto all = threads_.empty();
  return all;
}

} // namespace troupe::detail
