// SPDX-License-Identifier: MIT
// What another process says about actors, from noise: each call is answered
// once, each of our asks settles, and nothing is left when the peer has gone.
//
//   a record of the input: kind and flags | call | target | name | length, the
//   bytes of the payload; as a frame, if it is one that may come.
#include "fuzz/live.hpp"

#include "troupe/blob.hpp"
#include "troupe/ref.hpp"
#include "troupe/system.hpp"
#include "wire/failure.hpp"
#include "wire/peer.hpp"
#include "wire/segment.hpp"

#include <chrono>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <unistd.h>

namespace {

using namespace troupe;
using namespace std::chrono_literals;
using wire::frame_header;
using wire::frame_kind;

class clerk {
public:
  unsigned file(unsigned n) { return total_ += n; }
  std::string repeat(const std::string& text) { return text + text; }
  std::size_t weigh(const blob& what, const std::vector<std::string>& more) {
    return what.size() + more.size();
  }
  void keep(ref<clerk> other) {
    if (kept_.size() < 8)
      kept_.push_back(std::move(other));
  }
  ref<clerk> pass(ref<clerk> other) { return other; }
  void refuse(const std::string& why) { throw std::runtime_error{why}; }

private:
  unsigned total_ = 0;
  std::vector<ref<clerk>> kept_;
};

class porter {
public:
  int carry(int n) { return n; }
};

template <class T, auto M>
wire::entry_id ask_id() {
  using message = detail::ask_message<detail::body_of<T, M>>;
  return message::table.remote->entry().id();
}

template <class T, auto M>
wire::entry_id tell_id() {
  using message = detail::tell_message<detail::body_of<T, M>>;
  return message::table.remote->entry().id();
}

wire::entry_id name_of(unsigned n) {
  static const wire::entry_id names[] = {
    ask_id<clerk, &clerk::file>(),    ask_id<clerk, &clerk::repeat>(),
    ask_id<clerk, &clerk::weigh>(),   ask_id<clerk, &clerk::keep>(),
    ask_id<clerk, &clerk::pass>(),    ask_id<clerk, &clerk::refuse>(),
    ask_id<porter, &porter::carry>(), tell_id<clerk, &clerk::file>(),
    tell_id<clerk, &clerk::keep>(),   tell_id<clerk, &clerk::refuse>(),
    tell_id<porter, &porter::carry>()};
  return n < 250 ? names[n % std::size(names)] : n;
}

/// Descriptors that come beside a frame: none, one that isn't sealed, one that
/// is right for a blob of a page.
class road final : public wire::attachment_carrier {
public:
  bool attach(std::shared_ptr<const wire::segment>, std::uint32_t&) override {
    return false;
  }
  int take_attached(std::uint32_t number) override {
    if (number % 3 == 0)
      return -1;
    auto bytes = wire::segment::make(4096, true);
    if (number % 3 == 2)
      bytes->freeze();
    return ::dup(bytes->descriptor());
  }
};

class noisy final : public wire::peer {
public:
  using peer::peer;
  void look(detail::state_base&) noexcept override {}

  std::size_t answers() {
    const std::lock_guard guard{mutex_};
    return answers_;
  }

protected:
  void transmit(const frame_header& head, std::span<const std::byte> payload,
                wire::attachments&) override {
    if (head.kind == frame_kind::error) {
      wire::reader in{payload};
      wire::failure record;
      wire::decode(in, record);
      in.finish();
    }
    const std::lock_guard guard{mutex_};
    if (head.kind == frame_kind::result || head.kind == frame_kind::error)
      ++answers_;
  }
  std::size_t open_calls_max() const override { return 16; }
  std::string name() const override { return "noise"; }

private:
  std::mutex mutex_;
  std::size_t answers_ = 0;
};

/// The next record as a frame; false at the end.
bool next(std::span<const std::byte>& bytes, frame_header& head,
          std::span<const std::byte>& payload) {
  if (bytes.size() < 5)
    return false;
  const auto get = [&](std::size_t i) {
    return std::to_integer<unsigned>(bytes[i]);
  };
  const auto op = get(0);
  head = {.kind = static_cast<frame_kind>(op & 31),
          .flags = static_cast<std::uint16_t>(op >> 5 & 1),
          .call = get(1),
          .target = get(2)};
  if (head.kind == frame_kind::call || head.kind == frame_kind::tell)
    head.name = name_of(get(3));
  if ((op & 64) != 0)
    head.deadline_us = get(3);
  if ((op & 128) != 0)
    head.attachments = 3;
  const auto size = std::min<std::size_t>(get(4), bytes.size() - 5);
  payload = bytes.subspan(5, size);
  bytes = bytes.subspan(5 + size);
  head.payload_bytes = size;
  return true;
}

/// Hands the frames on as a carrier does; how many calls were among them.
std::size_t hand_on(noisy& p, std::span<const std::byte> bytes) {
  std::size_t calls = 0;
  frame_header head;
  std::span<const std::byte> payload;
  while (next(bytes, head, payload)) {
    std::byte raw[frame_header::size_bytes];
    wire::store_header(raw, head);
    try {
      head = wire::load_header(raw);
    } catch (const decode_error&) {
      continue; // the carrier's to refuse; frame_fuzz.cpp has those
    }
    road none;
    calls += head.kind == frame_kind::call ? 1 : 0;
    try {
      p.receive(head, payload, none);
    } catch (const decode_error&) {
      break; // the connection is over
    }
  }
  return calls;
}

} // namespace

FUZZ(kind, bytes) {
  auto& sys = fuzz::home();
  auto mine = sys.spawn<clerk>();
  auto another = sys.spawn<porter>();
  auto p = std::make_shared<noisy>(sys.runtime());
  const std::weak_ptr<noisy> watched{p};
  p->export_actor(mine.get());
  p->export_actor(another.get());
  {
    const auto theirs =
      ref<clerk>::adopt(p->import_actor(1, detail::remote_info<clerk>()));
    auto first = theirs.ask<&clerk::file>(1u);
    auto second = theirs.ask<&clerk::repeat>("x");
    auto third = theirs.ask<&clerk::pass>((kind & 1) != 0 ? theirs : mine);
    const auto calls = hand_on(*p, bytes);
    FUZZ_CHECK(fuzz::comes_true([&] { return p->answers() >= calls; }));
    FUZZ_CHECK(p->answers() == calls);
    p->closed(std::make_exception_ptr(node_lost{"the noise is over"}));
    FUZZ_CHECK(first.ready() && second.ready() && third.ready());
    FUZZ_CHECK(!p->is_busy());
    FUZZ_CHECK(p->exported() == 0);
  }
  mine.kill(); // it may hold itself
  another.kill();
  mine = {};
  another = {};
  p.reset();
  FUZZ_CHECK(fuzz::comes_true([&] { return watched.expired(); }));
}
