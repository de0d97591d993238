// SPDX-License-Identifier: MIT
// What another node says, from noise: each question is answered once, each of
// our tasks settles, and nothing is left when the node has gone.
//
//   a record of the input: kind and flags | call | name | length, the bytes of
//   the payload; as a frame, if it is one that may come. A call from 128 on is
//   one of the tasks that the pool has sent.
#include "fuzz/live.hpp"

#include "node/host.hpp"
#include "node/session.hpp"
#include "troupe/fn.hpp"
#include "troupe/node_pool.hpp"
#include "troupe/system.hpp"
#include "wire/failure.hpp"

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace troupe;
using namespace std::chrono_literals;
using wire::frame_header;
using wire::frame_kind;

constexpr unsigned flag_of_task = 128;
constexpr std::uint64_t task_bit = std::uint64_t{1} << 63;

std::atomic<int> clerks{0};

class clerk {
public:
  clerk() { ++clerks; }
  explicit clerk(const std::string& name) : name_(name) {
    if (name.empty())
      throw bad_argument{"a clerk without a name"};
    ++clerks;
  }
  clerk(const clerk&) = delete;
  clerk& operator=(const clerk&) = delete;
  ~clerk() { --clerks; }

  unsigned file(unsigned n) { return total_ += n; }

private:
  std::string name_;
  unsigned total_ = 0;
};

std::string twice(const std::string& text) {
  return text + text;
}
unsigned sum(const std::vector<unsigned>& all) {
  unsigned n = 0;
  for (const auto x : all)
    n += x;
  return n;
}
void refuse() {
  throw std::runtime_error{"no"};
}

wire::entry_id name_of(frame_kind kind, unsigned n) {
  using message = detail::ask_message<detail::body_of<clerk, &clerk::file>>;
  static const wire::entry_id tasks[] = {
    wire::task_entry<fn_t<&twice>, std::string>().id(),
    wire::task_entry<fn_t<&sum>, std::vector<unsigned>>().id(),
    wire::task_entry<fn_t<&refuse>>().id(),
    message::table.remote->entry().id(),
  };
  static const wire::entry_id makers[] = {
    wire::entry_of<wire::actor_thunk<clerk, detail::actor_maker>>().id(),
    wire::entry_of<wire::actor_thunk<clerk, detail::actor_maker, std::string>>()
      .id(),
  };
  if (n >= 250)
    return n;
  return kind == frame_kind::spawn ? makers[n % std::size(makers)]
                                   : tasks[n % std::size(tasks)];
}

/// Where answers and tasks of ours go.
class ear final : public nodes::connection {
public:
  void begin(std::shared_ptr<nodes::connection_owner>,
             std::vector<nodes::tcp::endpoint>, std::string) override {}
  void send(const frame_header& head,
            std::span<const std::byte> payload) override {
    if (head.kind == frame_kind::error) {
      wire::reader in{payload};
      wire::failure record;
      wire::decode(in, record);
      in.finish();
    }
    const std::lock_guard guard{mutex_};
    if (head.kind == frame_kind::result || head.kind == frame_kind::error)
      ++answers_;
    if (head.kind == frame_kind::call)
      sent_.push_back(head.call);
  }
  void send(const frame_header& head, wire::buffer payload) override {
    send(head, payload.bytes());
  }
  std::size_t backlog_bytes() const override { return 0; }
  void close(std::string, bool) override {}
  void abandon(std::exception_ptr) override {}
  std::string peer_address() const override { return "noise:1"; }
  void flush() override {}

  std::size_t answers() {
    const std::lock_guard guard{mutex_};
    return answers_;
  }
  std::uint64_t task(unsigned n) {
    const std::lock_guard guard{mutex_};
    return n < sent_.size() ? sent_[n] : task_bit | n;
  }

private:
  std::mutex mutex_;
  std::size_t answers_ = 0;
  std::vector<std::uint64_t> sent_;
};

/// A node that is up from the first, and then is not.
class place final : public detail::node_core {
public:
  explicit place(std::shared_ptr<nodes::session> s) : session_(std::move(s)) {}

