// SPDX-License-Identifier: MIT
// The inbox in every order: the code as it is (core/inbox.hpp), between
// threads that push and, when a push says so, run the cell as cell::resume
// does. Each check is repeated with one operation made weaker, and must find
// that.
#define BOOST_TEST_MODULE model_inbox
#include <boost/test/unit_test.hpp>

#include <deque>
#include <vector>

#include "core/inbox.hpp"
#include "core/lifetime.hpp"
#include "support/model.hpp"

namespace {

using namespace test;
using namespace test::model;
using order = std::memory_order;
using troupe::detail::pushed;

void require(bool holds, const char* what) {
  explorer::now().require(holds, what);
}

struct alignas(16) message {
  message* next = nullptr;
  int sender = 0;
  bool urgent = false, suspends = false, stops = false;
  var<int> payload{0}; // written by the sender, read by the cell
  var<int> record{0};  // of a reply: its cell's, until it is sent
  int handled = 0, dropped = 0, refused = 0;
};

// A cell, its object and what senders do. Whoever gets the right to run it
// runs it at once: that is a schedule like any other.
struct cell_world {
  enum { inbox_place = 0 };

  troupe::detail::basic_inbox<message, model::atomics> inbox;
  message all[4];
  var<std::vector<message*>> object; // what it has handled, in order
  std::deque<message*> pending;      // the runner's
  bool is_suspended = false;         // the runner's
  bool is_ended = false;             // the runner's
  bool is_down = false;              // the runner's
  message* awaited = nullptr;        // the reply that the object awaits
  model::atomic<int> asked{0};       // the suspended method has asked
  std::vector<std::function<void()>> threads;

  // Made by a thread that rests first, as cell::begin does.
  void begin() { require(inbox.rest(false), "a new cell is not empty"); }

  void send(message& m) {
    m.payload.write() = 1;
    switch (inbox.push(&m, m.urgent)) {
      case pushed::refused:
        ++m.refused;
        m.record.write() = 1; // and free it
        break;
      case pushed::wakes:
        run();
        break;
      default:
        break;
    }
  }

  // cell::resume
  void run() {
    while (!is_ended) {
      if (!is_suspended && !pending.empty()) {
        auto* m = pending.front();
        pending.pop_front();
        handle(*m);
        continue;
      }
      if (auto* m = inbox.take(); m != nullptr)
        sort(m);
      else if (inbox.rest(is_suspended))
        return;
    }
  }

  // cell::take_inbox
  void sort(message* m) {
    std::deque<message*> calls, urgent;
    for (; m != nullptr; m = m->next)
      (m->urgent ? urgent : calls).push_front(m);
    pending.insert(pending.end(), calls.begin(), calls.end());
    for (auto* u : urgent)
      handle(*u);
  }

  void handle(message& m) {
    require(m.payload.read() == 1, "an old payload");
    require(m.urgent || !is_suspended, "a message in the middle of a method");
    object.write().push_back(&m);
    ++m.handled;
    if (m.urgent)
      is_suspended = false; // the reply, or the order to come up
    if (m.urgent && is_down) {
      require(inbox.accept(), "it did not refuse");
      is_down = false;
    }
    if (m.suspends) {
      is_suspended = true;
      asked.store(1, order::release);
    }
    if (m.stops)
      end();
  }

  // cell::end
  void end() {
    is_ended = true;
    if (awaited != nullptr)
      awaited->record.write() = 2; // end_coroutine
    for (auto* m : pending)
      ++m->dropped;
    pending.clear();
    for (auto* m = inbox.close(inbox.closed); m != nullptr; m = m->next)
      ++m->dropped;
  }

