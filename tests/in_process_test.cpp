// SPDX-License-Identifier: MIT
// in_process: actors in processes of their own, and what a death costs.
#define BOOST_TEST_MODULE in_process
#define BOOST_TEST_NO_MAIN
#include "support/fixture.hpp"
#include "support/huge_bytes.hpp"
#include "troupe/serialize.hpp"

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::huge_bytes;
using test::live_system;

bool maps_memory(const std::string& name) {
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);)
    if (line.find(name) != std::string::npos)
      return true;
  return false;
}

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

private:
  int balance_ = 0;
};

// A string that knows whether it was decoded out of a sealed memfd.
struct seen_by_block {
  std::string bytes;
  bool by_block = false;

  template <class Archive>
  void serialize(Archive& ar) {
    ar(bytes);
    if (Archive::is_loading::value)
      by_block = maps_memory("memfd:troupe ");
  }
};

class teller : public troupe::actor {
public:
  teller() = default;
  explicit teller(troupe::ref<account> a) : account_(std::move(a)) {}

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

  void crash(int signal) { ::raise(signal); }
  void leave(int code) { ::_exit(code); }
  int throws(int x) {
    if (x == 0)
      throw std::out_of_range{"zero"};
    throw point{}; // not an exception
  }
  void spin() {
    for (;;)
      ::usleep(1000); // sleeps: a method that never returns
  }
  void compute(int ms) {
    const auto until = std::chrono::steady_clock::now()
                       + std::chrono::milliseconds{ms};
    while (std::chrono::steady_clock::now() < until) {}
  }
  // What came, and whether it was read where the parent had written it.
  std::pair<std::string, bool> twice(std::string s) const {
    return {s + s, maps_memory("memfd:troupe.block")};
  }
  std::size_t kept_bytes() const { return kept_.size(); }
  void keep(std::string s) { kept_ += s; }
  int loans() const { return maps_memory("memfd:troupe.block") ? 1 : 0; }
  seen_by_block seen_there(std::size_t size) const {
    return {std::string(size, 'r')};
  }
  huge_bytes huge(std::size_t size) const { return huge_bytes(size); }
  std::size_t size_of(const huge_bytes& b) const { return b.size(); }
  void bloat() {
    std::vector<std::string> all;
    for (;;)
      all.emplace_back(std::size_t{1} << 20, 'x');
  }
  void quit() { stop(); }
  troupe::future<int> later() {
    auto p =
      std::make_shared<troupe::promise<int>>(troupe::answer_later<int>());
    auto f = p->get_future();
    after(5ms, [p] { p->set_value(5); });
    return f;
  }

private:
  troupe::ref<account> account_;
  std::vector<int> seen_;
  std::string kept_;
};

struct refuses {
  explicit refuses(int x) { throw std::invalid_argument{std::to_string(x)}; }
  int x() { return 1; }
};

class watcher : public troupe::actor {
public:
  void watch(troupe::ref<teller> t) { monitor(t); }
  void on_down(troupe::down d) { downs_.push_back(std::move(d)); }
  std::size_t count() const { return downs_.size(); }
  troupe::down last() const { return downs_.back(); }

private:
  std::vector<troupe::down> downs_;
};

std::size_t open_descriptors() {
  std::size_t n = 0;
  for ([[maybe_unused]] auto& e :
       std::filesystem::directory_iterator{"/proc/self/fd"})
    ++n;
  return n;
}

bool has_children() {
  siginfo_t info{};
  return ::waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

bool is_gone(int pid) {
  return ::kill(pid, 0) != 0;
}

// An actor in a process, and an account in this one.
struct office {
  live_system live;
  troupe::ref<account> acc = live.sys.spawn<account>(100);
  troupe::ref<teller> t = live.sys.spawn<teller>(troupe::in_process{}, acc);
};

} // namespace

BOOST_AUTO_TEST_SUITE(an_actor_in_a_process)

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto a = live.sys.spawn<account>(troupe::in_process{}, 5);
  BOOST_TEST(a.ask<&account::take>(2).get() == 3);
  BOOST_TEST(a.ask<&account::pid>().get() != ::getpid());
}

BOOST_FIXTURE_TEST_CASE(takes_and_gives_plain_structs, office) {
  const auto p = t.ask<&teller::moved>(point{1, "p"}, 2).get();
  BOOST_TEST((p == point{3, "p!"}));
}

