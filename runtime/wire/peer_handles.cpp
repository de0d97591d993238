// SPDX-License-Identifier: MIT
// Handles to actors as a peer sends and receives them.
#include "core/extras.hpp"
#include "core/runtime.hpp"
#include "wire/peer.hpp"

#include <caf/attachable.hpp>

#include <algorithm>
#include <utility>

namespace troupe::wire {

namespace {

using core::cell;

// What a handle that comes may cost: an actor that stands for the other one.
constexpr std::size_t stand_in_bytes = 1024;

// How a handle is written.
enum class ref_kind : std::uint8_t { none, mine, yours };

// Tells a peer of the end of an actor that it knows.
class end_watch final : public caf::attachable {
public:
  end_watch(std::function<void(const stop_reason&)> f, cell* c, const peer* of)
    : tell_(std::move(f)),
      cell_(c),
      of_(of) {}
  static token token_of(const peer* p) { return {token::anonymous, p}; }
  void actor_exited(const caf::error&, caf::execution_unit*) override {
    tell_(cell_->why_ended());
  }
  bool matches(const token& what) override {
    return what.subtype == token::anonymous && what.ptr == of_;
  }

private:
  std::function<void(const stop_reason&)> tell_;
  cell* const cell_;     // whose list this is in
  const peer* const of_; // to be found by; may be gone
};

} // namespace

std::uint64_t peer::export_locked(cell* c) {
  auto [i, is_new] = numbers_.try_emplace(c, last_export_ + 1);
  if (is_new) {
    ++last_export_;
    core::retain(c);
    exports_[last_export_].actor = c;
  }
  ++exports_[i->second].sent;
  return i->second;
}

void peer::watch_end(std::uint64_t number) {
  cell_ptr c;
  auto was_watched = false;
  {
    const std::lock_guard guard{mutex_};
    auto i = exports_.find(number);
    if (i == exports_.end())
      return;
    was_watched = std::exchange(i->second.is_watched, true);
    core::retain(i->second.actor);
    c.reset(i->second.actor);
  }
  if (was_watched) {
    // Told before, maybe of a stand-in that is not there any more.
    if (!core::is_alive(c.get()))
      send_down(number, c->why_ended());
    return;
  }
  c->attach(caf::attachable_ptr{new end_watch{
    [weak = weak_from_this(), number, ended = c.get()](const stop_reason& why) {
      if (auto p = std::static_pointer_cast<peer>(weak.lock())) {
        p->send_down(number, why);
        p->on_export_gone(*ended, true);
      }
    },
    c.get(), this}});
}

// The last reference that an export had, and its watch.
void peer::let_go(cell* c) const noexcept {
  c->detach(end_watch::token_of(this));
  core::release(c);
}

std::uint64_t peer::export_actor(cell* c) {
  std::uint64_t number = 0;
  {
    const std::lock_guard guard{mutex_};
    number = export_locked(c);
  }
  watch_end(number);
  return number;
}

std::uint64_t peer::write_ref(writer& out, cell* c) {
  if (c == nullptr) {
    *out.claim(1) = static_cast<std::byte>(ref_kind::none);
    return 0;
  }
  if (const auto theirs = number_of(c); theirs != 0) {
    *out.claim(1) = static_cast<std::byte>(ref_kind::yours);
    out.length(theirs);
    return 0;
  }
  *out.claim(1) = static_cast<std::byte>(ref_kind::mine);
  std::uint64_t number = 0;
  {
    const std::lock_guard guard{mutex_};
    number = export_locked(c);
  }
  try {
    out.length(number);
  } catch (...) {
    count_back(number, 1);
    throw;
  }
  return number;
}

// The number of an actor of the other side, 0 for any other.
std::uint64_t peer::number_of(const cell* c) {
  if (!c->has(cell::flag_remote))
    return 0;
  auto& part = *c->extras_or_null()->remote;
  const std::lock_guard guard{part.mutex};
  const auto is_ours = part.link.lock().get()
                       == static_cast<const core::remote_link*>(this);
  return is_ours ? part.target : 0;
}

cell* peer::read_ref(reader& in, const core::class_info& of) {
  const auto kind = static_cast<ref_kind>(*in.take(1));
  if (kind == ref_kind::none)
    return nullptr;
  const auto number = in.length();
  in.charge(stand_in_bytes);
  if (kind == ref_kind::mine)
    return import_actor(number, of);
  if (kind != ref_kind::yours)
    in.refuse("a handle of no kind");
  const std::lock_guard guard{mutex_};
  auto i = exports_.find(number);
  if (i == exports_.end())
    in.refuse("a handle to an actor that was let go");
  if (i->second.actor->info().name != of.name)
    in.refuse("a handle to an actor of another class");
  core::retain(i->second.actor);
  return i->second.actor;
}

cell* peer::import_actor(std::uint64_t number, const core::class_info& of) {
  if (number == 0)
    throw decode_error{"a handle to actor 0"};
  cell_ptr old;
  if (auto* c = known_import(number, of, old))
    return c;
  cell_ptr made{core::make_remote_cell(
    runtime_, of,
    std::static_pointer_cast<core::remote_link>(shared_from_this()), number)};
  const std::lock_guard guard{mutex_};
  if (closed_)
    std::rethrow_exception(closed_);
  auto& x = imports_[number];
  if (x.stand_in != nullptr) {
    core::release_weak(x.stand_in);
    ++x.going;
  }
  core::retain_weak(made.get());
  x.stand_in = made.get();
  ++x.received;
  return made.release();
}

// The stand-in that is there, if it can still be reached; else `old` is it.
cell* peer::known_import(std::uint64_t number, const core::class_info& of,
                         cell_ptr& old) {
  const std::lock_guard guard{mutex_};
  auto i = imports_.find(number);
  if (i == imports_.end() || !core::lock_weak(i->second.stand_in))
    return nullptr;
  old.reset(i->second.stand_in);
  if (old->info().name != of.name)
    throw decode_error{"a handle whose class has changed"};
  if (old->saw(cell::flag_unreachable))
    return nullptr;
  ++i->second.received;
  return old.release();
}

void peer::adopt_import(std::uint64_t number, cell* stand_in) {
  core::retain_weak(stand_in);
  const std::lock_guard guard{mutex_};
  imports_[number] = {stand_in, 1};
}

std::uint64_t peer::adopt_ref(reader& in, cell* stand_in) {
  if (static_cast<ref_kind>(*in.take(1)) != ref_kind::mine)
    in.refuse("no handle to an actor that was made");
  const auto number = in.length();
  in.finish();
  if (number == 0)
    throw decode_error{"a handle to actor 0"};
  if (stand_in == nullptr)
    send_bare({.kind = frame_kind::release, .call = 1, .target = number});
  else
    adopt_import(number, stand_in);
  return number;
}

void peer::end_import(std::uint64_t number, stop_reason why) {
  cell* c = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = imports_.find(number);
    if (i != imports_.end() && core::lock_weak(i->second.stand_in))
      c = i->second.stand_in;
  }
  if (c == nullptr)
    return;
  core::end_remote(*c, this, std::move(why));
  core::release(c);
}

