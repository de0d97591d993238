// SPDX-License-Identifier: MIT
// troupe-bench-mutex: threads that share by std::mutex and condition variables.

#include "measure.hpp"
#include "run_one.hpp"
#include "sizes.hpp"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

namespace {

using namespace bench;

figures guarded_counter(const setting&) {
  constexpr auto each = counter_increments / counter_sharers;
  std::mutex mutex;
  volatile std::int64_t value = 0; // each increment is a load and a store
  std::vector<std::thread> all;
  stopwatch watch;
  for (int i = 0; i < counter_sharers; ++i)
    all.emplace_back([&] {
      for (int k = 0; k < each; ++k) {
        std::lock_guard lock{mutex};
        value = value + 1;
      }
    });
  for (auto& t : all)
    t.join();
  auto ns = watch.ns_per(counter_increments);
  expect("the count", std::int64_t{value}, std::int64_t{counter_increments});
  return {{"guarded_counter", ns}};
}

double share_section(int steps) {
  auto each = section_calls(steps) / counter_sharers;
  std::mutex mutex;
  std::uint64_t value = 1;
  std::vector<std::thread> all;
  stopwatch watch;
  for (int i = 0; i < counter_sharers; ++i)
    all.emplace_back([&] {
      for (int k = 0; k < each; ++k) {
        std::lock_guard lock{mutex};
        value = work(value, steps);
      }
    });
  for (auto& t : all)
    t.join();
  auto ns = watch.ns_per(each * counter_sharers);
  expect("the chain", value, work(1, each * counter_sharers * steps));
  return ns;
}

// Both of our rows stand beside this one.
figures section(const setting&) {
  figures found;
  for (auto steps : section_steps)
    found[section_row(steps)] = found[section_row(steps) + "_waited"] =
      share_section(steps);
  return found;
}

class locked_queue {
public:
  void put(int x) {
    std::unique_lock lock{mutex_};
    has_room_.wait(lock, [this] { return items_.size() < queue_capacity; });
    items_.push_back(x);
    lock.unlock();
    has_items_.notify_one();
  }

  bool take(int& x) {
    std::unique_lock lock{mutex_};
    has_items_.wait(lock, [this] { return !items_.empty() || is_closed_; });
    if (items_.empty())
      return false;
    x = items_.front();
    items_.pop_front();
    lock.unlock();
    has_room_.notify_one();
    return true;
  }

  void close() {
    std::lock_guard lock{mutex_};
    is_closed_ = true;
    has_items_.notify_all();
  }

private:
  std::mutex mutex_;
  std::condition_variable has_items_, has_room_;
  std::deque<int> items_;
  bool is_closed_ = false;
};

figures queue(const setting&) {
  locked_queue q;
  std::vector<std::thread> in, out;
  std::vector<std::int64_t> sums(queue_sides);
  stopwatch watch;
  for (int i = 0; i < queue_sides; ++i) {
    out.emplace_back([&q, &result = sums[static_cast<std::size_t>(i)]] {
      std::int64_t sum = 0;
      for (int x = 0; q.take(x);)
        sum += x;
      result = sum;
    });
    in.emplace_back([&q, i] {
      for (int x = i; x < queue_items; x += queue_sides)
        q.put(x);
    });
  }
  for (auto& t : in)
    t.join();
  q.close();
  for (auto& t : out)
    t.join();
  auto ns = watch.ns_per(queue_items);
  std::int64_t sum = 0;
  for (auto s : sums)
    sum += s;
  expect("the sum", sum, std::int64_t{queue_items} * (queue_items - 1) / 2);
  return {{"queue", ns}};
}

} // namespace

int main(int argc, char** argv) {
  static constexpr entry entries[] = {{"guarded_counter", guarded_counter},
                                      {"section", section},
                                      {"queue", queue}};
  return run_one(entries, argc, argv);
}
