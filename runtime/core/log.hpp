// SPDX-License-Identifier: MIT
// log: the runtime's own logger: to stderr, quiet unless something is wrong. A
// program that registers a spdlog logger named "troupe" first gets it there.
#pragma once

#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

namespace troupe::detail {

inline spdlog::logger& log() {
  static const auto logger = [] {
    auto found = spdlog::get("troupe");
    return found ? found : spdlog::stderr_color_mt("troupe");
  }();
  return *logger;
}

} // namespace troupe::detail
