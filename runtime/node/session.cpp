// SPDX-License-Identifier: MIT
#include "node/session.hpp"

#include "core/log.hpp"
#include "node/host.hpp"
#include "node/job.hpp"
#include "node/node_core.hpp"
#include "troupe/failure.hpp"

#include <fmt/format.h>

namespace troupe::nodes {

namespace {

using wire::frame_kind;

constexpr std::int64_t look_ns = 100'000;
constexpr std::size_t name_bytes_max = 256;
// Of the numbers of our tasks; asks have others.
constexpr std::uint64_t task_bit = std::uint64_t{1} << 63;
// Above it a payload goes as a block of its own.
constexpr std::size_t large_bytes = std::size_t{64} << 10;

/// Nothing goes beside a frame between nodes.
class no_attachments final : public wire::attachment_carrier {
public:
  bool attach(std::shared_ptr<const wire::segment>, std::uint32_t&) override {
    return false;
  }
  int take_attached(std::uint32_t) override { return -1; }
};

/// Asks for a handle: of an actor that is made for us, or of one by name.
struct ref_request final : core::state<void>, core::pooled {
  std::shared_ptr<session> road;
  std::mutex mutex;
  core::cell* stand_in = nullptr;         // under mutex; null: given up
  const core::class_info* info = nullptr; // of a lookup
  core::cell* found = nullptr;            // one reference, of a lookup
  std::uint64_t number = 0;

  explicit ref_request(std::shared_ptr<session> s)
    : core::state<void>(&table),
      road(std::move(s)) {}
  ~ref_request() {
    if (found != nullptr)
      core::release(found);
  }

  static void read(core::state_base* base, wire::reader& in) {
    auto& self =
      *static_cast<ref_request*>(static_cast<core::state<void>*>(base));
    {
      const std::lock_guard guard{self.mutex};
      if (self.info != nullptr) {
        self.found = core::read_ref(in, *self.info);
        in.finish();
      } else {
        self.number = self.road->adopt_ref(in, self.stand_in);
      }
    }
    self.set();
  }

  // Late: what comes now is nobody's, and what has just come is let go.
  void give_up() {
    const std::lock_guard guard{mutex};
    stand_in = nullptr;
    if (number != 0)
      road->forget(number);
  }

