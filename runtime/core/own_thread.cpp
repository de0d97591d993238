// SPDX-License-Identifier: MIT
#include "core/own_thread.hpp"

#include "core/cell.hpp"
#include "sched/clock.hpp"
#include "sched/futex.hpp"

namespace troupe::detail {

void own_thread::wake() {
  std::uint32_t nothing = 0;
  word_.compare_exchange_strong(nothing, 1, std::memory_order_release);
  told();
}

void own_thread::finish() {
  word_.store(2, std::memory_order_release);
  told();
}

void own_thread::told() {
  if (is_driven())
    driver_.wake(driver_.of);
  else
    sched::futex_wake(word_);
}

void own_thread::loop() {
  for (;;) {
    auto seen = word_.load(std::memory_order_acquire);
    if (seen == 0) {
      sched::futex_wait(word_, 0);
      continue;
    }
    if (seen == 2)
      return;
    step();
  }
}

void own_thread::step() {
  std::uint32_t woken = 1;
  if (!word_.compare_exchange_strong(woken, 0, std::memory_order_acquire))
    return;
  auto result = caf::resumable::resume_later;
  while (result == caf::resumable::resume_later)
    result = cell_->resume(nullptr, 1000);
}

} // namespace troupe::detail
