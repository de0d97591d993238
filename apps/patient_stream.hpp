// SPDX-License-Identifier: MIT
// patient_stream: a socket for blocking reads and writes that end in time.
#pragma once

#include <chrono>
#include <cstddef>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/system/system_error.hpp>

/// A socket whose reads and writes fail with timed_out once the time that
/// `allow` gave is over. (SO_RCVTIMEO does nothing here: Asio waits on.)
class patient_stream {
public:
  explicit patient_stream(boost::asio::ip::tcp::socket s)
    : socket_(std::move(s)) {
    socket_.non_blocking(true);
  }

  void allow(std::chrono::milliseconds time) { until_ = clock::now() + time; }

  /// From any thread: no more requests; an answer on its way still goes out.
  void hang_up() { ::shutdown(socket_.native_handle(), SHUT_RD); }

  /// Lets the client read what was written though it still sends: closing at
  /// once would reset the connection under it.
  void linger() {
    ::shutdown(socket_.native_handle(), SHUT_WR);
    allow(std::chrono::seconds{1});
    char unread[4096];
    boost::system::error_code error;
    while (!error)
      read_some(boost::asio::buffer(unread), error);
  }

  template <class Buffers>
  std::size_t read_some(const Buffers& to, boost::system::error_code& error) {
    return retry(POLLIN, error, [&] { return socket_.read_some(to, error); });
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& to) {
    return or_throw(
      [&](boost::system::error_code& e) { return read_some(to, e); });
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from,
                         boost::system::error_code& error) {
    return retry(POLLOUT, error,
                 [&] { return socket_.write_some(from, error); });
  }
  template <class Buffers>
  std::size_t write_some(const Buffers& from) {
    return or_throw(
      [&](boost::system::error_code& e) { return write_some(from, e); });
  }

private:
  using clock = std::chrono::steady_clock;

  template <class F>
  static std::size_t or_throw(F f) {
    boost::system::error_code error;
    const auto n = f(error);
    if (error)
      throw boost::system::system_error{error};
    return n;
  }

  template <class F>
  std::size_t retry(short event, boost::system::error_code& error, F f) {
    for (;;) {
      const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until_ - clock::now());
      if (left.count() <= 0) { // also for a client that sends on and on
        error = boost::asio::error::timed_out;
        return 0;
      }
      if (const auto n = f(); error != boost::asio::error::would_block)
        return n;
      pollfd wanted{socket_.native_handle(), event, 0};
      ::poll(&wanted, 1, static_cast<int>(left.count()));
    }
  }

  boost::asio::ip::tcp::socket socket_;
  clock::time_point until_{};
};
