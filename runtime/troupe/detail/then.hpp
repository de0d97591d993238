// SPDX-License-Identifier: MIT
// then: continuations of futures.
#pragma once

#include "troupe/future.hpp"

namespace troupe::detail {

// How `f` wants to be called with the result of a future<R>.
template <class F, class R>
struct then_call {
  static constexpr bool takes_value = std::is_invocable_v<F&, R>;
  using result =
    typename std::conditional_t<takes_value, std::invoke_result<F&, R>,
                                std::invoke_result<F&, future<R>>>::type;
};
template <class F>
struct then_call<F, void> {
  static constexpr bool takes_value = std::is_invocable_v<F&>;
  using result =
    typename std::conditional_t<takes_value, std::invoke_result<F&>,
                                std::invoke_result<F&, future<void>>>::type;
};

// Settles `to` with what `f` returns or throws; a future is followed.
template <class R, class F>
void settle_with(const state_ptr<state<R>>& to, F&& f) noexcept {
  try {
    using result = std::invoke_result_t<F>;
    if constexpr (is_future<result>::value) {
      forward_state(f(), to);
    } else if constexpr (std::is_void_v<result>) {
      f();
      to->set();
    } else {
      to->set(f());
    }
  } catch (...) {
    to->fail(std::current_exception());
  }
}

// What `then` returns: it waits for another state, which a walker may see until
// the continuation runs.
template <class R>
struct then_state final : state<R>, pooled {
  std::atomic<state_base*> source{nullptr};

  then_state() : state<R>(&table) {}
  static state_base* next_part(const state_base* s, std::size_t& i) noexcept {
    return i++ == 0 ? static_cast<const then_state*>(s)->source.load()
                    : nullptr;
  }
  static constexpr state_ops table{
    .destroy =
      [](state_base* s) noexcept { delete static_cast<then_state*>(s); },
    .run_here = &help_parts,
    .next_part = &next_part};
};

// Calls a function of the user where relays have their turns.
template <class F, class... As>
decltype(auto) call_aside(F& f, As&&... as) {
  const relays_aside aside;
  return f(std::forward<As>(as)...);
}

template <class R, class F>
struct then_node final : continuation, pooled {
  using call = then_call<F, R>;
  using result = typename unwrap<std::decay_t<typename call::result>>::type;

  F f;
  state_ptr<then_state<result>> to{new then_state<result>};

  then_node(F fn, state_base& source)
    : continuation(&run_it),
      f(std::move(fn)) {
    to->source.store(&source);
    target = to.get();
  }

  static void run_it(continuation* base, bool alive) noexcept {
    owned self{static_cast<then_node*>(base)};
    self->to->source.store(nullptr);
    pass_gate(); // `from` may go
    state_ptr<state<result>> to{self->to.detach()};
    if (!alive) {
      to->fail(std::make_exception_ptr(
        actor_stopped{"the actor that called then() has stopped"}));
      return;
    }
    auto from = static_cast<state<R>*>(self->from.get());
    future<R> done{state_ptr<state<R>>{from}};
    from->retain();
    from->observed.store(true, std::memory_order_relaxed);
    if constexpr (!call::takes_value) {
      settle_with(to, [&] { return call_aside(self->f, std::move(done)); });
    } else {
      if (from->at.load() == phase::cancelled) {
        if (to->begin_settle())
          to->finish(phase::cancelled);
      } else if (from->at.load() == phase::error) {
        to->fail(from->failure);
      } else if constexpr (std::is_void_v<R>) {
        settle_with(to, [&] { return call_aside(self->f); });
      } else {
        settle_with(to, [&] { return call_aside(self->f, done.get()); });
      }
    }
  }
};

// Passes the result of `from` on to `to`, without a thread or an actor.
template <class R>
struct forward_node final : relay, pooled {
  state_ptr<state<R>> from, to;

  forward_node() : relay(&pass_result) {}

  static void pass_result(relay* r) noexcept {
    owned self{static_cast<forward_node*>(r)};
    auto& s = *self->from;
    pass_on_unseen(*self->to);
    s.observed.store(true, std::memory_order_relaxed);
    switch (s.at.load(std::memory_order_acquire)) {
      case phase::value:
        if constexpr (std::is_copy_constructible_v<stored<R>>)
          self->to->set(s.value);
        else if (s.take())
          self->to->set(std::move(s.value));
        else
          self->to->fail(std::make_exception_ptr(bad_argument{
            "the future that a method or continuation returned has lost its "
            "value: it was taken before"}));
        break;
      case phase::cancelled:
        if (self->to->begin_settle())
          self->to->finish(phase::cancelled);
        break;
      default:
        self->to->fail(s.failure);
    }
  }
};

template <class R>
void forward_state(future<R> from, state_ptr<state<R>> to) {
  if (!from.valid()) {
    to->fail(std::make_exception_ptr(
      bad_argument{"a method or continuation returned a future that belongs "
                   "to nothing"}));
    return;
  }
  auto* node = new forward_node<R>;
  node->from = from.shared_state();
  node->to = std::move(to);
  auto& s = *node->from;
  pass_on(*node->to, s);
  if (!s.add_waiter(*node))
    node->in_turn();
}

} // namespace troupe::detail

namespace troupe {

template <class R>
template <class F>
auto future<R>::then(F f) const {
  auto& s = checked();
  using node_type = detail::then_node<R, F>;
  using result = typename node_type::result;
  auto* node = new node_type(std::move(f), s);
  node->to->retain();
  future<result> made{detail::state_ptr<detail::state<result>>{node->to.get()}};
  detail::continue_with(s, node);
  return made;
}

} // namespace troupe
