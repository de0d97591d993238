// SPDX-License-Identifier: MIT
// tls_engine: OpenSSL between blocks of memory, for tls_stream.hpp, which
// brings them to a socket and back. Nothing here waits.
#pragma once

#include "troupe/detail/wire/buffer.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/system/error_code.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace troupe::nodes {

namespace asio = boost::asio;
using boost::system::error_code;

class tls_engine {
public:
  /// What an operation has come to.
  enum class state { done, wants_input, failed };
  /// The most of plain bytes that one write takes.
  static constexpr std::size_t write_bytes_max = std::size_t{128} << 10;

  explicit tls_engine(SSL_CTX* context);
  ~tls_engine();
  tls_engine(const tls_engine&) = delete;
  tls_engine& operator=(const tls_engine&) = delete;

  [[nodiscard]] SSL* native_handle() const noexcept { return ssl_; }

  state shake_hands(bool is_server);
  state say_goodbye();

  /// How many bytes there were for `to`; fewer than it takes: state() says why.
  std::size_t read(asio::mutable_buffer to);
  /// False: state() is failed.
  bool write(asio::const_buffer from);
  [[nodiscard]] state at() const noexcept { return at_; }
  /// Of the last failure; it stays.
  [[nodiscard]] const error_code& error() const noexcept { return error_; }

  /// Where bytes of the socket go. Requires: wants_input.
  asio::mutable_buffer input() noexcept;
  void filled(std::size_t count) noexcept {
    in_end_ = count;
    received_bytes_ += count;
  }

  /// What is to be sent; `sent` takes it off.
  asio::const_buffer output();
  void sent(std::size_t count) noexcept {
    sent_ += count;
    sent_bytes_ += count;
  }
  [[nodiscard]] bool is_sending() const noexcept {
    return sent_ != sending_.size();
  }

  /// All that came from the socket, and went to it.
  [[nodiscard]] std::uint64_t received_bytes() const noexcept {
    return received_bytes_;
  }
  [[nodiscard]] std::uint64_t sent_bytes() const noexcept {
    return sent_bytes_;
  }

  /// Room for the bytes of one record that come in several pieces.
  std::span<std::byte> flat() noexcept { return {flat_.get(), record_bytes}; }
  static constexpr std::size_t record_bytes = std::size_t{16} << 10;

private:
  friend struct tls_bio;
  state judge(int result);

  SSL* ssl_;
  std::unique_ptr<std::byte[]> in_;
  std::unique_ptr<std::byte[]> flat_;
  std::size_t in_begin_ = 0, in_end_ = 0;
  wire::buffer out_;     // what OpenSSL has written
  wire::buffer sending_; // sent_ bytes of it are out
  std::size_t sent_ = 0;
  std::uint64_t received_bytes_ = 0, sent_bytes_ = 0;
  std::size_t out_bytes_max_ = 0; // 0: no bound
  state at_ = state::done;
  error_code error_;
};

} // namespace troupe::nodes
