// SPDX-License-Identifier: MIT
// topic: what one publishes, all subscribers get.
//
//   troupe::topic<std::string> news{sys};
//   auto mine = news.subscribe({.buffer = 100}).get();
//   news.publish("hello").get();
//   while (auto text = mine.next().get()) use(*text);   // ends when closed
//
// Invariants: (1) each subscriber sees what was published after it came, in
//             order. (2) at most `buffer` values wait for a subscriber; what
//             happens then is its choice: a slow one can't grow memory.
// Who may call: anybody, from any thread.
// A death:    a subscription that goes, with its actor say, is forgotten.
#pragma once

#include <deque>
#include <map>

#include "troupe/detail/count.hpp"
#include "troupe/handle.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

struct subscribe_options {
  /// Values that may wait for this subscriber. Range: 1..2^62, else
  /// bad_argument.
  std::size_t buffer = 64;
  /// What happens to the one too many: drop_oldest, drop_newest (both counted
  /// in `missed`), wait (the publisher waits: use with care) or reject (the
  /// subscription ends with `rejected`).
  full_policy full = full_policy::drop_oldest;
};

namespace detail {
template <class T>
class topic_actor;
}

/// A place among the subscribers. Movable; going away ends it.
template <class T>
class subscription {
public:
  subscription() = default;
  /// For the library.
  subscription(ref<detail::topic_actor<T>> topic, std::uint64_t id)
    : topic_(std::move(topic)),
      id_(id) {}
  subscription(subscription&& other) noexcept
    : topic_(std::move(other.topic_)),
      id_(std::exchange(other.id_, 0)),
      keeper_(std::move(other.keeper_)) {}
  subscription& operator=(subscription&& other) noexcept {
    if (this != &other) {
      end();
      topic_ = std::move(other.topic_);
      id_ = std::exchange(other.id_, 0);
      keeper_ = std::move(other.keeper_);
    }
    return *this;
  }
  ~subscription() { end(); }

  /// The next value; nothing when the topic was closed and all was seen. A
  /// future that is gone takes none: what that means says pipe_end::receive.
  /// Errors: timeout and cancelled (then nothing is lost), rejected (it was
  ///         too slow, and full_policy::reject was chosen).
  future<std::optional<T>> next() const {
    return topic_.template ask<&detail::topic_actor<T>::next>(id_);
  }
  future<std::optional<T>> next(time_limit limit) const {
    return topic_.within(limit).template ask<&detail::topic_actor<T>::next>(
      id_);
  }

  /// How many values were dropped because this subscriber was too slow.
  future<std::uint64_t> missed() const {
    return topic_.template ask<&detail::topic_actor<T>::missed>(id_);
  }

  /// For the library: see detail/travel.hpp.
  using carried = T;
  void leave_to(wire::writer& out) {
    if (id_ != 0 && !keeper_)
      keeper_ = system_of(topic_).template spawn<detail::keeper<subscription>>(
        subscription{topic_, id_});
    wire::encode(out, topic_);
    wire::encode(out, std::exchange(id_, 0));
    wire::encode(out, keeper_);
  }
  void come_from(wire::reader& in) {
    wire::decode(in, topic_);
    wire::decode(in, id_);
    wire::decode(in, keeper_);
  }

private:
  void end() noexcept {
    auto id = std::exchange(id_, 0);
    if (id == 0)
      return;
    try {
      topic_.template tell<&detail::topic_actor<T>::unsubscribe>(id);
    } catch (const std::exception&) {
      // Only without memory; what waits for it stays bounded.
    }
    keeper_ = {};
  }

  ref<detail::topic_actor<T>> topic_;
  std::uint64_t id_ = 0;
  ref<detail::keeper<subscription>> keeper_; // came from another process
};

namespace detail {

template <class T>
class topic_actor : public actor {
public:
  using maybe = std::optional<T>;

  future<subscription<T>> subscribe(subscribe_options opts) {
    if (is_closed_)
      throw closed{"topic::subscribe after close"};
    if (opts.buffer == 0 || opts.buffer > count_max)
      throw bad_argument{"topic::subscribe: buffer is "
                         + as_written(opts.buffer) + "; " + least_and_most(1)};
    if (opts.full == full_policy::caller_runs)
      throw bad_argument{"topic::subscribe: caller_runs is for pools"};
    auto answer = answer_later<subscription<T>>();
    ref<topic_actor> me = self();
    if (answer.try_set_value(std::move(me), last_id_ + 1)) {
      ++last_id_;
      readers_.try_emplace(last_id_).first->second.opts = opts;
    }
    return answer.get_future();
  }

  void unsubscribe(std::uint64_t id) {
    readers_.erase(id);
    admit();
  }

  future<std::size_t> publish(T value) {
    if (is_closed_)
      throw closed{"topic::publish after close"};
    admit();
    if (publishers_.first() != nullptr || is_blocked())
      return publishers_.park({std::move(value)});
    auto answer = answer_later<std::size_t>();
    if (answer.try_set_value(readers_.size()))
      deliver(value);
    return answer.get_future();
  }

