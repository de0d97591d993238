// SPDX-License-Identifier: MIT
// explore: runs a few small threads in every order that the memory model lets
// them have, so that a lock-free protocol is checked and not only tried.
//
// Threads are fibers that stop before each atomic operation (model.hpp); which
// goes on is a choice, and so is which of the stores it may still see a load
// returns. A run is the list of its choices; the next run changes the last one
// that has something left, until nothing has (depth first).
// Left out: (1) orders that differ only by operations that don't meet (sleep
//           sets, Godefroid 1996). (2) Failing CASes that return an old value,
//           and stores that come before older ones in the modification order:
//           a store is the newest, a read-modify-write sees the newest.
//           (3) Loads of values that are stored later (load buffering).
// Limits:   threads_max, steps_max per run, runs_max. Not under sanitizers:
//           they don't know these stacks.
#pragma once

#include <array>
#include <csetjmp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <ucontext.h>
#include <vector>

namespace test {

class explorer {
public:
  static constexpr int threads_max = 4;
  static constexpr std::uint64_t steps_max = 400;
  static constexpr std::uint64_t runs_max = 20'000'000;

  /// What a thread is about to do.
  struct step {
    const char* name = "begins";
    int place = -1; // what it touches; -1: nothing
    bool writes = false;
    bool is_sc = false;    // has a place in the order of seq_cst
    bool is_fence = false; // of seq_cst
    bool meets_all = false;
  };

  struct result {
    std::string fault;       // empty: none in any run
    std::uint64_t runs = 0;  // all, also those that were seen before
    std::uint64_t ended = 0; // came to their end: the orders that differ
  };

  static explorer& now() { return *now_; }

  /// `make` makes a world; World has `threads`, a vector of functions, and
  /// `at_end()`, called after each run that came to its end. That all threads
  /// wait is a fault, unless World has `may_wait()` and it answers true.
  template <class Make>
  result explore(Make make) {
    now_ = this;
    result r;
    do {
      begin_run();
      {
        auto world = make();
        if (run(*world)) {
          current_ = -1;
          after_threads_();
          world->at_end();
          ++r.ended;
        }
      }
      ++r.runs;
      if (r.runs >= runs_max)
        fail("more than runs_max runs: make the world smaller");
    } while (fault_.empty() && next_path());
    if (!fault_.empty())
      r.fault = fault_ + trace();
    now_ = nullptr;
    return r;
  }

  // -- for the threads and what they use --------------------------------------

  /// The thread that runs; -1 before and after.
  int current() const { return current_; }

  /// Lets others go first, in every way.
  void before(step s) {
    if (current_ < 0)
      return;
    fibers_[index(current_)].next = s;
    leave();
  }

  /// A value below `n`: each in some run.
  int choose(int n) {
    if (n <= 1 || current_ < 0)
      return 0;
    if (depth_ == path_.size())
      path_.push_back({false, n, 0, 0, 0});
    return path_[depth_++].chosen;
  }

  /// Not to be chosen until `wake`.
  void block() {
    fibers_[index(current_)].blocked = true;
    leave();
  }
  void wake(int thread) { fibers_[index(thread)].blocked = false; }

  /// Not to be chosen until another has written.
  void pause() {
    auto& f = fibers_[index(current_)];
    f.paused_at = writes_;
    f.paused = true;
    before({.name = "spins", .meets_all = true});
    f.paused = false;
  }
  void count_write() { ++writes_; }

  /// From now on the order of two seq_cst loads of `place` matters, too: it
  /// has a newer store that is not seq_cst.
  void mix(int place) {
    for (auto& f : fibers_)
      if (f.next.place == place && f.next.is_sc)
        f.next.writes = true;
  }

  /// For the report of a fault.
  void note(const char* what, int place, std::uint64_t value,
            const char* more) {
    trace_.push_back({current_, what, place, value, more});
  }

  /// This run shows a fault: it ends here.
  void fail(std::string text) {
    if (fault_.empty())
      fault_ = std::move(text);
    if (current_ >= 0)
      leave();
  }
  void require(bool holds, const char* what) {
    if (!holds)
      fail(what);
  }

  // The memory's hooks.
  std::function<void()> begin_memory_, before_threads_, after_threads_;

private:
  struct fiber {
    std::unique_ptr<char[]> stack{new char[stack_bytes]};
    ucontext_t start;
    std::jmp_buf at;
    std::function<void()> body;
    step next;
    bool started = false, ended = false, blocked = false, paused = false;
    std::uint64_t paused_at = 0;
  };

  struct choice {
    bool of_thread;
    int n; // of values
    int chosen;
    unsigned can; // threads, as bits
    unsigned asleep;
  };

  struct noted {
    int thread;
    const char* what;
    int place;
    std::uint64_t value;
    const char* more;
  };

