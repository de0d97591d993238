// SPDX-License-Identifier: MIT
// loans: what the parent lends to a worker: the blocks that large arguments
// stand in (wire/block.hpp). Mapping 64 MiB costs as much as reading them, and
// the parent lends the same block again, so a mapping stays for a while.
//
// Invariants: (1) at most kept_mappings stay, of kept_bytes_max in all; one
//             that was not used for wire::idle_ns goes, since it keeps the
//             memory of a block that the parent may have let go. (2) One loan
//             at a time: of the frame that is being handled. (3) Only what the
//             parent can't shorten is mapped.
// Who may call: `take` the thread that reads frames; `trim` any.
#pragma once

#include "process/descriptors.hpp"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>
#include <sys/types.h>
#include <vector>

namespace troupe::process {

class loans;

/// The bytes, for as long as this lives.
class loan {
public:
  loan(loans& from, std::span<const std::byte> bytes)
    : from_(from),
      bytes_(bytes) {}
  loan(const loan&) = delete;
  loan& operator=(const loan&) = delete;
  ~loan();

  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return bytes_;
  }

private:
  loans& from_;
  const std::span<const std::byte> bytes_;
};

class loans {
public:
  static constexpr std::size_t kept_mappings = 4;

  /// `keeps` false: nothing stays mapped (its memory is limited).
  explicit loans(bool keeps) : keeps_(keeps) {}
  loans(const loans&) = delete;
  loans& operator=(const loans&) = delete;
  ~loans();

  /// The first `size_bytes` of what `memfd` holds.
  /// Errors: decode_error (not so many, of no fixed length, no room to map it).
  loan take(descriptor memfd, std::size_t size_bytes);

  /// Lets go of what was not used lately. True if something is left.
  bool trim(std::int64_t now) noexcept;

private:
  friend loan;
  struct mapping {
    dev_t device = 0;
    ino_t file = 0;
    std::byte* at = nullptr;
    std::size_t bytes = 0;
    std::size_t there = 0; // so many have their page
    std::int64_t used_at = 0;
    bool is_lent = false;
  };

  mapping& find_locked(int memfd, std::size_t size_bytes);
  void done() noexcept;

  const bool keeps_;
  std::mutex mutex_;
  std::vector<mapping> all_; // under mutex_
};

} // namespace troupe::process
