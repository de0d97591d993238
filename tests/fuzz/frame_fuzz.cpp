// SPDX-License-Identifier: MIT
// A stream of frames from noise, in one piece and in many: the same frames come
// out, or the same error.
#include "fuzz/fuzz.hpp"

#include "wire/frame.hpp"

#include <cstring>
#include <string>
#include <vector>

namespace {

using namespace troupe::wire;

struct outcome {
  std::vector<frame> frames;
  std::string error;
  bool midway = false;
};

/// `step` 0: all at once.
outcome decode_stream(std::span<const std::byte> bytes, std::size_t step) {
  outcome result;
  frame_decoder decoder{fuzz::bounds};
  try {
    while (!bytes.empty()) {
      auto piece = bytes.first(step == 0 ? bytes.size()
                                         : std::min(step, bytes.size()));
      const auto taken = decoder.push(piece);
      FUZZ_CHECK(taken != 0);
      bytes = bytes.subspan(taken);
      FUZZ_CHECK(decoder.payload_capacity_bytes() <= (2u << 20));
      if (decoder.is_ready())
        result.frames.push_back(decoder.take());
    }
    result.midway = decoder.is_midway();
  } catch (const troupe::decode_error& e) {
    result.error = e.what();
  }
  return result;
}

/// The same without a copy.
outcome view_stream(std::span<const std::byte> bytes) {
  outcome result;
  try {
    while (const auto view = next_frame(bytes, fuzz::bounds)) {
      auto& made = result.frames.emplace_back(frame{view->head, {}});
      made.payload.append(view->payload);
      bytes = bytes.subspan(view->size_bytes());
    }
    result.midway = !bytes.empty();
  } catch (const troupe::decode_error& e) {
    result.error = e.what();
  }
  return result;
}

void check_same(const outcome& a, const outcome& b) {
  FUZZ_CHECK(a.error == b.error);
  FUZZ_CHECK(a.midway == b.midway);
  FUZZ_CHECK(a.frames.size() == b.frames.size());
  for (std::size_t i = 0; i != a.frames.size(); ++i) {
    FUZZ_CHECK(a.frames[i].head == b.frames[i].head);
    FUZZ_CHECK(std::ranges::equal(a.frames[i].payload.bytes(),
                                  b.frames[i].payload.bytes()));
  }
}

/// Headers that pass the checksum: else noise never gets further.
std::vector<std::byte> with_headers(std::span<const std::byte> bytes) {
  buffer out;
  while (bytes.size() >= 4) {
    const auto get = [&](std::size_t i) {
      return std::to_integer<std::uint8_t>(bytes[i]);
    };
    frame_header head{.kind = static_cast<frame_kind>(get(0)),
                      .call = get(1),
                      .target = get(2),
                      .name = get(3)};
    bytes = bytes.subspan(4);
    const auto payload =
      bytes.first(std::min<std::size_t>(bytes.size(), head.target));
    head.payload_bytes = head.call == 255 ? ~std::uint64_t{0} : payload.size();
    store_header(out.extend(frame_header::size_bytes), head);
    out.append(payload);
    bytes = bytes.subspan(payload.size());
  }
  out.append(bytes);
  return {out.bytes().begin(), out.bytes().end()};
}

} // namespace

FUZZ(kind, bytes) {
  const auto made = (kind & 0x80) != 0
                      ? with_headers(bytes)
                      : std::vector<std::byte>(bytes.begin(), bytes.end());
  const auto whole = decode_stream(made, 0);
  check_same(whole, decode_stream(made, 1 + (kind & 0x7f)));
  check_same(whole, view_stream(made));
}
