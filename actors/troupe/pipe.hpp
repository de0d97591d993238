// SPDX-License-Identifier: MIT
// pipe: two ends; what one sends, the other receives, both ways.
//
//   auto [here, there] = troupe::pipe<int>{sys, {.capacity = 64}};
//   here.send(1).get();
//   while (auto x = there.receive().get()) use(*x);   // ends when closed
//
// Invariants: (1) each way in the order sent, nothing lost while the receiver
//             lives: a receive that nobody waits for any more takes nothing
//             (but see receive). (2) at most `capacity` values wait, each way.
// Who may call: anybody; copies are the same end.
// A death:    the last copy of an end goes without `close` (its actor was
//             killed, say): the peer receives what was sent, then
//             actor_stopped; its sends fail with closed. Never a hang.
#pragma once

#include <array>
#include <deque>

#include "troupe/detail/count.hpp"
#include "troupe/handle.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

struct pipe_options {
  /// Values that may wait, each way. Range: 1..2^62, else bad_argument.
  std::size_t capacity = 64;
};

namespace detail {

template <class T>
class pipe_actor {
public:
  using maybe = std::optional<T>;

  explicit pipe_actor(std::size_t capacity) : capacity_(capacity) {
    if (capacity == 0 || capacity > count_max)
      throw bad_argument{"pipe: capacity is " + as_written(capacity) + "; "
                         + least_and_most(1)};
  }

  future<void> send(int side, T value) {
    check_send(side);
    auto& w = ways_[side];
    if (w.values.size() >= capacity_ || w.senders.first() != nullptr)
      return w.senders.park(std::move(value));
    auto answer = answer_later<void>();
    if (answer.try_set_value())
      w.values.push_back(std::move(value));
    serve(w);
    return answer.get_future();
  }

  bool try_send(int side, T value) {
    check_send(side);
    auto& w = ways_[side];
    if (w.values.size() >= capacity_ || w.senders.first() != nullptr)
      return false;
    w.values.push_back(std::move(value));
    serve(w);
    return true;
  }

  future<maybe> receive(int side) {
    if (ends_[side] != end_phase::open)
      throw closed{"pipe::receive after close"};
    auto& w = ways_[1 - side];
    if (w.values.empty() && ends_[1 - side] == end_phase::closed)
      return answer_now<maybe>();
    if (w.values.empty() && ends_[1 - side] == end_phase::lost)
      throw lost();
    if (w.values.empty())
      return w.receivers.park();
    // Nobody else waits, or they would have it.
    bool is_given = false;
    auto result = give_now<maybe>(is_given, std::move(w.values.front()));
    if (is_given)
      w.values.pop_front();
    serve(w);
    return result;
  }

  void close(int side) { end(side, end_phase::closed); }
  void lose(int side) { end(side, end_phase::lost); }

private:
  enum class end_phase : std::uint8_t { open, closed, lost };

  struct way { // what one side has sent
    std::deque<T> values;
    waiting_line<void, T, line_of::requests> senders;
    waiting_line<maybe> receivers;
  };

  static actor_stopped lost() {
    return actor_stopped{"pipe::receive: the peer has gone without close"};
  }

  void check_send(int side) const {
    if (ends_[side] != end_phase::open)
      throw closed{"pipe::send after close"};
    if (ends_[1 - side] != end_phase::open)
      throw closed{"pipe::send: the peer is closed or gone"};
  }

  void serve(way& w) {
    for (;;) {
      while (auto* s = w.senders.first()) {
        if (w.values.size() >= capacity_)
          break;
        if (s->answer.try_set_value())
          w.values.push_back(std::move(s->request));
        w.senders.pop();
      }
      if (w.values.empty() || !w.receivers.serve(std::move(w.values.front())))
        return;
      w.values.pop_front();
    }
  }

  void end(int side, end_phase how) {
    if (ends_[side] != end_phase::open)
      return;
    ends_[side] = how;
    auto& sent = ways_[side];
    auto& coming = ways_[1 - side];
    // What waits to be sent by a side that closed is still its word.
    if (how == end_phase::lost || ends_[1 - side] != end_phase::open)
      sent.senders.fail_all(closed{"pipe::send: this end has gone"});
    coming.senders.fail_all(closed{"pipe::send: the peer is closed or gone"});
    coming.receivers.fail_all(closed{"pipe::receive: this end was closed"});
    serve(sent);
    if (how == end_phase::closed && sent.values.empty())
      for (; sent.receivers.first() != nullptr; sent.receivers.pop())
        sent.receivers.first()->answer.try_set_value();
    else if (sent.values.empty())
      sent.receivers.fail_all(lost());
  }

