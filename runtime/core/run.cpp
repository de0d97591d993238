// SPDX-License-Identifier: MIT
// run: options, signals and the ordered end of a program.
#include "troupe/run.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <thread>
#include <unistd.h>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include "core/runtime.hpp"
#include "sched/timer_thread.hpp"

namespace troupe::detail {

namespace {

// The one owner of SIGINT and SIGTERM: blocked in every thread, read here.
class signal_thread {
public:
  signal_thread() {
    ::sigemptyset(&mask_);
    ::sigaddset(&mask_, SIGINT);
    ::sigaddset(&mask_, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &mask_, &before_);
    signals_ = ::signalfd(-1, &mask_, SFD_CLOEXEC | SFD_NONBLOCK);
    ended_ = ::eventfd(0, EFD_CLOEXEC);
  }

  void start(system& sys) {
    thread_ = std::thread{[this, &sys] { loop(sys); }};
  }

  /// The signal that asked for the end; 0 for none.
  int seen() const {
    return seen_.load();
  }

  ~signal_thread() {
    std::uint64_t one = 1;
    static_cast<void>(!::write(ended_, &one, sizeof(one)));
    if (thread_.joinable())
      thread_.join();
    ::close(signals_);
    ::close(ended_);
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }

private:
  void loop(system& sys) {
    sched::name_thread("troupe.signals");
    pollfd fds[] = {{signals_, POLLIN, 0}, {ended_, POLLIN, 0}};
    for (;;) {
      if (::poll(fds, 2, -1) < 0)
        continue;
      if ((fds[1].revents & POLLIN) != 0)
        return;
      signalfd_siginfo info;
      if (::read(signals_, &info, sizeof(info)) != sizeof(info))
        continue;
      handle(sys, static_cast<int>(info.ssi_signo));
    }
  }

  void handle(system& sys, int number) {
    if (seen_.exchange(number) != 0) {
      std::fprintf(stderr, "\ntroupe: second signal, killed\n");
      std::_Exit(128 + number);
    }
    std::fprintf(stderr, "\ntroupe: %s, draining (again to kill)\n",
                 number == SIGINT ? "interrupted" : "terminated");
    // The program's function may wait for ever: the end comes from here.
    ender_ = std::thread{[this, &sys, number] {
      auto report = sys.stop();
      if (!report.clean)
        std::fprintf(stderr, "%s\n", to_string(report).c_str());
      print_unobserved();
      std::fflush(nullptr);
      std::_Exit(128 + number);
    }};
    ender_.detach();
  }

  sigset_t mask_, before_;
  int signals_, ended_;
  std::atomic<int> seen_{0};
  std::thread thread_, ender_;
};

int as_status(program& p, system& sys, std::span<char*> args) {
  try {
    return p.call(sys, args);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n",
                 args.empty() ? "troupe" : program_invocation_short_name,
                 text_with_type(std::current_exception()).c_str());
  } catch (...) {
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name,
                 text_with_type(std::current_exception()).c_str());
  }
  return 1;
}

} // namespace

int run_program(int argc, char** argv, options opts, program& p) {
  std::vector<char*> args;
  try {
    args = read_options(opts, {argv, static_cast<std::size_t>(argc)});
    check_options(opts);
  } catch (const bad_argument& e) {
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, e.what());
    return 2;
  }
  spdlog::set_level(spdlog::level::from_str(opts.log_level));
  signal_thread signals;
  auto status = 0;
  auto clean = true;
  {
    system sys{opts};
    signals.start(sys);
    status = as_status(p, sys, args);
    if (signals.seen() != 0)
      ::pause(); // the signal's own end is under way
    auto report = sys.stop();
    if (!report.clean)
      std::fprintf(stderr, "%s\n", to_string(report).c_str());
    print_unobserved();
    clean = !sys.runtime().is_stuck();
    if (!clean) {
      // A method still runs: static destructors must not pull things away.
      std::fflush(nullptr);
      std::_Exit(status == 0 ? 1 : status);
    }
  }
  return status;
}

} // namespace troupe::detail

namespace troupe {

std::string to_string(const stop_reason& r) {
  switch (r.kind) {
    case stop_reason::normal:
      return "normal";
    case stop_reason::killed:
      return "killed";
    case stop_reason::failed:
      return "failed: " + r.text;
    case stop_reason::unreachable:
      return "unreachable";
    default:
      return "shutdown";
  }
}

std::string to_string(const stop_report& r) {
  if (r.clean)
    return "stopped: everything ended in time";
  auto text = std::string{"stopped at the deadline; in the way:"};
  for (auto& s : r.in_the_way) {
    text += "\n  " + s.actor + "#" + std::to_string(s.id) + ": "
            + (s.method.empty() ? "idle" : s.method);
    if (s.running.count() > 0)
      text += ", running for " + std::to_string(s.running.count() / 1'000'000)
              + " ms";
    text += ", " + std::to_string(s.mailbox) + " messages in its mailbox";
  }
  if (r.in_the_way.empty())
    text += " a thread of a plain CAF actor";
  if (r.messages_dropped > 0)
    text += "\n  " + std::to_string(r.messages_dropped) + " messages dropped";
  return text;
}

std::chrono::nanoseconds remaining() {
  auto due = detail::current.deadline;
  if (due == INT64_MAX)
    return std::chrono::nanoseconds::max();
  auto left = due - detail::due_after(std::chrono::nanoseconds{0});
  return std::chrono::nanoseconds{std::max<std::int64_t>(0, left)};
}

} // namespace troupe