  // Behind publishers that wait: they came first.
  void post(T value) {
    if (is_closed_)
      return;
    admit();
    if (publishers_.first() == nullptr) {
      deliver(value);
    } else if (posts_ == posts_max) {
      for (auto& [id, r] : readers_)
        ++r.missed;
    } else {
      ++posts_;
      static_cast<void>(publishers_.park({std::move(value), true}));
      watch_publishers();
    }
  }

  future<maybe> next(std::uint64_t id) {
    auto at = readers_.find(id);
    if (at == readers_.end())
      throw bad_argument{"subscription::next: it has ended"};
    auto& r = at->second;
    if (r.values.empty() && r.is_too_slow)
      throw rejected{"subscription::next: more than "
                     + std::to_string(r.opts.buffer)
                     + " values waited, and full is reject"};
    if (r.values.empty() && is_closed_)
      return answer_now<maybe>();
    if (r.values.empty())
      return r.line.park();
    // Nobody else waits, or they would have it.
    bool is_given = false;
    auto result = give_now<maybe>(is_given, std::move(r.values.front()));
    if (is_given)
      r.values.pop_front();
    admit();
    return result;
  }

  std::uint64_t missed(std::uint64_t id) {
    auto at = readers_.find(id);
    return at == readers_.end() ? 0 : at->second.missed;
  }

  std::size_t subscribers() const { return readers_.size(); }

  void close() {
    is_closed_ = true;
    auto why =
      std::make_exception_ptr(closed{"topic::publish: the topic was closed"});
    for (; auto* p = publishers_.first(); publishers_.pop())
      if (p->request.is_post)
        end_post(*p);
      else
        p->answer.try_set_exception(why);
    for (auto& [id, r] : readers_)
      for (; r.line.first() != nullptr; r.line.pop())
        r.line.first()->answer.try_set_value();
  }

private:
  struct reader {
    subscribe_options opts;
    std::deque<T> values;
    waiting_line<maybe> line;
    std::uint64_t missed = 0;
    bool is_too_slow = false;
  };

  bool is_blocked() const {
    for (auto& [id, r] : readers_)
      if (r.opts.full == full_policy::wait && r.values.size() >= r.opts.buffer)
        return true;
    return false;
  }

  void deliver(const T& value) {
    for (auto& [id, r] : readers_) {
      if (r.is_too_slow)
        continue;
      if (r.values.size() >= r.opts.buffer) {
        ++r.missed;
        if (r.opts.full == full_policy::reject)
          r.is_too_slow = true;
        if (r.opts.full != full_policy::drop_oldest)
          continue;
        r.values.pop_front();
      }
      r.values.push_back(value);
      serve(r);
    }
  }

  static void serve(reader& r) {
    while (!r.values.empty() && r.line.serve(std::move(r.values.front())))
      r.values.pop_front();
  }

  void admit() {
    for (; auto* p = publishers_.first(); publishers_.pop())
      if (p->request.is_post)
        end_post(*p);
      else if (is_blocked())
        return;
      else if (p->answer.try_set_value(readers_.size()))
        deliver(p->request.value);
  }

  template <class Entry>
  void end_post(Entry& e) {
    --posts_;
    e.answer.try_set_value(readers_.size());
    deliver(e.request.value);
  }

  // A publisher that gives up lets posts behind it go on, and nobody tells us:
  // so we look again, only as long as posts wait.
  void watch_publishers() {
    constexpr std::chrono::milliseconds period{5};
    if (is_watching_ || posts_ == 0)
      return;
    is_watching_ = true;
    after(period, [this] {
      is_watching_ = false;
      admit();
      watch_publishers();
    });
  }

  struct publish_request {
    T value;
    bool is_post = false; // nobody waits for its answer
  };
  static constexpr std::size_t posts_max = 1024; // that wait

  std::map<std::uint64_t, reader> readers_; // in order of arrival
  waiting_line<std::size_t, publish_request, line_of::requests> publishers_;
  std::size_t posts_ = 0; // among publishers_
  bool is_watching_ = false;
  std::uint64_t last_id_ = 0;
  bool is_closed_ = false;
};

} // namespace detail

template <class T>
class topic : public handle<topic<T>, detail::topic_actor<T>> {
  using actor_type = detail::topic_actor<T>;
  using base = handle<topic<T>, actor_type>;

public:
  topic() = default;
  explicit topic(system& sys) : base(sys.spawn<actor_type>()) {}

  /// A place among the subscribers: it gets what is published from now on.
  /// Errors: closed, bad_argument for a buffer out of range.
  future<subscription<T>> subscribe(subscribe_options opts = {}) const {
    return this->template ask<&actor_type::subscribe>(opts);
  }

  /// Gives `value` to all; how many they are.
  /// Errors: closed; timeout (subscribers with full_policy::wait are slow).
  future<std::size_t> publish(T value) const {
    return this->template ask<&actor_type::publish>(std::move(value));
  }

  /// The same without an answer; full_policy::wait counts as drop_newest. In
  /// order with publishers that wait: 1024 posts at most wait behind them, what
  /// is more is dropped and counted in `missed`.
  void post(T value) const {
    this->actor_.template tell<&actor_type::post>(std::move(value));
  }

  future<std::size_t> subscribers() const {
    return this->template ask<&actor_type::subscribers>();
  }

  /// Subscribers see what waits for them, then the end. Idempotent.
  future<void> close() const {
    return this->template ask<&actor_type::close>();
  }
};

} // namespace troupe
