// SPDX-License-Identifier: MIT
// node: actors in other processes, over sockets.
#define BOOST_TEST_MODULE node
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "support/processes.hpp"

#include <map>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using test::node_process;
using troupe::on_node;

struct point {
  int x = 0;
  std::string name;
  friend bool operator==(const point&, const point&) = default;
};

class account {
public:
  account() = default;
  explicit account(int balance) : balance_(balance) {}
  int balance() const { return balance_; }
  int take(int n) { return balance_ -= n; }
  void add(int n) { balance_ += n; }
  int pid() const { return ::getpid(); }
  std::size_t size_of(const std::string& text) const { return text.size(); }
  std::string echo(std::string text) const { return text; }

private:
  int balance_ = 0;
};

class clerk : public troupe::actor {
public:
  clerk() = default;
  explicit clerk(troupe::ref<account> a) : account_(std::move(a)) {}

  int pid() const { return ::getpid(); }
  point moved(point p, int by) const { return {p.x + by, p.name + "!"}; }
  void note(int n) { seen_.push_back(n); }
  std::vector<int> seen() const { return seen_; }
  troupe::task<int> withdraw(int n) {
    const int have = co_await account_.ask<&account::balance>();
    if (have < n)
      throw std::domain_error{"not enough"};
    co_return co_await account_.ask<&account::take>(n);
  }
  int take_blocking(int n) { return account_.ask<&account::take>(n).get(); }
  troupe::ref<account> open(int balance) { return spawn<account>(balance); }
  troupe::ref<account> yours() const { return account_; }
  void publish(std::string name) {
    troupe::ref<clerk> me = self();
    system().publish(name, me);
  }
  void publish_account(std::string name, int balance) {
    system().publish(name, spawn<account>(balance));
  }
  std::size_t alive() { return system().stats().actors_alive; }
  int throws(int x) {
    if (x == 0)
      throw std::out_of_range{"zero"};
    throw point{}; // not an exception
  }
  void quit() { stop(); }
  void leave(int code) { ::_exit(code); }
  void sleeps(int ms) {
    std::this_thread::sleep_for(ms * 1ms); // sleeps: a method that takes long
  }

private:
  troupe::ref<account> account_;
  std::vector<int> seen_;
};

struct refuses {
  explicit refuses(int x) { throw std::invalid_argument{std::to_string(x)}; }
  int x() { return 1; }
};

class watcher : public troupe::actor {
public:
  void watch(troupe::ref<clerk> t) { monitor(t); }
  void on_down(troupe::down d) { downs_.push_back(std::move(d)); }
  std::size_t count() const { return downs_.size(); }
  troupe::down last() const { return downs_.back(); }

private:
  std::vector<troupe::down> downs_;
};

// A node, and a system that is connected to it.
struct pair {
  node_process process;
  live_system live{test::with_keys()};
  troupe::node n = live.sys.connect(process.address());
  troupe::ref<account> acc = live.sys.spawn<account>(100);
  troupe::ref<clerk> c = live.sys.spawn<clerk>(on_node{n}, acc);
};

} // namespace

BOOST_AUTO_TEST_SUITE(an_actor_on_a_node)

BOOST_AUTO_TEST_CASE(smoke) {
  node_process process;
  live_system live{test::with_keys()};
  auto n = live.sys.connect(process.address(), {.deadline = 5s});
  BOOST_TEST(n.is_up());
  auto a = live.sys.spawn<account>(on_node{n}, 5);
  BOOST_TEST(a.ask<&account::take>(2).get() == 3);
  BOOST_TEST(a.ask<&account::pid>().get() == process.pid());
}

BOOST_FIXTURE_TEST_CASE(takes_and_gives_plain_structs, pair) {
  BOOST_TEST((c.ask<&clerk::moved>(point{1, "p"}, 2).get() == point{3, "p!"}));
}

