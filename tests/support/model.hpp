// SPDX-License-Identifier: MIT
// model: memory as C++20 describes it, for threads that `explorer` runs: a
// load may return any store that is not older than what its thread knows of.
//
// Each place has the list of its stores. A thread's view says, for each place,
// the oldest store that it may still read. A release store carries the view of
// its thread, an acquire load that reads it takes the view over (Kang et al.
// 2017, without promises). One more view belongs to seq_cst.
// A `var` is not atomic: each access must know of all that it meets, else it is
// a data race, and a fault.
// A mutation makes one kind of operation on one place weaker, in all threads: a
// check that does not notice it says nothing about that operation.
#pragma once

#include <atomic>
#include <cstring>
#include <utility>

#include "support/explore.hpp"

namespace test::model {

enum class op { load, store, rmw, fence, any };

/// What is done to the operations `on` at the place of that number (places
/// count from 0 in the order in which they are made).
struct mutation {
  enum kind {
    none,
    relax,  // memory_order_relaxed
    tear,   // a read-modify-write becomes a load and a store
    forget, // a store or fence does nothing
    no_sc,  // seq_cst becomes acq_rel
  } what = none;
  op on = op::any;
  int place = -1; // -1: all
};

class memory {
public:
  static constexpr std::size_t places_max = 64;

  using order = std::memory_order;

  memory(explorer& e, mutation m) : e_(e), mutation_(m) {
    now_ = this;
    e.begin_memory_ = [this] {
      places_.clear();
      sc_ = {};
      for (auto& t : threads_)
        t = {};
    };
    e.before_threads_ = [this] {
      for (auto& t : threads_)
        t = threads_[0];
    };
    e.after_threads_ = [this] {
      for (auto& t : threads_)
        threads_[0].now.join(t.now);
    };
  }

  static memory& now() { return *now_; }

  int add(std::uint64_t value) {
    if (places_.size() == places_max)
      e_.fail("too many places");
    places_.emplace_back();
    auto p = static_cast<int>(places_.size()) - 1;
    append(p, value, me().now);
    return p;
  }

  std::uint64_t load(int p, order o) {
    e_.before({.name = "load",
               .place = p,
               .writes = is_sc(o) && at(p).is_mixed,
               .is_sc = is_sc(o)});
    o = mutated(p, op::load, o);
    auto& t = me();
    if (is_sc(o))
      t.now.raise(p, sc_.seen[index(p)]);
    auto& all = at(p).stores;
    auto oldest = t.now.seen[index(p)];
    auto newest = static_cast<std::uint16_t>(all.size() - 1);
    // The newest first: stale values are the rarer fault.
    auto i =
      static_cast<std::uint16_t>(newest - e_.choose(newest - oldest + 1));
    read(t, p, i, o);
    if (is_sc(o))
      sc_.raise(p, i);
    last_loaded_[me_index()] = p;
    note("load", p, all[i].value, i == newest ? "" : " (old)");
    return all[i].value;
  }

  void store(int p, std::uint64_t value, order o) {
    e_.before({.name = "store", .place = p, .writes = true, .is_sc = is_sc(o)});
    if (is_mutated(p, op::store, mutation::forget))
      return;
    o = mutated(p, op::store, o);
    write(p, value, o, view{});
    note("store", p, value, "");
  }

  /// `f` says what to store in place of the value: bool f(value&), false for a
  /// CAS that fails.
  template <class F>
  std::uint64_t modify(int p, order o, order failing, F f) {
    e_.before({.name = "rmw", .place = p, .writes = true, .is_sc = is_sc(o)});
    auto torn = is_mutated(p, op::rmw, mutation::tear);
    o = mutated(p, op::rmw, o);
    failing = mutated(p, op::rmw, failing);
    auto& t = me();
    auto newest = static_cast<std::uint16_t>(at(p).stores.size() - 1);
    auto old = at(p).stores[newest].value;
    auto value = old;
    auto writes = f(value);
    auto carried = at(p).stores[newest].released;
    read(t, p, newest, writes ? o : failing);
    if (is_sc(o))
      sc_.raise(p, newest);
    note(writes ? "rmw to" : "failing cas sees", p, value, "");
    if (!writes)
      return old;
    if (torn) {
      e_.before({.name = "torn", .place = p, .writes = true});
      carried = {};
    }
    write(p, value, o, carried);
    return old;
  }

  void fence(order o) {
    if (is_sc(o))
      e_.before({.name = "fence", .is_sc = true, .is_fence = true});
    if (is_mutated(-1, op::fence, mutation::forget))
      return;
    note("fence", -1, 0, "");
    fence_of(me(), o);
  }

  /// membarrier(2): all threads pass a seq_cst fence.
  void fence_all() {
    e_.before({.name = "membarrier", .meets_all = true});
    note("membarrier", -1, 0, "");
    if (is_mutated(-1, op::fence, mutation::forget))
      return;
    for (int twice = 0; twice < 2; ++twice)
      for (auto& t : threads_)
        fence_of(t, order::seq_cst);
  }

