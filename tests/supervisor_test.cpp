// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE supervisor
#include "support/fixture.hpp"

#include <mutex>
#include <string>

#include "troupe/supervisor.hpp"

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;

class counter {
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }
  void fail() { throw std::runtime_error{"on demand"}; }

private:
  int value_ = 0;
};

// Says when it comes and goes.
struct diary {
  std::mutex mutex;
  std::string text;
  void write(const std::string& s) {
    std::lock_guard lock{mutex};
    text += s + " ";
  }
  std::string read() {
    std::lock_guard lock{mutex};
    return std::exchange(text, {});
  }
};

class witness {
public:
  witness(diary* d, std::string name) : diary_(d), name_(std::move(name)) {
    diary_->write("+" + name_);
  }
  ~witness() { diary_->write("-" + name_); }
  void fail() { throw std::runtime_error{"on demand"}; }
  std::string name() const { return name_; }

private:
  diary* diary_;
  std::string name_;
};

struct never_starts {
  never_starts() { throw std::invalid_argument{"no config"}; }
  void poke() {}
};

// Starts `good` times, then never again.
struct starts_sometimes {
  explicit starts_sometimes(std::atomic<int>* left) {
    if (--*left < 0)
      throw std::runtime_error{"out of starts"};
  }
  void fail() { throw std::runtime_error{"on demand"}; }
};

// Its first constructor is quick, the others wait for `go`.
class gated {
public:
  struct gate {
    std::atomic<int> made{0};
    std::atomic<bool> go{false};
  };
  explicit gated(gate* g) {
    if (g->made++ > 0)
      while (!g->go)
        std::this_thread::yield();
  }
  void poke() {}
};

class blocker {
public:
  explicit blocker(std::atomic<bool>* go) : go_(go) {}
  void block() {
    while (!*go_)
      std::this_thread::yield();
  }

private:
  std::atomic<bool>* go_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto sup = live.sys.supervise(
    {.strategy = troupe::one_for_one,
     .intensity = 3,
     .period = 5s,
     .children = {troupe::child<counter>("counter", troupe::permanent)}});
  auto c = sup.child<counter>("counter");
  c.tell<&counter::add>(5);
  BOOST_TEST(c.ask<&counter::value>().get() == 5);
  c.tell<&counter::fail>();
  BOOST_TEST(eventually(5s, [&] { return troupe::starts(c) == 2; }));
  BOOST_TEST(c.ask<&counter::value>().get() == 0);
  BOOST_TEST(sup.tree().find("counter") != std::string::npos);
  sup.stop().get();
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
}

BOOST_AUTO_TEST_SUITE(a_spec)

BOOST_AUTO_TEST_CASE(with_a_name_twice_starts_nothing) {
  diary d; // outlives the actors that write to it
  live_system live;
  try {
    (void)live.sys.supervise(
      {.children = {
         troupe::child<witness>("a", troupe::permanent, &d, std::string{"a"}),
         troupe::child<witness>("a", troupe::permanent, &d,
                                std::string{"b"})}});
    BOOST_TEST(false, "no error");
  } catch (const troupe::bad_argument& e) {
    BOOST_TEST(std::string{e.what()}.find("child \"a\" is there twice")
               != std::string::npos);
  }
  BOOST_TEST(d.read().empty());
}

BOOST_AUTO_TEST_CASE(with_a_cycle_of_needs_names_it) {
  auto a = troupe::child<counter>("a", troupe::permanent);
  auto b = troupe::child<counter>("b", troupe::permanent);
  a.needs = {"b"};
  b.needs = {"a"};
  BOOST_TEST(troupe::first_fault({.children = {a, b}})
             == "child \"a\": a cycle: a needs b needs a");
  b.needs = {};
  BOOST_TEST(troupe::first_fault({.children = {a, b}})
             == "child \"a\" needs \"b\", which stands after it");
  BOOST_TEST(troupe::first_fault({.children = {a}})
             == "child \"a\" needs \"b\", which is not there");
  BOOST_TEST(troupe::first_fault({.children = {b, a}}).empty());
}

