// SPDX-License-Identifier: MIT
#include "wire/peer.hpp"

#include "core/extras.hpp"
#include "core/log.hpp"
#include "core/runtime.hpp"
#include "sched/clock.hpp"
#include "wire/failure.hpp"

#include <caf/attachable.hpp>
#include <fmt/format.h>

#include <algorithm>

namespace troupe::wire {

namespace {

using core::cell;

constexpr std::uint16_t flag_kill = 1; // of a stop
// Of what one peer does wrong; a few more later on.
constexpr std::uint64_t log_lines_max = 10;
// What a handle that comes may cost: an actor that stands for the other one.
constexpr std::size_t stand_in_bytes = 1024;

// How a handle is written.
enum class ref_kind : std::uint8_t { none, mine, yours };

/// The roads of one message: descriptors by the carrier, handles by the peer.
class writing_road final : public attachments, public ref_road {
public:
  writing_road(peer& p, bool takes) : peer_(p), takes_attachments_(takes) {}
  bool attach(std::shared_ptr<const segment> bytes,
              std::uint32_t& number) override {
    return takes_attachments_ && attachments::attach(std::move(bytes), number);
  }
  void write_ref(writer& out, cell* c) override { peer_.write_ref(out, c); }
  cell* read_ref(reader&, const core::class_info&) override { return nullptr; }

private:
  peer& peer_;
  const bool takes_attachments_;
};

class reading final : public attachment_carrier, public ref_road {
public:
  reading(peer& p, attachment_carrier& road) : peer_(p), road_(road) {}
  bool attach(std::shared_ptr<const segment>, std::uint32_t&) override {
    return false;
  }
  int take_attached(std::uint32_t number) override {
    return road_.take_attached(number);
  }
  void write_ref(writer&, cell*) override {}
  cell* read_ref(reader& in, const core::class_info& of) override {
    return peer_.read_ref(in, of);
  }

private:
  peer& peer_;
  attachment_carrier& road_;
};

// Tells a peer of the end of an actor that it knows.
class end_watch final : public caf::attachable {
public:
  end_watch(std::function<void(const stop_reason&)> f, cell* c)
    : tell_(std::move(f)),
      cell_(c) {}
  void actor_exited(const caf::error&, caf::execution_unit*) override {
    tell_(cell_->why_ended());
  }
  bool matches(const token&) override { return false; }

private:
  std::function<void(const stop_reason&)> tell_;
  cell* const cell_; // whose list this is in
};

std::int64_t limit_of(const frame_header& head) {
  return head.deadline_us == frame_header::no_deadline
           ? time_limit::none
           : static_cast<std::int64_t>(head.deadline_us) * 1'000;
}

std::uint64_t left_us(std::int64_t due) {
  if (due == INT64_MAX)
    return frame_header::no_deadline;
  const auto now = sched::now_for_ns(due - sched::coarse_now_ns());
  return static_cast<std::uint64_t>(std::max<std::int64_t>(0, due - now))
         / 1'000;
}

std::exception_ptr cant_travel(const core::envelope& e) {
  return std::make_exception_ptr(
    not_sendable{
      core::plain_name(e.ops->name)
      + ": its arguments or its result can't leave this process "
        "(troupe/sendable.hpp says what can; functions can't, name a method)"});
}

} // namespace

peer::~peer() {
  for (auto& [number, x] : exports_)
    core::release(x.actor);
  for (auto& [number, x] : imports_)
    core::release_weak(x.stand_in);
  for (auto& [call, s] : served_)
    s->release();
}

// -- handles ------------------------------------------------------------------

std::uint64_t peer::export_locked(cell* c) {
  auto [i, is_new] = numbers_.try_emplace(c, last_export_ + 1);
  if (is_new) {
    ++last_export_;
    core::retain(c);
    exports_[last_export_].actor = c;
  }
  ++exports_[i->second].sent;
  return is_new ? i->second : 0;
}

void peer::watch_end(cell* c, std::uint64_t number) {
  c->attach(caf::attachable_ptr{
    new end_watch{[weak = weak_from_this(), number](const stop_reason& why) {
                    if (auto p = std::static_pointer_cast<peer>(weak.lock())) {
                      p->send_down(number, why);
                      p->on_export_gone(number);
                    }
                  },
                  c}});
}

std::uint64_t peer::export_actor(cell* c) {
  std::uint64_t number = 0;
  std::uint64_t fresh = 0;
  {
    const std::lock_guard guard{mutex_};
    fresh = export_locked(c);
    number = numbers_[c];
  }
  if (fresh != 0)
    watch_end(c, fresh);
  return number;
}

void peer::write_ref(writer& out, cell* c) {
  if (c == nullptr) {
    *out.claim(1) = static_cast<std::byte>(ref_kind::none);
    return;
  }
  if (const auto theirs = number_of(c); theirs != 0) {
    *out.claim(1) = static_cast<std::byte>(ref_kind::yours);
    out.length(theirs);
    return;
  }
  const auto number = export_actor(c);
  *out.claim(1) = static_cast<std::byte>(ref_kind::mine);
  out.length(number);
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
  const std::lock_guard guard{mutex_};
  auto& x = imports_[number];
  if (x.stand_in != nullptr && core::lock_weak(x.stand_in)) {
    auto* c = x.stand_in;
    if (c->info().name != of.name) {
      core::release(c);
      throw decode_error{"a handle whose class has changed"};
    }
    if (!c->saw(cell::flag_unreachable)) {
      ++x.received;
      return c;
    }
    core::release(c);
  }
  if (x.stand_in != nullptr) {
    core::release_weak(x.stand_in);
    ++x.going;
  }
  auto* c = core::make_remote_cell(
    runtime_, of,
    std::static_pointer_cast<core::remote_link>(shared_from_this()), number);
  core::retain_weak(c);
  x.stand_in = c;
  ++x.received;
  return c;
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
  cell* gone = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = exports_.find(head.target);
    if (i == exports_.end() || i->second.sent != head.call)
      return; // it is on its way again
    gone = i->second.actor;
    numbers_.erase(gone);
    exports_.erase(i);
  }
  core::release(gone);
  on_export_gone(head.target);
}

