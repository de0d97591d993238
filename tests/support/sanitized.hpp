// SPDX-License-Identifier: MIT
// sanitized: what a test has to know of the sanitizer that watches it.
#pragma once

namespace test {

/// Whether ASan or TSan watches. Then freed memory stays in the process, there
/// are shadows of all memory, and a throw costs a hundred times as much.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#  define TROUPE_TEST_SANITIZED 1
#elif defined(__has_feature) // clang's word for it
#  if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#    define TROUPE_TEST_SANITIZED 1
#  endif
#endif
#ifdef TROUPE_TEST_SANITIZED
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = false;
#endif

/// As many rounds of a search at random as there is time for.
constexpr int rounds(int many) {
  return is_sanitized ? many / 10 : many;
}

} // namespace test
