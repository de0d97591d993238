// SPDX-License-Identifier: MIT
#include "wire/tasks.hpp"

#include "troupe/error.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace troupe::detail {

// -- lists --------------------------------------------------------------------

void task_list::push_back(remote_task& t) noexcept {
  t.next = nullptr;
  t.previous = last_;
  (last_ == nullptr ? first_ : last_->next) = &t;
  last_ = &t;
}

void task_list::push_front(remote_task& t) noexcept {
  t.previous = nullptr;
  t.next = first_;
  (first_ == nullptr ? last_ : first_->previous) = &t;
  first_ = &t;
}

void task_list::erase(remote_task& t) noexcept {
  (t.previous == nullptr ? first_ : t.previous->next) = t.next;
  (t.next == nullptr ? last_ : t.next->previous) = t.previous;
  t.next = t.previous = nullptr;
}

remote_task& task_queue::front() noexcept {
  auto i = lists_.begin();
  while (i->second.empty())
    ++i;
  return *i->second.front();
}

void task_queue::push(remote_task& t, bool front) {
  auto& list = lists_[t.priority];
  t.where = static_cast<std::uint8_t>(task_place::queued);
  if (front)
    list.push_front(t);
  else
    list.push_back(t);
  ++size_;
}

void task_queue::erase(remote_task& t) {
  auto i = lists_.find(t.priority);
  i->second.erase(t);
  if (i->second.empty() && lists_.size() > 1)
    lists_.erase(i);
  --size_;
}

// -- ends ---------------------------------------------------------------------

void settle(verdicts& out) noexcept {
  for (auto& v : out) {
    auto& s = v.task->state();
    if (v.what != fate::given_up)
      v.task->let_go();
    if (v.what == fate::failed || v.what == fate::given_up)
      s.fail(std::move(v.error));
    else if (v.what == fate::cancelled && s.begin_settle())
      s.finish(phase::cancelled);
    s.release();
  }
  out.clear();
}

void settle_undecodable(state_base& s) noexcept {
  s.fail(std::current_exception());
}

void refuse_option(const char* pool, const char* what, std::int64_t value,
                   const char* range) {
  throw bad_argument{
    fmt::format("{}: {} is {}, the range is {}", pool, what, value, range)};
}

std::size_t checked_pool_size(const char* pool, std::ptrdiff_t n,
                              std::size_t automatic, std::size_t most,
                              const char* what) {
  if (n == auto_size)
    return std::min(automatic, most);
  if (n < 1 || static_cast<std::size_t>(n) > most)
    refuse_option(pool, what, n, fmt::format("1..{}", most).c_str());
  return static_cast<std::size_t>(n);
}

std::int64_t checked_task_limit(time_limit limit) {
  if (limit.ns() != time_limit::none && limit.ns() <= 0)
    throw bad_argument{fmt::format(
      "a task's deadline is {} ns, the range is above 0", limit.ns())};
  return limit.ns();
}

} // namespace troupe::detail
