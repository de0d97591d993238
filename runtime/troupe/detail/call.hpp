// SPDX-License-Identifier: MIT
// call: the messages made from methods and functions, at compile time.
#pragma once

#include <string>
#include <tuple>

#include "troupe/detail/name.hpp"
#include "troupe/detail/remote_message.hpp"
#include "troupe/detail/wire/codec_containers.hpp"
#include "troupe/task.hpp"

namespace troupe::detail {

// -- what a method takes and returns ------------------------------------------

template <class... Ps>
struct parameters {};

template <class M>
struct method_traits;
#define TROUPE_METHOD(qualifiers) \
  template <class R, class T, class... Ps> \
  struct method_traits<R (T::*)(Ps...) qualifiers> { \
    using object_type = T; \
    using result = R; \
    using params = parameters<Ps...>; \
    static constexpr std::size_t arity = sizeof...(Ps); \
  };
TROUPE_METHOD()
TROUPE_METHOD(const)
TROUPE_METHOD(noexcept)
TROUPE_METHOD(const noexcept)
TROUPE_METHOD(&)
TROUPE_METHOD(const&)
#undef TROUPE_METHOD

// What a parameter is kept as while the message travels.
template <class P>
struct kept {
  static_assert(!std::is_lvalue_reference_v<P>
                  || std::is_const_v<std::remove_reference_t<P>>,
                "a message can't fill in a non-const reference: return the "
                "value from the method instead");
  using type = std::decay_t<P>;
};
template <>
struct kept<std::string_view> {
  using type = std::string;
};
template <>
struct kept<const std::string_view&> {
  using type = std::string;
};

template <class P>
using kept_t = typename kept<P>::type;

// An argument on its way into a message. The copy of a large list is made in
// large pages: fresh ones cost more than the copy.
template <class Kept, class A>
constexpr A&& keep(A&& value) noexcept {
  return static_cast<A&&>(value);
}
template <class Kept, class T>
  requires std::is_same_v<Kept, std::vector<T>>
           && std::is_trivially_copyable_v<T> && (!std::is_same_v<T, bool>)
std::vector<T> keep(const std::vector<T>& value) {
  std::vector<T> copy;
  wire::expect_bytes(copy, value.size());
  copy = value;
  return copy;
}
template <class Kept, class T>
  requires std::is_same_v<Kept, std::vector<T>>
           && std::is_trivially_copyable_v<T> && (!std::is_same_v<T, bool>)
std::vector<T> keep(std::vector<T>& value) {
  return keep<Kept>(std::as_const(value));
}

// Hands a kept value to the parameter it was made for.
template <class P>
constexpr decltype(auto) hand_over(kept_t<P>& value) {
  if constexpr (std::is_lvalue_reference_v<P>
                || !std::is_same_v<kept_t<P>, std::decay_t<P>>)
    return static_cast<const kept_t<P>&>(value);
  else
    return std::move(value);
}

// The result an asker gets: futures and tasks are followed.
template <class R>
struct answer {
  using type = std::decay_t<R>;
};
template <class R>
struct answer<future<R>> {
  using type = R;
};
template <class R>
struct answer<task<R>> {
  using type = R;
};
template <class R>
using answer_t = typename answer<std::remove_cvref_t<R>>::type;

// -- bodies: what a message does when it is its turn --------------------------

/// A method of T with its arguments.
template <class T, auto M, class Params>
struct method_body;

template <class T, auto M, class... Ps>
struct method_body<T, M, parameters<Ps...>> {
  using object_type = T;
  using result = typename method_traits<decltype(M)>::result;
  std::tuple<kept_t<Ps>...> args;

  explicit method_body(std::tuple<kept_t<Ps>...>&& as) : args(std::move(as)) {}

  template <class... As>
  explicit method_body(std::in_place_t, As&&... as)
    : args(keep<kept_t<Ps>>(std::forward<As>(as))...) {}

  decltype(auto) operator()(void* object) {
    return call(static_cast<T*>(object), std::index_sequence_for<Ps...>{});
  }

  static constexpr std::string_view name() { return value_name<M>(); }

private:
  // Through the method's own class: g++ takes the step to a base within ->* for
  // a broken aliasing rule.
  template <std::size_t... Is>
  decltype(auto) call(typename method_traits<decltype(M)>::object_type* object,
                      std::index_sequence<Is...>) {
    return (object->*M)(hand_over<Ps>(std::get<Is>(args))...);
  }
};

/// A function that is called with the object.
template <class T, class F>
struct function_body {
  using result = std::invoke_result_t<F&, T&>;
  F f;

