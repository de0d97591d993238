// SPDX-License-Identifier: MIT
#include "troupe/latch.hpp"

#include "troupe/detail/count.hpp"
#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class latch_actor {
public:
  explicit latch_actor(std::size_t count) : count_(count) {
    if (count > count_max)
      throw bad_argument{"latch of " + as_written(count) + "; "
                         + least_and_most(0)};
  }

  void count_down(std::size_t n) {
    check("count_down");
    if (n == 0 || n > count_)
      throw bad_argument{"latch::count_down by " + as_written(n) + "; "
                         + std::to_string(count_) + " are left"};
    count_ -= n;
    if (count_ == 0)
      line_.serve_all();
  }

  std::size_t pending() const { return count_; }

  future<void> wait() {
    if (count_ == 0)
      return answer_now<void>();
    check("wait");
    return line_.park();
  }

  future<void> arrive_and_wait(std::size_t n) {
    count_down(n);
    return wait();
  }

  void close() {
    is_closed_ = true;
    line_.fail_all(closed{"latch::wait: the latch was closed with "
                          + std::to_string(count_) + " left to count"});
  }

private:
  void check(const char* what) const {
    if (is_closed_)
      throw closed{std::string{"latch::"} + what + " after close"};
  }

  std::size_t count_;
  bool is_closed_ = false;
  waiting_line<void> line_;
};

void read_actor(wire::reader& in, ref<latch_actor>& actor) {
  wire::decode(in, actor);
}

} // namespace detail

using detail::latch_actor;

latch::latch(system& sys, std::size_t count)
  : handle(sys.spawn<latch_actor>(count)) {}

future<void> latch::count_down(std::size_t n) const {
  return ask<&latch_actor::count_down>(n);
}

future<std::size_t> latch::pending() const {
  return ask<&latch_actor::pending>();
}

future<void> latch::wait() const {
  return ask<&latch_actor::wait>();
}

future<void> latch::arrive_and_wait(std::size_t n) const {
  return ask<&latch_actor::arrive_and_wait>(n);
}

future<void> latch::close() const {
  return ask<&latch_actor::close>();
}

} // namespace troupe
