// SPDX-License-Identifier: MIT
// keeper: a process that does nothing until its program and its zygote have
// ended at once, by SIGKILL say. Then it ends the workers that can't do so
// themselves: one that was stopped has no watcher that runs.
//
//   program ── zygote ──┬── keeper        watches the program; told of births
//                       └── worker, ...   watch the program, too
//
// It goes by itself when its zygote and the workers that it knows have ended.
// Why not one in between, as the parent of all: a zygote that dies would take
// what it is to be asked for along, and births would have one more hop.
#pragma once

#include "process/descriptors.hpp"

#include <sys/types.h>

namespace troupe::process {

/// The zygote's end of the line to its keeper.
class keeper {
public:
  /// Forks it. Without one, where the system has no room, all else goes on.
  /// Requires: this process has no threads.
  void start() noexcept;
  /// A worker was born. Doesn't wait for the keeper.
  void tell_birth(pid_t worker, int pidfd) noexcept;
  /// 0: there is none.
  [[nodiscard]] pid_t pid() const noexcept { return pid_; }

private:
  descriptor line_;
  pid_t pid_ = 0;
};

/// Kills what `pid` started, and what that started, wherever it has gone
/// (a session of its own, say). Requires: `pid` is a subreaper.
void kill_descendants(pid_t pid) noexcept;

} // namespace troupe::process
