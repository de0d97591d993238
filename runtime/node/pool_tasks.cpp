// SPDX-License-Identifier: MIT
// Tasks of a node_pool that were sent: answered, taken back, given up.
#include "node/pool.hpp"

#include "sched/clock.hpp"
#include "sched/worker.hpp"
#include "wire/failure.hpp"

#include <fmt/format.h>

namespace troupe::detail {

namespace {

// After a refusal.
constexpr std::int64_t rest_ns = 10'000'000;

} // namespace

void node_pool_core::on_answer(nodes::session& from,
                               const wire::frame_header& head,
                               std::span<const std::byte> payload) {
  auto* t = take_answer(from, head, payload);
  if (t == nullptr)
    return;
  t->let_go();
  wire::reader in{payload};
  if (head.kind == wire::frame_kind::error) {
    try {
      wire::failure record;
      wire::decode(in, record);
      auto error = wire::rebuild(record);
      t->state().fail(error ? error
                            : std::make_exception_ptr(
                                decode_error{"an error without a type"}));
    } catch (...) {
      t->state().fail(std::current_exception());
    }
  } else {
    t->decode(in);
  }
  const auto good = t->state().at.load() == phase::value;
  t->state().release();
  const std::lock_guard guard{mutex_};
  --running_;
  ++(good ? counts_.done : counts_.failed);
  if (is_drained())
    changed_.notify_all();
}

// The task that it settles, if any. Its worker gets the next one meanwhile.
remote_task* node_pool_core::take_answer(nodes::session& from,
                                         const wire::frame_header& head,
                                         std::span<const std::byte> payload) {
  section locked{*this};
  auto* p = find(from);
  if (p == nullptr)
    return nullptr;
  remote_task* t = nullptr;
  if (head.call == p->setup) {
    take_workers(*p, head, payload);
  } else if (auto i = p->calls.find(head.call); i != p->calls.end()) {
    t = i->second;
    p->calls.erase(i);
    if ((head.flags & nodes::flag_unbegun) != 0)
      take_back(*p, std::exchange(t, nullptr), locked.out);
    else
      ++p->answered;
    if (t != nullptr)
      t->where = static_cast<std::uint8_t>(task_place::over);
    forget_if_done(*p);
  }
  dispatch(locked.out);
  return t;
}

// The node has refused it, or found it cancelled, before it began.
void node_pool_core::take_back(place& p, remote_task* t, verdicts& out) {
  if (t == nullptr)
    return;
  --running_;
  if (t->is_ended) {
    drop(*t, out);
    return;
  }
  queue_.push(*t, true);
  p.rest_until = sched::now_ns() + rest_ns;
  tick_by(p.rest_until);
}

// -- giving up ----------------------------------------------------------------

// Cancelled, and at no node. One that waits for its next attempt has run
// before: it can't be called unbegun.
void node_pool_core::drop(remote_task& t, verdicts& out) {
  t.where = static_cast<std::uint8_t>(task_place::over);
  if (t.lost_with.empty()) {
    ++counts_.cancelled;
    out.push_back({&t, nullptr});
    return;
  }
  ++counts_.failed;
  out.push_back({&t, std::make_exception_ptr(cancelled{fmt::format(
                       "{} was cancelled before its next attempt; {} were lost "
                       "with their nodes",
                       plain_name(t.entry.name()), t.lost_with.size())})});
}

void node_pool_core::stop_task(remote_task& t) noexcept {
  section locked{*this};
  auto& out = locked.out;
  if (t.where == static_cast<std::uint8_t>(task_place::queued)) {
    queue_.erase(t);
    drop(t, out);
    changed_.notify_all();
  } else if (t.where == static_cast<std::uint8_t>(task_place::sent)) {
    auto* p = find(t.place);
    if (p != nullptr && p->session != nullptr
        && !std::exchange(t.is_ended, true))
      p->session->cancel_task(t.call);
  }
}

// Past their deadline: their futures fail; their nodes are asked to end them.
void node_pool_core::give_up_late(std::int64_t now, verdicts& out) {
  for (auto& p : places_)
    for (auto& [call, t] : p->calls) {
      if (t == nullptr || t->due == INT64_MAX)
        continue;
      if (t->due > now) {
        tick_by(t->due);
        continue;
      }
      --running_;
      ++counts_.failed;
      t->where = static_cast<std::uint8_t>(task_place::over);
      out.push_back(
        {t, std::make_exception_ptr(timeout{fmt::format(
              "{}: not done after {} ms at node {}, its deadline",
              plain_name(t->entry.name()),
              static_cast<double>(limit_of(*t)) / 1e6, p->node->address())})});
      t = nullptr;
      if (p->session != nullptr)
        p->session->cancel_task(call);
    }
}

void node_pool_core::fail_queue(const std::exception_ptr& why, verdicts& out) {
  fail_all(queue_, why, counts_.failed, out,
           [&](remote_task& t) { drop(t, out); });
  changed_.notify_all();
}

void node_pool_core::drop_cancelled(verdicts& out) {
  std::vector<remote_task*> dropped;
  queue_.for_each([&](remote_task& t) {
    if (t.state().is_settled())
      dropped.push_back(&t);
  });
  for (auto* t : dropped) {
    queue_.erase(*t);
    drop(*t, out);
  }
}

void node_pool_core::stop_running() {
  for (auto& p : places_)
    for (auto& [call, t] : p->calls)
      if (t != nullptr && p->session != nullptr
          && !std::exchange(t->is_ended, true))
        p->session->cancel_task(call);
}

} // namespace troupe::detail
