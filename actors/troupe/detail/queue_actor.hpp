// SPDX-License-Identifier: MIT
// queue_actor: the actor behind a queue. Included by troupe/queue.hpp.
#pragma once

#include <deque>
#include <exception>
#include <vector>

#include "troupe/detail/count.hpp"
#include "troupe/handle.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

struct queue_options {
  /// Items that may wait in it. Range: 1..2^62, else bad_argument.
  std::size_t capacity = 1024;

  /// How often an item that was given back is delivered again before it is a
  /// dead letter. 0: never again.
  std::size_t redeliver_max = 3;

  /// Dead letters that are kept for `dead()`; older ones are only counted.
  std::size_t dead_kept_max = 100;

  /// How long a taker of a closed, empty queue waits for items in hands that
  /// may still come back. 0: it ends at once.
  std::chrono::nanoseconds linger = std::chrono::seconds{1};
};

struct queue_state {
  std::size_t queued = 0, in_hands = 0;
  std::size_t takers = 0, putters = 0; // who wait
  std::uint64_t put = 0, acknowledged = 0, given_back = 0, dead = 0;
  bool is_closed = false;
};

namespace detail {
template <class T>
struct moved_list;
}

/// A vector of them; one that only moves for values that do.
template <class T>
using dead_letters = std::conditional_t<std::is_copy_constructible_v<T>,
                                        std::vector<T>, detail::moved_list<T>>;

template <class T>
class item;
template <class T>
class batch;

namespace detail {

template <class T>
struct queue_entry {
  std::optional<T> value; // empty once moved on
  std::uint64_t number = 0;
  std::uint32_t attempts = 0;
};

template <class T>
class queue_actor;

/// A list that only moves, as what is in it.
template <class T>
struct moved_list : std::vector<T> {
  moved_list() = default;
  moved_list(moved_list&&) noexcept = default;
  moved_list& operator=(moved_list&&) noexcept = default;
};

enum class hold : std::uint8_t { nothing, arriving, in_transit, held };

// Who moves an item out of the future holds it; one that came from another
// process is moved into a future first.
inline hold taken_over(hold& other) {
  auto was = std::exchange(other, hold::nothing);
  if (was == hold::arriving)
    return hold::in_transit;
  return was == hold::nothing ? was : hold::held;
}

inline bool goes_by_failure(int exceptions_before) noexcept {
  return std::uncaught_exceptions() > exceptions_before || is_ending();
}

template <class T>
class queue_actor : public actor {
public:
  using entry = queue_entry<T>;
  using maybe_item = std::optional<item<T>>;

  explicit queue_actor(const queue_options& opts) : opts_(opts) {
    if (opts.capacity == 0 || opts.capacity > count_max)
      throw bad_argument{"queue: capacity is " + as_written(opts.capacity)
                         + "; " + least_and_most(1)};
  }

  // -- putting ----------------------------------------------------------------

  future<void> put(T value) {
    check_open();
    if (has_room()) {
      auto answer = answer_later<void>();
      if (answer.try_set_value()) // it has not given up
        accept(std::move(value));
      return answer.get_future();
    }
    std::vector<T> one;
    one.push_back(std::move(value));
    return putters_.park({std::move(one)});
  }

  bool try_put(T value) {
    check_open();
    if (!has_room())
      return false;
    accept(std::move(value));
    return true;
  }

  future<void> put_all(std::vector<T> values) {
    check_open();
    std::size_t at = 0;
    do {
      while (at != values.size() && has_room())
        push(std::move(values[at++]));
    } while (serve_takers() && at != values.size());
    if (at == values.size())
      return answer_now<void>();
    return putters_.park({std::move(values), at});
  }

  // -- taking -----------------------------------------------------------------

  future<maybe_item> take() {
    if (!entries_.empty())
      return try_take();
    if (has_ended())
      return answer_now<maybe_item>();
    auto result = one_takers_.park(next_taker(1));
    linger();
    return result;
  }

  future<maybe_item> try_take() {
    if (entries_.empty())
      return answer_now<maybe_item>();
    auto answer = answer_later<maybe_item>();
    give(answer);
    serve();
    return answer.get_future();
  }

