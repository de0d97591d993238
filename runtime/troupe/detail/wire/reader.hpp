// SPDX-License-Identifier: MIT
// reader: takes values out of bytes that nobody vouches for.
// Invariants: (1) nothing is read beyond the end. (2) no memory is taken for a
// length before the length was checked against what is left and charged to the
// allowance of the message. (3) each byte is looked at once; still, never read
// from memory that another process can write to: copy it first.
// Errors: every member throws `decode_error` on bytes that it can't accept.
#pragma once

#include "troupe/detail/wire/carrier.hpp"
#include "troupe/detail/wire/limits.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace troupe::wire {

class input_archive;

class reader {
public:
  /// Reads `bytes`, which must outlive the reader.
  explicit reader(std::span<const std::byte> bytes, const limits& bounds = {},
                  carrier* road = nullptr) noexcept
    : begin_(bytes.data()),
      at_(bytes.data()),
      end_(at_ + bytes.size()),
      memory_left_(bounds.memory_allowance(bytes.size())),
      depth_left_(bounds.depth_max),
      carrier_(road) {}
  reader(const reader&) = delete;
  reader& operator=(const reader&) = delete;

  /// The next `count` bytes.
  const std::byte* take(std::size_t count) {
    if (count > left()) [[unlikely]]
      refuse_end(count);
    const auto* at = at_;
    at_ += count;
    return at;
  }

  void bytes(void* to, std::size_t count) {
    if (count != 0)
      std::memcpy(to, take(count), count);
  }

  /// A length or an index as `writer::length` wrote it. Not yet trusted.
  std::uint64_t length() {
    if (at_ != end_) [[likely]] {
      const auto first = std::to_integer<std::uint8_t>(*at_);
      if (first < 0x80) [[likely]] {
        ++at_;
        return first;
      }
    }
    return long_length();
  }

  /// The number of elements of which each takes at least `wire_bytes_min`
  /// bytes here and `memory_bytes` in memory: checked and charged.
  std::size_t count(std::size_t wire_bytes_min, std::size_t memory_bytes) {
    const auto claimed = length();
    if (wire_bytes_min != 0 && claimed > left() / wire_bytes_min) [[unlikely]]
      refuse_count(claimed, wire_bytes_min);
    if (memory_bytes != 0 && claimed > memory_left_ / memory_bytes) [[unlikely]]
      refuse_memory(claimed, memory_bytes);
    memory_left_ -= claimed * memory_bytes;
    return static_cast<std::size_t>(claimed);
  }

  /// Charges memory that is about to be taken.
  void charge(std::size_t memory_bytes) {
    if (memory_bytes > memory_left_) [[unlikely]]
      refuse_memory(1, memory_bytes);
    memory_left_ -= memory_bytes;
  }

  /// An index below `end`.
  std::size_t index(std::size_t end) {
    const auto value = length();
    if (value >= end) [[unlikely]]
      refuse_index(value, end);
    return static_cast<std::size_t>(value);
  }

  [[nodiscard]] std::size_t left() const noexcept {
    return static_cast<std::size_t>(end_ - at_);
  }
  [[nodiscard]] std::size_t position() const noexcept {
    return static_cast<std::size_t>(at_ - begin_);
  }
  [[nodiscard]] carrier* road() const noexcept { return carrier_; }

  /// Requires that all was read.
  void finish() const {
    if (at_ != end_) [[unlikely]]
      refuse_rest();
  }

  /// Throws `decode_error`: "<what> at byte N of M".
  [[noreturn]] void refuse(const char* what) const;

  /// One level deeper for as long as this lives.
  class level {
  public:
    explicit level(reader& in) : in_(in) {
      if (in.depth_left_ == 0) [[unlikely]]
        in.refuse("values nested too deep");
      --in.depth_left_;
    }
    level(const level&) = delete;
    level& operator=(const level&) = delete;
    ~level() { ++in_.depth_left_; }

  private:
    reader& in_;
  };

  /// See writer::archive.
  input_archive* archive = nullptr;

private:
  [[noreturn]] void refuse_end(std::size_t count) const;
  [[noreturn]] void refuse_count(std::uint64_t n, std::size_t each) const;
  [[noreturn]] void refuse_memory(std::uint64_t n, std::size_t each) const;
  [[noreturn]] void refuse_index(std::uint64_t n, std::size_t end) const;
  [[noreturn]] void refuse_rest() const;
  std::uint64_t long_length();

  const std::byte* begin_;
  const std::byte* at_;
  const std::byte* end_;
  std::size_t memory_left_;
  std::size_t depth_left_;
  carrier* carrier_;
};

} // namespace troupe::wire
