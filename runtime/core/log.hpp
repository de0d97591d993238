// SPDX-License-Identifier: MIT
// log: the runtime's own logger: to stderr, quiet unless something is wrong. A
// program that registers a spdlog logger named "troupe" first gets it there.
// Each system has one with a level of its own, to the same sinks.
#pragma once

#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace troupe::detail {

/// The one whose sinks all have; its level is the newest system's.
inline spdlog::logger& root_log() {
  static const auto logger = [] {
    auto found = spdlog::get("troupe");
    return found ? found : spdlog::stderr_color_mt("troupe");
  }();
  return *logger;
}

/// That of the system whose actor, task or worker the calling thread runs;
/// outside of all the root (core/runtime.cpp).
spdlog::logger& log();

} // namespace troupe::detail
