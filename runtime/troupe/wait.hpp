// SPDX-License-Identifier: MIT
// wait: waiting for several futures at once. The words are those of Python's
// concurrent.futures.
#pragma once

#include <algorithm>
#include <iterator>
#include <optional>
#include <vector>

#include "troupe/future.hpp"
#include "troupe/placement.hpp"

namespace troupe {

enum class wait_until : unsigned char {
  first_completed, // one has settled, however
  first_exception, // one has failed or was cancelled, or all have settled
  all_completed,
};

inline constexpr auto first_completed = wait_until::first_completed;
inline constexpr auto first_exception = wait_until::first_exception;
inline constexpr auto all_completed = wait_until::all_completed;

namespace detail {

// Collects the indices of states as they settle. The caller waits on it; it
// outlives the caller for as long as a state may still notify it.
class wait_group;
wait_group* make_wait_group(std::size_t n);
void release_wait_group(wait_group* g) noexcept;
void watch(wait_group* g, std::size_t index, state_base& s);
// The next index, or nothing when `until` has passed.
std::optional<std::size_t> next_settled(wait_group* g, std::int64_t until);
[[noreturn]] void throw_unfinished(std::size_t left, std::size_t of);

struct group_deleter {
  void operator()(wait_group* g) const noexcept { release_wait_group(g); }
};
using group_ptr = std::unique_ptr<wait_group, group_deleter>;

std::vector<bool> first_of_each(const std::vector<const void*>& keys);

template <class F>
void drop_duplicates(const std::vector<const void*>& keys, std::vector<F>& fs) {
  auto keep = first_of_each(keys);
  std::size_t n = 0;
  for (std::size_t i = 0; i < fs.size(); ++i)
    if (keep[i]) {
      if (n != i)
        fs[n] = std::move(fs[i]);
      ++n;
    }
  fs.resize(n);
}

template <class R>
const future<R>& awaitable(const future<R>& f) {
  if (!f.valid())
    throw bad_argument{"a future that belongs to nothing can't be awaited"};
  // NOLINTNEXTLINE(bugprone-return-const-ref-from-parameter): passed on
  return f;
}

// `fs` without its duplicates.
template <class Range>
auto distinct(Range&& fs) {
  using future_type = std::remove_cvref_t<decltype(*std::begin(fs))>;
  std::vector<future_type> result;
  std::vector<const void*> seen;
  for (auto&& f : fs) {
    result.push_back(awaitable(f));
    seen.push_back(result.back().shared_state().get());
  }
  drop_duplicates(seen, result);
  return result;
}

} // namespace detail

/// The futures of a range in the order in which they settle, each once.
template <class Future>
class as_completed_range {
public:
  as_completed_range(std::vector<Future> fs, time_limit limit)
    : futures_(std::move(fs)),
      until_(detail::due_after(limit)),
      group_(detail::make_wait_group(futures_.size())) {
    for (std::size_t i = 0; i < futures_.size(); ++i)
      detail::watch(group_.get(), i, *futures_[i].shared_state());
  }

  class iterator {
  public:
    using value_type = Future;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;
    explicit iterator(as_completed_range* r) : range_(r) { ++*this; }
    Future& operator*() const { return range_->futures_[index_]; }
    Future* operator->() const { return &**this; }
    iterator& operator++() {
      if (range_->yielded_ == range_->futures_.size()) {
        range_ = nullptr;
      } else {
        index_ = range_->next();
      }
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const iterator& i, std::default_sentinel_t) {
      return i.range_ == nullptr;
    }

  private:
    as_completed_range* range_ = nullptr;
    std::size_t index_ = 0;
  };

  iterator begin() { return iterator{this}; }
  std::default_sentinel_t end() const { return {}; }

private:
  std::size_t next() {
    auto i = detail::next_settled(group_.get(), until_);
    if (!i)
      detail::throw_unfinished(futures_.size() - yielded_, futures_.size());
    ++yielded_;
    return *i;
  }

