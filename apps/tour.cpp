// SPDX-License-Identifier: MIT
// tour: what Troupe does, a few lines at a time, each run before your eyes.
//
// One function per part, listed in `parts`; add a part there. The lines that a
// part shows are those that it runs: a test compares the two.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iterator>
#include <numeric>
#include <ranges>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

#include <CLI/CLI.hpp>

#include <troupe/troupe.hpp>

using namespace std::chrono_literals;

namespace {

// -- the guide ----------------------------------------------------------------

class guide {
public:
  guide(troupe::system& system, bool fast, bool in_colour)
    : sys(system),
      fast_(fast),
      in_colour_(in_colour) {}

  void open(std::size_t number, std::size_t of, const char* title) {
    std::printf("\n%s[%zu/%zu] %s%s\n", bold(), number, of, title, plain());
    pause(400ms);
  }

  void say(const char* text) {
    std::printf("%s\n", text);
    pause(600ms);
  }

  /// Shows code; every line of it stands again, as code, in the part.
  void code(const char* text) {
    std::printf("%s", dim());
    for (auto* at = text; *at != '\0'; ++at)
      std::printf(*at == '\n' ? "\n    | " : "%c", *at);
    std::printf("%s\n", plain());
    pause(1200ms);
  }

  /// What came out of it.
  void found(const std::string& text) {
    std::printf("    => ");
    for (char c : text)
      std::printf(c == '\n' ? "\n       " : "%c", c);
    std::printf("\n");
    pause(500ms);
  }

  troupe::system& sys;

private:
  const char* bold() const { return in_colour_ ? "\033[1m" : ""; }
  const char* dim() const { return in_colour_ ? "\033[36m" : ""; }
  const char* plain() const { return in_colour_ ? "\033[0m" : ""; }

  void pause(std::chrono::milliseconds d) const {
    std::fflush(stdout);
    if (!fast_)
      std::this_thread::sleep_for(d);
  }

  bool fast_, in_colour_;
};

template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const std::exception& e) {
    return e.what();
  }
  return "no error";
}

// -- the cast -----------------------------------------------------------------

class counter {
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }
  void crash() { throw std::runtime_error{"out of luck"}; }

private:
  int value_ = 0;
};

class account {
public:
  void put(int n) { balance_ += n; }
  int balance() const { return balance_; }
  int take(int n) {
    if (n > balance_)
      throw std::domain_error{"only " + std::to_string(balance_) + " left"};
    balance_ -= n;
    return n;
  }

private:
  int balance_ = 0;
};

class teller {
public:
  explicit teller(troupe::ref<account> a) : account_(std::move(a)) {}
  troupe::task<int> withdraw_half() {
    int have = co_await account_.ask<&account::balance>();
    co_return co_await account_.ask<&account::take>(have / 2);
  }
  int process() const { return ::getpid(); }

private:
  troupe::ref<account> account_;
};

class friendly {
public:
  void meet(troupe::ref<friendly> other) { other_ = std::move(other); }
  troupe::task<int> greet() {
    co_return co_await other_.ask<&friendly::greet_back>();
  }
  troupe::task<int> greet_back() {
    co_return co_await other_.ask<&friendly::years>();
  }
  int years() const { return 7; }

private:
  troupe::ref<friendly> other_;
};

class sleeper {
public:
  int nap(std::chrono::milliseconds d) {
    std::this_thread::sleep_for(d);
    return 1;
  }
};

long factorial(int n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}

// Ends its process when `b` is 0.
int divide(int a, int b) {
  if (b == 0)
    std::raise(SIGFPE);
  return a / b;
}

// -- the parts ----------------------------------------------------------------

void actors(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A plain class with an int in it. No mutex, no base class, no macro.\n"
    "Spawned, its methods are its messages, and it takes one at a time.");
  g.code(R"(
auto c = sys.spawn<counter>();
std::vector<std::jthread> threads;
for (int t = 0; t < 4; ++t)
  threads.emplace_back([c] {
    for (int i = 0; i < 1000; ++i)
      c.tell<&counter::add>(1);)");
  auto c = sys.spawn<counter>();
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([c] {
        for (int i = 0; i < 1000; ++i)
          c.tell<&counter::add>(1);
      });
  }
  g.found("4 threads added 1 a thousand times: "
          + std::to_string(c.ask<&counter::value>().get()));
}