BOOST_FIXTURE_TEST_CASE(sees_the_messages_of_a_sender_in_order, office) {
  std::vector<int> sent;
  for (int i = 0; i < 10'000; ++i) {
    t.tell<&teller::note>(i);
    sent.push_back(i);
  }
  BOOST_TEST(t.ask<&teller::seen>().get() == sent,
             boost::test_tools::per_element());
}

BOOST_FIXTURE_TEST_CASE(asks_actors_of_its_parent, office) {
  BOOST_TEST(t.ask<&teller::withdraw>(30).get() == 70);
  BOOST_TEST(acc.ask<&account::balance>().get() == 70);
  BOOST_CHECK_THROW(t.ask<&teller::withdraw>(300).get(), std::domain_error);
}

BOOST_FIXTURE_TEST_CASE(may_block_on_an_answer, office) {
  for (int i = 0; i < 50; ++i)
    t.ask<&teller::take_blocking>(1).get();
  BOOST_TEST(acc.ask<&account::balance>().get() == 50);
}

BOOST_FIXTURE_TEST_CASE(hands_out_actors_of_its_own, office) {
  auto made = t.ask<&teller::open>(7).get();
  BOOST_TEST(made.ask<&account::take>(1).get() == 6);
  BOOST_TEST(made.ask<&account::pid>().get() == t.ask<&teller::pid>().get());
}

BOOST_FIXTURE_TEST_CASE(gives_a_handle_back_as_itself, office) {
  BOOST_TEST((t.ask<&teller::yours>().get() == acc));
}

BOOST_FIXTURE_TEST_CASE(answers_later, office) {
  BOOST_TEST(t.ask<&teller::later>().get() == 5);
}

BOOST_FIXTURE_TEST_CASE(reports_exceptions_with_type_and_text, office) {
  try {
    t.ask<&teller::throws>(0).get();
    BOOST_FAIL("nothing was thrown");
  } catch (const std::out_of_range& e) {
    BOOST_TEST(std::string{e.what()} == "zero");
  }
  try {
    t.ask<&teller::throws>(1).get();
    BOOST_FAIL("nothing was thrown");
  } catch (const troupe::task_failed& e) {
    BOOST_TEST(e.type().find("point") != std::string::npos);
    BOOST_TEST(!e.node().empty());
  }
}

BOOST_FIXTURE_TEST_CASE(takes_no_functions, office) {
  BOOST_CHECK_THROW(t.ask([](teller&) { return 1; }).get(),
                    troupe::not_sendable);
  const auto before = live.sys.dead_letters();
  t.tell([](teller&) {});
  BOOST_TEST(live.sys.dead_letters() == before + 1);
}

BOOST_FIXTURE_TEST_CASE(keeps_to_deadlines, office) {
  t.tell<&teller::spin>();
  BOOST_CHECK_THROW(t.within(20ms).ask<&teller::pid>().get(), troupe::timeout);
  t.kill();
}

BOOST_FIXTURE_TEST_CASE(reads_large_arguments_where_they_were_written, office) {
  for (std::size_t n : {std::size_t{100}, (std::size_t{1} << 20) + 1,
                        std::size_t{5} << 20, std::size_t{5} << 20}) {
    std::string text(n, 'x');
    text[n / 2] = 'y';
    const auto [back, by_block] = t.ask<&teller::twice>(text).get();
    BOOST_TEST((back == text + text), n);
    BOOST_TEST(by_block == (n > 100));
  }
  // The mapping stays for the next one, and goes when there is none.
  BOOST_TEST(t.ask<&teller::loans>().get() == 1);
  BOOST_TEST(
    eventually(10s, [&] { return t.ask<&teller::loans>().get() == 0; }));
}

BOOST_FIXTURE_TEST_CASE(reads_large_messages_in_order, office) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < 40; ++i) {
    const auto n = i % 3 == 0 ? 100 : (std::size_t{1} << 20) + i;
    sum += n;
    t.tell<&teller::keep>(std::string(n, 'x'));
    while (i % 8 == 7 && t.ask<&teller::kept_bytes>().get() != sum) {}
  }
  BOOST_TEST(t.ask<&teller::kept_bytes>().get() == sum);
}

BOOST_FIXTURE_TEST_CASE(answers_large_results_in_one_piece, office) {
  const auto small = t.ask<&teller::seen_there>(100u).get();
  BOOST_TEST(!small.by_block);
  const auto n = (std::size_t{3} << 20) + 1;
  const auto large = t.ask<&teller::seen_there>(n).get();
  BOOST_TEST(large.by_block);
  BOOST_TEST((large.bytes == std::string(n, 'r')));
  BOOST_TEST(eventually(5s, [] { return !maps_memory("memfd:troupe "); }));
}

