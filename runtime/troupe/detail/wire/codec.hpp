// SPDX-License-Identifier: MIT
// codec: how a value of type T looks on the wire. Both sides are the same
// build, so a value carries no description of itself.
//
//   numbers, enums      little endian, as wide as they are; bool is 0 or 1
//   lengths, indices    7 bits a byte, low bits first, no needless bytes
//   plain structs       their members in order, without padding
//   T[N], array, tuple  their elements
//   vector, string, map a length, then the elements
//   optional, pointers  0, or 1 and the value
//   variant             the index, then the value
//   classes             what their serialize() hands to the archive
//
// A codec<T> has
//   fixed      all values take the same number of bytes: bytes_min
//   bitwise    the bytes in memory are the bytes on the wire (implies fixed),
//              and any bytes are a value: blocks of them are copied whole
//   travels<Seen...>()   whether T can travel, given that Seen... can
//   store/load           for fixed types: into and out of a place
//   write/read           for the others
// Here: numbers, structs, classes with serialize(). shape.hpp: which is which.
// codec_containers.hpp, codec_values.hpp: the types of the standard library.
#pragma once

#include "troupe/detail/wire/fields.hpp"
#include "troupe/detail/wire/reader.hpp"
#include "troupe/detail/wire/shape.hpp"
#include "troupe/detail/wire/writer.hpp"

#include <bit>
#include <cfloat>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <type_traits>
#include <utility>

namespace troupe::wire {

static_assert(std::endian::native == std::endian::little,
              "TODO(port): swap bytes in codec<number>");

template <class T>
struct codec;

template <class T>
void encode(writer& out, const T& x) {
  using kind = codec<T>;
  if constexpr (kind::fixed)
    kind::store(out.claim(kind::bytes_min), x);
  else
    kind::write(out, x);
}

template <class T>
void decode(reader& in, T& x) {
  using kind = codec<T>;
  if constexpr (kind::fixed)
    kind::load(in, in.take(kind::bytes_min), x);
  else
    kind::read(in, x);
}

/// True if values of `T` can travel, where `Seen...` are being looked at (a
/// tree has branches that are trees).
template <class T, class... Seen>
consteval bool travels() {
  if constexpr ((std::is_same_v<T, Seen> || ...))
    return true;
  else
    return codec<T>::template travels<Seen..., T>();
}

namespace detail {

/// A long double carries 6 bytes of nothing.
template <class T>
inline constexpr std::size_t number_bytes =
  std::is_same_v<T, long double> && LDBL_MANT_DIG == 64 ? 10 : sizeof(T);

template <class T>
using dependent_output = std::enable_if_t<!std::is_void_v<T>, output_archive>;
template <class T>
using dependent_input = std::enable_if_t<!std::is_void_v<T>, input_archive>;

} // namespace detail

// -- the primary template: by shape ------------------------------------------

template <class T, detail::shape Shape = detail::shape_of<T>()>
struct codec_of;

template <class T>
struct codec : codec_of<T> {};

template <class T>
struct codec_of<T, detail::shape::none> {
  template <class...>
  static consteval bool travels() {
    return false;
  }
};

template <class T>
struct codec_of<T, detail::shape::boolean> {
  static constexpr bool fixed = true;
  static constexpr bool bitwise = false; // 2 is no bool
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static std::byte* store(std::byte* to, T x) {
    *to = static_cast<std::byte>(x);
    return to + 1;
  }
  static const std::byte* load(const reader& in, const std::byte* from, T& x) {
    if (*from > std::byte{1}) [[unlikely]]
      in.refuse("neither true nor false");
    x = static_cast<T>(*from == std::byte{1});
    return from + 1;
  }
};

template <class T>
struct codec_of<T, detail::shape::number> {
  static constexpr bool fixed = true;
  static constexpr std::size_t bytes_min = detail::number_bytes<T>;
  static constexpr bool bitwise = bytes_min == sizeof(T);

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static std::byte* store(std::byte* to, const T& x) {
    std::memcpy(to, &x, bytes_min);
    return to + bytes_min;
  }
  static const std::byte* load(const reader&, const std::byte* from, T& x) {
    std::memcpy(&x, from, bytes_min);
    return from + bytes_min;
  }
};

template <class T>
struct codec_of<T, detail::shape::empty> {
  static constexpr bool fixed = true;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 0;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static std::byte* store(std::byte* to, const T&) { return to; }
  static const std::byte* load(const reader&, const std::byte* from, T&) {
    return from;
  }
};

/// Values one after the other: the members of a struct, a pair, a tuple.
template <class... Fields>
struct codec_row {
  static constexpr bool fixed = (codec<Fields>::fixed && ...);
  static constexpr std::size_t bytes_min =
    (std::size_t{0} + ... + codec<Fields>::bytes_min);
  static constexpr bool bitwise = (codec<Fields>::bitwise && ...);

