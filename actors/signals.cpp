// SPDX-License-Identifier: MIT
#include "troupe/signals.hpp"

#include <csignal>

#include "troupe/failure.hpp"

namespace troupe {

namespace {

std::string name_of(int number) {
  switch (number) {
    case SIGHUP:
      return "SIGHUP";
    case SIGINT:
      return "SIGINT";
    case SIGTERM:
      return "SIGTERM";
    case SIGUSR1:
      return "SIGUSR1";
    case SIGUSR2:
      return "SIGUSR2";
    default:
      return "signal " + std::to_string(number);
  }
}

} // namespace

topic<signal> watch_signals(system& sys, const std::vector<int>& numbers) {
  topic<signal> result{sys};
  for (auto number : numbers)
    on_signal(number, [result](int n) { result.post({n, name_of(n)}); });
  return result;
}

} // namespace troupe
