// SPDX-License-Identifier: MIT
#include "core/remote.hpp"

#include "core/extras.hpp"
#include "core/runtime.hpp"

namespace troupe::detail {

namespace {

struct end_order final : envelope, pooled {
  const remote_link* link;
  stop_reason why;

  end_order(const remote_link* l, stop_reason w)
    : envelope(&table),
      link(l),
      why(std::move(w)) {}
  static void run(envelope* e, cell& self, void* object) {
    const std::unique_ptr<end_order> m{static_cast<end_order*>(e)};
    if (self.is_down()
        || static_cast<remote_object*>(object)->link.get() != m->link)
      return; // it has another one by now
    if (m->why.kind == stop_reason::failed)
      self.extras().failure = m->why.error;
    if (m->why.kind == stop_reason::killed)
      self.set(cell::flag_killed);
    self.quit();
  }
  static void drop(envelope* e, drop_reason) noexcept {
    delete static_cast<end_order*>(e);
  }
  static constexpr message_ops table{&run, &drop, "end", message_kind::urgent};
};

// Sends the answer when the ask has settled.
struct served_ask final : waiter, pooled {
  std::shared_ptr<answer_road> road;
  const std::uint64_t call;
  void (*const encode)(const state_base&, wire::writer&);

  served_ask(const serving& s, void (*f)(const state_base&, wire::writer&))
    : waiter(&done),
      road(s.road),
      call(s.call),
      encode(f) {}

  static void done(waiter* w, state_base& s) noexcept {
    const owned self{static_cast<served_ask*>(w)};
    s.observed.store(true, std::memory_order_relaxed);
    self->road->answer(self->call, s, self->encode);
  }
};

std::shared_ptr<remote_link> link_of(state_base& s) {
  if (s.callee == nullptr)
    return nullptr;
  auto* x = cell::extras_slot(cell::block_of(s.callee)).load();
  if (x == nullptr || x->remote == nullptr)
    return nullptr;
  const std::lock_guard guard{x->remote->mutex};
  return x->remote->link.lock();
}

} // namespace

remote_object::~remote_object() {
  if (link)
    link->forget(target);
}

void remote_object::on_stop(const stop_reason& why) {
  if (link && why.kind == stop_reason::killed)
    link->stop(target, true);
}

void link_object(cell& c, remote_object& object,
                 std::shared_ptr<remote_link> link, std::uint64_t target) {
  auto& part = *c.extras().remote;
  const std::lock_guard guard{part.mutex};
  part.link = link;
  part.target = target;
  object.link = std::move(link);
  object.target = target;
}

cell* make_remote_cell(runtime& rt, const class_info& info,
                       std::shared_ptr<remote_link> link,
                       std::uint64_t target) {
  spawn_options o;
  o.is_remote = true;
  auto* c = make_cell(rt, info, o);
  static_cast<void>(constructing_cell());
  auto* object = ::new (object_of(c)) remote_object;
  link_object(*c, *object, std::move(link), target);
  commit_cell(c, nullptr);
  return c;
}

void end_remote(cell& c, const remote_link* link, stop_reason why) {
  auto* e = new end_order{link, std::move(why)};
  if (!c.push(e, true))
    delete e;
}

void serve_ask(const serving& to, envelope* e, state_base& s,
               void (*encode)(const state_base&, wire::writer&)) {
  s.retain(); // the mailbox's and ours
  auto* reply = new served_ask{to, encode};
  to.road->serves(to.call, s);
  post_ask(to.to, e, &s, to.limit_ns);
  if (!s.add_waiter(*reply))
    served_ask::done(reply, s);
  s.release();
}

void stop_remote(state_base* s) noexcept {
  if (auto link = link_of(*s))
    link->cancel(*s);
}

void look_for_remote(state_base* s) noexcept {
  if (auto link = link_of(*s))
    link->look(*s);
}

} // namespace troupe::detail
