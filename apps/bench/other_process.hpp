// SPDX-License-Identifier: MIT
// other_process: this program once more, as the other side of a connection. It
// says in its first line where it listens, and ends with its standard input.

#pragma once

#include <string>
#include <vector>

namespace bench {

class other_process {
public:
  /// Started as `PROGRAM args...`. Errors: std::system_error.
  explicit other_process(std::vector<std::string> args);
  ~other_process();
  other_process(const other_process&) = delete;
  other_process& operator=(const other_process&) = delete;

  /// Its next line, without the end; empty when there is none.
  std::string line();
  int pid() const { return pid_; }

private:
  int pid_ = -1;
  int in_ = -1;
  int out_ = -1;
};

} // namespace bench
