// SPDX-License-Identifier: MIT
// The explorer itself: what the memory model allows it finds, what the model
// forbids it does not (litmus tests by their usual names).
#define BOOST_TEST_MODULE explore
#include <boost/test/unit_test.hpp>

#include "support/model.hpp"

namespace {

using namespace test;
using namespace test::model;
using order = std::memory_order;

void require(bool holds, const char* what) {
  explorer::now().require(holds, what);
}

// Two threads, two atomics and what they have read.
struct two {
  model::atomic<int> x{0}, y{0};
  int a = -1, b = -1;
  std::vector<std::function<void()>> threads;
};

template <order Store, order Load, bool Fence>
struct store_buffering : two {
  store_buffering() {
    threads = {[this] {
                 x.store(1, Store);
                 if (Fence)
                   model::atomics::fence(order::seq_cst);
                 a = y.load(Load);
               },
               [this] {
                 y.store(1, Store);
                 if (Fence)
                   model::atomics::fence(order::seq_cst);
                 b = x.load(Load);
               }};
  }
  void at_end() { require(a != 0 || b != 0, "neither saw the other"); }
};

template <order Store, order Load>
struct message_passing : two {
  var<int> data{0};
  message_passing() {
    threads = {[this] {
                 data.write() = 1;
                 x.store(1, Store);
               },
               [this] {
                 if (x.load(Load) == 1)
                   require(data.read() == 1, "an old value");
               }};
  }
  void at_end() {}
};

// A thread that fences by membarrier for both.
struct asymmetric : two {
  asymmetric() {
    threads = {[this] {
                 x.store(1, order::relaxed);
                 a = y.load(order::relaxed);
               },
               [this] {
                 y.store(1, order::relaxed);
                 model::atomics::fence_all();
                 b = x.load(order::relaxed);
               }};
  }
  void at_end() { require(a != 0 || b != 0, "neither saw the other"); }
};

struct counting : two {
  counting() {
    auto add = [this] { x.fetch_add(1, order::relaxed); };
    threads = {add, add, add};
  }
  void at_end() { require(x.load() == 3, "an increment is lost"); }
};

struct sleeping : two {
  model::atomic<std::uint32_t> word{0};
  sleeping() {
    threads = {[this] {
                 while (word.load(order::acquire) == 0)
                   futex_wait(word, 0);
               },
               [this] {
                 word.store(1, order::release);
                 futex_wake(word);
               }};
  }
  void at_end() {}
};

struct never_woken : two {
  model::atomic<std::uint32_t> word{0};
  never_woken() {
    threads = {[this] { futex_wait(word, 0); },
               [this] { word.store(1, order::release); }};
  }
  void at_end() {}
};

// Two readers that disagree about the order of two independent writes.
template <order O>
struct disagreement {
  model::atomic<int> x{0}, y{0};
  int a = 0, b = 0, c = 0, d = 0;
  std::vector<std::function<void()>> threads{
    [this] { x.store(1, O == order::acquire ? order::release : O); },
    [this] { y.store(1, O == order::acquire ? order::release : O); },
    [this] {
      a = x.load(O);
      b = y.load(O);
    },
    [this] {
      c = y.load(O);
      d = x.load(O);
    }};
  void at_end() {
    require(!(a == 1 && b == 0 && c == 1 && d == 0), "they disagree");
  }
};

template <class World>
bool finds(mutation m = {}) {
  return !explore<World>(m).fault.empty();
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  const auto r = explore<counting>();
  BOOST_TEST(r.fault == "");
  BOOST_TEST(r.ended == 6u); // 3!
}

BOOST_AUTO_TEST_SUITE(the_explorer)

BOOST_AUTO_TEST_CASE(finds_stores_that_are_buffered) {
  constexpr auto sc = order::seq_cst, rlx = order::relaxed;
  BOOST_TEST((finds<store_buffering<rlx, rlx, false>>()));
  BOOST_TEST((finds<store_buffering<order::release, order::acquire, false>>()));
  BOOST_TEST((!finds<store_buffering<sc, sc, false>>()));
  BOOST_TEST((!finds<store_buffering<rlx, rlx, true>>()));
  BOOST_TEST(
    (finds<store_buffering<sc, sc, false>>({mutation::no_sc, op::load, -1})));
  BOOST_TEST((
    finds<store_buffering<rlx, rlx, true>>({mutation::forget, op::fence, -1})));
}

BOOST_AUTO_TEST_CASE(finds_data_that_is_not_passed_on) {
  BOOST_TEST((finds<message_passing<order::relaxed, order::acquire>>()));
  BOOST_TEST((finds<message_passing<order::release, order::relaxed>>()));
  BOOST_TEST((!finds<message_passing<order::release, order::acquire>>()));
}

BOOST_AUTO_TEST_CASE(finds_readers_that_disagree) {
  BOOST_TEST((finds<disagreement<order::acquire>>()));
  BOOST_TEST((!finds<disagreement<order::seq_cst>>()));
}

BOOST_AUTO_TEST_CASE(knows_a_fence_for_all_threads) {
  BOOST_TEST(!finds<asymmetric>());
  BOOST_TEST(finds<asymmetric>({mutation::forget, op::fence, -1}));
}

BOOST_AUTO_TEST_CASE(finds_a_torn_increment) {
  BOOST_TEST(finds<counting>({mutation::tear, op::rmw, -1}));
}

BOOST_AUTO_TEST_CASE(finds_a_sleeper_that_nobody_wakes) {
  BOOST_TEST(!finds<sleeping>());
  BOOST_TEST(finds<never_woken>());
}

BOOST_AUTO_TEST_SUITE_END()
