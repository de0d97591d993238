// SPDX-License-Identifier: MIT
// supervision: what a supervisor decides, as plain logic that takes `now` as an
// argument; and OTP's words for it. The supervisor itself is supervisor.hpp.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

namespace troupe {

/// Who is restarted when one child ends and has to be restarted.
enum class strategy_kind : std::uint8_t {
  one_for_one,  // that child
  one_for_all,  // all children
  rest_for_one, // that child and those that were started after it
};
inline constexpr auto one_for_one = strategy_kind::one_for_one;
inline constexpr auto one_for_all = strategy_kind::one_for_all;
inline constexpr auto rest_for_one = strategy_kind::rest_for_one;

/// When a child has to be restarted.
enum class restart_kind : std::uint8_t {
  permanent, // always
  transient, // when it failed or was killed; not when it stopped
  temporary, // never; it is forgotten
};
inline constexpr auto permanent = restart_kind::permanent;
inline constexpr auto transient = restart_kind::transient;
inline constexpr auto temporary = restart_kind::temporary;

/// How a child ended.
enum class exit_kind : std::uint8_t { normal, failed, killed };

/// The first restart within a period is immediate, the second waits `first`,
/// the next `first * factor` and so on.
struct backoff_options {
  std::chrono::nanoseconds first = std::chrono::milliseconds{10};
  std::chrono::nanoseconds max = std::chrono::seconds{1};
  double factor = 2;
  /// Each wait is changed by up to this part of it, so that many supervisors
  /// don't restart in step. Range: 0..1.
  double jitter = 0.2;
};

class supervision {
public:
  using time_point = std::chrono::steady_clock::time_point;

  struct child_state {
    restart_kind kind;
    bool is_running;
  };

  struct decision {
    enum action_type : std::uint8_t {
      nothing, // it stays down
      forget,  // it is taken off the list
      restart, // stop those of `stop`, wait `delay`, start those of `start`
      give_up, // too many restarts: stop all, then fail
    };
    action_type action = nothing;
    std::vector<std::size_t> stop;  // running ones, the last started first
    std::vector<std::size_t> start; // in order of start
    std::chrono::nanoseconds delay{};
  };

  supervision(strategy_kind strategy, std::size_t intensity,
              std::chrono::nanoseconds period, backoff_options backoff);

  /// Child `which` has ended. `children` are all, in order of start, as they
  /// are now. `random` in 0..1 decides the jitter.
  decision on_exit(std::size_t which, exit_kind how, time_point now,
                   double random, std::span<const child_state> children);

  /// Restarts within the period that ends at `now`.
  std::size_t restarts_in_period(time_point now);

private:
  std::chrono::nanoseconds delay_of(std::size_t nth, double random) const;

  strategy_kind strategy_;
  std::size_t intensity_;
  std::chrono::nanoseconds period_;
  backoff_options backoff_;
  std::deque<time_point> restarts_; // at most intensity + 1
};

} // namespace troupe
