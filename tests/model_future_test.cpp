// SPDX-License-Identifier: MIT
// How a future settles, in every order: the moves of its phase and its list of
// waiters as they are (troupe/detail/state.hpp, core/waiters.hpp), between
// those who settle and those who wait, go on, cancel or give up. Each check is
// repeated with one operation made weaker, and must find that.
#define BOOST_TEST_MODULE model_future
#include <boost/test/unit_test.hpp>

#include "core/waiters.hpp"
#include "support/model.hpp"

namespace {

using namespace test;
using namespace test::model;
using troupe::detail::move_phase;
using troupe::detail::move_to_settling;
using troupe::detail::phase;

void require(bool holds, const char* what) {
  explorer::now().require(holds, what);
}

struct waiter {
  waiter* next = nullptr;
  var<int> told{0}; // how often; also: whether the waiter is still there
  void (*notify)(waiter&) = [](waiter& w) { ++w.told.write(); };
};

// As thread_waiter of core/state.cpp, which is gone when its wait has ended.
struct thread_waiter : waiter {
  troupe::detail::basic_sleeper<model::atomics> sleeper;
  thread_waiter() {
    notify = [](waiter& w) {
      auto& self = static_cast<thread_waiter&>(w);
      ++self.told.write();
      self.sleeper.wake();
    };
  }
};

// What state_base does, with a value that must be seen by who is told.
struct future_world {
  enum { at_place = 0, list_place = 1, any = -1 };
  using list = troupe::detail::waiter_list<waiter, model::atomics>;

  model::atomic<phase> at{phase::pending};
  list::word_type word{0};
  var<int> value{0};
  int settled = 0, ran = 0, cancelled = 0, expired = 0;
  thread_waiter sleeper;
  waiter then[2];
  std::vector<std::function<void()>> threads;

  bool is_settled() {
    return at.load(std::memory_order_acquire) >= phase::value;
  }

  void finish(phase final) { // state_base::finish
    ++settled;
    for (auto* w = list{word}.settle(at, final); w != nullptr;) {
      auto* next = w->next;
      w->notify(*w);
      w = next;
    }
  }

  void answer() { // an ask that is run
    if (!move_phase(at, phase::pending, phase::running))
      return;
    ++ran;
    if (move_to_settling(at)) {
      value.write() = 1;
      finish(phase::value);
    }
  }

  void cancel() { // state_base::cancel
    if (move_phase(at, phase::pending, phase::settling)) {
      ++cancelled;
      finish(phase::cancelled);
    }
  }

  void expire() { // state_base::expire
    if (is_settled() || !move_to_settling(at))
      return;
    ++expired;
    value.write() = 2;
    finish(phase::error);
  }

  void see() {
    if (at.load(std::memory_order_acquire) != phase::cancelled)
      require(value.read() != 0, "told of a value that is not there");
  }

  void go_on(waiter& w) { // future::then
    if (!list{word}.add(at, w)) {
      ++w.told.write();
      see();
    }
  }

  void wait(thread_waiter& w) { // wait_settled, for ever
    if (list{word}.add(at, w))
      w.sleeper.sleep([] { return std::int64_t{-1}; });
    require(is_settled(), "woken before it settled");
    see();
    w.told.write() = -1; // it is gone
  }

  // wait_settled with a limit: the futex may say late at any time.
  void wait_until_due(thread_waiter& w, bool expires) {
    if (list{word}.add(at, w)) {
      auto late = [&w, first = true]() mutable -> std::int64_t {
        return std::exchange(first, false) ? 1 : 0;
      };
      w.sleeper.sleep(late);
      if (expires && !w.sleeper.is_woken()) {
        expire(); // or an answer is being written, and comes
        w.sleeper.sleep([] { return std::int64_t{-1}; });
      }
      if (!w.sleeper.is_woken() && !list{word}.remove(w))
        w.sleeper.sleep([] { return std::int64_t{-1}; });
    }
    require(!expires || is_settled(), "late, and not settled");
    w.told.write() = -1;
  }

