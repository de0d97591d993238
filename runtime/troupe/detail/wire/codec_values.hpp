// SPDX-License-Identifier: MIT
// codec_values: optional, pointers, variant, time, errors and a few others on
// the wire; see codec.hpp.
#pragma once

#include "troupe/detail/wire/codec.hpp"

#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

namespace troupe::wire {

// -- maybe --------------------------------------------------------------------

namespace detail {

inline bool read_presence(reader& in) {
  bool there = false;
  decode(in, there);
  return there;
}

/// T without const: what a pointer's target is made as.
template <class T>
struct codec_pointer {
  using target = std::remove_const_t<T>;
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    if constexpr (std::is_array_v<T> || std::is_void_v<T>
                  || !std::default_initializable<target>)
      return false;
    else if constexpr (std::is_polymorphic_v<T> && !std::is_final_v<T>)
      return false; // what it points to may be of a derived class
    else
      return wire::travels<target, Seen...>();
  }
  template <class Pointer>
  static void write(writer& out, const Pointer& x) {
    encode(out, x != nullptr);
    if (x) {
      const writer::level deeper{out};
      encode(out, *x);
    }
  }
  template <class Pointer, class Make>
  static void read(reader& in, Pointer& x, Make make) {
    if (!read_presence(in)) {
      x = nullptr;
      return;
    }
    in.charge(sizeof(target) + node_bytes);
    const reader::level deeper{in};
    auto made = make();
    decode(in, *made);
    x = std::move(made);
  }
};

} // namespace detail

template <class T>
struct codec<std::optional<T>> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<T, Seen...>() && std::default_initializable<T>;
  }
  static void write(writer& out, const std::optional<T>& x) {
    wire::encode(out, x.has_value());
    if (x)
      wire::encode(out, *x);
  }
  static void read(reader& in, std::optional<T>& x) {
    x.reset();
    if (detail::read_presence(in))
      wire::decode(in, x.emplace());
  }
};

template <class T>
struct codec<std::unique_ptr<T>> : detail::codec_pointer<T> {
  using base = detail::codec_pointer<T>;
  static void read(reader& in, std::unique_ptr<T>& x) {
    base::read(in, x,
               [] { return std::make_unique<std::remove_const_t<T>>(); });
  }
};

/// Arrives as an owner of its own: two that shared one object here own two
/// there.
template <class T>
struct codec<std::shared_ptr<T>> : detail::codec_pointer<T> {
  using base = detail::codec_pointer<T>;
  static void read(reader& in, std::shared_ptr<T>& x) {
    base::read(in, x,
               [] { return std::make_shared<std::remove_const_t<T>>(); });
  }
};

// -- one of several -----------------------------------------------------------

/// Errors: not_sendable (the variant is valueless by exception).
[[noreturn]] void refuse_valueless();

template <class... Ts>
struct codec<std::variant<Ts...>> {
  using type = std::variant<Ts...>;
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    return ((wire::travels<Ts, Seen...>() && std::default_initializable<Ts>)
            && ...);
  }
  static void write(writer& out, const type& x) {
    if (x.valueless_by_exception())
      refuse_valueless();
    out.length(x.index());
    std::visit([&out](const auto& value) { wire::encode(out, value); }, x);
  }
  static void read(reader& in, type& x) {
    read_as(in, x, in.index(sizeof...(Ts)), std::index_sequence_for<Ts...>{});
  }

private:
  template <std::size_t... I>
  static void read_as(reader& in, type& x, std::size_t index,
                      std::index_sequence<I...>) {
    static_cast<void>(((I == index && (read_one<I>(in, x), true)) || ...));
  }
  template <std::size_t I>
  static void read_one(reader& in, type& x) {
    wire::decode(in, x.template emplace<I>());
  }
};

template <>
struct codec<std::monostate> : codec_of<std::monostate, detail::shape::empty> {
};

// -- time ---------------------------------------------------------------------

