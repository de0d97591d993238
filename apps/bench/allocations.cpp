// SPDX-License-Identifier: MIT
// allocations: a library that is loaded before a program and counts what it
// takes from malloc, and from mimalloc: its name (soname) is mimalloc's, so
// that the runtime, which loads that by name, gets this one. Says the number at
// the end, on stderr. For a run of its own: counting takes time.

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>

extern "C" {

// glibc's own names for its functions.
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);

static std::atomic<unsigned long long> taken{0};

static void count() {
  taken.fetch_add(1, std::memory_order_relaxed);
}

void* malloc(std::size_t bytes) {
  count();
  return __libc_malloc(bytes);
}

void* calloc(std::size_t n, std::size_t bytes) {
  count();
  return __libc_calloc(n, bytes);
}

void* realloc(void* p, std::size_t bytes) {
  count();
  return __libc_realloc(p, bytes);
}

void* memalign(std::size_t align, std::size_t bytes) {
  count();
  return __libc_memalign(align, bytes);
}

void* aligned_alloc(std::size_t align, std::size_t bytes) {
  return memalign(align, bytes);
}

int posix_memalign(void** p, std::size_t align, std::size_t bytes) {
  *p = memalign(align, bytes);
  return *p == nullptr ? ENOMEM : 0;
}

void* mi_malloc(std::size_t bytes) {
  return malloc(bytes);
}

void mi_free(void* p) {
  __libc_free(p);
}

__attribute__((destructor)) static void say() {
  std::fprintf(stderr, "\n#allocations %llu\n", taken.load());
}
}
