// SPDX-License-Identifier: MIT
// fields: the members of a plain struct, without a word from its author.
//
// What counts: an aggregate of up to 40 public members, no base class, no
// bit-field, no reference. How many there are is found by asking how many `{}`
// initialise it; each `{}` stands for exactly one member, arrays included.
// Structured bindings then name them.
//
// Why not Boost.PFR, which does the same: it counts the elements of `char
// name[16]` as sixteen members and then can't bind them, and refuses what it
// can't do by errors inside itself, so that a concept can't say no in one
// line.
#pragma once

#include <type_traits>

// TROUPE_B3 is {},{},{} and TROUPE_F3 is f1,f2,f3.
// clang-format off
#define TROUPE_B1 {}
#define TROUPE_F1 f1
#define TROUPE_B2 TROUPE_B1,{}
#define TROUPE_B3 TROUPE_B2,{}
#define TROUPE_B4 TROUPE_B3,{}
#define TROUPE_B5 TROUPE_B4,{}
#define TROUPE_B6 TROUPE_B5,{}
#define TROUPE_B7 TROUPE_B6,{}
#define TROUPE_B8 TROUPE_B7,{}
#define TROUPE_B9 TROUPE_B8,{}
#define TROUPE_B10 TROUPE_B9,{}
#define TROUPE_B11 TROUPE_B10,{}
#define TROUPE_B12 TROUPE_B11,{}
#define TROUPE_B13 TROUPE_B12,{}
#define TROUPE_B14 TROUPE_B13,{}
#define TROUPE_B15 TROUPE_B14,{}
#define TROUPE_B16 TROUPE_B15,{}
#define TROUPE_B17 TROUPE_B16,{}
#define TROUPE_B18 TROUPE_B17,{}
#define TROUPE_B19 TROUPE_B18,{}
#define TROUPE_B20 TROUPE_B19,{}
#define TROUPE_B21 TROUPE_B20,{}
#define TROUPE_B22 TROUPE_B21,{}
#define TROUPE_B23 TROUPE_B22,{}
#define TROUPE_B24 TROUPE_B23,{}
#define TROUPE_B25 TROUPE_B24,{}
#define TROUPE_B26 TROUPE_B25,{}
#define TROUPE_B27 TROUPE_B26,{}
#define TROUPE_B28 TROUPE_B27,{}
#define TROUPE_B29 TROUPE_B28,{}
#define TROUPE_B30 TROUPE_B29,{}
#define TROUPE_B31 TROUPE_B30,{}
#define TROUPE_B32 TROUPE_B31,{}
#define TROUPE_B33 TROUPE_B32,{}
#define TROUPE_B34 TROUPE_B33,{}
#define TROUPE_B35 TROUPE_B34,{}
#define TROUPE_B36 TROUPE_B35,{}
#define TROUPE_B37 TROUPE_B36,{}
#define TROUPE_B38 TROUPE_B37,{}
#define TROUPE_B39 TROUPE_B38,{}
#define TROUPE_B40 TROUPE_B39,{}
#define TROUPE_F2 TROUPE_F1,f2
#define TROUPE_F3 TROUPE_F2,f3
#define TROUPE_F4 TROUPE_F3,f4
#define TROUPE_F5 TROUPE_F4,f5
#define TROUPE_F6 TROUPE_F5,f6
#define TROUPE_F7 TROUPE_F6,f7
#define TROUPE_F8 TROUPE_F7,f8
#define TROUPE_F9 TROUPE_F8,f9
#define TROUPE_F10 TROUPE_F9,f10
#define TROUPE_F11 TROUPE_F10,f11
#define TROUPE_F12 TROUPE_F11,f12
#define TROUPE_F13 TROUPE_F12,f13
#define TROUPE_F14 TROUPE_F13,f14
#define TROUPE_F15 TROUPE_F14,f15
#define TROUPE_F16 TROUPE_F15,f16
#define TROUPE_F17 TROUPE_F16,f17
#define TROUPE_F18 TROUPE_F17,f18
#define TROUPE_F19 TROUPE_F18,f19
#define TROUPE_F20 TROUPE_F19,f20
#define TROUPE_F21 TROUPE_F20,f21
#define TROUPE_F22 TROUPE_F21,f22
#define TROUPE_F23 TROUPE_F22,f23
#define TROUPE_F24 TROUPE_F23,f24
#define TROUPE_F25 TROUPE_F24,f25
#define TROUPE_F26 TROUPE_F25,f26
#define TROUPE_F27 TROUPE_F26,f27
#define TROUPE_F28 TROUPE_F27,f28
#define TROUPE_F29 TROUPE_F28,f29
#define TROUPE_F30 TROUPE_F29,f30
#define TROUPE_F31 TROUPE_F30,f31
#define TROUPE_F32 TROUPE_F31,f32
#define TROUPE_F33 TROUPE_F32,f33
#define TROUPE_F34 TROUPE_F33,f34
#define TROUPE_F35 TROUPE_F34,f35
#define TROUPE_F36 TROUPE_F35,f36
#define TROUPE_F37 TROUPE_F36,f37
#define TROUPE_F38 TROUPE_F37,f38
#define TROUPE_F39 TROUPE_F38,f39
#define TROUPE_F40 TROUPE_F39,f40
// clang-format on

