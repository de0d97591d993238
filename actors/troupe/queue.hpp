// SPDX-License-Identifier: MIT
// queue: a bounded queue between any number of producers and consumers.
//
//   troupe::queue<int> q{sys, {.capacity = 100}};
//   q.put(1).get();                                  // waits while it is full
//   q.close().get();
//   while (auto item = q.take().get()) use(**item);  // ends: closed and empty
//   q.join().get();                                  // all was acknowledged
//
// Invariants: (1) put == acknowledged + dead + queued + in hands. (2) first in,
//             first out; what is given back goes to where it was. (3) queued <=
//             capacity, apart from what was given back.
// Acknowledgement: an item acknowledges when it goes. When it goes because of
//             an exception, or with its actor, it is given back and delivered
//             again, redeliver_max times at most; then it is a dead letter.
// Who may call: anybody, from any thread; in an actor `co_await q.take()`.
// A death:    a waiter's request is dropped, what it waited for goes to the
//             next; a holder's items are given back. So it is when the holder's
//             process dies: handles and items travel.
#pragma once

#include "troupe/detail/queue_actor.hpp"

namespace troupe {

namespace detail {

/// An item that is in hands in another process; the end of that process gives
/// it back as one whose holder has failed.
template <class T>
class item_keeper {
public:
  explicit item_keeper(item<T> kept) : kept_(std::move(kept)) {}
  void ack() { kept_.ack(); }
  void give_back(bool counts) { kept_.put_back(counts); }

private:
  item<T> kept_;
};

/// The same for a batch; it goes through it with who has it.
template <class T>
class batch_keeper {
public:
  explicit batch_keeper(batch<T> kept) : kept_(std::move(kept)) {}
  void next() { kept_.next(); }
  void leave(bool failed) { kept_.leave(failed); }

private:
  batch<T> kept_;
};

} // namespace detail

/// An item in hand. Movable; it acknowledges when it goes.
template <class T>
class item {
public:
  item() = default;
  /// For the library.
  item(ref<detail::queue_actor<T>> from, detail::queue_entry<T>& e)
    : from_(std::move(from)),
      entry_(std::move(e)),
      hold_(detail::hold::in_transit) {}

  item(item&& other) noexcept
    : from_(std::move(other.from_)),
      entry_(std::move(other.entry_)),
      keeper_(std::move(other.keeper_)),
      hold_(detail::taken_over(other.hold_)),
      exceptions_(std::uncaught_exceptions()) {}

  item& operator=(item&& other) noexcept {
    if (this != &other) {
      leave();
      from_ = std::move(other.from_);
      entry_ = std::move(other.entry_);
      keeper_ = std::move(other.keeper_);
      hold_ = detail::taken_over(other.hold_);
      exceptions_ = std::uncaught_exceptions();
    }
    return *this;
  }

  ~item() { leave(); }

  T& operator*() { return *entry_.value; }
  const T& operator*() const { return *entry_.value; }
  T* operator->() { return &*entry_.value; }
  const T* operator->() const { return &*entry_.value; }

  /// How often it was given back before: 0 for the first delivery.
  std::uint32_t attempts() const { return entry_.attempts; }

  /// Done with it, now.
  /// Errors: bad_argument when it was acknowledged or given back before.
  void ack() {
    check("ack");
    done();
  }

  /// Not done: somebody shall have it again.
  /// Errors: as ack.
  void give_back() {
    check("give_back");
    back(true);
  }

  /// For the library: see detail/travel.hpp.
  using carried = T;
  void put_back(bool counts) {
    check("give_back");
    back(counts);
  }
  void leave_to(wire::writer& out) {
    wire::encode(out, hold_ != detail::hold::nothing);
    if (hold_ == detail::hold::nothing)
      return;
    wire::encode(out, from_);
    wire::encode(out, entry_);
    if (!keeper_) {
      auto& sys = system_of(from_);
      keeper_ =
        sys.template spawn<detail::item_keeper<T>>(item{std::move(*this)});
    }
    hold_ = detail::hold::nothing;
    wire::encode(out, keeper_);
  }
  void come_from(wire::reader& in) {
    bool is_any = false;
    wire::decode(in, is_any);
    if (!is_any)
      return;
    wire::decode(in, from_);
    wire::decode(in, entry_);
    wire::decode(in, keeper_);
    if (!entry_.value)
      throw decode_error{"an item without a value"};
    hold_ = detail::hold::arriving;
  }

private:
  void check(const char* what) {
    if (hold_ == detail::hold::nothing)
      throw bad_argument{std::string{"item::"} + what
                         + ": it was acknowledged or given back before"};
    hold_ = detail::hold::nothing;
  }