template <class Rep, class Period>
struct codec<std::chrono::duration<Rep, Period>> {
  using type = std::chrono::duration<Rep, Period>;
  using rep = codec<Rep>;
  static constexpr bool fixed = rep::fixed;
  static constexpr bool bitwise = rep::bitwise;
  static constexpr std::size_t bytes_min = rep::bytes_min;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<Rep, Seen...>();
  }
  static std::byte* store(std::byte* to, const type& x) {
    return rep::store(to, x.count());
  }
  static const std::byte* load(const reader& in, const std::byte* from,
                               type& x) {
    Rep count{};
    from = rep::load(in, from, count);
    x = type{count};
    return from;
  }
  static void write(writer& out, const type& x) { rep::write(out, x.count()); }
  static void read(reader& in, type& x) {
    Rep count{};
    rep::read(in, count);
    x = type{count};
  }
};

/// A point of the steady clock means something on this machine only.
template <class Clock, class Duration>
struct codec<std::chrono::time_point<Clock, Duration>> : codec<Duration> {
  using type = std::chrono::time_point<Clock, Duration>;
  using base = codec<Duration>;
  static std::byte* store(std::byte* to, const type& x) {
    return base::store(to, x.time_since_epoch());
  }
  static const std::byte* load(const reader& in, const std::byte* from,
                               type& x) {
    Duration since{};
    from = base::load(in, from, since);
    x = type{since};
    return from;
  }
  static void write(writer& out, const type& x) {
    base::write(out, x.time_since_epoch());
  }
  static void read(reader& in, type& x) {
    Duration since{};
    base::read(in, since);
    x = type{since};
  }
};

// -- errors -------------------------------------------------------------------

/// An exception travels as a record, see runtime/wire/failure.hpp.
void write_exception(writer& out, const std::exception_ptr& error);
std::exception_ptr read_exception(reader& in);

template <>
struct codec<std::exception_ptr> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const std::exception_ptr& x) {
    write_exception(out, x);
  }
  static void read(reader& in, std::exception_ptr& x) {
    x = read_exception(in);
  }
};

// -- by what they can do ------------------------------------------------------

template <class T>
struct codec_of<T, detail::shape::complex> {
  using part = codec<typename T::value_type>;
  static constexpr bool fixed = true;
  static constexpr bool bitwise = part::bitwise
                                  && sizeof(T) == 2 * part::bytes_min;
  static constexpr std::size_t bytes_min = 2 * part::bytes_min;

  template <class... Seen>
  static consteval bool travels() {
    return wire::travels<typename T::value_type, Seen...>();
  }
  static std::byte* store(std::byte* to, const T& x) {
    return part::store(part::store(to, x.real()), x.imag());
  }
  static const std::byte* load(const reader& in, const std::byte* from, T& x) {
    typename T::value_type real{};
    typename T::value_type imag{};
    from = part::load(in, part::load(in, from, real), imag);
    x = T(real, imag);
    return from;
  }
};

template <class T>
struct codec_of<T, detail::shape::bits> {
  static constexpr std::size_t bits = T{}.size();
  static constexpr bool fixed = true;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = (bits + 7) / 8;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static std::byte* store(std::byte* to, const T& x) {
    std::memset(to, 0, bytes_min);
    for (std::size_t i = 0; i != bits; ++i)
      to[i / 8] |= static_cast<std::byte>(unsigned{x[i]} << (i % 8));
    return to + bytes_min;
  }
  static const std::byte* load(const reader&, const std::byte* from, T& x) {
    for (std::size_t i = 0; i != bits; ++i)
      x.set(i, ((std::to_integer<unsigned>(from[i / 8]) >> (i % 8)) & 1) != 0);
    return from + bytes_min;
  }
};

template <class T>
struct codec_of<T, detail::shape::path> {
  using text = typename T::string_type;
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const T& x) { wire::encode(out, x.native()); }
  static void read(reader& in, T& x) {
    text value;
    wire::decode(in, value);
    x = T(std::move(value));
  }
};

} // namespace troupe::wire
