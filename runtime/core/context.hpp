// SPDX-License-Identifier: MIT
// context: what the calling thread is doing for whom.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

#include "troupe/detail/envelope.hpp"

namespace troupe::sched {

class scheduler;

} // namespace troupe::sched

namespace troupe::detail {

class runtime;
struct shared_tell;
struct state_base;

/// The message or task that runs on this thread. `self` is null in tasks and
/// on foreign threads; `home` in foreign threads alone.
// Copied for every resume. A processor that loads what was just stored in other
// pieces waits for the memory, some 5 ns: so it is of whole vectors, and is
// made by its parts.
struct alignas(16) context {
  cell* self = nullptr;
  runtime* home = nullptr;
  const message_ops* op = nullptr;
  std::int64_t deadline = INT64_MAX;
  state_base* asking = nullptr; // see answer_later
  const void* asking_tag = nullptr;
  shared_tell* open = nullptr; // what this turn has told last, and may add to
  std::uint32_t also_handled = 0; // messages that shared the last envelope
  bool ending = false;            // the actor's coroutines and object are going
  bool must_not_wait = false;     // for room in a mailbox: others wait for us
  std::uint16_t unused = 0;       // no padding: that is copied by itself
};
static_assert(sizeof(context) == 64);

extern constinit thread_local context current;

/// Nothing can be added to what was told last: something else is sent to the
/// same actor, or something may have come in that has to be after it.
void close_tell() noexcept;
/// The same if it was `to`: what is sent now comes after what was told before.
void close_tell_to(const cell* to) noexcept;

/// Another turn of the same actor: it has told nothing yet. After one that told
/// the same again and again it may well do so, too.
inline void begin_turn() noexcept {
  if (current.open != nullptr)
    close_tell();
  else
    told_last.to = nullptr;
}

/// For as long as it lives, another context.
class context_scope {
public:
  context_scope(cell* self, runtime* home) : saved_(current) {
    told_last.to = nullptr;
    current.self = self;
    current.home = home;
    current.op = nullptr;
    current.deadline = INT64_MAX;
    current.asking = nullptr;
    current.asking_tag = nullptr;
    current.open = nullptr;
    current.also_handled = 0;
    current.ending = false;
    current.must_not_wait = false;
  }
  ~context_scope() {
    if (current.open != nullptr)
      close_tell();
    told_last.to = nullptr;
    current = saved_;
  }
  context_scope(const context_scope&) = delete;
  context_scope& operator=(const context_scope&) = delete;

private:
  context saved_;
};

/// Whose own work the calling thread does at the moment (what comes from other
/// processes and nodes, what is due), be it a thread of the user that helps:
/// null otherwise. A continuation goes on elsewhere then: nothing else would
/// come or be due for as long as it runs.
extern constinit thread_local sched::scheduler* upkeep_for;

/// For as long as it lives, the calling thread does such work.
class upkeep_scope {
public:
  explicit upkeep_scope(sched::scheduler& of) noexcept
    : before_(std::exchange(upkeep_for, &of)) {}
  ~upkeep_scope() { upkeep_for = before_; }
  upkeep_scope(const upkeep_scope&) = delete;
  upkeep_scope& operator=(const upkeep_scope&) = delete;

private:
  sched::scheduler* const before_;
};

/// What a thread that runs actors is at, for onlookers.
// A cache line each: every resume writes to it.
struct alignas(64) activity {
  std::atomic<const cell*> self{nullptr};
  std::atomic<const message_ops*> op{nullptr};
  std::atomic<std::int64_t> since{0}; // own threads only; 0: unknown
  std::atomic<std::uint64_t> messages{0};
};

} // namespace troupe::detail