namespace troupe::wire {

namespace detail {

template <class T>
struct any_base_of {
  template <class Base>
    requires(std::is_base_of_v<Base, T> && !std::is_same_v<Base, T>)
  operator Base() const noexcept;
};

struct any_value {
  template <class Value>
  operator Value() const noexcept;
};

/// A member that `{}` can't initialise ends the count early: hence the look
/// whether some value could.
// NOLINTBEGIN(bugprone-macro-parentheses): they take the place of lists.
// clang-format off
#define TROUPE_COUNT(n, more)                                                 \
  else if constexpr (!requires { T{TROUPE_B##more}; })                        \
    return requires { T{TROUPE_B##n, any_value{}}; } ? -1 : n;

template <class T>
consteval int count_fields() {
  if constexpr (!std::is_aggregate_v<T> || std::is_union_v<T>
                || std::is_array_v<T> || !std::is_default_constructible_v<T>
                || requires { T{any_base_of<T>{}}; })
    return -1;
  else if constexpr (!requires { T{TROUPE_B1}; })
    return std::is_empty_v<T> ? 0 : -1;
  TROUPE_COUNT(1, 2) TROUPE_COUNT(2, 3) TROUPE_COUNT(3, 4) TROUPE_COUNT(4, 5)
  TROUPE_COUNT(5, 6) TROUPE_COUNT(6, 7) TROUPE_COUNT(7, 8) TROUPE_COUNT(8, 9)
  TROUPE_COUNT(9, 10) TROUPE_COUNT(10, 11) TROUPE_COUNT(11, 12)
  TROUPE_COUNT(12, 13) TROUPE_COUNT(13, 14) TROUPE_COUNT(14, 15)
  TROUPE_COUNT(15, 16) TROUPE_COUNT(16, 17) TROUPE_COUNT(17, 18)
  TROUPE_COUNT(18, 19) TROUPE_COUNT(19, 20) TROUPE_COUNT(20, 21)
  TROUPE_COUNT(21, 22) TROUPE_COUNT(22, 23) TROUPE_COUNT(23, 24)
  TROUPE_COUNT(24, 25) TROUPE_COUNT(25, 26) TROUPE_COUNT(26, 27)
  TROUPE_COUNT(27, 28) TROUPE_COUNT(28, 29) TROUPE_COUNT(29, 30)
  TROUPE_COUNT(30, 31) TROUPE_COUNT(31, 32) TROUPE_COUNT(32, 33)
  TROUPE_COUNT(33, 34) TROUPE_COUNT(34, 35) TROUPE_COUNT(35, 36)
  TROUPE_COUNT(36, 37) TROUPE_COUNT(37, 38) TROUPE_COUNT(38, 39)
  TROUPE_COUNT(39, 40)
  else if constexpr (requires { T{TROUPE_B40,{}}; })
    return -1;
  else
    return 40;
}

#undef TROUPE_COUNT
// clang-format on

} // namespace detail

/// The number of members of `T`, or -1 where `T` can't be taken apart.
template <class T>
inline constexpr int field_count_v = detail::count_fields<T>();

// clang-format off
#define TROUPE_VISIT(n)                                                       \
  else if constexpr (count == n) {                                            \
    auto& [TROUPE_F##n] = x;                                                  \
    return f(TROUPE_F##n);                                                    \
  }

/// Calls `f` with the members of `x`, in order. Requires: field_count_v >= 0.
template <class T, class F>
constexpr decltype(auto) visit_fields(T& x, F&& f) {
  constexpr int count = field_count_v<std::remove_const_t<T>>;
  static_assert(count >= 0, "not a plain struct: give it serialize()");
  if constexpr (count == 0)
    return f();
  TROUPE_VISIT(1) TROUPE_VISIT(2) TROUPE_VISIT(3) TROUPE_VISIT(4)
  TROUPE_VISIT(5) TROUPE_VISIT(6) TROUPE_VISIT(7) TROUPE_VISIT(8)
  TROUPE_VISIT(9) TROUPE_VISIT(10) TROUPE_VISIT(11) TROUPE_VISIT(12)
  TROUPE_VISIT(13) TROUPE_VISIT(14) TROUPE_VISIT(15) TROUPE_VISIT(16)
  TROUPE_VISIT(17) TROUPE_VISIT(18) TROUPE_VISIT(19) TROUPE_VISIT(20)
  TROUPE_VISIT(21) TROUPE_VISIT(22) TROUPE_VISIT(23) TROUPE_VISIT(24)
  TROUPE_VISIT(25) TROUPE_VISIT(26) TROUPE_VISIT(27) TROUPE_VISIT(28)
  TROUPE_VISIT(29) TROUPE_VISIT(30) TROUPE_VISIT(31) TROUPE_VISIT(32)
  TROUPE_VISIT(33) TROUPE_VISIT(34) TROUPE_VISIT(35) TROUPE_VISIT(36)
  TROUPE_VISIT(37) TROUPE_VISIT(38) TROUPE_VISIT(39) TROUPE_VISIT(40)
}

#undef TROUPE_VISIT
// NOLINTEND(bugprone-macro-parentheses)
#undef TROUPE_B1
#undef TROUPE_F1
#undef TROUPE_B2
#undef TROUPE_F2
#undef TROUPE_B3
#undef TROUPE_F3
#undef TROUPE_B4
#undef TROUPE_F4
#undef TROUPE_B5
#undef TROUPE_F5
#undef TROUPE_B6
#undef TROUPE_F6
#undef TROUPE_B7
#undef TROUPE_F7
#undef TROUPE_B8
#undef TROUPE_F8
#undef TROUPE_B9
#undef TROUPE_F9
#undef TROUPE_B10
#undef TROUPE_F10
#undef TROUPE_B11
#undef TROUPE_F11
#undef TROUPE_B12
#undef TROUPE_F12
#undef TROUPE_B13
#undef TROUPE_F13
#undef TROUPE_B14
#undef TROUPE_F14
#undef TROUPE_B15
#undef TROUPE_F15
#undef TROUPE_B16
#undef TROUPE_F16
#undef TROUPE_B17
#undef TROUPE_F17
#undef TROUPE_B18
#undef TROUPE_F18
#undef TROUPE_B19
#undef TROUPE_F19
#undef TROUPE_B20
#undef TROUPE_F20
#undef TROUPE_B21
#undef TROUPE_F21
#undef TROUPE_B22
#undef TROUPE_F22
#undef TROUPE_B23
#undef TROUPE_F23
#undef TROUPE_B24
#undef TROUPE_F24
#undef TROUPE_B25
#undef TROUPE_F25
#undef TROUPE_B26
#undef TROUPE_F26
#undef TROUPE_B27
#undef TROUPE_F27
#undef TROUPE_B28
#undef TROUPE_F28
#undef TROUPE_B29
#undef TROUPE_F29
#undef TROUPE_B30
#undef TROUPE_F30
#undef TROUPE_B31
#undef TROUPE_F31
#undef TROUPE_B32
#undef TROUPE_F32
#undef TROUPE_B33
#undef TROUPE_F33
#undef TROUPE_B34
#undef TROUPE_F34
#undef TROUPE_B35
#undef TROUPE_F35
#undef TROUPE_B36
#undef TROUPE_F36
#undef TROUPE_B37
#undef TROUPE_F37
#undef TROUPE_B38
#undef TROUPE_F38
#undef TROUPE_B39
#undef TROUPE_F39
#undef TROUPE_B40
#undef TROUPE_F40
// clang-format on

} // namespace troupe::wire
