// SPDX-License-Identifier: MIT
#include "process/channel.hpp"

#include "troupe/error.hpp"
#include "wire/frame.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <climits>
#include <ctime>
#include <fcntl.h>
#include <linux/futex.h>
#include <new>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <system_error>

namespace troupe::process {

namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t head_bytes = (sizeof(shared_page) + page_bytes - 1)
                                   / page_bytes * page_bytes;
constexpr std::size_t all_bytes = head_bytes + 2 * ring_bytes;

[[noreturn]] void fail(const char* what) {
  throw std::system_error{errno, std::generic_category(), what};
}

} // namespace

void refuse_ring(const char* what, std::uint64_t theirs, std::uint64_t ours) {
  throw decode_error{
    fmt::format("a ring is broken: the other side {} {} bytes, we are at {}, "
                "and it holds {}",
                what, theirs, ours, ring_bytes)};
}

shared_memory shared_memory::make() {
  shared_memory made;
  made.memfd_.reset(
    ::memfd_create("troupe.channel", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!made.memfd_)
    fail("memfd_create");
  if (::ftruncate(made.memfd_.get(), all_bytes) != 0)
    fail("ftruncate");
  if (::fcntl(made.memfd_.get(), F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
      != 0)
    fail("sealing a channel");
  auto* at = ::mmap(nullptr, all_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                    made.memfd_.get(), 0);
  if (at == MAP_FAILED)
    fail("mapping a channel");
  made.page_ = ::new (at) shared_page;
  return made;
}

shared_memory shared_memory::map(descriptor memfd) {
  shared_memory made;
  made.memfd_ = std::move(memfd);
  auto* at = ::mmap(nullptr, all_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                    made.memfd_.get(), 0);
  if (at == MAP_FAILED)
    fail("mapping a channel");
  made.page_ = static_cast<shared_page*>(at);
  return made;
}

shared_memory::shared_memory(shared_memory&& other) noexcept
  : memfd_(std::move(other.memfd_)),
    page_(std::exchange(other.page_, nullptr)) {}

shared_memory& shared_memory::operator=(shared_memory&& other) noexcept {
  memfd_ = std::move(other.memfd_);
  std::swap(page_, other.page_);
  return *this;
}

shared_memory::~shared_memory() {
  if (page_ != nullptr)
    ::munmap(page_, all_bytes);
}

std::byte* shared_memory::requests() const noexcept {
  return reinterpret_cast<std::byte*>(page_) + head_bytes;
}

std::byte* shared_memory::responses() const noexcept {
  return requests() + ring_bytes;
}

// The futexes of two processes: not the private kind.
void wake_other(std::atomic<std::uint32_t>& flag) noexcept {
  if (flag.load(std::memory_order_relaxed) != 0
      && flag.exchange(0, std::memory_order_acq_rel) != 0)
    ::syscall(SYS_futex, &flag, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void sleep_on(std::atomic<std::uint32_t>& flag, std::uint32_t seen,
              std::int64_t timeout_ns) noexcept {
  timespec limit{};
  if (timeout_ns >= 0) {
    limit.tv_sec = static_cast<time_t>(timeout_ns / 1'000'000'000);
    limit.tv_nsec = static_cast<long>(timeout_ns % 1'000'000'000);
  }
  ::syscall(SYS_futex, &flag, FUTEX_WAIT, seen,
            timeout_ns >= 0 ? &limit : nullptr, nullptr, 0);
}

namespace {

bool attach(std::span<const std::byte> payload, wire::attachments& road) {
  if (road.attached.size() >= wire::attachments::most)
    return false;
  auto bytes = wire::segment::make(payload.size(), true);
  if (bytes->descriptor() < 0)
    return false; // it goes through the ring, piece by piece
  std::memcpy(bytes->data(), payload.data(), payload.size());
  bytes->freeze();
  road.attached.push_back(std::move(bytes));
  return true;
}

} // namespace

bool attach_bytes(wire::buffer& payload, wire::attachments& road) {
  const std::uint64_t size = payload.size();
  if (road.attached.size() >= wire::attachments::most)
    return false;
  if (auto lent = wire::segment::lend(payload))
    road.attached.push_back(std::move(lent));
  else if (!attach(payload.bytes(), road))
    return false;
  payload = {};
  payload.append(std::as_bytes(std::span{&size, 1}));
  return true;
}

void attach_payload(wire::buffer& frame, wire::attachments& road) {
  const auto view = wire::next_frame(frame.bytes());
  if (!view || !attach(view->payload, road))
    return;
  auto head = view->head;
  const std::uint64_t size = view->payload.size();
  head.flags |= attached_payload;
  head.attachments = static_cast<std::uint32_t>(road.attached.size());
  wire::buffer small;
  wire::frame_writer out{small, head};
  out.payload().bytes(&size, sizeof(size));
  out.finish();
  frame = std::move(small);
}

} // namespace troupe::process
