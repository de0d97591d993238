// SPDX-License-Identifier: MIT
// actor: an actor in a process of its own, as its parent sees it: the child
// process, and the conversation with it.
#include "core/log.hpp"
#include "core/remote.hpp"
#include "core/runtime.hpp"
#include "process/host.hpp"
#include "wire/block.hpp"
#include "wire/peer.hpp"

#include <fmt/format.h>

#include <csignal>
#include <deque>

namespace troupe::process {

namespace {

constexpr std::int64_t look_ns = 100'000;
constexpr std::int64_t end_limit_ns = 5'000'000'000;
constexpr std::size_t backlog_bytes_max = std::size_t{64} << 20;
constexpr std::chrono::seconds birth_limit{30};

class actor_process final : public wire::peer, public child_owner {
public:
  actor_process(detail::runtime& rt, const in_process& where,
                std::string class_name)
    : peer(rt),
      host_(host::of(rt)),
      grace_ns_(where.grace.count()),
      heartbeat_ns_(where.heartbeat.count()),
      class_name_(std::move(class_name)) {}

  void start(const in_process& where) {
    auto self = std::static_pointer_cast<actor_process>(shared_from_this());
    host_.add(self);
    try {
      child_ = host_.start(self, {.memory_bytes = static_cast<std::int64_t>(
                                    where.memory_max_bytes),
                                  .cpu_seconds = where.cpu_time_max.count(),
                                  .open_files = where.open_files_max,
                                  .nice = where.nice});
    } catch (...) {
      host_.remove(this);
      throw;
    }
    worker_.store(child_.get(), std::memory_order_release);
  }

  /// The stand-in came to nothing.
  void give_up() {
    if (auto* c = worker())
      c->condemn("its constructor failed", SIGKILL);
  }

  // -- peer -------------------------------------------------------------------

  void stop(std::uint64_t target, bool kill) noexcept override {
    peer::stop(target, kill);
    if (kill && target == 1)
      end_within(grace_ns_);
  }

  // The last handle here has gone; one may be on its way again.
  void forget(std::uint64_t target) noexcept override {
    peer::forget(target);
    if (target != 1)
      return;
    const auto now = sched::now_ns();
    forgotten_at_.store(now);
    host_.tick_by(now + end_limit_ns);
  }

  void look(detail::state_base& s) noexcept override {
    auto* c = worker();
    if (c == nullptr)
      return;
    const detail::upkeep_scope upkeep{runtime_.scheduler()};
    c->pump_until(sched::now_ns() + look_ns, [&s] { return s.is_settled(); });
  }

  // -- child_owner ------------------------------------------------------------

  void on_frame(child&, const wire::frame_header& head,
                std::span<const std::byte> payload, incoming& road) override {
    if (head.kind == wire::frame_kind::credit)
      take_back_loan();
    else if (head.kind != wire::frame_kind::hello)
      receive(head, payload, road);
  }
  void on_pumped(child&) override { pumps_.fetch_add(1); }

  void on_end(child&, certificate why) override {
    why.task = class_name_;
    why.attempt = 1;
    if (why.exit_code == 0 && why.reason.empty())
      closed(std::make_exception_ptr(
        actor_stopped{class_name_ + ": its process has ended"}));
    else
      closed(std::make_exception_ptr(worker_died{std::move(why)}));
    {
      const std::lock_guard guard{lent_mutex_};
      lent_.clear();
      lent_bytes_ = 0;
    }
    host_.remove(this);
  }

  std::int64_t tick(std::int64_t now) override {
    return std::min(look_at_end(now), look_at_heartbeat(now));
  }
  bool is_idle() override { return !has_open_calls(); }
  void on_stop() override {
    if (auto* c = worker())
      c->condemn("the system has stopped", SIGKILL);
    closed(std::make_exception_ptr(
      actor_stopped{class_name_ + ": the system has stopped"}));
  }

protected:
  void transmit(const wire::frame_header& head,
                std::span<const std::byte> payload,
                wire::attachments& road) override {
    auto header = head;
    header.attachments = static_cast<std::uint32_t>(road.attached.size());
    auto* c = worker();
    if (c == nullptr)
      return;
    c->send(header, payload, &road);
    if (head.kind == wire::frame_kind::call && heartbeat_ns_ > 0)
      host_.tick_by(sched::coarse_now_ns() + heartbeat_ns_ / 2);
  }

  // Large arguments stay where they were encoded until the other side has read
  // them. One thread at a time, so that they come back in the order they went.
  void transmit_buffer(const wire::frame_header& head, wire::buffer payload,
                       wire::attachments& road) override {
    auto header = head;
    const auto size = payload.size();
    if (size < attached_bytes_min || worker() == nullptr) {
      transmit(header, payload.bytes(), road);
      return;
    }
    const std::lock_guard guard{lent_mutex_};
    if (!attach_bytes(payload, road)) {
      transmit(header, payload.bytes(), road);
      return;
    }
    header.flags |= attached_payload;
    lent_.push_back(road.attached.back());
    lent_bytes_ += size;
    try {
      transmit(header, payload.bytes(), road);
    } catch (...) {
      lent_.pop_back();
      lent_bytes_ -= size;
      throw;
    }
    host_.tick_by(sched::now_ns() + wire::idle_ns); // blocks are looked after
  }

