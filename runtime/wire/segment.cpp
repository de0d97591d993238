// SPDX-License-Identifier: MIT
#include "wire/segment.hpp"

#include "troupe/blob.hpp"
#include "troupe/detail/wire/reader.hpp"
#include "troupe/detail/wire/writer.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"
#include "wire/frame.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <new>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace troupe::wire {

namespace {

constexpr int all_seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE
                          | F_SEAL_SEAL;

/// Null when it can't be.
std::byte* map(int descriptor, std::size_t size_bytes, int protection) {
  void* at = ::mmap(nullptr, size_bytes, protection, MAP_SHARED, descriptor, 0);
  return at == MAP_FAILED ? nullptr : static_cast<std::byte*>(at);
}

/// A memfd of `size_bytes` zeros, or -1.
int make_memfd(std::size_t size_bytes) {
  const int fd = ::memfd_create("troupe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd >= 0 && ::ftruncate(fd, static_cast<off_t>(size_bytes)) == 0)
    return fd;
  if (fd >= 0)
    ::close(fd);
  return -1;
}

} // namespace

segment::~segment() {
  if (is_block_) {
    give_block(data_);
    return;
  }
  if (descriptor_ < 0) {
    std::free(data_);
    return;
  }
  if (data_ != nullptr)
    ::munmap(data_, size_bytes_);
  ::close(descriptor_);
}

std::shared_ptr<segment> segment::make(std::size_t size_bytes, bool shared) {
  const std::shared_ptr<segment> made{new segment};
  made->size_bytes_ = size_bytes;
  if (shared && size_bytes != 0)
    made->descriptor_ = make_memfd(size_bytes);
  if (made->descriptor_ >= 0) {
    made->data_ = map(made->descriptor_, size_bytes, PROT_READ | PROT_WRITE);
    if (made->data_ != nullptr)
      return made;
    ::close(std::exchange(made->descriptor_, -1));
  }
  made->data_ = static_cast<std::byte*>(std::calloc(size_bytes + 1, 1));
  if (made->data_ == nullptr)
    throw std::bad_alloc{};
  return made;
}

std::shared_ptr<const segment> segment::adopt(int descriptor,
                                              std::size_t size_bytes) {
  const std::shared_ptr<segment> made{new segment};
  made->descriptor_ = descriptor; // closed with it, whatever comes
  made->size_bytes_ = size_bytes;
  const int seals = ::fcntl(descriptor, F_GET_SEALS);
  if (seals < 0 || (seals & all_seals) != all_seals)
    throw decode_error{"shared memory that is not sealed"};
  struct stat info{};
  if (::fstat(descriptor, &info) != 0
      || static_cast<std::uint64_t>(info.st_size) != size_bytes
      || size_bytes == 0)
    throw decode_error{
      fmt::format("{} bytes of shared memory claimed, it has "
                  "{}",
                  size_bytes, info.st_size)};
  made->data_ = map(descriptor, size_bytes, PROT_READ);
  if (made->data_ == nullptr)
    throw decode_error{
      fmt::format("{} bytes of shared memory can't be mapped: {}", size_bytes,
                  std::strerror(errno))};
  return made;
}

std::shared_ptr<const segment> segment::lend(buffer& from) {
  const int descriptor =
    from.capacity() < buffer::large_bytes ? -1 : descriptor_of(from.data());
  if (descriptor < 0)
    return nullptr;
  const std::shared_ptr<segment> made{new segment};
  made->size_bytes_ = from.size();
  made->descriptor_ = descriptor;
  made->data_ = from.release();
  made->is_block_ = true;
  return made;
}

void segment::freeze() {
  if (descriptor_ < 0)
    return;
  // A writable mapping would keep the kernel from sealing.
  ::munmap(std::exchange(data_, nullptr), size_bytes_);
  if (::fcntl(descriptor_, F_ADD_SEALS, all_seals) != 0)
    throw not_sendable{
      fmt::format("shared memory can't be sealed: {}", std::strerror(errno))};
  data_ = map(descriptor_, size_bytes_, PROT_READ);
  if (data_ == nullptr)
    throw std::bad_alloc{};
}

// -- blob on the wire ---------------------------------------------------------
//
// 0, length, bytes; or 1, number of the attachment, size.

void codec<blob>::write(writer& out, const blob& x) {
  auto* road = dynamic_cast<attachment_carrier*>(out.road());
  std::uint32_t number = 0;
  if (road != nullptr && x.is_shared() && road->attach(x.segment_, number)) {
    *out.claim(1) = std::byte{1};
    out.length(number);
    out.length(x.size());
    return;
  }
  *out.claim(1) = std::byte{0};
  out.length(x.size());
  out.bytes(x.data(), x.size());
}

void codec<blob>::read(reader& in, blob& x) {
  const auto how = *in.take(1);
  if (how == std::byte{0}) {
    const auto size = in.count(1, 1);
    x = blob{std::span{in.take(size), size}};
    return;
  }
  if (how != std::byte{1})
    in.refuse("a blob that is neither here nor attached");
  const auto number =
    static_cast<std::uint32_t>(in.index(frame_header::attachments_max));
  const auto size = in.length();
  auto* road = dynamic_cast<attachment_carrier*>(in.road());
  const int descriptor = road == nullptr ? -1 : road->take_attached(number);
  if (descriptor < 0)
    in.refuse("an attachment that did not come");
  x = blob{segment::adopt(descriptor, static_cast<std::size_t>(size))};
}

} // namespace troupe::wire

namespace troupe {

blob::blob(std::span<const std::byte> bytes) {
  if (bytes.empty())
    return;
  shared_buffer buffer{bytes.size()};
  std::memcpy(buffer.bytes().data(), bytes.data(), bytes.size());
  *this = std::move(buffer).freeze();
}

const std::byte* blob::data() const noexcept {
  return segment_ ? segment_->data() : nullptr;
}

std::size_t blob::size() const noexcept {
  return segment_ ? segment_->size_bytes() : 0;
}

bool blob::is_shared() const noexcept {
  return segment_ && segment_->descriptor() >= 0;
}

bool operator==(const blob& a, const blob& b) noexcept {
  return a.segment_ == b.segment_
         || (a.size() == b.size()
             && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0));
}

shared_buffer::shared_buffer(std::size_t size_bytes)
  : segment_(
      wire::segment::make(size_bytes, size_bytes >= blob::shared_bytes_min)) {}

std::span<std::byte> shared_buffer::bytes() noexcept {
  if (!segment_)
    return {};
  return {segment_->data(), segment_->size_bytes()};
}

blob shared_buffer::freeze() && {
  if (!segment_)
    return {};
  segment_->freeze();
  return blob{std::shared_ptr<const wire::segment>{std::move(segment_)}};
}

} // namespace troupe
