// SPDX-License-Identifier: MIT
// peer: what two processes say to each other about actors, over any carrier
// that keeps frames in order. Both sides are alike.
//
//   exports  my actors that the other side may send to, by number. Each holds
//            one handle until the other side says `release`.
//   imports  its actors that I have handles to: a remote cell each.
//   calls    my asks without an answer.
//   served   its asks without an answer: given up when it says so or has gone.
//
// Invariants: (1) a number is used once. (2) What the other side names is
//             looked up, and its class compared with the method's: it can't
//             make us call a wrong function or object. (3) After `closed` all
//             calls have failed and all imports have ended or will.
// A death:    an exported actor's end is told by `down`; a connection's by its
//             carrier, who calls `closed`.
// A race:     the last handle goes here while the other side sends it again:
//             release carries how often it was received, which is taken off
//             how often it was sent; at 0 the actor is let go. A stand-in that
//             is about to go gets a successor; the last of them to go sends
//             the release.
// Locks:      a handle that goes ends in `forget`, which takes the lock: cells
//             are made and released without it.
#pragma once

#include "core/remote.hpp"
#include "sched/adaptive_mutex.hpp"
#include "wire/call_table.hpp"
#include "wire/frame.hpp"

#include <atomic>
#include <functional>
#include <mutex>
#include <unordered_map>