  std::shared_ptr<nodes::session> session() override { return session_; }
  std::int64_t limit_ns() const override { return 1'000'000'000; }
  const std::string& address() const override { return address_; }
  std::string key() const override { return {}; }
  bool await_up(std::int64_t) override { return true; }
  void close() override {}
  void watch(std::weak_ptr<detail::node_watcher> w) override {
    watcher_ = std::move(w);
    if (auto alive = watcher_.lock())
      alive->came_up(*this, session_);
  }
  void came_up(std::shared_ptr<nodes::session>) override {}
  void went_down(std::exception_ptr) override {}

  void goes(const std::exception_ptr& why) {
    session_->on_end(why);
    if (auto alive = watcher_.lock())
      alive->went_for_good(*this, why);
    session_ = nullptr;
  }

private:
  std::shared_ptr<nodes::session> session_;
  std::weak_ptr<detail::node_watcher> watcher_;
  const std::string address_ = "noise:1";
};

/// The next record as a frame; false at the end.
bool next(ear& e, std::span<const std::byte>& bytes, frame_header& head,
          std::span<const std::byte>& payload) {
  if (bytes.size() < 4)
    return false;
  const auto get = [&](std::size_t i) {
    return std::to_integer<unsigned>(bytes[i]);
  };
  const auto op = get(0);
  const auto number = get(1);
  head = {.kind = static_cast<frame_kind>(op & 15),
          .flags = static_cast<std::uint16_t>(op >> 4 & 1),
          .call = number < flag_of_task ? number
                                        : e.task(number - flag_of_task),
          .target = op >> 5 & 1};
  if (head.kind == frame_kind::call || head.kind == frame_kind::spawn
      || head.kind == frame_kind::tell)
    head.name = name_of(head.kind, get(2));
  if ((op & 64) != 0)
    head.deadline_us = get(2);
  const auto size = std::min<std::size_t>(get(3), bytes.size() - 4);
  payload = bytes.subspan(4, size);
  bytes = bytes.subspan(4 + size);
  head.payload_bytes = size;
  return true;
}

/// Hands the frames on as a connection does; how many questions were among
/// them.
std::size_t hand_on(nodes::session& s, ear& e,
                    std::span<const std::byte> bytes) {
  std::size_t questions = 0;
  frame_header head;
  std::span<const std::byte> payload;
  while (next(e, bytes, head, payload)) {
    std::byte raw[frame_header::size_bytes];
    wire::store_header(raw, head);
    try {
      head = wire::load_header(raw);
    } catch (const decode_error&) {
      continue; // the connection's to refuse; frame_fuzz.cpp has those
    }
    try {
      s.on_frame(head, payload);
      if (head.kind == frame_kind::call || head.kind == frame_kind::spawn
          || head.kind == frame_kind::notice)
        ++questions;
    } catch (const decode_error&) {
      break; // the connection is over
    }
  }
  return questions;
}

} // namespace

FUZZ(kind, bytes) {
  auto& sys = fuzz::home();
  auto& h = nodes::host::of(sys.runtime());
  auto mine = sys.spawn<clerk>();
  h.publish("clerk", mine.get());
  auto s = std::make_shared<nodes::session>(h,
                                            std::weak_ptr<detail::node_core>{});
  const std::weak_ptr<nodes::session> watched{s};
  auto road = std::make_shared<ear>();
  s->start(road);
  s->export_actor(mine.get());
  auto there = std::make_shared<place>(s);
  {
    node_pool pool{sys,
                   {.nodes = {node{there}},
                    .workers = (kind & 1) != 0 ? auto_size : 2,
                    .patience = 1ms}};
    auto text = pool.submit(fn<&twice>, std::string{"x"});
    auto number = pool.submit(idempotent(fn<&sum>),
                              std::vector<unsigned>{1, 2});
    auto nothing = pool.submit(fn<&refuse>);
    if ((kind & 2) != 0)
      static_cast<void>(nothing.cancel());
    const auto questions = hand_on(*s, *road, bytes);
    FUZZ_CHECK(fuzz::comes_true([&] { return road->answers() >= questions; }));
    FUZZ_CHECK(fuzz::comes_true([&] { return !s->is_busy(); }));
    FUZZ_CHECK(road->answers() == questions);
    there->goes(std::make_exception_ptr(node_lost{"the noise is over"}));
    FUZZ_CHECK(fuzz::comes_true(
      [&] { return text.ready() && number.ready() && nothing.ready(); }));
    FUZZ_CHECK(s->exported() == 0);
  }
  there.reset();
  s.reset();
  FUZZ_CHECK(h.unpublish("clerk"));
  mine = {};
  FUZZ_CHECK(fuzz::comes_true([&] { return watched.expired(); }));
  FUZZ_CHECK(fuzz::comes_true([&] { return clerks.load() == 0; }));
}