  std::vector<Future> futures_;
  std::int64_t until_;
  detail::group_ptr group_;
  std::size_t yielded_ = 0;
};

/// `for (auto& done : as_completed(fs, 10s)) use(done.get());`
/// Shape:  any range of future<R>; a duplicate comes once.
/// Errors: timeout "2 (of 4) futures unfinished", after what is done was given.
template <class Range>
auto as_completed(Range&& fs, time_limit limit = no_deadline) {
  auto list = detail::distinct(fs);
  using future_type = typename decltype(list)::value_type;
  return as_completed_range<future_type>{std::move(list), limit};
}

/// What `wait` found, both in the order of the range.
template <class Future>
struct wait_result {
  std::vector<Future> done, not_done;
};

struct wait_function {
  /// Waits for some or all of `fs`; a passed limit is no error.
  template <class Range>
  auto operator()(Range&& fs, wait_until until = wait_until::all_completed,
                  time_limit limit = no_deadline) const {
    auto list = detail::distinct(fs);
    using future_type = typename decltype(list)::value_type;
    detail::group_ptr group{detail::make_wait_group(list.size())};
    for (std::size_t i = 0; i < list.size(); ++i)
      detail::watch(group.get(), i, *list[i].shared_state());
    auto due = detail::due_after(limit);
    for (std::size_t n = 0; n < list.size(); ++n) {
      auto i = detail::next_settled(group.get(), due);
      if (!i || until == wait_until::first_completed)
        break;
      auto at = list[*i].shared_state()->at.load(std::memory_order_acquire);
      if (until == wait_until::first_exception && at != detail::phase::value)
        break;
    }
    wait_result<future_type> result;
    for (auto& f : list)
      (f.ready() ? result.done : result.not_done).push_back(std::move(f));
    return result;
  }

  constexpr operator full_policy() const { return full_policy::wait; }
};

/// `wait(fs, first_completed, 1s)`; as a value it is full_policy::wait.
inline constexpr wait_function wait{};

namespace detail {

// Settles when all of its parts have, with their values or the first error.
template <class R>
using all_value = std::conditional_t<std::is_void_v<R>, void, std::vector<R>>;

// Lets `part` fail with timeout when it is due, unless `until` settles before.
void expire_in_time(state_base& part, state_base& until);

template <class R>
struct all_of final : state<all_value<R>>, pooled {
  std::vector<future<R>> parts;
  std::atomic<std::size_t> left{0};

  all_of() : state<all_value<R>>(&table) {}

  struct part final : relay, pooled {
    state_ptr<all_of> all;
    state_base& of; // the parts hold it until all have settled
    part(const state_ptr<all_of>& a, state_base& s)
      : relay(&settled),
        all(a),
        of(s) {}
    static void settled(relay* r) noexcept {
      std::unique_ptr<part> self{static_cast<part*>(r)};
      self->all->one_settled(self->of);
    }
  };

  void one_settled(state_base& s) noexcept {
    auto how = s.at.load(std::memory_order_acquire);
    if (how != phase::value) {
      s.observed.store(true, std::memory_order_relaxed);
      this->fail(how == phase::error
                   ? s.failure
                   : std::make_exception_ptr(cancelled{"cancelled"}));
    }
    finish_one();
  }

  // Also called once when all parts are attached.
  void finish_one() noexcept {
    if (left.fetch_sub(1, std::memory_order_acq_rel) != 1)
      return;
    if constexpr (std::is_void_v<R>) {
      this->set();
    } else if (!this->is_settled()) {
      try {
        std::vector<R> values;
        for (auto& f : parts)
          values.push_back(f.get());
        this->set(std::move(values));
      } catch (...) {
        this->fail(std::current_exception());
      }
    }
    left.store(0); // seq_cst, and the gate after it: nobody sees the parts now
    pass_gate();
    parts.clear();
  }

  static state_base* next_part(const state_base* s, std::size_t& i) noexcept {
    auto& list = static_cast<const all_of*>(s)->parts;
    return i < list.size() ? list[i++].shared_state().get() : nullptr;
  }
  static constexpr state_ops table{
    .destroy = [](state_base* s) noexcept { delete static_cast<all_of*>(s); },
    .run_here = &help_parts,
    .next_part = &next_part};
};

// Settles with the index of the first of its parts that has. Then, or when it
// is cancelled, it leaves the others: they may take for ever.
struct any_of final : state<std::size_t>, waiter, pooled {
  struct part final : relay {
    any_of* any = nullptr;    // counted while linked
    state_ptr<state_base> of; // until `any` leaves it
    part() : relay(&settled) {}
    static void settled(relay* r) noexcept {
      auto* self = static_cast<part*>(r);
      state_ptr<any_of> any{self->any};
      any->set(static_cast<std::size_t>(self - any->parts.get()));
    }
  };

