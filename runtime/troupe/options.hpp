// SPDX-License-Identifier: MIT
// options: every tunable of the runtime, in one place.
//
// Each can be set in code (`troupe::options{.workers = 4}`), by the environment
// (TROUPE_WORKERS=4) and on the command line (--troupe-workers=4); the later
// wins. Times take a unit: 500us, 20ms, 30s, 5min; ask_deadline takes `none`
// too. A bad value is an error that names all three ways to set it.
// Most programs leave all of this alone.
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace troupe {

struct options {
  /// Worker threads. Default 0: the usable CPUs, min(affinity mask, cgroup
  /// quota). Range: 0..1024. More cost memory and switches.
  std::size_t workers = 0;

  /// Messages an actor handles before others get their turn.
  /// Default 1000. Range: 1..1000000. Higher is faster and less fair.
  std::size_t throughput = 1000;

  /// What an ask waits for its answer unless `within` says otherwise.
  /// Default 30 s. Range: 1 ms..10000 h, or none.
  std::chrono::nanoseconds ask_deadline = std::chrono::seconds{30};

  /// How long the end of a system drains before it kills.
  /// Default 10 s. Range: 0..24 h.
  std::chrono::nanoseconds stop_deadline = std::chrono::seconds{10};

  /// A worker that is in one method for longer gets a stand-in while work
  /// waits. Default 20 ms. Range: 1 ms..1 h.
  std::chrono::nanoseconds stall_after = std::chrono::milliseconds{20};

  /// How long an idle worker looks for work before it sleeps (it adapts below
  /// this). Default 50 us. Range: 0..100 ms. Higher wakes faster, burns more.
  std::chrono::nanoseconds spin_max = std::chrono::microseconds{50};

  /// Stand-ins for workers that wait or are stuck. Default 256. Range: 0..4096.
  std::size_t spare_workers_max = 256;

  /// Threads for `on_thread` actors and `blocking`. Default 512.
  /// Range: 1..16384. Past it a spawn throws `rejected`, a `blocking` waits.
  std::size_t blocking_threads_max = 512;

  /// The folder with the keys for other nodes. Default: empty, which is
  /// $XDG_CONFIG_HOME/troupe or ~/.config/troupe. See node.hpp.
  std::string keys{};

  /// How long, at most, either side of a connection to another node shows no
  /// sign of life. Default 1 s. Range: 10 ms..1 h.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds{1};

  /// A node that has shown none for so long is lost. Default 5 s.
  /// Range: 20 ms..10 h; below twice the heartbeat it counts as that.
  std::chrono::nanoseconds patience = std::chrono::seconds{5};

  /// Bytes that may wait to be sent to one node; past it asks fail with
  /// rejected and tells are dead letters. Default 64 MiB. Range: 64 KiB..64
  /// GiB. One message above it travels when nothing else waits.
  std::size_t node_backlog_bytes_max = std::size_t{64} << 20;

  /// Asks that may be open to one node, and from it; past it they fail with
  /// rejected. Default 100000. Range: 1..100000000.
  std::size_t node_calls_max = 100'000;

  /// trace, debug, info, warning, error or off; to stderr. Default warning.
  std::string log_level = "warning";
};

/// Reads TROUPE_* and --troupe-*; returns the arguments that are not Troupe's
/// (argv[0] first). Errors: bad_argument that names the three ways, the value
/// and the range; an unknown --troupe- option too.
std::vector<char*> read_options(options& opts, std::span<char*> args);

/// Throws bad_argument for a value out of range.
void check_options(const options& opts);

/// One line per option: flag, environment, default, meaning.
std::string options_help();

} // namespace troupe