void asks(guide& g) {
  auto& sys = g.sys;
  g.say(
    "An ask gives a future. It settles, whatever happens: with the value,\n"
    "or with the exception that the method threw, as itself.");
  g.code(R"(
auto a = sys.spawn<account>();
a.tell<&account::put>(100);
int got = a.ask<&account::take>(30).get();
a.ask<&account::take>(5000).get();)");
  auto a = sys.spawn<account>();
  a.tell<&account::put>(100);
  int got = a.ask<&account::take>(30).get();
  g.found("took " + std::to_string(got));
  g.found("std::domain_error: "
          + error_of([&] { a.ask<&account::take>(5000).get(); }));
}

void coroutines(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A method that is a coroutine waits for others without a thread, and\n"
    "its actor takes no other message meanwhile: what a mutex kept, it "
    "keeps.");
  g.code(R"(
troupe::task<int> withdraw_half() {
  int have = co_await account_.ask<&account::balance>();
  co_return co_await account_.ask<&account::take>(have / 2);
}
int half = t.ask<&teller::withdraw_half>().get();)");
  auto a = sys.spawn<account>();
  a.tell<&account::put>(80);
  auto t = sys.spawn<teller>(a);
  int half = t.ask<&teller::withdraw_half>().get();
  g.found("withdrew " + std::to_string(half) + " of 80");
}

void deadlock(guide& g) {
  auto& sys = g.sys;
  g.say(
    "Two actors that wait for each other would wait for ever. It is found\n"
    "when the circle closes, and the error names it.");
  g.code(R"(
one.ask<&friendly::meet>(two).get();
two.ask<&friendly::meet>(one).get();
troupe::task<int> greet_back() {
  co_return co_await other_.ask<&friendly::years>();
}
one.ask<&friendly::greet>().get();)");
  auto one = sys.spawn<friendly>();
  auto two = sys.spawn<friendly>();
  one.ask<&friendly::meet>(two).get();
  two.ask<&friendly::meet>(one).get();
  g.found("troupe::deadlock: "
          + error_of([&] { one.ask<&friendly::greet>().get(); }));
  one.stop(); // they hold each other's handles
  two.stop();
}

void deadlines(guide& g) {
  auto& sys = g.sys;
  g.say(
    "Every ask has a deadline: 30 s, or what you say. A late answer is an\n"
    "error on time.");
  g.code(R"(
auto s = sys.spawn<sleeper>();
s.within(50ms).ask<&sleeper::nap>(150ms).get();)");
  auto s = sys.spawn<sleeper>();
  auto began = std::chrono::steady_clock::now();
  auto error =
    error_of([&] { s.within(50ms).ask<&sleeper::nap>(150ms).get(); });
  auto took = std::chrono::duration_cast<std::chrono::milliseconds>(
    std::chrono::steady_clock::now() - began);
  g.found("troupe::timeout after " + std::to_string(took.count())
          + " ms: " + error);
}

void dead_letters(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A message to an actor that has stopped is not silence: it is counted,\n"
    "and you may watch. An ask fails at once.");
  g.code(R"(
c.stop();
auto before = sys.dead_letters();
c.tell<&counter::add>(1);
c.ask<&counter::value>().get();)");
  auto c = sys.spawn<counter>();
  c.stop();
  auto before = sys.dead_letters();
  auto error = error_of([&] {
    c.tell<&counter::add>(1);
    c.ask<&counter::value>().get();
  });
  g.found("troupe::actor_stopped: " + error);
  g.found("dead letters: " + std::to_string(sys.dead_letters() - before));
}

void thread_pool(guide& g) {
  auto& sys = g.sys;
  g.say(
    "Plain functions run on the actors' own workers, in the words of\n"
    "Python's concurrent.futures; a map is lazy and keeps the order.");
  g.code(R"(
troupe::thread_pool pool{sys, {.workers = 4}};
auto f = pool.submit([](int x) { return x * x; }, 7);
for (long y : pool.map(troupe::fn<&factorial>, std::views::iota(1, 11)))
  line += " " + std::to_string(y);
auto report = pool.shutdown(troupe::drain, 10s);)");
  troupe::thread_pool pool{sys, {.workers = 4}};
  auto f = pool.submit([](int x) { return x * x; }, 7);
  std::string line;
  for (long y : pool.map(troupe::fn<&factorial>, std::views::iota(1, 11)))
    line += " " + std::to_string(y);
  g.found("7 * 7 = " + std::to_string(f.get()));
  g.found("1! to 10!:" + line);
  auto report = pool.shutdown(troupe::drain, 10s);
  g.found("shutdown: " + to_string(report));
}

