// SPDX-License-Identifier: MIT
#include "troupe/certificate.hpp"

#include <fmt/format.h>

#include <cstring>

namespace troupe {

namespace {

std::string milliseconds(std::chrono::nanoseconds d) {
  return fmt::format("{:.1f} ms", static_cast<double>(d.count()) / 1e6);
}

// "SIGSEGV (Segmentation fault)".
std::string signal_name(int number) {
  const auto* name = ::sigabbrev_np(number);
  const auto* text = ::sigdescr_np(number);
  return fmt::format("SIG{} ({})", name == nullptr ? "?" : name,
                     text == nullptr ? "unknown" : text);
}

std::string headline(const certificate& c) {
  auto text = c.task.empty()
                ? std::string{"a worker"}
                : fmt::format("{} (attempt {}): the worker", c.task, c.attempt);
  if (c.pid == 0)
    return text + " could not be started"
           + (c.reason.empty() ? "" : ": " + c.reason);
  text += fmt::format(", process {}, ", c.pid);
  if (c.signal != 0)
    text += "was ended by " + signal_name(c.signal);
  else if (c.exit_code >= 0)
    text += fmt::format("exited with {}", c.exit_code);
  else
    text += "is gone";
  if (!c.reason.empty())
    text += "; " + c.reason;
  return text;
}

} // namespace

std::string to_string(const certificate& c) {
  auto text = headline(c);
  if (c.pid == 0)
    return text;
  text += fmt::format("\n  ran {}, CPU time {}, at most {} MiB",
                      milliseconds(c.run_time), milliseconds(c.cpu_time),
                      c.peak_rss_bytes >> 20);
  if (c.out_of_memory)
    text += ", out of memory";
  if (!c.backtrace.empty())
    text += "\n  it was at\n" + c.backtrace;
  if (!c.stderr_tail.empty())
    text += "\n  the last it wrote to stderr:\n" + c.stderr_tail;
  return text;
}

worker_died::worker_died(certificate c)
  : error(to_string(c)),
    certificate_(std::make_shared<const certificate>(std::move(c))) {}

} // namespace troupe
