// SPDX-License-Identifier: MIT
// archive: what a class's serialize() gets: archives of cereal's that put their
// bytes through our bounded writer and reader.
//
// cereal finds the functions (members or free; serialize, save and load, the
// minimal ones, with or without a version; private ones with a friend
// cereal::access) and its wrappers work. Whatever codec.hpp knows by itself is
// not handed to cereal: no header of cereal/types is needed for a vector.
// The costly tables of a cereal archive are made only for a class that has
// serialize(), once for the outermost.
#pragma once

#include "troupe/detail/wire/codec.hpp"

#include <cereal/cereal.hpp>

#include <concepts>
#include <type_traits>

namespace troupe::wire {

namespace detail {

/// Known without the help of cereal.
template <class T>
concept native = shape_of<T>() != shape::custom && wire::travels<T>();

/// What cereal may ask an archive about by itself: it does enums and arrays
/// alone, and its cereal/types win over us where a program includes them.
template <class T>
concept plain = !std::is_enum_v<T> && !std::is_array_v<T>
                && !std::is_pointer_v<T> && native<T>;

template <class T>
concept named_pair = std::is_base_of_v<cereal::detail::NameValuePairCore, T>;

template <class T>
inline constexpr bool is_size_tag = false;
template <class T>
inline constexpr bool is_size_tag<cereal::SizeTag<T>> = true;
template <class T>
inline constexpr bool is_binary = false;
template <class T>
inline constexpr bool is_binary<cereal::BinaryData<T>> = true;
template <class T>
inline constexpr bool is_base = false;
template <class T>
inline constexpr bool is_base<cereal::base_class<T>> = true;

/// Boost's pairs of a name and a value.
template <class T>
concept boost_pair = requires(const T& x) {
  x.name();
  x.const_value();
  x.value();
};

/// Sets a pointer for as long as it lives.
template <class T>
class pointer_scope {
public:
  pointer_scope(T*& at, T* value) : at_(at) { at_ = value; }
  pointer_scope(const pointer_scope&) = delete;
  pointer_scope& operator=(const pointer_scope&) = delete;
  ~pointer_scope() { at_ = nullptr; }

private:
  T*& at_;
};

} // namespace detail

class output_archive
  : public cereal::OutputArchive<output_archive,
                                 cereal::AllowEmptyClassElision> {
public:
  using base =
    cereal::OutputArchive<output_archive, cereal::AllowEmptyClassElision>;

  explicit output_archive(writer& out) : base(this), out_(out) {}

  template <class T>
  static void write(writer& out, const T& x) {
    if (out.archive != nullptr) {
      out.archive->by_cereal(x);
      return;
    }
    output_archive archive{out};
    const detail::pointer_scope<output_archive> here{out.archive, &archive};
    archive.by_cereal(x);
    archive.serializeDeferments();
  }

  template <class... Ts>
  output_archive& operator()(Ts&&... xs) {
    (put(xs), ...);
    return *this;
  }
  template <class T>
  output_archive& operator&(T&& x) {
    put(x);
    return *this;
  }
  template <class T>
  output_archive& operator<<(T&& x) {
    put(x);
    return *this;
  }

  template <class T>
  void put(const T& x) {
    if constexpr (detail::named_pair<T>)
      put(x.value);
    else if constexpr (detail::is_size_tag<T>)
      out_.length(static_cast<std::uint64_t>(x.size));
    else if constexpr (detail::is_binary<T>)
      out_.bytes(x.data, static_cast<std::size_t>(x.size));
    else if constexpr (detail::is_base<T>)
      put(*x.base_ptr);
    else if constexpr (detail::boost_pair<T>)
      put(x.const_value());
    else if constexpr (detail::native<T>)
      wire::encode(out_, x);
    else
      by_cereal(x);
  }

private:
  template <class T>
  void by_cereal(const T& x) {
    base::operator()(x);
  }

  writer& out_;
};

class input_archive
  : public cereal::InputArchive<input_archive, cereal::AllowEmptyClassElision> {
public:
  using base =
    cereal::InputArchive<input_archive, cereal::AllowEmptyClassElision>;

  explicit input_archive(reader& in) : base(this), in_(in) {}

  template <class T>
  static void read(reader& in, T& x) {
    if (in.archive != nullptr) {
      in.archive->by_cereal(x);
      return;
    }
    input_archive archive{in};
    const detail::pointer_scope<input_archive> here{in.archive, &archive};
    archive.by_cereal(x);
    archive.serializeDeferments();
  }

  template <class... Ts>
  input_archive& operator()(Ts&&... xs) {
    (get(xs), ...);
    return *this;
  }
  template <class T>
  input_archive& operator&(T&& x) {
    get(x);
    return *this;
  }
  template <class T>
  input_archive& operator>>(T&& x) {
    get(x);
    return *this;
  }

  template <class T>
  void get(T& x) {
    using type = std::remove_const_t<T>;
    if constexpr (detail::named_pair<type>)
      get(x.value);
    else if constexpr (detail::is_size_tag<type>)
      x.size = static_cast<std::remove_cvref_t<decltype(x.size)>>(
        in_.count(1, tag_bytes));
    else if constexpr (detail::is_binary<type>)
      in_.bytes(x.data, static_cast<std::size_t>(x.size));
    else if constexpr (detail::is_base<type>)
      get(*x.base_ptr);
    else if constexpr (detail::boost_pair<type>)
      get(x.value());
    else if constexpr (detail::native<type>)
      wire::decode(in_, const_cast<type&>(x));
    else
      by_cereal(x);
  }

private:
  /// A container that cereal reads is resized to a number that is checked as
  /// this many bytes each in memory and at least one on the wire.
  static constexpr std::size_t tag_bytes = 64;

  template <class T>
  void by_cereal(T& x) {
    base::operator()(x);
  }

  reader& in_;
};

// -- what cereal asks of every archive ----------------------------------------

template <std::same_as<output_archive> Archive, class T>
  requires(detail::plain<T> || detail::named_pair<T> || detail::is_size_tag<T>
           || detail::is_binary<T>)
void save(Archive& archive, const T& x) {
  archive.put(x);
}

template <std::same_as<input_archive> Archive, class T>
  requires(detail::plain<T> || detail::named_pair<T> || detail::is_size_tag<T>
           || detail::is_binary<T>)
void load(Archive& archive, T& x) {
  archive.get(x);
}

} // namespace troupe::wire

CEREAL_SETUP_ARCHIVE_TRAITS(troupe::wire::input_archive,
                            troupe::wire::output_archive)