void processes(guide& g) {
  auto& sys = g.sys;
  g.say(
    "The same words on worker processes. One that crashes costs the task\n"
    "that it was at, which gets the death certificate; the next is warm.");
  g.code(R"(
troupe::process_pool pool{sys, {.workers = 2, .deadline = 2s}};
auto good = pool.submit(troupe::fn<&divide>, 84, 2);
auto bad = pool.submit(troupe::fn<&divide>, 84, 0);
auto why = error_of([&] { bad.get(); });)");
  troupe::process_pool pool{sys, {.workers = 2, .deadline = 2s}};
  auto good = pool.submit(troupe::fn<&divide>, 84, 2);
  auto bad = pool.submit(troupe::fn<&divide>, 84, 0);
  auto why = error_of([&] { bad.get(); });
  g.found("84 / 2 = " + std::to_string(good.get()));
  g.found(why.substr(0, why.find("\n  it was at")));
}

void remote_actors(guide& g) {
  auto& sys = g.sys;
  g.say(
    "An actor in a process of its own has the same handle; handles that are\n"
    "passed to it reach back.");
  g.code(R"(
auto a = sys.spawn<account>();
a.tell<&account::put>(60);
auto t = sys.spawn<teller>(troupe::in_process{}, a);
int half = t.ask<&teller::withdraw_half>().get();
int there = t.ask<&teller::process>().get();)");
  auto a = sys.spawn<account>();
  a.tell<&account::put>(60);
  auto t = sys.spawn<teller>(troupe::in_process{}, a);
  int half = t.ask<&teller::withdraw_half>().get();
  int there = t.ask<&teller::process>().get();
  g.found("half of it: " + std::to_string(half) + ", withdrawn by process "
          + std::to_string(there) + "; this is " + std::to_string(::getpid()));
}

void nodes(guide& g) {
  auto& sys = g.sys;
  g.say(
    "Or on another machine; here it is this one. A node is this program, "
    "started\nas `node --listen`; who is let in is said by keys.");
  g.code(R"(
auto there = troupe::launch_local(sys, 2);
auto far = sys.spawn<account>(troupe::on_node{there[0].node()});
far.tell<&account::put>(60);)");
  auto there = troupe::launch_local(sys, 2);
  auto far = sys.spawn<account>(troupe::on_node{there[0].node()});
  far.tell<&account::put>(60);
  g.found("its balance, asked over an encrypted connection: "
          + std::to_string(far.ask<&account::balance>().get()));
  g.say(
    "Tasks go to a node_pool. One of the two dies; what may be done again is "
    "done\nby the other.");
  g.code(R"(
troupe::node_pool pool{sys, {.nodes = {there[0].node(), there[1].node()}}};
there[0].kill();
int sum = 0;
for (int y : pool.map(troupe::idempotent(square), std::views::iota(1, 101)))
  sum += y;)");
  constexpr auto square = [](int x) { return x * x; };
  troupe::node_pool pool{sys, {.nodes = {there[0].node(), there[1].node()}}};
  there[0].kill();
  int sum = 0;
  for (int y : pool.map(troupe::idempotent(square), std::views::iota(1, 101)))
    sum += y;
  g.found("1 + 4 + 9 + ... + 10000 = " + std::to_string(sum));
  g.found("and the account: "
          + error_of([&] { (void)far.ask<&account::balance>().get(); }));
}

void sharing(guide& g) {
  auto& sys = g.sys;
  g.say(
    "What others share by a lock has an actor of its own: functions visit\n"
    "the value, one at a time. The same goes for semaphores, events, latches,\n"
    "barriers, pipes and topics.");
  g.code(R"(
troupe::guarded<std::vector<int>> list{sys};
for (int i = 1; i <= 4; ++i)
  list.post([i](auto& v) { v.push_back(i * i); });
int sum = list.with(add_up).get();)");
  auto add_up = [](std::vector<int>& v) {
    return std::accumulate(v.begin(), v.end(), 0);
  };
  troupe::guarded<std::vector<int>> list{sys};
  for (int i = 1; i <= 4; ++i)
    list.post([i](auto& v) { v.push_back(i * i); });
  int sum = list.with(add_up).get();
  g.found("1 + 4 + 9 + 16 = " + std::to_string(sum));
}