// -- sending ------------------------------------------------------------------

void peer::check_room(const core::envelope& e) {
  if (!has_room())
    throw rejected{core::plain_name(e.ops->name) + ": too much waits for "
                   + name() + " already"};
}

void peer::forward(cell& from, std::uint64_t target,
                   core::envelope* e) noexcept {
  const auto* ops = e->ops->remote;
  auto* s = ops->state == nullptr ? nullptr : ops->state(e);
  if (s != nullptr && !core::begin_ask(*s)) {
    ops->sent(e); // cancelled or late: nobody wants it any more
    return;
  }
  std::uint64_t call = 0;
  try {
    if (ops->entry == nullptr)
      std::rethrow_exception(cant_travel(*e));
    check_room(*e);
    writing_road road{*this, has_attachments()};
    buffer bytes;
    writer out{bytes, {}, &road};
    ops->encode(e, out);
    if (s != nullptr) {
      const std::lock_guard guard{mutex_};
      call = open_call_locked(*s, *ops);
    } else if (is_closed()) {
      core::dead_letter_to(from, e, core::drop_reason::stopped);
      return;
    }
    transmit_buffer({.kind = s == nullptr ? frame_kind::tell : frame_kind::call,
                     .call = call,
                     .target = target,
                     .name = ops->entry().id(),
                     .deadline_us = s == nullptr ? frame_header::no_deadline
                                                 : left_us(s->due)},
                    std::move(bytes), road);
    ops->sent(e);
  } catch (...) {
    if (call != 0)
      close_call(call);
    fail(from, e, s, std::current_exception());
  }
}

std::uint64_t peer::open_call_locked(core::state_base& s,
                                     const core::remote_ops& ops) {
  if (closed_)
    std::rethrow_exception(closed_);
  if (calls_.size() >= open_calls_max())
    throw rejected{fmt::format("{} calls of {} are open, the limit is {}",
                               calls_.size(), name(), open_calls_max())};
  calls_.emplace(last_call_ + 1, open_call{&s, &ops});
  s.retain();
  return ++last_call_;
}

