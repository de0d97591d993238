// SPDX-License-Identifier: MIT
// fn: a named function as a callable without state.
//
//   pool.map(troupe::fn<&square>, numbers);
//
// `fn<&f>` is a constant of a type of its own, one type per function: that is
// how a pool of processes or a node finds `f` again on the other side without
// any registration. A plain pointer `&f` carries an address only, which means
// nothing in another process; a captureless lambda works as well as `fn`.
//
// Not for: a function object with state (bind its state as arguments of
// `submit` instead). An overloaded function needs a cast that picks one:
// `fn<static_cast<int (*)(int)>(&f)>`.
#pragma once

#include "troupe/detail/name.hpp"

#include <functional>
#include <string_view>
#include <type_traits>
#include <utility>

namespace troupe {

/// The type of `fn<F>`. Has no state, is callable like `F` (a member function
/// takes the object first), and knows the name of `F`.
template <auto F>
struct fn_t {
  static_assert(std::is_pointer_v<decltype(F)>
                  || std::is_member_pointer_v<decltype(F)>,
                "troupe::fn names a function: write fn<&f>");

  using pointer = decltype(F);

  /// The name of the function as the compiler prints it, without its
  /// parameters.
  static constexpr std::string_view name() noexcept {
    return detail::value_name<F>();
  }

  template <class... Args>
    requires std::is_invocable_v<pointer, Args...>
  constexpr decltype(auto) operator()(Args&&... args) const
    noexcept(std::is_nothrow_invocable_v<pointer, Args...>) {
    return std::invoke(F, std::forward<Args>(args)...);
  }
};

/// The callable that names `F`.
template <auto F>
inline constexpr fn_t<F> fn{};

/// True for the type of any `fn<&f>`.
template <class T>
inline constexpr bool is_fn_v = false;

template <auto F>
inline constexpr bool is_fn_v<fn_t<F>> = true;

} // namespace troupe
