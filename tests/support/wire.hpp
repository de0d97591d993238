// SPDX-License-Identifier: MIT
// wire: values to bytes and back, for the tests of the wire.
#pragma once

#include "troupe/error.hpp"
#include "troupe/sendable.hpp"

#include <span>
#include <utility>

namespace test {

template <class T>
troupe::wire::buffer encoded(const T& x,
                             const troupe::wire::limits& bounds = {}) {
  troupe::wire::buffer bytes;
  troupe::wire::writer out{bytes, bounds};
  troupe::wire::encode(out, x);
  return bytes;
}

template <class T>
T decoded(std::span<const std::byte> bytes,
          const troupe::wire::limits& bounds = {}) {
  troupe::wire::reader in{bytes, bounds};
  T x{};
  troupe::wire::decode(in, x);
  in.finish();
  return x;
}

template <class T>
T round_trip(const T& x) {
  return decoded<T>(encoded(x).bytes());
}

} // namespace test
