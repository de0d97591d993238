// SPDX-License-Identifier: MIT
// runtime: what is behind troupe::system: CAF's actor system with our scheduler
// in it, the list of live actors, and the stop.
#pragma once

#include <array>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>

#include <caf/actor_system.hpp>
#include <caf/actor_system_config.hpp>

#include "core/blocking_threads.hpp"
#include "core/cell.hpp"
#include "sched/scheduler.hpp"
#include "troupe/system.hpp"

namespace spdlog {

class logger;

} // namespace spdlog

namespace troupe::detail {

/// CAF's configuration with a way back to us.
struct caf_config : caf::actor_system_config {
  explicit caf_config(runtime& r) : rt(r) {}
  runtime& rt;
};

/// The live actors, in shards so that spawns on different workers don't meet.
class registry {
public:
  static constexpr std::size_t shards = 16;

  void add(cell* c);
  void remove(cell* c);
  std::size_t size() const;
  std::uint64_t spawned() const;

  /// Calls `f(cell&)` for each; no actor is freed meanwhile. `f` must not spawn
  /// or end an actor.
  template <class F>
  void for_each(F f) const {
    for (auto& s : shards_) {
      std::lock_guard guard{s.mutex};
      for (auto* c = s.first; c != nullptr; c = c->next_live)
        f(*c);
    }
  }

private:
  class spin_mutex {
  public:
    void lock() {
      while (locked_.exchange(true, std::memory_order_acquire))
        wait();
    }
    void unlock() { locked_.store(false, std::memory_order_release); }

  private:
    void wait();
    std::atomic<bool> locked_{false};
  };

  struct alignas(64) shard {
    mutable spin_mutex mutex;
    cell* first = nullptr;
    std::size_t size = 0;
    std::uint64_t spawned = 0;
  };

  std::array<shard, shards> shards_;
};

/// A room above this one that a system owns: worker processes, nodes.
class part {
public:
  virtual ~part() = default;
  /// Nothing is under way that a stop should wait for.
  virtual bool is_idle() = 0;
  /// What an end now would cut that a stop must tell of; empty: nothing.
  virtual std::string would_cut() { return {}; }
  /// Ends everything, by force where needed. Idempotent.
  virtual void stop() = 0;
};

class runtime {
public:
  runtime(system& facade, options opts);
  ~runtime();

  system& facade() { return facade_; }
  const options& settings() const { return options_; }
  spdlog::logger& log() { return *log_; }
  caf::actor_system& caf() { return *caf_; }
  sched::scheduler& scheduler() { return *scheduler_; }
  blocking_threads& threads() { return threads_; }
  registry& live() { return live_; }
  home_block& home() { return *home_; }
  const class_entry* entry_for(const class_info& info);
  /// The system's worker processes; made by `make` on first need.
  /// Errors: closed, once it stops.
  part& processes(std::unique_ptr<part> (*make)(runtime&));
  /// Its connections to other nodes, likewise.
  part& nodes(std::unique_ptr<part> (*make)(runtime&));
  part* nodes_now();
  activity& activity_of(std::size_t worker) { return activities_[worker]; }
  caf::node_id take_node() const;

  bool is_stopping() const { return stopping_.load(); }

  /// Ends everything; see system.hpp. Leaves the object unusable but whole.
  stop_report stop(std::int64_t deadline_ns);

  /// Whether some thread of ours could not be joined: then the object must be
  /// left alone for ever.
  bool is_stuck() const { return stuck_; }

  bool is_own_thread() const;

  statistics stats();
  std::string describe();

  /// The runtime of the calling thread's actor, task or worker; null outside.
  static runtime* of_this_thread();

private:
  part* processes_now();
  bool is_quiet();
  statistics stats_now();
  std::vector<straggler> stragglers(std::size_t most);
  void stop_actors(std::uint32_t flag, bool kill);
  void report_tasks();
  bool end_the_rest();
  bool destroy_caf(std::int64_t until);

  system& facade_;
  options options_;
  std::shared_ptr<spdlog::logger> log_; // with this system's level
  home_block* home_;
  std::mutex entries_mutex_;
  std::map<const class_info*, const class_entry*> entries_;
  registry live_;
  std::vector<activity> activities_;
  blocking_threads threads_;
  caf_config config_;
  sched::scheduler* scheduler_ = nullptr; // owned by caf_
  std::unique_ptr<caf::actor_system> caf_;
  std::mutex parts_mutex_;
  std::unique_ptr<part> processes_; // under parts_mutex_ to make
  std::unique_ptr<part> nodes_;     // likewise
  std::atomic<bool> stopping_{false};
  std::mutex stop_mutex_;
  std::size_t caf_own_ = 0; // CAF actors that belong to CAF itself
  bool stopped_ = false;
  bool stuck_ = false;
  std::mutex look_mutex_; // stats and describe against the end
  bool gone_ = false;     // the scheduler is not to be touched any more
  statistics last_stats_;
  stop_report report_;
};

/// Counts a message that could not be delivered, tells the observer, and
/// disposes of it.
void dead_letter_to(cell& to, envelope* e, drop_reason why) noexcept;

void note_dead_letter(cell& to, const message_ops* ops,
                      drop_reason why) noexcept;
void count_dead_letter(cell& to, const std::string& message,
                       const char* why) noexcept;

/// Appends a message that no bound refuses; a dead letter when closed.
void post_or_drop(cell* to, envelope* e);

/// `what()` of an exception, or its type when it has none.
std::string text_of(const std::exception_ptr& e);
/// `type: what`.
std::string text_with_type(const std::exception_ptr& e);

/// The end of a cell goes to those who monitor it (core/monitors.cpp).
void tell_our_monitors(cell& ended);

/// For code that holds the timers' lock, where ending an actor would need it
/// again: gives the reference back once the lock is free.
void release_later(cell* c);
void flush_releases();
void flush_expiries();

/// `counter#12`; `{anonymous}::` is left out.
std::string name_of(const cell& c);
std::string plain_name(std::string_view name);

/// Futures that failed and were never looked at: kept for the end (at most 100)
/// and printed there.
void report_unobserved(const state_base& s) noexcept;

/// Logs it, with its backtrace, and tells the observer.
void report_actor_failure(const cell& c, std::string_view where,
                          const std::exception_ptr& e) noexcept;

/// Where the last exception thrown by an actor or task on this thread came
/// from; empty when not known (core/backtrace.cpp).
std::string take_backtrace();
void print_unobserved();

} // namespace troupe::detail
