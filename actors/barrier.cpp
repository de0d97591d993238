// SPDX-License-Identifier: MIT
#include "troupe/barrier.hpp"

#include <algorithm>
#include <chrono>

#include "troupe/deadline.hpp"
#include "troupe/detail/count.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class barrier_actor : public actor {
public:
  explicit barrier_actor(std::size_t parties) : parties_(parties) {
    if (parties == 0 || parties > count_max)
      throw bad_argument{"barrier of " + as_written(parties) + " parties; "
                         + least_and_most(1)};
  }

  future<std::size_t> arrive() {
    if (is_closed_)
      throw closed{"barrier::arrive_and_wait after close"};
    if (shall_look())
      look_for_quitters();
    if (is_broken_)
      throw broken_barrier{why_};
    auto place = line_.size();
    auto result = line_.park();
    if (place + 1 == parties_)
      release();
    else
      watch();
    return result;
  }

  void abort() { break_all("barrier: aborted"); }

  void reset() {
    break_all("barrier: reset while parties waited");
    is_broken_ = false;
  }

  barrier_state state() {
    look_for_quitters();
    return {parties_, line_.size(), round_, is_broken_, is_closed_};
  }

  void close() {
    end_meeting();
    is_closed_ = true;
    line_.fail_all(closed{"barrier::arrive_and_wait: it was closed"});
  }

private:
  using clock = std::chrono::steady_clock;
  static constexpr auto never = clock::time_point::max();
  static constexpr clock::duration pause_least = std::chrono::milliseconds{10};
  static constexpr clock::duration pause_most = std::chrono::seconds{1};

  // All are looked at when the last one comes, and before whenever the line has
  // doubled, so that a round costs no more than its parties.
  bool shall_look() {
    constexpr std::size_t few = 64;
    auto there = line_.size();
    if (there > few && there < look_at_ && there + 1 < parties_)
      return false;
    look_at_ = 2 * there;
    return true;
  }

  void release() {
    ++round_;
    end_meeting();
    std::size_t place = 0;
    for (; !line_.empty(); line_.pop())
      line_.front().answer.try_set_value(place++);
  }

  void break_all(std::string why) {
    end_meeting();
    is_broken_ = true;
    why_ = std::move(why);
    line_.fail_all(broken_barrier{why_});
  }

  void look_for_quitters() {
    if (is_broken_ || line_.empty())
      return;
    auto there = line_.size();
    if (line_.sweep() != 0)
      break_all("barrier: a party gave up; " + std::to_string(there) + " of "
                + std::to_string(parties_) + " were there");
  }

  // Met, broken or closed: what comes is another meeting.
  void end_meeting() {
    first_due_ = never;
    pause_ = pause_least;
  }

  // Looks at the first deadline of this meeting and, for those that cancel,
  // which nobody tells us, also before: less and less often.
  void watch() {
    auto now = clock::now();
    if (auto left = remaining(); left < never - now)
      first_due_ = std::min(first_due_, now + left);
    look_by(now, std::min(first_due_, now + pause_));
  }

  // One timer for all meetings: it is set anew only for an earlier time, so
  // that a round that is soon over starts none.
  void look_by(clock::time_point now, clock::time_point at) {
    if (at >= look_next_)
      return;
    timer_.cancel();
    look_next_ = at;
    timer_ = after(at - now, [this] { look(); });
  }

  void look() {
    look_next_ = never;
    look_for_quitters();
    if (line_.empty())
      return;
    pause_ = std::min(2 * pause_, pause_most);
    // Our timer may come before the one that ends the ask: then once more.
    auto now = clock::now();
    auto soon = now + std::chrono::milliseconds{1};
    look_by(now, std::max(soon, std::min(first_due_, now + pause_)));
  }

  const std::size_t parties_;
  std::uint64_t round_ = 0;
  std::size_t look_at_ = 0;             // the length of the line
  clock::time_point first_due_ = never; // of this meeting
  clock::time_point look_next_ = never; // when the timer comes
  clock::duration pause_ = pause_least;
  timer timer_;
  bool is_broken_ = false;
  bool is_closed_ = false;
  std::string why_;
  waiting_line<std::size_t, no_request, line_of::requests> line_;
};

void read_actor(wire::reader& in, ref<barrier_actor>& actor) {
  wire::decode(in, actor);
}

} // namespace detail

using detail::barrier_actor;

barrier::barrier(system& sys, std::size_t parties)
  : handle(sys.spawn<barrier_actor>(parties)) {}

future<std::size_t> barrier::arrive_and_wait() const {
  return ask<&barrier_actor::arrive>();
}

future<void> barrier::abort() const {
  return ask<&barrier_actor::abort>();
}

future<void> barrier::reset() const {
  return ask<&barrier_actor::reset>();
}

future<barrier_state> barrier::state() const {
  return ask<&barrier_actor::state>();
}

future<void> barrier::close() const {
  return ask<&barrier_actor::close>();
}

} // namespace troupe
