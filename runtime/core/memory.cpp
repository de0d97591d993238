// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <new>

#include "troupe/detail/envelope.hpp"

#ifdef TROUPE_MIMALLOC
#include <mimalloc.h>
#endif

namespace troupe::detail {

void* allocate(std::size_t bytes) {
#ifdef TROUPE_MIMALLOC
  auto* p = ::mi_malloc(bytes);
#else
  auto* p = std::malloc(bytes);
#endif
  if (p == nullptr)
    throw std::bad_alloc{};
  return p;
}

void deallocate(void* p) noexcept {
#ifdef TROUPE_MIMALLOC
  ::mi_free(p);
#else
  std::free(p);
#endif
}

} // namespace troupe::detail
