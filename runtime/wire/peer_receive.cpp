// SPDX-License-Identifier: MIT
// What a peer does with the frames that come.
#include "core/context.hpp"
#include "core/log.hpp"
#include "core/runtime.hpp"
#include "wire/failure.hpp"
#include "wire/peer.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::wire {

namespace {

using core::cell;

// Of what one peer does wrong; a few more later on.
constexpr std::uint64_t log_lines_max = 10;

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

std::int64_t limit_of(const frame_header& head) {
  return head.deadline_us == frame_header::no_deadline
           ? time_limit::none
           : static_cast<std::int64_t>(head.deadline_us) * 1'000;
}

} // namespace

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
    core::serving what{
      c,
      c == nullptr ? "" : c->info().name,
      std::static_pointer_cast<core::answer_road>(shared_from_this()),
      head.call,
      limit_of(head),
      is_call,
      {}};
    try {
      if (c == nullptr)
        throw actor_stopped{"the actor was let go"};
      if (is_call)
        begin_serving();
      is_counted = is_call;
    } catch (const error&) {
      what.refused = std::current_exception();
    }
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
  call_table::call call;
  {
    const std::lock_guard guard{mutex_};
    call = calls_.close(head.call);
  }
  if (call.state == nullptr)
    throw decode_error{
      fmt::format("an answer to call {}, which is not open", head.call)};
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
  std::vector<call_table::call> calls;
  std::vector<cell*> stand_ins;
  std::vector<cell*> exported;
  std::unordered_map<std::uint64_t, core::state_base*> served;
  {
    const std::lock_guard guard{mutex_};
    if (closed_)
      return;
    closed_ = why;
    calls = calls_.close_all();
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
    let_go(c);
}

} // namespace troupe::wire

namespace troupe::detail {

void check_target(const serving& s, std::string_view class_name, bool answers) {
  if (s.refused)
    return;
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

void check_refused(const serving& s) {
  if (s.refused)
    std::rethrow_exception(s.refused);
}

} // namespace troupe::detail