void peer::close_call(std::uint64_t call) noexcept {
  core::state_base* s = nullptr;
  {
    const std::lock_guard guard{mutex_};
    if (auto i = calls_.find(call); i != calls_.end()) {
      s = i->second.state;
      calls_.erase(i);
    }
  }
  if (s != nullptr)
    s->release();
}

// A message that could not be sent: an ask's future says why, a tell is a dead
// letter.
void peer::fail(cell& from, core::envelope* e, core::state_base* s,
                std::exception_ptr why) noexcept {
  if (s != nullptr) {
    s->fail(std::move(why));
    e->ops->drop(e, core::drop_reason::rejected);
    return;
  }
  core::log().error("{}: {}", core::name_of(from), core::text_of(why));
  core::dead_letter_to(from, e, core::drop_reason::rejected);
}

void peer::cancel(core::state_base& s) noexcept {
  std::uint64_t call = 0;
  {
    const std::lock_guard guard{mutex_};
    for (auto& [number, c] : calls_)
      if (c.state == &s)
        call = number;
  }
  if (call != 0)
    send_bare({.kind = frame_kind::cancel, .call = call});
}

void peer::stop(std::uint64_t target, bool kill) noexcept {
  send_bare({.kind = frame_kind::stop,
             .flags = kill ? flag_kill : std::uint16_t{0},
             .target = target});
}

void peer::on_kill(cell& c) {
  c.kill();
}

void peer::send_down(std::uint64_t number, const stop_reason& why) noexcept {
  try {
    buffer bytes;
    writer out{bytes};
    encode(out, static_cast<std::uint8_t>(why.kind));
    encode(out, describe(why.error, {}, 0, name()));
    attachments none;
    transmit({.kind = frame_kind::down, .target = number}, bytes.bytes(), none);
  } catch (const std::exception& e) {
    core::log().error("the end of an actor could not be told: {}", e.what());
  }
}

void peer::serves(std::uint64_t call, core::state_base& s) {
  const std::lock_guard guard{mutex_};
  if (closed_ || !served_.emplace(call, &s).second)
    return;
  s.retain();
}

// What waits is given up, what runs runs to its end.
void peer::give_up(std::uint64_t call) noexcept {
  core::state_base* s = nullptr;
  {
    const std::lock_guard guard{mutex_};
    if (auto i = served_.find(call); i != served_.end()) {
      s = i->second;
      s->retain();
    }
  }
  if (s == nullptr)
    return;
  static_cast<void>(s->cancel());
  s->release();
}

void peer::begin_serving() {
  const auto n = serving_.fetch_add(1) + 1;
  if (n <= open_calls_max())
    return;
  end_serving();
  throw rejected{fmt::format(
    "{} calls are served here already, the limit for one peer is {}", n - 1,
    open_calls_max())};
}

void peer::answer(std::uint64_t call, const core::state_base& s,
                  void (*encode)(const core::state_base&, writer&)) noexcept {
  end_serving();
  core::state_base* mine = nullptr;
  bool is_wanted = false;
  {
    const std::lock_guard guard{mutex_};
    is_wanted = !closed_;
    if (auto i = served_.find(call); i != served_.end() && i->second == &s) {
      mine = i->second;
      served_.erase(i);
    }
  }
  if (mine != nullptr)
    mine->release(); // who calls has another
  if (!is_wanted)
    return; // what it lends stays here
  auto error = s.failure;
  if (s.at.load() == core::phase::cancelled)
    error = std::make_exception_ptr(cancelled{"the ask was cancelled"});
  if (error == nullptr) {
    try {
      writing_road road{*this, has_attachments()};
      buffer bytes;
      writer out{bytes, {}, &road};
      encode(s, out);
      transmit_buffer({.kind = frame_kind::result, .call = call},
                      std::move(bytes), road);
      return;
    } catch (...) {
      error = std::current_exception();
    }
  }
  answer_error(call, error);
}

