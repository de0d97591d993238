// SPDX-License-Identifier: MIT
// caf: the bridge to plain CAF actors in the same system. The only public
// header that includes CAF.
//
// From CAF to Troupe: `caf_handle(r)` is a caf::actor. Three ways to call it:
//   self->send(h, troupe::call<&counter::add>(5));            // any method
//   self->request(h, 1s, troupe::call<&counter::value>())
//     .then([](int v) { ... });
//   auto h = troupe::caf_handle<&counter::add>(r);            // by type:
//   self->send(h, 5);                                         // add(5)
// From Troupe to CAF: `caf_tell(h, args...)`, `caf_ask<R>(sys, h, args...)`.
// Monitors and links work both ways. A plain CAF actor that throws answers with
// the exception's text (CAF 0.17 alone would lose it).
// Stop:  a thread that spawned CAF actors or made a scoped_actor holds CAF's
//        logger until it ends, or until it stops the system itself. Another
//        such thread that lives on makes the stop wait for it and say so.
#pragma once

#include <caf/all.hpp>

#include "troupe/system.hpp"

namespace troupe {

namespace detail {

struct caf_invocation;
struct caf_reply;

caf::actor_system& caf_system_of(runtime& rt);
caf::actor caf_actor_of(cell* c);

using caf_answer = std::function<void(caf::message)>;

} // namespace detail

/// The element of the messages that `call` makes; opaque.
struct caf_call {
  std::shared_ptr<detail::caf_invocation> invocation;
};

} // namespace troupe

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::caf_call)

#include "troupe/detail/caf_bridge.hpp"

namespace troupe {

/// CAF's actor system behind `sys`: spawn plain CAF actors in it.
inline caf::actor_system& caf_system(system& sys) {
  return detail::caf_system_of(sys.runtime());
}

/// The actor as CAF sees it.
template <class T>
caf::actor caf_handle(const ref<T>& r) {
  return detail::caf_actor_of(r.get());
}

/// The same, and from now on actors of class T understand plain messages whose
/// types are the parameters of one of `Methods`; the first that fits is called.
template <auto... Methods, class T>
  requires(sizeof...(Methods) > 0)
caf::actor caf_handle(const ref<T>& r) {
  detail::understand<T, Methods...>(r.get());
  return detail::caf_actor_of(r.get());
}

/// A message that calls a method: `self->send(h, call<&counter::add>(5))`.
/// Errors: through the response: sec::runtime_error with the text.
template <auto M, class... As>
caf_call call(As&&... as) {
  return detail::make_call<M>(std::forward<As>(as)...);
}

/// Sends a plain message to a CAF actor.
template <class... As>
void caf_tell(const caf::actor& to, As&&... as) {
  caf::anon_send(to, std::forward<As>(as)...);
}

/// Asks a CAF actor; R is what it answers (void for an empty message).
/// Errors: task_failed with CAF's text, actor_stopped, timeout (ask_deadline),
///         bad_argument when the answer has another type.
template <class R, class... As>
future<R> caf_ask(system& sys, const caf::actor& to, As&&... as) {
  return detail::ask_caf<R>(sys, to,
                            caf::make_message(std::forward<As>(as)...));
}

} // namespace troupe
