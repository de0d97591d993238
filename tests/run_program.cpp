// SPDX-License-Identifier: MIT
// run_program: what run_test.py starts: a program in the frame of troupe::run
// that does what its first argument says.
#include <troupe/troupe.hpp>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <string>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <thread>
#include <unistd.h>

#include "core/runtime.hpp"
#include "support/watchdog.hpp"

namespace {

using namespace std::chrono_literals;

class worker {
public:
  void nap(std::chrono::milliseconds d) {
    std::this_thread::sleep_for(d); // sleeps: the work that a stop waits for
    std::printf("napped\n");
    std::fflush(stdout);
  }
  int fail() { throw std::out_of_range{"index 7"}; }
};

// Waits for a worker; what else is asked of it waits too.
class boss {
public:
  explicit boss(troupe::ref<worker> w) : worker_(w) {}
  troupe::task<> have_done() { co_await worker_.ask<&worker::nap>(1h); }

private:
  troupe::ref<worker> worker_;
};

// Goes with the system, and a SIGQUIT comes at that moment.
struct late_signal : troupe::detail::part {
  bool is_idle() override { return true; }
  void stop() override {}
  ~late_signal() override {
    ::kill(::getpid(), SIGQUIT);
    sigset_t waiting;
    do
      ::sigpending(&waiting);
    while (::sigismember(&waiting, SIGQUIT) == 1); // until it is read
  }
  static std::unique_ptr<part> make(troupe::detail::runtime&) {
    return std::make_unique<late_signal>();
  }
};

// Takes one signal and gives it back meanwhile.
int take_once() {
  static std::atomic<bool> taken{false};
  troupe::on_signal(SIGUSR1, [](int number) {
    troupe::on_signal(number, {});
    taken = true;
  });
  ::kill(::getpid(), SIGUSR1);
  return test::eventually(10s, [] { return taken.load(); }) ? 0 : 4;
}

void ready() {
  std::printf("ready\n");
  std::fflush(stdout);
}

void for_ever() {
  for (;;)
    std::this_thread::sleep_for(1h); // sleeps: for ever
}

// Which of 0 to 2 are something else than a file, a pipe or /dev/null: that of
// the one who made them.
int strange_descriptors() {
  int strange = 0;
  for (int fd = 0; fd <= 2; ++fd) {
    struct stat info{};
    const auto is_known =
      ::fstat(fd, &info) == 0
      && (S_ISFIFO(info.st_mode) || S_ISREG(info.st_mode)
          || (S_ISCHR(info.st_mode) && info.st_rdev == makedev(1, 3)));
    strange += is_known ? 0 : 1 << fd;
  }
  return strange;
}

int descriptors(troupe::system& sys) {
  troupe::process_pool pool{sys, {.workers = 1}};
  const auto there = pool.submit(troupe::fn<&strange_descriptors>).get();
  return strange_descriptors() + there * 8;
}

int work(troupe::system& sys, std::span<char*> args) {
  const std::string what = args.size() > 1 ? args[1] : "";
  if (what == "three")
    return 3;
  if (what == "throw")
    throw std::domain_error{"no such luck"};
  if (what == "odd")
    throw 7;
  if (what == "print")
    std::printf("%s\n", std::string(100'000, 'x').c_str());
  if (what == "descriptors")
    return descriptors(sys);
  if (what == "throws") {
    troupe::on_signal(SIGHUP,
                      [](int) { throw std::domain_error{"no observing"}; });
    ready();
    std::this_thread::sleep_for(500ms); // sleeps: time for a signal
  }
  if (what == "blocks") {
    (void)troupe::blocking(sys, [] {
      ready();
      for_ever();
    });
    for_ever();
  }
  if (what == "arguments") {
    for (auto* a : args.subspan(1))
      std::printf("%s\n", a);
    std::printf("workers %zu\n", sys.workers());
  }
  if (what == "wait") {
    ready();
    for_ever();
  }
  if (what == "busy") {
    auto w = sys.spawn<worker>();
    w.tell<&worker::nap>(300ms);
    ready();
    for_ever();
  }
  if (what == "stuck") {
    auto w = sys.spawn<worker>();
    w.tell<&worker::nap>(1h);
    ready();
    for_ever();
  }
  if (what == "once") {
    ready();
    std::this_thread::sleep_for(500ms); // sleeps: time for a signal
  }
  if (what == "report") { // a boss that waits for a worker that works
    auto w = sys.spawn<worker>();
    auto b = sys.spawn<boss>(w);
    for (int i = 0; i < 3; ++i)
      b.tell<&boss::have_done>();
    for (auto* part : {"waits for", " ms,"})
      while (sys.describe().find(part) == std::string::npos)
        std::this_thread::sleep_for(1ms); // sleeps: until it is so
    ready();
    for_ever();
  }
  if (what == "late")
    sys.runtime().nodes(&late_signal::make);
  if (what == "take")
    return take_once();
  if (what == "hang") { // a test that waits for ever
    test::watchdog dog{sys, 1s};
    auto w = sys.spawn<worker>();
    w.tell<&worker::nap>(1h);
    sys.spawn<boss>(w).within(1h).ask<&boss::have_done>().get();
  }
  if (what == "unobserved")
    (void)sys.spawn<worker>().ask<&worker::fail>();
  if (what == "failing") {
    sys.spawn<worker>().tell<&worker::fail>();
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(argc, argv, work);
}
