// SPDX-License-Identifier: MIT
#include "process/crash.hpp"

#include <boost/stacktrace.hpp>

#include <csignal>
#include <cstdlib>

namespace troupe::process {

namespace {

black_box* the_box = nullptr;
alignas(64) std::byte handler_stack[std::size_t{128} << 10];

// Only what may be called in a handler: the unwinder was loaded before.
extern "C" void note_crash(int number, siginfo_t* info, void*) {
  if (auto* box = std::exchange(the_box, nullptr)) {
    const void* frames[black_box::frames_max + 1] = {};
    auto n = boost::stacktrace::safe_dump_to(1, frames, sizeof(frames));
    std::size_t known = 0;
    for (; known < n && known < black_box::frames_max; ++known) {
      if (frames[known] == nullptr)
        break;
      box->at[known] = reinterpret_cast<std::uintptr_t>(frames[known]);
    }
    box->frames = static_cast<std::uint32_t>(known);
    box->address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    box->signal.store(static_cast<std::uint32_t>(number),
                      std::memory_order_release);
  }
  ::signal(number, SIG_DFL);
  ::raise(number);
}

} // namespace

void watch_crashes(black_box& box) {
  the_box = &box;
  // The first unwinding loads what it needs.
  const void* frames[4] = {};
  boost::stacktrace::safe_dump_to(frames, sizeof(frames));
  stack_t stack{};
  stack.ss_sp = handler_stack;
  stack.ss_size = sizeof(handler_stack);
  ::sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = &note_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  ::sigemptyset(&action.sa_mask);
  for (int s : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    ::sigaction(s, &action, nullptr);
}

} // namespace troupe::process
