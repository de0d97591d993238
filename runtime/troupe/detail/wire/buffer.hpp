// SPDX-License-Identifier: MIT
// buffer: bytes that grow, without being cleared first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <utility>

namespace troupe::wire {

/// A contiguous block of bytes with one owner. Unlike a vector it leaves new
/// bytes as they are, so that 64 MiB are written once and not twice.
///
/// What is added as one piece of this size or more may stand in memory that a
/// worker can be lent (wire/block.hpp).
class buffer {
public:
  static constexpr std::size_t large_bytes = std::size_t{1} << 20;

  buffer() = default;
  buffer(buffer&& other) noexcept
    : begin_(std::exchange(other.begin_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      capacity_(std::exchange(other.capacity_, 0)) {}
  buffer& operator=(buffer&& other) noexcept {
    buffer gone{std::move(*this)};
    std::swap(begin_, other.begin_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~buffer() {
    if (capacity_ < large_bytes)
      std::free(begin_);
    else
      free_large(begin_);
  }

  [[nodiscard]] std::byte* data() noexcept { return begin_; }
  [[nodiscard]] const std::byte* data() const noexcept { return begin_; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {begin_, size_};
  }

  /// Forgets the bytes, keeps the block.
  void clear() noexcept { size_ = 0; }

  /// Forgets all bytes from `size` on. Requires: size <= size().
  void truncate(std::size_t size) noexcept { size_ = size; }

  /// Adds `count` bytes at the end and returns where they begin; their value
  /// is whatever was there. Throws std::bad_alloc.
  std::byte* extend(std::size_t count) {
    if (capacity_ - size_ < count) [[unlikely]]
      grow(count);
    auto* at = begin_ + size_;
    size_ += count;
    return at;
  }

  /// Adds a copy of `bytes` at the end.
  void append(std::span<const std::byte> bytes);

  /// Gives its block away: to whoever frees it, or a null.
  std::byte* release() noexcept {
    size_ = capacity_ = 0;
    return std::exchange(begin_, nullptr);
  }

  /// Makes room for `count` bytes in all.
  void reserve(std::size_t count) {
    if (count > capacity_)
      grow(count - size_);
  }

private:
  void grow(std::size_t count);
  static void free_large(std::byte* block) noexcept;

  std::byte* begin_ = nullptr;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

} // namespace troupe::wire
