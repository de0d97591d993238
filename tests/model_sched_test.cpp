// SPDX-License-Identifier: MIT
// The lock-free parts of the scheduler in every order: the deque and the slot
// as they are, the parking as a model whose steps name the functions that do
// them. Each check is repeated with one operation made weaker or left out, and
// must find that.
#define BOOST_TEST_MODULE model_sched
#include <boost/test/unit_test.hpp>

#include <deque>
#include <vector>

#include "sched/deque.hpp"
#include "sched/slot.hpp"
#include "support/model.hpp"

namespace {

using namespace test;
using namespace test::model;
using order = std::memory_order;

void require(bool holds, const char* what) {
  explorer::now().require(holds, what);
}

using model::atomics;

// A job that knows how often it was run.
struct job {
  var<int> runs{0};
  void run() { ++runs.write(); }
};

template <class World>
void holds() {
  const auto r = explore<World>();
  BOOST_TEST_MESSAGE(r.ended << " orders, " << r.runs << " runs");
  BOOST_TEST(r.fault == "");
  BOOST_TEST(r.ended > 1u);
}

template <class World>
bool is_sound() {
  return explore<World>().fault.empty();
}

template <class World>
void finds(mutation m) {
  BOOST_TEST_CONTEXT("mutation " << m.what << " on " << static_cast<int>(m.on)
                                 << " at place " << m.place)
  BOOST_TEST(explore<World>(m).fault != "");
}

// -- the deque ----------------------------------------------------------------

// The owner has two jobs and wants one back; two thieves.
struct deque_world {
  enum { top = 0, bottom = 1, slots = 2 }; // places
  troupe::sched::job_deque<job, 2, atomics> deque;
  job jobs[3];
  int taken = 0;
  int count = 2;
  std::vector<std::function<void()>> threads{
    [this] { own(); }, [this] { steal(); }, [this] { steal(); }};

  void take(job* j) {
    if (j != nullptr) {
      j->run();
      ++taken;
    }
  }
  void push(int i) {
    jobs[i].runs.write() = 0; // what a thief must see
    require(deque.push(&jobs[i]), "no room");
  }
  void own() {
    push(0);
    push(1);
    take(deque.pop());
  }
  void steal() { take(deque.steal()); }

  void at_end() {
    while (auto* j = deque.pop())
      take(j);
    require(taken == count, "a job is lost or was taken twice");
    for (int i = 0; i < count; ++i)
      require(jobs[i].runs.read() == 1, "a job did not run once");
  }
};

// Round the end of the buffer, again and again for the last job.
struct last_job_world : deque_world {
  last_job_world() {
    count = 3;
    threads = {[this] {
                 push(0);
                 take(deque.pop());
                 push(1);
                 push(2);
                 take(deque.pop());
               },
               [this] { steal(); }};
  }
};

// -- the slot -----------------------------------------------------------------

// The owner passes three jobs through its slot; the monitor takes twice.
struct slot_world {
  enum { at = 0, busy = 1, wanted = 2 };
  troupe::sched::job_slot<job, atomics> slot;
  job jobs[2];
  std::vector<std::function<void()>> threads{[this] { own(); },
                                             [this] { look(); }};
  void run(job* j) {
    if (j != nullptr)
      j->run();
  }
  void own() {
    for (auto& j : jobs) {
      j.runs.write() = 0;
      run(slot.exchange(&j));
    }
    run(slot.take());
  }
  void look() {
    run(slot.take_from_outside());
    run(slot.take_from_outside());
  }
  void at_end() {
    run(slot.take());
    for (auto& j : jobs)
      require(j.runs.read() == 1, "a job did not run once");
  }
};

// -- parking ------------------------------------------------------------------

enum class omit {
  nothing,
  looks,            // park: neither under the lock nor after the count
  signal,           // unpark leaves nothing for one that is not asleep yet
  wake_by_injector, // inject: take_sleeper_locked; the end of wake_once
  hand_over,        // enter_blocking: what waits in the slot and the deque
  wake_for_blocked, // enter_blocking: another takes the place
  give_place_up,    // enter_blocking: awake_ falls
};

enum job_kind { plain, blocker, blocker_with_work };

// The protocol of scheduler.hpp, with two workers and somebody outside. A
// deque and a slot hold one job and are changed in one step: they have checks
// of their own. A search is one look round. A blocker waits until a plain job
// has run, which must then be another worker's.
template <omit Omit>
struct parking_world {
  struct worker {
    model::atomic<std::uint32_t> signal{0};
    model::atomic<int> queued{0};      // the deque's size
    std::vector<job_kind> deque, slot; // the slot: one at most
    bool is_parked = false;            // under mutex
    int naps = 0;                      // sleeps that end by themselves
  };

