// SPDX-License-Identifier: MIT
#include "troupe/supervision.hpp"

#include <algorithm>
#include <cmath>

namespace troupe {

supervision::supervision(strategy_kind strategy, std::size_t intensity,
                         std::chrono::nanoseconds period,
                         backoff_options backoff)
  : strategy_(strategy),
    intensity_(intensity),
    period_(period),
    backoff_(backoff) {}

supervision::decision
supervision::on_exit(std::size_t which, exit_kind how, time_point now,
                     double random, std::span<const child_state> children) {
  decision result;
  auto kind = children[which].kind;
  if (kind == restart_kind::temporary) {
    result.action = decision::forget;
    return result;
  }
  if (kind == restart_kind::transient && how == exit_kind::normal)
    return result;
  // Like OTP: this restart counts too.
  auto count = restarts_in_period(now) + 1;
  restarts_.push_back(now);
  auto first = which, last = which;
  if (count > intensity_) {
    result.action = decision::give_up;
    first = 0;
    last = children.size() - 1;
  } else {
    result.action = decision::restart;
    result.delay = delay_of(count, random);
    if (strategy_ != strategy_kind::one_for_one)
      last = children.size() - 1;
    if (strategy_ == strategy_kind::one_for_all)
      first = 0;
  }
  for (auto i = last + 1; i-- > first;)
    if (i != which && children[i].is_running)
      result.stop.push_back(i);
  if (result.action == decision::restart)
    for (auto i = first; i <= last; ++i)
      if (children[i].kind != restart_kind::temporary)
        result.start.push_back(i);
  return result;
}

std::size_t supervision::restarts_in_period(time_point now) {
  while (
    !restarts_.empty()
    && (now - restarts_.front() > period_ || restarts_.size() > intensity_ + 1))
    restarts_.pop_front();
  return restarts_.size();
}

std::chrono::nanoseconds supervision::delay_of(std::size_t nth,
                                               double random) const {
  if (nth <= 1)
    return {};
  // Above 2^63 ns the power says no more, and 0 times infinity is no number.
  auto power = std::min(std::pow(backoff_.factor, static_cast<double>(nth - 2)),
                        0x1p63);
  auto wait = std::min(static_cast<double>(backoff_.first.count()) * power,
                       static_cast<double>(backoff_.max.count()));
  wait *= 1 + backoff_.jitter * (2 * random - 1);
  constexpr auto most = 0x1p62; // jitter may go beyond a large max
  return std::chrono::nanoseconds{
    static_cast<std::int64_t>(std::min(wait, most))};
}

} // namespace troupe
