// SPDX-License-Identifier: MIT
// thunk: entries of the name table, made from functions and methods.
//
//   const entry* e = task_entry<F, Args...>();     // null: can't travel
//   encode_args<Args...>(writer, args...);
//   name_table::get().find(entry_kind::task, id).invoke(call);
//
// Naming one of these functions in code that is compiled is what registers the
// entry; it need not run.
#pragma once

#include "troupe/detail/wire/codec_containers.hpp"
#include "troupe/detail/wire/codec_values.hpp"
#include "troupe/detail/wire/names.hpp"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe::wire {

// -- what an argument travels as ----------------------------------------------

namespace detail {

template <class T>
struct packed {
  using type = T;
};
template <>
struct packed<const char*> {
  using type = std::string;
};
template <>
struct packed<char*> {
  using type = std::string;
};
template <class C, class Traits>
struct packed<std::basic_string_view<C, Traits>> {
  using type = std::basic_string<C, Traits>;
};
template <class T, std::size_t N>
struct packed<std::span<T, N>> {
  using type = std::vector<std::remove_const_t<T>>;
};

} // namespace detail

/// The value that an argument or a result of type `T` travels as: texts and
/// views own what they show.
template <class T>
using packed_t = typename detail::packed<std::decay_t<T>>::type;

template <class T>
inline constexpr bool is_sendable = [] {
  if constexpr (std::is_void_v<T>)
    return true;
  else if constexpr (!std::default_initializable<T>
                     || !std::is_move_constructible_v<T>)
    return false;
  else
    return travels<T>();
}();

/// Writes one argument as the type that travels.
template <class Wire, class T>
void encode_as(writer& out, const T& x) {
  if constexpr (std::is_same_v<Wire, T>)
    encode(out, x);
  else if constexpr (requires { Wire(x.begin(), x.end()); }
                     && !std::is_convertible_v<const T&, Wire>)
    encode(out, Wire(x.begin(), x.end()));
  else
    encode(out, static_cast<Wire>(x));
}

/// Writes arguments as the types `Wires...` that the other side will read.
template <class... Wires, class... Ts>
void encode_args(writer& out, const Ts&... xs) {
  static_assert(sizeof...(Wires) == sizeof...(Ts),
                "another number of arguments than the function takes");
  (encode_as<Wires>(out, xs), ...);
}

// -- entries ------------------------------------------------------------------

namespace detail {

template <class Thunk>
constexpr std::string_view label_of() {
  if constexpr (requires { Thunk::name(); })
    return Thunk::name();
  else
    return {};
}

template <class Thunk>
struct registered {
  static inline const entry value{Thunk::kind, typeid(Thunk), &Thunk::run,
                                  label_of<Thunk>()};
};

/// Runs `f(args...)` and writes what it returns.
template <class F, class... Args>
void run_and_write(writer& out, F& f, Args&&... args) {
  using result = std::invoke_result_t<F&, Args...>;
  if constexpr (std::is_void_v<result>)
    std::invoke(f, std::forward<Args>(args)...);
  else
    encode_as<packed_t<result>>(out,
                                std::invoke(f, std::forward<Args>(args)...));
}

} // namespace detail

/// A function without state, called with `Args...` (or with a stop_token
/// before them).
template <class F, class... Args>
struct task_thunk {
  static constexpr auto kind = entry_kind::task;
  static constexpr bool takes_stop =
    !std::is_invocable_v<const F&, Args...>
    && std::is_invocable_v<const F&, std::stop_token, Args...>;

  static constexpr std::string_view name()
    requires requires { F::name(); }
  {
    return F::name();
  }

  static void run(invocation& call) {
    std::tuple<Args...> args{};
    std::apply([&call](auto&... xs) { (decode(call.args, xs), ...); }, args);
    std::apply(
      [&call](auto&... xs) {
        const F f{};
        if constexpr (takes_stop)
          detail::run_and_write(call.result, f, std::move(call.stop),
                                std::move(xs)...);
        else
          detail::run_and_write(call.result, f, std::move(xs)...);
      },
      args);
  }
};

