// SPDX-License-Identifier: MIT
// handle: what the handles of this library have in common: a value that refers
// to an actor and may carry a deadline of its own. They travel to actors in
// other processes, where they are the same handles.
#pragma once

#include <optional>

#include "troupe/detail/travel.hpp"

namespace troupe {

/// `Derived` is the handle's class, `Actor` the class of the actor behind it.
template <class Derived, class Actor>
class handle {
public:
  /// Refers to nothing; using it throws bad_argument.
  handle() = default;

  /// The same with `limit` as the deadline of its calls: `q.within(50ms)`.
  /// Units: as ref::within; without it the option ask_deadline holds.
  Derived within(time_limit limit) const {
    auto copy = static_cast<const Derived&>(*this);
    copy.limit_ = limit;
    return copy;
  }

  /// Unique among the actors of this process; 0 for one that refers to nothing.
  std::uint64_t id() const noexcept { return actor_.id(); }

  explicit operator bool() const noexcept { return static_cast<bool>(actor_); }

  friend bool operator==(const Derived& a, const Derived& b) noexcept {
    return a.actor_ == b.actor_;
  }

  /// For the library.
  void leave_to(wire::writer& out) const {
    wire::encode(out, actor_);
    detail::write_limit(out, limit_);
  }
  void come_from(wire::reader& in) {
    read_actor(in, actor_);
    limit_ = detail::read_limit(in);
  }

protected:
  explicit handle(ref<Actor> a) : actor_(std::move(a)) {}

  template <auto M, class... As>
  auto ask(As&&... as) const {
    return limit_
             ? actor_.within(*limit_).template ask<M>(std::forward<As>(as)...)
             : actor_.template ask<M>(std::forward<As>(as)...);
  }

  template <class F>
    requires std::is_invocable_v<F&, Actor&>
  auto ask(F f) const {
    return limit_ ? actor_.within(*limit_).ask(std::move(f))
                  : actor_.ask(std::move(f));
  }

  ref<Actor> actor_;
  std::optional<time_limit> limit_;
};

} // namespace troupe