std::size_t peer::exported() {
  const std::lock_guard guard{mutex_};
  return exports_.size();
}

void peer::forget(std::uint64_t target) noexcept {
  std::uint64_t received = 0;
  cell* gone = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = imports_.find(target);
    if (i == imports_.end())
      return;
    if (i->second.going != 0) { // one of several: the last one tells
      --i->second.going;
      return;
    }
    received = i->second.received;
    gone = i->second.stand_in;
    imports_.erase(i);
    if (closed_)
      received = 0;
  }
  core::release_weak(gone);
  if (received != 0)
    send_bare(
      {.kind = frame_kind::release, .call = received, .target = target});
}

void peer::take_release(const frame_header& head) {
  count_back(head.target, head.call);
}

// So many of the handles that were written are not there any more.
void peer::count_back(std::uint64_t number, std::uint64_t count) noexcept {
  cell* gone = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = exports_.find(number);
    if (i == exports_.end())
      return;
    auto& x = i->second;
    x.sent -= std::min(x.sent, count);
    if (x.sent != 0)
      return; // others are on their way
    gone = x.actor;
    numbers_.erase(gone);
    exports_.erase(i);
  }
  on_export_gone(*gone, false);
  let_go(gone);
}

bool peer::is_exported(const cell* c) {
  const std::lock_guard guard{mutex_};
  return numbers_.contains(c);
}

bool peer::has_imports() {
  const std::lock_guard guard{mutex_};
  return !imports_.empty();
}

} // namespace troupe::wire

namespace troupe::detail {

void write_ref(wire::writer& out, cell* c) {
  auto* road = dynamic_cast<wire::ref_road*>(out.road());
  if (road == nullptr)
    throw not_sendable{
      "a handle to an actor means nothing where this message goes (a task of a "
      "process_pool, a file): it travels between actors only"};
  road->write_ref(out, c);
}

cell* read_ref(wire::reader& in, const class_info& of) {
  auto* road = dynamic_cast<wire::ref_road*>(in.road());
  if (road == nullptr)
    in.refuse("a handle to an actor on a road that has none");
  return road->read_ref(in, of);
}

} // namespace troupe::detail
