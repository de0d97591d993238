// SPDX-License-Identifier: MIT
// signals: the process's signals as messages.
//
//   auto signals = troupe::watch_signals(sys, {SIGHUP, SIGUSR1});
//   auto mine = signals.subscribe().get();
//   while (auto s = co_await mine.next()) reload(s->name);
//
// For programs made with `run`; SIGINT and SIGTERM are seen before the drain
// that they start.
#pragma once

#include <string>
#include <vector>

#include "troupe/topic.hpp"

namespace troupe {

struct signal {
  int number = 0;
  std::string name; // SIGHUP
};

/// A topic of the signals of `numbers`; the last one made gets a signal.
/// Errors: bad_argument for one that on_signal doesn't know.
topic<signal> watch_signals(system& sys, const std::vector<int>& numbers);

} // namespace troupe
