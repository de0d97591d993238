// SPDX-License-Identifier: MIT
// call_table: the calls that wait for the other side's answer. A call's number
// is its place here and a count that tells it from all calls before it:
// neither opening nor closing one searches, and a number that comes twice,
// late, or from nowhere finds nothing.
//
//    63        62..24        23..0
//   [ 0 | count of all calls | place + 1 ]   (bit 63 is left to carriers)
//
// The first is 1. Places are used again; a large table that is empty is let go.
// For one thread at a time.
#pragma once

#include "troupe/detail/remote_message.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace troupe::wire {

class call_table {
public:
  static constexpr std::size_t size_max = (std::size_t{1} << 24) - 1;

  struct call {
    troupe::detail::state_base* state = nullptr; // one reference
    const troupe::detail::remote_ops* ops = nullptr;
  };

  [[nodiscard]] std::size_t size() const noexcept { return size_; }

  /// Its number, never 0. Requires: size() < size_max.
  std::uint64_t open(call c) {
    if (free_ == none) {
      places_.push_back({});
      free_ = static_cast<std::uint32_t>(places_.size() - 1);
    }
    auto& p = places_[free_];
    p.number = (count_++ & count_mask) << place_bits | (free_ + 1U);
    p.what = c;
    free_ = p.next_free;
    ++size_;
    return p.number;
  }

  /// Without a state if it is not open.
  call close(std::uint64_t number) noexcept {
    const auto at = (number & size_max) - 1; // place 0: past the end
    if (at >= places_.size() || places_[at].number != number)
      return {};
    auto& p = places_[at];
    const auto was = p.what;
    p = {.next_free = free_};
    free_ = static_cast<std::uint32_t>(at);
    if (--size_ == 0 && places_.size() > kept_max) {
      places_ = {};
      free_ = none;
    }
    return was;
  }

  /// 0 if there is none.
  [[nodiscard]] std::uint64_t
  find(const troupe::detail::state_base& s) const noexcept {
    for (const auto& p : places_)
      if (p.what.state == &s)
        return p.number;
    return 0;
  }

  /// All of them; none is open then.
  std::vector<call> close_all() {
    std::vector<call> all;
    all.reserve(size_);
    for (const auto& p : places_)
      if (p.number != 0)
        all.push_back(p.what);
    places_ = {};
    free_ = none;
    size_ = 0;
    return all;
  }

private:
  static constexpr int place_bits = 24;
  static constexpr std::uint64_t count_mask = (std::uint64_t{1} << 39) - 1;
  static constexpr std::uint32_t none = UINT32_MAX;
  static constexpr std::size_t kept_max = 4'096;

  struct place {
    call what{};
    std::uint64_t number = 0; // 0: free
    std::uint32_t next_free = none;
  };

  std::vector<place> places_;
  std::uint64_t count_ = 0;
  std::size_t size_ = 0;
  std::uint32_t free_ = none;
};

} // namespace troupe::wire
