// SPDX-License-Identifier: MIT
// A worker that writes anything anywhere: into its ring, over the indices and
// the claims, onto the socket. Frames come out, or it is condemned; its end is
// told once, and nothing comes after it.
//
//   a record of the input: what it does | a | b | length, then bytes.
#include "fuzz/fuzz.hpp"

#include "process/child.hpp"
#include "process/host.hpp"
#include "troupe/detail/wire/reader.hpp"
#include "wire/segment.hpp"

#include <cstring>
#include <numeric>

#include <fcntl.h>

namespace {

using namespace troupe;
using namespace troupe::process;
using wire::frame_header;
using wire::frame_kind;

class ledger final : public child_owner {
public:
  void on_frame(child&, const frame_header& head,
                std::span<const std::byte> payload, incoming& road) override {
    FUZZ_CHECK(!has_ended);
    for (const auto byte : payload)
      sum += std::to_integer<unsigned>(byte);
    if (head.attachments != 0)
      if (const descriptor taken{road.take_attached(head.attachments - 1)})
        FUZZ_CHECK(::fcntl(taken.get(), F_GETFD) >= 0);
    if (head.kind != frame_kind::result && head.kind != frame_kind::error)
      throw decode_error{"not from a worker"};
  }
  void on_pumped(child&) override { FUZZ_CHECK(!has_ended); }
  void on_end(child&, certificate why) override {
    FUZZ_CHECK(!has_ended);
    FUZZ_CHECK(why.backtrace.size() <= sizeof(report::backtrace));
    has_ended = true;
  }
  std::int64_t tick(std::int64_t) override { return INT64_MAX; }
  bool is_idle() override { return true; }
  void on_stop() override {}

  bool has_ended = false;
  unsigned sum = 0;
};

/// The worker's side of the channel, in bad hands.
class villain {
public:
  explicit villain(child::birth fds)
    : fds_(std::move(fds)),
      memory_(shared_memory::map(descriptor{::dup(fds_.memory)})),
      page_(memory_.page()) {}

  void write(std::span<const std::byte> bytes) {
    for (const auto byte : bytes)
      memory_.responses()[put_++ % ring_bytes] = byte;
    page_.responses.put.store(put_);
  }

  void write_frame(unsigned a, unsigned b, std::span<const std::byte> bytes) {
    frame_header head{.kind = static_cast<frame_kind>(a & 15),
                      .flags = static_cast<std::uint16_t>(a >> 4 & 3),
                      .call = b,
                      .payload_bytes = bytes.size(),
                      .attachments = a >> 6};
    if ((head.flags & attached_payload) != 0 && bytes.empty()) {
      head.payload_bytes = sizeof(std::uint64_t);
      std::byte size[sizeof(std::uint64_t)] = {};
      size[1] = std::byte{16}; // a page
      write_header(head);
      write(size);
      return;
    }
    write_header(head);
    write(bytes);
  }

  /// Not sealed, of a page, and right; and what comes with them.
  void send_descriptors(unsigned a, std::span<const std::byte> bytes) {
    auto loose = wire::segment::make(4096, true);
    auto sealed = wire::segment::make(4096, true);
    sealed->freeze();
    const int both[] = {loose->descriptor(), sealed->descriptor(),
                        loose->descriptor()};
    send_record(fds_.socket.get(), bytes,
                std::span{both}.subspan(a % 3, (a >> 2) % (4 - a % 3)));
  }

  void claim_anything(unsigned a, unsigned b) {
    page_.claims[a % window].store(b);
  }
  void put_index(std::uint64_t n) { page_.responses.put.store(n); }
  void taken_index(std::uint64_t n) { page_.requests.taken.store(n); }
  void beat(std::uint64_t n) { page_.beat.store(n); }
  void box(std::uint64_t n) { page_.box.memory_bytes = n; }
  void go() { fds_ = {}; }

private:
  void write_header(const frame_header& head) {
    std::byte raw[frame_header::size_bytes];
    wire::store_header(raw, head);
    write(raw);
  }

  child::birth fds_;
  shared_memory memory_;
  shared_page& page_;
  std::uint64_t put_ = 0;
};

} // namespace

FUZZ(kind, bytes) {
  // All that it asks of its home is to be looked at by a time: later than 0,
  // which is when this one looks.
  alignas(host) static std::byte nowhere[sizeof(host)];
  auto owner = std::make_shared<ledger>();
  child c{reinterpret_cast<host&>(nowhere), owner, 1};
  villain them{c.take_birth()};
  std::uint64_t call = 0;
  while (bytes.size() >= 4) {
    const auto get = [&](std::size_t i) {
      return std::to_integer<unsigned>(bytes[i]);
    };
    const auto a = get(1);
    const auto b = get(2);
    const auto what = get(0) % 12;
    const auto size = std::min<std::size_t>(get(3), bytes.size() - 4);
    const auto rest = bytes.subspan(4, size);
    bytes = bytes.subspan(4 + size);
    std::uint64_t number = a | b << 8;
    if (rest.size() >= sizeof(number))
      std::memcpy(&number, rest.data(), sizeof(number));
    switch (what) {
      case 0:
        them.write(rest);
        break;
      case 1:
        them.write_frame(a, b, rest);
        break;
      case 2:
        them.send_descriptors(a, rest);
        break;
      case 3:
        them.claim_anything(a, b);
        break;
      case 4:
        them.put_index(number);
        break;
      case 5:
        them.taken_index(number);
        break;
      case 6:
        them.beat(number);
        them.box(number);
        break;
      case 7:
        c.offer(++call);
        c.send({.kind = frame_kind::call, .call = call, .name = 1}, rest);
        break;
      case 8:
        static_cast<void>(c.withdraw(call) || c.has_begun(call));
        c.ping(call);
        break;
      case 9: { // more than its ring holds
        if (c.has_backlog())
          break; // its owner waits then
        const std::vector<std::byte> large(std::size_t{b} << 10);
        c.send({.kind = frame_kind::tell, .target = 1, .name = 1}, large);
        break;
      }
      case 10:
        them.go();
        break;
      default:
        c.pump();
        static_cast<void>(c.arm(bell_mode::strict));
    }
  }
  c.pump();
  report seen{.what = report::kind::died, .pid = 1, .worker = 1};
  std::memset(seen.backtrace, 'x', sizeof(seen.backtrace));
  c.has_died((kind & 1) != 0 ? &seen : nullptr, {}, (kind & 2) != 0);
  FUZZ_CHECK(owner->has_ended);
  FUZZ_CHECK(!c.pump());
}
