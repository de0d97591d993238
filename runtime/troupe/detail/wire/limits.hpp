// SPDX-License-Identifier: MIT
// limits: what a message may cost before it is refused.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::wire {

/// What one message may cost the side that reads it, and the side that writes
/// it. Most programs leave this alone.
struct limits {
  /// Bytes of one frame, header included. Larger values travel as attachments
  /// or not at all. A sender is told at once; a peer that claims more is cut.
  std::size_t frame_bytes_max = std::size_t{1} << 30;

  /// Bytes that the values decoded from one message may take in memory. A
  /// small frame can ask for much more than its own size (a vector of empty
  /// optionals), hence a limit of its own; see `memory_allowance`.
  std::size_t memory_bytes_max = std::size_t{4} << 30;

  /// Values inside values: lists of lists, pointers, classes with
  /// `serialize`. Each level costs stack on both sides.
  std::size_t depth_max = 500;

  /// Bytes of memory that a message of `payload_bytes` may take: 64 MiB or 40
  /// times its own size, whichever is more, but never over the maximum. (A
  /// vector of empty strings takes 32 bytes for each byte on the wire.)
  [[nodiscard]] constexpr std::size_t
  memory_allowance(std::size_t payload_bytes) const noexcept {
    constexpr std::size_t floor_bytes = std::size_t{64} << 20;
    const auto by_size = payload_bytes > memory_bytes_max / 40
                           ? memory_bytes_max
                           : payload_bytes * 40;
    const auto wanted = by_size < floor_bytes ? floor_bytes : by_size;
    return wanted < memory_bytes_max ? wanted : memory_bytes_max;
  }
};

} // namespace troupe::wire
