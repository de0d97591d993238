// SPDX-License-Identifier: MIT
// frame: one message between processes or nodes; the carrier is a ring of
// bytes, a socket, or a message of a WebSocket. README.md draws the header.
// Invariants: (1) every field of a header is checked before a byte of memory
// is taken for it. (2) Memory for a payload follows what has arrived, not what
// is claimed: eight times that at most. (3) After an error a decoder gives
// nothing more: the connection is over.
#pragma once

#include "troupe/detail/wire/buffer.hpp"
#include "troupe/detail/wire/limits.hpp"
#include "troupe/detail/wire/reader.hpp"
#include "troupe/detail/wire/writer.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace troupe::wire {

enum class frame_kind : std::uint8_t {
  hello = 1, // who I am: protocol, build, incarnation
  call,      // run `name` and answer
  tell,      // run `name`, no answer
  result,    // of `call`
  error,     // of `call`: a failure record
  cancel,    // `call` is not wanted any more
  ping,      // answer with a pong of the same `call`
  pong,
  spawn,   // make an actor: `name` is its constructor; answered like a call
  release, // the last handle of actor `target` is gone
  monitor, // tell me when actor `target` ends
  down,    // actor `target` has ended: why
  stop,    // end actor `target`; without a target: end, after what is queued
  credit,  // the sender may send `call` more bytes
  log,     // a line for the log of the parent
  notice,  // anything else between the two: what it is stands in the payload
};

inline constexpr auto frame_kind_last = frame_kind::notice;

[[nodiscard]] std::string_view to_string(frame_kind kind) noexcept;

struct frame_header {
  static constexpr std::size_t size_bytes = 64;
  static constexpr std::uint64_t no_deadline = ~std::uint64_t{0};
  /// About a hundred years: more is a mistake.
  static constexpr std::uint64_t deadline_us_max = std::uint64_t{100} * 366 * 24
                                                   * 3600 * 1'000'000;
  static constexpr std::uint32_t attachments_max = 64;

  frame_kind kind = frame_kind::notice;
  std::uint16_t flags = 0;  // free for the carrier
  std::uint64_t call = 0;   // joins an answer to its question; not 0 in these
  std::uint64_t target = 0; // an actor's number on the side that is asked
  std::uint64_t name = 0;   // an entry of the name table
  /// Microseconds that remain; clocks of two machines don't agree.
  std::uint64_t deadline_us = no_deadline;
  std::uint64_t trace = 0; // what one request caused, all along
  std::uint64_t payload_bytes = 0;
  std::uint32_t attachments = 0; // descriptors or blobs that come beside it

  friend bool operator==(const frame_header&, const frame_header&) = default;
};

/// Microseconds from `now` to `at`, for a header: 0 if it has passed.
std::uint64_t
remaining_us(std::optional<std::chrono::steady_clock::time_point> at,
             std::chrono::steady_clock::time_point now) noexcept;

/// The point in time again on this side, none for no deadline.
std::optional<std::chrono::steady_clock::time_point>
deadline_at(const frame_header& head,
            std::chrono::steady_clock::time_point now) noexcept;

/// Stores a header at `to`. Requires: room for size_bytes.
void store_header(std::byte* to, const frame_header& head) noexcept;

/// The header in `bytes`, if it is one that may come.
/// Errors: decode_error (bad magic, version, checksum, kind, a field that this
/// kind can't have, a payload beyond the limit).
frame_header load_header(std::span<const std::byte, frame_header::size_bytes>,
                         const limits& bounds = {});

/// Appends one frame to a buffer; many may stand in one buffer.
///
///   frame_writer frame{out, {.kind = frame_kind::call, .call = 7, .name =
///   id}}; encode_args<int, std::string>(frame.payload(), 1, "x");
///   frame.finish();
///
/// Destroyed before `finish`, because encoding threw, it leaves no trace.
class frame_writer {
public:
  frame_writer(buffer& out, const frame_header& head, const limits& bounds = {},
               carrier* road = nullptr);
  frame_writer(const frame_writer&) = delete;
  frame_writer& operator=(const frame_writer&) = delete;
  ~frame_writer();

  writer& payload() noexcept { return payload_; }

  /// Fields may still change until `finish` (attachments, say).
  frame_header& header() noexcept { return head_; }

  void finish() noexcept;

private:
  buffer& out_;
  std::size_t start_;
  frame_header head_;
  writer payload_;
  bool finished_ = false;
};

/// Appends a frame without a payload.
void append_frame(buffer& out, const frame_header& head);

/// A frame inside bytes that are somebody else's.
struct frame_view {
  frame_header head;
  std::span<const std::byte> payload;

  [[nodiscard]] std::size_t size_bytes() const noexcept {
    return frame_header::size_bytes + payload.size();
  }
};

/// The frame that `bytes` begin with, or nothing while part of it is missing.
/// For bytes in one piece that no other process can write to: a message of a
/// WebSocket, what was copied out of a ring.
/// Errors: decode_error; the connection is over.
std::optional<frame_view> next_frame(std::span<const std::byte> bytes,
                                     const limits& bounds = {});

/// A frame that has come whole.
struct frame {
  frame_header head;
  buffer payload;
};

/// Cuts a stream of bytes that arrives in any pieces into frames.
/// One thread at a time.
class frame_decoder {
public:
  explicit frame_decoder(const limits& bounds = {}) noexcept
    : bounds_(bounds) {}

  /// Takes bytes up to the end of the frame that they complete and returns how
  /// many; the rest is for after `take`. Takes none while a frame is ready.
  /// Errors: decode_error, then and at each later call.
  std::size_t push(std::span<const std::byte> bytes);

  /// Memory that the payload has and has not filled: a carrier may put the next
  /// bytes there itself, and says with `filled` how many they are. Empty while
  /// there is none.
  std::span<std::byte> room() noexcept;
  /// Requires: count <= room().size(), of just now.
  void filled(std::size_t count) { payload_.extend(count); }

  /// A whole frame is there.
  [[nodiscard]] bool is_ready() const noexcept {
    return has_header_ && payload_.size() == head_.payload_bytes;
  }

  /// Requires: is_ready().
  frame take();

  /// Not between two frames: a stream that ends now was cut.
  [[nodiscard]] bool is_midway() const noexcept {
    return has_header_ || header_bytes_ != 0;
  }

  /// Bytes that are missing before anything can happen.
  [[nodiscard]] std::size_t missing_bytes() const noexcept;

  /// Memory held for a payload; for tests and metrics.
  [[nodiscard]] std::size_t payload_capacity_bytes() const noexcept {
    return payload_.capacity();
  }

private:
  std::size_t push_header(std::span<const std::byte> bytes);

  limits bounds_;
  std::byte header_[frame_header::size_bytes] = {};
  std::size_t header_bytes_ = 0;
  frame_header head_;
  buffer payload_;
  std::string fault_;
  bool has_header_ = false;
};

} // namespace troupe::wire