  const std::size_t size;
  const std::unique_ptr<part[]> parts;
  // Who links the parts, and who settles it: the last of the two unlinks them.
  std::atomic<int> users{2};

  explicit any_of(std::size_t n)
    : state<std::size_t>(&table),
      waiter(&over),
      size(n),
      parts(new part[n]) {
    add_waiter(*this);
  }

  static void over(waiter* w, state_base&) noexcept {
    static_cast<any_of*>(w)->leave();
  }

  // Requires: a reference besides those of the parts.
  void leave() noexcept {
    if (users.fetch_sub(1) != 1)
      return;
    for (std::size_t i = 0; i < size; ++i)
      if (parts[i].of->remove_waiter(parts[i]))
        release(); // else it is being told, and gives its own back
    pass_gate();   // it was settled before the seq_cst count
    for (std::size_t i = 0; i < size; ++i)
      parts[i].of = {};
  }

  void link() {
    state_base* first = nullptr; // to be late
    for (std::size_t i = 0; i < size; ++i) {
      auto& s = *parts[i].of;
      if (s.due != INT64_MAX && (first == nullptr || s.due < first->due))
        first = &s;
    }
    if (first != nullptr)
      expire_in_time(*first, *this);
    for (std::size_t i = 0; i < size; ++i) {
      auto& p = parts[i];
      p.any = this;
      retain();
      if (!p.of->add_waiter(p))
        p.in_turn();
    }
    leave();
  }

  static state_base* next_part(const state_base* s, std::size_t& i) noexcept {
    auto* any = static_cast<const any_of*>(s);
    return i < any->size ? any->parts[i++].of.get() : nullptr;
  }
  static void free(state_base* s) noexcept { delete static_cast<any_of*>(s); }
  static constexpr state_ops table{.destroy = &free,
                                   .run_here = &help_parts,
                                   .next_part = &next_part,
                                   .one_part_is_enough = true};
};

template <class Part>
void attach(std::unique_ptr<Part> p, state_base& s) {
  auto* raw = p.release();
  if (!s.add_waiter(*raw))
    raw->in_turn();
}

} // namespace detail

/// All values, in the order of the range, or the first error.
/// Shape: range of future<R> -> future<std::vector<R>> (future<void> for void).
template <class Range>
auto when_all(Range&& fs) {
  using future_type = std::remove_cvref_t<decltype(*std::begin(fs))>;
  using R = typename future_type::value_type;
  using all_type = detail::all_of<R>;
  detail::state_ptr<all_type> all{new all_type};
  for (auto&& f : fs)
    all->parts.push_back(detail::awaitable(f));
  for (auto& f : all->parts)
    all->due = std::min(all->due, f.shared_state()->due);
  all->retain();
  future<detail::all_value<R>> result{
    detail::state_ptr<detail::state<detail::all_value<R>>>{all.get()}};
  all->left = all->parts.size() + 1;
  for (auto& f : all->parts)
    detail::attach(
      std::make_unique<typename all_type::part>(all, *f.shared_state()),
      *f.shared_state());
  all->finish_one();
  return result;
}

/// The index of the first that settles, however it does; to miss its deadline
/// is one way to. The others are left as they are.
/// Shape:  range of future<R> -> future<std::size_t>.
/// Errors: bad_argument for an empty range.
template <class Range>
future<std::size_t> when_any(Range&& fs) {
  using future_type = std::remove_cvref_t<decltype(*std::begin(fs))>;
  std::vector<future_type> parts;
  for (auto&& f : fs) // once: a range may make its futures as it goes
    parts.push_back(detail::awaitable(f));
  if (parts.empty())
    throw bad_argument{"when_any of no futures would wait for ever"};
  detail::state_ptr<detail::any_of> any{new detail::any_of{parts.size()}};
  any->due = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    auto& s = *parts[i].shared_state();
    any->due = std::max(any->due, s.due);
    s.retain();
    any->parts[i].of = detail::state_ptr<detail::state_base>{&s};
  }
  any->retain();
  future<std::size_t> result{
    detail::state_ptr<detail::state<std::size_t>>{any.get()}};
  any->link();
  return result;
}

} // namespace troupe
