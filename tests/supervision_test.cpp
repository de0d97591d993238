// SPDX-License-Identifier: MIT
// The decisions of a supervisor on fake time: no actors, no threads.
#define BOOST_TEST_MODULE supervision
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <ostream>

#include "troupe/supervision.hpp"

using namespace std::chrono_literals;
using troupe::exit_kind;
using troupe::restart_kind;
using troupe::strategy_kind;
using troupe::supervision;
using decision = supervision::decision;
using indices = std::vector<std::size_t>;

namespace {

const supervision::time_point start{};

supervision make(strategy_kind s, std::size_t intensity = 3) {
  return {s, intensity, 5s, {}};
}

constexpr strategy_kind strategies[] = {
  troupe::one_for_one, troupe::one_for_all, troupe::rest_for_one};
constexpr restart_kind kinds[] = {troupe::permanent, troupe::transient,
                                  troupe::temporary};
constexpr exit_kind exits[] = {exit_kind::normal, exit_kind::failed,
                               exit_kind::killed};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  auto s = make(troupe::one_for_one);
  std::vector<supervision::child_state> one{{troupe::permanent, false}};
  auto d = s.on_exit(0, exit_kind::failed, start, 0.5, one);
  BOOST_TEST(d.action == decision::restart);
  BOOST_TEST(d.start == indices{0});
  BOOST_TEST(d.stop.empty());
  BOOST_TEST(d.delay.count() == 0);
}

BOOST_AUTO_TEST_SUITE(what_follows_an_end)

// Strategy x kind x exit x which of three children, the other two permanent and
// running, or one of them temporary, or one of them down.
BOOST_AUTO_TEST_CASE(the_grid) {
  int cells = 0;
  for (auto strategy : strategies)
    for (auto kind : kinds)
      for (auto how : exits)
        for (std::size_t which = 0; which < 3; ++which)
          for (int variant = 0; variant < 3; ++variant) {
            std::vector<supervision::child_state> all(
              3, {troupe::permanent, true});
            auto other = (which + 1) % 3;
            if (variant == 1)
              all[other].kind = troupe::temporary;
            if (variant == 2)
              all[other].is_running = false;
            all[which] = {kind, false};
            auto s = make(strategy);
            auto d = s.on_exit(which, how, start, 0.5, all);
            ++cells;
            BOOST_TEST_CONTEXT("strategy " << int(strategy) << " kind "
                                           << int(kind) << " exit " << int(how)
                                           << " child " << which << " variant "
                                           << variant) {
              if (kind == troupe::temporary) {
                BOOST_TEST(d.action == decision::forget);
                BOOST_TEST((d.stop.empty() && d.start.empty()));
                continue;
              }
              if (kind == troupe::transient && how == exit_kind::normal) {
                BOOST_TEST(d.action == decision::nothing);
                BOOST_TEST((d.stop.empty() && d.start.empty()));
                continue;
              }
              BOOST_TEST(d.action == decision::restart);
              indices stop, begin;
              for (std::size_t i = 0; i < 3; ++i) {
                auto is_hit = i == which || strategy == troupe::one_for_all
                              || (strategy == troupe::rest_for_one
                                  && i > which);
                if (!is_hit)
                  continue;
                if (i != which && all[i].is_running)
                  stop.insert(stop.begin(), i);
                if (all[i].kind != troupe::temporary)
                  begin.push_back(i);
              }
              BOOST_TEST(d.stop == stop);
              BOOST_TEST(d.start == begin);
            }
          }
  BOOST_TEST(cells == 3 * 3 * 3 * 3 * 3);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(intensity)

BOOST_AUTO_TEST_CASE(one_restart_too_many_in_a_period_gives_up) {
  for (auto strategy : strategies) {
    auto s = make(strategy, 2);
    std::vector<supervision::child_state> all{{troupe::permanent, true},
                                              {troupe::permanent, false},
                                              {troupe::temporary, true}};
    for (int i = 0; i < 2; ++i)
      BOOST_TEST(
        s.on_exit(1, exit_kind::failed, start + i * 1s, 0.5, all).action
        == decision::restart);
    auto d = s.on_exit(1, exit_kind::failed, start + 2s, 0.5, all);
    BOOST_TEST(d.action == decision::give_up);
    BOOST_TEST(d.stop == (indices{2, 0}));
    BOOST_TEST(d.start.empty());
  }
}

BOOST_AUTO_TEST_CASE(what_is_older_than_the_period_is_forgotten) {
  auto s = make(troupe::one_for_one, 1);
  std::vector<supervision::child_state> all{{troupe::permanent, false}};
  for (int i = 0; i < 100; ++i)
    BOOST_TEST(
      s.on_exit(0, exit_kind::failed, start + i * 5001ms, 0.5, all).action
      == decision::restart);
  BOOST_TEST(
    s.on_exit(0, exit_kind::failed, start + 99 * 5001ms + 5s, 0.5, all).action
    == decision::give_up);
}

BOOST_AUTO_TEST_CASE(of_0_gives_up_at_once) {
  auto s = make(troupe::one_for_one, 0);
  std::vector<supervision::child_state> all{{troupe::permanent, false}};
  BOOST_TEST(s.on_exit(0, exit_kind::killed, start, 0.5, all).action
             == decision::give_up);
}

BOOST_AUTO_TEST_CASE(normal_ends_of_transient_children_do_not_count) {
  auto s = make(troupe::one_for_one, 1);
  std::vector<supervision::child_state> all{{troupe::transient, false}};
  for (int i = 0; i < 10; ++i)
    BOOST_TEST(s.on_exit(0, exit_kind::normal, start, 0.5, all).action
               == decision::nothing);
  BOOST_TEST(s.restarts_in_period(start) == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
BOOST_AUTO_TEST_SUITE(backoff)

BOOST_AUTO_TEST_CASE(grows_from_the_second_restart_to_its_maximum) {
  supervision s{troupe::one_for_one,
                100,
                5s,
                {.first = 10ms, .max = 50ms, .factor = 2, .jitter = 0}};
  std::vector<supervision::child_state> all{{troupe::permanent, false}};
  for (auto expected : {0ms, 10ms, 20ms, 40ms, 50ms, 50ms})
    BOOST_TEST(
      (s.on_exit(0, exit_kind::failed, start, 0.9, all).delay == expected));
}

BOOST_AUTO_TEST_CASE(of_0_stays_0_however_often) {
  supervision s{
    troupe::one_for_one, 5000, 5s, {.first = 0ms, .max = 1s, .jitter = 0.2}};
  std::vector<supervision::child_state> all{{troupe::permanent, false}};
  for (int i = 0; i < 2000; ++i)
    BOOST_TEST_REQUIRE(
      (s.on_exit(0, exit_kind::failed, start, 0.9, all).delay == 0ms));
}

BOOST_AUTO_TEST_CASE(jitter_stays_in_its_range) {
  for (double random : {0.0, 0.5, 1.0}) {
    supervision s{
      troupe::one_for_one, 100, 5s, {.first = 100ms, .jitter = 0.2}};
    std::vector<supervision::child_state> all{{troupe::permanent, false}};
    (void)s.on_exit(0, exit_kind::failed, start, random, all);
    auto d = s.on_exit(0, exit_kind::failed, start, random, all);
    BOOST_TEST((d.delay >= 80ms && d.delay <= 120ms));
  }
}

BOOST_AUTO_TEST_SUITE_END()
