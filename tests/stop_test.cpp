// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE stop
#include "support/fixture.hpp"

#include <semaphore>
#include <sys/wait.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using troupe::ref;
using troupe::task;

class sink : public troupe::actor {
public:
  explicit sink(std::atomic<int>* handled = nullptr) : handled_(handled) {}
  void put() {
    if (handled_ != nullptr)
      ++*handled_;
  }
  void hold(std::binary_semaphore* gate) { gate->acquire(); }
  void spin_for_ever() {
    for (volatile bool on = true; on;) {}
  }
  void talk() {
    ref<sink> me = self();
    me.tell<&sink::talk>();
  }
  std::string stop_the_system() {
    try {
      system().stop();
    } catch (const troupe::bad_argument& e) {
      return e.what();
    }
    return "stopped";
  }
  task<int> wait_for(troupe::future<int> f) {
    test::counted local;
    co_return co_await f;
  }

private:
  std::atomic<int>* handled_;
};

// Stays in its destructor until the gate is open.
struct slow_to_go {
  std::binary_semaphore& entered;
  std::binary_semaphore& gate;
  ~slow_to_go() {
    entered.release();
    gate.acquire();
  }
};

ref<sink> forgotten; // outlives every system and main

// Runs `f` in a child process; its exit status, -1 when it hangs.
template <class F>
int status_of_child(F f) {
  auto pid = ::fork();
  if (pid == 0) {
    f();
    std::_Exit(0);
  }
  int status = 0;
  auto done = test::eventually(
    20s, [&] { return ::waitpid(pid, &status, WNOHANG) == pid; });
  if (!done) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, &status, 0);
    return -1;
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1'000 + WTERMSIG(status);
}

} // namespace

// The first case: it forks before this process has threads.
BOOST_AUTO_TEST_CASE(smoke) {
  auto status = status_of_child([] {
    {
      troupe::system sys{{.workers = 2, .stop_deadline = 200ms}};
      auto s = sys.spawn<sink>();
      auto t = sys.spawn<sink>(troupe::on_thread{});
      s.tell<&sink::spin_for_ever>();
      t.tell<&sink::spin_for_ever>();
      auto report = sys.stop();
      auto text = to_string(report);
      if (report.clean || report.in_the_way.size() != 2
          || report.in_the_way[0].actor != "sink"
          || text.find("sink::spin_for_ever") == std::string::npos)
        std::_Exit(3);
    }
    std::_Exit(7); // the destructor came back
  });
  BOOST_TEST(status == 7);
}

BOOST_AUTO_TEST_SUITE(stop)

BOOST_AUTO_TEST_CASE(drains_what_was_sent) {
  std::atomic<int> handled{0};
  troupe::system sys{{.workers = 2}};
  auto s = sys.spawn<sink>(&handled);
  constexpr int count = 1'000'000;
  for (int i = 0; i < count; ++i)
    s.tell<&sink::put>();
  auto report = sys.stop();
  BOOST_TEST(report.clean, to_string(report));
  BOOST_TEST(handled == count);
  BOOST_TEST(sys.stats().actors_alive == 0u);
  BOOST_TEST(sys.stats().dead_letters == 0u);
}

BOOST_AUTO_TEST_CASE(is_idempotent_and_refuses_new_actors) {
  troupe::system sys{{.workers = 2}};
  BOOST_TEST(!sys.is_stopping());
  BOOST_TEST(sys.stop().clean);
  BOOST_TEST(sys.stop(0ms).clean);
  BOOST_TEST(sys.is_stopping());
  BOOST_CHECK_THROW(sys.spawn<sink>(), troupe::closed);
  BOOST_TEST(!sys.describe().empty());
}

BOOST_AUTO_TEST_CASE(meets_threads_that_spawn) {
  for (int round = 0; round < 20; ++round) {
    std::vector<ref<sink>> spawned[2];
    troupe::system sys{{.workers = 2}};
    std::vector<std::thread> threads;
    std::atomic<int> ready{0};
    for (auto& list : spawned)
      threads.emplace_back([&] {
        try {
          for (;;) {
            list.push_back(sys.spawn<sink>());
            ++ready;
          }
        } catch (const troupe::closed&) {}
      });
    test::eventually(10s, [&] { return ready > 100; });
    auto report = sys.stop();
    for (auto& t : threads)
      t.join();
    BOOST_TEST(report.clean, to_string(report));
    BOOST_TEST(sys.stats().actors_alive == 0u);
    for (auto& list : spawned)
      for (auto& s : list)
        BOOST_REQUIRE(!s.is_alive());
  }
}

