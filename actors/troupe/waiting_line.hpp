// SPDX-License-Identifier: MIT
// waiting_line: who waits inside an actor, in order of arrival. The one waiter
// list that all primitives of this library share.
//
//   future<int> take() {                    // a method of an actor
//     return items_.empty() ? line_.park() : make_ready_future(pop());
//   }
//   void put(int n) { if (!line_.serve(n)) items_.push_back(n); }
//
// Invariants: (1) first come, first served. (2) whoever has given up (deadline,
//             cancel) is skipped, and its place is freed at the latest when the
//             line has doubled, so that a line holds no more dead entries than
//             living ones (and 64).
// Who may call: the actor that has it, in its methods.
// A death:    the line goes with its actor; all in it get actor_stopped.
#pragma once

#include <algorithm>
#include <deque>

#include "troupe/future.hpp"

namespace troupe {

struct no_request {};

/// Answers the ask that is running: the cheap make_ready_future.
template <class R, class... Args>
future<R> answer_now(Args&&... args) {
  auto answer = answer_later<R>();
  answer.try_set_value(std::forward<Args>(args)...);
  return answer.get_future();
}

/// R: what they wait for. Request: what the line must know about each.
template <class R, class Request = no_request>
class waiting_line {
public:
  struct entry {
    promise<R> answer;
    [[no_unique_address]] Request request;
  };

  /// Puts the ask that is running at the end; the method returns this future.
  future<R> park(Request request = {}) {
    if (entries_.size() >= sweep_at_)
      sweep();
    entries_.push_back(entry{answer_later<R>(), std::move(request)});
    return entries_.back().answer.get_future();
  }

  /// The first that still waits; null when nobody does.
  entry* first() {
    while (!entries_.empty() && !entries_.front().answer.is_pending())
      entries_.pop_front();
    return entries_.empty() ? nullptr : &entries_.front();
  }

  /// Settles the first that still waits with a value made from `args`; false,
  /// and `args` untouched, when nobody does.
  template <class... Args>
  bool serve(Args&&... args) {
    while (!entries_.empty()) {
      // NOLINTBEGIN(bugprone-use-after-move): untouched unless served
      auto served =
        entries_.front().answer.try_set_value(std::forward<Args>(args)...);
      // NOLINTEND(bugprone-use-after-move)
      entries_.pop_front();
      if (served)
        return true;
    }
    return false;
  }

  /// The first, whether it still waits or not. Requires: not empty.
  entry& front() { return entries_.front(); }

  void pop() { entries_.pop_front(); }

  /// Settles all with a value made from `args` by copy; how many still waited.
  template <class... Args>
  std::size_t serve_all(const Args&... args) {
    std::size_t n = 0;
    for (auto& e : std::exchange(entries_, {}))
      n += e.answer.try_set_value(args...) ? 1 : 0;
    return n;
  }

  /// Fails all with an error of their own; how many still waited.
  template <class Error>
  std::size_t fail_all(const Error& error) {
    std::size_t n = 0;
    for (auto& e : std::exchange(entries_, {}))
      n += e.answer.try_set_exception(std::make_exception_ptr(error)) ? 1 : 0;
    return n;
  }

  /// Drops whoever has given up; how many they were.
  std::size_t sweep() {
    auto gone = std::erase_if(
      entries_, [](const entry& e) { return !e.answer.is_pending(); });
    sweep_at_ = std::max<std::size_t>(64, 2 * entries_.size());
    return gone;
  }

  /// With those who gave up and were not swept out yet.
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

private:
  std::deque<entry> entries_;
  std::size_t sweep_at_ = 64;
};

} // namespace troupe