namespace troupe::wire {

namespace core = troupe::detail;

/// A flag of a stop frame: by force.
inline constexpr std::uint16_t flag_kill = 1;

/// A road on which handles travel: what their codec looks for.
class ref_road {
public:
  virtual void write_ref(writer& out, core::cell* c) = 0;
  virtual core::cell* read_ref(reader& in, const core::class_info& of) = 0;

protected:
  ~ref_road() = default;
};

class peer : public core::remote_link,
             public core::answer_road,
             public std::enable_shared_from_this<peer> {
public:
  explicit peer(core::runtime& rt) : runtime_(rt) {}
  ~peer() override;

  // -- the carrier's ----------------------------------------------------------

  /// A frame about actors came. Errors: decode_error (the peer is broken).
  void receive(const frame_header& head, std::span<const std::byte> payload,
               attachment_carrier& road);

  /// Nothing will come any more: calls fail with `why`, imports end.
  void closed(const std::exception_ptr& why);

  /// Runs an entry with what came.
  void invoke(entry_kind kind, entry_id name,
              std::span<const std::byte> payload, attachment_carrier& road,
              void* target);
  /// Asks the other side to make the actor that this is all about; `s` settles
  /// when it is there. Its number is 1.
  void send_spawn(const entry& constructor,
                  const std::function<void(writer&)>& arguments,
                  core::state<void>& s);
  /// Any other question: `s` settles with what `ops` decodes, or fails.
  /// Errors: what the connection ended with; rejected.
  void send_request(frame_header head,
                    const std::function<void(writer&)>& payload,
                    core::state_base& s, const core::remote_ops& ops);
  void answer_void(std::uint64_t call);
  /// Answers with what `write` writes; throws what it throws, and then nothing
  /// was answered.
  void answer_bytes(std::uint64_t call,
                    const std::function<void(writer&)>& write);
  void answer_error(std::uint64_t call, const std::exception_ptr& e,
                    std::uint16_t flags = 0) noexcept;
  [[nodiscard]] bool has_open_calls();
  [[nodiscard]] bool is_closed();
  /// Handles here or there, calls or answers under way.
  [[nodiscard]] bool is_used();
  /// Calls or answers under way.
  [[nodiscard]] bool is_busy() {
    return serving_.load() != 0 || has_open_calls();
  }

  // -- handles that travel ----------------------------------------------------

  /// Written into a message for the other side. The number of the export that
  /// counts it, 0 for none. When the message has gone, the end of the actor is
  /// told behind it; one that does not go counts the handle back.
  std::uint64_t write_ref(writer& out, core::cell* c);
  void watch_end(std::uint64_t number);
  void count_back(std::uint64_t number, std::uint64_t count) noexcept;
  /// One reference for the caller; null for an empty handle.
  core::cell* read_ref(reader& in, const core::class_info& of);
  /// The first export, without a message: the actor that this is all about.
  std::uint64_t export_actor(core::cell* c);
  core::cell* import_actor(std::uint64_t number, const core::class_info& of);
  /// The stand-in is there already: the cell that is being made.
  void adopt_import(std::uint64_t number, core::cell* stand_in);
  /// Reads a handle that must be to an actor of the other side, made for us;
  /// `stand_in` is for it. Its number; null: nobody wants it any more.
  std::uint64_t adopt_ref(reader& in, core::cell* stand_in);
  /// The stand-in ends, whatever the actor does.
  void end_import(std::uint64_t number, stop_reason why);
  [[nodiscard]] std::size_t exported();
  [[nodiscard]] bool is_exported(const core::cell* c);
  [[nodiscard]] bool has_imports();

  // -- remote_link ------------------------------------------------------------

  void forward(core::cell& from, std::uint64_t target,
               core::envelope* e) noexcept override;
  void stop(std::uint64_t target, bool kill) noexcept override;
  void forget(std::uint64_t target) noexcept override;
  void cancel(core::state_base& s) noexcept override;

  // -- answer_road ------------------------------------------------------------

  void serves(std::uint64_t call, core::state_base& s) override;
  void answer(std::uint64_t call, const core::state_base& s,
              void (*encode)(const core::state_base&,
                             writer&)) noexcept override;

protected:
  /// Sends a frame, or keeps it until there is room; in order. Never blocks on
  /// the other side. `has_room` false: nothing more should be sent now.
  virtual void transmit(const frame_header& head,
                        std::span<const std::byte> payload,
                        attachments& road) = 0;
  /// The same; a carrier may keep the buffer instead of a copy.
  virtual void transmit_buffer(const frame_header& head, buffer payload,
                               attachments& road) {
    transmit(head, payload.bytes(), road);
  }
  /// Descriptors can go beside a frame.
  [[nodiscard]] virtual bool has_attachments() const { return true; }
  /// Calls that may be open, ours there and theirs here; others are rejected.
  [[nodiscard]] virtual std::size_t open_calls_max() const { return SIZE_MAX; }
  [[nodiscard]] virtual bool has_room() { return true; }
  /// Where this is, for errors: "process 123".
  [[nodiscard]] virtual std::string name() const = 0;
  /// The other side wants the actor to end by force.
  virtual void on_kill(core::cell& c);
  /// The other side has no handle to `c` any more, or `c` has ended.
  virtual void on_export_gone(const core::cell&, bool /*has_ended*/) {}

  /// One more call of the other side is served here.
  /// Errors: rejected (too many are).
  void begin_serving();
  void end_serving() noexcept { serving_.fetch_sub(1); }

  core::runtime& runtime_;

private:
  struct releaser {
    void operator()(core::cell* c) const noexcept { core::release(c); }
  };
  using cell_ptr = std::unique_ptr<core::cell, releaser>;
  struct exported_actor {
    core::cell* actor = nullptr; // one strong reference
    std::uint64_t sent = 0;      // handles that were written and not released
    bool is_watched = false;
  };
  struct imported_actor {
    core::cell* stand_in = nullptr; // weak reference
    std::uint64_t received = 0;
    std::size_t going = 0; // former ones that have not called forget
  };
  void take_call(const frame_header& head, std::span<const std::byte> payload,
                 attachment_carrier& road);
  void take_answer(const frame_header& head, std::span<const std::byte> payload,
                   attachment_carrier& road);
  void take_down(const frame_header& head, std::span<const std::byte> payload);
  void take_release(const frame_header& head);
  void send_down(std::uint64_t number, const stop_reason& why) noexcept;
  std::uint64_t export_locked(core::cell* c);
  core::cell* known_import(std::uint64_t number, const core::class_info& of,
                           cell_ptr& old);
  void check_room(const core::envelope& e);
  void fail(core::cell& from, core::envelope* e, core::state_base* s,
            std::exception_ptr why) noexcept;
  std::uint64_t open_call_locked(core::state_base& s,
                                 const core::remote_ops& ops);
  void close_call(std::uint64_t call) noexcept;
  void give_up(std::uint64_t call) noexcept;
  void send_bare(const frame_header& head) noexcept;
  std::uint64_t number_of(const core::cell* c);
  void let_go(core::cell* c) const noexcept;

  std::atomic<std::size_t> serving_{0};
  std::atomic<std::uint64_t> undelivered_{0};
  sched::adaptive_mutex mutex_;
  std::unordered_map<std::uint64_t, exported_actor> exports_;    // mutex_
  std::unordered_map<const core::cell*, std::uint64_t> numbers_; // mutex_
  std::unordered_map<std::uint64_t, imported_actor> imports_;    // mutex_
  call_table calls_;                                             // mutex_
  // The other side's, one reference each.
  std::unordered_map<std::uint64_t, core::state_base*> served_; // mutex_
  std::uint64_t last_export_ = 0;                               // mutex_
  std::exception_ptr closed_;                                   // mutex_
};

} // namespace troupe::wire