BOOST_AUTO_TEST_CASE(names_a_constructor_in_the_way) {
  std::binary_semaphore entered{0}, gate{0};
  struct slow {
    slow(std::binary_semaphore& in, std::binary_semaphore& out) {
      in.release();
      out.acquire();
    }
  };
  troupe::system sys{{.workers = 2}};
  std::atomic<bool> refused{false};
  std::thread outside{[&] {
    try {
      sys.spawn<slow>(entered, gate);
    } catch (const troupe::closed&) {
      refused = true;
    }
  }};
  entered.acquire();
  std::thread late{[&] {
    test::eventually(10s, [&] { return sys.is_stopping(); });
    test::eventually(150ms, [] { return false; });
    gate.release();
  }};
  auto report = sys.stop(100ms);
  outside.join();
  late.join();
  BOOST_TEST(refused.load());
  BOOST_TEST(!report.clean);
  BOOST_TEST(to_string(report).find("in a constructor") != std::string::npos);
}

// The thread that let the last handle go still needs the system then.
BOOST_AUTO_TEST_CASE(leaves_the_system_to_a_destructor_outside) {
  std::binary_semaphore entered{0}, gate{0};
  std::thread outside;
  {
    troupe::system sys{{.workers = 1, .log_level = "off"}};
    auto r = sys.spawn<slow_to_go>(entered, gate);
    outside = std::thread{[r = std::move(r)]() mutable { r = {}; }};
    entered.acquire();
    auto report = sys.stop(20ms);
    BOOST_TEST(!report.clean);
    BOOST_TEST(to_string(report).find("slow_to_go#") != std::string::npos);
    BOOST_TEST(to_string(report).find("in its destructor")
               != std::string::npos);
  }
  gate.release();
  outside.join();
}

BOOST_AUTO_TEST_CASE(names_pools_and_blocking_code_in_the_way) {
  std::binary_semaphore entered[2]{std::binary_semaphore{0},
                                   std::binary_semaphore{0}};
  std::counting_semaphore<> gate{0};
  auto hold = [&](int i) {
    entered[i].release();
    gate.acquire();
  };
  troupe::system sys{{.workers = 1, .log_level = "off"}};
  troupe::thread_pool pool{sys};
  auto task = pool.submit(hold, 0);
  auto code = troupe::blocking(sys, [&] { hold(1); });
  for (auto& e : entered)
    e.acquire();
  auto text = to_string(sys.stop(20ms));
  BOOST_TEST(text.find("a thread_pool: 1 task") != std::string::npos, text);
  BOOST_TEST(text.find("troupe::blocking") != std::string::npos, text);
  gate.release(2);
  task.wait();
  code.wait();
}

BOOST_AUTO_TEST_CASE(by_an_actor_is_refused) {
  test::live_system live;
  auto s = live.sys.spawn<sink>();
  auto t = live.sys.spawn<sink>(troupe::on_thread{});
  for (auto& r : {s, t})
    BOOST_TEST(
      r.ask<&sink::stop_the_system>().get().find("would wait for itself")
      != std::string::npos);
}

BOOST_AUTO_TEST_CASE(names_who_is_in_the_way) {
  std::binary_semaphore gate{0};
  troupe::system sys{{.workers = 2}};
  auto s = sys.spawn<sink>();
  auto held = s.ask<&sink::hold>(&gate);
  for (int i = 0; i < 5; ++i)
    s.tell<&sink::put>();
  std::thread late{[&] {
    // Released only once the deadline has passed: stop() kills then.
    test::eventually(10s, [&] { return sys.is_stopping(); });
    test::eventually(150ms, [] { return false; });
    gate.release();
  }};
  auto report = sys.stop(100ms);
  late.join();
  BOOST_TEST(!report.clean);
  BOOST_REQUIRE(report.in_the_way.size() == 1u);
  auto& who = report.in_the_way[0];
  BOOST_TEST(who.id == s.id());
  BOOST_TEST(who.actor == "sink");
  BOOST_TEST(who.method == "sink::hold");
  BOOST_TEST((who.running > 0ns));
  BOOST_TEST(who.mailbox >= 5u);
  BOOST_TEST(report.messages_dropped >= 5u);
}

BOOST_AUTO_TEST_CASE(ends_an_actor_that_never_falls_silent) {
  troupe::system sys{{.workers = 1, .stop_deadline = 400ms}};
  auto s = sys.spawn<sink>();
  s.tell<&sink::talk>();
  auto begin = std::chrono::steady_clock::now();
  BOOST_TEST(sys.stop().clean);
  BOOST_TEST((std::chrono::steady_clock::now() - begin < 5s));
}

