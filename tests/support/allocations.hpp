// SPDX-License-Identifier: MIT
// allocations: counts what goes through operator new and, for buffers, malloc.
// Include it in one file of an executable: it replaces the global operators.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace test {

struct allocation_counts {
  std::atomic<std::size_t> calls{0};
  std::atomic<std::size_t> bytes{0};   // all that was asked for
  std::atomic<std::size_t> largest{0}; // in one piece

  void reset() {
    calls = 0;
    bytes = 0;
    largest = 0;
  }
};

inline allocation_counts allocations;

inline void* counted(std::size_t bytes) {
  allocations.calls.fetch_add(1, std::memory_order_relaxed);
  allocations.bytes.fetch_add(bytes, std::memory_order_relaxed);
  auto seen = allocations.largest.load(std::memory_order_relaxed);
  while (seen < bytes
         && !allocations.largest.compare_exchange_weak(seen, bytes)) {}
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes))
    return p;
  throw std::bad_alloc{};
}

} // namespace test

[[gnu::noinline]] void* operator new(std::size_t bytes) {
  return test::counted(bytes);
}
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
  return test::counted(bytes);
}
[[gnu::noinline]] void operator delete(void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept {
  std::free(p);
}
