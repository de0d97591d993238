// SPDX-License-Identifier: MIT
// huge_bytes: a vector of gigabytes that takes no memory, since nothing is
// written to it. In pieces, so that making it takes no time either.
#pragma once

#include <array>
#include <cstddef>
#include <new>
#include <sys/mman.h>
#include <utility>
#include <vector>

namespace test {

template <class T>
struct untouched_memory {
  using value_type = T;

  untouched_memory() = default;
  template <class U>
  untouched_memory(const untouched_memory<U>&) {}

  T* allocate(std::size_t n) {
    auto* at = ::mmap(nullptr, n * sizeof(T), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
      throw std::bad_alloc{};
    return static_cast<T*>(at);
  }
  void deallocate(T* at, std::size_t n) { ::munmap(at, n * sizeof(T)); }

  template <class U>
  void construct(U*) {}
  template <class U, class... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }

  friend bool operator==(untouched_memory, untouched_memory) { return true; }
};

using huge_piece = std::array<char, 6'700'417>;
using huge_bytes = std::vector<huge_piece, untouched_memory<huge_piece>>;

/// Just past 2 GiB, and 4 GiB + 1: past what 31 and 32 bits count.
inline constexpr std::size_t past_2_gib = 321, past_4_gib = 641;
static_assert(past_4_gib * sizeof(huge_piece) == (std::size_t{4} << 30) + 1);
static_assert(past_2_gib * sizeof(huge_piece) > std::size_t{2} << 30);

} // namespace test
