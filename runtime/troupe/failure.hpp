// SPDX-License-Identifier: MIT
// failure: one observer for everything in the program that goes wrong without
// anybody waiting for it, and signals for whoever wants them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace troupe {

/// An actor that failed (a tell, a timer or a hook threw), or a result that was
/// an error and went unseen.
struct failure {
  std::uint64_t actor = 0; // 0: not an actor
  std::string name;        // the actor's class
  std::string where;       // the method or task
  std::string type;        // of what was thrown
  std::string text;        // of what was thrown
  std::string backtrace;   // from where it was thrown; empty if not known
  bool unobserved = false; // a result that nobody looked at
};

/// `counter#3: counter::add failed with std::out_of_range: ...`
std::string to_string(const failure& f);

/// Calls `f` for each failure in this process from now on, from the thread that
/// finds it: keep it short. What it throws is logged. An empty function ends
/// it. Failures are logged (level error) in any case.
void on_failure(std::function<void(const failure&)> f);

/// Calls `f` when the process gets one of SIGHUP, SIGUSR1, SIGUSR2, or, before
/// the drain, SIGINT or SIGTERM; from the thread that owns signals. One
/// function per signal; an empty one ends it. Works in programs made with
/// `run`. Errors: bad_argument for another signal.
void on_signal(int number, std::function<void(int)> f);

} // namespace troupe