namespace detail {

template <class F, class... Args>
struct task_result {
  using type = typename std::conditional_t<
    task_thunk<F, Args...>::takes_stop,
    std::invoke_result<const F&, std::stop_token, Args...>,
    std::invoke_result<const F&, Args...>>::type;
};

template <class T>
struct packed_or_void {
  using type = packed_t<T>;
};
template <>
struct packed_or_void<void> {
  using type = void;
};

} // namespace detail

/// What a task's future holds.
template <class F, class... Args>
using task_result_t = typename detail::packed_or_void<
  typename detail::task_result<F, Args...>::type>::type;

/// Can `F` be called in another process with `Args...`, and its result come
/// back? False, not an error, where F has state or is not callable so.
template <class F, class... Args>
inline constexpr bool is_task = [] {
  if constexpr (!std::is_empty_v<F> || !std::default_initializable<F>)
    return false;
  else if constexpr (!(is_sendable<Args> && ...))
    return false;
  else if constexpr (!std::is_invocable_v<const F&, Args...>
                     && !std::is_invocable_v<const F&, std::stop_token,
                                             Args...>)
    return false;
  else
    return is_sendable<task_result_t<F, Args...>>;
}();

/// Says which type can't travel: the compiler names `T` beside the error.
template <class T>
struct must_travel {
  static_assert(is_sendable<T>,
                "troupe: this type can't travel to another process; "
                "<troupe/sendable.hpp> says which can");
};

/// Refused by the compiler, one error for each of `Ts...` that can't travel.
template <class... Ts>
constexpr void require_sendable() {
  (static_cast<void>(must_travel<Ts>{}), ...);
}

/// The entry of task `F` for arguments that travel as `Args...`; refused by the
/// compiler, in one error, unless is_task<F, Args...>.
template <class F, class... Args>
const entry& task_entry() {
  constexpr bool stateless = std::is_empty_v<F>
                             && std::default_initializable<F>;
  static_assert(stateless,
                "troupe: a task for other processes has no state: a lambda "
                "without captures or troupe::fn<&f>; bind values as arguments");
  require_sendable<Args...>();
  if constexpr (stateless && (is_sendable<Args> && ...)) {
    constexpr bool callable =
      std::is_invocable_v<const F&, Args...>
      || std::is_invocable_v<const F&, std::stop_token, Args...>;
    static_assert(callable,
                  "troupe: the task can't be called with these "
                  "arguments");
    if constexpr (callable) {
      using result = task_result_t<F, Args...>;
      require_sendable<result>();
      if constexpr (is_sendable<result>)
        return detail::registered<task_thunk<F, Args...>>::value;
    }
  }
}

/// Any thunk: a class with `kind`, `run(invocation&)` and perhaps `name()`.
/// The entry is told from others by the name of the class, so it should be a
/// template over what it calls.
template <class Thunk>
const entry& entry_of() {
  return detail::registered<Thunk>::value;
}

// -- methods ------------------------------------------------------------------

/// A method's message: `Body` holds the arguments as a tuple `args` and is made
/// of them; see method_body in troupe/detail/call.hpp.
template <class Body>
inline constexpr bool body_travels =
  is_sendable<decltype(std::declval<Body&>().args)>;

/// Makes the message from bytes and hands it to
/// `Runner::run(invocation&, Body&&)`, which knows what `target` is and how
/// the answer goes back: methods may answer later.
template <class Body, class Runner>
struct method_thunk {
  static constexpr auto kind = entry_kind::method;

  static constexpr std::string_view name() { return Body::name(); }

  static void run(invocation& call) {
    decltype(std::declval<Body&>().args) args{};
    decode(call.args, args);
    std::apply(
      [&call](auto&... xs) {
        Runner::run(call, Body(std::in_place, std::move(xs)...));
      },
      args);
  }
};

/// Reads a constructor's arguments and hands them to
/// `Runner::template make<T>(invocation&, Args&&...)`.
template <class T, class Runner, class... Args>
struct actor_thunk {
  static constexpr auto kind = entry_kind::actor;

  static void run(invocation& call) {
    std::tuple<Args...> args{};
    decode(call.args, args);
    std::apply(
      [&call](auto&... xs) {
        Runner::template make<T>(call, std::move(xs)...);
      },
      args);
  }
};

} // namespace troupe::wire