  const int limit;
  model::mutex mutex;
  model::atomic<int> injected{0}; // injected_size_
  model::atomic<int> awake, searching{0};
  model::atomic<std::uint32_t> done{0}; // a plain job has run
  worker all[2];
  std::deque<job_kind> injections; // under mutex
  std::vector<worker*> parked;     // under mutex
  int left;                        // jobs that have not run
  std::vector<std::function<void()>> threads;

  // With a limit of 1 the second worker is a parked spare. `first` is there
  // at the beginning, `later` comes from outside, under a wake_once if `once`.
  parking_world(int limit_, std::vector<job_kind> first,
                std::vector<job_kind> later, bool once = false)
    : limit(limit_),
      awake(limit_),
      left(static_cast<int>(first.size() + later.size())) {
    for (auto j : first) {
      inject_locked(j);
      left += j == blocker_with_work ? 1 : 0;
    }
    threads.push_back([this] { work(all[0]); });
    if (limit == 1) {
      park_at_start(all[1]);
      threads.push_back([this] { sleep_first(all[1]); });
    } else {
      threads.push_back([this] { work(all[1]); });
    }
    if (!later.empty())
      threads.push_back([this, later, once] {
        for (auto j : later)
          inject(j, once);
        // ~wake_once
        if (once && Omit != omit::wake_by_injector && injected.load() != 0)
          wake_for_backlog();
      });
  }

  bool may_wait() const { return left == 0; }
  void at_end() { require(left == 0, "a job has not run"); }

  // -- scheduler.cpp ----------------------------------------------------------

  bool may_wake() { return searching.load() == 0 && awake.load() < limit; }

  worker* take_sleeper_locked() {
    if (parked.empty())
      return nullptr;
    auto* w = parked.back();
    parked.pop_back();
    w->is_parked = false;
    awake.fetch_add(1);
    searching.fetch_add(1);
    return w;
  }

  void inject_locked(job_kind j) {
    injections.push_back(j);
    injected.store(static_cast<int>(injections.size()));
  }

  void inject(job_kind j, bool is_taken_over) {
    mutex.lock();
    inject_locked(j);
    worker* sleeper = nullptr;
    if (!is_taken_over && Omit != omit::wake_by_injector && may_wake())
      sleeper = take_sleeper_locked();
    mutex.unlock();
    if (sleeper != nullptr)
      unpark(*sleeper);
  }

  bool take_injected(job_kind& j) {
    if (injected.load() == 0)
      return false;
    mutex.lock();
    auto any = !injections.empty();
    if (any) {
      j = injections.front();
      injections.pop_front();
      injected.store(static_cast<int>(injections.size()));
    }
    mutex.unlock();
    return any;
  }

  void wake_for_backlog() {
    if (!may_wake())
      return;
    mutex.lock();
    auto* sleeper = may_wake() ? take_sleeper_locked() : nullptr;
    mutex.unlock();
    if (sleeper != nullptr)
      unpark(*sleeper);
  }

  bool has_work() {
    return injected.load() > 0 || all[0].queued.load(order::relaxed) > 0
           || all[1].queued.load(order::relaxed) > 0;
  }

  // -- worker.cpp -------------------------------------------------------------

  void unpark(worker& w) {
    if (Omit != omit::signal)
      w.signal.store(1, order::release);
    futex_wake(w.signal);
  }

  void push(worker& w, job_kind j) {
    std::swap(w.slot, w.deque);
    w.slot.assign(1, j);
    if (!w.deque.empty()) {
      w.queued.fetch_add(1);
      wake_for_backlog();
    }
  }