void queues(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A queue ends when it is closed and empty, and an item that its consumer\n"
    "failed at comes back: out is what was in.");
  g.code(R"(
troupe::queue<int> q{sys, {.capacity = 10}};
q.put_all({1, 2, 3}).get();
q.close().get();
try {
  auto first = q.take().get();
  throw std::runtime_error{"not today"};
} catch (const std::runtime_error&) {}
for (int x : q.each())
  line += " " + std::to_string(x);
q.join().get();)");
  std::string line;
  troupe::queue<int> q{sys, {.capacity = 10}};
  q.put_all({1, 2, 3}).get();
  q.close().get();
  try {
    auto first = q.take().get();
    throw std::runtime_error{"not today"};
  } catch (const std::runtime_error&) {}
  for (int x : q.each())
    line += " " + std::to_string(x);
  q.join().get();
  g.found("came out:" + line);
}

void supervision(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A supervisor starts its children anew when they fail, in OTP's words.\n"
    "The handle stays good; a call in between waits for the next one.");
  g.code(R"(
auto sup = sys.supervise({.strategy = troupe::one_for_one, .children = {
  troupe::child<counter>("counter", troupe::permanent)}});
auto c = sup.child<counter>("counter");
c.tell<&counter::add>(7);
c.tell<&counter::crash>();
while (troupe::starts(c) == 1)
  std::this_thread::yield();
int value = c.ask<&counter::value>().get();)");
  // clang-format off
  auto sup = sys.supervise({.strategy = troupe::one_for_one, .children = {
    troupe::child<counter>("counter", troupe::permanent)}});
  // clang-format on
  auto c = sup.child<counter>("counter");
  c.tell<&counter::add>(7);
  c.tell<&counter::crash>();
  while (troupe::starts(c) == 1)
    std::this_thread::yield();
  int value = c.ask<&counter::value>().get();
  auto tree = sup.tree();
  tree.pop_back(); // the last line's end
  g.found("the new one begins at " + std::to_string(value) + "\n" + tree);
  sup.stop().get();
}

void failures(guide& g) {
  auto& sys = g.sys;
  g.say(
    "No failure is lost: a tell's ends its actor and is logged, a result that\n"
    "nobody looks at is listed at the end, and one observer sees both.");
  g.code(R"(
troupe::on_failure([&](const troupe::failure& f) {
  seen = f.name + ", " + f.where + ": " + f.type + ": " + f.text;
});
auto c = sys.spawn<counter>();
c.tell<&counter::crash>();)");
  std::string seen;
  troupe::on_failure([&](const troupe::failure& f) {
    seen = f.name + ", " + f.where + ": " + f.type + ": " + f.text;
  });
  auto c = sys.spawn<counter>();
  c.tell<&counter::crash>();
  while (c.is_alive())
    std::this_thread::yield();
  troupe::on_failure({}); // after this it is not called any more
  g.found(seen);
}

// Moves 1 from a random account to another, `times` times.
class mover {
public:
  using accounts = std::vector<troupe::ref<account>>;
  troupe::task<int> move(accounts all, int times, unsigned seed) {
    int moved = 0;
    for (int i = 0; i < times; ++i) {
      seed = seed * 1664525u + 1013904223u;
      auto& from = all[(seed >> 8) % all.size()];
      auto& to = all[(seed >> 20) % all.size()];
      moved += co_await from.ask<&account::take>(1);
      to.tell<&account::put>(1);
    }
    co_return moved;
  }
};

