// SPDX-License-Identifier: MIT
// tls: OpenSSL as nodes use it: TLS 1.3 alone, both sides prove a key, and the
// key folder says which ones count. No sessions, no tickets, no authorities.
#pragma once

#include "node/keys.hpp"

#include <boost/asio/ssl/context.hpp>

#include <memory>
#include <string>

namespace troupe::nodes {

/// What a handshake has found out about the other side's key.
struct peer_key {
  std::string fingerprint; // empty: it showed none
  std::string refused;     // why it is not let in; empty when it is
  std::string wanted;      // the only one that will do; empty: the list says
};

class credentials {
public:
  /// Errors: bad_argument (see key_folder::check).
  explicit credentials(key_folder keys);
  credentials(const credentials&) = delete;
  credentials& operator=(const credentials&) = delete;

  boost::asio::ssl::context& context() noexcept { return context_; }
  [[nodiscard]] const std::string& own() const noexcept { return own_; }
  [[nodiscard]] const key_folder& keys() const noexcept { return keys_; }

  /// The handshake of `ssl` writes what it finds to `found`, which outlives it.
  void watch(SSL* ssl, peer_key& found) const;

private:
  static int verify(X509_STORE_CTX* store, void* self);

  const key_folder keys_;
  const std::string own_;
  boost::asio::ssl::context context_;
};

} // namespace troupe::nodes