  void at_end() {
    for (auto& m : all) {
      if (m.payload.read() == 0)
        continue;
      require(m.handled + m.dropped + m.refused == 1,
              "a message was lost, or came twice");
      require(is_ended || m.refused + m.dropped == 0, "dropped by the living");
    }
    auto& seen = object.read();
    for (std::size_t i = 0; i < seen.size(); ++i)
      for (std::size_t j = i + 1; j < seen.size(); ++j)
        require(seen[i]->sender != seen[j]->sender || seen[i] < seen[j],
                "messages of one sender changed places");
    require(is_ended || inbox.is_idle(), "it is not idle at the end");
  }
};

// One sends two, two send one each.
struct many_senders : cell_world {
  many_senders() {
    begin();
    all[2].sender = 1;
    threads = {[this] {
                 send(all[0]);
                 send(all[1]);
               },
               [this] { send(all[2]); }};
  }
};

struct three_senders : cell_world {
  three_senders() {
    begin();
    for (int i = 0; i < 3; ++i) {
      all[i].sender = i;
      threads.push_back([this, i] { send(all[i]); });
    }
  }
};

// A method waits for a reply; calls come meanwhile.
struct suspended : cell_world {
  suspended() {
    begin();
    all[0].suspends = true;
    all[2].sender = 1;
    all[3].sender = 2;
    all[3].urgent = true;
    threads = {[this] {
                 send(all[0]);
                 send(all[1]);
               },
               [this] {
                 while (asked.load(order::acquire) == 0)
                   model::atomics::pause();
                 send(all[2]);
                 send(all[3]);
               }};
  }
};

// It ends itself while others send.
struct ending : cell_world {
  ending() {
    begin();
    all[0].stops = true;
    all[2].sender = all[3].sender = 1;
    threads = {[this] {
                 send(all[0]);
                 send(all[1]);
               },
               [this] {
                 send(all[2]);
                 send(all[3]);
               }};
  }
};

// It ends while the reply that one of its methods waits for is on its way.
struct ending_before_its_reply : cell_world {
  ending_before_its_reply() {
    begin();
    all[0].stops = true;
    all[1].sender = 1;
    all[1].urgent = true;
    awaited = &all[1];
    threads = {[this] { send(all[0]); }, [this] { send(all[1]); }};
  }
};

// The constructor hands the cell out before it is whole: messages wait.
struct beginning : cell_world {
  var<int> whole{0};
  beginning() {
    all[1].sender = 1;
    threads = {[this] {
                 whole.write() = 1;
                 if (!inbox.rest(false))
                   run();
               },
               [this] { send(all[1]); }};
  }
  void at_end() {
    require(whole.read() == 1, "it was run before it was whole");
    cell_world::at_end();
  }
};

// A bounded cell: calls are in a box under a lock, the word only rings.
struct bounded : cell_world {
  model::mutex mutex;
  std::deque<message*> box; // under mutex
  bounded() {
    begin();
    all[1].sender = 1;
    threads = {[this] { offer(all[0]); }, [this] { offer(all[1]); }};
  }
  void offer(message& m) {
    m.payload.write() = 1;
    mutex.lock();
    box.push_back(&m);
    mutex.unlock();
    if (inbox.is_idle() && inbox.claim()) // cell::ring
      run_bounded();
  }
  bool is_empty() {
    mutex.lock();
    auto none = box.empty();
    mutex.unlock();
    return none;
  }
  void run_bounded() {
    for (;;) {
      mutex.lock();
      auto* m = box.empty() ? nullptr : box.front();
      if (m != nullptr)
        box.pop_front();
      mutex.unlock();
      if (m != nullptr) {
        handle(*m);
      } else if (inbox.rest(false)) { // cell::try_rest
        if (is_empty() || !inbox.claim())
          return;
      }
    }
  }
};

// A cell that is down refuses calls, takes the order to come up, and then
// takes calls again (core/restart.cpp).
struct refusing : cell_world {
  refusing() {
    inbox.close(inbox.refusing);
    is_down = is_suspended = true; // as cell::is_suspended has it
    require(inbox.rest(true), "a cell that came down is not empty");
    all[0].urgent = true;
    all[1].sender = 1;
    threads = {[this] { send(all[0]); }, [this] { send(all[1]); }};
  }
  void at_end() {
    require(all[0].handled == 1, "the order was lost");
    require(all[1].handled + all[1].refused == 1, "a call was lost");
  }
};

// A cell that handles keep, and the right to run it (core/lifetime.hpp). Each
// thread has a reference, or a weak one; `memory` is there while it is 1.
struct counted {
  enum { inbox_place = 0, strong_place = 1 };
  using inbox_type = troupe::detail::basic_inbox<message, model::atomics>;

  inbox_type inbox;
  model::atomic<std::size_t> strong{1}, weak{1};
  model::atomic<int> is_dying{0}; // flag_unreachable, flag_ended
  model::atomic<int> is_unreachable{0};
  var<int> memory{1}, block{1};
  message all[3];
  bool is_ended = false, waits = false, keeps_itself = false; // the runner's
  bool has_last_words = false, message_holds = false;
  model::atomic<int> asked{0};
  std::vector<std::function<void()>> threads;

  counted() { require(inbox.rest(false), "a new cell is not empty"); }

  void release() {
    if (strong.fetch_sub(1, order::acq_rel) != 1)
      return;
    if (let_go())
      memory.write() = 0; // destroy_cell
    release_weak();
  }

  void release_weak() {
    if (weak.fetch_sub(1, order::acq_rel) == 1) {
      require(memory.read() == 0, "the block goes before the cell");
      require(block.read() == 1, "the block goes twice");
      block.write() = 0;
    }
  }

