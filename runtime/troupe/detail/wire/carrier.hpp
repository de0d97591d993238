// SPDX-License-Identifier: MIT
// carrier: the road that a message takes, as its values may see it.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace troupe::wire {

class segment;

/// Most values need nothing but bytes. A handle of an actor and a block of
/// shared memory mean something only to the connection that they travel on:
/// their codecs ask the writer or reader for its carrier and
/// `dynamic_cast` it to what they need. A message without a carrier (a test, a
/// file) refuses such values with `not_sendable`.
class carrier {
public:
  carrier(const carrier&) = delete;
  carrier& operator=(const carrier&) = delete;

protected:
  carrier() = default;
  virtual ~carrier() = default;
};

/// A road whose frames can have descriptors beside them. One writer or reader
/// of one frame at a time.
class attachment_carrier : public carrier {
public:
  /// Takes `bytes` along with the frame being written and returns its number
  /// there; nothing if the frame has no room for one more. `bytes` has a
  /// descriptor.
  virtual bool attach(std::shared_ptr<const segment> bytes,
                      std::uint32_t& number) = 0;

  /// The descriptor that came as number `number` with the frame being read;
  /// the caller owns it now. -1 if there is none, or no longer.
  virtual int take_attached(std::uint32_t number) = 0;
};

/// The segments that go with a message, collected while it is encoded.
class attachments : public attachment_carrier {
public:
  static constexpr std::uint32_t most = 64; // frame_header::attachments_max

  attachments() = default;
  attachments(attachments&& other) noexcept
    : attached(std::move(other.attached)) {}
  attachments& operator=(attachments&& other) noexcept {
    attached = std::move(other.attached);
    return *this;
  }

  bool attach(std::shared_ptr<const segment> bytes,
              std::uint32_t& number) override {
    if (attached.size() >= most)
      return false;
    number = static_cast<std::uint32_t>(attached.size());
    attached.push_back(std::move(bytes));
    return true;
  }
  int take_attached(std::uint32_t) override { return -1; }

  std::vector<std::shared_ptr<const segment>> attached;
};

} // namespace troupe::wire
