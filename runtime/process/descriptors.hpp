// SPDX-License-Identifier: MIT
// descriptors: owned file descriptors, and small records that travel with some
// of them over a SOCK_SEQPACKET socket (one record is one message: records
// never merge and are never cut).
#pragma once

#include "core/descriptor.hpp"

#include <array>
#include <cstddef>
#include <span>
#include <type_traits>
#include <unistd.h>
#include <utility>
#include <vector>

namespace troupe::process {

using detail::descriptor;

/// Two ends of a socket for records, closed on exec.
/// Errors: std::system_error.
std::pair<descriptor, descriptor> make_socket_pair();

enum class transfer : unsigned char {
  done,
  again, // it would block
  ended, // the peer is gone
};

/// Descriptors that one record may carry.
inline constexpr std::size_t descriptors_max = 64;

/// Sends one record with descriptors (they stay ours), without blocking.
transfer send_record(int socket, std::span<const std::byte> bytes,
                     std::span<const int> fds) noexcept;

struct received {
  transfer how = transfer::again;
  std::size_t bytes = 0;
  std::vector<descriptor> fds;
};

/// Receives one record into `room`, without blocking; one that is larger than
/// `room` is cut to it.
received receive_record(int socket, std::span<std::byte> room);

template <class T>
transfer send_value(int socket, const T& x, std::span<const int> fds = {}) {
  static_assert(std::is_trivially_copyable_v<T>);
  return send_record(socket, std::as_bytes(std::span{&x, 1}), fds);
}

} // namespace troupe::process
