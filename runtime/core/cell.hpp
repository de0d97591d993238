// SPDX-License-Identifier: MIT
// cell: an actor as CAF sees it, with our mailbox. The object of the user's
// class lies behind it in the same block:
//
//   [ control block 64 | cell 168 | extras 8 | object ... ]
//
// The pointer to the extras stands outside the cell because it outlives it:
// weak handles may look there until the block goes.
//
// Inlet: one word, see inbox.hpp.
// Invariants: (1) at most one thread runs a cell; the right passes through the
//             inbox and through the run queue. (2) The cell stays while that
//             right is out, also without a reference: see lifetime.hpp. Whoever
//             gives it away (try_rest, leave) may not touch the cell again.
//             (3) pending_, the records and the object belong to whoever runs
//             the cell. (4) while a coroutine waits, the cell stays.
// Order:      taken batches are reversed and appended to pending_, so that
//             messages of one sender stay in order. Urgent ones overtake.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include <caf/monitorable_actor.hpp>
#include <caf/node_id.hpp>
#include <caf/resumable.hpp>

#include "core/context.hpp"
#include "core/inbox.hpp"
#include "core/observer.hpp"
#include "troupe/system.hpp"

namespace troupe::sched {

class timer_thread;

} // namespace troupe::sched

namespace troupe::detail {

class pool_core;
class runtime;
struct cell_extras;
struct construction;

struct class_entry;

/// What outlives a system: handles may ask for it at any time. Never freed.
struct home_block {
  std::int64_t ask_deadline_ns = 0;
  caf::node_id node; // one counted copy for all actors
  std::deque<std::unique_ptr<const class_entry>> entries;
  std::mutex pools_mutex;
  std::vector<pool_core*> pools; // told when the system stops
  bool pools_closed = false;
  std::atomic<std::uint64_t> dead_letters{0};
  // Spawns that threads outside are in; `stop` waits for them, so that none
  // finds the runtime gone. Workers are joined and need no count.
  std::atomic<std::size_t> spawning{0};
  // Actors that threads outside end: they let the last handle go. Such an actor
  // is in the list and can't be locked until it is counted here.
  std::atomic<std::size_t> ending{0};
  // Null once the system is gone, which is when no actor is left to ask.
  runtime* rt = nullptr;
  observer<const dead_letter&> dead_letter_observer;
  std::mutex timers_mutex; // comes before the lock of the timers themselves
  sched::timer_thread* timers = nullptr; // under timers_mutex; null once gone
};

/// A class in a system; found through the control block. Never freed.
struct class_entry {
  const class_info* info;
  home_block* home;
};

class cell final : public caf::monitorable_actor, public caf::resumable {
public:
  using signatures = caf::none_t;

  cell(caf::actor_config& cfg, const spawn_options& o, std::uint8_t shard);
  ~cell() override;

  // -- making and ending (core/cell.cpp) --------------------------------------

  static cell* make(runtime& rt, const class_info& info,
                    const spawn_options& o);
  /// The object was not made after all: frees everything.
  void abandon() noexcept;
  void cancel_start();
  /// The object is whole: runs `first`, if any, before all other messages.
  void begin(envelope* first);

  // -- parts ------------------------------------------------------------------

  // Static: these also serve weak handles, whose cell may be destroyed. Only
  // its block is theirs to look at, and no member function may be called.
  static caf::actor_control_block* block_of(const cell* c) {
    return caf::actor_control_block::from(c);
  }
  // The 8 bytes that the control block leaves free in its cache line.
  static const class_entry*& entry_slot(const cell* c) {
    return *reinterpret_cast<const class_entry**>(
      reinterpret_cast<char*>(block_of(c)) + sizeof(caf::actor_control_block));
  }
  static const class_info& info_of(const cell* c) {
    return *entry_slot(c)->info;
  }
  static home_block& home_of(const cell* c) { return *entry_slot(c)->home; }

  caf::actor_control_block* block() const { return block_of(this); }
  const class_info& info() const { return info_of(this); }
  home_block& home() const { return home_of(this); }
  void* object() const {
    auto end = reinterpret_cast<std::uintptr_t>(this) + sizeof(cell)
               + sizeof(extras_slot_type);
    auto align = info().align;
    return reinterpret_cast<void*>((end + align - 1) & ~(align - 1));
  }
  std::size_t shard() const {
    return flags_.load(std::memory_order_relaxed) >> 24;
  }

  // -- mailbox (core/mailbox.cpp) ---------------------------------------------

  /// Appends; false when closed (the caller still owns `e`).
  bool push(envelope* e, bool urgent);
  /// Appends a message that is never bounded; false when closed.
  bool push_system(envelope* e);
  /// Delivers at once where that is all there is to do; false: push it.
  bool try_forward(envelope* e);
  void schedule(); // by whoever has the right to run it
  std::size_t mailbox_size() const;
  bool is_closed() const { return inbox_.is_closed(); }

  // -- requests from anywhere -------------------------------------------------

  void stop();
  void kill();
  /// A message is in the bounded box: schedules the cell if it is idle.
  void ring();

  // -- requests from the actor itself -----------------------------------------

  void quit() { set(flag_quit); }
  void fail(std::exception_ptr e) noexcept;

  // -- down and up again (core/restart.cpp) -----------------------------------

