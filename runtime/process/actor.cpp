// SPDX-License-Identifier: MIT
// actor: an actor in a process of its own, as its parent sees it: the child
// process, and the conversation with it.
#include "core/log.hpp"
#include "core/remote.hpp"
#include "core/runtime.hpp"
#include "process/host.hpp"
#include "wire/peer.hpp"

#include <csignal>

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
      class_name_(std::move(class_name)) {}

  void start(const in_process& where) {
    auto self = std::static_pointer_cast<actor_process>(shared_from_this());
    host_.add(self);
    auto started = host_.start(
      self, {.memory_bytes = static_cast<std::int64_t>(where.memory_max_bytes),
             .cpu_seconds = where.cpu_time_max.count(),
             .open_files = where.open_files_max,
             .nice = where.nice});
    const std::lock_guard guard{mutex_};
    child_ = std::move(started);
  }

  /// The stand-in came to nothing.
  void give_up() {
    if (auto c = worker())
      c->condemn("its constructor failed", SIGKILL);
  }

  // -- peer -------------------------------------------------------------------

  void stop(std::uint64_t target, bool kill) noexcept override {
    peer::stop(target, kill);
    if (kill && target == 1)
      end_within(grace_ns_);
  }

  void forget(std::uint64_t target) noexcept override {
    peer::forget(target);
    if (target == 1)
      end_within(end_limit_ns);
  }

  void look(detail::state_base& s) noexcept override {
    if (auto c = worker())
      c->pump_until(sched::now_ns() + look_ns, [&s] { return s.is_settled(); });
  }

  // -- child_owner ------------------------------------------------------------

  void on_frame(child&, const wire::frame_header& head,
                std::span<const std::byte> payload, incoming& road) override {
    if (head.kind != wire::frame_kind::hello)
      receive(head, payload, road);
  }
  void on_pumped(child&) override {}

  void on_end(child&, certificate why) override {
    why.task = class_name_;
    why.attempt = 1;
    {
      const std::lock_guard guard{mutex_};
      child_.reset(); // each holds the other
    }
    if (why.exit_code == 0 && why.reason.empty())
      closed(std::make_exception_ptr(
        actor_stopped{class_name_ + ": its process has ended"}));
    else
      closed(std::make_exception_ptr(worker_died{std::move(why)}));
    host_.remove(this);
  }

  std::int64_t tick(std::int64_t now) override {
    const auto due = end_by_.load();
    if (due == 0)
      return INT64_MAX;
    if (now < due)
      return due;
    end_by_.store(0);
    if (auto c = worker())
      c->condemn("it did not end when told to", SIGKILL);
    return INT64_MAX;
  }
  bool is_idle() override { return !has_open_calls(); }
  void on_stop() override {
    if (auto c = worker())
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
    if (auto c = worker())
      c->send(header, payload, &road);
  }
  bool has_room() override {
    auto c = worker();
    return c == nullptr || c->backlog_bytes() < backlog_bytes_max;
  }
  std::string name() const override { return "process of " + class_name_; }

private:
  std::shared_ptr<child> worker() {
    const std::lock_guard guard{mutex_};
    return child_;
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
  const std::int64_t grace_ns_;
  const std::string class_name_;
  std::mutex mutex_;
  std::shared_ptr<child> child_; // under mutex_
  std::atomic<std::int64_t> end_by_{0};
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
