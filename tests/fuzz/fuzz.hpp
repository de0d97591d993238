// SPDX-License-Identifier: MIT
// fuzz: the frame of a libFuzzer target. The first byte of the input picks a
// kind, the rest is what a peer would send. Errors that have a name are what
// we want; all else (a crash, a sanitizer's word, a slow or large input) is a
// find. fuzz/run.py builds and runs them.
#pragma once

#include "troupe/detail/wire/limits.hpp"
#include "troupe/error.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

namespace fuzz {

/// Small, so that a value beyond them is soon found.
inline constexpr troupe::wire::limits bounds{
  .frame_bytes_max = 1 << 20, .memory_bytes_max = 16 << 20, .depth_max = 60};

inline void check(bool holds, const char* what) {
  if (holds)
    return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

} // namespace fuzz

#define FUZZ_CHECK(what) fuzz::check(what, #what)

#define FUZZ(kind, bytes) \
  static void fuzz_one(unsigned kind, std::span<const std::byte> bytes); \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, \
                                        std::size_t size) { \
    if (size == 0) \
      return 0; \
    const std::span<const std::uint8_t> all{data, size}; \
    try { \
      fuzz_one(all[0], std::as_bytes(all.subspan(1))); \
    } catch (const troupe::error&) {} \
    return 0; \
  } \
  static void fuzz_one(unsigned kind, std::span<const std::byte> bytes)
