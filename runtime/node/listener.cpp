// SPDX-License-Identifier: MIT
#include "node/listener.hpp"

#include "core/log.hpp"
#include "node/host.hpp"
#include "node/session.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cstring>
#include <netdb.h>

namespace troupe::nodes {

namespace {

using boost::system::error_code;

constexpr std::chrono::milliseconds pause{100};

struct parts {
  std::string host;
  std::uint16_t port;
};

parts split(const std::string& address) {
  const auto colon = address.rfind(':');
  auto host = address.substr(0, colon == std::string::npos ? 0 : colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  else if (host.find(':') != std::string::npos)
    host.push_back('\n'); // no host has that: an IPv6 address needs brackets
  const auto text = colon == std::string::npos ? std::string{}
                                               : address.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(),
                                         port);
  if (text.empty() || ec != std::errc{} || end != text.data() + text.size()
      || host.find_first_of("\n\r /") != std::string::npos)
    throw bad_argument{
      fmt::format("\"{}\" is no address: HOST:PORT, with a "
                  "port of 0..65535",
                  address)};
  return {std::move(host), port};
}

[[noreturn]] void refuse(const std::string& address, const error_code& ec) {
  throw bad_argument{fmt::format("listen on {}: {}", address, ec.message())};
}

} // namespace

std::string to_string(const tcp::endpoint& e) {
  const auto text = e.address().to_string();
  return e.address().is_v6() ? fmt::format("[{}]:{}", text, e.port())
                             : fmt::format("{}:{}", text, e.port());
}

std::vector<tcp::endpoint> numeric(const std::string& address) {
  const auto [host, port] = split(address);
  if (host.empty())
    return {{tcp::v4(), port}};
  error_code ec;
  const auto number = asio::ip::make_address(host, ec);
  if (ec)
    return {};
  return {{number, port}};
}

std::vector<tcp::endpoint> resolve(const std::string& address) {
  auto found = numeric(address);
  if (!found.empty())
    return found;
  const auto [host, port] = split(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  const int rc = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (rc != 0)
    throw bad_argument{fmt::format("{}: {}", address, ::gai_strerror(rc))};
  for (auto* a = list; a != nullptr; a = a->ai_next) {
    tcp::endpoint e;
    if (a->ai_addrlen > e.capacity())
      continue;
    std::memcpy(e.data(), a->ai_addr, a->ai_addrlen);
    e.resize(a->ai_addrlen);
    e.port(port);
    found.push_back(e);
  }
  ::freeaddrinfo(list);
  return found;
}

listener::listener(host& h, const std::string& address)
  : host_(h),
    context_(h.loop().context()),
    acceptor_(*context_),
    pause_(*context_) {
  const auto where = resolve(address).at(0);
  error_code ec;
  static_cast<void>(acceptor_.open(where.protocol(), ec));
  if (ec)
    refuse(address, ec);
  static_cast<void>(
    acceptor_.set_option(asio::socket_base::reuse_address{true}, ec));
  static_cast<void>(acceptor_.bind(where, ec));
  if (!ec)
    static_cast<void>(
      acceptor_.listen(asio::socket_base::max_listen_connections, ec));
  if (ec)
    refuse(address, ec);
  address_ = to_string(acceptor_.local_endpoint());
}

void listener::start() {
  host_.loop().post([self = shared_from_this()] { self->accept(); });
}

void listener::close() {
  error_code ignored;
  acceptor_.close(ignored);
  pause_.cancel();
}

void listener::accept() {
  if (!acceptor_.is_open())
    return;
  acceptor_.async_accept(
    [self = shared_from_this()](error_code ec, tcp::socket socket) {
      if (!self->acceptor_.is_open())
        return;
      if (!ec) {
        self->take(std::move(socket));
        self->accept();
        return;
      }
      detail::log().warn("node: {}: a connection could not be accepted: {}",
                         self->address_, ec.message());
      self->pause_.expires_after(pause);
      self->pause_.async_wait([self](error_code) { self->accept(); });
    });
}

void listener::take(tcp::socket socket) {
  try {
    auto s = std::make_shared<session>(host_,
                                       std::weak_ptr<detail::node_core>{});
    auto c = connection::accepted(host_.loop(), host_.keys(), std::move(socket),
                                  host_.settings());
    s->start(c);
    if (!host_.add(s, true)) {
      host_.log_refusal(c->peer_address() + ": too many connections");
      return;
    }
    c->begin(s, {}, {});
  } catch (const std::exception& e) {
    detail::log().warn("node: {}: a connection could not be begun: {}",
                       address_, e.what());
  }
}

} // namespace troupe::nodes
