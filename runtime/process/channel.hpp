// SPDX-License-Identifier: MIT
// channel: the private road between a parent and one worker. Nothing in it is
// shared with another worker, so that a death can't leave a lock behind.
//
//   memfd:  [ claims, box | requests ring ──▶ worker | parent ◀── responses ]
//   socket: records: descriptors that belong to a frame, pings, cancels
//   bell:   an eventfd that the worker rings for the parent
//
// The worker sleeps on a futex in the memfd (requests.reader_waits == 1); the
// parent sleeps in epoll on the bells of all its workers. How eagerly a worker
// rings is the parent's to say (responses.reader_waits):
//   quiet   0: somebody is looking, don't ring
//   lazy    1: ring when you have nothing more to do, or after some results
//   strict  2: ring at once
//
// Claims: a request that was put into the ring may be taken back until the
// worker begins it. claims[call % window] holds the call's number and whether
// it is offered, begun or withdrawn; both sides move it by compare-exchange
// from `offered`, so exactly one of them gets it. After a death it tells which
// calls had begun.
#pragma once

#include "process/descriptors.hpp"
#include "process/ring.hpp"
#include "troupe/detail/wire/buffer.hpp"
#include "wire/segment.hpp"

#include <memory>
#include <string>

namespace troupe::process {

/// Calls that may stand in a worker's ring, the running one included.
inline constexpr std::size_t window = 128;

enum class bell_mode : std::uint32_t { quiet, lazy, strict };

enum class claim : std::uint64_t { offered = 1, begun = 2, withdrawn = 3 };

constexpr std::uint64_t claim_word(std::uint64_t call, claim state) {
  return call << 2 | static_cast<std::uint64_t>(state);
}

/// What a crashing worker leaves: written by its signal handler.
struct black_box {
  static constexpr std::size_t frames_max = 48;
  std::atomic<std::uint32_t> signal{0}; // stored last
  std::uint32_t frames = 0;
  std::uint64_t address = 0; // the one that faulted
  std::uint64_t at[frames_max] = {};
  std::uint64_t memory_bytes = 0; // what it had taken, if that was too much
};

/// The head of the memfd.
struct shared_page {
  ring_state requests, responses;
  alignas(64) std::atomic<std::uint64_t> claims[window];
  alignas(64) std::atomic<std::int64_t> began_at{0}; // of a call with deadline
  alignas(64) std::atomic<std::uint64_t> beat{0};    // the last ping answered
  black_box box;
};

/// The parent, before it puts the call into the ring.
inline void offer(shared_page& page, std::uint64_t call) noexcept {
  page.claims[call % window].store(claim_word(call, claim::offered),
                                   std::memory_order_release);
}

inline bool move_claim(shared_page& page, std::uint64_t call,
                       claim to) noexcept {
  auto expected = claim_word(call, claim::offered);
  return page.claims[call % window].compare_exchange_strong(
    expected, claim_word(call, to), std::memory_order_acq_rel);
}

/// Whether a call that can't be begun was taken back: its own claim says so, or
/// its place is a later call's by now. Else the claim was overwritten.
inline bool was_taken_back(const shared_page& page,
                           std::uint64_t call) noexcept {
  const auto word = page.claims[call % window].load(std::memory_order_acquire);
  const auto of = word >> 2;
  return word == claim_word(call, claim::withdrawn)
         || (of > call && of % window == call % window && (word & 3) != 0);
}

/// The memory of a channel, mapped.
class shared_memory {
public:
  /// Made by the parent; its size is sealed, so that no worker can cut it under
  /// the parent. Errors: std::system_error.
  static shared_memory make();
  /// Maps what the parent made.
  static shared_memory map(descriptor memfd);

  shared_memory() = default;
  shared_memory(shared_memory&& other) noexcept;
  shared_memory& operator=(shared_memory&& other) noexcept;
  ~shared_memory();

  [[nodiscard]] shared_page& page() const noexcept { return *page_; }
  [[nodiscard]] std::byte* requests() const noexcept;
  [[nodiscard]] std::byte* responses() const noexcept;
  [[nodiscard]] int memfd() const noexcept { return memfd_.get(); }
  explicit operator bool() const noexcept { return page_ != nullptr; }

private:
  descriptor memfd_;
  shared_page* page_ = nullptr;
};

/// The other process is woken, or it wasn't asleep.
void wake_other(std::atomic<std::uint32_t>& flag) noexcept;
/// Sleeps until `flag` changes from `seen`, `timeout_ns` at most (-1: no
/// limit).
void sleep_on(std::atomic<std::uint32_t>& flag, std::uint32_t seen,
              std::int64_t timeout_ns) noexcept;

/// What is said over the socket.
struct note {
  enum class kind : std::uint32_t { attachments, ping, cancel };
  kind what = kind::attachments;
  std::uint32_t count = 0;  // of descriptors
  std::uint64_t number = 0; // of the ping, or the call
};

/// Arguments and results from this size on travel as a sealed memfd.
inline constexpr std::size_t attached_bytes_min = std::size_t{1} << 20;
/// A flag of a frame: its payload is the size, the bytes stand in the last of
/// its attachments. (1 is a flag of wire/peer.hpp.)
inline constexpr std::uint16_t attached_payload = 2;

/// Moves `payload` to the attachments and leaves its size there; false, and
/// nothing happens, if there is no room for one more.
bool attach_bytes(wire::buffer& payload, wire::attachments& road);
/// The same with the payload of the one frame in `frame`.
void attach_payload(wire::buffer& frame, wire::attachments& road);

/// The descriptors that came with a message.
class incoming final : public wire::attachment_carrier {
public:
  bool attach(std::shared_ptr<const wire::segment>, std::uint32_t&) override {
    return false;
  }
  int take_attached(std::uint32_t number) override {
    return number < fds.size() ? fds[number].release() : -1;
  }

  std::vector<descriptor> fds;
};

} // namespace troupe::process
