// SPDX-License-Identifier: MIT
// travel: how what this library hands out goes to another process.
//
//   a handle  as the ref that it has, with its deadline.
//   a loan    (lease, item, batch, subscription, end of a pipe) stays where it
//             is, in a keeper: an actor to which only the other side has a
//             handle. When that goes, with its process say, the keeper ends,
//             and the loan goes as if its holder here had died.
//
// A class that travels so has `leave_to(writer)` and `come_from(reader)`.
// Errors: not_sendable where the road knows no actors (a pool's task).
#pragma once

#include "troupe/system.hpp"

namespace troupe::detail {

/// Ends with its last handle.
template <class T>
class keeper {
public:
  explicit keeper(T kept) : kept_(std::move(kept)) {}

private:
  T kept_;
};

template <class T>
concept traveller = requires(T& x, wire::writer& out, wire::reader& in) {
  x.leave_to(out);
  x.come_from(in);
};

// Reads the ref of a handle; those whose actor's class is in a source file have
// an overload there.
template <class T>
void read_actor(wire::reader& in, ref<T>& actor) {
  wire::decode(in, actor);
}

inline void write_limit(wire::writer& out, std::optional<time_limit> limit) {
  wire::encode(out, limit ? std::optional{limit->ns()} : std::nullopt);
}

inline std::optional<time_limit> read_limit(wire::reader& in) {
  std::optional<std::int64_t> ns;
  wire::decode(in, ns);
  if (!ns)
    return std::nullopt;
  return time_limit{std::chrono::nanoseconds{*ns}};
}

} // namespace troupe::detail

template <class T>
  requires troupe::detail::traveller<T>
struct troupe::wire::codec<T> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class... Seen>
  static consteval bool travels() {
    if constexpr (requires { typename T::carried; })
      return wire::travels<typename T::carried, Seen...>();
    else
      return true;
  }
  // A loan is moved: what is written is never a constant object, only seen as
  // one by those that write it.
  static void write(writer& out, const T& x) {
    const_cast<T&>(x).leave_to(out);
  }
  static void read(reader& in, T& x) { x.come_from(in); }
};
