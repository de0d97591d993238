// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <new>

#include "troupe/detail/envelope.hpp"

#ifdef TROUPE_MIMALLOC
#  include <mimalloc.h>
#endif

namespace troupe::detail {

#ifdef TROUPE_MIMALLOC
namespace {

// Most of what a spawn or a deep mailbox costs is page faults. The environment
// (MIMALLOC_LARGE_OS_PAGES=0) still wins.
const bool large_pages = [] {
  ::mi_option_set_enabled_default(mi_option_large_os_pages, true);
  return true;
}();

} // namespace
#endif

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
