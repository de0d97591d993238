// SPDX-License-Identifier: MIT
// count: the range of what this library counts, and how an error names what
// the caller wrote: a -1 that became 2^64-1 is a -1.
#pragma once

#include <cstdint>
#include <string>

namespace troupe::detail {

inline constexpr std::size_t count_max = std::size_t{1} << 62;

inline std::string as_written(std::size_t n) {
  return n > count_max ? std::to_string(static_cast<std::int64_t>(n))
                       : std::to_string(n);
}

inline std::string least_and_most(std::size_t least) {
  return "the least is " + std::to_string(least) + ", the most 2^62";
}

} // namespace troupe::detail