  future<batch<T>> take_some(std::size_t max) {
    if (max == 0)
      throw bad_argument{"queue::take_some of 0; the least is 1"};
    if (!entries_.empty() || has_ended()) {
      auto answer = answer_later<batch<T>>();
      if (entries_.empty())
        answer.set_value();
      else
        give(answer, max);
      serve();
      return answer.get_future();
    }
    auto result = some_takers_.park(next_taker(max));
    linger();
    return result;
  }

  void acknowledge(std::size_t n) {
    in_hands_ -= n;
    acknowledged_ += n;
    end_if_done();
  }

  /// `counts`: somebody had seen it and failed.
  void give_back(entry e, bool counts) {
    --in_hands_;
    if (counts) {
      ++given_back_;
      if (e.attempts++ >= opts_.redeliver_max) {
        bury(std::move(*e.value));
        end_if_done();
        return;
      }
    }
    auto at = entries_.begin();
    while (at != entries_.end() && at->number < e.number)
      ++at;
    entries_.insert(at, std::move(e));
    serve();
  }

  // -- the end ----------------------------------------------------------------

  void close() {
    if (!is_closed_)
      closed_at_ = clock::now();
    is_closed_ = true;
    putters_.fail_all(closed{"queue::put: the queue was closed"});
    end_if_done();
    linger();
  }

  future<void> join() {
    return is_done() ? answer_now<void>() : joiners_.park();
  }

  // -- looking ----------------------------------------------------------------

  std::size_t size() const { return entries_.size(); }

  queue_state state() {
    one_takers_.sweep();
    some_takers_.sweep();
    putters_.sweep();
    return {
      entries_.size(), in_hands_,    one_takers_.size() + some_takers_.size(),
      putters_.size(), last_number_, acknowledged_,
      given_back_,     dead_,        is_closed_};
  }

  dead_letters<T> dead() {
    dead_letters<T> result;
    for (auto& x : dead_kept_)
      result.push_back(std::move(x));
    dead_kept_.clear();
    return result;
  }

private:
  struct put_request {
    std::vector<T> values;
    std::size_t at = 0;
  };
  using clock = std::chrono::steady_clock;
  struct take_request {
    std::uint64_t number;
    std::size_t max;
    clock::time_point came; // if it was closed then
  };

  take_request next_taker(std::size_t max) {
    auto came = is_closed_ ? clock::now() : clock::time_point{};
    return {++last_taker_, max, came};
  }

  void check_open() const {
    if (is_closed_)
      throw closed{"queue::put after close"};
  }

  bool has_room() {
    return entries_.size() < opts_.capacity && putters_.first() == nullptr;
  }

  bool is_done() const {
    return is_closed_ && entries_.empty() && in_hands_ == 0;
  }

  bool has_ended() const {
    return is_done()
           || (is_closed_ && entries_.empty() && opts_.linger.count() <= 0);
  }

  void push(T value) {
    entries_.push_back({std::move(value), ++last_number_, 0});
  }

  void accept(T value) {
    push(std::move(value));
    serve();
  }

  // Gives the first to `to` unless it has given up.
  bool give(promise<maybe_item>& to) {
    ref<queue_actor> me = self();
    if (!to.try_set_value(std::in_place, std::move(me), entries_.front()))
      return false;
    entries_.pop_front();
    ++in_hands_;
    return true;
  }

  bool give(promise<batch<T>>& to, std::size_t max) {
    if (!to.is_pending())
      return false;
    auto n = std::min(max, entries_.size());
    std::vector<entry> some;
    some.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      some.push_back(std::move(entries_.front()));
      entries_.pop_front();
    }
    in_hands_ += n;
    ref<queue_actor> me = self();
    if (to.try_set_value(std::move(me), some))
      return true;
    in_hands_ -= n; // it has given up at this very moment
    entries_.insert(entries_.begin(), std::make_move_iterator(some.begin()),
                    std::make_move_iterator(some.end()));
    return false;
  }

  // Items to who waits for them, places to who waits for these, as many as
  // there are before the other side's turn: so that batches stay batches.
  void serve() {
    do
      admit();
    while (serve_takers() && putters_.first() != nullptr);
  }

