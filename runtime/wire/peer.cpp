// SPDX-License-Identifier: MIT
#include "wire/peer.hpp"

#include "core/log.hpp"
#include "core/runtime.hpp"
#include "sched/clock.hpp"
#include "wire/failure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace troupe::wire {

namespace {

using core::cell;

/// The roads of one message: descriptors by the carrier, handles by the peer.
/// Handles of a message that does not go are counted back.
class writing_road final : public attachments, public ref_road {
public:
  writing_road(peer& p, bool takes) : peer_(p), takes_attachments_(takes) {}
  ~writing_road() override {
    for (const auto number : written_)
      peer_.count_back(number, 1);
  }
  void has_gone() noexcept {
    for (const auto number : std::exchange(written_, {}))
      try {
        peer_.watch_end(number);
      } catch (const std::exception& e) {
        core::log().error("the end of an actor will not be told: {}", e.what());
      }
  }
  bool attach(std::shared_ptr<const segment> bytes,
              std::uint32_t& number) override {
    return takes_attachments_ && attachments::attach(std::move(bytes), number);
  }
  void write_ref(writer& out, cell* c) override {
    written_.reserve(written_.size() + 1);
    if (const auto number = peer_.write_ref(out, c); number != 0)
      written_.push_back(number);
  }
  cell* read_ref(reader&, const core::class_info&) override { return nullptr; }

private:
  peer& peer_;
  const bool takes_attachments_;
  std::vector<std::uint64_t> written_;
};

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
    let_go(x.actor);
  for (auto& [number, x] : imports_)
    core::release_weak(x.stand_in);
  for (auto& [call, s] : served_)
    s->release();
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
    road.has_gone();
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
  const auto most = std::min(open_calls_max(), call_table::size_max);
  if (calls_.size() >= most)
    throw rejected{fmt::format("{} calls of {} are open, the limit is {}",
                               calls_.size(), name(), most)};
  const auto number = calls_.open({&s, &ops});
  s.retain();
  return number;
}

void peer::close_call(std::uint64_t call) noexcept {
  core::state_base* s = nullptr;
  {
    const std::lock_guard guard{mutex_};
    s = calls_.close(call).state;
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
    call = calls_.find(s);
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
      road.has_gone();
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
  road.has_gone();
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
  road.has_gone();
}

bool peer::is_closed() {
  const std::lock_guard guard{mutex_};
  return closed_ != nullptr;
}

bool peer::is_used() {
  if (serving_.load() != 0)
    return true;
  const std::lock_guard guard{mutex_};
  return calls_.size() != 0 || !imports_.empty() || !exports_.empty();
}

bool peer::has_open_calls() {
  const std::lock_guard guard{mutex_};
  return calls_.size() != 0;
}

} // namespace troupe::wire
