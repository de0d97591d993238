// SPDX-License-Identifier: MIT
// certificate: how a worker process ended, as far as anybody can know.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "troupe/error.hpp"

namespace troupe {

/// Of a worker that ended though nobody told it to, or was made to end.
struct certificate {
  std::string task;     // what it was at; empty: nothing
  unsigned attempt = 0; // of that task, from 1
  std::int32_t pid = 0; // 0: it could not be started
  int exit_code = -1;   // -1: it did not exit by itself
  int signal = 0;       // 0: no signal
  std::string reason;   // why we ended it, or what it ran into; may be empty
  bool out_of_memory = false; // the system's memory killer, or its limit
  std::int64_t peak_rss_bytes = 0;
  std::chrono::nanoseconds cpu_time{}; // of its whole life
  std::chrono::nanoseconds run_time{}; // of the task
  std::string stderr_tail;             // the last 4 KiB
  std::string backtrace; // of SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT
};

/// Several lines for people.
std::string to_string(const certificate& c);

/// A worker process ended while it ran the task. Only this task is concerned.
class worker_died : public error {
public:
  explicit worker_died(certificate c);

  const certificate& why() const noexcept { return *certificate_; }

private:
  std::shared_ptr<const certificate> certificate_;
};

} // namespace troupe