void bank(guide& g) {
  auto& sys = g.sys;
  g.say(
    "A bank in small: four tellers move money among 100 accounts at once, and\n"
    "none is lost. With crashes in the middle: ./run app bank.");
  g.code(R"(
for (unsigned seed = 0; seed < 4; ++seed)
  moves.push_back(sys.spawn<mover>().ask<&mover::move>(all, 1000, seed));
for (auto& m : troupe::as_completed(moves, 10s))
  moved += m.get();
for (auto& a : all)
  total += a.ask<&account::balance>().get();)");
  mover::accounts all;
  for (int i = 0; i < 100; ++i) {
    all.push_back(sys.spawn<account>());
    all.back().tell<&account::put>(1000);
  }
  int moved = 0, total = 0;
  std::vector<troupe::future<int>> moves;
  for (unsigned seed = 0; seed < 4; ++seed)
    moves.push_back(sys.spawn<mover>().ask<&mover::move>(all, 1000, seed));
  for (auto& m : troupe::as_completed(moves, 10s))
    moved += m.get();
  for (auto& a : all)
    total += a.ask<&account::balance>().get();
  g.found("moved " + std::to_string(moved)
          + ", in the bank: " + std::to_string(total) + " of 100000");
}

void ordered_stop(guide& g) {
  g.say(
    "A stop is ordered and has a deadline; whoever is in its way is named.");
  g.code(R"(
troupe::system other{{.workers = 1, .log_level = "off"}};
auto s = other.spawn<sleeper>();
s.tell<&sleeper::nap>(400ms);
auto report = other.stop(100ms);)");
  troupe::system other{{.workers = 1, .log_level = "off"}};
  auto s = other.spawn<sleeper>();
  s.tell<&sleeper::nap>(400ms);
  auto report = other.stop(100ms);
  g.found(to_string(report));
}

struct part {
  const char* name;
  const char* title;
  void (*show)(guide&);
};

constexpr part parts[] = {
  {"actors", "Classes as actors", &actors},
  {"asks", "Asks and errors", &asks},
  {"coroutines", "Methods that wait", &coroutines},
  {"deadlock", "A deadlock, found and named", &deadlock},
  {"deadlines", "Deadlines", &deadlines},
  {"dead-letters", "Dead letters", &dead_letters},
  {"thread-pool", "The thread pool", &thread_pool},
  {"processes", "Worker processes", &processes},
  {"remote-actors", "An actor in a process of its own", &remote_actors},
  {"nodes", "On other machines", &nodes},
  {"sharing", "What a lock was", &sharing},
  {"queue", "A queue that loses nothing", &queues},
  {"supervision", "Failed and started anew", &supervision},
  {"failures", "Failures, seen", &failures},
  {"bank", "A bank that keeps its money", &bank},
  {"stop", "An ordered stop", &ordered_stop},
};

const part* find_part(const std::string& name) {
  for (auto& p : parts)
    if (p.name == name)
      return &p;
  return nullptr;
}

int show(guide& g, const std::vector<const part*>& chosen) {
  std::size_t n = 0;
  for (auto* p : chosen) {
    g.open(++n, chosen.size(), p->title);
    p->show(g);
  }
  std::printf(
    "\nMore: ./run app lists the programs, <troupe/troupe.hpp> is "
    "the manual's first page.\n");
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  // What fails here fails on purpose: it is shown, not logged.
  return troupe::run(
    argc, argv, troupe::options{.log_level = "off"},
    [](troupe::system& sys, std::span<char*> args) {
      bool fast = false, list = false;
      std::vector<std::string> names;
      CLI::App app{
        "tour: what Troupe does, a few lines at a time, each run "
        "before your eyes.\n\nIt teaches the words of the library "
        "by showing code and what comes out of it.\nExit codes: 0 "
        "fine, 2 an unknown part or option."};
      app.add_option("PART", names, "Parts to show; all if none is named");
      app.add_flag("--fast", fast, "Without the pauses");
      app.add_flag("--list", list, "Only name the parts");
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      std::vector<const part*> chosen;
      for (auto& name : names) {
        chosen.push_back(find_part(name));
        if (chosen.back() == nullptr) {
          std::fprintf(stderr, "no part '%s'; see --list\n", name.c_str());
          return 2;
        }
      }
      if (names.empty())
        for (auto& p : parts)
          chosen.push_back(&p);
      if (list) {
        for (auto* p : chosen)
          std::printf("%-14s %s\n", p->name, p->title);
        return 0;
      }
      guide g{sys, fast, ::isatty(STDOUT_FILENO) != 0};
      return show(g, chosen);
    });
}
