// SPDX-License-Identifier: MIT
// steal_pace: when it pays to take jobs from another worker.
//
// Where many small actors talk to one, two cores get less done than one: what a
// message touches moves from core to core, which takes longer than to handle
// it. Nothing about a job tells so beforehand. So whoever steals compares, now
// and then, what both get done while it works on what it took, and what the
// other gets done while it keeps away:
//
//   free ──▶ measure ──▶ try a rest ──more together──▶ free, each time longer
//               ▲             └──more alone──▶ rest, each time longer ─┐
//               └──────────────────────────────────────────────────────┘
//
// Who may call: one worker. `stole`, then `ran_dry`; `rested` ends each rest.
// Time is an argument: nanoseconds of any clock.
#pragma once

#include <algorithm>
#include <cstdint>

namespace troupe::sched {

class steal_pace {
public:
  /// What is measured, at the least, and how long the other is watched alone.
  static constexpr std::int64_t window_ns = 40'000, trial_ns = 30'000;
  static constexpr std::int64_t rest_min_ns = 60'000, rest_max_ns = 1'000'000;
  static constexpr std::int64_t free_min_ns = 250'000, free_max_ns = 4'000'000;
  /// Jobs that take longer are always worth their move.
  static constexpr std::int64_t long_job_ns = 5'000;
  /// So many times as much must be done together: two that don't hinder each
  /// other do twice as much.
  static constexpr double gain_min = 1.25;

  /// A time, and what the thief and the other had got done by then.
  struct look {
    std::int64_t at_ns;
    std::uint64_t mine, theirs;
  };

  enum class verdict { none, free, rest };

  /// Whether the next steal is to be measured: only then the calls below are.
  bool measures(std::int64_t now) const { return now >= free_until_ns_; }
  std::int64_t free_until() const { return free_until_ns_; }

  /// A job of the other's was taken.
  void stole(const look& l) { from_ = l; }

  /// It and all that came of it is done. Requires: `stole`.
  verdict ran_dry(const look& l) {
    const auto took = l.at_ns - from_.at_ns;
    const auto mine = l.mine - from_.mine, theirs = l.theirs - from_.theirs;
    if (took > long_job_ns * static_cast<std::int64_t>(mine))
      return be_free(l.at_ns);
    if (theirs < mine / 8)
      return verdict::none; // it had nothing to do meanwhile: says nothing
    both_ns_ += took;
    both_ += mine + theirs;
    if (both_ns_ >= window_ns) {
      is_trial_ = true;
      from_ = l;
      until_ns_ = l.at_ns + trial_ns;
    }
    return verdict::none;
  }

  bool is_resting() const { return until_ns_ != 0; }
  /// Whether this rest is a short one, to compare.
  bool is_trial() const { return is_trial_; }
  std::int64_t rests_until() const { return until_ns_; }

  /// The rest is over. `l.theirs`: of whom it stole from last.
  verdict rested(const look& l) {
    until_ns_ = 0;
    if (!is_trial_)
      return verdict::none;
    is_trial_ = false;
    const auto both_ns = static_cast<double>(both_ns_);
    const auto both = static_cast<double>(both_);
    forget();
    const auto alone = static_cast<double>(l.theirs - from_.theirs);
    if (alone == 0)
      return verdict::none; // idle, or in one job: there is nothing to compare
    const auto alone_ns = static_cast<double>(l.at_ns - from_.at_ns);
    if (both * alone_ns > gain_min * alone * both_ns)
      return be_free(l.at_ns);
    free_ns_ = 0;
    rest_ns_ = std::clamp(2 * rest_ns_, rest_min_ns, rest_max_ns);
    until_ns_ = l.at_ns + rest_ns_;
    return verdict::rest;
  }

  /// Ends a rest before its time, without a verdict.
  void cancel() {
    forget();
    is_trial_ = false;
    until_ns_ = 0;
  }

private:
  verdict be_free(std::int64_t now) {
    forget();
    rest_ns_ = 0;
    free_ns_ = std::clamp(2 * free_ns_, free_min_ns, free_max_ns);
    free_until_ns_ = now + free_ns_;
    return verdict::free;
  }

  void forget() {
    both_ns_ = 0;
    both_ = 0;
  }

  look from_{};
  std::int64_t both_ns_ = 0;               // how long both have worked
  std::uint64_t both_ = 0;                 // what they got done in it
  std::int64_t until_ns_ = 0;              // of the rest; 0: none
  std::int64_t rest_ns_ = 0, free_ns_ = 0; // the last ones
  std::int64_t free_until_ns_ = 0;
  bool is_trial_ = false;
};

} // namespace troupe::sched
