// SPDX-License-Identifier: MIT
// live: what targets share that run actors: a system, and patience with it.
#pragma once

#include "fuzz/fuzz.hpp"
#include "troupe/system.hpp"

#include <chrono>
#include <thread>

namespace fuzz {

inline troupe::system& home() {
  // Never destroyed: libFuzzer leaves by its own way.
  static auto& sys = *new troupe::system{[] {
    troupe::options o;
    o.workers = 1;
    o.log_level = "off";
    return o;
  }()};
  return sys;
}

template <class Predicate>
bool comes_true(Predicate predicate) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds{8};
  while (!predicate()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::yield();
  }
  return true;
}

} // namespace fuzz
