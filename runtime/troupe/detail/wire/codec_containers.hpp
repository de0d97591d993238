// SPDX-License-Identifier: MIT
// codec_containers: strings, arrays, tuples, lists and maps on the wire; see
// codec.hpp.
#pragma once

#include "troupe/detail/wire/codec.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace troupe::wire {

// -- blocks -------------------------------------------------------------------

namespace detail {

/// Reads numbers out of bytes that need not be aligned for them, so that a
/// vector can be built from the bytes without being cleared first.
template <class T>
struct loading_iterator {
  using iterator_category = std::random_access_iterator_tag;
  using value_type = T;
  using difference_type = std::ptrdiff_t;
  using pointer = const T*;
  using reference = T;

  const std::byte* at = nullptr;

  T operator*() const {
    T x;
    std::memcpy(&x, at, sizeof(T));
    return x;
  }
  loading_iterator& operator++() {
    at += sizeof(T);
    return *this;
  }
  loading_iterator& operator--() {
    at -= sizeof(T);
    return *this;
  }
  loading_iterator& operator+=(difference_type n) {
    at += n * static_cast<difference_type>(sizeof(T));
    return *this;
  }
  friend difference_type operator-(loading_iterator a, loading_iterator b) {
    return (a.at - b.at) / static_cast<difference_type>(sizeof(T));
  }
  friend bool operator==(loading_iterator, loading_iterator) = default;
};

} // namespace detail

/// Asks for large pages where so much is about to be written: fresh pages cost
/// more than the copy.
void prefer_large_pages(void* at, std::size_t bytes) noexcept;

template <class Container>
void expect_bytes(Container& x, std::size_t count) {
  constexpr std::size_t least = std::size_t{4} << 20;
  const auto bytes = count * sizeof(typename Container::value_type);
  if (bytes < least || count <= x.capacity())
    return;
  x.clear();
  x.reserve(count);
  prefer_large_pages(static_cast<void*>(x.data()), bytes);
}

template <class T, class A>
struct codec<std::vector<T, A>> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<T, Seen...>() && std::default_initializable<T>;
  }
  static void write(writer& out, const std::vector<T, A>& x) {
    out.length(x.size());
    write_elements<T>(out, x.begin(), x.size());
  }
  static void read(reader& in, std::vector<T, A>& x) {
    const auto count = in.count(codec<T>::bytes_min, sizeof(T));
    if constexpr (codec<T>::bitwise && std::is_trivially_copyable_v<T>
                  && std::is_default_constructible_v<T>) {
      const auto* from = in.take(count * sizeof(T));
      expect_bytes(x, count);
      if constexpr (sizeof(T) == 1) {
        const auto* first = reinterpret_cast<const T*>(from);
        x.assign(first, first + count);
      } else {
        using iterator = detail::loading_iterator<T>;
        x.assign(iterator{from}, iterator{from + count * sizeof(T)});
      }
    } else if constexpr (codec<T>::fixed) {
      x.clear();
      x.resize(count);
      read_elements<T>(in, x.begin(), count);
    } else {
      const reader::level deeper{in};
      x.clear();
      x.reserve(count);
      for (std::size_t i = 0; i != count; ++i)
        codec<T>::read(in, x.emplace_back());
    }
  }
};

/// Eight to a byte.
template <class A>
struct codec<std::vector<bool, A>> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const std::vector<bool, A>& x) {
    out.length(x.size());
    auto* to = out.claim((x.size() + 7) / 8);
    for (std::size_t i = 0; i < x.size(); i += 8) {
      unsigned bits = 0;
      for (std::size_t k = i; k < x.size() && k < i + 8; ++k)
        bits |= static_cast<unsigned>(x[k]) << (k - i);
      *to++ = static_cast<std::byte>(bits);
    }
  }
  static void read(reader& in, std::vector<bool, A>& x) {
    const auto claimed = in.length();
    if (claimed / 8 > in.left())
      in.refuse("more bits claimed than there are");
    const auto count = static_cast<std::size_t>(claimed);
    const auto* from = in.take((count + 7) / 8);
    in.charge(count / 8);
    x.assign(count, false);
    for (std::size_t i = 0; i != count; ++i)
      x[i] = ((std::to_integer<unsigned>(from[i / 8]) >> (i % 8)) & 1u) != 0;
  }
};

template <class C, class Traits, class A>
struct codec<std::basic_string<C, Traits, A>> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const std::basic_string<C, Traits, A>& x) {
    out.length(x.size());
    out.bytes(x.data(), x.size() * sizeof(C));
  }
  static void read(reader& in, std::basic_string<C, Traits, A>& x) {
    const auto count = in.count(sizeof(C), sizeof(C));
    const auto* from = in.take(count * sizeof(C));
    expect_bytes(x, count);
    if constexpr (sizeof(C) == 1) {
      x.assign(reinterpret_cast<const C*>(from), count);
    } else {
      using iterator = detail::loading_iterator<C>;
      x.assign(iterator{from}, iterator{from + count * sizeof(C)});
    }
  }
};