BOOST_FIXTURE_TEST_CASE(sees_the_messages_of_a_sender_in_order, pair) {
  std::vector<int> sent;
  for (int i = 0; i < 10'000; ++i) {
    c.tell<&clerk::note>(i);
    sent.push_back(i);
  }
  BOOST_TEST(c.ask<&clerk::seen>().get() == sent,
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(asks_actors_of_this_node, pair) {
  BOOST_TEST(c.ask<&clerk::withdraw>(30).get() == 70);
  BOOST_TEST(acc.ask<&account::balance>().get() == 70);
  BOOST_CHECK_THROW(c.ask<&clerk::withdraw>(300).get(), std::domain_error);
}

BOOST_FIXTURE_TEST_CASE(may_block_on_an_answer, pair) {
  for (int i = 0; i < 50; ++i)
    c.ask<&clerk::take_blocking>(1).get();
  BOOST_TEST(acc.ask<&account::balance>().get() == 50);
}

BOOST_FIXTURE_TEST_CASE(hands_out_actors_of_its_own, pair) {
  auto made = c.ask<&clerk::open>(7).get();
  BOOST_TEST(made.ask<&account::take>(1).get() == 6);
  BOOST_TEST(made.ask<&account::pid>().get() == process.pid());
}

BOOST_FIXTURE_TEST_CASE(gives_a_handle_back_as_itself, pair) {
  BOOST_TEST((c.ask<&clerk::yours>().get() == acc));
}

BOOST_FIXTURE_TEST_CASE(reports_exceptions_with_type_and_text, pair) {
  BOOST_TEST(test::text_thrown<std::out_of_range>(
               [&] { c.ask<&clerk::throws>(0).get(); })
             == "zero");
  try {
    c.ask<&clerk::throws>(1).get();
    BOOST_FAIL("nothing was thrown");
  } catch (const troupe::task_failed& e) {
    BOOST_TEST(e.type().find("point") != std::string::npos);
    BOOST_TEST(e.node().find("node 127.0.0.1") != std::string::npos);
  }
}

BOOST_FIXTURE_TEST_CASE(takes_no_functions, pair) {
  BOOST_CHECK_THROW(c.ask([](clerk&) { return 1; }).get(),
                    troupe::not_sendable);
}

BOOST_FIXTURE_TEST_CASE(keeps_to_deadlines, pair) {
  c.tell<&clerk::sleeps>(300);
  BOOST_CHECK_THROW(c.within(20ms).ask<&clerk::pid>().get(), troupe::timeout);
}

BOOST_FIXTURE_TEST_CASE(throws_what_its_constructor_throws, pair) {
  BOOST_TEST(test::text_thrown<std::invalid_argument>(
               [&] { (void)live.sys.spawn<refuses>(on_node{n}, 3); })
             == "3");
}

BOOST_FIXTURE_TEST_CASE(takes_large_arguments_whole, pair) {
  auto a = live.sys.spawn<account>(on_node{n}, 0);
  for (const std::size_t bytes :
       {std::size_t{1}, std::size_t{100'000}, std::size_t{1} << 20,
        (std::size_t{16} << 20) + 7}) {
    std::string text(bytes, 'x');
    for (std::size_t i = 0; i < bytes; i += 1000)
      text[i] = static_cast<char>('a' + i / 1000 % 26);
    BOOST_TEST((a.ask<&account::echo>(text).get() == text));
  }
}

BOOST_FIXTURE_TEST_CASE(ends_when_its_last_handle_goes, pair) {
  auto a = live.sys.spawn<account>(on_node{n}, 0);
  const auto before = c.ask<&clerk::alive>().get();
  a = {};
  BOOST_TEST(
    eventually(5s, [&] { return c.ask<&clerk::alive>().get() == before - 1; }));
}

BOOST_FIXTURE_TEST_CASE(ends_by_stop_after_the_messages_before_it, pair) {
  auto w = live.sys.spawn<watcher>();
  w.ask<&watcher::watch>(c).get();
  auto f = c.ask<&clerk::withdraw>(10);
  c.stop();
  BOOST_TEST(f.get() == 90);
  BOOST_TEST(
    eventually(5s, [&] { return w.ask<&watcher::count>().get() == 1; }));
  BOOST_TEST(w.ask<&watcher::last>().get().reason.kind
             == troupe::stop_reason::normal);
}

BOOST_FIXTURE_TEST_CASE(of_another_node_is_reached_through_this_one, pair) {
  node_process second;
  auto n2 = live.sys.connect(second.address());
  auto far = live.sys.spawn<account>(on_node{n2}, 50);
  auto middle = live.sys.spawn<clerk>(on_node{n}, far);
  BOOST_TEST(middle.ask<&clerk::withdraw>(20).get() == 30);
  BOOST_TEST(middle.ask<&clerk::yours>().get().ask<&account::pid>().get()
             == second.pid());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_name)

BOOST_FIXTURE_TEST_CASE(leads_to_what_was_published, pair) {
  c.ask<&clerk::publish>("clerk").get();
  auto found = n.lookup<clerk>("clerk");
  BOOST_TEST(found.ask<&clerk::pid>().get() == process.pid());
  BOOST_TEST((found == c));
}

BOOST_FIXTURE_TEST_CASE(that_nobody_has_is_an_error_that_says_so, pair) {
  BOOST_TEST(test::contains(test::text_thrown<troupe::bad_argument>(
                              [&] { (void)n.lookup<clerk>("nobody"); }),
                            "\"nobody\""));
}

BOOST_FIXTURE_TEST_CASE(of_another_class_is_an_error_that_names_both, pair) {
  c.ask<&clerk::publish>("clerk").get();
  const auto text = test::text_thrown<troupe::bad_argument>(
    [&] { (void)n.lookup<account>("clerk"); });
  BOOST_TEST(test::contains(text, "clerk"));
  BOOST_TEST(test::contains(text, "account"));
}

BOOST_FIXTURE_TEST_CASE(keeps_its_actor_alive, pair) {
  c.ask<&clerk::publish_account>("account", 9).get();
  BOOST_TEST(n.lookup<account>("account").ask<&account::take>(1).get() == 8);
  BOOST_TEST(n.lookup<account>("account").ask<&account::take>(1).get() == 7);
}

BOOST_FIXTURE_TEST_CASE(of_an_actor_that_ended_is_free, pair) {
  auto d = live.sys.spawn<clerk>(on_node{n});
  d.ask<&clerk::publish>("d").get();
  d.stop();
  BOOST_TEST(eventually(5s, [&] {
    try {
      (void)n.lookup<clerk>("d");
      return false;
    } catch (const troupe::bad_argument&) {
      return true;
    }
  }));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_node_that_dies)

BOOST_FIXTURE_TEST_CASE(fails_all_pending_calls_at_once, pair) {
  c.tell<&clerk::sleeps>(60'000);
  std::vector<troupe::future<int>> calls;
  for (int i = 0; i < 1000; ++i)
    calls.push_back(c.ask<&clerk::pid>());
  process.signal(SIGKILL);
  const auto began = std::chrono::steady_clock::now();
  for (auto& f : calls)
    BOOST_CHECK_THROW(f.get(), troupe::node_lost);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
}

BOOST_FIXTURE_TEST_CASE(is_an_end_for_monitors_of_its_actors, pair) {
  auto w = live.sys.spawn<watcher>();
  w.ask<&watcher::watch>(c).get();
  process.signal(SIGKILL);
  BOOST_TEST(
    eventually(5s, [&] { return w.ask<&watcher::count>().get() == 1; }));
  const auto d = w.ask<&watcher::last>().get();
  BOOST_TEST(d.id == c.id());
  BOOST_TEST(d.reason.kind == troupe::stop_reason::failed);
  BOOST_CHECK_THROW(c.ask<&clerk::pid>().get(), troupe::node_lost);
}

BOOST_FIXTURE_TEST_CASE(is_found_by_patience_when_it_is_frozen, pair) {
  live_system impatient{
    test::with_keys({.workers = 2, .heartbeat = 50ms, .patience = 300ms})};
  auto m = impatient.sys.connect(process.address());
  auto d = impatient.sys.spawn<clerk>(on_node{m});
  process.freeze();
  const auto began = std::chrono::steady_clock::now();
  BOOST_CHECK_THROW(d.ask<&clerk::pid>().get(), troupe::node_lost);
  BOOST_TEST((std::chrono::steady_clock::now() - began < 3s));
  process.signal(SIGCONT);
}

BOOST_FIXTURE_TEST_CASE(and_comes_back_is_another_to_old_handles, pair) {
  const auto address = process.address();
  const auto before = n.incarnation();
  process.signal(SIGKILL);
  process.wait();
  BOOST_TEST(eventually(5s, [&] { return !n.is_up(); }));
  BOOST_CHECK_THROW((void)live.sys.spawn<account>(on_node{n}, 1),
                    troupe::node_lost);
  node_process again{{}, address};
  BOOST_TEST(n.await_up(10s));
  BOOST_TEST(n.incarnation() != before);
  auto fresh = live.sys.spawn<clerk>(on_node{n});
  BOOST_TEST(fresh.ask<&clerk::pid>().get() == again.pid());
  BOOST_CHECK_THROW(c.ask<&clerk::pid>().get(), troupe::node_lost);
}

BOOST_AUTO_TEST_CASE(lets_a_supervisor_start_its_child_on_it_again) {
  auto process = std::make_unique<node_process>();
  const auto address = process->address();
  live_system live{test::with_keys()};
  auto n = live.sys.connect(address, {.backoff = 20ms, .backoff_max = 50ms});
  auto sup = live.sys.supervise({.strategy = troupe::one_for_one,
                                 .intensity = 1'000'000,
                                 .period = 10s,
                                 .children = {troupe::child<clerk>(
                                   "clerk", troupe::permanent, on_node{n})}});
  auto c = sup.child<clerk>("clerk");
  BOOST_TEST(c.ask<&clerk::pid>().get() == process->pid());
  process.reset();
  process = std::make_unique<node_process>(std::vector<std::string>{}, address);
  BOOST_TEST(eventually(10s, [&] {
    try {
      return c.within(1s).ask<&clerk::pid>().get() == process->pid();
    } catch (const troupe::error&) {
      return false;
    }
  }));
}

BOOST_AUTO_TEST_SUITE_END()

TROUPE_TEST_MAIN
