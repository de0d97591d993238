// SPDX-License-Identifier: MIT
// own_thread: the thread of an actor placed `on_thread`. It sleeps while its
// actor has nothing to do and ends with it.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/context.hpp"

namespace troupe::detail {

class own_thread {
public:
  explicit own_thread(cell* c) : cell_(c) {}

  /// The actor has work; passes a reference to it on.
  void wake();

  /// The actor has ended: the thread leaves when it is back.
  void finish();

  /// The thread's function.
  void loop();

  activity at;

private:
  cell* const cell_; // valid from wake() until the resume that follows
  // 0: nothing to do, 1: wake() was called, 2: finished
  std::atomic<std::uint32_t> word_{0};
};

} // namespace troupe::detail
