// SPDX-License-Identifier: MIT
// ring: a stream of bytes through shared memory, one writer, one reader, in two
// processes that don't trust each other.
//
// Invariants: (1) taken <= put <= taken + ring_bytes. Each side keeps its own
//             index to itself and only shows a copy: what the other one writes
//             can't move it. (2) An index of the other side that breaks (1) is
//             a `decode_error`, before a byte is touched.
// Pairing:    `put` is stored with release after the bytes and loaded with
//             acquire before them; `taken` likewise, the other way round.
// Sleeping:   whoever is about to sleep sets its flag, then looks once more;
//             the other side moves its index, then looks at the flag. A full
//             fence between the two on both sides, so that one of them sees
//             the other (the bug it stops: both look first, nobody wakes).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace troupe::process {

inline constexpr std::size_t ring_bytes = std::size_t{256} << 10;

/// What both sides see of a ring, beside its bytes. The writer looks at
/// `reader_waits` after every message, at `taken` only when it seems full.
struct ring_state {
  alignas(64) std::atomic<std::uint64_t> put{0}; // bytes written, ever
  std::atomic<std::uint32_t> writer_waits{0};    // for room
  alignas(64) std::atomic<std::uint64_t> taken{0};
  alignas(64) std::atomic<std::uint32_t> reader_waits{0}; // see channel.hpp
};

/// Errors: decode_error.
[[noreturn]] void refuse_ring(const char* what, std::uint64_t theirs,
                              std::uint64_t ours);

class ring_writer {
public:
  ring_writer(ring_state& state, std::byte* bytes)
    : state_(&state),
      bytes_(bytes) {}

  /// As the reader says just now. Errors: decode_error.
  [[nodiscard]] std::size_t room() {
    const auto taken = state_->taken.load(std::memory_order_acquire);
    if (put_ - taken > ring_bytes) [[unlikely]]
      refuse_ring("has taken", taken, put_);
    taken_ = taken;
    return ring_bytes - static_cast<std::size_t>(put_ - taken);
  }

  /// Whether so much fits; asks the reader only when it did not before.
  [[nodiscard]] bool has_room(std::size_t bytes) {
    return ring_bytes - static_cast<std::size_t>(put_ - taken_) >= bytes
           || room() >= bytes;
  }

  /// Requires: has_room(bytes.size()). Not seen before `publish`.
  void write(std::span<const std::byte> bytes) noexcept {
    const auto at = static_cast<std::size_t>(put_) % ring_bytes;
    const auto first = std::min(bytes.size(), ring_bytes - at);
    if (first != 0)
      std::memcpy(bytes_ + at, bytes.data(), first);
    if (bytes.size() != first)
      std::memcpy(bytes_, bytes.data() + first, bytes.size() - first);
    put_ += bytes.size();
  }

  void publish() noexcept {
    state_->put.store(put_, std::memory_order_release);
  }

  [[nodiscard]] ring_state& state() const noexcept { return *state_; }

private:
  ring_state* const state_;
  std::byte* const bytes_;
  std::uint64_t put_ = 0;
  std::uint64_t taken_ = 0; // as it was once seen
};

class ring_reader {
public:
  ring_reader(ring_state& state, const std::byte* bytes)
    : state_(&state),
      bytes_(bytes) {}

  /// What can be read in one piece; the writer may change it meanwhile.
  [[nodiscard]] std::span<const std::byte> peek() const {
    const auto put = state_->put.load(std::memory_order_acquire);
    const auto taken = taken_.load(std::memory_order_relaxed);
    const auto there = put - taken;
    if (there > ring_bytes) [[unlikely]]
      refuse_ring("has put", put, taken);
    const auto at = static_cast<std::size_t>(taken) % ring_bytes;
    return {bytes_ + at,
            std::min(static_cast<std::size_t>(there), ring_bytes - at)};
  }

  /// May be asked by any thread.
  [[nodiscard]] bool is_empty() const noexcept {
    return state_->put.load(std::memory_order_acquire)
           == taken_.load(std::memory_order_relaxed);
  }

  void consume(std::size_t n) noexcept {
    skip(n);
    show();
  }

  /// In two steps: the writer gets its room back when that is shown.
  void skip(std::size_t n) noexcept {
    taken_.store(taken_.load(std::memory_order_relaxed) + n,
                 std::memory_order_relaxed);
  }
  void show() noexcept {
    state_->taken.store(taken_.load(std::memory_order_relaxed),
                        std::memory_order_release);
  }

  [[nodiscard]] ring_state& state() const noexcept { return *state_; }

private:
  ring_state* const state_;
  const std::byte* const bytes_;
  std::atomic<std::uint64_t> taken_{0}; // written by the reader alone
};

} // namespace troupe::process