  static void destroy(core::state_base* s) noexcept;
  static constexpr core::state_ops table{&destroy};
  static constexpr core::remote_ops ops{nullptr, nullptr, nullptr, nullptr,
                                        &read};
};

void ref_request::destroy(core::state_base* s) noexcept {
  delete static_cast<ref_request*>(static_cast<core::state<void>*>(s));
}

struct void_request {
  static constexpr core::remote_ops ops{
    nullptr, nullptr, nullptr, nullptr,
    [](core::state_base* s, wire::reader& in) {
      core::decode_value(*static_cast<core::state<void>*>(s), in);
    }};
};

std::int64_t due_of(const wire::frame_header& head) {
  return head.deadline_us == wire::frame_header::no_deadline
           ? INT64_MAX
           : sched::now_ns()
               + static_cast<std::int64_t>(head.deadline_us) * 1'000;
}

std::uint64_t microseconds(std::int64_t ns) {
  return ns == time_limit::none ? wire::frame_header::no_deadline
                                : static_cast<std::uint64_t>(ns / 1'000);
}

} // namespace

session::session(host& h, std::weak_ptr<core::node_core> core)
  : peer(h.runtime()),
    host_(h),
    core_(std::move(core)),
    had_core_(!core_.expired()) {}

bool session::is_orphan() {
  return had_core_ && core_.expired() && !is_used();
}

std::string session::name() const {
  return "node " + connection_->peer_address();
}

// -- carrier ------------------------------------------------------------------

void session::transmit(const wire::frame_header& head,
                       std::span<const std::byte> payload, wire::attachments&) {
  connection_->send(head, payload);
}

void session::transmit_buffer(const wire::frame_header& head,
                              wire::buffer payload, wire::attachments&) {
  connection_->send(head, std::move(payload));
}

bool session::has_room() {
  return connection_->backlog_bytes()
         < host_.runtime().settings().node_backlog_bytes_max;
}

std::size_t session::open_calls_max() const {
  return runtime_.settings().node_calls_max;
}

void session::look(core::state_base& s) noexcept {
  host_.loop().help(look_ns, [&s] { return s.is_settled(); });
}

// The end of our system is no reason for actors elsewhere to end: those that
// are ours alone end when the connection does.
void session::stop(std::uint64_t target, bool kill) noexcept {
  if (!runtime_.is_stopping()) {
    peer::stop(target, kill);
    return;
  }
  stop_reason why;
  why.kind = stop_reason::shutdown;
  end_import(target, std::move(why));
}

void session::say_leaving() noexcept {
  connection_->send({.kind = frame_kind::stop}, std::span<const std::byte>{});
}

// -- questions ----------------------------------------------------------------

std::uint64_t
session::spawn(core::cell* stand_in, const wire::entry& constructor,
               const std::function<void(wire::writer&)>& arguments,
               std::int64_t limit_ns) {
  const core::state_ptr<ref_request> s{new ref_request{self()}};
  s->stand_in = stand_in;
  s->what = "spawn";
  try {
    send_request({.kind = frame_kind::spawn,
                  .name = constructor.id(),
                  .deadline_us = microseconds(limit_ns)},
                 arguments, *s, ref_request::ops);
    core::state_ptr<core::state<void>> base{s.get()};
    base->retain();
    look(*base);
    future<void>{base}.get_for(std::chrono::nanoseconds{limit_ns});
  } catch (...) {
    s->give_up();
    throw;
  }
  return s->number;
}

core::cell* session::lookup(std::string_view name, const core::class_info& of,
                            std::int64_t limit_ns) {
  const core::state_ptr<ref_request> s{new ref_request{self()}};
  s->info = &of;
  s->what = "lookup";
  send_request(
    {.kind = frame_kind::notice, .deadline_us = microseconds(limit_ns)},
    [&](wire::writer& out) {
      wire::encode(out, std::string{name});
      wire::encode(out, std::string{of.name});
    },
    *s, ref_request::ops);
  core::state_ptr<core::state<void>> base{s.get()};
  base->retain();
  look(*base);
  future<void>{base}.get_for(std::chrono::nanoseconds{limit_ns});
  return std::exchange(s->found, nullptr);
}

void session::ping(std::int64_t limit_ns) {
  const core::state_ptr<core::state<void>> s{new core::plain_state<void>};
  s->what = "ping";
  send_request(
    {.kind = frame_kind::ping}, [](wire::writer&) {}, *s, void_request::ops);
  look(*s);
  future<void>{s}.get_for(std::chrono::nanoseconds{limit_ns});
}

// -- tasks of ours ------------------------------------------------------------

bool session::add_sender(const std::shared_ptr<task_sender>& s) {
  const std::lock_guard guard{tasks_mutex_};
  if (!ended_)
    senders_.push_back(s);
  return !ended_;
}

std::uint64_t session::send_task(const std::shared_ptr<task_sender>& from,
                                 wire::frame_header head,
                                 std::span<const std::byte> arguments) {
  head.kind = frame_kind::call;
  {
    const std::lock_guard guard{tasks_mutex_};
    if (ended_)
      throw node_lost{connection_->peer_address()
                      + ": the connection has gone"};
    head.call = ++last_task_ | task_bit;
    sent_.emplace(head.call, from);
  }
  if (arguments.size() < large_bytes) {
    connection_->send(head, arguments);
  } else {
    wire::buffer copy; // it may have to be sent again
    copy.append(arguments);
    connection_->send(head, std::move(copy));
  }
  return head.call;
}

void session::cancel_task(std::uint64_t call) {
  connection_->send({.kind = frame_kind::cancel, .call = call},
                    std::span<const std::byte>{});
}

void session::take_task_answer(const wire::frame_header& head,
                               std::span<const std::byte> payload) {
  std::weak_ptr<task_sender> sender;
  {
    const std::lock_guard guard{tasks_mutex_};
    auto i = sent_.find(head.call);
    if (i == sent_.end())
      throw decode_error{fmt::format("an answer to task {}, which is not open",
                                     head.call & ~task_bit)};
    sender = i->second;
    sent_.erase(i);
  }
  if (auto s = sender.lock())
    s->on_answer(*this, head, payload);
}

// -- from the connection ------------------------------------------------------

void session::on_up(const wire::hello& theirs, const std::string& key) {
  key_ = key;
  incarnation_.store(theirs.incarnation);
  host_.came_up(*this);
  if (auto c = core_.lock())
    c->came_up(self());
  if (host_.is_leaving())
    say_leaving();
}

void session::on_end(std::exception_ptr why) {
  leaving_.store(true);
  std::vector<std::stop_source> stops; // callbacks of users: without the lock
  std::vector<std::weak_ptr<task_sender>> senders;
  {
    const std::lock_guard guard{tasks_mutex_};
    ended_ = true;
    for (auto& [call, stop] : tasks_)
      stops.push_back(stop);
    senders.swap(senders_);
    sent_.clear();
  }
  for (auto& stop : stops)
    stop.request_stop();
  // Who hears that a call is lost finds the node down, not this again.
  if (auto c = core_.lock())
    c->went_down(why);
  closed(why);
  for (auto& weak : senders)
    if (auto s = weak.lock())
      s->on_end(*this, why);
  host_.remove(*this);
}

void session::on_refusal(const std::string& who_and_why) {
  host_.log_refusal(who_and_why);
}

void session::on_frame(const wire::frame_header& head,
                       std::span<const std::byte> payload) {
  no_attachments road;
  switch (head.kind) {
    case frame_kind::call:
      if (head.target == 0)
        serve_task(head, payload);
      else
        receive(head, payload, road);
      break;
    case frame_kind::spawn:
      serve_spawn(head, payload);
      break;
    case frame_kind::notice:
      serve_lookup(head, payload);
      break;
    case frame_kind::cancel: {
      receive(head, payload, road); // an ask
      std::stop_source stop{std::nostopstate};
      {
        const std::lock_guard guard{tasks_mutex_};
        if (auto i = tasks_.find(head.call); i != tasks_.end())
          stop = i->second;
      }
      stop.request_stop();
      break;
    }
    case frame_kind::stop:
      if (head.target == 0)
        leaving_.store(true);
      else
        receive(head, payload, road);
      break;
    case frame_kind::ping:
      connection_->send({.kind = frame_kind::pong, .call = head.call},
                        std::span<const std::byte>{});
      break;
    case frame_kind::pong: {
      auto answer = head;
      answer.kind = frame_kind::result;
      receive(answer, payload, road);
      break;
    }
    case frame_kind::result:
    case frame_kind::error:
      if ((head.call & task_bit) != 0) {
        take_task_answer(head, payload);
        break;
      }
      [[fallthrough]];
    default:
      receive(head, payload, road);
  }
}

void session::serve_lookup(const wire::frame_header& head,
                           std::span<const std::byte> payload) {
  if (head.call == 0)
    throw decode_error{"a question without a number"};
  core::cell* c = nullptr;
  try {
    std::string name;
    std::string class_name;
    wire::reader in{payload};
    wire::decode(in, name);
    wire::decode(in, class_name);
    in.finish();
    if (name.size() > name_bytes_max)
      throw bad_argument{fmt::format("a name of {} bytes", name.size())};
    c = host_.published(name, class_name);
    answer_with(head.call, [c](wire::writer& out) { core::write_ref(out, c); });
  } catch (...) {
    answer_error(head.call, std::current_exception());
  }
  if (c != nullptr)
    core::release(c);
}

// -- jobs ---------------------------------------------------------------------

void session::answer_with(
  std::uint64_t call, const std::function<void(wire::writer&)>& body) noexcept {
  try {
    answer_bytes(call, body);
  } catch (...) {
    answer_error(call, std::current_exception());
  }
}

void session::serve_spawn(const wire::frame_header& head,
                          std::span<const std::byte> payload) {
  auto bytes = std::make_shared<wire::buffer>();
  try {
    if (host_.is_leaving())
      throw node_lost{"this node is being stopped"};
    begin_serving();
    bytes->append(payload);
  } catch (...) {
    answer_error(head.call, std::current_exception());
    return;
  }
  job::start(runtime_, [self = self(), head, bytes] {
    core::making m{&self->runtime_, {}, nullptr};
    core::current.deadline = due_of(head);
    self->answer_with(head.call, [&](wire::writer& out) {
      no_attachments road;
      self->invoke(wire::entry_kind::actor, head.name, bytes->bytes(), road,
                   &m);
      core::write_ref(out, m.made);
    });
    if (m.made != nullptr)
      core::release(m.made);
    self->end_serving();
  });
}

void session::serve_task(const wire::frame_header& head,
                         std::span<const std::byte> payload) {
  auto bytes = std::make_shared<wire::buffer>();
  std::stop_source stop;
  try {
    if (host_.is_leaving())
      throw node_lost{"this node is being stopped"};
    begin_serving();
    bytes->append(payload);
    const std::lock_guard guard{tasks_mutex_};
    tasks_.emplace(head.call, stop);
  } catch (...) {
    answer_error(head.call, std::current_exception(), flag_unbegun);
    return;
  }
  job::start(runtime_, [self = self(), head, bytes, stop] {
    core::current.deadline = due_of(head);
    if (stop.stop_requested())
      self->answer_error(head.call,
                         std::make_exception_ptr(
                           cancelled{"the task was cancelled before it began"}),
                         flag_unbegun);
    else
      self->answer_with(head.call, [&](wire::writer& out) {
        if (core::current.deadline <= sched::now_ns())
          throw timeout{"the task waited here until its deadline"};
        wire::reader in{bytes->bytes()};
        wire::invocation call{in, out, nullptr, stop.get_token()};
        wire::name_table::get()
          .find(wire::entry_kind::task, head.name)
          .invoke(call);
      });
    self->forget_task(head.call);
    self->end_serving();
  });
}

void session::forget_task(std::uint64_t call) {
  const std::lock_guard guard{tasks_mutex_};
  tasks_.erase(call);
}

} // namespace troupe::nodes

namespace troupe::detail {

void start_remote(void* object, const on_node& where,
                  const wire::entry& constructor,
                  const std::function<void(wire::writer&)>& arguments) {
  auto* c = constructing_cell();
  auto& n = where.where.checked();
  auto s = n.session();
  const auto number = s->spawn(c, constructor, arguments, n.limit_ns());
  auto* made = ::new (object) remote_object;
  link_object(*c, *made, std::move(s), number);
}

cell* lookup_cell(node_core& n, std::string_view name, const class_info& of) {
  return n.session()->lookup(name, of, n.limit_ns());
}

std::chrono::nanoseconds ping_node(node_core& n) {
  const auto began = sched::now_ns();
  n.session()->ping(n.limit_ns());
  return std::chrono::nanoseconds{sched::now_ns() - began};
}

} // namespace troupe::detail