  bool steal(worker& w, job_kind& j) {
    if (w.queued.load() == 0 || w.deque.empty())
      return false;
    j = w.deque.back();
    w.deque.pop_back();
    w.queued.fetch_sub(1);
    return true;
  }

  bool take(worker& w, job_kind& j) {
    if (w.slot.empty())
      return steal(w, j);
    j = w.slot.back();
    w.slot.pop_back();
    return true;
  }

  void work(worker& w) {
    while (left > 0) {
      job_kind j{};
      if (!take(w, j) && !search(w, j))
        return;
      run(w, j);
      if (awake.load(order::relaxed) > limit)
        yield_place(w);
    }
  }

  void sleep_first(worker& w) {
    sleep(w);
    job_kind j{};
    if (look(w, j)) {
      run(w, j);
      if (awake.load(order::relaxed) > limit)
        yield_place(w);
    }
    work(w);
  }

  bool search(worker& w, job_kind& j) {
    searching.fetch_add(1);
    return look(w, j);
  }

  bool look(worker& w, job_kind& j) {
    for (;;) {
      if (take_injected(j) || steal(&w == &all[0] ? all[1] : all[0], j)) {
        found_work();
        return true;
      }
      if (w.naps > 0)
        nap(w);
      else
        park(w, true);
    }
  }

  void nap(worker& w) {
    --w.naps;
    mutex.lock();
    if (Omit != omit::looks && !injections.empty()) {
      mutex.unlock();
      return;
    }
    join_parked_locked(w);
    searching.fetch_sub(1);
    mutex.unlock();
    futex_wait(w.signal, 0, 1);
    if (w.signal.load(order::acquire) == 0 && leave_parked(w))
      return;
    sleep(w);
  }

  void found_work() {
    if (searching.fetch_sub(1) == 1 && has_work())
      wake_for_backlog();
  }

  void park(worker& w, bool was_searching) {
    mutex.lock();
    if (Omit != omit::looks && !injections.empty() && awake.load() <= limit) {
      if (!was_searching)
        searching.fetch_add(1);
      mutex.unlock();
      return;
    }
    join_parked_locked(w);
    if (was_searching)
      searching.fetch_sub(1);
    mutex.unlock();
    if (Omit != omit::looks && has_work() && leave_parked(w))
      return;
    sleep(w);
  }

  void join_parked_locked(worker& w) {
    parked.push_back(&w);
    w.is_parked = true;
    awake.fetch_sub(1);
  }

  bool leave_parked(worker& w) {
    mutex.lock();
    const auto leaves = w.is_parked && awake.load() < limit;
    if (leaves) {
      std::erase(parked, &w);
      w.is_parked = false;
      awake.fetch_add(1);
      searching.fetch_add(1);
    }
    mutex.unlock();
    return leaves;
  }

  void park_at_start(worker& w) {
    parked.push_back(&w);
    w.is_parked = true;
  }

  void sleep(worker& w) {
    while (w.signal.load(order::acquire) == 0)
      futex_wait(w.signal, 0);
    w.signal.store(0, order::relaxed);
  }

  void yield_place(worker& w) {
    mutex.lock();
    auto stays = awake.load() <= limit;
    mutex.unlock();
    if (stays)
      return;
    hand_over(w);
    park(w, false);
    found_work();
  }

  void hand_over(worker& w) {
    if (w.slot.empty() && w.deque.empty())
      return;
    mutex.lock();
    for (job_kind j{}; take(w, j);)
      inject_locked(j);
    mutex.unlock();
  }

  void run(worker& w, job_kind j) {
    if (j == plain) {
      --left;
      done.store(1, order::release);
      futex_wake(done, 2);
      return;
    }
    if (j == blocker_with_work)
      push(w, plain);
    enter_blocking(w);
    while (done.load(order::acquire) == 0)
      futex_wait(done, 0);
    mutex.lock(); // exit_blocking
    awake.fetch_add(1);
    mutex.unlock();
    --left;
  }

