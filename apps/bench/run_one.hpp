// SPDX-License-Identifier: MIT
// run_one: the frame of a child process that runs one workload.
// Shape: PROGRAM --run-one WORKLOAD WORKERS -> one line of JSON on stdout:
// {"skynet": 0.41, "#messages": 2222221}; what begins with # is a count and no
// figure. A failure is a text on stderr and exit code 1.

#pragma once

#include "measure.hpp"

#include <span>

namespace bench {

struct entry {
  const char* workload;
  figures (*run)(const setting&);
};

/// The rest of `main` after `--run-one`; returns the exit code.
/// Requires: argv[1] is "--run-one"; anything else prints the usage.
int run_one(std::span<const entry> entries, int argc, char** argv);

} // namespace bench
