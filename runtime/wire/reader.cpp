// SPDX-License-Identifier: MIT
#include "troupe/detail/wire/reader.hpp"

#include "troupe/error.hpp"

#include <fmt/format.h>

#include <sys/mman.h>

namespace troupe::wire {

std::uint64_t reader::long_length() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    const auto byte = std::to_integer<std::uint64_t>(*take(1));
    const auto bits = byte & 0x7f;
    if (bits << shift >> shift != bits)
      refuse("a length beyond 64 bits");
    value |= bits << shift;
    if (byte < 0x80) {
      if (byte == 0 && shift != 0)
        refuse("a length with needless bytes");
      return value;
    }
  }
  refuse("a length beyond 64 bits");
}

void reader::refuse(const char* what) const {
  throw decode_error{fmt::format("{} at byte {} of {}", what, position(),
                                 static_cast<std::size_t>(end_ - begin_))};
}

void reader::refuse_end(std::size_t count) const {
  throw decode_error{fmt::format("{} bytes wanted at byte {}, {} left", count,
                                 position(), left())};
}

void reader::refuse_count(std::uint64_t n, std::size_t each) const {
  throw decode_error{
    fmt::format("{} elements of at least {} bytes claimed at byte {}, {} left",
                n, each, position(), left())};
}

void reader::refuse_memory(std::uint64_t n, std::size_t each) const {
  throw decode_error{
    fmt::format("{} elements of {} bytes in memory claimed at byte {}, {} "
                "bytes allowed",
                n, each, position(), memory_left_)};
}

void reader::refuse_index(std::uint64_t n, std::size_t end) const {
  throw decode_error{
    fmt::format("index {} of {} alternatives at byte {}", n, end, position())};
}

void reader::refuse_rest() const {
  throw decode_error{
    fmt::format("{} bytes left over at byte {}", left(), position())};
}

void prefer_large_pages(void* at, std::size_t bytes) noexcept {
  constexpr std::uintptr_t large = std::uintptr_t{2} << 20;
  const auto begin = (reinterpret_cast<std::uintptr_t>(at) + large - 1)
                     & ~(large - 1);
  const auto end = (reinterpret_cast<std::uintptr_t>(at) + bytes)
                   & ~(large - 1);
  if (begin < end)
    ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
}

} // namespace troupe::wire
