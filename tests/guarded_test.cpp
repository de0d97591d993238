// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE guarded
#include "support/fixture.hpp"

#include <vector>

#include "troupe/guarded.hpp"

namespace {

using namespace std::chrono_literals;
using test::live_system;

class adder {
public:
  explicit adder(troupe::guarded<std::vector<int>> list) : list_(list) {}

  troupe::task<int> add(int from, int to) {
    for (int i = from; i < to; ++i)
      co_await list_.with([i](auto& v) { v.push_back(i); });
    co_return to - from;
  }

private:
  troupe::guarded<std::vector<int>> list_;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  live_system live;
  troupe::guarded<std::vector<int>> list{live.sys};
  list.with([](auto& v) { v.push_back(3); }).get();
  BOOST_TEST(list.with([](auto& v) { return v.size(); }).get() == 1u);
  BOOST_TEST(list.copy().get() == std::vector<int>{3});
}

BOOST_AUTO_TEST_CASE(it_is_made_from_arguments) {
  live_system live;
  troupe::guarded<std::string> text{live.sys, 3, 'x'};
  BOOST_TEST(text.copy().get() == "xxx");
}

BOOST_AUTO_TEST_CASE(what_goes_in_comes_out_under_any_interleaving) {
  live_system live;
  troupe::guarded<std::vector<int>> list{live.sys};
  constexpr int threads = 4, each = 2000;
  std::atomic<int> removed{0};
  std::vector<std::thread> all;
  for (int t = 0; t < threads; ++t)
    all.emplace_back([=] {
      for (int i = 0; i < each; ++i)
        list.with([i](auto& v) { v.push_back(i); }).get();
    });
  for (int t = 0; t < threads; ++t)
    all.emplace_back([&removed, list] {
      for (int i = 0; i < each; ++i)
        removed += list
                     .with([](auto& v) {
                       if (v.empty())
                         return 0;
                       v.pop_back();
                       return 1;
                     })
                     .get();
    });
  for (auto& t : all)
    t.join();
  auto left = list.with([](auto& v) { return v.size(); }).get();
  BOOST_TEST(left + static_cast<std::size_t>(removed) == threads * each);
}

BOOST_AUTO_TEST_CASE(actors_wait_for_it_with_co_await) {
  live_system live;
  troupe::guarded<std::vector<int>> list{live.sys};
  auto a = live.sys.spawn<adder>(list), b = live.sys.spawn<adder>(list);
  auto fa = a.ask<&adder::add>(0, 500), fb = b.ask<&adder::add>(500, 1000);
  BOOST_TEST(fa.get() + fb.get() == 1000);
  BOOST_TEST(list.copy().get().size() == 1000u);
}

BOOST_AUTO_TEST_CASE(a_function_that_throws_fails_only_itself) {
  live_system live;
  troupe::guarded<int> n{live.sys, 1};
  auto bad = n.with([](int& i) -> int {
    i = 7;
    throw std::out_of_range{"no"};
  });
  BOOST_CHECK_THROW(bad.get(), std::out_of_range);
  BOOST_TEST(n.copy().get() == 7);
}

BOOST_AUTO_TEST_CASE(posts_are_in_order_with_the_other_calls) {
  live_system live;
  troupe::guarded<int> n{live.sys, 0};
  for (int i = 0; i < 1000; ++i)
    n.post([](int& k) { ++k; });
  BOOST_TEST(n.copy().get() == 1000);
}

BOOST_AUTO_TEST_CASE(with_after_close_is_an_error) {
  live_system live;
  troupe::guarded<int> n{live.sys, 0};
  n.close().get();
  n.close().get();
  BOOST_CHECK_THROW(n.copy().get(), troupe::closed);
}

BOOST_AUTO_TEST_CASE(waiting_for_itself_inside_is_a_named_deadlock) {
  live_system live;
  troupe::guarded<int> n{live.sys, 0};
  auto inside = n.with([n](int&) { return n.copy().get(); });
  BOOST_CHECK_THROW(inside.get(), troupe::deadlock);
}

BOOST_AUTO_TEST_CASE(a_deadline_of_its_own) {
  live_system live;
  troupe::guarded<int> n{live.sys, 0};
  std::atomic<bool> go{false};
  n.post([&](int&) {
    while (!go)
      std::this_thread::yield();
  });
  BOOST_CHECK_THROW(n.within(5ms).copy().get(), troupe::timeout);
  go = true;
  BOOST_TEST(n.copy().get() == 0);
}
