// SPDX-License-Identifier: MIT
// failures: where errors go when many things happen at once
//
// To whoever waits; else to the supervisor; else to the observer and the log.
// A signal is a message, a cycle of waits is an error that names the cycle.
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/core.h>

#include <atomic>
#include <csignal>
#include <thread>

namespace {

using namespace std::chrono_literals;

int wrong = 0;

void show(const char* what, const std::string& text, bool is_right) {
  fmt::print("{:<22} {}  {}\n", what, text, is_right ? "ok" : "WRONG");
  wrong += is_right ? 0 : 1;
}

template <class Predicate>
bool soon(Predicate p) {
  for (int i = 0; i < 5000 && !p(); ++i)
    std::this_thread::sleep_for(1ms);
  return p();
}

class worker {
public:
  int divide(int a, int b) {
    if (b == 0)
      throw std::domain_error{"division by 0"};
    return a / b;
  }
  int calls() { return ++calls_; }
  void crash() { throw std::runtime_error{"on demand"}; }

private:
  int calls_ = 0;
};

class waits_for {
public:
  void meet(troupe::ref<waits_for> other) { other_ = other; }
  troupe::task<int> ask_other(int depth) {
    if (depth == 0)
      co_return 0;
    co_return co_await other_.ask<&waits_for::ask_other>(depth - 1);
  }

private:
  troupe::ref<waits_for> other_;
};

void to_the_waiter(troupe::system& sys) {
  auto w = sys.spawn<worker>();
  try {
    (void)w.ask<&worker::divide>(1, 0).get();
    show("to the waiter", "nothing was thrown", false);
  } catch (const std::domain_error& e) {
    show("to the waiter", fmt::format("std::domain_error: {}", e.what()),
         w.ask<&worker::divide>(6, 2).get() == 3);
  }
}

void to_the_supervisor(troupe::system& sys) {
  auto sup = sys.supervise(
    {.strategy = troupe::one_for_one,
     .children = {troupe::child<worker>("worker", troupe::permanent)}});
  auto w = sup.child<worker>("worker");
  w.tell<&worker::crash>();
  auto is_back = soon([&] { return troupe::starts(w) == 2; });
  show("to the supervisor", "a new worker has the same handle",
       is_back && w.ask<&worker::calls>().get() == 1);
  fmt::print("{}", sup.tree());
  sup.stop().get();
}

void a_signal(troupe::system& sys) {
  auto signals = troupe::watch_signals(sys, {SIGUSR1});
  auto mine = signals.subscribe().get();
  ::kill(::getpid(), SIGUSR1);
  auto s = mine.next(10s).get();
  show("a signal", s ? s->name : "none", s && s->number == SIGUSR1);
}

void a_deadlock(troupe::system& sys) {
  auto a = sys.spawn<waits_for>(), b = sys.spawn<waits_for>();
  a.ask<&waits_for::meet>(b).get();
  b.ask<&waits_for::meet>(a).get();
  try {
    (void)a.ask<&waits_for::ask_other>(2).get();
    show("a deadlock", "not found", false);
  } catch (const troupe::deadlock& e) {
    show("a deadlock", e.what(), true);
  }
}

} // namespace

int main(int argc, char** argv) {
  auto body = [](troupe::system& sys, std::span<char*> args) {
    CLI::App app{"failures: where errors go when many things happen at once"};
    try {
      app.parse(static_cast<int>(args.size()), args.data());
    } catch (const CLI::ParseError& e) {
      return app.exit(e) == 0 ? 0 : 2;
    }
    static std::atomic<int> failed{0}, unobserved{0};
    troupe::on_failure(
      [](const troupe::failure& f) { ++(f.unobserved ? unobserved : failed); });
    to_the_waiter(sys);
    to_the_supervisor(sys);
    a_signal(sys);
    a_deadlock(sys);
    { // nobody looks at this error: it is counted, and listed at the end
      auto w = sys.spawn<worker>();
      auto ignored = w.ask<&worker::divide>(1, 0);
      ignored.wait();
    }
    show("an unobserved error", "is seen by the observer",
         soon([] { return unobserved == 1; }));
    show("a failed actor", "is seen by the observer", failed == 1);
    troupe::on_failure({});
    return wrong;
  };
  return troupe::run(argc, argv, body);
}
