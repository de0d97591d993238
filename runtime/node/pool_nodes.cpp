// SPDX-License-Identifier: MIT
// The nodes of a node_pool: come, asked, lost.
#include "node/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "sched/worker.hpp"
#include "troupe/fn.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

namespace {

constexpr std::size_t gone_max = 100;
// After it would not say how many workers it has.
constexpr std::int64_t ask_again_ns = 100'000'000;

// Runs at the node.
std::uint64_t workers_here() {
  return current.home == nullptr ? 1 : current.home->settings().workers;
}

const wire::entry& workers_question() {
  return wire::task_entry<fn_t<&workers_here>>();
}

} // namespace

void node_pool_core::add(const node& n) {
  auto& core = n.checked();
  {
    section locked{*this};
    if (closed_)
      std::rethrow_exception(why_closed());
    if (auto* p = find(core)) {
      p->leaving = false;
      dispatch(locked.out); // its session is no news to us
    } else {
      auto made = std::make_unique<place>();
      made->number = ++last_place_;
      made->node = n.core();
      made->workers = workers_each_;
      places_.push_back(std::move(made));
    }
  }
  core.watch(self());
}

void node_pool_core::remove(const node& n) {
  const std::lock_guard guard{mutex_};
  if (auto* p = find(n.checked())) {
    p->leaving = true;
    forget_if_done(*p);
    note_change();
  }
}

void node_pool_core::came_up(node_core& n, std::shared_ptr<nodes::session> s) {
  section locked{*this};
  auto& out = locked.out;
  auto* p = find(n);
  if (p == nullptr || p->session == s || stopped_ || !s->add_sender(self()))
    return;
  p->session = std::move(s);
  p->ready = workers_each_ != 0;
  p->rest_until = 0;
  if (!p->ready)
    ask_for_workers(*p);
  dispatch(out);
}

void node_pool_core::ask_for_workers(place& p) {
  p.asks_at = INT64_MAX;
  try {
    p.setup = p.session->send_task(self(), {.name = workers_question().id()},
                                   {});
  } catch (const error& e) {
    log().warn("node_pool: node {}: {}", p.node->address(), e.what());
  }
}

void node_pool_core::take_workers(place& p, const wire::frame_header& head,
                                  std::span<const std::byte> payload) {
  p.setup = 0;
  if ((head.flags & nodes::flag_unbegun) != 0) { // it is busy, or leaves
    p.asks_at = after(sched::now_ns(), ask_again_ns);
    tick_by(p.asks_at);
    return;
  }
  std::uint64_t n = 1;
  try {
    if (head.kind != wire::frame_kind::result)
      throw decode_error{"it does not say how many workers it has"};
    wire::reader in{payload};
    wire::decode(in, n);
    in.finish();
  } catch (const std::exception& e) {
    log().warn("node_pool: node {}: {}; it gets one task at a time",
               p.node->address(), e.what());
  }
  p.workers = std::clamp<std::size_t>(n, 1, workers_most);
  p.ready = true;
}

void node_pool_core::ask_again(std::int64_t now) {
  for (auto& p : places_)
    if (p->asks_at > now) {
      tick_by(p->asks_at);
    } else {
      p->asks_at = INT64_MAX;
      if (p->session != nullptr && !p->session->is_leaving())
        ask_for_workers(*p);
    }
}

void node_pool_core::went_for_good(node_core& n,
                                   const std::exception_ptr& why) {
  const std::lock_guard guard{mutex_};
  auto* p = find(n);
  if (p == nullptr)
    return;
  p->leaving = true; // its session, if any, ends by itself
  last_loss_ = why;
  forget_if_done(*p);
  note_change();
}

void node_pool_core::on_end(nodes::session& from,
                            const std::exception_ptr& why) {
  section locked{*this};
  auto& out = locked.out;
  auto* p = find(from);
  if (p == nullptr)
    return;
  p->session = nullptr;
  p->ready = false;
  p->setup = 0;
  p->asks_at = INT64_MAX;
  last_loss_ = why;
  std::vector<remote_task*> victims;
  for (auto& [call, t] : std::exchange(p->calls, {}))
    if (t != nullptr)
      victims.push_back(t);
  if (!victims.empty() && !stopped_)
    log().warn("node_pool: {} tasks are lost with node {}: {}", victims.size(),
               p->node->address(), text_of(why));
  // Those that go back into the queue: in their order.
  std::sort(victims.begin(), victims.end(),
            [](auto* a, auto* b) { return a->call > b->call; });
  for (auto* t : victims)
    lose(*p, *t, why, out);
  forget_if_done(*p);
  note_change();
  dispatch(out);
}

// Its attempt is over: tried again, or failed.
void node_pool_core::lose(place& p, remote_task& t,
                          const std::exception_ptr& why, verdicts& out) {
  --running_;
  ++p.lost;
  ++counts_.lost;
  t.lost_with.push_back(p.node->address());
  t.where = static_cast<std::uint8_t>(task_place::over);
  const auto attempts = t.lost_with.size();
  const auto name = plain_name(t.entry.name());
  if (stopped_) {
    ++counts_.failed;
    out.push_back({&t, why_closed()});
  } else if (t.is_ended) {
    ++counts_.failed;
    out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                         "{} was cancelled while it ran at node {}, which was "
                         "lost",
                         name, p.node->address())})});
  } else if (t.is_idempotent
             && attempts <= static_cast<std::size_t>(options_.retries)) {
    ++counts_.retried;
    queue_.push(t, true);
  } else {
    ++counts_.failed;
    out.push_back({&t, std::make_exception_ptr(node_lost{fmt::format(
                         "{}: lost with node {}, attempt {}: {}", name,
                         p.node->address(), attempts, text_of(why))})});
  }
}

void node_pool_core::forget_if_done(place& p) {
  if (!p.leaving || !p.calls.empty())
    return;
  gone_.push_back(load_of(p));
  gone_.back().is_gone = true;
  if (gone_.size() > gone_max)
    gone_.pop_front();
  std::erase_if(places_, [&p](auto& x) { return x.get() == &p; });
}

bool node_pool_core::is_alone() const {
  return std::none_of(places_.begin(), places_.end(), [](auto& p) {
    return p->session != nullptr && !p->leaving;
  });
}

// A node has gone, perhaps the last one.
void node_pool_core::note_change() {
  if (is_alone()) {
    alone_since_ = sched::now_ns();
    if (!queue_.empty())
      tick_by(after(alone_since_, options_.patience.ns()));
  }
  changed_.notify_all();
}

} // namespace troupe::detail
