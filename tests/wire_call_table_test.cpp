// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_call_table
#include "support/allocations.hpp"
#include "support/seed.hpp"

#include "wire/call_table.hpp"

#include <boost/test/unit_test.hpp>

#include <map>
#include <set>
#include <vector>

using troupe::detail::plain_state;
using troupe::wire::call_table;

namespace {

using state = plain_state<void>;

} // namespace

BOOST_AUTO_TEST_CASE(gives_a_call_back_once) {
  state s;
  call_table table;
  const auto number = table.open({&s, nullptr});
  BOOST_TEST(number == 1u);
  BOOST_TEST(table.size() == 1u);
  BOOST_TEST(table.find(s) == number);
  BOOST_TEST(table.close(number).state == &s);
  BOOST_TEST(table.close(number).state == nullptr);
  BOOST_TEST(table.size() == 0u);
  BOOST_TEST(table.find(s) == 0u);
}

BOOST_AUTO_TEST_CASE(a_number_from_nowhere_finds_nothing) {
  state s;
  call_table table;
  const auto number = table.open({&s, nullptr});
  for (const std::uint64_t bad :
       {std::uint64_t{0}, number + 1, number | std::uint64_t{1} << 24,
        number | std::uint64_t{1} << 63, std::uint64_t{call_table::size_max},
        std::uint64_t{1} << 24, ~std::uint64_t{0}})
    BOOST_TEST(table.close(bad).state == nullptr, bad);
  BOOST_TEST(table.close(number).state == &s);
}

BOOST_AUTO_TEST_CASE(one_after_another_takes_no_memory) {
  state s;
  call_table table;
  table.close(table.open({&s, nullptr}));
  test::allocations.reset();
  for (int i = 0; i < 10'000; ++i)
    table.close(table.open({&s, nullptr}));
  BOOST_TEST(test::allocations.calls == 0u);
}

BOOST_AUTO_TEST_CASE(does_what_a_map_does) {
  TEST_WITH_SEED() {
    test::random_source random;
    std::vector<state> states(10'000); // more than an empty table keeps
    call_table table;
    std::map<std::uint64_t, state*> model;
    std::set<std::uint64_t> all;
    std::vector<state*> unused;
    for (auto& s : states)
      unused.push_back(&s);
    for (int round = 0; round < 30; ++round) {
      const auto most = random.chance(30) ? states.size()
                                          : 1 + random.below(20);
      for (int step = 0; step < 20'000; ++step) {
        if (!unused.empty() && model.size() < most && random.chance(60)) {
          auto* s = unused.back();
          unused.pop_back();
          const auto number = table.open({s, nullptr});
          BOOST_TEST_REQUIRE(all.insert(number).second); // never one twice
          model.emplace(number, s);
        } else if (!model.empty()) {
          auto i = model.lower_bound(random() % (all.size() << 24));
          if (i == model.end())
            i = model.begin();
          BOOST_TEST_REQUIRE(table.close(i->first).state == i->second);
          BOOST_TEST_REQUIRE(table.close(i->first).state == nullptr);
          unused.push_back(i->second);
          model.erase(i);
        }
        BOOST_TEST_REQUIRE(table.size() == model.size());
      }
      if (!model.empty()) {
        const auto& [number, s] = *model.begin();
        BOOST_TEST(table.find(*s) == number);
      }
      if (random.chance(50)) {
        std::multiset<state*> left, expected;
        for (auto& c : table.close_all())
          left.insert(static_cast<state*>(c.state));
        for (auto& [number, s] : model) {
          expected.insert(s);
          unused.push_back(s);
        }
        BOOST_TEST((left == expected));
        model.clear();
      } else { // one by one, so that a large one is let go
        for (auto& [number, s] : model) {
          BOOST_TEST_REQUIRE(table.close(number).state == s);
          unused.push_back(s);
        }
        model.clear();
      }
    }
  }
}
