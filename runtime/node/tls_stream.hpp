// SPDX-License-Identifier: MIT
// tls_stream: OpenSSL over a socket, below Beast.
//
//   plain ─▶ SSL_write ─▶ [ out ] ─▶ socket ═══▶ [ in ] ─▶ SSL_read ─▶ plain
//
// asio::ssl::stream does this record by record: for each 16 KiB a system call,
// a turn of the loop, two more copies and, if it has been idle, fresh buffers.
// Here a read takes what the socket has, and a write sends all its records at
// once.
// Invariants: (1) one read and one write at a time, both the loop's; a
// handshake or a goodbye is both. (2) The socket is read only when OpenSSL has
// taken all that came. (3) What reading makes OpenSSL write (an answer to a
// change of keys) goes with the next write, and is bounded.
#pragma once

#include "node/tls_engine.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/compose.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/error.hpp>
#include <boost/beast/core/role.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

namespace troupe::nodes {

/// An AsyncStream; what Beast needs of one.
class tls_stream {
public:
  using next_layer_type = asio::ip::tcp::socket;
  using executor_type = next_layer_type::executor_type;

  tls_stream(next_layer_type socket, asio::ssl::context& context)
    : socket_(std::move(socket)),
      engine_(std::make_unique<tls_engine>(context.native_handle())) {}

  executor_type get_executor() { return socket_.get_executor(); }
  next_layer_type& next_layer() noexcept { return socket_; }
  const next_layer_type& next_layer() const noexcept { return socket_; }
  SSL* native_handle() const noexcept { return engine_->native_handle(); }
  const tls_engine& engine() const noexcept { return *engine_; }

  template <class Handler>
  auto async_handshake(bool is_server, Handler&& handler) {
    return drive(is_server ? task::accept : task::connect,
                 std::forward<Handler>(handler));
  }

  template <class Handler>
  auto async_shutdown(Handler&& handler) {
    return drive(task::goodbye, std::forward<Handler>(handler));
  }

  template <class Buffers, class Handler>
  auto async_read_some(const Buffers& to, Handler&& handler) {
    return asio::async_compose<Handler, void(error_code, std::size_t)>(
      read_op<Buffers>{*this, to}, handler, socket_);
  }

  template <class Buffers, class Handler>
  auto async_write_some(const Buffers& from, Handler&& handler) {
    return asio::async_compose<Handler, void(error_code, std::size_t)>(
      write_op<Buffers>{*this, from}, handler, socket_);
  }

private:
  enum class task { accept, connect, goodbye };
  enum class stage { begun, was_read, was_sent, over };

  template <class Handler>
  auto drive(task what, Handler&& handler) {
    return asio::async_compose<Handler, void(error_code)>(drive_op{*this, what},
                                                          handler, socket_);
  }

  // An end of the socket without a goodbye is one of the stream cut short.
  static error_code cut(const error_code& ec) {
    return ec == asio::error::eof
             ? error_code{asio::ssl::error::stream_truncated}
             : ec;
  }

  // Whoever began an operation is not called back before that has returned.
  template <class Self>
  void finish(Self& self, stage& at) {
    at = stage::over;
    asio::post(socket_.get_executor(), std::move(self));
  }

  template <class Buffers>
  struct read_op {
    tls_stream& s;
    Buffers to;
    stage at = stage::begun;
    std::size_t count = 0;
    error_code result;

    template <class Self>
    void operator()(Self& self, error_code ec = {}, std::size_t n = 0) {
      if (at == stage::over)
        return self.complete(result, count);
      if (at == stage::was_read) {
        if (ec)
          return self.complete(cut(ec), 0);
        s.engine_->filled(n);
      }
      if (!s.take(to, count)) {
        at = stage::was_read;
        s.socket_.async_read_some(s.engine_->input(), std::move(self));
        return;
      }
      if (count == 0 && s.engine_->at() == tls_engine::state::failed) {
        s.send_alert();
        result = s.engine_->error();
      }
      if (at == stage::begun)
        return s.finish(self, at);
      self.complete(result, count);
    }
  };

  template <class Buffers>
  struct write_op {
    tls_stream& s;
    Buffers from;
    stage at = stage::begun;
    std::size_t count = 0;
    error_code result;