void peer::answer_error(std::uint64_t call, const std::exception_ptr& e,
                        std::uint16_t flags) noexcept {
  try {
    buffer bytes;
    writer out{bytes};
    encode(out, describe(e, {}, 0, name()));
    attachments none;
    transmit({.kind = frame_kind::error, .flags = flags, .call = call},
             bytes.bytes(), none);
  } catch (const std::exception& x) {
    core::log().error("an error could not be answered: {}", x.what());
  }
}

void peer::answer_bytes(std::uint64_t call,
                        const std::function<void(writer&)>& write) {
  writing_road road{*this, has_attachments()};
  buffer bytes;
  writer out{bytes, {}, &road};
  write(out);
  transmit_buffer({.kind = frame_kind::result, .call = call}, std::move(bytes),
                  road);
}

void peer::answer_void(std::uint64_t call) {
  send_bare({.kind = frame_kind::result, .call = call});
}

void peer::send_bare(const frame_header& head) noexcept {
  try {
    attachments none;
    transmit(head, {}, none);
  } catch (const std::exception& e) {
    core::log().error("{}: {}", name(), e.what());
  }
}

void peer::send_spawn(const entry& constructor,
                      const std::function<void(writer&)>& arguments,
                      core::state<void>& s) {
  static constexpr core::remote_ops ops{
    nullptr, nullptr, nullptr, nullptr, [](core::state_base* x, reader& in) {
      core::decode_value(*static_cast<core::state<void>*>(x), in);
    }};
  send_request({.kind = frame_kind::spawn, .name = constructor.id()}, arguments,
               s, ops);
}

void peer::send_request(frame_header head,
                        const std::function<void(writer&)>& payload,
                        core::state_base& s, const core::remote_ops& ops) {
  writing_road road{*this, has_attachments()};
  buffer bytes;
  writer out{bytes, {}, &road};
  payload(out);
  {
    const std::lock_guard guard{mutex_};
    head.call = open_call_locked(s, ops);
  }
  transmit_buffer(head, std::move(bytes), road);
}

bool peer::is_closed() {
  const std::lock_guard guard{mutex_};
  return closed_ != nullptr;
}

bool peer::is_used() {
  if (serving_.load() != 0)
    return true;
  const std::lock_guard guard{mutex_};
  return !calls_.empty() || !imports_.empty() || !exports_.empty();
}

bool peer::has_open_calls() {
  const std::lock_guard guard{mutex_};
  return !calls_.empty();
}

// -- receiving ----------------------------------------------------------------

void peer::receive(const frame_header& head, std::span<const std::byte> payload,
                   attachment_carrier& road) {
  switch (head.kind) {
    case frame_kind::call:
    case frame_kind::tell:
      take_call(head, payload, road);
      break;
    case frame_kind::result:
    case frame_kind::error:
      take_answer(head, payload, road);
      break;
    case frame_kind::down:
      take_down(head, payload);
      break;
    case frame_kind::release:
      take_release(head);
      break;
    case frame_kind::cancel:
      give_up(head.call);
      break;
    case frame_kind::stop: {
      cell* c = nullptr;
      {
        const std::lock_guard guard{mutex_};
        auto i = exports_.find(head.target);
        if (i == exports_.end())
          return;
        c = i->second.actor;
        core::retain(c);
      }
      if ((head.flags & flag_kill) != 0)
        on_kill(*c);
      else
        c->stop();
      core::release(c);
      break;
    }
    default:
      throw decode_error{
        fmt::format("a {} frame between actors", to_string(head.kind))};
  }
}

void peer::invoke(entry_kind kind, entry_id name,
                  std::span<const std::byte> payload,
                  attachment_carrier& carrier, void* target) {
  reading road{*this, carrier};
  reader in{payload, {}, &road};
  buffer nothing;
  writer none{nothing};
  invocation call{in, none, target};
  const core::context_scope scope{nullptr, &runtime_};
  // This thread reads for many: a full mailbox is no reason to wait.
  core::current.must_not_wait = kind == entry_kind::method;
  name_table::get().find(kind, name).invoke(call);
}

