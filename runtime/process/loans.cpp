// SPDX-License-Identifier: MIT
#include "process/loans.hpp"

#include "sched/clock.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace troupe::process {

namespace {

// MADV_POPULATE_READ of Linux 5.14; older ones refuse it, and the pages come
// one by one.
constexpr int populate_read = 22;

} // namespace

loan::~loan() {
  from_.done();
}

loans::~loans() {
  for (auto& m : all_)
    ::munmap(m.at, m.bytes);
}

loan loans::take(descriptor memfd, std::size_t size_bytes) {
  const std::lock_guard guard{mutex_};
  auto& m = find_locked(memfd.get(), size_bytes);
  // All of it is about to be read: one call is cheaper than many faults.
  if (size_bytes > m.there) {
    ::madvise(m.at, size_bytes, populate_read);
    m.there = size_bytes;
  }
  m.is_lent = true;
  return {*this, {m.at, size_bytes}};
}

loans::mapping& loans::find_locked(int memfd, std::size_t size_bytes) {
  constexpr int fixed_length = F_SEAL_SHRINK | F_SEAL_GROW;
  const int seals = ::fcntl(memfd, F_GET_SEALS);
  struct stat info{};
  if (seals < 0 || (seals & fixed_length) != fixed_length
      || ::fstat(memfd, &info) != 0 || size_bytes == 0
      || static_cast<std::uint64_t>(info.st_size) < size_bytes)
    throw decode_error{
      fmt::format("{} bytes lent by what has not so many", size_bytes)};
  // Its number can't be another's: our mapping keeps the file.
  const auto known = std::ranges::find_if(all_, [&](const mapping& m) {
    return m.file == info.st_ino && m.device == info.st_dev;
  });
  if (known != all_.end())
    return *known;
  all_.reserve(kept_mappings + 1);
  const auto bytes = static_cast<std::size_t>(info.st_size);
  auto* at = ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, memfd, 0);
  if (at == MAP_FAILED)
    throw decode_error{
      fmt::format("{} bytes of shared memory can't be mapped: {}", bytes,
                  std::strerror(errno))};
  return all_.emplace_back(mapping{.device = info.st_dev,
                                   .file = info.st_ino,
                                   .at = static_cast<std::byte*>(at),
                                   .bytes = bytes});
}

// What was used last stays, as far as there is room.
void loans::done() noexcept {
  const std::lock_guard guard{mutex_};
  const auto now = sched::now_ns();
  for (auto& m : all_)
    if (std::exchange(m.is_lent, false))
      m.used_at = now;
  std::ranges::sort(all_, std::greater{}, &mapping::used_at);
  std::size_t kept = 0;
  std::size_t bytes = 0;
  for (; kept < all_.size() && kept < kept_mappings && keeps_; ++kept) {
    bytes += all_[kept].bytes;
    if (bytes > wire::kept_bytes_max)
      break;
  }
  for (auto i = kept; i < all_.size(); ++i)
    ::munmap(all_[i].at, all_[i].bytes);
  all_.resize(kept);
}

bool loans::trim(std::int64_t now) noexcept {
  const std::lock_guard guard{mutex_};
  std::erase_if(all_, [now](const mapping& m) {
    const auto goes = !m.is_lent && now - m.used_at >= wire::idle_ns;
    if (goes)
      ::munmap(m.at, m.bytes);
    return goes;
  });
  return !all_.empty();
}

} // namespace troupe::process
