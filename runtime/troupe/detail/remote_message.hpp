// SPDX-License-Identifier: MIT
// remote_message: tells and asks that go to an actor in another process, and
// how they are served there.
//
//   ask ─▶ remote_ops::encode ─▶ frame ═══▶ ask_thunk::run ─▶ the actor
//   future ◀─ remote_ops::decode ◀─ frame ◀═══ served_ask: it has settled
#pragma once

#include "troupe/detail/name.hpp"
#include "troupe/detail/state.hpp"
#include "troupe/detail/wire/thunk.hpp"
#include "troupe/error.hpp"

#include <exception>
#include <memory>
#include <string_view>

namespace troupe::detail {

/// The other side of a message: one constant per kind of it.
struct remote_ops {
  /// Null when it can't travel.
  const wire::entry& (*entry)() = nullptr;
  /// Writes the arguments; the envelope stays as it is.
  void (*encode)(const envelope*, wire::writer&) = nullptr;
  /// The arguments are not needed any more.
  void (*sent)(envelope*) noexcept = nullptr;
  /// An ask's: its state; settles it with the value that came (decode_error).
  state_base* (*state)(envelope*) = nullptr;
  void (*decode)(state_base*, wire::reader&) = nullptr;
};

/// Where an answer goes.
class answer_road {
public:
  virtual ~answer_road() = default;
  /// `s` is being answered: it is given up when nobody waits for it any more.
  virtual void serves(std::uint64_t call, state_base& s) = 0;
  /// `s` has settled.
  virtual void answer(std::uint64_t call, const state_base& s,
                      void (*encode)(const state_base&,
                                     wire::writer&)) noexcept = 0;
};

/// What a call that came from another process is about: `invocation::target`.
struct serving {
  cell* to;
  std::string_view class_name; // of the actor `to`
  std::shared_ptr<answer_road> road;
  std::uint64_t call = 0;
  std::int64_t limit_ns = 0;
  bool wants_answer = false;
  /// Why it is not served. It is decoded all the same: handles in it count.
  std::exception_ptr refused;
};

/// The target must be of the class that the method is of, and a message that
/// answers must be asked: what a peer claims is not believed.
/// Errors: decode_error.
void check_target(const serving& s, std::string_view class_name, bool answers);
void check_refused(const serving& s);

void post(cell* to, envelope* e);
void post_ask(cell* to, envelope* e, state_base* s, std::int64_t limit_ns);

template <class R>
void decode_value(state<R>& s, wire::reader& in) {
  if constexpr (std::is_void_v<R>) {
    in.finish();
    s.set();
  } else {
    R value{};
    wire::decode(in, value);
    in.finish();
    s.set(std::move(value));
  }
}

template <class R>
void encode_value(const state_base& s, wire::writer& out) {
  if constexpr (!std::is_void_v<R>)
    wire::encode(out, static_cast<const state<R>&>(s).value);
}

/// Posts an ask and sends its answer once it has settled. `e` and `s` are the
/// one message, just made.
void serve_ask(const serving& to, envelope* e, state_base& s,
               void (*encode)(const state_base&, wire::writer&));

/// Can the message travel, with its answer?
template <class Body, class Value>
inline constexpr bool is_remote = [] {
  if constexpr (requires { typename Body::object_type; })
    return wire::body_travels<Body> && wire::is_sendable<Value>;
  else
    return false;
}();

template <class Message, class Body>
struct tell_thunk {
  static constexpr auto kind = wire::entry_kind::method;
  static constexpr std::string_view name() { return Body::name(); }

  static void run(wire::invocation& call) {
    auto& s = *static_cast<serving*>(call.target);
    check_target(s, type_name<typename Body::object_type>(), false);
    decltype(std::declval<Body&>().args) args{};
    wire::decode(call.args, args);
    call.args.finish();
    check_refused(s);
    post(s.to, new Message(from_wire{}, std::move(args)));
  }
};

template <class Message, class Body>
struct ask_thunk {
  static constexpr auto kind = wire::entry_kind::method;
  static constexpr std::string_view name() { return Body::name(); }

  static void run(wire::invocation& call) {
    auto& s = *static_cast<serving*>(call.target);
    check_target(s, type_name<typename Body::object_type>(), true);
    decltype(std::declval<Body&>().args) args{};
    wire::decode(call.args, args);
    call.args.finish();
    check_refused(s);
    auto* m = new Message(from_wire{}, std::move(args));
    m->what = Message::table.name;
    serve_ask(s, m, *m, &encode_value<typename Message::value>);
  }
};

/// How a tell goes to another process.
template <class Message, class Body>
constexpr remote_ops remote_tell() {
  remote_ops ops;
  if constexpr (is_remote<Body, void>) {
    ops.entry = &wire::entry_of<tell_thunk<Message, Body>>;
    ops.encode = [](const envelope* e, wire::writer& out) {
      wire::encode(out, static_cast<const Message*>(e)->body.args);
    };
    ops.sent = [](envelope* e) noexcept { delete static_cast<Message*>(e); };
  }
  return ops;
}

/// The same for an ask.
template <class Message, class Body>
constexpr remote_ops remote_ask() {
  using value = typename Message::value;
  remote_ops ops;
  ops.state = [](envelope* e) -> state_base* {
    return static_cast<Message*>(e);
  };
  ops.sent = [](envelope* e) noexcept {
    Message::end(static_cast<Message*>(e));
  };
  if constexpr (is_remote<Body, value>) {
    ops.entry = &wire::entry_of<ask_thunk<Message, Body>>;
    ops.encode = [](const envelope* e, wire::writer& out) {
      wire::encode(out, static_cast<const Message*>(e)->body.args);
    };
    ops.decode = [](state_base* s, wire::reader& in) {
      decode_value(*static_cast<state<value>*>(s), in);
    };
  }
  return ops;
}

} // namespace troupe::detail
