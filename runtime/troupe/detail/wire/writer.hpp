// SPDX-License-Identifier: MIT
// writer: puts values into a buffer. What a value looks like: codec.hpp.
// Invariants: (1) what is written never exceeds `limits::frame_bytes_max`.
// (2) one thread at a time. (3) on an exception the buffer holds a torn value;
// its owner cuts it back to where it began (frame.hpp does).
#pragma once

#include "troupe/detail/wire/buffer.hpp"
#include "troupe/detail/wire/carrier.hpp"
#include "troupe/detail/wire/limits.hpp"

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace troupe::wire {

class output_archive;

class writer {
public:
  /// Appends to `out`, which must outlive the writer.
  explicit writer(buffer& out, const limits& bounds = {},
                  carrier* road = nullptr) noexcept
    : out_(out),
      start_(out.size()),
      bounds_(bounds),
      carrier_(road) {}
  writer(const writer&) = delete;
  writer& operator=(const writer&) = delete;

  /// Room for `count` bytes, which the caller fills in.
  /// Errors: bad_argument (the message would be too large).
  std::byte* claim(std::size_t count) {
    if (count > bounds_.frame_bytes_max - written()) [[unlikely]]
      refuse_size(count);
    return out_.extend(count);
  }

  void bytes(const void* from, std::size_t count) {
    if (count != 0)
      std::memcpy(claim(count), from, count);
  }

  /// A length or an index: 7 bits a byte, low bits first.
  void length(std::uint64_t value) {
    if (value < 0x80) [[likely]]
      *claim(1) = static_cast<std::byte>(value);
    else
      long_length(value);
  }

  [[nodiscard]] std::size_t written() const noexcept {
    return out_.size() - start_;
  }
  [[nodiscard]] const limits& bounds() const noexcept { return bounds_; }

  /// Who carries the message, or null: what actors' handles and shared memory
  /// need to know.
  [[nodiscard]] carrier* road() const noexcept { return carrier_; }

  /// One level deeper for as long as this lives.
  /// Errors: bad_argument (deeper than `limits::depth_max`).
  class level {
  public:
    explicit level(writer& out) : out_(out) {
      if (++out.depth_ > out.bounds_.depth_max) [[unlikely]] {
        --out.depth_;
        out.refuse_depth();
      }
    }
    level(const level&) = delete;
    level& operator=(const level&) = delete;
    ~level() { --out_.depth_; }

  private:
    writer& out_;
  };

  /// The archive of the class with `serialize` being written, if any: one for
  /// the outermost such class and all that is inside it.
  output_archive* archive = nullptr;

private:
  [[noreturn]] void refuse_size(std::size_t count) const;
  [[noreturn]] void refuse_depth() const;
  void long_length(std::uint64_t value);

  buffer& out_;
  std::size_t start_;
  limits bounds_;
  carrier* carrier_;
  std::size_t depth_ = 0;
};

} // namespace troupe::wire
