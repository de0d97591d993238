// SPDX-License-Identifier: MIT
#include "troupe/detail/wire/writer.hpp"

#include "troupe/detail/wire/codec_containers.hpp"
#include "troupe/detail/wire/codec_values.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"

#include <fmt/format.h>

#include <new>

namespace troupe::wire {

// -- buffer -------------------------------------------------------------------

void buffer::grow(std::size_t count) {
  constexpr std::size_t least = 256;
  auto wanted = size_ + count;
  if (wanted < size_)
    throw std::bad_alloc{};
  if (wanted < capacity_ * 2)
    wanted = capacity_ * 2;
  if (wanted < least)
    wanted = least;
  auto got = wanted;
  auto* block = count >= large_bytes ? take_block(wanted, got) : nullptr;
  if (block == nullptr) {
    const auto is_block = capacity_ >= large_bytes
                          && descriptor_of(begin_) >= 0;
    block = static_cast<std::byte*>(is_block ? std::malloc(wanted)
                                             : std::realloc(begin_, wanted));
    if (block == nullptr)
      throw std::bad_alloc{};
    if (!is_block) {
      begin_ = block;
      capacity_ = wanted;
      return;
    }
  }
  const buffer old{std::move(*this)};
  if (!old.empty())
    std::memcpy(block, old.data(), old.size());
  begin_ = block;
  size_ = old.size();
  capacity_ = got;
}

void buffer::free_large(std::byte* block) noexcept {
  if (!give_block(block))
    std::free(block);
}

void buffer::append(std::span<const std::byte> bytes) {
  if (!bytes.empty())
    std::memcpy(extend(bytes.size()), bytes.data(), bytes.size());
}

// -- writer -------------------------------------------------------------------

void writer::refuse_size(std::size_t count) const {
  throw bad_argument{
    fmt::format("a message of more than {} bytes is too large (limit {})",
                written() + count, bounds_.frame_bytes_max)};
}

void writer::refuse_depth() const {
  throw bad_argument{fmt::format(
    "values nested deeper than {} levels can't travel", bounds_.depth_max)};
}

void writer::long_length(std::uint64_t value) {
  while (value >= 0x80) {
    *claim(1) = static_cast<std::byte>(value | 0x80);
    value >>= 7;
  }
  *claim(1) = static_cast<std::byte>(value);
}

void refuse_valueless() {
  throw not_sendable{"a variant that lost its value to an exception"};
}

} // namespace troupe::wire