  void leave() noexcept {
    switch (std::exchange(hold_, detail::hold::nothing)) {
      case detail::hold::nothing:
        break;
      case detail::hold::arriving:
      case detail::hold::in_transit: // nobody has seen it
        back(false);
        break;
      case detail::hold::held:
        if (detail::goes_by_failure(exceptions_))
          back(true);
        else
          done();
    }
  }

  void done() noexcept {
    if (keeper_)
      detail::tell<&detail::item_keeper<T>::ack>(keeper_);
    else
      detail::tell_ack(from_, 1);
  }

  void back(bool counts) noexcept {
    if (keeper_)
      detail::tell<&detail::item_keeper<T>::give_back>(keeper_, counts);
    else
      detail::tell_back(from_, std::move(entry_), counts);
  }

  ref<detail::queue_actor<T>> from_;
  detail::queue_entry<T> entry_;
  ref<detail::item_keeper<T>> keeper_; // of one that came from another process
  detail::hold hold_ = detail::hold::nothing;
  int exceptions_ = 0;
};

/// Several items in hand, to be gone through once:
///   for (auto& x : batch) use(x);
/// Going on to the next says that the one before is done; the done ones are
/// acknowledged together, at the end or when the batch goes: until then they
/// count as in hands. When it goes: by an exception, or with its actor, the one
/// in use is given back; otherwise it is acknowledged, too. Those that nobody
/// has come to go back as if never delivered.
template <class T>
class batch {
public:
  batch() = default;
  /// For the library.
  batch(ref<detail::queue_actor<T>> from,
        std::vector<detail::queue_entry<T>>& entries)
    : from_(std::move(from)),
      entries_(std::move(entries)) {}

  batch(batch&& other) noexcept
    : from_(std::move(other.from_)),
      entries_(std::move(other.entries_)),
      next_(std::exchange(other.next_, 0)),
      keeper_(std::move(other.keeper_)),
      exceptions_(std::uncaught_exceptions()) {
    other.entries_.clear();
  }
  batch& operator=(batch&& other) noexcept {
    if (this != &other) {
      leave();
      from_ = std::move(other.from_);
      entries_ = std::exchange(other.entries_, {});
      next_ = std::exchange(other.next_, 0);
      keeper_ = std::move(other.keeper_);
      exceptions_ = std::uncaught_exceptions();
    }
    return *this;
  }
  ~batch() { leave(); }

  /// Those that nobody has come to yet.
  std::size_t size() const { return entries_.size() - next_; }
  bool empty() const { return size() == 0; }
  /// Whether there is anything in it: false says that the queue has ended.
  explicit operator bool() const { return !entries_.empty(); }

  /// The next one, the one before is done; null at the end, when all of them
  /// are acknowledged.
  T* next() {
    if (keeper_ && !entries_.empty())
      detail::tell<&detail::batch_keeper<T>::next>(keeper_);
    if (next_ == entries_.size()) {
      if (keeper_)
        entries_.clear(); // the keeper has acknowledged it
      leave();
      return nullptr;
    }
    return &*entries_[next_++].value;
  }

  class iterator {
  public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    iterator() = default;
    explicit iterator(batch* b) : batch_(b), at_(b->next()) {}
    T& operator*() const { return *at_; }
    iterator& operator++() {
      at_ = batch_->next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) {
      return i.at_ == nullptr;
    }

  private:
    batch* batch_ = nullptr;
    T* at_ = nullptr;
  };

  iterator begin() { return iterator{this}; }
  std::default_sentinel_t end() const { return {}; }

  /// For the library: see detail/travel.hpp.
  using carried = T;
  void leave_to(wire::writer& out) {
    wire::encode(out, entries_);
    wire::encode(out, next_);
    if (entries_.empty())
      return;
    wire::encode(out, from_);
    if (!keeper_) {
      auto& sys = system_of(from_);
      keeper_ =
        sys.template spawn<detail::batch_keeper<T>>(batch{std::move(*this)});
    }
    entries_.clear();
    next_ = 0;
    wire::encode(out, keeper_);
  }
  void come_from(wire::reader& in) {
    wire::decode(in, entries_);
    wire::decode(in, next_);
    if (next_ > entries_.size())
      throw decode_error{"a batch that is beyond its end"};
    if (entries_.empty())
      return;
    for (auto& e : entries_)
      if (!e.value)
        throw decode_error{"an item without a value"};
    wire::decode(in, from_);
    wire::decode(in, keeper_);
  }