  /// Waits for others to write; then it sees what it has loaded last.
  void pause() {
    auto p = last_loaded_[me_index()];
    if (knows_last(p))
      e_.pause();
    see_newest(p);
  }

  // -- futex and mutex --------------------------------------------------------

  // The kernel looks at the newest value; so does who comes back from it.
  void wait(int p, std::uint64_t seen, bool may_be_late) {
    e_.before({.name = "futex wait", .place = p, .writes = true});
    if (at(p).stores.back().value != seen)
      return see_newest(p);
    if (may_be_late && e_.choose(2) == 1) {
      note("is late", p, seen, "");
      return;
    }
    note("sleeps", p, seen, "");
    at(p).sleepers.push_back(e_.current());
    e_.block();
    see_newest(p);
  }

  void wake(int p, int n) {
    e_.before({.name = "futex wake", .place = p, .writes = true});
    note("wakes", p, 0, "");
    auto& list = at(p).sleepers;
    for (; n > 0 && !list.empty(); --n) {
      auto i = e_.choose(static_cast<int>(list.size()));
      e_.wake(list[index(i)]);
      list.erase(list.begin() + i);
    }
  }

  void lock(int p) {
    for (;;) {
      e_.before({.name = "lock", .place = p, .writes = true});
      if (at(p).stores.back().value == 0)
        break;
      at(p).sleepers.push_back(e_.current());
      e_.block();
    }
    auto newest = static_cast<std::uint16_t>(at(p).stores.size() - 1);
    read(me(), p, newest, order::acquire);
    write(p, 1, order::acq_rel, view{});
    note("lock", p, 1, "");
  }

  // No choice before it: nobody but those who wait for it could tell.
  void unlock(int p) {
    write(p, 0, order::acq_rel, view{});
    for (auto t : std::exchange(at(p).sleepers, {}))
      e_.wake(t);
  }

  // -- variables: place p is the last write, p + 1 + t the reads of thread t --

  int add_var() {
    auto p = add(0);
    for (int t = 0; t < explorer::threads_max; ++t)
      add(0);
    return p;
  }
  void read_var(int p) {
    if (!knows_last(p))
      e_.fail("data race: a read without knowing of a write");
    touch(p + 1 + static_cast<int>(me_index()));
  }
  void write_var(int p) {
    for (int i = 0; i <= explorer::threads_max; ++i)
      if (!knows_last(p + i))
        e_.fail("data race: a write without knowing of another access");
    touch(p);
  }

private:
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  struct view {
    std::array<std::uint16_t, places_max> seen{};
    void raise(int p, std::uint16_t to) {
      seen[index(p)] = std::max(seen[index(p)], to);
    }
    void join(const view& other) {
      for (std::size_t i = 0; i < places_max; ++i)
        seen[i] = std::max(seen[i], other.seen[i]);
    }
  };
  struct message {
    std::uint64_t value;
    view released;
  };
  struct place {
    std::vector<message> stores;
    std::vector<int> sleepers;
    bool is_mixed = false; // not all stores are seq_cst
  };
  struct thread {
    view now;
    view unacquired; // what an acquire fence would add
    view released;   // what the last release fence gave to relaxed stores
  };

  static bool is_sc(order o) { return o == order::seq_cst; }
  static bool acquires(order o) {
    return o == order::acquire || o == order::acq_rel || o == order::seq_cst;
  }
  static bool releases(order o) {
    return o == order::release || o == order::acq_rel || o == order::seq_cst;
  }

  std::size_t me_index() const {
    return e_.current() < 0 ? 0 : index(e_.current());
  }
  thread& me() { return threads_[me_index()]; }
  place& at(int p) { return places_[index(p)]; }

  void see_newest(int p) {
    me().now.raise(p, static_cast<std::uint16_t>(at(p).stores.size() - 1));
  }

  void append(int p, std::uint64_t value, const view& released) {
    auto& all = at(p).stores;
    all.push_back({value, released});
    auto i = static_cast<std::uint16_t>(all.size() - 1);
    all.back().released.raise(p, i);
    me().now.raise(p, i);
  }

  void read(thread& t, int p, std::uint16_t i, order o) {
    t.now.raise(p, i);
    auto& v = at(p).stores[i].released;
    (acquires(o) ? t.now : t.unacquired).join(v);
  }

  // `carried`: what a read-modify-write passes on of the store it replaces.
  void write(int p, std::uint64_t value, order o, view carried) {
    auto& t = me();
    carried.join(releases(o) ? t.now : t.released);
    append(p, value, carried);
    if (is_sc(o))
      sc_.raise(p, static_cast<std::uint16_t>(at(p).stores.size() - 1));
    else if (!std::exchange(at(p).is_mixed, true))
      e_.mix(p);
    e_.count_write();
  }

  void fence_of(thread& t, order o) {
    if (acquires(o))
      t.now.join(t.unacquired);
    if (is_sc(o)) {
      t.now.join(sc_);
      sc_ = t.now;
    }
    if (releases(o))
      t.released = t.now;
  }

