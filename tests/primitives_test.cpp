// SPDX-License-Identifier: MIT
// Random operations over all primitives, beside std containers that do the
// same. TROUPE_OPERATIONS sets how many (10'000'000 for the long run).
#define BOOST_TEST_MODULE primitives
#include "support/fixture.hpp"
#include "support/seed.hpp"

#include <deque>
#include <random>

#include "troupe/troupe.hpp"

namespace {

using test::live_system;

long operations() {
  const char* given = std::getenv("TROUPE_OPERATIONS");
  return given == nullptr ? 100'000 : std::atol(given);
}

// 30 s for 100,000; as much for each million more.
std::chrono::seconds limit() {
  return std::chrono::seconds{30 + 30 * operations() / 1'000'000};
}

// Has each primitive for itself, so that the model says exactly what comes.
class player : public troupe::actor {
public:
  explicit player(std::uint64_t seed)
    : random_(seed),
      queue_(system(), {.capacity = 8, .redeliver_max = 1000}),
      semaphore_(system(), {.permits = 5}),
      event_(system()),
      list_(system()),
      pipe_(system(), {.capacity = 4}),
      topic_(system()) {}

  /// Returns where the model and the primitive differed; empty when nowhere.
  troupe::task<std::string> play(long n) {
    subscription_ = co_await topic_.subscribe({.buffer = 4});
    for (long i = 0; i < n && wrong_.empty(); ++i) {
      switch (random_() % 12) {
        case 0:
        case 1:
        case 2:
          co_await on_queue();
          break;
        case 3:
        case 4:
          co_await on_batches();
          break;
        case 5:
        case 6:
          co_await on_semaphore();
          break;
        case 7:
          co_await on_event();
          break;
        case 8:
        case 9:
          co_await on_list();
          break;
        case 10:
          co_await on_pipe();
          break;
        default:
          co_await on_topic();
      }
    }
    co_return wrong_;
  }

private:
  void expect(bool is_right, const char* what) {
    if (!is_right && wrong_.empty())
      wrong_ = what;
  }

  troupe::task<> on_queue() {
    int x = static_cast<int>(random_() % 1000);
    if (random_() % 2 == 0) {
      bool is_in = co_await queue_.try_put(x);
      expect(is_in == (queue_model_.size() < 8), "queue::try_put");
      if (is_in)
        queue_model_.push_back(x);
    } else {
      auto item = co_await queue_.try_take();
      expect(item.has_value() == !queue_model_.empty(), "queue::try_take");
      if (!item || queue_model_.empty())
        co_return;
      expect(**item == queue_model_.front(), "the order of a queue");
      if (random_() % 3 == 0)
        item->give_back();
      else
        queue_model_.pop_front();
    }
  }

  troupe::task<> on_batches() {
    auto k = 1 + random_() % 4;
    if (queue_model_.empty()) {
      std::vector<int> many;
      for (std::size_t i = 0; i < k; ++i)
        many.push_back(static_cast<int>(random_() % 1000));
      queue_model_.insert(queue_model_.end(), many.begin(), many.end());
      co_await queue_.put_all(std::move(many));
      co_return;
    }
    auto some = co_await queue_.take_some(k);
    expect(some.size() == std::min(queue_model_.size(), k), "queue::take_some");
    auto stop_after = random_() % (k + 1); // the rest goes back
    while (stop_after-- > 0) {
      auto* x = some.next();
      if (x == nullptr)
        break;
      expect(*x == queue_model_.front(), "the order of a batch");
      queue_model_.pop_front();
    }
  }

  troupe::task<> on_semaphore() {
    if (!leases_.empty() && random_() % 2 == 0) {
      auto at = random_() % leases_.size();
      free_ += leases_[at].permits();
      leases_[at] = std::move(leases_.back());
      leases_.pop_back();
    } else {
      auto n = 1 + random_() % 5;
      auto lease = co_await semaphore_.try_acquire(n);
      expect(lease.has_value() == (n <= free_), "semaphore::try_acquire");
      if (lease) {
        free_ -= n;
        leases_.push_back(std::move(*lease));
      }
    }
    auto available = co_await semaphore_.available();
    expect(available == free_, "semaphore::available");
  }

  troupe::task<> on_event() {
    is_set_ = random_() % 2 == 0;
    if (is_set_) {
      (void)co_await event_.set();
      co_await event_.wait();
    } else {
      co_await event_.clear();
    }
    bool is_set = co_await event_.is_set();
    expect(is_set == is_set_, "event::is_set");
  }

  troupe::task<> on_list() {
    int x = static_cast<int>(random_() % 1000);
    std::size_t size = 0;
    if (list_model_.size() < 50 && random_() % 2 == 0) {
      list_model_.push_back(x);
      size = co_await list_.with([x](auto& v) {
        v.push_back(x);
        return v.size();
      });
    } else if (!list_model_.empty()) {
      auto last = list_model_.back();
      list_model_.pop_back();
      list_.post([](auto& v) { v.pop_back(); });
      size = co_await list_.with([](auto& v) { return v.size(); });
      expect(last >= 0, "the list's model");
    }
    expect(size == list_model_.size() || list_model_.empty(), "guarded::with");
  }

