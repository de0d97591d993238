// SPDX-License-Identifier: MIT
// segment: a block of bytes, on the heap or in a memfd that travels.
// Invariants: (1) once frozen nobody can change or shorten it, this process
// included: a memfd is sealed. (2) A descriptor from a peer is mapped only if
// it is sealed and as long as was said; else a peer could shorten the file
// under us, and reading it would raise SIGBUS. (3) One owner of the descriptor.
#pragma once

#include "troupe/detail/wire/buffer.hpp"
#include "troupe/detail/wire/carrier.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace troupe::wire {

class segment {
public:
  segment(const segment&) = delete;
  segment& operator=(const segment&) = delete;
  ~segment();

  /// Zeroed bytes to fill in; in a memfd if `shared` and the system has one to
  /// give, else on the heap. Throws std::bad_alloc.
  static std::shared_ptr<segment> make(std::size_t size_bytes, bool shared);

  /// What a peer sent. Takes `descriptor` over, also when it throws.
  /// Errors: decode_error (not sealed, not of that size, can't be mapped).
  static std::shared_ptr<const segment> adopt(int descriptor,
                                              std::size_t size_bytes);

  /// The block that `from` stands in, to be lent; it is taken back when the
  /// last owner has gone. Null, and `from` stays, if that is no block.
  static std::shared_ptr<const segment> lend(buffer& from);

  /// No more changes. A memfd is mapped anew, so `data` may move.
  void freeze();

  [[nodiscard]] std::byte* data() noexcept { return data_; }
  [[nodiscard]] const std::byte* data() const noexcept { return data_; }
  [[nodiscard]] std::size_t size_bytes() const noexcept { return size_bytes_; }

  /// To send to another process; -1 for bytes on the heap. Stays ours.
  [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
  segment() = default;

  std::byte* data_ = nullptr;
  std::size_t size_bytes_ = 0;
  int descriptor_ = -1;
  bool is_block_ = false; // what it holds goes back to block.hpp
};

} // namespace troupe::wire
