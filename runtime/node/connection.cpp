// SPDX-License-Identifier: MIT
#include "node/connection.hpp"

#include "core/log.hpp"
#include "node/pulse.hpp"
#include "node/tls_stream.hpp"
#include "sched/adaptive_mutex.hpp"
#include "troupe/error.hpp"

#include <boost/asio/connect.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/stream_traits.hpp>
#include <boost/beast/websocket/stream.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <optional>

namespace troupe::nodes {

namespace {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

// What goes as one message; the other side refuses more.
constexpr std::size_t message_bytes_max = std::size_t{1} << 20;
// What is gathered in one buffer before the next one is begun.
constexpr std::size_t piece_bytes = std::size_t{128} << 10;
constexpr std::size_t in_bytes = std::size_t{128} << 10;
constexpr wire::limits of_a_hello{.frame_bytes_max = 4096};
// Writers count payloads: the header comes on top.
constexpr wire::limits of_a_frame{
  .frame_bytes_max = wire::limits{}.frame_bytes_max
                     + wire::frame_header::size_bytes};
// A key of AES-GCM is good for 2^24 records; it is changed long before.
constexpr std::uint64_t bytes_per_key = std::uint64_t{1} << 33;
constexpr std::uint64_t messages_per_key = std::uint64_t{1} << 22;
constexpr std::chrono::seconds goodbye_limit{1};
constexpr auto target = "/troupe/1";
constexpr auto unread = "it does not read what it is sent";

using stream = websocket::stream<tls_stream>;

std::string text_of(const tcp::endpoint& e) {
  const auto address = e.address().to_string();
  return e.address().is_v6() ? fmt::format("[{}]:{}", address, e.port())
                             : fmt::format("{}:{}", address, e.port());
}

// Bytes that wait, and how many frames begin in them.
struct piece {
  wire::buffer bytes;
  std::size_t frames;
};

bool is_alert(const error_code& ec) {
  if (ec.category() != asio::error::get_ssl_category())
    return false;
  const auto reason = ERR_GET_REASON(static_cast<unsigned long>(ec.value()));
  return reason > SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256;
}

class websocket_connection final
  : public connection,
    public std::enable_shared_from_this<websocket_connection> {
public:
  websocket_connection(loop& l, std::shared_ptr<credentials> c,
                       tcp::socket socket, connection_options options,
                       bool is_server)
    : loop_(l),
      context_(l.context()),
      credentials_(std::move(c)),
      options_(std::move(options)),
      is_server_(is_server),
      ws_(std::move(socket), credentials_->context()),
      limit_(*l.context()),
      beats_(*l.context()),
      pulse_(options_.heartbeat, options_.patience),
      in_(in_bytes) {
    found_.wanted = options_.fingerprint;
    credentials_->watch(ws_.next_layer().native_handle(), found_);
    set_address();
  }

  // -- connection -------------------------------------------------------------

  void begin(std::shared_ptr<connection_owner> owner,
             std::vector<tcp::endpoint> where, std::string host) override {
    owner_ = std::move(owner);
    host_ = std::move(host);
    if (!is_server_)
      set_address(host_); // until there is another one
    limit_.expires_after(options_.handshake);
    limit_.async_wait([self = shared_from_this()](error_code ec) {
      if (!ec)
        self->is_late();
    });
    if (is_server_) {
      shake_hands();
      return;
    }
    where_ = std::move(where);
    asio::async_connect(
      socket(), where_,
      [self = shared_from_this()](error_code ec, const tcp::endpoint&) {
        if (ec || self->ended_)
          return self->failed(ec);
        self->set_address();
        self->shake_hands();
      });
  }

  void send(const wire::frame_header& head,
            std::span<const std::byte> payload) override {
    {
      const std::lock_guard guard{mutex_};
      if (!may_send())
        return;
      append(head, payload.size()).append(payload);
    }
    note();
  }

  void send(const wire::frame_header& head, wire::buffer payload) override {
    if (payload.size() < piece_bytes) {
      send(head, payload.bytes());
      return;
    }
    {
      const std::lock_guard guard{mutex_};
      if (!may_send())
        return;
      append(head, payload.size());
      out_.push_back({std::move(payload), 0});
    }
    note();
  }

  std::size_t backlog_bytes() const override {
    return backlog_.load(std::memory_order_relaxed);
  }

  void close(std::string why, bool gracefully) override {
    loop_.post([self = shared_from_this(), why = std::move(why), gracefully] {
      self->close_here(why, gracefully);
    });
  }

  void abandon(std::exception_ptr why) override { end(std::move(why)); }

  std::string peer_address() const override {
    const std::lock_guard guard{mutex_};
    return address_;
  }

  // -- flushable --------------------------------------------------------------

  void flush() override {
    noted_.store(false);
    if (is_open_ && !writing_ && !ended_ && !said_goodbye_)
      write_next();
  }

private:
  tcp::socket& socket() { return beast::get_lowest_layer(ws_); }

  void set_address() {
    error_code ec;
    const auto at = socket().remote_endpoint(ec);
    socket().set_option(tcp::no_delay{true}, ec);
    if (!ec)
      set_address(text_of(at));
  }

  void set_address(std::string where) {
    const std::lock_guard guard{mutex_};
    address_ = std::move(where);
  }

  // -- handshakes -------------------------------------------------------------

  void shake_hands() {
    step_ = "the TLS handshake";
    ws_.next_layer().async_handshake(
      is_server_, [self = shared_from_this()](error_code ec) {
        if (ec || self->ended_)
          return self->failed(ec);
        self->upgrade();
      });
  }

  void upgrade() {
    step_ = "the WebSocket upgrade";
    websocket::stream_base::timeout limits{};
    limits.handshake_timeout = websocket::stream_base::none(); // ours
    limits.idle_timeout = websocket::stream_base::none();      // pulse.hpp
    limits.keep_alive_pings = false;
    ws_.set_option(limits);
    ws_.binary(true);
    ws_.auto_fragment(false);
    ws_.write_buffer_bytes(std::size_t{64} << 10);
    ws_.read_message_max(message_bytes_max);
    auto next = [self = shared_from_this()](error_code ec) {
      if (ec || self->ended_)
        return self->failed(ec);
      self->greet();
    };
    if (is_server_)
      ws_.async_accept(std::move(next));
    else
      ws_.async_handshake(host_, target, std::move(next));
  }

  void greet() {
    step_ = "its hello";
    is_open_ = true;
    ours_ = wire::make_hello(options_.incarnation);
    wire::buffer bytes;
    wire::writer out{bytes};
    wire::encode(out, ours_);
    send({.kind = wire::frame_kind::hello}, bytes.bytes());
    read();
  }

  void take_hello(const wire::frame_header& head,
                  std::span<const std::byte> payload) {
    if (head.kind != wire::frame_kind::hello)
      throw decode_error{
        fmt::format("a {} frame before a hello", wire::to_string(head.kind))};
    wire::hello theirs;
    wire::reader in{payload};
    wire::decode(in, theirs);
    in.finish();
    wire::check_hello(ours_, theirs);
    limit_.cancel();
    is_up_ = true;
    decoder_ = wire::frame_decoder{bounds()};
    owner_->on_up(theirs, found_.fingerprint);
    beat();
  }

  void is_late() {
    if (is_up_ || ended_)
      return;
    end(std::make_exception_ptr(timeout{fmt::format(
      "{}: {} was not over after {} ms", peer_address(), step_,
      std::chrono::duration_cast<std::chrono::milliseconds>(options_.handshake)
        .count())}));
  }

  // -- reading ----------------------------------------------------------------

  // The middle of a large frame goes where it belongs, without a copy.
  void read() {
    auto to = decoder_.room();
    const auto is_direct = to.size() >= in_bytes;
    if (is_direct)
      to = to.first(std::min(to.size(), message_bytes_max));
    else
      to = in_;
    ws_.async_read_some(
      asio::buffer(to.data(), to.size()),
      [self = shared_from_this(), to, is_direct](error_code ec, std::size_t n) {
        if (ec || self->ended_)
          return self->failed(ec);
        if (self->take(to.first(n), is_direct))
          self->read();
      });
  }

  // False when that was the end.
  bool take(std::span<const std::byte> bytes, bool is_direct) {
    const sched::wake_once wake{loop_.workers()};
    try {
      if (!ws_.got_binary())
        throw decode_error{"a message of text"};
      if (is_direct) {
        decoder_.filled(bytes.size());
        bytes = {};
        if (decoder_.is_ready())
          take_ready();
      }
      while (!bytes.empty() && !ended_) {
        if (!decoder_.is_midway()) {
          const auto frame = wire::next_frame(bytes, bounds());
          if (frame) {
            take_frame(frame->head, frame->payload);
            bytes = bytes.subspan(frame->size_bytes());
            continue;
          }
        }
        bytes = bytes.subspan(decoder_.push(bytes));
        if (decoder_.is_ready())
          take_ready();
      }
      return !ended_;
    } catch (const wrong_build& e) {
      detail::log().warn("node: {}: {}", peer_address(), e.what());
      refuse_build(std::current_exception());
    } catch (const std::exception& e) {
      detail::log().warn("node: {} is cut off: {}", peer_address(), e.what());
      end(std::make_exception_ptr(node_lost{
        fmt::format("{}: it was cut off: {}", peer_address(), e.what())}));
    }
    return false;
  }

  wire::limits bounds() const { return is_up_ ? of_a_frame : of_a_hello; }

  void take_ready() {
    const auto frame = decoder_.take();
    take_frame(frame.head, frame.payload.bytes());
  }

  void take_frame(const wire::frame_header& head,
                  std::span<const std::byte> payload) {
    if (is_up_)
      owner_->on_frame(head, payload);
    else
      take_hello(head, payload);
  }

  // -- writing ----------------------------------------------------------------

  // Under mutex_.
  bool may_send() {
    if (no_more_)
      return false;
    if (!has_too_much() || frames_ <= options_.outbox_frames_max)
      return true;
    no_more_ = true;
    close(unread, false);
    return false;
  }

  bool has_too_much() const {
    return backlog_bytes() > options_.outbox_bytes_max;
  }

  // Under mutex_: the header, in a buffer with room for a payload.
  wire::buffer& append(wire::frame_header head, std::size_t payload_bytes) {
    if (out_.empty() || out_.back().bytes.size() >= piece_bytes)
      out_.push_back({std::move(spare_), 0});
    auto& [bytes, frames] = out_.back();
    head.payload_bytes = payload_bytes;
    head.attachments = 0;
    wire::append_frame(bytes, head);
    ++frames;
    ++frames_;
    backlog_.fetch_add(wire::frame_header::size_bytes + payload_bytes,
                       std::memory_order_relaxed);
    return bytes;
  }

  void note() {
    if (!noted_.exchange(true))
      loop_.note(shared_from_this());
  }

  void write_next() {
    if (sent_ == sending_.size() && !take_outbox()) {
      if (closing_)
        say_goodbye();
      return;
    }
    const auto n = std::min(sending_.size() - sent_, message_bytes_max);
    change_key(n);
    writing_ = true;
    ws_.async_write(asio::buffer(sending_.data() + sent_, n),
                    [self = shared_from_this(), n](error_code ec, std::size_t) {
                      self->writing_ = false;
                      if (ec || self->ended_)
                        return self->failed(ec);
                      self->sent_ += n;
                      self->backlog_.fetch_sub(n, std::memory_order_relaxed);
                      self->write_next();
                    });
  }

  bool take_outbox() {
    const std::lock_guard guard{mutex_};
    sent_ = 0;
    if (sending_.capacity() <= 2 * piece_bytes) {
      sending_.clear();
      spare_ = std::move(sending_);
    }
    sending_ = {};
    if (out_.empty())
      return false;
    sending_ = std::move(out_.front().bytes);
    frames_ -= out_.front().frames;
    out_.pop_front();
    return true;
  }

  void change_key(std::size_t bytes) {
    bytes_with_key_ += bytes;
    if (bytes_with_key_ < bytes_per_key
        && ++messages_with_key_ < messages_per_key)
      return;
    bytes_with_key_ = messages_with_key_ = 0;
    SSL_key_update(ws_.next_layer().native_handle(),
                   SSL_KEY_UPDATE_NOT_REQUESTED);
  }

  // -- silence ----------------------------------------------------------------

  void beat() {
    beats_.expires_after(pulse_.period());
    beats_.async_wait([self = shared_from_this()](error_code ec) {
      if (ec || self->ended_ || self->said_goodbye_)
        return;
      self->look();
      if (!self->ended_)
        self->beat();
    });
  }

  void look() {
    const auto& bytes = ws_.next_layer().engine();
    switch (
      pulse_.look(bytes.received_bytes(), bytes.sent_bytes(), has_too_much())) {
      case pulse::finding::fine:
        break;
      case pulse::finding::quiet:
        say_something();
        break;
      case pulse::finding::silent:
        end(lost(
          fmt::format("no sign of life for {} ms",
                      std::chrono::duration_cast<std::chrono::milliseconds>(
                        options_.patience)
                        .count())));
        break;
      case pulse::finding::stuck:
        end(lost(unread));
    }
  }

  // A pong that nobody has asked for. The answer to a ping would have to wait
  // for what its sender writes, and Beast reads nothing while it waits: two
  // that write to each other would stand still.
  void say_something() {
    if (std::exchange(speaking_, true))
      return;
    ws_.async_pong({}, [self = shared_from_this()](error_code ec) {
      self->speaking_ = false;
      if (ec && !self->ended_)
        self->failed(ec);
    });
  }

  // -- the end ----------------------------------------------------------------

  // What has been sent, with our identity, shall arrive first.
  void refuse_build(std::exception_ptr why) {
    refusal_ = std::move(why);
    close_here("another build", true);
  }

  void close_here(const std::string& why, bool gracefully) {
    if (ended_)
      return;
    if (goodbye_.empty())
      goodbye_ = why;
    if (!gracefully || !is_open_)
      return end(lost(goodbye_));
    if (std::exchange(closing_, true))
      return;
    limit_.expires_after(goodbye_limit);
    limit_.async_wait([self = shared_from_this()](error_code ec) {
      if (!ec)
        self->end(self->lost(self->goodbye_));
    });
    if (!writing_)
      write_next();
  }

  void say_goodbye() {
    if (std::exchange(said_goodbye_, true))
      return;
    ws_.async_close(websocket::close_code::normal,
                    [self = shared_from_this()](error_code) {
                      self->end(self->lost(self->goodbye_));
                    });
  }

  std::exception_ptr lost(std::string_view why) const {
    return std::make_exception_ptr(
      node_lost{fmt::format("{}: {}", peer_address(), why)});
  }

  // An operation has failed: what does that mean?
  void failed(error_code ec) {
    if (ended_ || said_goodbye_)
      return; // the goodbye ends it
    if (!is_up_)
      return refused(ec);
    if (ec == websocket::error::closed)
      return end(lost("it has closed the connection"));
    end(lost("the connection has ended (" + ec.message() + ")"));
  }

  void refused(error_code ec) {
    auto text = fmt::format("{} failed: {}", step_, ec.message());
    if (!found_.refused.empty())
      text = "its key is not let in: " + found_.refused;
    else if (is_alert(ec))
      text = fmt::format("it does not let our key in ({}): {}",
                         credentials_->own(), ec.message());
    if (is_server_)
      owner_->on_refusal(peer_address() + ": " + text);
    end(lost(text));
  }

  void end(std::exception_ptr why) {
    if (std::exchange(ended_, true))
      return;
    limit_.cancel();
    beats_.cancel();
    error_code ignored;
    socket().close(ignored);
    {
      const std::lock_guard guard{mutex_};
      no_more_ = true;
      out_.clear();
      frames_ = 0;
    }
    if (auto owner = std::move(owner_))
      owner->on_end(refusal_ ? refusal_ : std::move(why));
  }

  loop& loop_;
  const std::shared_ptr<asio::io_context> context_; // outlives what follows
  const std::shared_ptr<credentials> credentials_;
  const connection_options options_;
  const bool is_server_;
  peer_key found_; // outlives ws_
  stream ws_;
  asio::steady_timer limit_, beats_;
  nodes::pulse pulse_;
  std::vector<std::byte> in_;
  wire::frame_decoder decoder_{of_a_hello};
  std::shared_ptr<connection_owner> owner_;
  std::vector<tcp::endpoint> where_;
  std::string host_;
  wire::hello ours_;
  const char* step_ = "the TCP connect";
  std::string goodbye_;
  std::exception_ptr refusal_;
  wire::buffer sending_; // sent_ bytes of it are out
  std::size_t sent_ = 0;
  std::uint64_t bytes_with_key_ = 0, messages_with_key_ = 0;
  bool is_open_ = false; // frames may go
  bool is_up_ = false;   // their hello was ours
  bool writing_ = false;
  bool speaking_ = false; // a sign of life is on its way
  bool closing_ = false;
  bool said_goodbye_ = false;
  bool ended_ = false;

  std::atomic<std::size_t> backlog_{0};
  std::atomic<bool> noted_{false};
  mutable sched::adaptive_mutex mutex_;
  std::string address_ = "nowhere"; // mutex_
  std::deque<piece> out_;           // mutex_
  std::size_t frames_ = 0;          // mutex_: in out_
  wire::buffer spare_;              // mutex_
  bool no_more_ = false;            // mutex_
};

} // namespace

std::shared_ptr<connection> connection::accepted(loop& l,
                                                 std::shared_ptr<credentials> c,
                                                 tcp::socket socket,
                                                 connection_options options) {
  return std::make_shared<websocket_connection>(
    l, std::move(c), std::move(socket), std::move(options), true);
}

std::shared_ptr<connection>
connection::connecting(loop& l, std::shared_ptr<credentials> c,
                       connection_options options) {
  return std::make_shared<websocket_connection>(
    l, std::move(c), tcp::socket{*l.context()}, std::move(options), false);
}

} // namespace troupe::nodes
