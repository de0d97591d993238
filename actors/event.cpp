// SPDX-License-Identifier: MIT
#include "troupe/event.hpp"

#include "troupe/system.hpp"
#include "troupe/waiting_line.hpp"

namespace troupe {

namespace detail {

class event_actor {
public:
  std::size_t set() {
    check("set");
    is_set_ = true;
    return line_.serve_all();
  }

  void clear() {
    check("clear");
    is_set_ = false;
  }

  bool is_set() const { return is_set_; }

  future<void> wait() {
    check("wait");
    return is_set_ ? answer_now<void>() : line_.park();
  }

  void close() {
    is_closed_ = true;
    line_.fail_all(closed{"event::wait: the event was closed"});
  }

private:
  void check(const char* what) const {
    if (is_closed_)
      throw closed{std::string{"event::"} + what + " after close"};
  }

  bool is_set_ = false;
  bool is_closed_ = false;
  waiting_line<void> line_;
};

void read_actor(wire::reader& in, ref<event_actor>& actor) {
  wire::decode(in, actor);
}

} // namespace detail

using detail::event_actor;

event::event(system& sys) : handle(sys.spawn<event_actor>()) {}

future<std::size_t> event::set() const {
  return ask<&event_actor::set>();
}

future<void> event::clear() const {
  return ask<&event_actor::clear>();
}

future<bool> event::is_set() const {
  return ask<&event_actor::is_set>();
}

future<void> event::wait() const {
  return ask<&event_actor::wait>();
}

future<void> event::close() const {
  return ask<&event_actor::close>();
}

} // namespace troupe