  void enter_blocking(worker& w) {
    if (Omit != omit::hand_over)
      hand_over(w);
    mutex.lock();
    if (Omit != omit::give_place_up)
      awake.fetch_sub(1);
    worker* next = nullptr;
    if (Omit != omit::wake_for_blocked && has_work())
      next = take_sleeper_locked();
    mutex.unlock();
    if (next != nullptr)
      unpark(*next);
  }
};

// Two workers that may both work; what comes comes from outside.
template <omit Omit = omit::nothing>
struct injection_world : parking_world<Omit> {
  injection_world() : parking_world<Omit>(2, {}, {plain}) {}
};

// The same, and who brings it wakes once.
template <omit Omit = omit::nothing>
struct late_wake_world : parking_world<Omit> {
  late_wake_world() : parking_world<Omit>(2, {}, {plain}, true) {}
};

// The same, and the sleep of one may end by itself.
template <omit Omit = omit::nothing>
struct nap_world : parking_world<Omit> {
  nap_world() : parking_world<Omit>(2, {}, {plain}) { this->all[1].naps = 1; }
};

// One worker and its spare; the one blocks on what it has pushed itself.
template <omit Omit = omit::nothing>
struct own_work_world : parking_world<Omit> {
  own_work_world() : parking_world<Omit>(1, {blocker_with_work}, {}) {}
};

// The one blocks on what is injected before or after it blocks.
template <omit Omit = omit::nothing>
struct later_work_world : parking_world<Omit> {
  later_work_world() : parking_world<Omit>(1, {blocker}, {plain}) {}
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  holds<last_job_world>();
}

BOOST_AUTO_TEST_SUITE(the_deque)

BOOST_AUTO_TEST_CASE(gives_each_job_to_one_in_every_order) {
  holds<deque_world>();
}

BOOST_AUTO_TEST_CASE(needs_its_orders) {
  using w = deque_world;
  finds<w>({mutation::relax, op::store, w::bottom});
  finds<w>({mutation::relax, op::load, w::bottom});
  finds<w>({mutation::tear, op::rmw, w::top});
  finds<w>({mutation::forget, op::fence, -1});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_slot)

BOOST_AUTO_TEST_CASE(gives_its_job_to_one_in_every_order) {
  holds<slot_world>();
}

BOOST_AUTO_TEST_CASE(needs_its_orders) {
  using w = slot_world;
  finds<w>({mutation::forget, op::fence, -1});        // membarrier
  finds<w>({mutation::forget, op::store, w::busy});   // the owner's word
  finds<w>({mutation::forget, op::store, w::wanted}); // the other's
  finds<w>({mutation::relax, op::load, w::wanted});
  finds<w>({mutation::relax, op::store, w::wanted});
  finds<w>({mutation::relax, op::load, w::busy});
  finds<w>({mutation::relax, op::store, w::busy});
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(parking)

BOOST_AUTO_TEST_CASE(loses_no_injection_in_any_order) {
  holds<injection_world<>>();
  holds<late_wake_world<>>();
}

BOOST_AUTO_TEST_CASE(loses_nothing_when_a_sleep_ends_by_itself) {
  holds<nap_world<>>();
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind_one_that_blocks) {
  holds<own_work_world<>>();
  holds<later_work_world<>>();
}

BOOST_AUTO_TEST_CASE(needs_its_steps) {
  using enum omit;
  BOOST_TEST(!is_sound<injection_world<looks>>());
  BOOST_TEST(!is_sound<injection_world<signal>>());
  BOOST_TEST(!is_sound<injection_world<wake_by_injector>>());
  BOOST_TEST(!is_sound<late_wake_world<looks>>());
  BOOST_TEST(!is_sound<late_wake_world<wake_by_injector>>());
  BOOST_TEST(!is_sound<nap_world<looks>>());
  BOOST_TEST(!is_sound<own_work_world<hand_over>>());
  BOOST_TEST(!is_sound<own_work_world<wake_for_blocked>>());
  BOOST_TEST(!is_sound<later_work_world<wake_for_blocked>>());
  BOOST_TEST(!is_sound<later_work_world<give_place_up>>());
}

BOOST_AUTO_TEST_SUITE_END()