BOOST_FIXTURE_TEST_CASE(b07_refuses_what_is_too_large_by_name, office) {
  const auto refuses = [](auto what) {
    try {
      (void)what();
      BOOST_FAIL("it went through");
    } catch (const troupe::bad_argument& e) {
      BOOST_TEST(std::string{e.what()}.find("too large") != std::string::npos,
                 e.what());
    }
  };
  for (auto n : {test::past_2_gib, test::past_4_gib}) {
    refuses([&] { return t.ask<&teller::size_of>(huge_bytes(n)).get(); });
    refuses([&] { return t.ask<&teller::huge>(n).get(); });
  }
  BOOST_TEST(t.ask<&teller::withdraw>(30).get() == 70);
}

BOOST_AUTO_TEST_CASE(throws_what_its_constructor_throws) {
  live_system live;
  BOOST_CHECK_THROW((void)live.sys.spawn<refuses>(troupe::in_process{}, 3),
                    std::invalid_argument);
}

BOOST_AUTO_TEST_CASE(is_no_handle_for_a_task_of_a_pool) {
  live_system live;
  auto a = live.sys.spawn<account>(5);
  troupe::process_pool pool{live.sys, {.workers = 1, .spares = 0}};
  BOOST_CHECK_THROW(
    (void)pool.submit([](troupe::ref<account> r) { return r.id(); }, a),
    troupe::not_sendable);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_end)

BOOST_FIXTURE_TEST_CASE(of_the_process_fails_its_asks_with_a_certificate,
                        office) {
  const auto pid = t.ask<&teller::pid>().get();
  t.tell<&teller::crash>(SIGSEGV);
  try {
    for (;;)
      t.ask<&teller::pid>().get();
  } catch (const troupe::worker_died& e) {
    BOOST_TEST(e.why().signal == SIGSEGV);
    BOOST_TEST(e.why().pid == pid);
    BOOST_TEST(e.why().task.find("teller") != std::string::npos);
  } catch (const troupe::actor_stopped&) {
    // It came after the news.
  }
  BOOST_TEST(eventually(5s, [&] { return !t.is_alive(); }));
}

