// SPDX-License-Identifier: MIT
// extras: what few actors need; made when first needed.
#pragma once

#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "core/context.hpp"
#include "core/remote.hpp"
#include "sched/timer_wheel.hpp"
#include "troupe/actor.hpp"
#include "troupe/placement.hpp"
#include "troupe/task.hpp"

namespace troupe::detail {

struct actor_timer;
class own_thread;

/// The queue of a bounded mailbox. Invariant: calls_ <= max.
class bounded_box {
public:
  explicit bounded_box(const mailbox& m) : max_(m.max), full_(m.full) {}

  enum class verdict { taken, full, closed };

  /// Appends `e`, or says why not. Calls are bounded, system messages are not.
  verdict offer(envelope* e);

  /// Removes the oldest call; null when there is none (drop_oldest).
  envelope* take_oldest_call();

  /// The next message; wakes a sender that waits for room.
  envelope* take();

  /// Refuses from now on; returns what was left, linked by next.
  envelope* close();

  /// The same, but it stays open.
  envelope* empty_out();

  /// Takes what comes, after `close`.
  void reopen();

  /// Sleeps until there may be room, or until `until`; false when late.
  bool await_room(std::int64_t until);

  bool is_empty() const;
  std::size_t size() const;
  full_policy policy() const { return full_; }
  std::size_t max() const { return max_; }

private:
  envelope* take_all();

  const std::size_t max_;
  const full_policy full_;
  mutable std::mutex mutex_;
  std::deque<envelope*> queue_;
  std::size_t calls_ = 0;
  std::size_t waiting_ = 0;
  bool closed_ = false;
  std::atomic<std::uint32_t> room_{0}; // changes when room appears
};

/// What an actor has that can be restarted.
struct restart_part {
  explicit restart_part(calls_during_restart c) : calls(c) {}

  const calls_during_restart calls;
  std::atomic<std::uint64_t> starts{1};      // objects made
  std::atomic<std::uint64_t> incarnation{1}; // constructors called
  // The rest: how the last object ended, read by those who come late.
  mutable std::mutex mutex;
  stop_reason last;
};

/// The Troupe actors that are told of a cell's end (core/monitors.cpp).
struct monitor_list {
  std::mutex mutex;
  // Under mutex: weak references, and which incarnation of the watcher it was.
  std::unordered_map<cell*, std::uint64_t> watchers;
};

struct cell_extras {
  explicit cell_extras(cell* c) : self(c) { deadline.fire = &on_deadline; }
  ~cell_extras() { delete monitors.load(); } // empty: all were told

  cell* self;
  // The newest of the methods that wait; read by deadlock walkers.
  std::atomic<call_record*> active{nullptr};
  std::unique_ptr<bounded_box> box;
  std::shared_ptr<own_thread> thread;
  std::exception_ptr failure;
  std::unique_ptr<restart_part> restart;        // fixed before it is shared
  std::atomic<monitor_list*> monitors{nullptr}; // made when first needed
  std::unique_ptr<remote_part> remote;          // fixed before it is shared

  // The earliest deadline among the records, as far as the wheel knows.
  struct deadline_node : sched::timer_node {};
  deadline_node deadline;
  std::atomic<std::int64_t> deadline_armed{INT64_MAX};
  static void on_deadline(sched::timer_node* n) noexcept;

  actor_timer* timers = nullptr; // all that are not finished
};

} // namespace troupe::detail
