// SPDX-License-Identifier: MIT
// own_thread: the thread of an actor placed `on_thread`. It sleeps while its
// actor has nothing to do and ends with it.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/context.hpp"
#include "troupe/system.hpp"

namespace troupe::detail {

class own_thread {
public:
  explicit own_thread(cell* c, thread_driver by = {}) : driver_(by), cell_(c) {}

  /// The actor has work; passes the right to run it on.
  void wake();

  /// The actor has ended: the thread leaves when it is back.
  void finish();

  /// The thread's function, unless somebody drives it.
  void loop();

  // -- driven: an existing thread does the work when told
  // ----------------------

  [[nodiscard]] bool is_driven() const { return driver_.wake != nullptr; }
  [[nodiscard]] bool has_work() const {
    return word_.load(std::memory_order_acquire) == 1;
  }
  /// Does what there is to do.
  void step();

  activity at;

private:
  void told();

  const thread_driver driver_;
  cell* const cell_; // valid from wake() until the resume that follows
  // 0: nothing to do, 1: wake() was called, 2: finished
  std::atomic<std::uint32_t> word_{0};
};

} // namespace troupe::detail