BOOST_AUTO_TEST_CASE(is_bounded_though_the_dead_get_mail_for_ever) {
  std::atomic<bool> go{true}, gone{false};
  {
    troupe::system sys{{.workers = 2, .log_level = "off"}};
    auto dead = sys.spawn<sink>();
    dead.kill();
    sys.spawn<sink>().tell([&, dead](sink&) {
      while (go)
        dead.tell<&sink::put>();
      gone = true;
    });
    auto began = std::chrono::steady_clock::now();
    BOOST_TEST(!sys.stop(20ms).clean);
    BOOST_TEST((std::chrono::steady_clock::now() - began < 15s));
  }
  go = false;
  BOOST_TEST(test::eventually(10s, [&] { return gone.load(); }));
}

BOOST_AUTO_TEST_CASE(destroys_coroutines_that_wait_for_ever) {
  troupe::promise<int> never;
  {
    troupe::system sys{{.workers = 2}};
    auto s = sys.spawn<sink>();
    auto f = s.ask<&sink::wait_for>(never.get_future());
    test::eventually(5s, [] { return test::counted::alive == 1; });
    auto report = sys.stop(100ms);
    BOOST_TEST(test::counted::alive == 0);
    BOOST_CHECK_THROW(f.get(), troupe::actor_stopped);
  }
  never.set_value(1); // the reply finds nobody
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_system)

BOOST_AUTO_TEST_CASE(goes_though_a_handle_is_forgotten) {
  {
    test::live_system live;
    forgotten = live.sys.spawn<sink>();
    forgotten.ask<&sink::put>().get();
  }
  forgotten.tell<&sink::put>();
  BOOST_TEST(!forgotten.is_alive());
}

BOOST_AUTO_TEST_CASE(lives_beside_another_and_talks_to_it) {
  test::live_system a, b;
  std::atomic<int> handled{0};
  auto in_a = a.sys.spawn<sink>(&handled), in_b = b.sys.spawn<sink>(&handled);
  std::vector<troupe::future<void>> fs;
  for (int i = 0; i < 1'000; ++i) {
    fs.push_back(in_a.ask([in_b](sink&) { in_b.tell<&sink::put>(); }));
    fs.push_back(in_b.ask([in_a](sink&) { in_a.tell<&sink::put>(); }));
  }
  troupe::wait(fs);
  BOOST_TEST(test::eventually(5s, [&] { return handled == 2'000; }));
  // The last handle to an actor of one goes on a worker of the other.
  in_a.tell([x = std::move(in_b)](sink&) {});
  BOOST_TEST(
    test::eventually(5s, [&] { return b.sys.stats().actors_alive == 0; }));
}

// What each says of itself, though the other one was made later.
BOOST_AUTO_TEST_CASE(logs_at_its_own_level_beside_another) {
  char path[] = "troupe-log-XXXXXX";
  const int file = ::mkstemp(path);
  ::unlink(path);
  std::fflush(stderr);
  const int before = ::dup(2);
  ::dup2(file, 2);
  {
    troupe::system quiet{{.workers = 1, .log_level = "off"}};
    troupe::system loud{{.workers = 1, .log_level = "error"}};
    troupe::system silent{{.workers = 1, .log_level = "off"}};
    auto fail = [](std::string text) {
      return [text](sink&) -> void { throw std::runtime_error{text}; };
    };
    for (auto* sys : {&quiet, &loud, &silent}) {
      auto s = sys->spawn<sink>();
      s.tell(fail(sys == &loud ? "is heard" : "is not heard"));
      test::eventually(5s, [&] { return !s.is_alive(); });
    }
  }
  std::fflush(stderr);
  ::dup2(before, 2);
  ::close(before);
  std::string text(100'000, 0);
  const auto n = ::pread(file, text.data(), text.size(), 0);
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  ::close(file);
  BOOST_TEST(text.find("is heard") != std::string::npos, text);
  BOOST_TEST(text.find("is not heard") == std::string::npos, text);
}

BOOST_AUTO_TEST_CASE(may_be_destroyed_by_one_of_its_own_actors) {
  auto sys = std::make_unique<troupe::system>(troupe::options{.workers = 2});
  auto s = sys->spawn<sink>();
  std::atomic<bool> done{false};
  s.tell([&](sink&) {
    sys.reset();
    done = true;
  });
  BOOST_TEST(test::eventually(10s, [&] { return done.load(); }));
  BOOST_TEST(test::eventually(10s, [&] { return !s.is_alive(); }));
}

BOOST_AUTO_TEST_CASE(without_any_work_comes_and_goes) {
  for (int i = 0; i < 50; ++i)
    test::live_system live;
}

BOOST_AUTO_TEST_SUITE_END()