BOOST_FIXTURE_TEST_CASE(of_the_process_reaches_its_monitors, office) {
  auto w = live.sys.spawn<watcher>();
  w.ask<&watcher::watch>(t).get();
  t.tell<&teller::leave>(9);
  BOOST_TEST(
    eventually(5s, [&] { return w.ask<&watcher::count>().get() == 1; }));
  const auto d = w.ask<&watcher::last>().get();
  BOOST_TEST(d.id == t.id());
  BOOST_TEST(d.reason.kind == troupe::stop_reason::failed);
  BOOST_TEST(d.reason.text.find("exited with 9") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(by_stop_comes_after_the_messages_before_it, office) {
  auto w = live.sys.spawn<watcher>();
  w.ask<&watcher::watch>(t).get();
  const auto pid = t.ask<&teller::pid>().get();
  auto f = t.ask<&teller::withdraw>(10);
  t.stop();
  BOOST_TEST(f.get() == 90);
  BOOST_TEST(
    eventually(5s, [&] { return w.ask<&watcher::count>().get() == 1; }));
  BOOST_TEST(w.ask<&watcher::last>().get().reason.kind
             == troupe::stop_reason::normal);
  BOOST_TEST(eventually(5s, [&] { return is_gone(pid); }));
}

BOOST_FIXTURE_TEST_CASE(by_itself_is_normal, office) {
  auto w = live.sys.spawn<watcher>();
  w.ask<&watcher::watch>(t).get();
  t.tell<&teller::quit>();
  BOOST_TEST(
    eventually(5s, [&] { return w.ask<&watcher::count>().get() == 1; }));
  BOOST_TEST(w.ask<&watcher::last>().get().reason.kind
             == troupe::stop_reason::normal);
}

BOOST_FIXTURE_TEST_CASE(by_kill_is_by_force_if_need_be, office) {
  const auto pid = t.ask<&teller::pid>().get();
  t.tell<&teller::spin>();
  t.kill();
  BOOST_TEST(eventually(5s, [&] { return !t.is_alive(); }));
  BOOST_TEST(eventually(5s, [&] { return is_gone(pid); }));
}

BOOST_FIXTURE_TEST_CASE(comes_when_the_last_handle_goes, office) {
  const auto pid = t.ask<&teller::pid>().get();
  t = {};
  BOOST_TEST(eventually(5s, [&] { return is_gone(pid); }));
}

BOOST_AUTO_TEST_CASE(comes_when_it_takes_too_much_memory) {
  live_system live;
  auto t =
    live.sys.spawn<teller>(troupe::in_process{.memory_max_bytes = 64u << 20});
  auto f = t.ask<&teller::bloat>();
  try {
    f.get();
    BOOST_FAIL("it went on");
  } catch (const troupe::worker_died& e) {
    BOOST_TEST(e.why().out_of_memory);
    BOOST_TEST(e.why().reason.find("memory") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(comes_when_it_takes_too_much_cpu_time) {
  live_system live;
  auto t = live.sys.spawn<teller>(troupe::in_process{.cpu_time_max = 1s});
  try {
    t.ask<&teller::compute>(20'000).get();
    BOOST_FAIL("it went on");
  } catch (const troupe::worker_died& e) {
    BOOST_TEST(e.why().reason.find("CPU time") != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(b28_of_one_that_was_stopped_comes_within_the_patience) {
  live_system live;
  auto t = live.sys.spawn<teller>(troupe::in_process{.heartbeat = 200ms});
  const auto pid = t.ask<&teller::pid>().get();
  BOOST_TEST(::kill(pid, SIGSTOP) == 0);
  try {
    t.ask<&teller::pid>().get();
    BOOST_FAIL("it answered");
  } catch (const troupe::worker_died& e) {
    BOOST_TEST(e.why().reason.find("no sign of life") != std::string::npos);
  }
  BOOST_TEST(eventually(5s, [&] { return is_gone(pid); }));
  BOOST_TEST(eventually(5s, [&] { return !t.is_alive(); }));
}

BOOST_AUTO_TEST_CASE(does_not_come_to_one_that_computes_long) {
  live_system live;
  auto t = live.sys.spawn<teller>(troupe::in_process{.heartbeat = 1s});
  const auto pid = t.ask<&teller::pid>().get();
  t.ask<&teller::compute>(3'000).get();
  BOOST_TEST(t.ask<&teller::pid>().get() == pid);
}

BOOST_AUTO_TEST_CASE(is_followed_by_another_process_under_a_supervisor) {
  live_system live;
  auto acc = live.sys.spawn<account>(100);
  auto sup = live.sys.supervise(
    {.strategy = troupe::one_for_one,
     .intensity = 100,
     .children = {troupe::child<teller>("teller", troupe::permanent,
                                        troupe::in_process{}, acc)}});
  auto t = sup.child<teller>("teller");
  auto pid = t.ask<&teller::pid>().get();
  for (int i = 0; i < 5; ++i) {
    t.tell<&teller::crash>(SIGKILL);
    auto next = pid;
    BOOST_TEST(eventually(10s, [&] {
      try {
        next = t.ask<&teller::pid>().get();
      } catch (const troupe::error&) {
        return false; // it was still the old one
      }
      return next != pid;
    }));
    pid = next;
    BOOST_TEST(t.ask<&teller::withdraw>(1).get() == 99 - i);
  }
}

BOOST_AUTO_TEST_CASE(of_the_system_ends_all_of_them) {
  std::vector<int> pids;
  {
    live_system live;
    std::vector<troupe::ref<teller>> all;
    for (int i = 0; i < 4; ++i)
      all.push_back(live.sys.spawn<teller>(troupe::in_process{}));
    for (auto& t : all)
      pids.push_back(t.ask<&teller::pid>().get());
  }
  for (auto pid : pids)
    BOOST_TEST(is_gone(pid));
}

BOOST_AUTO_TEST_CASE(leaves_nothing_behind) {
  // The first system makes what stays: the logger, say.
  { const office first; }
  const auto before = open_descriptors();
  for (int i = 0; i < 10; ++i) {
    const office o;
    BOOST_TEST(o.t.ask<&teller::withdraw>(1).get() == 99);
  }
  BOOST_TEST(open_descriptors() == before);
  BOOST_TEST(!has_children());
}

BOOST_AUTO_TEST_SUITE_END()

int main(int argc, char** argv) {
  return troupe::run(argc, argv, [](troupe::system&, std::span<char*> args) {
    return boost::unit_test::unit_test_main(
      &init_unit_test, static_cast<int>(args.size()), args.data());
  });
}