  void at_end() { require(settled == 1, "it did not settle once"); }
};

struct one_waits : future_world {
  one_waits() {
    threads = {[this] { answer(); }, [this] { wait(sleeper); }};
  }
};

// Others are on the list, before and behind.
struct one_gives_up : future_world {
  one_gives_up() {
    (void)list{word}.add(at, then[0]);
    threads = {[this] {
                 (void)list{word}.add(at, then[1]);
                 answer();
               },
               [this] { wait_until_due(sleeper, false); }};
  }
  void at_end() {
    future_world::at_end();
    require(then[0].told.read() == 1 && then[1].told.read() == 1,
            "another was forgotten");
  }
};

struct one_expires : future_world {
  one_expires() {
    threads = {[this] { answer(); }, [this] { wait_until_due(sleeper, true); }};
  }
  void at_end() {
    future_world::at_end();
    require(expired == (at.load() == phase::error ? 1 : 0), "two results");
  }
};

struct one_looks : future_world {
  one_looks() {
    threads = {[this] { answer(); },
               [this] {
                 if (is_settled()) // future::ready
                   see();
               }};
  }
};

struct one_goes_on : future_world {
  one_goes_on() {
    threads = {[this] { answer(); }, [this] { go_on(then[0]); }};
  }
};

struct some_go_on : future_world {
  some_go_on() {
    threads = {[this] { answer(); }, [this] { go_on(then[0]); },
               [this] { go_on(then[1]); }};
  }
  void at_end() {
    future_world::at_end();
    require(then[0].told.read() == 1 && then[1].told.read() == 1,
            "a continuation did not run once");
  }
};

struct one_cancels : future_world {
  one_cancels() {
    threads = {[this] { answer(); }, [this] { cancel(); },
               [this] { go_on(then[0]); }};
  }
  void at_end() {
    future_world::at_end();
    require(ran + cancelled == 1, "run though cancelled, or neither");
    require(then[0].told.read() == 1, "a continuation did not run once");
  }
};

template <class World>
void holds() {
  const auto r = explore<World>();
  BOOST_TEST_MESSAGE(r.ended << " orders, " << r.runs << " runs");
  BOOST_TEST(r.fault == "");
  BOOST_TEST(r.ended > 1u);
}

template <class World>
bool finds(mutation m) {
  return !explore<World>(m).fault.empty();
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  holds<one_goes_on>();
}

BOOST_AUTO_TEST_SUITE(in_every_order)

BOOST_AUTO_TEST_CASE(who_waits_wakes_when_it_is_settled) {
  holds<one_waits>();
}

BOOST_AUTO_TEST_CASE(who_gives_up_is_not_told_when_it_is_gone) {
  holds<one_gives_up>();
}

BOOST_AUTO_TEST_CASE(who_sees_it_settled_sees_its_value) {
  holds<one_looks>();
}

BOOST_AUTO_TEST_CASE(an_answer_and_an_expiry_settle_once) {
  holds<one_expires>();
}

BOOST_AUTO_TEST_CASE(each_continuation_runs_once) {
  holds<some_go_on>();
}

BOOST_AUTO_TEST_CASE(what_is_cancelled_does_not_run) {
  holds<one_cancels>();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(the_future_needs_its_orders) {
  using w = future_world;
  const auto at = w::at_place, list = w::list_place, any = w::any;
  // One step each: a claim, a settling, the list's lock, the sleeper's word.
  BOOST_TEST(finds<one_cancels>({mutation::tear, op::rmw, at}));
  BOOST_TEST(finds<one_expires>({mutation::tear, op::rmw, at}));
  BOOST_TEST(finds<some_go_on>({mutation::tear, op::rmw, list}));
  BOOST_TEST(finds<one_waits>({mutation::tear, op::rmw, any}));
  // Who sees the phase sees the value.
  BOOST_TEST(finds<one_looks>({mutation::relax, op::load, at}));
  BOOST_TEST(finds<one_looks>({mutation::relax, op::store, at}));
  // What stands under the lock is seen by its next holder.
  BOOST_TEST(finds<some_go_on>({mutation::relax, op::store, list}));
  BOOST_TEST(finds<some_go_on>({mutation::relax, op::rmw, list}));
  // Who is asleep is woken.
  BOOST_TEST(finds<one_waits>({mutation::forget, op::store, list}));
}