  const std::size_t capacity_;
  std::array<way, 2> ways_;
  std::array<end_phase, 2> ends_{};
};

} // namespace detail

/// One end. Copies are the same end; the last one to go ends it.
template <class T>
class pipe_end {
  using actor_type = detail::pipe_actor<T>;

public:
  /// Refers to nothing; using it throws bad_argument.
  pipe_end() = default;
  /// For the library.
  pipe_end(ref<actor_type> a, int side)
    : side_(std::make_shared<end_holder>(std::move(a), side)) {}

  /// Settles when the value has its place.
  /// Errors: timeout and cancelled (then it is not sent), closed (this end, or
  ///         the peer's).
  future<void> send(T value) const {
    return ask<&actor_type::send>(std::move(value));
  }

  /// The same, but false instead of waiting.
  future<bool> try_send(T value) const {
    return ask<&actor_type::try_send>(std::move(value));
  }

  /// The next value; nothing when the peer has closed and all was received.
  /// A future that is kept gets its value, though a `get_for` of it was late;
  /// one that is gone (dropped, its actor killed) takes none. Only a value that
  /// came into it in the moment between its last look and its end goes with it:
  /// where none may be lost, take `within`, which ends in the timeout or in the
  /// value. In another process the future's end is not seen: there always.
  /// Errors: timeout and cancelled (then nothing is lost), closed (this end),
  ///         actor_stopped (the peer has gone without close).
  future<std::optional<T>> receive() const {
    return ask<&actor_type::receive>();
  }

  /// No more from here, and nothing more is wanted. Idempotent.
  future<void> close() const { return ask<&actor_type::close>(); }

  pipe_end within(time_limit limit) const {
    auto copy = *this;
    copy.limit_ = limit;
    return copy;
  }

  /// For the library: see detail/travel.hpp. A copy of this end stays in a
  /// keeper; the copies there are one copy here.
  using carried = T;
  void leave_to(wire::writer& out) const {
    wire::encode(out, side_ != nullptr);
    if (side_ == nullptr)
      return;
    auto k = side_->keeper;
    if (!k)
      k = system_of(side_->actor).template spawn<keeper_type>(*this);
    wire::encode(out, side_->actor);
    wire::encode(out, side_->side);
    wire::encode(out, k);
    detail::write_limit(out, limit_);
  }
  void come_from(wire::reader& in) {
    bool is_end = false;
    wire::decode(in, is_end);
    if (!is_end)
      return;
    ref<actor_type> a;
    int side = 0;
    wire::decode(in, a);
    wire::decode(in, side);
    if (side != 0 && side != 1)
      throw decode_error{"an end of a pipe that has no such end"};
    side_ = std::make_shared<end_holder>(std::move(a), side);
    wire::decode(in, side_->keeper);
    limit_ = detail::read_limit(in);
  }

private:
  using keeper_type = detail::keeper<pipe_end>;

  struct end_holder {
    ref<actor_type> actor;
    int side;
    ref<keeper_type> keeper; // of an end that came from another process
    end_holder(ref<actor_type> a, int s) : actor(std::move(a)), side(s) {}
    end_holder(const end_holder&) = delete;
    end_holder& operator=(const end_holder&) = delete;
    ~end_holder() {
      if (keeper)
        return;
      try {
        actor.template tell<&actor_type::lose>(side);
      } catch (const std::exception&) {
        // Only without memory: the peer's deadline tells it.
      }
    }
  };

  template <auto M, class... As>
  auto ask(As&&... as) const {
    if (!side_)
      throw bad_argument{"pipe_end: it refers to nothing"};
    auto& a = side_->actor;
    return limit_ ? a.within(*limit_).template ask<M>(side_->side,
                                                      std::forward<As>(as)...)
                  : a.template ask<M>(side_->side, std::forward<As>(as)...);
  }

  std::shared_ptr<end_holder> side_;
  std::optional<time_limit> limit_;
};

/// Both ends, to be taken apart: `auto [a, b] = troupe::pipe<int>{sys};`
template <class T>
struct pipe {
  pipe_end<T> first, second;

  /// Errors: bad_argument for a capacity out of range.
  explicit pipe(system& sys, pipe_options opts = {})
    : pipe(sys.spawn<detail::pipe_actor<T>>(opts.capacity)) {}

private:
  explicit pipe(const ref<detail::pipe_actor<T>>& a)
    : first(a, 0),
      second(a, 1) {}
};

} // namespace troupe