BOOST_AUTO_TEST_CASE(with_numbers_out_of_range_is_refused) {
  BOOST_TEST(troupe::first_fault({.period = 0s}) == "period must be above 0");
  BOOST_TEST(!troupe::first_fault({.backoff = {.first = 2s}}).empty());
  BOOST_TEST(!troupe::first_fault({.backoff = {.factor = 0.5}}).empty());
  BOOST_TEST(!troupe::first_fault({.backoff = {.jitter = 2}}).empty());
  auto nameless = troupe::child<counter>("", troupe::permanent);
  BOOST_TEST(troupe::first_fault({.children = {nameless}})
             == "child 0 has no name");
  BOOST_TEST(troupe::first_fault({}).empty());
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(order)

BOOST_AUTO_TEST_CASE(starts_in_order_and_stops_in_reverse) {
  diary d; // outlives the actors that write to it
  live_system live;
  std::vector<troupe::child_spec> children;
  for (std::string name : {"a", "b", "c"})
    children.push_back(
      troupe::child<witness>(name, troupe::permanent, &d, name));
  auto sup = live.sys.supervise({.children = children});
  BOOST_TEST(d.read() == "+a +b +c ");
  sup.stop().get();
  BOOST_TEST(eventually(5s, [&] {
    std::lock_guard lock{d.mutex};
    return d.text == "-c -b -a ";
  }));
}

BOOST_AUTO_TEST_CASE(a_failing_start_undoes_those_before_and_throws) {
  diary d; // outlives the actors that write to it
  live_system live;
  BOOST_CHECK_THROW(
    (void)live.sys.supervise(
      {.children = {troupe::child<witness>("a", troupe::permanent, &d,
                                           std::string{"a"}),
                    troupe::child<never_starts>("n", troupe::permanent)}}),
    std::invalid_argument);
  BOOST_TEST(eventually(5s, [&] {
    std::lock_guard lock{d.mutex};
    return d.text == "+a -a ";
  }));
}

BOOST_AUTO_TEST_CASE(one_for_all_restarts_everybody) {
  diary d; // outlives the actors that write to it
  live_system live;
  std::vector<troupe::child_spec> children;
  for (std::string name : {"a", "b", "c"})
    children.push_back(
      troupe::child<witness>(name, troupe::permanent, &d, name));
  auto sup =
    live.sys.supervise({.strategy = troupe::one_for_all, .children = children});
  d.read();
  sup.child<witness>("b").tell<&witness::fail>();
  BOOST_TEST(eventually(5s, [&] {
    std::lock_guard lock{d.mutex};
    return d.text == "-b -c -a +a +b +c ";
  }));
}

BOOST_AUTO_TEST_CASE(rest_for_one_restarts_those_after_it) {
  diary d; // outlives the actors that write to it
  live_system live;
  std::vector<troupe::child_spec> children;
  for (std::string name : {"a", "b", "c"})
    children.push_back(
      troupe::child<witness>(name, troupe::permanent, &d, name));
  auto sup = live.sys.supervise(
    {.strategy = troupe::rest_for_one, .children = children});
  d.read();
  sup.child<witness>("b").tell<&witness::fail>();
  BOOST_TEST(eventually(5s, [&] {
    std::lock_guard lock{d.mutex};
    return d.text == "-b -c +b +c ";
  }));
}

BOOST_AUTO_TEST_CASE(a_child_that_does_not_stop_is_killed_by_its_deadline) {
  std::atomic<bool> go{false}; // outlives the actors that look at it
  live_system live;
  auto spec = troupe::child<blocker>("b", troupe::permanent, &go);
  spec.stop_deadline = 10ms;
  auto sup = live.sys.supervise({.children = {spec}});
  sup.child<blocker>("b").tell<&blocker::block>();
  auto stopped = sup.stop();
  BOOST_TEST(stopped.wait_for(5s)); // left behind after the second deadline
  go = true;
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(restarts)

BOOST_AUTO_TEST_CASE(kinds_say_who_comes_back) {
  live_system live;
  auto sup = live.sys.supervise(
    {.intensity = 10,
     .children = {troupe::child<counter>("p", troupe::permanent),
                  troupe::child<counter>("t", troupe::transient),
                  troupe::child<counter>("x", troupe::temporary)}});
  auto p = sup.child<counter>("p"), t = sup.child<counter>("t"),
       x = sup.child<counter>("x");
  p.stop();
  t.kill();
  x.kill();
  BOOST_TEST(eventually(5s, [&] { return troupe::starts(p) == 2; }));
  BOOST_TEST(eventually(5s, [&] { return troupe::starts(t) == 2; }));
  BOOST_TEST(
    eventually(5s, [&] { return sup.state().get().children.size() == 2; }));
  BOOST_CHECK_THROW((void)x.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  t.stop();
  BOOST_TEST(
    eventually(5s, [&] { return !sup.state().get().children[1].is_running; }));
  BOOST_CHECK_THROW((void)t.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  sup.restart_child("t").get();
  BOOST_TEST(t.ask<&counter::value>().get() == 0);
}

BOOST_AUTO_TEST_CASE(calls_wait_for_the_next_incarnation_or_fail_fast) {
  live_system live;
  auto patient = troupe::child<counter>("patient", troupe::permanent);
  auto hasty = troupe::child<counter>("hasty", troupe::permanent);
  hasty.calls = troupe::calls_during_restart::fail_fast;
  auto sup = live.sys.supervise({.intensity = 10,
                                 .backoff = {.first = 200ms, .jitter = 0},
                                 .children = {patient, hasty}});
  auto a = sup.child<counter>("patient"), b = sup.child<counter>("hasty");
  for (auto* c : {&a, &b}) { // the second restart in the period waits
    c->kill();
    BOOST_TEST(eventually(5s, [&] { return troupe::starts(*c) == 2; }));
  }
  a.kill();
  b.kill();
  BOOST_TEST(eventually(5s, [&] { return !a.is_alive() && !b.is_alive(); }));
  a.tell<&counter::add>(2);
  auto value = a.ask<&counter::value>();
  BOOST_CHECK_THROW((void)a.within(5ms).ask<&counter::value>().get(),
                    troupe::timeout);
  BOOST_CHECK_THROW((void)b.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  BOOST_TEST(value.get() == 2);
}

BOOST_AUTO_TEST_CASE(a_child_that_fails_at_every_start_is_braked_and_given_up) {
  std::atomic<int> left{1}; // outlives the actors that look at it
  live_system live;
  auto sup = live.sys.supervise({.intensity = 4,
                                 .backoff = {.first = 1ms, .jitter = 0},
                                 .children = {troupe::child<starts_sometimes>(
                                   "s", troupe::permanent, &left)}});
  auto s = sup.child<starts_sometimes>("s");
  s.tell<&starts_sometimes::fail>();
  // 1 good start, then 4 attempts, no more.
  BOOST_TEST(eventually(5s, [&] {
    try {
      (void)sup.state().get();
      return false;
    } catch (const troupe::actor_stopped&) {
      return true;
    }
  }));
  BOOST_TEST(left == -4);
}

BOOST_AUTO_TEST_CASE(giving_up_escalates_to_the_supervisor_above) {
  diary d; // outlives the actors that write to it
  live_system live;
  auto inner = troupe::child_supervisor(
    "inner", troupe::permanent,
    {.intensity = 0,
     .children = {
       troupe::child<witness>("w", troupe::permanent, &d, std::string{"w"})}});
  auto sup = live.sys.supervise({.children = {inner}});
  BOOST_TEST(eventually(5s, [&] { return d.read() == "+w "; }));
  sup.child_tree("inner").child<witness>("w").tell<&witness::fail>();
  BOOST_TEST(eventually(5s, [&] {
    std::lock_guard lock{d.mutex};
    return d.text == "-w +w ";
  }));
  BOOST_TEST(eventually(5s, [&] {
    return sup.tree().find("|  |- w  permanent  running") != std::string::npos;
  }));
  sup.stop().get();
  BOOST_TEST(d.read() == "-w +w -w ");
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(a_handle)

// Knows which of its kind it is, and that nobody else is there.
class only_one {
public:
  struct shared {
    std::atomic<int> made{0}, alive{0}, wrong{0};
  };
  explicit only_one(shared* s) : shared_(s), number_(++s->made) {
    if (++shared_->alive != 1)
      ++shared_->wrong;
  }
  ~only_one() {
    --shared_->alive;
    number_ = -1;
  }
  int number() {
    if (shared_->alive != 1 || number_ != shared_->made)
      ++shared_->wrong;
    return number_;
  }
  void fail() { throw std::runtime_error{"on demand"}; }

private:
  shared* shared_;
  int number_;
};

BOOST_AUTO_TEST_CASE(stays_good_over_1000_restarts_under_load) {
  live_system live{{.workers = 2, .log_level = "off"}};
  only_one::shared seen;
  auto sup = live.sys.supervise(
    {.intensity = 1'000'000,
     .backoff = {.first = 0ns},
     .children = {troupe::child<only_one>("one", troupe::permanent, &seen)}});
  const auto one = sup.child<only_one>("one");
  auto id = one.id();
  std::atomic<bool> over{false};
  std::atomic<int> answers{0}, failures{0}, back{0};
  std::vector<std::thread> askers;
  for (int i = 0; i < 3; ++i)
    askers.emplace_back([&] {
      for (int last = 0; !over;) {
        try {
          auto n = one.ask<&only_one::number>().get();
          back += n < last ? 1 : 0;
          last = n;
          ++answers;
        } catch (const troupe::actor_stopped&) {
          ++failures;
        }
      }
    });
  for (std::uint64_t i = 0; i < 1000; ++i) {
    if (i % 2 == 0)
      one.tell<&only_one::fail>();
    else
      one.kill();
    BOOST_TEST_REQUIRE(
      eventually(5s, [&] { return troupe::starts(one) == i + 2; }));
  }
  over = true;
  for (auto& t : askers)
    t.join();
  BOOST_TEST(one.ask<&only_one::number>().get() == 1001);
  BOOST_TEST(one.id() == id);
  BOOST_TEST(seen.wrong == 0);
  BOOST_TEST(back == 0);
  BOOST_TEST(answers > 0);
  BOOST_TEST(sup.state().get().children[0].starts == 1001u);
  sup.stop().get();
  BOOST_CHECK_THROW((void)one.ask<&only_one::number>().get(),
                    troupe::actor_stopped);
  BOOST_TEST(seen.alive == 0);
}

BOOST_AUTO_TEST_CASE(to_a_child_of_a_child_stays_good_over_restarts_of_both) {
  live_system live{{.workers = 2, .log_level = "off"}};
  auto inner = troupe::child_supervisor(
    "inner", troupe::permanent,
    {.intensity = 0,
     .children = {troupe::child<counter>("c", troupe::permanent)}});
  auto sup = live.sys.supervise(
    {.intensity = 1000, .backoff = {.first = 0ns}, .children = {inner}});
  auto tree = sup.child_tree("inner");
  auto c = tree.child<counter>("c");
  tree.start_child(troupe::child<counter>("extra", troupe::permanent)).get();
  auto extra = tree.child<counter>("extra");
  for (std::uint64_t i = 0; i < 20; ++i) {
    c.tell<&counter::fail>(); // more than the inner one bears
    BOOST_TEST_REQUIRE(
      eventually(5s, [&] { return troupe::starts(c) == i + 2; }));
    BOOST_TEST(c.ask<&counter::value>().get() == 0);
  }
  BOOST_TEST(sup.child_tree("inner").state().get().children.size() == 1u);
  BOOST_CHECK_THROW((void)extra.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  sup.stop_child("inner").get();
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  sup.restart_child("inner").get();
  BOOST_TEST(c.ask<&counter::value>().get() == 0);
  sup.remove_child("inner").get();
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
}

BOOST_AUTO_TEST_CASE(waits_while_starts_fail_and_reaches_the_one_that_stands) {
  live_system live{{.workers = 2, .log_level = "off"}};
  struct shaky {
    explicit shaky(std::atomic<int>* tries) {
      auto n = ++*tries;
      if (n > 1 && n < 5)
        throw std::runtime_error{"not yet"};
    }
    int ping() { return 1; }
  };
  std::atomic<int> tries{0};
  auto sup = live.sys.supervise(
    {.intensity = 10,
     .backoff = {.first = 5ms, .jitter = 0},
     .children = {troupe::child<shaky>("s", troupe::permanent, &tries)}});
  auto s = sup.child<shaky>("s");
  s.kill();
  BOOST_TEST(eventually(5s, [&] { return tries >= 2; }));
  BOOST_TEST(s.ask<&shaky::ping>().get() == 1);
  BOOST_TEST(tries == 5);
}

BOOST_AUTO_TEST_CASE(never_meets_two_when_one_was_left_behind) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<bool> go{false};
  auto spec = troupe::child<blocker>("b", troupe::permanent, &go);
  spec.stop_deadline = 5ms;
  auto sup = live.sys.supervise(
    {.strategy = troupe::one_for_all,
     .intensity = 1000,
     .backoff = {.first = 5ms, .max = 5ms},
     .children = {spec, troupe::child<counter>("c", troupe::permanent)}});
  auto b = sup.child<blocker>("b");
  b.tell<&blocker::block>();
  sup.child<counter>("c").kill(); // so that the other has to be restarted
  BOOST_TEST(eventually(5s, [&] { return sup.state().get().restarts > 2; }));
  BOOST_TEST(troupe::starts(b) == 1u);
  go = true;
  BOOST_TEST(eventually(5s, [&] { return troupe::starts(b) == 2; }));
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(dynamic_children)

BOOST_AUTO_TEST_CASE(come_and_go_by_name) {
  live_system live;
  auto sup = live.sys.supervise({});
  sup.start_child(troupe::child<counter>("c", troupe::permanent)).get();
  BOOST_CHECK_THROW(
    sup.start_child(troupe::child<counter>("c", troupe::permanent)).get(),
    troupe::bad_argument);
  BOOST_CHECK_THROW(
    sup.start_child(troupe::child<never_starts>("n", troupe::permanent)).get(),
    std::invalid_argument);
  auto c = sup.child<counter>("c");
  c.tell<&counter::add>(1);
  BOOST_TEST(c.ask<&counter::value>().get() == 1);
  BOOST_CHECK_THROW((void)sup.child<witness>("c"), troupe::bad_argument);
  BOOST_CHECK_THROW((void)sup.child<counter>("n"), troupe::bad_argument);
  sup.stop_child("c").get();
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  sup.restart_child("c").get();
  BOOST_TEST(c.ask<&counter::value>().get() == 0);
  sup.remove_child("c").get();
  BOOST_CHECK_THROW((void)sup.child<counter>("c"), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(one_that_was_stopped_after_its_crash_stays_down) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<bool> go{false};
  auto sup = live.sys.supervise(
    {.intensity = 10,
     .children = {troupe::child<blocker>("slow", troupe::permanent, &go),
                  troupe::child<counter>("quick", troupe::permanent)}});
  sup.child<blocker>("slow").tell<&blocker::block>();
  auto slow = sup.stop_child("slow");
  auto c = sup.child<counter>("quick");
  c.tell<&counter::fail>();
  BOOST_TEST(
    eventually(5s, [&] { return !sup.state().get().children[1].is_running; }));
  auto quick = sup.stop_child("quick"); // its end waits to be decided upon
  go = true;
  slow.get();
  quick.get();
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
  BOOST_TEST(troupe::starts(c) == 1u);
}

BOOST_AUTO_TEST_CASE(each_restart_is_answered_though_the_next_is_on) {
  live_system live;
  gated::gate g;
  auto sup = live.sys.supervise(
    {.children = {troupe::child<gated>("g", troupe::permanent, &g)}});
  auto first = sup.restart_child("g");
  BOOST_TEST(eventually(5s, [&] { return g.made == 2; }));
  auto second = sup.restart_child("g"), third = sup.restart_child("g");
  BOOST_TEST(sup.state().get().children.size() == 1u); // they have arrived
  g.go = true;
  first.get();
  second.get();
  third.get();
  sup.child<gated>("g").ask<&gated::poke>().get();
}

BOOST_AUTO_TEST_CASE(one_whose_restart_throws_refuses_calls) {
  live_system live{{.workers = 2, .log_level = "off"}};
  std::atomic<int> left{1};
  auto sup = live.sys.supervise({.children = {troupe::child<starts_sometimes>(
                                   "s", troupe::permanent, &left)}});
  auto s = sup.child<starts_sometimes>("s");
  BOOST_CHECK_THROW(sup.restart_child("s").get(), std::runtime_error);
  BOOST_CHECK_THROW(s.within(5s).ask<&starts_sometimes::fail>().get(),
                    troupe::actor_stopped);
  left = 1;
  sup.restart_child("s").get();
  BOOST_TEST(troupe::starts(s) == 2u);
}

BOOST_AUTO_TEST_CASE(come_though_what_others_needed_has_gone) {
  live_system live;
  auto b = troupe::child<counter>("b", troupe::permanent);
  b.needs = {"a"};
  auto sup = live.sys.supervise(
    {.children = {troupe::child<counter>("a", troupe::temporary), b}});
  sup.remove_child("a").get();
  sup.start_child(troupe::child<counter>("c", troupe::permanent)).get();
  auto d = troupe::child<counter>("d", troupe::permanent);
  d.needs = {"a"};
  BOOST_CHECK_THROW(sup.start_child(d).get(), troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_CASE(stopping_a_tree_again_does_nothing) {
  live_system live{{.workers = 2, .log_level = "off"}};
  auto sup = live.sys.supervise(
    {.children = {troupe::child<counter>("c", troupe::permanent)}});
  auto first = sup.stop(), second = sup.stop();
  first.get();
  second.get();
  sup.stop().get();
  // One that gives up has stopped as well.
  auto weak = live.sys.supervise(
    {.intensity = 0,
     .children = {troupe::child<counter>("c", troupe::permanent)}});
  auto c = weak.child<counter>("c");
  c.tell<&counter::fail>();
  weak.stop().get();
  weak.stop().get();
}

BOOST_AUTO_TEST_CASE(a_tree_outlives_its_handles_but_not_its_system) {
  troupe::ref<counter> c;
  {
    live_system live;
    {
      auto sup = live.sys.supervise(
        {.children = {troupe::child<counter>("c", troupe::permanent)}});
      c = sup.child<counter>("c");
    }
    BOOST_TEST(c.ask<&counter::value>().get() == 0);
    c.kill();
    BOOST_TEST(eventually(5s, [&] { return troupe::starts(c) == 2; }));
    BOOST_TEST(c.ask<&counter::value>().get() == 0);
  }
  BOOST_CHECK_THROW((void)c.ask<&counter::value>().get(),
                    troupe::actor_stopped);
}