void peer::take_call(const frame_header& head,
                     std::span<const std::byte> payload,
                     attachment_carrier& carrier) {
  const auto is_call = head.kind == frame_kind::call;
  auto is_counted = false;
  cell* c = nullptr;
  {
    const std::lock_guard guard{mutex_};
    auto i = exports_.find(head.target);
    if (i != exports_.end()) {
      c = i->second.actor;
      core::retain(c);
    }
  }
  try {
    if (c == nullptr)
      throw actor_stopped{"the actor was let go"};
    if (is_call) {
      begin_serving();
      is_counted = true;
    }
    core::serving what{
      c,
      c->info().name,
      std::static_pointer_cast<core::answer_road>(shared_from_this()),
      head.call,
      limit_of(head),
      is_call};
    invoke(entry_kind::method, head.name, payload, carrier, &what);
  } catch (...) {
    if (is_counted)
      end_serving();
    if (is_call)
      answer_error(head.call, std::current_exception());
    else if (const auto n = undelivered_.fetch_add(1) + 1;
             n <= log_lines_max || n % 10'000 == 0)
      core::log().warn("message {} from {} that could not be delivered: {}", n,
                       name(), core::text_with_type(std::current_exception()));
  }
  if (c != nullptr)
    core::release(c);
}

void peer::take_answer(const frame_header& head,
                       std::span<const std::byte> payload,
                       attachment_carrier& carrier) {
  open_call call;
  {
    const std::lock_guard guard{mutex_};
    auto i = calls_.find(head.call);
    if (i == calls_.end())
      throw decode_error{
        fmt::format("an answer to call {}, which is not open", head.call)};
    call = i->second;
    calls_.erase(i);
  }
  try {
    reading road{*this, carrier};
    reader in{payload, {}, &road};
    if (head.kind == frame_kind::result) {
      call.ops->decode(call.state, in);
    } else {
      failure record;
      decode(in, record);
      auto error = rebuild(record);
      call.state->fail(error ? error
                             : std::make_exception_ptr(
                                 decode_error{"an error without a type"}));
    }
  } catch (...) {
    call.state->fail(std::current_exception());
  }
  call.state->release();
}

void peer::take_down(const frame_header& head,
                     std::span<const std::byte> payload) {
  reader in{payload};
  std::uint8_t kind = 0;
  failure record;
  decode(in, kind);
  decode(in, record);
  stop_reason why;
  why.kind = static_cast<stop_reason::kind_type>(
    std::min<std::uint8_t>(kind, stop_reason::shutdown));
  why.error = rebuild(record);
  end_import(head.target, std::move(why));
}

void peer::closed(const std::exception_ptr& why) {
  std::vector<open_call> calls;
  std::vector<cell*> stand_ins;
  std::vector<cell*> exported;
  std::unordered_map<std::uint64_t, core::state_base*> served;
  {
    const std::lock_guard guard{mutex_};
    if (closed_)
      return;
    closed_ = why;
    for (auto& [number, c] : calls_)
      calls.push_back(c);
    calls_.clear();
    for (auto& [number, x] : imports_)
      if (core::lock_weak(x.stand_in))
        stand_ins.push_back(x.stand_in);
    for (auto& [number, x] : exports_)
      exported.push_back(x.actor);
    exports_.clear();
    numbers_.clear();
    served.swap(served_);
  }
  for (auto& [call, s] : served) {
    static_cast<void>(s->cancel());
    s->release();
  }
  for (auto& c : calls) {
    c.state->fail(why);
    c.state->release();
  }
  for (auto* c : stand_ins) {
    stop_reason reason;
    reason.kind = stop_reason::failed;
    reason.error = why;
    core::end_remote(*c, this, std::move(reason));
    core::release(c);
  }
  for (auto* c : exported)
    core::release(c);
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

void check_target(const serving& s, std::string_view class_name, bool answers) {
  // Else an answer would be counted that nobody waits for, or one be waited
  // for that nobody gives.
  if (s.wants_answer != answers)
    throw decode_error{fmt::format("a {} of a message that {} an answer",
                                   s.wants_answer ? "call" : "tell",
                                   answers ? "has" : "has no")};
  if (s.class_name != class_name)
    throw decode_error{"a method of " + plain_name(class_name)
                       + " called on an actor of class "
                       + plain_name(s.class_name)};
}

} // namespace troupe::detail
