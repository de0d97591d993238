// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE steal_pace
#include <boost/test/unit_test.hpp>

#include "sched/steal_pace.hpp"

namespace {

using troupe::sched::steal_pace;
using verdict = steal_pace::verdict;

constexpr std::int64_t us = 1'000, ms = 1'000'000;

// What two workers would get done, per microsecond.
struct load {
  double alone, both;
  std::int64_t piece_ns = 3 * us; // what a stolen job keeps the thief busy for
  double thief_part = 0.5;        // of what both do
};

// A thief's time, without threads.
class simulation {
public:
  // Goes on for so long; the share of it in which the thief kept away.
  double run(const load& l, std::int64_t for_ns) {
    const auto begin = now_, end = now_ + for_ns;
    std::int64_t rested = 0;
    while (now_ < end) {
      if (pace_.is_resting()) {
        const auto rest = pace_.rests_until() - now_;
        rested += rest;
        pass(rest, 0, l.alone);
        last_ = pace_.rested(look());
      } else {
        const auto is_measured = pace_.measures(now_);
        if (is_measured)
          pace_.stole(look());
        pass(l.piece_ns, l.both * l.thief_part, l.both * (1 - l.thief_part));
        if (is_measured)
          last_ = pace_.ran_dry(look());
      }
      if (last_ == verdict::free && first_free_ == 0)
        first_free_ = now_;
      if (last_ == verdict::rest && first_rest_ == 0)
        first_rest_ = now_;
    }
    return static_cast<double>(rested) / static_cast<double>(now_ - begin);
  }

  // How long after now the first such verdict will have come.
  void forget() {
    first_free_ = first_rest_ = 0;
    since_ = now_;
  }
  std::int64_t until_free() const { return first_free_ - since_; }
  std::int64_t until_rest() const { return first_rest_ - since_; }
  bool has_rested() const { return first_rest_ != 0; }
  steal_pace& pace() { return pace_; }
  steal_pace::look look() const {
    return {now_, static_cast<std::uint64_t>(mine_),
            static_cast<std::uint64_t>(theirs_)};
  }

private:
  void pass(std::int64_t ns, double mine, double theirs) {
    now_ += ns;
    mine_ += mine * static_cast<double>(ns) / us;
    theirs_ += theirs * static_cast<double>(ns) / us;
  }

  steal_pace pace_;
  std::int64_t now_ = 5'000 * ms, since_ = now_;
  double mine_ = 0, theirs_ = 0;
  verdict last_ = verdict::none;
  std::int64_t first_free_ = 0, first_rest_ = 0;
};

constexpr load hub{.alone = 13, .both = 5};
constexpr load spread{.alone = 5, .both = 9};

} // namespace

BOOST_AUTO_TEST_SUITE(a_thief)

BOOST_AUTO_TEST_CASE(keeps_away_where_one_alone_gets_more_done) {
  simulation s;
  s.run(hub, 20 * ms); // its rests grow
  BOOST_TEST(s.run(hub, 500 * ms) > 0.9);
}

BOOST_AUTO_TEST_CASE(keeps_away_where_the_second_hardly_adds_anything) {
  simulation s;
  s.run({.alone = 10, .both = 11}, 20 * ms);
  BOOST_TEST(s.run({.alone = 10, .both = 11}, 500 * ms) > 0.9);
}

BOOST_AUTO_TEST_CASE(works_on_where_both_get_more_done) {
  simulation s;
  BOOST_TEST(s.run(spread, 500 * ms) < 0.02);
  BOOST_TEST(!s.has_rested());
}

BOOST_AUTO_TEST_CASE(never_keeps_away_from_long_jobs) {
  simulation s;
  const load l{.alone = 0.1, .both = 0.11, .piece_ns = 20 * us};
  BOOST_TEST(s.run(l, 500 * ms) == 0);
}

// A part of the work that came over whole says nothing about sharing it.
BOOST_AUTO_TEST_CASE(learns_nothing_while_the_other_is_idle) {
  simulation s;
  const load l{.alone = 9, .both = 10, .thief_part = 1};
  BOOST_TEST(s.run(l, 500 * ms) == 0);
  // Idle only while it is watched alone: nothing to compare with.
  const load then_idle{.alone = 0, .both = 10};
  BOOST_TEST(s.run(then_idle, 50 * ms) < 0.5);
  BOOST_TEST(!s.has_rested());
}

BOOST_AUTO_TEST_CASE(finds_out_soon_that_the_work_has_changed) {
  simulation s;
  s.run(hub, 100 * ms);
  for (int i = 0; i < 20; ++i) {
    s.forget();
    s.run(spread, (50 + i) * ms);
    BOOST_TEST(s.until_free() > 0);
    BOOST_TEST(s.until_free() < 2 * ms);
    s.forget();
    s.run(hub, (50 + i) * ms);
    BOOST_TEST(s.until_rest() > 0);
    BOOST_TEST(s.until_rest() < 5 * ms);
  }
}

BOOST_AUTO_TEST_CASE(goes_on_at_once_when_its_rest_is_cancelled) {
  simulation s;
  s.run(hub, 20 * ms);
  while (!s.pace().is_resting())
    s.run(hub, 1);
  s.pace().cancel();
  BOOST_TEST(!s.pace().is_resting());
  BOOST_TEST(!s.pace().is_trial());
  s.run(hub, 20 * ms);
  BOOST_TEST(s.run(hub, 100 * ms) > 0.9);
}

BOOST_AUTO_TEST_SUITE_END()
