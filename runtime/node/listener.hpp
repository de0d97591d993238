// SPDX-License-Identifier: MIT
// listener: a port on which other nodes are let in.
// Limits: `handshakes_max` strangers at a time, `connections_max` in all; more
//         are closed at once. No memory, no descriptors: it waits a moment.
#pragma once

#include "node/connection.hpp"

#include <boost/asio/steady_timer.hpp>

namespace troupe::nodes {

class host;

class listener : public std::enable_shared_from_this<listener> {
public:
  /// Errors: bad_argument (no such address, the port is taken).
  listener(host& h, const std::string& address);

  void start();
  /// In the loop.
  void close();
  [[nodiscard]] const std::string& address() const noexcept { return address_; }

private:
  void accept();
  void take(tcp::socket socket);

  host& host_;
  const std::shared_ptr<asio::io_context> context_;
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  std::string address_;
};

/// Where "host:port" is, by the system's resolver; may take long.
/// Errors: bad_argument.
std::vector<tcp::endpoint> resolve(const std::string& address);
/// The same if it is a number; empty otherwise.
std::vector<tcp::endpoint> numeric(const std::string& address);
std::string to_string(const tcp::endpoint& e);

} // namespace troupe::nodes