  bool has_room() override {
    const auto* c = worker();
    return c == nullptr
           || c->backlog_bytes() + lent_bytes_.load() < backlog_bytes_max;
  }
  std::string name() const override { return "process of " + class_name_; }

private:
  // Null before it was started. Valid as long as we are: an ended child has let
  // go of us.
  child* worker() const noexcept {
    return worker_.load(std::memory_order_acquire);
  }
  void take_back_loan() {
    std::shared_ptr<const wire::segment> back; // outlives the lock
    const std::lock_guard guard{lent_mutex_};
    if (lent_.empty())
      throw decode_error{"a loan came back that nobody gave"};
    back = std::move(lent_.front());
    lent_.pop_front();
    lent_bytes_ -= back->size_bytes();
  }

  std::int64_t look_at_end(std::int64_t now) {
    auto due = end_by_.load();
    if (due == 0)
      due = INT64_MAX;
    if (const auto at = forgotten_at_.load(); at != 0)
      due = std::min(due,
                     has_imports() ? now + end_limit_ns : at + end_limit_ns);
    if (now < due)
      return due;
    end_by_.store(0);
    forgotten_at_.store(0);
    if (auto* c = worker())
      c->condemn("it did not end when told to", SIGKILL);
    return INT64_MAX;
  }

  // Its watcher answers pings, whatever the actor does.
  std::int64_t look_at_heartbeat(std::int64_t now) {
    auto* c = worker();
    if (heartbeat_ns_ <= 0 || c == nullptr || c->has_ended()
        || (!has_open_calls() && !c->has_backlog())) {
      heard_ = 0;
      return INT64_MAX;
    }
    auto limit = heartbeat_ns_;
    if (c->pid() == 0) // it is being started
      limit = std::max<std::int64_t>(
        limit, std::chrono::nanoseconds{birth_limit}.count());
    const auto pumps = pumps_.load();
    const auto answered = pongs_ != pings_ && c->last_pong() == pings_;
    if (answered)
      pongs_ = pings_; // each counts once
    if (std::exchange(seen_pumps_, pumps) != pumps || answered || heard_ == 0)
      heard_ = pinged_at_ = now;
    // One ping at a time: half of the patience is for its answer, however late
    // we come to look.
    if (now - heard_ < limit / 2)
      return heard_ + limit / 2;
    if (pongs_ == pings_) {
      c->ping(++pings_);
      pinged_at_ = now;
    } else if (now - pinged_at_ >= limit / 2) {
      c->condemn(fmt::format("no sign of life for {} ms (was it stopped?)",
                             limit / 1'000'000),
                 SIGKILL);
      heard_ = now; // once is enough
    } else {
      c->ping(pings_); // the same: the first may not have found room
    }
    return now + limit / 8;
  }

  void end_within(std::int64_t ns) {
    const auto due = sched::now_ns() + ns;
    auto now = end_by_.load();
    while (now == 0 || due < now)
      if (end_by_.compare_exchange_weak(now, due)) {
        host_.tick_by(due);
        return;
      }
  }

  host& host_;
  const std::int64_t grace_ns_, heartbeat_ns_;
  const std::string class_name_;
  std::shared_ptr<child> child_; // set once, by `start`
  std::atomic<child*> worker_{nullptr};
  std::atomic<std::int64_t> end_by_{0};       // by force
  std::atomic<std::int64_t> forgotten_at_{0}; // 0: it has not been

  std::mutex lent_mutex_;
  std::deque<std::shared_ptr<const wire::segment>> lent_; // under lent_mutex_
  std::atomic<std::size_t> lent_bytes_{0};                // likewise written

  std::atomic<std::uint64_t> pumps_{0};
  // Of the host's thread:
  std::uint64_t pings_ = 0, pongs_ = 0, seen_pumps_ = 0;
  std::int64_t pinged_at_ = 0;
  std::int64_t heard_ = 0; // when it last showed a sign; 0: it owes nothing
};

} // namespace

} // namespace troupe::process

namespace troupe::detail {

void start_remote(void* object, const in_process& where,
                  const wire::entry& constructor,
                  const std::function<void(wire::writer&)>& arguments) {
  auto* c = constructing_cell();
  auto& rt = *c->home().rt;
  auto p = std::make_shared<process::actor_process>(rt, where,
                                                    plain_name(c->info().name));
  p->adopt_import(1, c);
  p->start(where);
  const state_ptr<state<void>> s{new plain_state<void>};
  try {
    p->send_spawn(constructor, arguments, *s);
    future<void>{s}.get_for(process::birth_limit);
  } catch (...) {
    p->give_up();
    throw;
  }
  auto* made = ::new (object) remote_object;
  link_object(*c, *made, std::move(p), 1);
}

} // namespace troupe::detail
