// SPDX-License-Identifier: MIT
// raw_peer: a peer of a node that says what a test wants it to say. It has the
// keys of the tests (nodes.hpp), or others, or none. Everything blocks.
#pragma once

#include <boost/asio/connect.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/websocket/ssl.hpp>
#include <boost/beast/websocket/stream.hpp>

#include <optional>
#include <string>

#include "node/listener.hpp"
#include "node/tls.hpp"
#include "support/nodes.hpp"
#include "wire/build_identity.hpp"
#include "wire/frame.hpp"

namespace test {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;

/// One frame as bytes.
inline std::string frame_text(const troupe::wire::frame_header& head,
                              const std::string& payload = {}) {
  troupe::wire::buffer bytes;
  auto h = head;
  h.payload_bytes = payload.size();
  troupe::wire::append_frame(bytes, h);
  return std::string{reinterpret_cast<const char*>(bytes.data()), bytes.size()}
         + payload;
}

inline std::string hello_text(const troupe::wire::hello& h) {
  troupe::wire::buffer bytes;
  troupe::wire::writer out{bytes};
  troupe::wire::encode(out, h);
  return frame_text(
    {.kind = troupe::wire::frame_kind::hello},
    {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

class raw_peer {
public:
  /// Whose keys: a folder, as `app keys new` makes it.
  explicit raw_peer(const std::string& folder = keys() / "keys")
    : credentials_(std::make_shared<troupe::nodes::credentials>(
        troupe::nodes::key_folder{folder})),
      ws_(context_, credentials_->context()) {}

  /// Only TCP.
  void dial(const std::string& address) {
    socket().connect(troupe::nodes::numeric(address).at(0));
  }
  void accept(tcp::acceptor& from) { from.accept(socket()); }

  void secure(bool as_server) {
    credentials_->watch(ws_.next_layer().native_handle(), found_);
    ws_.next_layer().handshake(as_server ? asio::ssl::stream_base::server
                                         : asio::ssl::stream_base::client);
  }
  void upgrade(bool as_server) {
    if (as_server)
      ws_.accept();
    else
      ws_.handshake("localhost", "/troupe/1");
    ws_.binary(true);
  }

  /// All of it, up to the hello, as a node of our build.
  void join(const std::string& address) {
    dial(address);
    secure(false);
    upgrade(false);
    send(hello_text(troupe::wire::make_hello(77)));
    static_cast<void>(receive());
  }

  void send(const std::string& bytes) { ws_.write(asio::buffer(bytes)); }

  /// The next message; nothing when the connection has ended.
  std::optional<std::string> receive() {
    boost::beast::flat_buffer bytes;
    boost::system::error_code ec;
    ws_.read(bytes, ec);
    if (ec)
      return std::nullopt;
    return std::string{static_cast<const char*>(bytes.data().data()),
                       bytes.size()};
  }

  /// Waits for the end of the connection.
  void await_end() {
    while (receive())
      ;
  }

  tcp::socket& socket() { return boost::beast::get_lowest_layer(ws_); }
  const troupe::nodes::peer_key& found() const { return found_; }

private:
  asio::io_context context_;
  std::shared_ptr<troupe::nodes::credentials> credentials_;
  troupe::nodes::peer_key found_;
  boost::beast::websocket::stream<asio::ssl::stream<tcp::socket>> ws_;
};

/// A socket that listens on loopback.
class raw_listener {
public:
  raw_listener()
    : acceptor_(context_,
                tcp::endpoint{asio::ip::make_address("127.0.0.1"), 0}) {}
  tcp::acceptor& acceptor() { return acceptor_; }
  std::string address() const {
    return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }

private:
  asio::io_context context_;
  tcp::acceptor acceptor_;
};

} // namespace test