    template <class Self>
    void operator()(Self& self, error_code ec = {}, std::size_t n = 0) {
      if (at == stage::over)
        return self.complete(result, count);
      if (at == stage::was_sent) {
        if (ec)
          return self.complete(ec, 0);
        s.engine_->sent(n);
      } else if (!s.give(from, count)) {
        count = 0;
        result = s.engine_->error();
        return s.finish(self, at);
      }
      const auto rest = s.engine_->output();
      if (rest.size() != 0) {
        at = stage::was_sent;
        s.socket_.async_write_some(rest, std::move(self));
        return;
      }
      if (at == stage::begun)
        return s.finish(self, at);
      self.complete({}, count);
    }
  };

  struct drive_op {
    tls_stream& s;
    task what;
    stage at = stage::begun;
    tls_engine::state state = tls_engine::state::wants_input;

    template <class Self>
    void operator()(Self& self, error_code ec = {}, std::size_t n = 0) {
      if (ec)
        return self.complete(cut(ec));
      if (at == stage::over)
        return self.complete(result());
      if (at == stage::was_sent)
        s.engine_->sent(n);
      if (at == stage::was_read)
        s.engine_->filled(n);
      if (at != stage::was_sent)
        state = what == task::goodbye
                  ? s.engine_->say_goodbye()
                  : s.engine_->shake_hands(what == task::accept);
      if (const auto rest = s.engine_->output(); rest.size() != 0) {
        at = stage::was_sent;
        s.socket_.async_write_some(rest, std::move(self));
      } else if (state == tls_engine::state::wants_input) {
        at = stage::was_read;
        s.socket_.async_read_some(s.engine_->input(), std::move(self));
      } else if (at == stage::begun) {
        s.finish(self, at);
      } else {
        self.complete(result());
      }
    }

    error_code result() const {
      return state == tls_engine::state::failed ? s.engine_->error()
                                                : error_code{};
    }
  };

  // False: nothing there, the socket must be read.
  template <class Buffers>
  bool take(const Buffers& to, std::size_t& count) {
    for (auto i = asio::buffer_sequence_begin(to);
         i != asio::buffer_sequence_end(to); ++i) {
      const asio::mutable_buffer one{*i};
      const auto n = engine_->read(one);
      count += n;
      if (n != one.size())
        return count != 0 || engine_->at() == tls_engine::state::failed;
    }
    return true;
  }

  // Whole records as they stand; what is in small pieces is put together.
  template <class Buffers>
  bool give(const Buffers& from, std::size_t& count) {
    const auto flat = engine_->flat();
    std::size_t held = 0;
    auto flush = [&] {
      return held == 0 || engine_->write({flat.data(), std::exchange(held, 0)});
    };
    for (auto i = asio::buffer_sequence_begin(from);
         i != asio::buffer_sequence_end(from); ++i) {
      asio::const_buffer one{*i};
      while (one.size() != 0 && count < tls_engine::write_bytes_max) {
        auto n = std::min(one.size(), tls_engine::write_bytes_max - count);
        if (held == 0 && n >= flat.size()) {
          n -= n % flat.size();
          if (!engine_->write({one.data(), n}))
            return false;
        } else {
          n = asio::buffer_copy(
            asio::buffer(flat.data() + held, flat.size() - held),
            asio::const_buffer{one.data(), n});
          held += n;
          if (held == flat.size() && !flush())
            return false;
        }
        one += n;
        count += n;
      }
    }
    return flush();
  }

  // The other side shall know why; whether it hears it is its own affair.
  void send_alert() {
    if (engine_->is_sending())
      return; // a write is at it
    error_code ignored;
    socket_.non_blocking(true, ignored);
    const auto rest = engine_->output();
    if (rest.size() != 0 && !ignored)
      engine_->sent(socket_.write_some(rest, ignored));
  }

  next_layer_type socket_;
  std::unique_ptr<tls_engine> engine_;
};

/// How Beast ends a stream: our goodbye and theirs, then the socket.
template <class Handler>
void async_teardown(boost::beast::role_type, tls_stream& s, Handler&& handler) {
  s.async_shutdown(std::forward<Handler>(handler));
}

} // namespace troupe::nodes
