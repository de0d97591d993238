// SPDX-License-Identifier: MIT
// tasks: what the ledgers of the pools share whose tasks travel
// (process/pool.hpp, node/pool.hpp): queues of them, and how they end.
#pragma once

#include "troupe/detail/remote_task.hpp"

#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <vector>

namespace troupe::detail {

enum class task_place : std::uint8_t { queued, sent, over };

/// A list of tasks by their own links; doesn't own them.
class task_list {
public:
  [[nodiscard]] bool empty() const noexcept { return first_ == nullptr; }
  [[nodiscard]] remote_task* front() const noexcept { return first_; }
  void push_back(remote_task& t) noexcept;
  void push_front(remote_task& t) noexcept;
  void erase(remote_task& t) noexcept;

private:
  remote_task* first_ = nullptr;
  remote_task* last_ = nullptr;
};

/// Those that wait: higher priorities first, equal ones in order.
class task_queue {
public:
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  /// Requires: not empty.
  [[nodiscard]] remote_task& front() noexcept;
  /// Behind its equals, or before them.
  void push(remote_task& t, bool front);
  void erase(remote_task& t);
  /// `f(task)` for all, in order. `f` changes nothing here.
  template <class F>
  void for_each(F f) {
    for (auto& [priority, list] : lists_)
      for (auto* t = list.front(); t != nullptr; t = t->next)
        f(*t);
  }

private:
  std::map<int, task_list, std::greater<>> lists_;
  std::size_t size_ = 0;
};

/// How a task ends, to be done once the pool's lock is free: futures are not
/// settled under it. Holds a reference to its task, and gives it back.
/// One that is given up may still be read where it runs: its arguments stay.
enum class fate : std::uint8_t { cancelled, failed, given_up, settled_before };
struct verdict {
  remote_task* task;
  std::exception_ptr error;
  fate what = error ? fate::failed : fate::cancelled;
};
using verdicts = std::vector<verdict>;

/// Empties `q` of what will not run: with `why`, what has not settled fails,
/// counted in `failed`; for the rest `drop(task)` finds the verdict.
template <class Drop>
void fail_all(task_queue& q, const std::exception_ptr& why,
              std::uint64_t& failed, verdicts& out, Drop drop) {
  while (!q.empty()) {
    auto& t = q.front();
    q.erase(t);
    t.where = static_cast<std::uint8_t>(task_place::over);
    if (why && !t.state().is_settled()) {
      ++failed;
      out.push_back({&t, why});
    } else {
      drop(t);
    }
  }
}

/// Options of pools. Errors: bad_argument, with value and range.
[[noreturn]] void refuse_option(const char* pool, const char* what,
                                std::int64_t value, const char* range);
/// `automatic` for auto_size. Range: 1..most.
std::size_t checked_pool_size(const char* pool, std::ptrdiff_t n,
                              std::size_t automatic, std::size_t most,
                              const char* what);

/// Empties it.
void settle(verdicts& out) noexcept;

} // namespace troupe::detail
