// SPDX-License-Identifier: MIT
// envelope: one message, as one intrusive node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace troupe::detail {

class cell; // an actor: core/cell.hpp
struct envelope;

/// Why a message is not delivered.
enum class drop_reason : std::uint8_t {
  stopped,  // the actor has ended, or ends without reading its mailbox
  rejected, // a bounded mailbox was full
};

enum class message_kind : std::uint8_t {
  call,   // one message at a time, in order
  system, // in order, never bounded
  urgent, // replies and kills: at once, also while a method is suspended
};

/// Says that a message is made of arguments that came from another process.
struct from_wire {};

struct remote_ops; // troupe/detail/remote_message.hpp

/// What a kind of message can do: one constant per method.
struct message_ops {
  /// Delivers to `object`, which is in `self`; disposes of the envelope, also
  /// when it throws.
  void (*run)(envelope*, cell& self, void* object);
  /// Disposes of a message that will not be delivered and tells who waits.
  void (*drop)(envelope*, drop_reason) noexcept;
  /// Such as `counter::add`.
  std::string_view name;
  message_kind kind = message_kind::call;
  /// How it goes to another process; null: it is the runtime's own.
  const remote_ops* remote = nullptr;
};

struct alignas(16) envelope {
  envelope* next = nullptr;
  const message_ops* ops;

  explicit envelope(const message_ops* o) : ops(o) {}
};

// The last tell of this turn, if its envelope could be shared: who tells the
// same again shares one. A turn that tells once does without the room.
struct told {
  const cell* to;
  const message_ops* ops;
};
extern constinit thread_local told told_last;

/// Memory for envelopes, states and coroutine frames (mimalloc, else malloc).
void* allocate(std::size_t bytes);
void deallocate(void* p) noexcept;

/// Base for what lives in that memory.
struct pooled {
  static void* operator new(std::size_t n) { return allocate(n); }
  static void operator delete(void* p) noexcept { deallocate(p); }
};

/// Deletes what it points to. Every kind of message needs one of its own, and
/// this one compiles in a tenth of the time that std::unique_ptr takes.
template <class T>
struct owned {
  T* it;

  explicit owned(T* p) noexcept : it(p) {}
  owned(const owned&) = delete;
  owned& operator=(const owned&) = delete;
  ~owned() { delete it; }

  T* operator->() const noexcept { return it; }
  T* release() noexcept {
    auto* p = it;
    it = nullptr;
    return p;
  }
};

} // namespace troupe::detail
