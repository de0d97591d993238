// SPDX-License-Identifier: MIT
// build_identity: is the peer the same executable?
#pragma once

#include "troupe/detail/wire/codec_containers.hpp"
#include "troupe/detail/wire/codec_values.hpp"

#include <cstdint>
#include <string>

namespace troupe::wire {

/// Names this executable: the GNU build id that the linker wrote into it, in
/// hexadecimal, else a hash of the file ("file:..."), read once.
/// Errors: std::system_error (the file can't be read).
const std::string& build_identity();

/// The version of the frames and of this handshake. Raised when either changes.
inline constexpr std::uint32_t protocol_version = 1;

/// The first thing each side of a connection says.
struct hello {
  std::uint32_t protocol = protocol_version;
  std::string build;
  std::uint64_t names = 0; // name_table::fingerprint
  std::uint64_t pid = 0;
  std::uint64_t incarnation = 0;
};

/// What this process says.
hello make_hello(std::uint64_t incarnation = 0);

/// Requires that the peer speaks our protocol and is our build.
/// Errors: wrong_build (prints both).
void check_hello(const hello& ours, const hello& theirs);

} // namespace troupe::wire