template <class T, std::size_t N>
struct codec_array {
  static constexpr bool fixed = codec<T>::fixed;
  static constexpr bool bitwise = codec<T>::bitwise;
  static constexpr std::size_t bytes_min = N * codec<T>::bytes_min;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<T, Seen...>();
  }
  static std::byte* store(std::byte* to, const T* x) {
    if constexpr (bitwise) {
      std::memcpy(to, x, bytes_min);
      to += bytes_min;
    } else {
      for (std::size_t i = 0; i != N; ++i)
        to = codec<T>::store(to, x[i]);
    }
    return to;
  }
  static const std::byte* load(const reader& in, const std::byte* from, T* x) {
    if constexpr (bitwise) {
      std::memcpy(x, from, bytes_min);
      from += bytes_min;
    } else {
      for (std::size_t i = 0; i != N; ++i)
        from = codec<T>::load(in, from, x[i]);
    }
    return from;
  }
  static void write(writer& out, const T* x) { write_elements<T>(out, x, N); }
  static void read(reader& in, T* x) { read_elements<T>(in, x, N); }
};

template <class T, std::size_t N>
struct codec<T[N]> : codec_array<T, N> {};

template <class T, std::size_t N>
struct codec<std::array<T, N>> : codec_array<T, N> {
  using base = codec_array<T, N>;
  using array = std::array<T, N>;
  static std::byte* store(std::byte* to, const array& x) {
    return base::store(to, x.data());
  }
  static const std::byte* load(const reader& in, const std::byte* from,
                               array& x) {
    return base::load(in, from, x.data());
  }
  static void write(writer& out, const array& x) { base::write(out, x.data()); }
  static void read(reader& in, array& x) { base::read(in, x.data()); }
};

template <class T>
struct codec<std::array<T, 0>>
  : codec_of<std::array<T, 0>, detail::shape::empty> {};

// -- rows ---------------------------------------------------------------------

template <class Tuple, class... Ts>
struct codec_tuple : codec_row<Ts...> {
  using row = codec_row<Ts...>;
  static constexpr bool bitwise = false; // the layout is the library's
  using all = std::index_sequence_for<Ts...>;

  static std::byte* store(std::byte* to, const Tuple& x) {
    return store(to, x, all{});
  }
  static const std::byte* load(const reader& in, const std::byte* from,
                               Tuple& x) {
    return load(in, from, x, all{});
  }
  static void write(writer& out, const Tuple& x) { write(out, x, all{}); }
  static void read(reader& in, Tuple& x) { read(in, x, all{}); }

private:
  // By index: std::apply with a lambda takes four times as long to compile.
  template <std::size_t... I>
  static std::byte* store(std::byte* to, const Tuple& x,
                          std::index_sequence<I...>) {
    return row::store(to, std::get<I>(x)...);
  }
  template <std::size_t... I>
  static const std::byte* load(const reader& in, const std::byte* from,
                               Tuple& x, std::index_sequence<I...>) {
    return row::load(in, from, std::get<I>(x)...);
  }
  template <std::size_t... I>
  static void write(writer& out, const Tuple& x, std::index_sequence<I...>) {
    row::write(out, std::get<I>(x)...);
  }
  template <std::size_t... I>
  static void read(reader& in, Tuple& x, std::index_sequence<I...>) {
    row::read(in, std::get<I>(x)...);
  }
};

template <class A, class B>
struct codec<std::pair<A, B>> : codec_tuple<std::pair<A, B>, A, B> {};

template <class... Ts>
struct codec<std::tuple<Ts...>> : codec_tuple<std::tuple<Ts...>, Ts...> {};

// -- nodes --------------------------------------------------------------------

/// What a node of a list or a tree takes beside its value.
inline constexpr std::size_t node_bytes = 40;

template <class T>
struct codec_of<T, detail::shape::sequence> {
  using element = typename T::value_type;
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<element, Seen...>();
  }
  static void write(writer& out, const T& x) {
    out.length(x.size());
    const writer::level deeper{out};
    write_elements<element>(out, x.begin(), x.size());
  }
  static void read(reader& in, T& x) {
    auto count = in.count(codec<element>::bytes_min,
                          sizeof(element) + node_bytes);
    const reader::level deeper{in};
    x.clear();
    for (; count != 0; --count) {
      x.emplace_back();
      wire::decode(in, x.back());
    }
  }
};

template <class T>
struct codec_of<T, detail::shape::associative> {
  using key = typename T::key_type;
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;
  static constexpr bool maps = requires { typename T::mapped_type; };
  /// Keys of one bucket of a hash table before a peer is taken to mean harm.
  static constexpr std::size_t bucket_keys_max = 1024;

  template <class... Seen>
  static consteval bool travels() {
    if constexpr (maps)
      return wire::travels<key, Seen...>()
             && wire::travels<typename T::mapped_type, Seen...>();
    else
      return wire::travels<key, Seen...>();
  }
  static void write(writer& out, const T& x) {
    out.length(x.size());
    const writer::level deeper{out};
    for (const auto& item : x) {
      if constexpr (maps) {
        wire::encode(out, item.first);
        wire::encode(out, item.second);
      } else {
        wire::encode(out, item);
      }
    }
  }
  static void read(reader& in, T& x) {
    const auto count = in.count(codec<key>::bytes_min,
                                sizeof(typename T::value_type) + node_bytes);
    const reader::level deeper{in};
    x.clear();
    if constexpr (requires { x.reserve(count); })
      x.reserve(count);
    for (std::size_t i = 0; i != count; ++i) {
      key k{};
      wire::decode(in, k);
      if constexpr (requires { x.bucket(k); }) {
        if (i % 64 == 63 && x.bucket_size(x.bucket(k)) > bucket_keys_max)
          in.refuse("keys chosen to collide in a hash table");
      }
      if constexpr (maps) {
        auto at = x.emplace_hint(x.end(), std::move(k),
                                 typename T::mapped_type{});
        wire::decode(in, at->second);
      } else {
        x.emplace_hint(x.end(), std::move(k));
      }
    }
  }
};

} // namespace troupe::wire