  template <class... Seen>
  static consteval bool travels() {
    return (wire::travels<Fields, Seen...>() && ...);
  }
  static std::byte* store(std::byte* to, const Fields&... xs) {
    ((to = codec<Fields>::store(to, xs)), ...);
    return to;
  }
  static const std::byte* load(const reader& in, const std::byte* from,
                               Fields&... xs) {
    ((from = codec<Fields>::load(in, from, xs)), ...);
    return from;
  }
  static void write(writer& out, const Fields&... xs) {
    (wire::encode(out, xs), ...);
  }
  static void read(reader& in, Fields&... xs) { (wire::decode(in, xs), ...); }
};

template <class T>
struct codec_of<T, detail::shape::fields> {
  using row =
    decltype(visit_fields(std::declval<T&>(), []<class... Fields>(Fields&...) {
      return codec_row<Fields...>{};
    }));

  static constexpr bool fixed = row::fixed;
  static constexpr std::size_t bytes_min = row::bytes_min;
  static constexpr bool bitwise = [] {
    if constexpr (row::bitwise)
      return std::is_trivially_copyable_v<T> && row::bytes_min == sizeof(T);
    else
      return false;
  }();

  template <class... Seen>
  static consteval bool travels() {
    return row::template travels<Seen...>();
  }
  static std::byte* store(std::byte* to, const T& x) {
    if constexpr (bitwise) {
      std::memcpy(to, &x, sizeof(T));
      return to + sizeof(T);
    } else {
      return visit_fields(x,
                          [to](auto&... xs) { return row::store(to, xs...); });
    }
  }
  static const std::byte* load(const reader& in, const std::byte* from, T& x) {
    if constexpr (bitwise) {
      std::memcpy(&x, from, sizeof(T));
      return from + sizeof(T);
    } else {
      return visit_fields(
        x, [&in, from](auto&... xs) { return row::load(in, from, xs...); });
    }
  }
  static void write(writer& out, const T& x) {
    visit_fields(x, [&out](auto&... xs) { row::write(out, xs...); });
  }
  static void read(reader& in, T& x) {
    visit_fields(x, [&in](auto&... xs) { row::read(in, xs...); });
  }
};

template <class T>
struct codec_of<T, detail::shape::custom> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 0;

  template <class...>
  static consteval bool travels() {
    return std::default_initializable<T>;
  }
  static void write(writer& out, const T& x) {
    constexpr bool ready = requires { sizeof(detail::dependent_output<T>); };
    static_assert(ready,
                  "troupe: a class with serialize() travels: #include "
                  "<troupe/serialize.hpp> in this file");
    if constexpr (ready) {
      const writer::level deeper{out};
      detail::dependent_output<T>::write(out, x);
    }
  }
  static void read(reader& in, T& x) {
    constexpr bool ready = requires { sizeof(detail::dependent_input<T>); };
    static_assert(ready,
                  "troupe: a class with serialize() travels: #include "
                  "<troupe/serialize.hpp> in this file");
    if constexpr (ready) {
      const reader::level deeper{in};
      detail::dependent_input<T>::read(in, x);
    }
  }
};

// -- elements -----------------------------------------------------------------

/// Writes `count` elements from `at` on.
template <class T, class Iterator>
void write_elements(writer& out, Iterator at, std::size_t count) {
  if constexpr (codec<T>::bitwise && std::contiguous_iterator<Iterator>) {
    out.bytes(std::to_address(at), count * sizeof(T));
  } else if constexpr (codec<T>::fixed) {
    auto* to = out.claim(count * codec<T>::bytes_min);
    for (; count != 0; --count, ++at)
      to = codec<T>::store(to, *at);
  } else {
    const writer::level deeper{out};
    for (; count != 0; --count, ++at)
      codec<T>::write(out, *at);
  }
}

/// Reads into `count` elements that are there already.
template <class T, class Iterator>
void read_elements(reader& in, Iterator at, std::size_t count) {
  if constexpr (codec<T>::bitwise && std::contiguous_iterator<Iterator>) {
    in.bytes(std::to_address(at), count * sizeof(T));
  } else if constexpr (codec<T>::fixed) {
    const auto* from = in.take(count * codec<T>::bytes_min);
    for (; count != 0; --count, ++at)
      from = codec<T>::load(in, from, *at);
  } else {
    const reader::level deeper{in};
    for (; count != 0; --count, ++at)
      codec<T>::read(in, *at);
  }
}

} // namespace troupe::wire
