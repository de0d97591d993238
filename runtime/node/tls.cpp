// SPDX-License-Identifier: MIT
#include "node/tls.hpp"

#include "troupe/error.hpp"

#include <openssl/ssl.h>

#include <span>

namespace troupe::nodes {

namespace {

// AES runs in hardware nearly everywhere; 128 bits are enough for anybody.
constexpr auto ciphers =
  "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:"
  "TLS_AES_256_GCM_SHA384";

int found_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr,
                                                nullptr);
  return index;
}

} // namespace

credentials::credentials(key_folder keys)
  : keys_(std::move(keys)),
    own_(keys_.check()),
    context_(boost::asio::ssl::context::tls) {
  auto* c = context_.native_handle();
  SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION);
  SSL_CTX_set_num_tickets(c, 0);
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_max_early_data(c, 0);
  SSL_CTX_set_options(c, SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET);
  SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                     nullptr);
  SSL_CTX_set_cert_verify_callback(c, &credentials::verify, this);
  const auto key = keys_.key_file();
  const auto certificate = keys_.certificate_file();
  if (SSL_CTX_set_ciphersuites(c, ciphers) != 1
      || SSL_CTX_use_certificate_file(c, certificate.c_str(), SSL_FILETYPE_PEM)
           != 1
      || SSL_CTX_use_PrivateKey_file(c, key.c_str(), SSL_FILETYPE_PEM) != 1)
    throw bad_argument{key + ": OpenSSL does not take this key"};
}

void credentials::watch(SSL* ssl, peer_key& found) const {
  SSL_set_ex_data(ssl, found_index(), &found);
}

// In place of OpenSSL's own look at chains, names and dates.
int credentials::verify(X509_STORE_CTX* store, void* self) {
  const auto& credentials = *static_cast<nodes::credentials*>(self);
  auto* ssl = static_cast<SSL*>(
    X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* found = static_cast<peer_key*>(SSL_get_ex_data(ssl, found_index()));
  auto* certificate = X509_STORE_CTX_get0_cert(store);
  X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
  if (found == nullptr || certificate == nullptr)
    return 0;
  try {
    unsigned char* der = nullptr;
    const int size = i2d_X509(certificate, &der);
    if (size <= 0)
      return 0;
    found->fingerprint = fingerprint_of({der, static_cast<std::size_t>(size)});
    OPENSSL_free(der);
    if (!found->wanted.empty() && found->wanted != found->fingerprint)
      found->refused = found->fingerprint + " is not the key that was expected";
    else
      static_cast<void>(
        credentials.keys_.allows(found->fingerprint, found->refused));
  } catch (const std::exception& e) {
    found->refused = e.what();
  }
  if (!found->refused.empty())
    return 0;
  X509_STORE_CTX_set_error(store, X509_V_OK);
  return 1;
}

} // namespace troupe::nodes