  // As lock_weak in core/cell.cpp.
  bool lock() {
    if (!lock_ending())
      return false;
    static_cast<void>(strong.load(order::acquire));
    if (is_unreachable.load(order::acquire) == 0)
      return true;
    release();
    return false;
  }

  // CAF's part is the inner loop.
  bool lock_ending() {
    for (;;) {
      for (auto seen = strong.load(order::relaxed); seen != 0;)
        if (strong.compare_exchange_weak(seen, seen + 1, order::relaxed,
                                         order::relaxed))
          return true;
      if (is_dying.load(order::acquire) != 0)
        return false;
      model::atomics::pause();
    }
  }

  void send(message& m) {
    require(memory.read() == 1, "sent to nobody");
    m.payload.write() = 1;
    switch (inbox.push(&m, m.urgent)) {
      case pushed::refused:
        ++m.refused;
        break;
      case pushed::wakes:
        run();
        break;
      default:
        break;
    }
  }

  void run() {
    for (;;) {
      require(memory.read() == 1, "run without a cell");
      if (is_ended) {
        leave();
        return;
      }
      if (auto* m = inbox.take(); m != nullptr) {
        while (m != nullptr) {
          auto* next = m->next;
          handle(*m);
          m = next;
        }
      } else if (inbox.rest(waits, waits)) {
        return;
      } else if (inbox.is_but_held() && !waits) {
        look_at_references();
      }
    }
  }

  void handle(message& m) {
    require(m.payload.read() == 1, "an old payload");
    ++m.handled;
    if (m.urgent)
      waits = false;
    if (m.suspends) {
      waits = true;
      asked.store(1, order::release);
      if (message_holds)
        release();
    }
    if (keeps_itself) { // self()
      require(lock_ending(), "the runner has no reference to itself");
      release();
    }
    if (m.stops)
      end();
  }

  void look_at_references() {
    using troupe::detail::found;
    switch (troupe::detail::take_last(
      strong, [this] { return !inbox.is_but_held(); })) {
      case found::others:
        inbox.unhold();
        release();
        return;
      case found::more:
        return;
      case found::nobody:
        break;
    }
    is_unreachable.store(1, order::release);
    is_dying.store(1, order::release);
    if (has_last_words) {
      strong.store(1, order::release);
      require(lock_ending(), "it has no last words");
      release();
    }
    end();
  }

  void end() {
    is_ended = true;
    is_dying.store(1, order::release);
    for (auto* m = inbox.close(inbox.closed); m != nullptr; m = m->next)
      ++m->dropped;
  }

  void leave() {
    if (!inbox.leave())
      return;
    if (strong.load(order::relaxed) != 0) {
      release();
      return;
    }
    memory.write() = 0;
    release_weak();
  }

  // True: destroy it.
  bool let_go() {
    using troupe::detail::last_step;
    switch (troupe::detail::let_go(inbox, strong, weak)) {
      case last_step::nothing:
        return false;
      case last_step::free:
        return true;
      default:
        break;
    }
    require(memory.read() == 1, "ended twice");
    if (has_last_words || waits) {
      weak.fetch_add(1, order::relaxed);
      strong.store(1, order::release);
      for (auto seen = inbox.look(); !inbox.hold(seen);) {}
      run();
      return false;
    }
    end();
    return true;
  }

