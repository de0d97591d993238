// SPDX-License-Identifier: MIT
// blob: bytes that never change, shared and not copied.
//
//   troupe::shared_buffer buffer{64u << 20};
//   fill(buffer.bytes());
//   troupe::blob frozen = std::move(buffer).freeze();
//   auto sum = procs.submit(troupe::fn<&sum_of>, frozen);   // no copy
//
// From 1 MiB on, the bytes stand in memory that processes of this machine can
// share (a sealed memfd): an argument of another process is a descriptor, and
// both sides look at the same pages. Below that, and to another machine, they
// travel as bytes. Nothing is left in the file system; when the last handle on
// either side is gone, or its process was killed, the memory is gone too.
//
// Who may call: a blob is immutable and a cheap copy; any thread.
// Not for: memory that both sides write to. There is none: two processes that
// write need an actor that owns the data.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

namespace troupe {

namespace wire {
class reader;
class segment;
class writer;
template <class T>
struct codec;
} // namespace wire

/// A handle to bytes that never change.
class blob {
public:
  /// From how many bytes on memory is shared between processes.
  static constexpr std::size_t shared_bytes_min = std::size_t{1} << 20;

  /// No bytes.
  blob() = default;

  /// A copy of `bytes`. Throws std::bad_alloc.
  explicit blob(std::span<const std::byte> bytes);
  explicit blob(std::string_view text)
    : blob(std::as_bytes(std::span{text.data(), text.size()})) {}

  [[nodiscard]] const std::byte* data() const noexcept;
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] std::span<const std::byte> bytes() const noexcept {
    return {data(), size()};
  }
  [[nodiscard]] std::string_view text() const noexcept {
    return {reinterpret_cast<const char*>(data()), size()};
  }

  /// The bytes as an array of numbers or plain structs; a rest is left out.
  /// The memory is aligned to at least 16 bytes.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::span<const T> as() const noexcept {
    return {reinterpret_cast<const T*>(data()), size() / sizeof(T)};
  }

  /// Another process of this machine can look at the same memory.
  [[nodiscard]] bool is_shared() const noexcept;

  /// The same bytes.
  friend bool operator==(const blob& a, const blob& b) noexcept;

private:
  friend class shared_buffer;
  friend struct wire::codec<blob>;

  explicit blob(std::shared_ptr<const wire::segment> bytes) noexcept
    : segment_(std::move(bytes)) {}

  std::shared_ptr<const wire::segment> segment_;
};

/// Bytes that one owner fills and then freezes. One thread at a time.
class shared_buffer {
public:
  /// All zero. Throws std::bad_alloc.
  explicit shared_buffer(std::size_t size_bytes);
  shared_buffer(shared_buffer&&) noexcept = default;
  shared_buffer& operator=(shared_buffer&&) noexcept = default;
  ~shared_buffer() = default;

  [[nodiscard]] std::span<std::byte> bytes() noexcept;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] std::span<T> as() noexcept {
    const auto all = bytes();
    return {reinterpret_cast<T*>(all.data()), all.size() / sizeof(T)};
  }

  /// The bytes, which nobody can change any more; the buffer is empty then.
  [[nodiscard]] blob freeze() &&;

private:
  std::shared_ptr<wire::segment> segment_;
};

/// A blob goes beside the message where the road takes attachments, else in
/// it: see runtime/wire/segment.hpp.
template <>
struct wire::codec<blob> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 2;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const blob& x);
  static void read(reader& in, blob& x);
};

} // namespace troupe