  troupe::task<> on_pipe() {
    int x = static_cast<int>(random_() % 1000);
    if (random_() % 2 == 0) {
      bool is_in = co_await pipe_.first.try_send(x);
      expect(is_in == (pipe_model_.size() < 4), "pipe::try_send");
      if (is_in)
        pipe_model_.push_back(x);
    } else if (!pipe_model_.empty()) {
      auto y = co_await pipe_.second.receive();
      expect(y && *y == pipe_model_.front(), "pipe::receive");
      pipe_model_.pop_front();
    }
  }

  troupe::task<> on_topic() {
    int x = static_cast<int>(random_() % 1000);
    if (random_() % 2 == 0) {
      (void)co_await topic_.publish(x);
      topic_model_.push_back(x);
      if (topic_model_.size() > 4)
        topic_model_.pop_front(); // drop_oldest
    } else if (!topic_model_.empty()) {
      auto y = co_await subscription_.next();
      expect(y && *y == topic_model_.front(), "subscription::next");
      topic_model_.pop_front();
    }
  }

  std::mt19937_64 random_;
  std::string wrong_;
  troupe::queue<int> queue_;
  std::deque<int> queue_model_;
  troupe::semaphore semaphore_;
  std::size_t free_ = 5;
  std::vector<troupe::lease> leases_;
  troupe::event event_;
  bool is_set_ = false;
  troupe::guarded<std::vector<int>> list_;
  std::vector<int> list_model_;
  troupe::pipe<int> pipe_;
  std::deque<int> pipe_model_;
  troupe::topic<int> topic_;
  troupe::subscription<int> subscription_;
  std::deque<int> topic_model_;
};

struct tally {
  long put = 0, taken = 0, sum_put = 0, sum_taken = 0;
};

// Shares one queue and one semaphore with others; gives up, throws, cancels.
class rival {
public:
  rival(std::uint64_t seed, troupe::queue<int> q, troupe::semaphore s,
        std::atomic<int>* inside)
    : random_(seed),
      queue_(q),
      semaphore_(s),
      inside_(inside) {}

  troupe::task<tally> play(long n) {
    tally t;
    for (long i = 0; i < n; ++i) {
      switch (random_() % 5) {
        case 0:
        case 1: {
          int x = static_cast<int>(random_() % 1000);
          bool is_in = co_await queue_.try_put(x);
          t.put += is_in ? 1 : 0;
          t.sum_put += is_in ? x : 0;
          break;
        }
        case 2: {
          try {
            auto item = co_await queue_.try_take();
            if (!item)
              break;
            if (random_() % 4 == 0)
              throw std::runtime_error{"the item goes back"};
            ++t.taken;
            t.sum_taken += **item;
          } catch (const std::runtime_error&) {}
          break;
        }
        case 3: {
          auto gone = queue_.take(); // may be served before it is cancelled
          (void)gone.cancel();
          break;
        }
        default: {
          auto mine = co_await semaphore_.acquire(1 + random_() % 2);
          if (*inside_ += static_cast<int>(mine.permits()); *inside_ > 3)
            ++t.put; // shows as a difference
          *inside_ -= static_cast<int>(mine.permits());
        }
      }
    }
    co_return t;
  }

private:
  std::mt19937_64 random_;
  troupe::queue<int> queue_;
  troupe::semaphore semaphore_;
  std::atomic<int>* inside_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  auto p = live.sys.spawn<player>(test::seed());
  TEST_WITH_SEED() {
    BOOST_TEST(p.ask<&player::play>(100).get() == "");
  }
}

BOOST_AUTO_TEST_SUITE(random_operations)

BOOST_AUTO_TEST_CASE(each_does_what_the_std_container_does) {
  live_system live{{.workers = 2}, limit()};
  constexpr int players = 4;
  std::vector<troupe::future<std::string>> all;
  for (int i = 0; i < players; ++i)
    all.push_back(live.sys.spawn<player>(test::seed() + i)
                    .within(troupe::no_deadline)
                    .ask<&player::play>(operations() / players));
  TEST_WITH_SEED() {
    for (auto& f : all)
      BOOST_TEST(f.get() == "");
  }
}

BOOST_AUTO_TEST_CASE(rivals_lose_and_invent_nothing) {
  live_system live{{.workers = 2}, limit()};
  constexpr int rivals = 6;
  troupe::queue<int> q{live.sys, {.capacity = 32, .redeliver_max = 1'000'000}};
  troupe::semaphore s{live.sys, {.permits = 3}};
  std::atomic<int> inside{0};
  std::vector<troupe::future<tally>> all;
  for (int i = 0; i < rivals; ++i)
    all.push_back(live.sys.spawn<rival>(test::seed() + i, q, s, &inside)
                    .within(troupe::no_deadline)
                    .ask<&rival::play>(operations() / 4 / rivals));
  tally t;
  for (auto& f : all) {
    auto one = f.get();
    t.put += one.put;
    t.taken += one.taken;
    t.sum_put += one.sum_put;
    t.sum_taken += one.sum_taken;
  }
  q.close().get();
  while (auto item = q.take().get()) {
    ++t.taken;
    t.sum_taken += **item;
  }
  q.join().get();
  TEST_WITH_SEED() {
    BOOST_TEST(t.put == t.taken);
    BOOST_TEST(t.sum_put == t.sum_taken);
    BOOST_TEST(s.available().get() == 3u);
  }
}

BOOST_AUTO_TEST_SUITE_END()