  void at_end() {
    require(memory.read() == 0, "the cell stays for ever");
    require(block.read() == 0, "the block stays for ever");
    for (auto& m : all)
      require(m.payload.read() == m.handled + m.dropped + m.refused,
              "a message was lost, or came twice");
  }
};

// Two handles: each sends and goes.
struct two_handles : counted {
  two_handles() {
    strong.store(2);
    for (int i = 0; i < 2; ++i)
      threads.push_back([this, i] {
        send(all[i]);
        release();
      });
  }
  void at_end() {
    counted::at_end();
    require(all[0].handled + all[1].handled == 2, "dropped by the living");
  }
};

// The same; its end runs code that asks for references, as does its method.
struct two_handles_and_its_own : two_handles {
  two_handles_and_its_own() { has_last_words = keeps_itself = true; }
};

// It runs while its only handle goes, and somebody locks a weak one.
struct weak_one_locked : counted {
  weak_one_locked() {
    weak.store(2);
    threads = {[this] {
                 send(all[0]);
                 release();
               },
               [this] {
                 if (lock()) {
                   send(all[1]);
                   release();
                 }
                 release_weak();
               }};
  }
  void at_end() {
    counted::at_end();
    require(all[1].refused + all[1].dropped == 0, "locked, and yet it ended");
  }
};

struct weak_one_locked_at_last_words : weak_one_locked {
  weak_one_locked_at_last_words() { has_last_words = true; }
};

// One runs it, the last handle goes, and a weak one is locked meanwhile.
struct weak_one_locked_while_it_runs : counted {
  weak_one_locked_while_it_runs() {
    weak.store(2);
    strong.store(2);
    threads = {[this] {
                 send(all[0]);
                 release();
               },
               [this] { release(); },
               [this] {
                 if (lock())
                   release();
                 release_weak();
               }};
  }
};

// A method waits for a reply that comes without a reference.
struct reply_to_the_unreachable : counted {
  reply_to_the_unreachable() {
    all[0].suspends = true;
    all[1].urgent = true;
    threads = {[this] {
                 send(all[0]);
                 release();
               },
               [this] {
                 while (asked.load(order::acquire) == 0)
                   model::atomics::pause();
                 send(all[1]);
               }};
  }
  void at_end() {
    counted::at_end();
    require(all[1].handled == 1, "it ended before its reply");
  }
};

// The same; the last handle goes elsewhere, while it comes to rest.
struct last_handle_of_one_that_waits : reply_to_the_unreachable {
  last_handle_of_one_that_waits() {
    strong.store(2); // one is in the message, and goes with it
    message_holds = true;
    threads[0] = [this] { send(all[0]); };
    threads.push_back([this] { release(); });
  }
};

// It ends by itself while its handles go.
struct ends_while_handles_go : counted {
  ends_while_handles_go() {
    strong.store(2);
    all[0].stops = true;
    for (int i = 0; i < 2; ++i)
      threads.push_back([this, i] {
        send(all[i]);
        release();
      });
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
bool finds(mutation::kind k, op on) {
  return !explore<World>({k, on, World::inbox_place}).fault.empty();
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  holds<many_senders>();
}

BOOST_AUTO_TEST_SUITE(in_every_order)

BOOST_AUTO_TEST_CASE(each_message_is_handled_once_and_by_one_at_a_time) {
  holds<three_senders>();
}

BOOST_AUTO_TEST_CASE(a_suspended_method_is_left_alone_until_its_reply) {
  holds<suspended>();
}

BOOST_AUTO_TEST_CASE(what_comes_too_late_is_dropped_or_refused_once) {
  holds<ending>();
  holds<ending_before_its_reply>();
}

BOOST_AUTO_TEST_CASE(nothing_runs_before_the_object_is_whole) {
  holds<beginning>();
}

BOOST_AUTO_TEST_CASE(a_ring_is_not_missed) {
  holds<bounded>();
}

BOOST_AUTO_TEST_CASE(one_that_is_down_takes_orders_only) {
  holds<refusing>();
}

BOOST_AUTO_TEST_CASE(a_cell_goes_once_when_nobody_has_it_or_runs_it) {
  holds<two_handles>();
  holds<two_handles_and_its_own>();
  holds<ends_while_handles_go>();
}

BOOST_AUTO_TEST_CASE(a_locked_weak_reference_keeps_it) {
  holds<weak_one_locked>();
  holds<weak_one_locked_at_last_words>();
  holds<weak_one_locked_while_it_runs>();
}

BOOST_AUTO_TEST_CASE(a_method_that_waits_keeps_it) {
  holds<reply_to_the_unreachable>();
  holds<last_handle_of_one_that_waits>();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(the_end_of_a_cell_needs_its_orders) {
  // hold releases the reference, leave what the runner did.
  BOOST_TEST(finds<two_handles>(mutation::relax, op::rmw));
  BOOST_TEST(finds<ends_while_handles_go>(mutation::relax, op::rmw));
  // hold and leave are one step each.
  BOOST_TEST(finds<two_handles>(mutation::tear, op::rmw));
  BOOST_TEST(finds<weak_one_locked>(mutation::tear, op::rmw));
  BOOST_TEST(finds<reply_to_the_unreachable>(mutation::tear, op::rmw));
  BOOST_TEST(finds<ends_while_handles_go>(mutation::tear, op::rmw));
}

BOOST_AUTO_TEST_CASE(the_inbox_needs_its_orders) {
  // push: acquire the object, release the envelope; take: acquire it.
  BOOST_TEST(finds<many_senders>(mutation::relax, op::rmw));
  // push: a refusal acquires what the end wrote to the envelope.
  BOOST_TEST(finds<ending_before_its_reply>(mutation::relax, op::load));
  // push, take and rest are one step each.
  BOOST_TEST(finds<many_senders>(mutation::tear, op::rmw));
  BOOST_TEST(finds<three_senders>(mutation::tear, op::rmw));
  BOOST_TEST(finds<suspended>(mutation::tear, op::rmw));
  BOOST_TEST(finds<ending>(mutation::tear, op::rmw));
  BOOST_TEST(finds<bounded>(mutation::tear, op::rmw));
}