  explicit function_body(std::in_place_t, F fn) : f(std::move(fn)) {}

  decltype(auto) operator()(void* object) {
    return f(*static_cast<T*>(object));
  }

  static constexpr std::string_view name() { return "a function"; }
};

// -- services of core/cell.cpp ------------------------------------------------

// An ask of an actor in another process: asks it to give it up; looks for the
// answer for a moment.
void stop_remote(state_base* s) noexcept;
void look_for_remote(state_base* s) noexcept;

// Claims an ask whose turn has come and makes its deadline the one of what
// runs; false when it was cancelled or is late.
bool begin_ask(state_base& s) noexcept;

// Settles with the exception being handled, as an actor's asker gets it.
void settle_thrown(state_base& s, cell& self) noexcept;
std::exception_ptr translate(std::exception_ptr e, cell& self,
                             std::string_view where) noexcept;

// Fails with the reason why the message was not delivered.
void settle_dropped(state_base& s, drop_reason why) noexcept;

// A tell's coroutine has thrown: the actor fails.
void fail_actor(cell& self, std::exception_ptr e) noexcept;

void begin_coroutine(cell& self, call_record& record, envelope* message);
void end_coroutine(call_record& record) noexcept;

inline void end_frame(call_record* record) noexcept {
  auto frame = record->frame; // the record goes with it
  end_coroutine(*record);
  frame.destroy();
}

// Starts `t` as the method that `message` calls. `Done::done` gets the record
// when it ends, `Done::abandon` when the actor ends first.
template <class Done, class R>
void start(cell& self, task<R> t, envelope* message) {
  auto h = t.release();
  auto& record = h.promise().record;
  h.promise().root = &record;
  record.frame = h;
  record.done = &Done::done;
  record.abandon = &Done::abandon;
  begin_coroutine(self, record, message);
  drive(record, h);
}

template <class R>
task_promise<R>& promise_of(call_record* record) {
  return std::coroutine_handle<task_promise<R>>::from_address(
           record->frame.address())
    .promise();
}

// -- tell ---------------------------------------------------------------------

template <class Body>
struct tell_message final : envelope, pooled {
  Body body;

  template <class... As>
  explicit tell_message(As&&... as)
    : envelope(&table),
      body(std::in_place, std::forward<As>(as)...) {}
  template <class Args>
  tell_message(from_wire, Args&& args)
    : envelope(&table),
      body(std::forward<Args>(args)) {}

  static void run(envelope* e, cell& self, void* object) {
    using result = typename Body::result;
    owned m{static_cast<tell_message*>(e)};
    if constexpr (is_task<std::remove_cvref_t<result>>::value) {
      auto t = m->body(object);
      start<tell_message>(self, std::move(t), m.release());
    } else {
      static_cast<void>(m->body(object));
    }
  }

  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<tell_message*>(e);
  }

  static void done(call_record* record) noexcept {
    using result = answer_t<typename Body::result>;
    auto& self = *record->self;
    auto failure = std::move(promise_of<result>(record).failure);
    abandon(record);
    if (failure)
      fail_actor(self, std::move(failure));
  }

  static void abandon(call_record* record) noexcept {
    owned m{static_cast<tell_message*>(record->message)};
    end_frame(record);
  }

  static constexpr remote_ops remote = remote_tell<tell_message, Body>();
  static constexpr message_ops table{&run, &drop, Body::name(),
                                     message_kind::call, &remote};
};

// -- tells that share an envelope ---------------------------------------------

/// What one turn of an actor tells another again and again, by one method.
/// Invariants: (1) slots below the count of `word` are whole. (2) the sender
///             alone adds, only while this is the last that its turn has sent
///             to that actor, and not once the receiver has set `taken`.
///             (3) it is freed by whoever of the two leaves last.
struct shared_tell : envelope {
  static constexpr std::uint32_t taken = 1u << 31;

  std::atomic<std::uint32_t> word{1}; // how many there are; taken
  std::atomic<std::uint32_t> holders{1};
  std::uint32_t next = 0; // the receiver's: the first that has not run
  cell* const to;
  void (*const free)(shared_tell*) noexcept;

