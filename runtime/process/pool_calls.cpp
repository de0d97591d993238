// SPDX-License-Identifier: MIT
// pool_calls: the calls at a worker: taken back, ended by force, answered.
#include "process/pool.hpp"

#include "core/log.hpp"
#include "sched/clock.hpp"
#include "wire/failure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

namespace troupe::detail {

namespace {

using process::window;

constexpr std::int64_t ms = 1'000'000;

std::exception_ptr read_error(std::span<const std::byte> payload,
                              process::incoming& road) {
  try {
    wire::reader in{payload, {}, &road};
    wire::failure record;
    wire::decode(in, record);
    return wire::rebuild(record);
  } catch (...) {
    return std::current_exception();
  }
}

} // namespace

// -- taking back --------------------------------------------------------------

bool process_core::take_back(place& p, std::uint64_t call) {
  auto& slot = p.calls[call % window];
  if (slot == nullptr || !p.worker->withdraw(call))
    return false;
  slot = nullptr;
  --p.live;
  --p.tasks;
  --running_;
  return true;
}

void process_core::take_back_behind(place& p, std::uint64_t call) {
  std::vector<remote_task*> taken;
  for (auto c = p.next; c-- > call + 1;) {
    auto* t = p.calls[c % window];
    if (t != nullptr && take_back(p, c))
      taken.push_back(t);
  }
  requeue(taken);
}

// `tasks` from the last to the first.
void process_core::requeue(std::vector<remote_task*>& tasks) {
  for (auto* t : tasks)
    queue_.push(*t, true);
}

// Whether a later call has begun: then this one is over, and its answer is
// there to be read.
bool process_core::has_passed(const place& p, std::uint64_t call) {
  for (auto c = call + 1; c < p.next; ++c)
    if ((p.calls[c % window] != nullptr || c == p.setup)
        && p.worker->has_begun(c))
      return true;
  return false;
}

// An idle worker gets half of what stands behind the longest line.
bool process_core::rebalance() {
  if (!queue_.empty())
    return false;
  const auto idle =
    std::any_of(places_.begin(), places_.end(),
                [this](auto& p) { return p->live == 0 && has_room(*p); });
  place* longest = nullptr;
  for (auto& p : places_)
    if (p->live >= 2 && (longest == nullptr || p->live > longest->live))
      longest = p.get();
  if (!idle || longest == nullptr)
    return false;
  auto most = longest->live / 2;
  std::vector<remote_task*> taken;
  for (auto c = longest->next; c-- > longest->first && taken.size() < most;) {
    auto* t = longest->calls[c % window];
    if (t == nullptr)
      continue;
    if (!take_back(*longest, c))
      break;
    taken.push_back(t);
  }
  requeue(taken);
  return !taken.empty();
}

void process_core::stop_task(remote_task& t) noexcept {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    if (t.is_given_up)
      return;
    if (t.where == static_cast<std::uint8_t>(task_place::queued)) {
      unqueue(t);
      drop(t, out);
    } else if (t.where == static_cast<std::uint8_t>(task_place::sent)) {
      auto i = std::find_if(places_.begin(), places_.end(),
                            [&](auto& p) { return p->number == t.place; });
      if (i == places_.end())
        return;
      auto& p = **i;
      if (take_back(p, t.call)) {
        drop(t, out);
        dispatch(out);
      } else if (!t.is_ended) {
        t.is_ended = true;
        begin_ending(p, t, "it was cancelled");
        dispatch(out);
      }
    }
  }
  settle(out);
}

// -- ending a call that runs --------------------------------------------------

void process_core::begin_ending(place& p, remote_task& t, std::string why) {
  if (p.ending != stage::none)
    return;
  take_back_behind(p, t.call);
  if (has_passed(p, t.call))
    return; // a signal would meet the next one
  p.ending = stage::asked;
  p.ending_call = t.call;
  p.why_ending = std::move(why);
  p.next_stage = sched::now_ns() + options_.grace.count();
  p.worker->ask_to_stop(t.call);
  host_.tick_by(p.next_stage);
}

void process_core::look_at_ending(place& p, std::int64_t now) {
  if (p.ending == stage::none || now < p.next_stage)
    return;
  p.next_stage = now + options_.grace.count();
  switch (p.ending) {
    case stage::asked:
      p.ending = stage::term;
      p.worker->condemn(p.why_ending, SIGTERM);
      break;
    case stage::term:
      p.ending = stage::abort;
      p.worker->condemn(p.why_ending, SIGABRT);
      break;
    default:
      p.ending = stage::kill;
      p.worker->condemn(p.why_ending, SIGKILL);
  }
}

remote_task* process_core::head_of(place& p) {
  while (p.first < p.next && p.calls[p.first % window] == nullptr
         && p.first != p.setup)
    ++p.first;
  return p.first < p.next ? p.calls[p.first % window] : nullptr;
}

// When `t`, the head, began; `now` if it has not. A worker tells once and is
// held to it, or it could put its deadline off for ever.
std::int64_t process_core::began(place& p, const remote_task& t,
                                 std::int64_t now) {
  if (p.known_call == t.call)
    return p.head_began;
  if (!p.worker->has_begun(t.call))
    return now;
  p.known_call = t.call;
  p.head_began = std::clamp(p.worker->began_at(), p.head_began,
                            std::max(p.head_began, now));
  return p.head_began;
}

