// SPDX-License-Identifier: MIT
// node: actors on other machines.
//
//   there:  $ app keys new && app node --listen 10.0.0.7:7000
//   here:   auto n = sys.connect("10.0.0.7:7000", {.deadline = 5s});
//           auto c = sys.spawn<counter>(on_node{n}, 5);    // ref<counter>
//           auto d = n.lookup<directory>("directory");
//
// A node is the same executable on another machine (the same build: both sides
// compare). Encrypted, and both sides prove a key that the other one's list of
// keys must have: `app keys new|show|allow`, like SSH's.
// A death: one connection is one incarnation of the node. When it ends, all
//          that came through it ends: asks fail with node_lost, handles are
//          down for their monitors. A node that comes back is another one to
//          old handles; `node` itself connects again, with growing pauses.
//          An actor that was spawned from here and that nobody there has a
//          handle to ends with the connection.
// Who may call: any thread. Asks in a circle over nodes end by deadlines only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "troupe/system.hpp"

namespace troupe {

struct connect_options {
  /// For the whole way: name, TCP, keys, hello. Also what a spawn and a lookup
  /// wait for. Range: above 0.
  time_limit deadline = std::chrono::seconds{10};
  /// Connect again when the connection has ended.
  bool reconnect = true;
  /// The pause before that; doubled each time it fails, a fifth more or less.
  std::chrono::nanoseconds backoff = std::chrono::milliseconds{100};
  std::chrono::nanoseconds backoff_max = std::chrono::seconds{5};
  /// The only key that will do ("sha256:..."). Default: any that is let in.
  std::string fingerprint{};
};

namespace detail {

class node_core; // node/node_core.hpp

std::string address_of(const node_core& n);
std::string fingerprint_of(const node_core& n);
std::uint64_t incarnation_of(const node_core& n) noexcept;
bool await_up(node_core& n, std::int64_t limit_ns);
void close_node(node_core& n);
std::chrono::nanoseconds ping_node(node_core& n);
/// One reference for the caller.
cell* lookup_cell(node_core& n, std::string_view name, const class_info& of);

} // namespace detail

/// The way to a node; copies are the same way. When the last one is gone the
/// connection stays for as long as handles go through it.
class node {
public:
  /// No node; using it throws bad_argument.
  node() = default;

  /// The actor that was published there under this name.
  /// Errors: bad_argument (no such name, or an actor of another class), timeout
  ///         (the deadline of the connect), node_lost.
  template <class T>
  ref<T> lookup(std::string_view name) const {
    return ref<T>::adopt(
      detail::lookup_cell(checked(), name, detail::remote_info<T>()));
  }

  /// As it was given to connect.
  std::string address() const { return detail::address_of(checked()); }

  /// The key that it has proved.
  std::string fingerprint() const { return detail::fingerprint_of(checked()); }

  /// Of its present incarnation; 0 while there is none. Never the same twice.
  std::uint64_t incarnation() const noexcept {
    return core_ == nullptr ? 0 : detail::incarnation_of(*core_);
  }
  bool is_up() const noexcept { return incarnation() != 0; }

  /// Waits until it is up, or for so long; whether it is.
  bool await_up(time_limit limit) const {
    return detail::await_up(checked(), limit.ns());
  }

  /// How long it takes there and back.
  /// Errors: node_lost, timeout.
  std::chrono::nanoseconds ping() const { return detail::ping_node(checked()); }

  /// Ends the connection for good: what goes through it fails with node_lost.
  void close() const { detail::close_node(checked()); }

  explicit operator bool() const noexcept { return core_ != nullptr; }
  friend bool operator==(const node& a, const node& b) noexcept {
    return a.core_ == b.core_;
  }

  /// For the library.
  explicit node(std::shared_ptr<detail::node_core> core) noexcept
    : core_(std::move(core)) {}
  detail::node_core& checked() const;
  const std::shared_ptr<detail::node_core>& core() const { return core_; }

private:
  std::shared_ptr<detail::node_core> core_;
};

/// A placement: `sys.spawn<T>(on_node{n}, args...)`. Arguments of the
/// constructor and of methods must travel (sendable.hpp); handles do.
/// Errors: of the spawn: what the constructor throws there, node_lost,
///         timeout, rejected.
struct on_node {
  node where;
};

} // namespace troupe