  shared_tell(const message_ops* o, cell* c, void (*f)(shared_tell*) noexcept)
    : envelope(o),
      to(c),
      free(f) {}

  /// Nothing is added from now on; how many there are.
  std::uint32_t take() noexcept {
    return word.fetch_or(taken, std::memory_order_acq_rel) & ~taken;
  }
  void leave() noexcept {
    if (holders.load(std::memory_order_acquire) == 1
        || holders.fetch_sub(1, std::memory_order_acq_rel) == 1)
      free(this);
  }
};

// What this turn shares with `to`, if it is of that kind.
shared_tell* open_tell(const cell* to, const message_ops* ops) noexcept;
// Whether an envelope for it may be shared: bounds count messages, others have
// to be encoded one by one.
bool may_share(const cell* to) noexcept;
// Sends it; this turn may add to it.
void send_shared(shared_tell* m);
// Whether the actor goes on after a call.
bool goes_on(const cell& self) noexcept;
// So many have run; the rest of the envelope is what the actor does next.
void count_handled(std::uint32_t n) noexcept;
void put_back(cell& self, envelope* e) noexcept;
// `n` are dropped besides the one that is known of.
void also_dropped(cell& to, const message_ops* ops, drop_reason why,
                  std::uint32_t n) noexcept;

/// Methods that may wait have an envelope each, and so has what is large.
template <class Body>
inline constexpr bool can_share =
  sizeof(Body) <= 64 && std::is_nothrow_move_constructible_v<Body>
  && !is_task<std::remove_cvref_t<typename Body::result>>::value;

template <class Body>
struct shared_tells final : shared_tell, pooled {
  static constexpr std::size_t room = sizeof(Body) < 8 ? 32
                                                       : 256 / sizeof(Body);

  shared_tells(cell* c, Body&& first) : shared_tell(&table, c, &free_it) {
    ::new (slot(0)) Body(std::move(first));
  }

  Body* slot(std::size_t i) { return reinterpret_cast<Body*>(&slots_[i]); }

  // What throws, or ends the actor, leaves the rest where it leaves all that
  // waits: the actor's end drops it, message by message.
  static void run(envelope* e, cell& self, void* object) {
    struct turn {
      shared_tells* m;
      cell& self;
      const std::uint32_t from = m->next, count = m->take();
      ~turn() {
        count_handled(m->next - from);
        if (m->next == count)
          m->leave();
        else
          put_back(self, m);
      }
    };
    struct passing {
      shared_tells& m;
      ~passing() { m.slot(m.next++)->~Body(); }
    };
    turn at{static_cast<shared_tells*>(e), self};
    do {
      passing one{*at.m};
      static_cast<void>((*at.m->slot(at.m->next))(object));
    } while (at.m->next != at.count && goes_on(self));
  }

  static void drop(envelope* e, drop_reason why) noexcept {
    auto* m = static_cast<shared_tells*>(e);
    const auto count = m->take();
    if (count - m->next > 1)
      also_dropped(*m->to, e->ops, why, count - m->next - 1);
    while (m->next != count)
      m->slot(m->next++)->~Body();
    m->leave();
  }

  static void free_it(shared_tell* m) noexcept {
    delete static_cast<shared_tells*>(m);
  }

  static constexpr message_ops table{&run, &drop, Body::name(),
                                     message_kind::call};

private:
  struct alignas(Body) bytes {
    std::byte of[sizeof(Body)];
  };
  bytes slots_[room];
};

template <class Body, class... As>
void send_again(cell* to, As&&... as) {
  using message = shared_tells<Body>;
  if (auto* open = open_tell(to, &message::table)) {
    auto* m = static_cast<message*>(open);
    auto n = m->word.load(std::memory_order_relaxed);
    if (n < message::room) {
      auto* mine = ::new (m->slot(n))
        Body(std::in_place, std::forward<As>(as)...);
      if (m->word.compare_exchange_strong(n, n + 1, std::memory_order_release,
                                          std::memory_order_relaxed))
        return;
      auto body = std::move(*mine); // taken meanwhile
      mine->~Body();
      send_shared(new message(to, std::move(body)));
      return;
    }
  }
  if (may_share(to))
    send_shared(new message(to, Body(std::in_place, std::forward<As>(as)...)));
  else
    post(to, new tell_message<Body>(std::forward<As>(as)...));
}