  bool knows_last(int p) {
    return me().now.seen[index(p)] + 1u == at(p).stores.size();
  }
  void touch(int p) { append(p, 0, view{}); }

  bool is_mutated(int p, op on, mutation::kind k) const {
    return mutation_.what == k
           && (mutation_.on == on || mutation_.on == op::any)
           && (mutation_.place == p || mutation_.place == -1);
  }
  order mutated(int p, op on, order o) const {
    if (is_mutated(p, on, mutation::relax))
      return order::relaxed;
    if (is_sc(o) && is_mutated(p, on, mutation::no_sc))
      return on == op::load    ? order::acquire
             : on == op::store ? order::release
                               : order::acq_rel;
    return o;
  }

  void note(const char* what, int p, std::uint64_t value, const char* more) {
    if (e_.current() >= 0)
      e_.note(what, p, value, more);
  }

  static inline memory* now_ = nullptr;

  explorer& e_;
  const mutation mutation_;
  std::vector<place> places_;
  view sc_;
  std::array<thread, explorer::threads_max> threads_;
  std::array<int, explorer::threads_max> last_loaded_{};
};

// -- what the code under test uses --------------------------------------------

template <class T>
class atomic {
  static_assert(sizeof(T) <= 8);

public:
  using order = std::memory_order;
  static constexpr auto sc = order::seq_cst;

  atomic() : atomic(T{}) {}
  atomic(T x) : place_(memory::now().add(word(x))) {}
  atomic(const atomic&) = delete;
  atomic& operator=(const atomic&) = delete;

  T load(order o = sc) const { return value(memory::now().load(place_, o)); }
  void store(T x, order o = sc) { memory::now().store(place_, word(x), o); }
  T exchange(T x, order o = sc) {
    return modify(o, [&](T) { return x; });
  }
  bool compare_exchange_strong(T& expected, T x, order o, order failing) {
    auto done = false;
    auto old = memory::now().modify(place_, o, failing, [&](std::uint64_t& w) {
      done = w == word(expected);
      if (done)
        w = word(x);
      return done;
    });
    expected = value(old);
    return done;
  }
  bool compare_exchange_strong(T& expected, T x, order o = sc) {
    return compare_exchange_strong(expected, x, o,
                                   o == order::acq_rel   ? order::acquire
                                   : o == order::release ? order::relaxed
                                                         : o);
  }
  template <class... Orders>
  bool compare_exchange_weak(T& expected, T x, Orders... o) {
    return compare_exchange_strong(expected, x, o...);
  }
  T fetch_add(T n, order o = sc) {
    return modify(o, [&](T x) { return static_cast<T>(x + n); });
  }
  T fetch_sub(T n, order o = sc) {
    return modify(o, [&](T x) { return static_cast<T>(x - n); });
  }
  T fetch_and(T n, order o = sc) {
    return modify(o, [&](T x) { return static_cast<T>(x & n); });
  }
  T fetch_or(T n, order o = sc) {
    return modify(o, [&](T x) { return static_cast<T>(x | n); });
  }
  int place() const { return place_; }

private:
  static std::uint64_t word(T x) {
    std::uint64_t w = 0;
    std::memcpy(&w, &x, sizeof x);
    return w;
  }
  static T value(std::uint64_t w) {
    T x{};
    std::memcpy(&x, &w, sizeof x);
    return x;
  }
  template <class F>
  T modify(order o, F f) {
    return value(memory::now().modify(place_, o, o, [&](std::uint64_t& w) {
      w = word(f(value(w)));
      return true;
    }));
  }
  int place_;
};

/// In place of std::atomic and its fences (sched/atomics.hpp).
struct atomics {
  template <class T>
  using atomic = model::atomic<T>;
  static void fence(std::memory_order o) { memory::now().fence(o); }
  static void fence_compiler() {}
  static bool fence_all() {
    memory::now().fence_all();
    return true;
  }
  static void pause() { memory::now().pause(); }
};

inline void futex_wait(atomic<std::uint32_t>& word, std::uint32_t seen,
                       std::int64_t timeout_ns = -1) {
  memory::now().wait(word.place(), seen, timeout_ns >= 0);
}
inline void futex_wake(atomic<std::uint32_t>& word, int n = 1) {
  memory::now().wake(word.place(), n);
}

class mutex {
public:
  void lock() { memory::now().lock(place_); }
  void unlock() { memory::now().unlock(place_); }

private:
  int place_ = memory::now().add(0);
};

/// Data that only the protocol under test protects.
template <class T>
class var {
public:
  var(T x = {}) : x_(std::move(x)) {}
  const T& read() const {
    memory::now().read_var(place_);
    return x_;
  }
  T& write() {
    memory::now().write_var(place_);
    return x_;
  }

private:
  T x_;
  int place_ = memory::now().add_var();
};

/// Explores a world under a mutation.
template <class World>
explorer::result explore(mutation m = {}) {
  explorer e;
  const memory mem{e, m};
  return e.explore([] { return std::make_unique<World>(); });
}

} // namespace test::model
