// SPDX-License-Identifier: MIT
#include "wire/frame.hpp"

#include "troupe/error.hpp"
#include "wire/build_identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <utility>

namespace troupe::wire {

namespace {

constexpr std::uint32_t magic = 0x70757254; // "Trup"

// A header is put together and taken apart in registers: eight words read back
// right after their bytes were written one by one would wait for the stores.
using words = std::array<std::uint64_t, frame_header::size_bytes / 8>;
static_assert(protocol_version < 256);

/// Finds scribbled headers, not forged ones: of all bytes but the last four.
/// Two chains, so that the multiplications don't wait for each other.
std::uint32_t checksum(const words& of) noexcept {
  constexpr std::uint64_t factor = 0xff51afd7ed558ccd;
  std::uint64_t a = 0x9e3779b97f4a7c15;
  std::uint64_t b = 0xc2b2ae3d27d4eb4f;
  for (std::size_t i = 0; i != of.size(); i += 2) {
    const auto last = i + 2 == of.size();
    a = (a ^ of[i]) * factor;
    a ^= a >> 32;
    b = (b ^ (last ? std::uint32_t(of[i + 1]) : of[i + 1])) * factor;
    b ^= b >> 32;
  }
  const auto both = (a ^ (b * 3)) * factor;
  return static_cast<std::uint32_t>(both >> 32);
}

/// What a kind of frame must and must not have.
enum rule : std::uint8_t {
  nothing = 0,
  with_call = 1,
  with_name = 2,
  with_target = 4,
  bare = 8,
};

struct kind_rule {
  std::string_view name;
  unsigned rules;
};

constexpr kind_rule kinds[] = {
  {"no", nothing},
  {"hello", nothing},
  {"call", with_call | with_name},
  {"tell", with_name},
  {"result", with_call},
  {"error", with_call},
  {"cancel", with_call | bare},
  {"ping", bare},
  {"pong", bare},
  {"spawn", with_call | with_name},
  {"release", with_target | bare},
  {"monitor", with_target | bare},
  {"down", with_target},
  {"stop", nothing},
  {"credit", bare},
  {"log", nothing},
  {"notice", nothing},
};

static_assert(std::size(kinds)
              == static_cast<std::size_t>(frame_kind_last) + 1);

[[noreturn]] void refuse(const frame_header& head, const limits& bounds) {
  const auto [name, rules] = kinds[static_cast<std::size_t>(head.kind)];
  if (head.payload_bytes > bounds.frame_bytes_max - frame_header::size_bytes)
    throw decode_error{
      fmt::format("a {} frame claims {} bytes, the limit is {}", name,
                  head.payload_bytes, bounds.frame_bytes_max)};
  if ((rules & bare) != 0 && head.payload_bytes != 0)
    throw decode_error{fmt::format("a {} frame with {} bytes of payload", name,
                                   head.payload_bytes)};
  if (head.attachments > frame_header::attachments_max)
    throw decode_error{fmt::format("{} attachments, the limit is {}",
                                   head.attachments,
                                   frame_header::attachments_max)};
  if (head.deadline_us > frame_header::deadline_us_max
      && head.deadline_us != frame_header::no_deadline)
    throw decode_error{
      fmt::format("a deadline in {} microseconds", head.deadline_us)};
  throw decode_error{
    fmt::format("a {} frame without its {}", name,
                (rules & with_call) != 0 && head.call == 0   ? "call"
                : (rules & with_name) != 0 && head.name == 0 ? "name"
                                                             : "target")};
}

void check_fields(const frame_header& head, const limits& bounds) {
  const auto rules = kinds[static_cast<std::size_t>(head.kind)].rules;
  const unsigned has = (head.call != 0 ? with_call : nothing)
                       | (head.name != 0 ? with_name : nothing)
                       | (head.target != 0 ? with_target : nothing)
                       | (head.payload_bytes == 0 ? bare : nothing);
  const bool late = head.deadline_us > frame_header::deadline_us_max
                    && head.deadline_us != frame_header::no_deadline;
  if ((rules & ~has) != 0 || late
      || head.payload_bytes > bounds.frame_bytes_max - frame_header::size_bytes
      || head.attachments > frame_header::attachments_max) [[unlikely]]
    refuse(head, bounds);
}

} // namespace

std::string_view to_string(frame_kind kind) noexcept {
  const auto at = static_cast<std::size_t>(kind);
  return at < std::size(kinds) ? kinds[at].name : "unknown";
}

std::uint64_t
remaining_us(std::optional<std::chrono::steady_clock::time_point> at,
             std::chrono::steady_clock::time_point now) noexcept {
  if (!at)
    return frame_header::no_deadline;
  if (*at <= now)
    return 0;
  const auto left = static_cast<std::uint64_t>(
    std::chrono::duration_cast<std::chrono::microseconds>(*at - now).count());
  // A rest below a microsecond is still a rest.
  return std::clamp(left, std::uint64_t{1}, frame_header::deadline_us_max);
}

std::optional<std::chrono::steady_clock::time_point>
deadline_at(const frame_header& head,
            std::chrono::steady_clock::time_point now) noexcept {
  if (head.deadline_us == frame_header::no_deadline)
    return std::nullopt;
  const auto left = std::min(head.deadline_us, frame_header::deadline_us_max);
  return now + std::chrono::microseconds{left};
}

// -- header -------------------------------------------------------------------

void store_header(std::byte* to, const frame_header& head) noexcept {
  words all{
    magic | std::uint64_t{protocol_version} << 32
      | std::uint64_t{static_cast<std::uint8_t>(head.kind)} << 40
      | std::uint64_t{head.flags} << 48,
    head.payload_bytes,
    head.call,
    head.target,
    head.name,
    head.deadline_us,
    head.trace,
    head.attachments,
  };
  all.back() |= std::uint64_t{checksum(all)} << 32;
  std::memcpy(to, all.data(), sizeof(all));
}

frame_header
load_header(std::span<const std::byte, frame_header::size_bytes> bytes,
            const limits& bounds) {
  words all;
  std::memcpy(all.data(), bytes.data(), sizeof(all));
  if (const auto seen = static_cast<std::uint32_t>(all[0]); seen != magic)
    throw decode_error{fmt::format("no frame begins with {:08x}", seen)};
  if (const auto seen = static_cast<std::uint8_t>(all[0] >> 32);
      seen != protocol_version)
    throw decode_error{fmt::format("a frame of version {}, this is version {}",
                                   seen, protocol_version)};
  if (all.back() >> 32 != checksum(all))
    throw decode_error{"a frame header whose checksum is wrong"};
  const auto kind = static_cast<std::uint8_t>(all[0] >> 40);
  if (kind == 0 || kind > static_cast<std::uint8_t>(frame_kind_last))
    throw decode_error{fmt::format("a frame of the unknown kind {}", kind)};
  const frame_header head{
    .kind = static_cast<frame_kind>(kind),
    .flags = static_cast<std::uint16_t>(all[0] >> 48),
    .call = all[2],
    .target = all[3],
    .name = all[4],
    .deadline_us = all[5],
    .trace = all[6],
    .payload_bytes = all[1],
    .attachments = static_cast<std::uint32_t>(all[7]),
  };
  check_fields(head, bounds);
  return head;
}

// -- writing ------------------------------------------------------------------

namespace {

limits for_payload(limits bounds) noexcept {
  bounds.frame_bytes_max -= std::min(bounds.frame_bytes_max,
                                     frame_header::size_bytes);
  return bounds;
}

} // namespace

frame_writer::frame_writer(buffer& out, const frame_header& head,
                           const limits& bounds, carrier* road)
  : out_(out),
    start_(out.size()),
    head_(head),
    payload_((out.extend(frame_header::size_bytes), out), for_payload(bounds),
             road) {}

frame_writer::~frame_writer() {
  if (!finished_)
    out_.truncate(start_);
}

void frame_writer::finish() noexcept {
  head_.payload_bytes = payload_.written();
  store_header(out_.data() + start_, head_);
  finished_ = true;
}

void append_frame(buffer& out, const frame_header& head) {
  store_header(out.extend(frame_header::size_bytes), head);
}

// -- reading ------------------------------------------------------------------

std::optional<frame_view> next_frame(std::span<const std::byte> bytes,
                                     const limits& bounds) {
  if (bytes.size() < frame_header::size_bytes)
    return std::nullopt;
  const auto head = load_header(bytes.first<frame_header::size_bytes>(),
                                bounds);
  const auto rest = bytes.subspan(frame_header::size_bytes);
  if (rest.size() < head.payload_bytes)
    return std::nullopt;
  return frame_view{head,
                    rest.first(static_cast<std::size_t>(head.payload_bytes))};
}

std::size_t frame_decoder::push_header(std::span<const std::byte> bytes) {
  const auto count = std::min(bytes.size(),
                              frame_header::size_bytes - header_bytes_);
  std::memcpy(header_ + header_bytes_, bytes.data(), count);
  header_bytes_ += count;
  if (header_bytes_ < frame_header::size_bytes)
    return count;
  try {
    head_ = load_header(std::span{header_}, bounds_);
  } catch (const decode_error& e) {
    fault_ = e.what();
    throw;
  }
  header_bytes_ = 0;
  has_header_ = true;
  return count;
}

std::size_t frame_decoder::push(std::span<const std::byte> bytes) {
  if (!fault_.empty())
    throw decode_error{fault_};
  if (is_ready() || bytes.empty())
    return 0;
  std::size_t taken = 0;
  if (!has_header_) {
    taken = push_header(bytes);
    bytes = bytes.subspan(taken);
    if (!has_header_ || bytes.empty())
      return taken;
  }
  const auto wanted = static_cast<std::size_t>(head_.payload_bytes)
                      - payload_.size();
  const auto count = std::min(bytes.size(), wanted);
  // Room for all at once where it is little or where an eighth of it is here;
  // before that the buffer doubles as bytes come in. (Doubling to the end costs
  // a large payload as much again in copies and fresh pages.)
  constexpr std::size_t trusted_bytes = std::size_t{1} << 20;
  if (head_.payload_bytes <= trusted_bytes || count == wanted
      || payload_.size() >= head_.payload_bytes / 8)
    payload_.reserve(static_cast<std::size_t>(head_.payload_bytes));
  payload_.append(bytes.first(count));
  return taken + count;
}

std::span<std::byte> frame_decoder::room() noexcept {
  if (!has_header_)
    return {};
  return {payload_.data() + payload_.size(),
          std::min(payload_.capacity() - payload_.size(), missing_bytes())};
}

frame frame_decoder::take() {
  has_header_ = false;
  frame whole{head_, std::move(payload_)};
  payload_ = buffer{};
  return whole;
}

std::size_t frame_decoder::missing_bytes() const noexcept {
  if (!has_header_)
    return frame_header::size_bytes - header_bytes_;
  return static_cast<std::size_t>(head_.payload_bytes) - payload_.size();
}

} // namespace troupe::wire