// -- ask ----------------------------------------------------------------------

template <class Body>
struct ask_message final : envelope,
                           state<answer_t<typename Body::result>>,
                           pooled {
  using result = typename Body::result;
  using value = answer_t<result>;
  using base = state<value>;
  union {
    Body body; // gone once it has run, though the state lives on
  };
  reply_node reply;

  template <class... As>
  explicit ask_message(As&&... as) : envelope(&table),
                                     base(&states) {
    ::new (static_cast<void*>(std::addressof(body)))
      Body(std::in_place, std::forward<As>(as)...);
  }
  template <class Args>
  ask_message(from_wire, Args&& args) : envelope(&table),
                                        base(&states) {
    ::new (static_cast<void*>(std::addressof(body)))
      Body(std::forward<Args>(args));
  }
  ~ask_message() {}

  static void run(envelope* e, cell& self, void* object) {
    auto* m = static_cast<ask_message*>(e);
    if (!begin_ask(*m)) {
      end(m); // cancelled or late: nobody wants it any more
      return;
    }
    try {
      if constexpr (is_task<std::remove_cvref_t<result>>::value) {
        start<ask_message>(self, m->body(object), m);
        return;
      } else if constexpr (is_future<std::remove_cvref_t<result>>::value) {
        asking_scope asking{*m, &type_tag<value>};
        auto later = m->body(object);
        pass_on_unseen(*m);
        if (later.shared_state().get() != static_cast<base*>(m)) {
          m->retain();
          forward_state(std::move(later), state_ptr<base>{m});
        }
      } else if constexpr (std::is_void_v<result>) {
        m->body(object);
        m->set();
      } else {
        m->set(m->body(object));
      }
    } catch (...) {
      settle_thrown(*m, self);
    }
    end(m);
  }

  static void drop(envelope* e, drop_reason why) noexcept {
    auto* m = static_cast<ask_message*>(e);
    settle_dropped(*m, why);
    end(m);
  }

  static void done(call_record* record) noexcept {
    auto* m = static_cast<ask_message*>(record->message);
    auto& p = promise_of<value>(record);
    if (p.failure)
      m->fail(translate(std::move(p.failure), *record->self, table.name));
    else if constexpr (std::is_void_v<value>)
      m->set();
    else
      m->set(std::move(*p.value));
    end_frame(record);
    end(m);
  }

  // Who hears of it relies on what the method had being gone: the future, say,
  // by which it waited for a value.
  static void abandon(call_record* record) noexcept {
    auto* m = static_cast<ask_message*>(record->message);
    end_frame(record);
    settle_dropped(*m, drop_reason::stopped);
    end(m);
  }

  static constexpr remote_ops remote = remote_ask<ask_message, Body>();
  static constexpr message_ops table{&run, &drop, Body::name(),
                                     message_kind::call, &remote};
  static void free_state(state_base* s) noexcept {
    delete static_cast<ask_message*>(static_cast<base*>(s));
  }

  static reply_node* reply_of(state_base* s) noexcept {
    return &static_cast<ask_message*>(static_cast<base*>(s))->reply;
  }

  static constexpr state_ops states{&free_state, &stop_remote, nullptr,
                                    &reply_of, &look_for_remote};

  /// The arguments go, the state stays with its future.
  static void end(ask_message* m) noexcept {
    m->body.~Body();
    m->release();
  }
};

template <class Body, class... As>
void send_tell(cell* to, As&&... as) {
  using message = tell_message<Body>;
  if constexpr (can_share<Body>) {
    if (told_last.to == to && told_last.ops == &message::table) {
      send_again<Body>(to, std::forward<As>(as)...);
      return;
    }
  }
  post(to, new message(std::forward<As>(as)...));
}

template <class Message, class... As>
future<typename Message::value> send_ask(cell* to, std::int64_t limit_ns,
                                         As&&... as) {
  auto* m = new Message(std::forward<As>(as)...);
  // One for the mailbox, one for the future.
  m->refs.store(2, std::memory_order_relaxed);
  m->what = Message::table.name;
  future<typename Message::value> result{
    state_ptr<state<typename Message::value>>{m}};
  post_ask(to, m, m, limit_ns);
  return result;
}

template <class T, auto M>
using body_of = method_body<T, M, typename method_traits<decltype(M)>::params>;

} // namespace troupe::detail
