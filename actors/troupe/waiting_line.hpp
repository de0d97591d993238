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
//             cancel, or no future of it left) is skipped, and its place is
//             freed at the latest when the line has doubled, so that a line
//             holds no more dead entries than living ones (and 64).
// Not lost:   a value goes only to an entry that somebody can still read; one
//             whose future still lives, though its `get_for` was late, gets it
//             in there. A future that then goes unread takes it along, and what
//             another process no longer waits for is not known here: exact is
//             only a deadline of the ask (`within`).
// Who may call: the actor that has it, in its methods.
// A death:    the line goes with its actor; all in it get actor_stopped.
#pragma once

#include <algorithm>
#include <deque>

#include "troupe/future.hpp"

namespace troupe {

struct no_request {};

/// Whose entries leave a line when no future of theirs is left.
enum class line_of : std::uint8_t {
  readers,  // they only wait for their answer
  requests, // what they ask for is to be done, read or not
};

namespace detail {

/// Whether anybody can still get the answer: apart from the promise and `ours`
/// somebody has a reference, or waits (a caller in another process has none).
/// Exact for a no: who has no reference can't get one.
template <class R>
bool is_wanted(const promise<R>& answer, std::uint32_t ours = 0) {
  auto f = answer.get_future(); // one more
  auto* s = f.shared_state().get();
  return s != nullptr
         && (s->refs.load(std::memory_order_acquire) > 2 + ours
             || s->waiters.load(std::memory_order_acquire) != 0);
}

} // namespace detail

/// Answers the ask that is running: the cheap make_ready_future.
template <class R, class... Args>
future<R> answer_now(Args&&... args) {
  auto answer = answer_later<R>();
  answer.try_set_value(std::forward<Args>(args)...);
  return answer.get_future();
}

/// The same with something that must not be lost: `is_given` is false, and
/// `args` are untouched, when the asker has given up.
template <class R, class... Args>
future<R> give_now(bool& is_given, Args&&... args) {
  auto answer = answer_later<R>();
  auto result = answer.get_future();
  // Besides the promise: our future and the message. One that was made here,
  // for a caller that did not ask, goes to that caller.
  auto is_asked = result.shared_state()->ops != &detail::plain_state<R>::table;
  is_given = (!is_asked || detail::is_wanted(answer, 2))
             && answer.try_set_value(std::forward<Args>(args)...);
  return result;
}

/// R: what they wait for. Request: what the line must know about each.
template <class R, class Request = no_request, line_of Kind = line_of::readers>
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
    while (!entries_.empty() && !waits(entries_.front()))
      entries_.pop_front();
    return entries_.empty() ? nullptr : &entries_.front();
  }

  /// Settles the first that still waits with a value made from `args`; false,
  /// and `args` untouched, when nobody does.
  template <class... Args>
  bool serve(Args&&... args) {
    while (first() != nullptr) {
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
    auto gone = std::erase_if(entries_,
                              [](const entry& e) { return !waits(e); });
    sweep_at_ = std::max<std::size_t>(64, 2 * entries_.size());
    return gone;
  }

  /// With those who gave up and were not swept out yet.
  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

private:
  static bool waits(const entry& e) {
    return e.answer.is_pending()
           && (Kind == line_of::requests || detail::is_wanted(e.answer));
  }

  std::deque<entry> entries_;
  std::size_t sweep_at_ = 64;
};

} // namespace troupe