void process_core::look_at_deadline(place& p, std::int64_t now, verdicts& out) {
  auto* t = head_of(p);
  if (t == nullptr || t->is_given_up || t->is_ended)
    return;
  const auto limit = deadline_of(*t);
  if (limit == INT64_MAX || now - p.head_began < limit
      || now - began(p, *t, now) < limit || has_passed(p, t->call))
    return;
  t->is_given_up = true;
  ++counts_.failed;
  t->state().retain(); // its answer may come before we get to settle it
  out.push_back(
    {t,
     std::make_exception_ptr(timeout{fmt::format(
       "{}: not done after {} ms, its deadline", plain_name(t->entry.name()),
       static_cast<double>(limit) / ms)}),
     fate::given_up});
  begin_ending(
    p, *t,
    fmt::format("its deadline of {} ms", static_cast<double>(limit) / ms));
}

// -- what workers say ---------------------------------------------------------

void process_core::on_frame(process::child& from,
                            const wire::frame_header& head,
                            std::span<const std::byte> payload,
                            process::incoming& road) {
  if (head.kind == wire::frame_kind::hello) {
    const std::lock_guard guard{mutex_};
    if (auto* p = find(from))
      p->greeted = true;
    return;
  }
  const auto is_error = head.kind == wire::frame_kind::error;
  if (!is_error && head.kind != wire::frame_kind::result)
    throw decode_error{
      fmt::format("a {} frame from a worker", wire::to_string(head.kind))};
  const auto got = take_answer(from, head);
  if (!got.is_setup && got.task == nullptr)
    return;
  auto error = is_error ? read_error(payload, road) : nullptr;
  if (got.is_setup) {
    end_setup(from, error);
    return;
  }
  auto* t = got.task;
  t->let_go();
  if (!got.is_settled) {
    if (is_error) {
      t->state().fail(error ? error
                            : std::make_exception_ptr(
                                decode_error{"an error without a type"}));
    } else {
      wire::reader in{payload, {}, &road};
      t->decode(in);
    }
  }
  const auto good = t->state().at.load() == phase::value;
  t->state().release();
  const std::lock_guard guard{mutex_};
  --running_;
  bad_starts_ = brakes_ = 0;
  if (!got.is_settled)
    ++(good ? counts_.done : counts_.failed);
}

// The call that it answers is over at its place.
process_core::answered
process_core::take_answer(const process::child& from,
                          const wire::frame_header& head) {
  const std::lock_guard guard{mutex_};
  auto* p = find(from);
  if (p == nullptr)
    return {};
  static_cast<void>(head_of(*p));
  answered got{.is_setup = head.call == p->setup};
  if (head.call != p->first || head.call >= p->next
      || !from.has_begun(head.call))
    throw decode_error{
      fmt::format("an answer to call {}; the one it owes is {}, {}begun",
                  head.call, p->first, from.has_begun(p->first) ? "" : "not ")};
  got.task = std::exchange(p->calls[head.call % window], nullptr);
  ++p->first;
  ++p->answers;
  p->served = true;
  p->head_began = 0;
  if (got.task != nullptr) {
    --p->live;
    got.task->where = static_cast<std::uint8_t>(task_place::over);
    got.is_settled = got.task->is_given_up;
  }
  if (p->ending != stage::none && p->ending_call == head.call) {
    // In time after all; but a signal may be under way to it.
    if (p->ending == stage::asked)
      p->ending = stage::none;
    else
      p->leaving = true;
  }
  return got;
}

// The initializer or the finalizer is through.
void process_core::end_setup(const process::child& from,
                             const std::exception_ptr& error) {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    auto* p = find(from);
    if (p != nullptr && !p->told_to_end) {
      if (error == nullptr) {
        p->ready = true;
        bad_starts_ = brakes_ = 0;
      } else {
        log().error("process_pool: the initializer failed: {}",
                    text_with_type(error));
        break_pool(
          std::make_exception_ptr(closed{
            "process_pool: its initializer failed: " + text_with_type(error)}),
          out);
      }
    } else if (error != nullptr) {
      log().error("process_pool: the finalizer failed: {}",
                  text_with_type(error));
    }
  }
  settle(out);
}

void process_core::on_pumped(process::child& from) {
  verdicts out;
  {
    const std::lock_guard guard{mutex_};
    auto* p = find(from);
    if (p == nullptr)
      return;
    const auto now = sched::now_ns();
    if (p->answers != 0) {
      const auto each = (now - p->last_answer)
                        / static_cast<std::int64_t>(p->answers);
      p->task_ns = std::max<std::int64_t>(
        1, p->task_ns == 0 ? each : (3 * p->task_ns + each) / 4);
      p->answers = 0;
    }
    p->last_answer = p->heard = now;
    if (p->head_began == 0)
      p->head_began = now;
    if (p->live == 0) {
      p->idle_since = now;
      if (!p->told_to_end && p->ending != stage::kill
          && (p->leaving || p->tasks >= p->tasks_max)) {
        if (!p->leaving)
          ++counts_.recycled;
        tell_to_end(*p, end_limit_ns);
        make_places(out);
      }
    }
    if (auto* t = head_of(*p); t != nullptr && deadline_of(*t) != INT64_MAX)
      host_.tick_by(now + deadline_of(*t));
    dispatch(out);
    if (rebalance())
      dispatch(out);
    if (!wants_spares_ && p->served && options_.spares > 0) {
      wants_spares_ = true;
      host_.tick_by(now + ms);
    }
  }
  settle(out);
}

} // namespace troupe::detail
