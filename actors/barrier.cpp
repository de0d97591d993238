// SPDX-License-Identifier: MIT
#include "troupe/barrier.hpp"

#include "troupe/deadline.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class barrier_actor : public actor {
public:
  explicit barrier_actor(std::size_t parties) : parties_(parties) {
    if (parties == 0)
      throw bad_argument{"barrier of 0 parties; the least is 1"};
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
    ++meetings_;
    is_closed_ = true;
    line_.fail_all(closed{"barrier::arrive_and_wait: it was closed"});
  }

private:
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
    ++meetings_;
    std::size_t place = 0;
    for (; !line_.empty(); line_.pop())
      line_.front().answer.try_set_value(place++);
  }

  void break_all(std::string why) {
    ++meetings_;
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

  // Looks once this party's deadline has passed, if its round is still on.
  void watch() {
    auto left = remaining();
    if (left != std::chrono::nanoseconds::max())
      look_in(left);
  }

  // Our timer may come before the one that ends the ask: then once more.
  void look_in(std::chrono::nanoseconds d) {
    after(d, [this, meeting = meetings_] {
      if (meeting == meetings_)
        look_for_quitters();
      if (meeting == meetings_)
        look_in(std::chrono::milliseconds{1});
    });
  }

  const std::size_t parties_;
  std::uint64_t round_ = 0;
  std::uint64_t meetings_ = 0; // ended ones: met, broken or closed
  std::size_t look_at_ = 0;    // the length of the line
  bool is_broken_ = false;
  bool is_closed_ = false;
  std::string why_;
  waiting_line<std::size_t> line_;
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
