// SPDX-License-Identifier: MIT
// zygote: the process that workers are forked from. It is this executable,
// started once by the parent (spawned and executed, never forked from a
// process with threads), and stays without threads: a fork of it is safe and
// takes a fraction of a millisecond.
//
//   parent ──order{fork}──▶ zygote ──fork──▶ worker
//   parent ◀──report{born}─┘  │ reaps it: report{died, status, usage}
//
// Death of the parent: its socket ends, the zygote kills all groups of workers
// and whatever they left behind (it is their subreaper), then ends itself.
// Death of both at once: the workers' watchers, and the keeper for those that
// were stopped (keeper.hpp).
// Death of the zygote: workers go on; the parent sees them end by their pidfds
// and starts another zygote for new ones. One that was forked but not reported
// yet is lost, as if it had died.
#pragma once

#include "process/descriptors.hpp"

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace troupe::process {

/// What a worker may use; 0 or below: no limit of ours.
struct worker_limits {
  std::int64_t memory_bytes = 0; // address space beyond what it starts with
  std::int64_t cpu_seconds = 0;
  std::int64_t open_files = 0;
  std::int32_t nice = 0;
};

/// Parent to zygote, with the descriptors of the worker: its end of the socket,
/// the channel's memory, the bell, its stderr.
struct order {
  static constexpr std::size_t descriptors = 4;
  std::uint64_t worker = 0; // the parent's number for it
  worker_limits limits;
};

/// Zygote to parent. `born` brings a pidfd.
struct report {
  enum class kind : std::uint32_t { born, not_born, died };
  kind what = kind::born;
  std::int32_t pid = 0;
  std::uint64_t worker = 0;
  std::int32_t error = 0;  // not_born: errno
  std::int32_t code = 0;   // died: CLD_EXITED, CLD_KILLED, CLD_DUMPED
  std::int32_t status = 0; // exit code or signal
  std::uint32_t frames = 0;
  std::int64_t peak_rss_bytes = 0;
  std::int64_t cpu_ns = 0;
  char backtrace[6000] = {}; // ends with 0
};

/// The descriptor on which a zygote finds its parent.
inline constexpr int zygote_socket = 3;
/// argv[1] of a zygote.
inline constexpr const char* zygote_flag = "--troupe-zygote";

/// Whether this process was started as a zygote.
bool is_zygote(int argc, char** argv);

/// The zygote's main: returns its exit code; in a worker it doesn't return.
int zygote_main();

/// The worker's main, in the forked process; ends it.
[[noreturn]] void worker_main(descriptor socket, descriptor memory,
                              descriptor bell, const worker_limits& limits);

} // namespace troupe::process