  static constexpr std::size_t stack_bytes = 128 * 1024;
  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

  void begin_run() {
    depth_ = 0;
    writes_ = 0;
    current_ = -1;
    trace_.clear();
    begin_memory_();
  }

  // False when the run was given up: a fault, or seen before.
  template <class World>
  bool run(World& world) {
    auto& threads = world.threads;
    before_threads_();
    count_ = static_cast<int>(threads.size());
    for (int i = 0; i < count_; ++i) {
      auto& f = fibers_[index(i)];
      f.body = threads[index(i)];
      f.next = {};
      f.started = f.ended = f.blocked = f.paused = false;
    }
    unsigned asleep = 0;
    for (std::uint64_t steps = 0; fault_.empty(); ++steps) {
      auto can = who_can();
      if (can == 0) {
        if (all_ended())
          return true;
        if constexpr (requires { world.may_wait(); })
          if (world.may_wait())
            return true;
        fail("all wait: " + who_waits());
        return false;
      }
      if (steps == steps_max)
        fail("no end");
      auto t = choose_thread(can, asleep);
      if (t < 0)
        return false;
      auto done = fibers_[index(t)].next;
      asleep = path_[depth_ - 1].asleep;
      for (int i = 0; i < count_; ++i)
        if (meet(fibers_[index(i)].next, done))
          asleep &= ~(1u << i);
      resume(t);
    }
    return false;
  }

  unsigned who_can() const {
    unsigned can = 0;
    for (int i = 0; i < count_; ++i) {
      auto& f = fibers_[index(i)];
      if (!f.ended && !f.blocked && !(f.paused && f.paused_at == writes_))
        can |= 1u << i;
    }
    return can;
  }

  bool all_ended() const {
    for (int i = 0; i < count_; ++i)
      if (!fibers_[index(i)].ended)
        return false;
    return true;
  }

  std::string who_waits() const {
    std::string text;
    for (int i = 0; i < count_; ++i)
      if (!fibers_[index(i)].ended)
        text += "thread " + std::to_string(i) + " ";
    return text;
  }

  int choose_thread(unsigned can, unsigned asleep) {
    if (depth_ == path_.size()) {
      if ((can & ~asleep) == 0)
        return -1;
      path_.push_back({true, 0, first(can & ~asleep), can, asleep});
    }
    return path_[depth_++].chosen;
  }

  static int first(unsigned bits) { return __builtin_ctz(bits); }

  // Whether their order matters.
  static bool meet(const step& a, const step& b) {
    return a.meets_all || b.meets_all
           || (a.place >= 0 && a.place == b.place && (a.writes || b.writes))
           || (a.is_fence && b.is_sc) || (b.is_fence && a.is_sc);
  }

  bool next_path() {
    while (!path_.empty()) {
      auto& c = path_.back();
      if (!c.of_thread) {
        if (++c.chosen < c.n)
          return true;
      } else {
        c.asleep |= 1u << c.chosen;
        if (auto left = c.can & ~c.asleep; left != 0) {
          c.chosen = first(left);
          return true;
        }
      }
      path_.pop_back();
    }
    return false;
  }

  // -- fibers: made by makecontext, changed by _setjmp, which makes no system
  // call --

  void resume(int t) {
    current_ = t;
    auto& f = fibers_[index(t)];
    if (_setjmp(home_) == 0) {
      if (f.started)
        _longjmp(f.at, 1);
      f.started = true;
      ::getcontext(&f.start);
      f.start.uc_stack.ss_sp = f.stack.get();
      f.start.uc_stack.ss_size = stack_bytes;
      f.start.uc_link = nullptr;
      ::makecontext(&f.start, &explorer::enter, 0);
      ::setcontext(&f.start);
    }
    current_ = -1;
  }

  static void enter() {
    auto& e = now();
    auto& f = e.fibers_[index(e.current_)];
    f.body();
    f.ended = true;
    e.leave();
  }

  void leave() {
    if (_setjmp(fibers_[index(current_)].at) == 0)
      _longjmp(home_, 1);
  }

  std::string trace() const {
    std::string text = "\n";
    for (auto& t : trace_)
      text += "  " + std::to_string(t.thread) + ": " + t.what + " "
              + std::to_string(t.place) + " " + std::to_string(t.value) + t.more
              + "\n";
    return text;
  }

  static inline explorer* now_ = nullptr;

  std::array<fiber, threads_max> fibers_;
  std::jmp_buf home_;
  int count_ = 0;
  int current_ = -1;
  std::uint64_t writes_ = 0;
  std::vector<choice> path_;
  std::size_t depth_ = 0;
  std::string fault_;
  std::vector<noted> trace_;
};

} // namespace test