  void leave(bool failed) noexcept {
    auto entries = std::exchange(entries_, {});
    auto next = std::exchange(next_, 0);
    if (entries.empty())
      return;
    if (keeper_) {
      detail::tell<&detail::batch_keeper<T>::leave>(keeper_, failed);
      return;
    }
    auto done = next;
    if (next != 0 && failed)
      detail::tell_back(from_, std::move(entries[--done]), true);
    if (done != 0)
      detail::tell_ack(from_, done);
    for (; next != entries.size(); ++next)
      detail::tell_back(from_, std::move(entries[next]), false);
  }

private:
  void leave() noexcept { leave(detail::goes_by_failure(exceptions_)); }

  ref<detail::queue_actor<T>> from_;
  std::vector<detail::queue_entry<T>> entries_;
  std::size_t next_ = 0;
  ref<detail::batch_keeper<T>> keeper_; // came from another process
  int exceptions_ = 0;
};

template <class T>
class queue : public handle<queue<T>, detail::queue_actor<T>> {
  using actor_type = detail::queue_actor<T>;
  using base = handle<queue<T>, actor_type>;

public:
  queue() = default;

  /// Errors: bad_argument for a capacity out of range.
  explicit queue(system& sys, queue_options opts = {})
    : base(sys.spawn<actor_type>(opts)) {}

  /// Puts `value` at the end; the future settles when it has its place.
  /// Errors: timeout and cancelled (then it is not in), closed.
  future<void> put(T value) const {
    return this->template ask<&actor_type::put>(std::move(value));
  }

  /// The same, but false instead of waiting.
  future<bool> try_put(T value) const {
    return this->template ask<&actor_type::try_put>(std::move(value));
  }

  /// Puts all, in order, others not in between; it may be more than the
  /// capacity. Many times cheaper than one by one.
  /// Errors: as put; those that had their place before stay in.
  future<void> put_all(std::vector<T> values) const {
    return this->template ask<&actor_type::put_all>(std::move(values));
  }

  /// The first item; nothing when the queue has ended: closed, empty, and all
  /// was acknowledged (what is in hands may come back; see linger).
  /// Errors: timeout and cancelled (then nothing is lost).
  future<std::optional<item<T>>> take() const {
    return this->template ask<&actor_type::take>();
  }

  /// The first item; nothing instead of waiting.
  future<std::optional<item<T>>> try_take() const {
    return this->template ask<&actor_type::try_take>();
  }

  /// One item or more, `max` at most; none when the queue has ended.
  /// Errors: as take; bad_argument for 0.
  future<batch<T>> take_some(std::size_t max) const {
    return this->template ask<&actor_type::take_some>(max);
  }

  /// Refuses what comes from now on; who waits for a place fails with `closed`.
  /// What is in can be taken. Idempotent.
  future<void> close() const {
    return this->template ask<&actor_type::close>();
  }

  /// Settles when the queue is closed and all was acknowledged or is dead:
  /// starting early doesn't fool it.
  /// Errors: timeout.
  future<void> join() const { return this->template ask<&actor_type::join>(); }

  /// How many are in it.
  future<std::size_t> size() const {
    return this->template ask<&actor_type::size>();
  }

  future<queue_state> state() const {
    return this->template ask<&actor_type::state>();
  }

  /// Takes out the last dead letters (queue_options::dead_kept_max).
  future<dead_letters<T>> dead() const {
    return this->template ask<&actor_type::dead>();
  }

  /// `for (auto& x : q.each())`: until closed and empty, for plain threads. It
  /// fetches `prefetch` items at a time.
  class stream {
  public:
    stream(queue q, std::size_t prefetch)
      : queue_(std::move(q)),
        prefetch_(prefetch) {}

    class iterator {
    public:
      using value_type = T;
      using difference_type = std::ptrdiff_t;
      iterator() = default;
      explicit iterator(stream* s) : stream_(s), at_(s->next()) {}
      T& operator*() const { return *at_; }
      iterator& operator++() {
        at_ = stream_->next();
        return *this;
      }
      void operator++(int) { ++*this; }
      friend bool operator==(const iterator& i, std::default_sentinel_t) {
        return i.at_ == nullptr;
      }

    private:
      stream* stream_ = nullptr;
      T* at_ = nullptr;
    };

    iterator begin() { return iterator{this}; }
    std::default_sentinel_t end() const { return {}; }

  private:
    T* next() {
      if (auto* x = batch_.next())
        return x;
      batch_ = queue_.take_some(prefetch_).get();
      return batch_.next();
    }

    queue queue_;
    std::size_t prefetch_;
    batch<T> batch_;
  };

  stream each(std::size_t prefetch = 16) const {
    return stream{*this, prefetch};
  }
};

} // namespace troupe
