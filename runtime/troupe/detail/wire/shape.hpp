// SPDX-License-Identifier: MIT
// shape: what kind of type T is, as the wire sees it; see codec.hpp.
#pragma once

#include "troupe/detail/wire/fields.hpp"

#include <concepts>
#include <cstdint>
#include <type_traits>

namespace cereal {
class access;
} // namespace cereal

namespace troupe {

/// Set to true for a class that cereal can handle but whose serialize() is not
/// seen here: `template <> inline constexpr bool
/// troupe::travels_by_cereal<boost::variant<int, std::string>> = true;`
template <class T>
inline constexpr bool travels_by_cereal = false;

} // namespace troupe

namespace troupe::wire {

namespace detail {

/// Stands in for an archive when a class is asked whether it has serialize().
struct archive_probe {
  using is_loading = std::false_type;
  using is_saving = std::true_type;
  template <class... Ts>
  archive_probe& operator()(Ts&&...);
  template <class T>
  archive_probe& operator&(T&&);
  template <class T>
  archive_probe& operator<<(T&&);
  template <class T>
  archive_probe& operator>>(T&&);
};

template <class T, class Archive = archive_probe>
concept has_serialize = requires(T& x, Archive& ar, unsigned version) {
  requires requires { x.serialize(ar); } || requires { serialize(ar, x); }
             || requires { x.serialize(ar, version); }
             || requires { serialize(ar, x, version); };
};

template <class T, class Archive = archive_probe>
concept has_save = requires(const T& x, Archive& ar, unsigned version) {
  requires requires { x.save(ar); } || requires { save(ar, x); }
             || requires { x.save(ar, version); }
             || requires { save(ar, x, version); }
             || requires { x.save_minimal(ar); }
             || requires { save_minimal(ar, x); };
};

/// Private ones: seen where cereal's header is (troupe/serialize.hpp).
template <class T, class Archive = archive_probe, class A = cereal::access>
concept has_private_serialize = requires(T& x, Archive& ar, unsigned version) {
  requires requires { A::member_serialize(ar, x); }
             || requires { A::member_serialize(ar, x, version); }
             || requires { A::member_save(ar, x); }
             || requires { A::member_save(ar, x, version); };
};

template <class T>
concept custom = std::is_class_v<T>
                 && (travels_by_cereal<T> || has_serialize<T> || has_save<T>
                     || has_private_serialize<T>);

template <class T>
concept sequence = requires(T& x, typename T::value_type v) {
  requires !std::is_same_v<typename T::value_type, T>;
  x.begin();
  x.end();
  x.size();
  x.clear();
  x.emplace_back();
};

template <class T>
concept associative = requires(T& x, typename T::key_type k) {
  x.begin();
  x.size();
  x.clear();
  x.insert(x.end(), *x.begin());
};

/// std::complex, std::bitset, std::filesystem::path by what they can do: their
/// headers cost more than this.
template <class T>
concept complex_like = requires(const T& x, typename T::value_type v) {
  x.real();
  x.imag();
  T(v, v);
};

template <class T>
concept bits_like = requires(T& x) {
  x.to_ullong();
  x.test(0);
  x.set(0, true);
};

template <class T>
concept path_like = requires(const T& x) {
  x.native();
  x.lexically_normal();
  T(x.native());
};

enum class shape : std::uint8_t {
  none,
  boolean,
  number,
  complex,
  bits,
  path,
  custom,
  sequence,
  associative,
  empty,
  fields
};

template <class T>
consteval shape shape_of() {
  if constexpr (std::is_enum_v<T>)
    return std::is_same_v<std::underlying_type_t<T>, bool> ? shape::boolean
                                                           : shape::number;
  else if constexpr (std::is_same_v<T, bool>)
    return shape::boolean;
  else if constexpr (std::is_arithmetic_v<T>)
    return shape::number;
  else if constexpr (!std::is_class_v<T> || std::is_const_v<T>
                     || std::is_volatile_v<T> || std::is_polymorphic_v<T>)
    return custom<T> ? shape::custom : shape::none;
  else if constexpr (custom<T>)
    return shape::custom;
  else if constexpr (!std::default_initializable<T>)
    return shape::none;
  else if constexpr (complex_like<T>)
    return shape::complex;
  else if constexpr (bits_like<T>)
    return shape::bits;
  else if constexpr (path_like<T>)
    return shape::path;
  else if constexpr (associative<T>)
    return shape::associative;
  else if constexpr (sequence<T>)
    return shape::sequence;
  else if constexpr (field_count_v<T> > 0)
    return shape::fields;
  else if constexpr (std::is_empty_v<T> && std::is_trivially_copyable_v<T>)
    return shape::empty;
  else
    return shape::none;
}

} // namespace detail

} // namespace troupe::wire