  // Whether anybody got anything.
  bool serve_takers() {
    bool is_given = false;
    while (!entries_.empty()) {
      auto* one = one_takers_.first();
      auto* some = some_takers_.first();
      if (one != nullptr
          && (some == nullptr || one->request.number < some->request.number)) {
        is_given |= give(one->answer);
        one_takers_.pop();
      } else if (some != nullptr) {
        is_given |= give(some->answer, some->request.max);
        some_takers_.pop();
      } else {
        break;
      }
    }
    return is_given;
  }

  void admit() {
    while (entries_.size() < opts_.capacity) {
      auto* next = putters_.first();
      if (next == nullptr)
        return;
      auto& [values, at] = next->request;
      // The last one goes in only if the putter has not given up.
      auto is_last = at + 1 == values.size();
      if (!is_last || next->answer.try_set_value())
        push(std::move(values[at++]));
      if (is_last)
        putters_.pop();
    }
  }

  void bury(T value) {
    ++dead_;
    if (opts_.dead_kept_max == 0)
      return;
    if (dead_kept_.size() == opts_.dead_kept_max)
      dead_kept_.pop_front();
    dead_kept_.push_back(std::move(value));
  }

  void end_takers() {
    for (; one_takers_.first() != nullptr; one_takers_.pop())
      one_takers_.first()->answer.try_set_value();
    for (; some_takers_.first() != nullptr; some_takers_.pop())
      some_takers_.first()->answer.try_set_value();
  }

  void end_if_done() {
    if (!is_done())
      return;
    end_takers();
    joiners_.serve_all();
  }

  // Closed and empty, but some are in hands: what comes back in time goes to
  // who waits, later they end.
  void linger() {
    if (!is_closed_ || !entries_.empty() || is_lingering_ || is_done())
      return;
    linger_for(opts_.linger);
  }

  // Each taker has its own time; the timer is that of the next one.
  void linger_for(std::chrono::nanoseconds d) {
    is_lingering_ = true;
    after(d, [this] {
      is_lingering_ = false;
      if (!entries_.empty())
        return;
      auto left = std::min(end_late(one_takers_), end_late(some_takers_));
      if (left != std::chrono::nanoseconds::max())
        linger_for(left);
    });
  }

  // Ends those who have waited long enough; what is left to the next.
  template <class Line>
  std::chrono::nanoseconds end_late(Line& line) {
    auto now = clock::now();
    for (; auto* next = line.first(); line.pop()) {
      auto waited = now - std::max(next->request.came, closed_at_);
      if (waited < opts_.linger)
        return opts_.linger - waited;
      next->answer.try_set_value();
    }
    return std::chrono::nanoseconds::max();
  }

  const queue_options opts_;
  std::deque<entry> entries_;
  std::size_t in_hands_ = 0;
  std::uint64_t last_number_ = 0, last_taker_ = 0;
  std::uint64_t acknowledged_ = 0, given_back_ = 0, dead_ = 0;
  bool is_closed_ = false;
  bool is_lingering_ = false;
  clock::time_point closed_at_{};
  std::deque<T> dead_kept_;
  waiting_line<void, put_request, line_of::requests> putters_;
  waiting_line<maybe_item, take_request> one_takers_;
  waiting_line<batch<T>, take_request> some_takers_;
  waiting_line<void> joiners_;
};

template <class T>
void tell_ack(const ref<queue_actor<T>>& to, std::size_t n) noexcept {
  try {
    to.template tell<&queue_actor<T>::acknowledge>(n);
  } catch (const std::exception&) {
    // Only without memory: join says so by its deadline.
  }
}

template <class T>
void tell_back(const ref<queue_actor<T>>& to, queue_entry<T> e,
               bool counts) noexcept {
  try {
    to.template tell<&queue_actor<T>::give_back>(std::move(e), counts);
  } catch (const std::exception&) {
    // As above.
  }
}

/// A tell that may fail only for want of memory.
template <auto M, class T, class... As>
void tell(const ref<T>& to, As... as) noexcept {
  try {
    to.template tell<M>(as...);
  } catch (const std::exception&) {
    // As above.
  }
}

} // namespace detail

} // namespace troupe
