// SPDX-License-Identifier: MIT
// block: memory for large arguments, which a worker can read where it is and
// which serves the next call again.
//
// A fresh page costs more than what is written to it: a call with 64 MiB of
// arguments touched them in three new places. A block is a memfd that stays
// mapped here: encoded into, lent to a worker (which maps it to read), and
// taken back when the call is over.
//
// Invariants: (1) a block is a buffer's, or lent to one call, or kept here.
//             (2) nobody but this process can write to it or change its length
//             (F_SEAL_FUTURE_WRITE, F_SEAL_SHRINK, F_SEAL_GROW). (3) what is
//             kept is at most kept_bytes_max, and goes when it was not needed
//             for idle_ns.
// Trust:      a worker that keeps the descriptor can read later arguments of
//             its siblings: they are one program. What workers answer never
//             travels so.
#pragma once

#include <cstddef>
#include <cstdint>

namespace troupe::wire {

inline constexpr std::size_t kept_bytes_max = std::size_t{128} << 20;
inline constexpr std::int64_t idle_ns = 2'000'000'000;

/// Blocks are had from the first `open` to the last `close`.
void open_blocks() noexcept;
void close_blocks() noexcept;

/// A block of `bytes` or more, and how many they are; null if there is none.
std::byte* take_block(std::size_t bytes, std::size_t& capacity) noexcept;
/// Not a block: false, and nothing is done.
bool give_block(std::byte* at) noexcept;
/// Its descriptor, -1 if it is none.
int descriptor_of(const std::byte* at) noexcept;

/// Lets go of what was not needed lately; returns when to come again.
std::int64_t trim_blocks(std::int64_t now) noexcept;

} // namespace troupe::wire
