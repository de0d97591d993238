// SPDX-License-Identifier: MIT
// memory: envelopes, states and cells from mimalloc, by its own functions.
//
// Debian has mimalloc only as a shared library that also defines malloc, free
// and operator new: a program that links it gets them all from there. So it is
// not linked but loaded, with its names to itself, and the program's malloc
// stays the program's. Where there is no mimalloc, malloc does.
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <new>

#ifdef TROUPE_MIMALLOC
#  include <dlfcn.h>
#  include <mimalloc.h>
#endif

#include "troupe/detail/envelope.hpp"

namespace troupe::detail {

namespace {

#ifdef TROUPE_MIMALLOC

void* find_and_allocate(std::size_t bytes);
void find_and_free(void* p);

// Who calls these first looks for mimalloc; static initialisers may. Relaxed:
// who still sees the first value looks again, and finds the same.
constinit std::atomic<void* (*)(std::size_t)> take{&find_and_allocate};
constinit std::atomic<void (*)(void*)> give_back{&find_and_free};

void find() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto* library = ::dlopen("libmimalloc.so.2", RTLD_NOW | RTLD_LOCAL);
    auto function = [library](const char* name) {
      return library == nullptr ? nullptr : ::dlsym(library, name);
    };
    auto* mi_take =
      reinterpret_cast<decltype(&::mi_malloc)>(function("mi_malloc"));
    auto* mi_give = reinterpret_cast<decltype(&::mi_free)>(function("mi_free"));
    auto* mi_set = reinterpret_cast<decltype(&::mi_option_set_enabled_default)>(
      function("mi_option_set_enabled_default"));
    const auto is_whole = mi_take != nullptr && mi_give != nullptr;
    // Most of what a spawn or a deep mailbox costs is page faults. The
    // environment (MIMALLOC_LARGE_OS_PAGES=0) still wins.
    if (is_whole && mi_set != nullptr)
      mi_set(mi_option_large_os_pages, true);
    give_back.store(is_whole ? mi_give : &std::free);
    take.store(is_whole ? mi_take : &std::malloc);
  });
}

void* find_and_allocate(std::size_t bytes) {
  find();
  return take.load()(bytes);
}

void find_and_free(void* p) {
  find();
  give_back.load()(p);
}

void* get(std::size_t bytes) {
  return take.load(std::memory_order_relaxed)(bytes);
}

void put(void* p) {
  give_back.load(std::memory_order_relaxed)(p);
}

#else

void* get(std::size_t bytes) {
  return std::malloc(bytes);
}

void put(void* p) {
  std::free(p);
}

#endif

} // namespace

void* allocate(std::size_t bytes) {
  auto* p = get(bytes);
  if (p == nullptr)
    throw std::bad_alloc{};
  return p;
}

void deallocate(void* p) noexcept {
  put(p);
}

} // namespace troupe::detail