  /// It has ended its object or shall. True when the cell stays: it is down;
  /// false when that was the end.
  bool come_down();
  void come_up(construction& how); // throws what the constructor throws
  void refuse_calls();
  /// Lets it see that it shall end for good, though it may be down.
  void look();
  void push_stop();
  bool is_down() const { return has(flag_down) && !has(flag_ended); }
  bool refuses() const { return inbox_.refuses(); }
  /// Counts the objects; 0 for actors that have but one.
  std::uint64_t incarnation() const;

  // -- coroutines (core/coroutine.cpp) ----------------------------------------

  void add_record(call_record& r);
  void remove_record(call_record& r) noexcept;
  static call_record* records_of(const cell* c); // also of a destroyed one
  call_record* records() const { return records_of(this); }
  void note_deadline(std::int64_t due);
  void expire_records();

  // -- CAF's interface --------------------------------------------------------

  void enqueue(caf::mailbox_element_ptr what, caf::execution_unit*) override;
  const char* name() const override;
  bool cleanup(caf::error&& reason, caf::execution_unit* host) override;
  resume_result resume(caf::execution_unit* host, std::size_t max) override;
  subtype_t subtype() const override;
  void intrusive_ptr_add_ref_impl() override;
  void intrusive_ptr_release_impl() override;

  // -- state ------------------------------------------------------------------

  static constexpr std::uint32_t flag_killed = 1; // kill() was called
  static constexpr std::uint32_t flag_quit = 2;   // ends after this message
  static constexpr std::uint32_t flag_ended = 4;
  static constexpr std::uint32_t flag_bounded = 8;
  static constexpr std::uint32_t flag_own_thread = 16;
  static constexpr std::uint32_t flag_unreachable = 32;
  static constexpr std::uint32_t flag_shutdown = 64; // the system stops it
  static constexpr std::uint32_t flag_restartable = 128;
  static constexpr std::uint32_t flag_down = 256;    // it has no object
  static constexpr std::uint32_t flag_retired = 512; // its next end is the last
  static constexpr std::uint32_t flag_told = 1024;   // so are its monitors
  static constexpr std::uint32_t flag_remote = 2048; // see core/remote.hpp

  bool has(std::uint32_t flag) const {
    return (flags_.load(std::memory_order_relaxed) & flag) != 0;
  }
  /// Release: whoever sees the flag by `saw` sees what came before it.
  bool saw(std::uint32_t flag) const {
    return (flags_.load(std::memory_order_acquire) & flag) != 0;
  }
  void set(std::uint32_t flag) {
    flags_.fetch_or(flag, std::memory_order_release);
  }
  void clear(std::uint32_t flag) {
    flags_.fetch_and(~flag, std::memory_order_relaxed);
  }

  /// Whether those who monitor it have been told, or are at this moment.
  bool is_told() const {
    return (flags_.load() & (flag_told | flag_down)) != 0;
  }

  using extras_slot_type = std::atomic<cell_extras*>;
  static extras_slot_type& extras_slot(const caf::actor_control_block* b) {
    auto* first =
      reinterpret_cast<char*>(const_cast<caf::actor_control_block*>(b));
    return *reinterpret_cast<extras_slot_type*>(first + CAF_CACHE_LINE_SIZE
                                                + sizeof(cell));
  }
  cell_extras& extras();
  cell_extras* extras_or_null() const { return extras_slot(block()).load(); }

  // Links of the list of live actors; guarded by the shard's lock.
  cell* prev_live = nullptr;
  cell* next_live = nullptr;

  void run_message(envelope* e, activity& at);
  void prepend_pending(envelope* e);
  void end(const stop_reason& reason);
  /// The last reference is gone. True: the cell is to be destroyed.
  bool let_go();
  /// Takes the right to run it if it rests.
  bool claim_at_rest();
  /// Gives the right to run away for good.
  void leave();
  bool end_unreachable();
  /// Why it ends or has ended, by its flags.
  stop_reason why_ended();
  /// The end that monitors were told of, though it may be up again.
  stop_reason why_told();

private:
  using inbox = basic_inbox<envelope>;

  resume_result run_for(caf::execution_unit* host, std::size_t max);
  bool take_inbox(envelope*& urgent);
  void append_pending(envelope* first, envelope* last, std::uint32_t n);
  envelope* pop_pending();
  bool try_rest();
  bool try_rest_bounded();
  void look_at_references();
  bool has_last_words() const;
  bool waits() const;
  bool is_suspended() const;
  bool is_unseen() const;
  void end_work(const stop_reason& reason) noexcept;
  void drop(envelope* e);
  void drop_pending(bool reopens = false);
  void drop_all(inbox::word then);
  void drop_inbox(inbox::word then);
  void tell_monitors(const stop_reason& reason);
  void destroy_object() noexcept;
  void set_failure(std::exception_ptr e) noexcept;

  inbox inbox_;                 // as if running, until `begin`
  envelope* pending_ = nullptr; // the last of a ring; its next is the first
  std::atomic<std::uint32_t> flags_; // the topmost byte: the shard
  std::atomic<std::uint32_t> pending_size_{0};
};

/// Takes a reference, if there is one, also of an actor that is unreachable and
/// says its last words.
bool lock_ending(cell* c) noexcept;

/// A weak reference for a state that knows its callee; cheap for a worker that
/// asks the same actor again and again.
void retain_callee(cell* c) noexcept;
void release_callee(cell* c) noexcept;

/// The cell whose object is being made on this thread; null: none that needs
/// it.
void constructing_as(cell* c);

} // namespace troupe::detail
