// SPDX-License-Identifier: MIT
// observer: a function of the program that hears of what happens.
//
// It may put another in its place, or none, while it is called: hence the
// recursive lock and the reference. Calls come one at a time, from whichever
// thread has something to say; whoever replaces it waits until a call on
// another thread is over, so that what the function refers to may go then.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

namespace troupe::detail {

template <class... Args>
class observer {
public:
  using function = std::function<void(Args...)>;

  /// An empty one ends it.
  void set(function f) {
    auto next = f ? std::make_shared<const function>(std::move(f)) : nullptr;
    const std::lock_guard guard{mutex_};
    f_.swap(next);
    is_set_.store(f_ != nullptr, std::memory_order_relaxed);
  }

  /// Whether what it would be told is worth putting together. A hint: `tell`
  /// looks again.
  bool is_set() const { return is_set_.load(std::memory_order_relaxed); }

  /// Whether somebody heard of it: nobody does where there is no observer, and
  /// where it causes by itself what it would be told. Throws what it throws.
  bool tell(Args... args) {
    const std::lock_guard guard{mutex_};
    const auto f = f_;
    if (f == nullptr || is_telling_)
      return false;
    const telling now{is_telling_};
    (*f)(args...);
    return true;
  }

private:
  struct telling {
    bool& flag;
    explicit telling(bool& f) : flag(f) { flag = true; }
    ~telling() { flag = false; }
    telling(const telling&) = delete;
    telling& operator=(const telling&) = delete;
  };

  std::recursive_mutex mutex_;
  std::shared_ptr<const function> f_; // under mutex_
  bool is_telling_ = false;           // under mutex_
  std::atomic<bool> is_set_{false};   // stored under mutex_
};

} // namespace troupe::detail
