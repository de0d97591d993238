// SPDX-License-Identifier: MIT
// The timer thread's sleep in every order: a model whose steps name the
// functions that do them. Time stands still, and all that is added is due.
#define BOOST_TEST_MODULE model_timers
#include <boost/test/unit_test.hpp>

#include <vector>

#include "support/model.hpp"

namespace {

using namespace test;
using namespace test::model;
using order = std::memory_order;

enum class omit {
  nothing,
  never,   // run: sleeping_until_ says that it looks
  seen,    // run: the signal is read before the look
  telling, // add: wake
};

constexpr int now = 1, never = 100;

template <omit Omit = omit::nothing>
struct timer_world {
  struct part {
    model::mutex mutex;
    int nodes = 0; // under mutex
  };

  part parts[2];
  model::atomic<int> sleeping_until{0};
  model::atomic<std::uint32_t> signal{0};
  int fired = 0;
  std::vector<std::function<void()>> threads{
    [this] { run(); }, [this] { add(parts[0]); }, [this] { add(parts[1]); }};

  void add(part& p) {
    p.mutex.lock();
    ++p.nodes;
    const auto tells = now < sleeping_until.load(order::relaxed);
    p.mutex.unlock();
    if (tells && Omit != omit::telling) {
      signal.fetch_add(1);
      futex_wake(signal);
    }
  }

  void run() {
    for (;;) {
      auto seen = signal.load();
      if (Omit != omit::never)
        sleeping_until.store(never);
      for (auto& p : parts) {
        p.mutex.lock();
        fired += std::exchange(p.nodes, 0);
        p.mutex.unlock();
      }
      if (fired == 2)
        return;
      if (Omit == omit::seen)
        seen = signal.load();
      sleeping_until.store(never);
      futex_wait(signal, seen);
      sleeping_until.store(0);
    }
  }

  void at_end() { explorer::now().require(fired == 2, "a node has not fired"); }
};

template <omit Omit>
bool is_sound() {
  return explore<timer_world<Omit>>().fault.empty();
}

} // namespace

BOOST_AUTO_TEST_CASE(a_node_is_never_left_to_a_thread_that_sleeps) {
  const auto r = explore<timer_world<>>();
  BOOST_TEST_MESSAGE(r.ended << " orders, " << r.runs << " runs");
  BOOST_TEST(r.fault == "");
  BOOST_TEST(r.ended > 1u);
}

BOOST_AUTO_TEST_CASE(the_sleep_needs_its_steps) {
  BOOST_TEST(!is_sound<omit::never>());
  BOOST_TEST(!is_sound<omit::seen>());
  BOOST_TEST(!is_sound<omit::telling>());
}
