// SPDX-License-Identifier: MIT
// carrier: the road that a message takes, as its values may see it.
#pragma once

namespace troupe::wire {

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

} // namespace troupe::wire
