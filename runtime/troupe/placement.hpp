// SPDX-License-Identifier: MIT
// placement: where an actor lives and how many messages may wait for it. These
// come first among the arguments of `spawn`, in any order.
#pragma once

#include <chrono>
#include <cstddef>

namespace troupe {

/// On the system's worker threads (the default): for code that doesn't block.
struct on_workers {};

/// On a thread of its own: for code that blocks (files, libraries that wait).
struct on_thread {};

/// In a process of its own: for code that may crash, leak or take too much.
/// `sys.spawn<T>(in_process{.memory_max_bytes = 64u << 20}, args...)`; stands
/// last among the options. Arguments of the constructor and of methods must
/// travel (sendable.hpp); handles do. A death of the process is a failure of
/// the actor: asks fail with worker_died, its supervisor starts another.
struct in_process {
  /// What it may take beyond what a process starts with. Default 0: no limit.
  std::size_t memory_max_bytes = 0;
  /// CPU time of its whole life. Default 0: no limit.
  std::chrono::seconds cpu_time_max{0};
  /// Default 0: as the parent.
  int open_files_max = 0;
  int nice = 0;
  /// After a kill it is ended by force this much later.
  std::chrono::nanoseconds grace = std::chrono::milliseconds{200};
  /// A process that shows no sign of life for so long while it owes answers (it
  /// was stopped, say) is ended. A busy one does show signs. 0: never.
  std::chrono::nanoseconds heartbeat = std::chrono::seconds{10};
};

/// On another machine: `sys.spawn<T>(on_node{n}, args...)`; see node.hpp. It
/// stands last among the options, like in_process.
struct on_node;

/// What happens when a bound is reached.
enum class full_policy : unsigned char {
  wait,        // the sender waits for room (its deadline holds)
  reject,      // the sender gets `rejected`
  drop_newest, // the new one is dropped: a dead letter
  drop_oldest, // the oldest that waits is dropped: a dead letter
  caller_runs, // pools only: the submitting thread runs the task itself
};

inline constexpr auto reject = full_policy::reject;
inline constexpr auto drop_newest = full_policy::drop_newest;
inline constexpr auto drop_oldest = full_policy::drop_oldest;
inline constexpr auto caller_runs = full_policy::caller_runs;
// `troupe::wait` (wait.hpp) stands for full_policy::wait.

/// A bounded mailbox: `sys.spawn<T>(mailbox{.max = 100, .full = reject})`.
/// System messages (stop, monitors, replies, timers) are never bounded.
struct mailbox {
  /// Messages that may wait; 0 throws bad_argument.
  std::size_t max = 1024;
  full_policy full = full_policy::wait;
};

/// What calls of an actor do while it is down, see restartable.
enum class calls_during_restart : unsigned char {
  queued,    // they wait for the next object, in order, within their deadline
  fail_fast, // asks fail with actor_stopped at once, tells are dead letters
};

/// An actor that stays when its object ends, so that it can be restarted behind
/// the same handle: restart.hpp.
struct restartable {
  calls_during_restart calls = calls_during_restart::queued;
};

} // namespace troupe
