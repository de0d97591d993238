// SPDX-License-Identifier: MIT
// connection: frames between two nodes, over WebSocket over TLS over TCP.
//
//   send ─▶ [ outbox ] ─▶ message ≤ 1 MiB ═══▶ bytes ─▶ frame_decoder ─▶ owner
//
// `send` only appends; what has come together goes as one message when the last
// one is out. Life: begin ─▶ on_up ─▶ on_frame ... ─▶ on_end, each in the loop
// (see loop.hpp); on_end comes exactly once, and alone if it never came up.
#pragma once

#include "node/loop.hpp"
#include "node/tls.hpp"
#include "wire/build_identity.hpp"
#include "wire/frame.hpp"

#include <boost/asio/ip/tcp.hpp>

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

namespace troupe::nodes {

using tcp = asio::ip::tcp;

struct connection_options {
  std::chrono::nanoseconds handshake{5'000'000'000};
  std::chrono::nanoseconds heartbeat{1'000'000'000};
  std::chrono::nanoseconds patience{5'000'000'000};
  /// Above this a connection on which nothing moves for `patience` is cut:
  /// answers that the other side doesn't read.
  std::size_t outbox_bytes_max = std::size_t{256} << 20;
  /// Above it in bytes and this in frames it is cut at once: more answers than
  /// it may have asked for.
  std::size_t outbox_frames_max = 1'000'000;
  std::uint64_t incarnation = 0;
  /// The only key that will do; empty: any that is let in.
  std::string fingerprint;
};

/// Who a connection is for. All in the loop.
class connection_owner {
public:
  virtual ~connection_owner() = default;
  virtual void on_up(const wire::hello& theirs, const std::string& key) = 0;
  /// Throws decode_error to end the connection.
  virtual void on_frame(const wire::frame_header& head,
                        std::span<const std::byte> payload) = 0;
  virtual void on_end(std::exception_ptr why) = 0;
  /// Of a side that listens, before on_end: a stranger was turned away.
  virtual void on_refusal(const std::string& who_and_why) = 0;
};

class connection : public flushable {
public:
  /// A side that listens has accepted `socket`.
  static std::shared_ptr<connection> accepted(loop& l,
                                              std::shared_ptr<credentials> c,
                                              tcp::socket socket,
                                              connection_options options);
  /// A side that connects.
  static std::shared_ptr<connection> connecting(loop& l,
                                                std::shared_ptr<credentials> c,
                                                connection_options options);

  /// In the loop: begins the handshakes; for a side that connects, at `where`.
  virtual void begin(std::shared_ptr<connection_owner> owner,
                     std::vector<tcp::endpoint> where, std::string host) = 0;

  /// Any thread, at any time; after the end it does nothing.
  virtual void send(const wire::frame_header& head,
                    std::span<const std::byte> payload) = 0;
  /// The same without a copy of a large payload.
  virtual void send(const wire::frame_header& head, wire::buffer payload) = 0;
  [[nodiscard]] virtual std::size_t backlog_bytes() const = 0;

  /// Any thread: ends it, with what is queued sent first if `gracefully`, for
  /// a second at most.
  virtual void close(std::string why, bool gracefully) = 0;

  /// Ends it at once. Requires: the loop has stopped.
  virtual void abandon(std::exception_ptr why) = 0;

  /// Where the other side is, for people: "10.0.0.7:7000".
  [[nodiscard]] virtual std::string peer_address() const = 0;
};

} // namespace troupe::nodes
