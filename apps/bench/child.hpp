// SPDX-License-Identifier: MIT
// child: a command run in a process of its own, with a time limit.

#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// How a child ended. `output` and `errors` hold at most 64 KiB each.
struct ending {
  std::string output;
  std::string errors;
  std::string failure; ///< empty after exit code 0, else one readable line
  double cpu_seconds = 0;
  double switches = 0; ///< times a thread gave its core up, or lost it
  double peak_mib = 0;
  std::optional<double> instructions; ///< none where they can't be counted
};

/// Runs `command` (its first word is a path or found in PATH) until it ends
/// or `limit` has passed; then its whole process group is killed.
/// Errors: none are thrown; `failure` says what went wrong.
ending run_child(const std::vector<std::string>& command,
                 std::chrono::milliseconds limit);

/// The path of the running executable.
std::string self_path();

/// Whether `path` is a file that can be executed.
bool is_executable(const std::string& path);

} // namespace bench
