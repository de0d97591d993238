// SPDX-License-Identifier: MIT
// run: options, signals and the ordered end of a program.
#include "troupe/run.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <mutex>
#include <poll.h>
#include <pthread.h>
#include <string_view>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <thread>
#include <unistd.h>

#include "core/log.hpp"
#include "core/modes.hpp"
#include "core/observer.hpp"
#include "core/runtime.hpp"
#include "sched/timer_thread.hpp"
#include "troupe/failure.hpp"

namespace troupe::detail {

namespace {

using clock = std::chrono::steady_clock;

constexpr int owned_signals[] = {SIGINT, SIGTERM, SIGQUIT,
                                 SIGHUP, SIGUSR1, SIGUSR2};
// GNU timeout signals its child and then the group: the same one, twice. No
// person is that fast.
constexpr std::chrono::milliseconds one_signal{100};

// A missing one of 0 to 2 would be given to the next descriptor that we make,
// which whoever prints or reads then disturbs.
void open_missing_standard_descriptors() {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (::fcntl(fd, F_GETFD) < 0 && errno == EBADF)
      static_cast<void>(
        !::open("/dev/null", O_RDWR)); // the lowest that is free
}

// What was printed and reached nobody is no success.
int with_output_written(int status) {
  errno = 0;
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0)
    return status;
  std::fprintf(stderr, "%s: the standard output could not be written%s%s\n",
               program_invocation_short_name, errno == 0 ? "" : ": ",
               errno == 0 ? "" : std::strerror(errno));
  return status == 0 ? 1 : status;
}

// By the signals' numbers; filled once, so that it needs no lock of its own.
std::map<int, observer<int>>& observers() {
  static auto* all = [] {
    auto* made = new std::map<int, observer<int>>;
    for (auto number : owned_signals)
      (*made)[number];
    return made;
  }();
  return *all;
}

// The one owner of signals: blocked in every thread, read here. SIGQUIT prints
// who waits for whom and goes on, as a JVM does.
class signal_thread {
public:
  signal_thread() {
    ::sigemptyset(&mask_);
    for (auto s : owned_signals)
      ::sigaddset(&mask_, s);
    ::pthread_sigmask(SIG_BLOCK, &mask_, &before_);
    signals_ = ::signalfd(-1, &mask_, SFD_CLOEXEC | SFD_NONBLOCK);
    ended_ = ::eventfd(0, EFD_CLOEXEC);
  }

  void start(system& sys) {
    thread_ = std::thread{[this, &sys] { loop(sys); }};
  }

  /// From here on the system may go away. A signal that came before ends the
  /// program from its own thread: then this does not return.
  void close() {
    std::unique_lock guard{mutex_};
    if (seen_ != 0) {
      guard.unlock();
      for (;;)
        ::pause();
    }
    closed_ = true;
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
    if (number == SIGQUIT) {
      std::lock_guard guard{mutex_}; // the end waits until all is said
      if (!closed_)
        std::fprintf(stderr, "\n%s", sys.describe().c_str());
      return;
    }
    const auto taken = tell_observer(number);
    if (taken && number != SIGINT && number != SIGTERM)
      return;
    std::lock_guard guard{mutex_};
    if (closed_) // drained already
      std::_Exit(128 + number);
    const auto now = clock::now();
    if (seen_ == number && now - seen_at_ < one_signal)
      return;
    seen_at_ = now;
    if (std::exchange(seen_, number) != 0) {
      std::fprintf(stderr, "\ntroupe: second signal, killed\n");
      std::_Exit(128 + number);
    }
    std::fprintf(stderr, "\ntroupe: %s, draining (again to kill)\n",
                 number == SIGINT    ? "interrupted"
                 : number == SIGTERM ? "terminated"
                                     : ::strsignal(number));
    // The program's function may wait for ever: the end comes from here.
    ender_ = std::thread{[&sys, number] {
      auto report = sys.stop();
      if (!report.clean)
        std::fprintf(stderr, "%s\n", to_string(report).c_str());
      print_unobserved();
      std::fflush(nullptr);
      std::_Exit(128 + number);
    }};
    ender_.detach();
  }

  // What it throws must not end the program, least of all while it drains.
  static bool tell_observer(int number) {
    try {
      return observers().at(number).tell(number);
    } catch (...) {
      std::fprintf(stderr, "troupe: on_signal(%d): %s\n", number,
                   text_with_type(std::current_exception()).c_str());
      return true;
    }
  }

  sigset_t mask_, before_;
  int signals_, ended_;
  std::mutex mutex_;
  int seen_ = 0; // the signal that asked for the end
  clock::time_point seen_at_;
  bool closed_ = false; // no system any more
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

int run_with(int argc, char** argv, options opts, program& p) {
  if (const auto status = run_as_child(argc, argv))
    return *status;
  std::vector<char*> args;
  auto* running = &p;
  try {
    args = read_options(opts, {argv, static_cast<std::size_t>(argc)});
    check_options(opts);
    if (show_help_of_mode(args))
      return 0;
    if (const auto status = run_keys(opts, args))
      return *status;
    if (auto* as_node = node_program(args))
      running = as_node;
  } catch (const bad_argument& e) {
    std::fprintf(stderr, "%s: %s\n", program_invocation_short_name, e.what());
    return 2;
  }
  signal_thread signals;
  auto status = 0;
  auto clean = true;
  {
    system sys{opts};
    signals.start(sys);
    status = as_status(*running, sys, args);
    auto report = sys.stop();
    signals.close();
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

} // namespace

int run_program(int argc, char** argv, options opts, program& p) {
  open_missing_standard_descriptors();
  return with_output_written(run_with(argc, argv, std::move(opts), p));
}

int run_program(int argc, char** argv, program& p) {
  return run_program(argc, argv, options{}, p);
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
    text += "\n  " + s.actor + (s.id == 0 ? "" : "#" + std::to_string(s.id))
            + ": " + (s.method.empty() ? "idle" : s.method);
    if (s.running.count() > 0)
      text += ", running for " + std::to_string(s.running.count() / 1'000'000)
              + " ms";
    if (s.id != 0) // only actors have one
      text += ", " + std::to_string(s.mailbox) + " messages in its mailbox";
  }
  if (r.in_the_way.empty())
    text += " a thread of a plain CAF actor";
  if (r.messages_dropped > 0)
    text += "\n  " + std::to_string(r.messages_dropped) + " messages dropped";
  return text;
}

void on_signal(int number, std::function<void(int)> f) {
  if (number == SIGQUIT
      || std::find(std::begin(detail::owned_signals),
                   std::end(detail::owned_signals), number)
           == std::end(detail::owned_signals))
    throw bad_argument{"on_signal: signal " + std::to_string(number)
                       + " is not one of SIGHUP, SIGUSR1, SIGUSR2, SIGINT, "
                         "SIGTERM"};
  detail::observers().at(number).set(std::move(f));
}

std::chrono::nanoseconds remaining() {
  auto due = detail::current.deadline;
  if (due == INT64_MAX)
    return std::chrono::nanoseconds::max();
  auto left = due - detail::due_after(std::chrono::nanoseconds{0});
  return std::chrono::nanoseconds{std::max<std::int64_t>(0, left)};
}

} // namespace troupe
