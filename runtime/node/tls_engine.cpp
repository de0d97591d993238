// SPDX-License-Identifier: MIT
#include "node/tls_engine.hpp"

#include "troupe/error.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace troupe::nodes {

namespace {

// What is read from the socket at a time.
constexpr std::size_t in_bytes = std::size_t{128} << 10;
// What reading may make us write before the next write takes it along: some
// hundred answers to a change of keys.
constexpr std::size_t answer_bytes_max = std::size_t{16} << 10;

} // namespace

/// Where OpenSSL reads and writes: the two buffers of an engine.
struct tls_bio {
  static tls_engine& engine(BIO* b) {
    return *static_cast<tls_engine*>(BIO_get_data(b));
  }

  static int read(BIO* b, char* to, std::size_t wanted, std::size_t* count) {
    auto& e = engine(b);
    BIO_clear_retry_flags(b);
    const auto n = std::min(wanted, e.in_end_ - e.in_begin_);
    if (n == 0) {
      BIO_set_retry_read(b);
      return 0;
    }
    std::memcpy(to, e.in_.get() + e.in_begin_, n);
    e.in_begin_ += n;
    *count = n;
    return 1;
  }

  static int write(BIO* b, const char* from, std::size_t size,
                   std::size_t* count) {
    auto& e = engine(b);
    BIO_clear_retry_flags(b);
    if (e.out_bytes_max_ != 0 && e.out_.size() + size > e.out_bytes_max_) {
      BIO_set_retry_write(b);
      return 0;
    }
    try {
      e.out_.append(std::as_bytes(std::span{from, size}));
    } catch (const std::bad_alloc&) {
      return 0; // fails the operation
    }
    *count = size;
    return 1;
  }

  static long control(BIO*, int what, long, void*) {
    return what == BIO_CTRL_FLUSH ? 1 : 0;
  }

  static const BIO_METHOD* method() {
    static BIO_METHOD* const made = [] {
      auto* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK,
                             "troupe");
      if (m == nullptr)
        throw std::bad_alloc{};
      BIO_meth_set_read_ex(m, &tls_bio::read);
      BIO_meth_set_write_ex(m, &tls_bio::write);
      BIO_meth_set_ctrl(m, &tls_bio::control);
      return m;
    }();
    return made;
  }
};

tls_engine::tls_engine(SSL_CTX* context)
  : ssl_(SSL_new(context)),
    in_(std::make_unique_for_overwrite<std::byte[]>(in_bytes)),
    flat_(std::make_unique_for_overwrite<std::byte[]>(record_bytes)) {
  auto* b = ssl_ == nullptr ? nullptr : BIO_new(tls_bio::method());
  if (b == nullptr) {
    SSL_free(ssl_);
    throw std::bad_alloc{};
  }
  BIO_set_data(b, this);
  BIO_set_init(b, 1);
  SSL_set_bio(ssl_, b, b);
}

tls_engine::~tls_engine() {
  SSL_free(ssl_);
}

tls_engine::state tls_engine::judge(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_NONE:
      return at_ = state::done;
    case SSL_ERROR_WANT_READ:
      return at_ = state::wants_input;
    case SSL_ERROR_WANT_WRITE: // out_bytes_max_
      error_ = asio::error::no_buffer_space;
      break;
    case SSL_ERROR_ZERO_RETURN:
      error_ = asio::error::eof;
      break;
    default: {
      const auto code = ERR_get_error();
      error_ = code == 0 ? error_code{asio::ssl::error::stream_truncated}
                         : error_code{static_cast<int>(code),
                                      asio::error::get_ssl_category()};
    }
  }
  return at_ = state::failed;
}

tls_engine::state tls_engine::shake_hands(bool is_server) {
  ERR_clear_error();
  out_bytes_max_ = 0;
  return judge(is_server ? SSL_accept(ssl_) : SSL_connect(ssl_));
}

// Ours first, then we wait for theirs.
tls_engine::state tls_engine::say_goodbye() {
  ERR_clear_error();
  out_bytes_max_ = 0;
  auto result = SSL_shutdown(ssl_);
  if (result == 0)
    result = SSL_shutdown(ssl_);
  return judge(result);
}

std::size_t tls_engine::read(asio::mutable_buffer to) {
  if (at_ == state::failed)
    return 0;
  out_bytes_max_ = answer_bytes_max;
  std::size_t count = 0;
  while (to.size() != 0) {
    std::size_t n = 0;
    ERR_clear_error();
    const auto result = SSL_read_ex(ssl_, to.data(), to.size(), &n);
    if (result != 1) {
      judge(result);
      break;
    }
    to += n;
    count += n;
  }
  return count;
}

bool tls_engine::write(asio::const_buffer from) {
  std::size_t n = 0;
  ERR_clear_error();
  out_bytes_max_ = 0;
  const auto result = SSL_write_ex(ssl_, from.data(), from.size(), &n);
  if (result == 1)
    return true;
  if (judge(result) == state::wants_input) {
    // There is no such thing in TLS 1.3 once hands are shaken.
    error_ = asio::error::no_protocol_option;
    at_ = state::failed;
  }
  return false;
}

asio::mutable_buffer tls_engine::input() noexcept {
  in_begin_ = in_end_ = 0;
  return {in_.get(), in_bytes};
}

asio::const_buffer tls_engine::output() {
  if (sent_ == sending_.size()) {
    sending_.clear();
    sent_ = 0;
    std::swap(sending_, out_);
  }
  return {sending_.data() + sent_, sending_.size() - sent_};
}

} // namespace troupe::nodes
