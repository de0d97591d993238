// SPDX-License-Identifier: MIT
#include "wire/block.hpp"

#include "sched/clock.hpp"

#include <algorithm>
#include <bit>
#include <fcntl.h>
#include <mutex>
#include <new>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace troupe::wire {

namespace {

struct block {
  std::byte* at = nullptr;
  std::size_t bytes = 0;
  int fd = -1;
  std::int64_t kept_since = 0; // 0: somebody has it
};

struct shelf {
  std::mutex mutex;
  std::vector<block> all;
  std::size_t kept_bytes = 0;
  int users = 0;
};

// Never destroyed: futures of a program that ends may hold one.
shelf& get() {
  static auto& s = *new shelf;
  return s;
}

void free_block(const block& b) noexcept {
  ::munmap(b.at, b.bytes);
  ::close(b.fd);
}

// Its `at` is null if the system has none to give.
block make_block(std::size_t bytes) noexcept {
  block b;
  b.bytes = bytes;
  b.fd = ::memfd_create("troupe.block", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (b.fd < 0)
    return b;
  if (::ftruncate(b.fd, static_cast<off_t>(bytes)) == 0) {
    auto* at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, b.fd,
                      0);
    if (at != MAP_FAILED) {
      // Our mapping stays writable; there will be no other like it.
      if (::fcntl(b.fd, F_ADD_SEALS,
                  F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE
                    | F_SEAL_SEAL)
          == 0) {
        b.at = static_cast<std::byte*>(at);
        return b;
      }
      ::munmap(at, bytes);
    }
  }
  ::close(b.fd);
  return b;
}

// Moves the kept blocks that `goes` names out; freed without the lock.
template <class Goes>
std::vector<block> take_out(shelf& s, Goes goes) {
  std::vector<block> out;
  std::erase_if(s.all, [&](const block& b) {
    if (b.kept_since == 0 || !goes(b))
      return false;
    s.kept_bytes -= b.bytes;
    out.push_back(b);
    return true;
  });
  return out;
}

void free_all(const std::vector<block>& blocks) noexcept {
  for (const auto& b : blocks)
    free_block(b);
}

} // namespace

void open_blocks() noexcept {
  auto& s = get();
  const std::lock_guard guard{s.mutex};
  ++s.users;
}

void close_blocks() noexcept {
  auto& s = get();
  std::vector<block> out;
  {
    const std::lock_guard guard{s.mutex};
    if (--s.users == 0)
      out = take_out(s, [](const block&) { return true; });
  }
  free_all(out);
}

std::byte* take_block(std::size_t bytes, std::size_t& capacity) noexcept {
  constexpr std::size_t least = std::size_t{1} << 20;
  constexpr std::size_t most = std::size_t{1} << 40;
  auto& s = get();
  if (bytes > most)
    return nullptr;
  // Sizes in quarter steps, so that it suits the next one as well. What is not
  // written to takes no memory.
  bytes = std::max(bytes, least);
  const auto step = std::bit_floor(bytes) / 4;
  bytes = (bytes + step - 1) / step * step;
  try {
    {
      const std::lock_guard guard{s.mutex};
      if (s.users == 0)
        return nullptr;
      block* best = nullptr; // the smallest that is large enough, not too large
      for (auto& b : s.all)
        if (b.kept_since != 0 && b.bytes >= bytes && b.bytes / 4 <= bytes
            && (best == nullptr || b.bytes < best->bytes))
          best = &b;
      if (best != nullptr) {
        best->kept_since = 0;
        s.kept_bytes -= best->bytes;
        capacity = best->bytes;
        return best->at;
      }
    }
    auto made = make_block(bytes);
    if (made.at == nullptr)
      return nullptr;
    const std::lock_guard guard{s.mutex};
    s.all.push_back(made);
    capacity = made.bytes;
    return made.at;
  } catch (const std::bad_alloc&) {
    return nullptr; // what was made is lost, with a machine out of memory
  }
}

bool give_block(std::byte* at) noexcept {
  auto& s = get();
  block gone;
  {
    const std::lock_guard guard{s.mutex};
    const auto b = std::ranges::find(s.all, at, &block::at);
    if (b == s.all.end())
      return false;
    if (s.users != 0 && s.kept_bytes + b->bytes <= kept_bytes_max) {
      s.kept_bytes += b->bytes;
      b->kept_since = std::max<std::int64_t>(1, sched::now_ns());
      return true;
    }
    gone = *b;
    s.all.erase(b);
  }
  free_block(gone);
  return true;
}

int descriptor_of(const std::byte* at) noexcept {
  auto& s = get();
  const std::lock_guard guard{s.mutex};
  const auto b = std::ranges::find(s.all, at, &block::at);
  return b == s.all.end() ? -1 : b->fd;
}

std::int64_t trim_blocks(std::int64_t now) noexcept {
  auto& s = get();
  std::vector<block> out;
  auto next = INT64_MAX;
  try {
    const std::lock_guard guard{s.mutex};
    out = take_out(
      s, [now](const block& b) { return now - b.kept_since >= idle_ns; });
    for (const auto& b : s.all)
      next = std::min(next, (b.kept_since != 0 ? b.kept_since : now) + idle_ns);
  } catch (const std::bad_alloc&) {
    return now + idle_ns;
  }
  free_all(out);
  return next;
}

} // namespace troupe::wire
