// SPDX-License-Identifier: MIT
// lifetime: when the memory of a cell may go.
//
// Handles count, the right to run (inbox.hpp) does not: a message costs no
// reference. A cell lives while one of the two is out.
// Protocol:   whoever lets the last reference go looks at the inbox. Nobody
//             runs the cell: it takes the right to run, and ends it. Somebody
//             does: it makes a new reference and leaves it with them (`held`),
//             who decide when they want to rest. The last runner of a cell that
//             has ended leaves (closed and idle): then whoever lets the last
//             reference go frees it.
// Invariants: (1) one thread at most lets go at a time: no reference is made
//             from none but by that thread, and by the runner which took the
//             one that it held. (2) `held` stands for one counted reference.
//             (3) all references together have one weak one, so that the block
//             outlives the thread that lets go.
// Pairing:    `hold` releases the new reference to the acquire of the runner's
//             look; `leave` releases what the last runner did to the acquire
//             of `look` by whoever frees.
// Checked in every order by tests/model_inbox_test.cpp.
#pragma once

#include <atomic>
#include <cstddef>

namespace troupe::detail {

/// What is left to do when the last reference is gone.
enum class last_step {
  nothing, // others have it, or will
  end,     // the caller has the right to run the cell, which has no reference
  free,    // the cell has ended, and its runner has left
};

/// The last of the references that `strong` counts is gone; afterwards the
/// caller gives a weak one back.
template <class Inbox, class Count>
last_step let_go(Inbox& inbox, Count& strong, Count& weak) {
  auto is_raised = false;
  for (auto seen = inbox.look();;) {
    if (Inbox::is_running(seen)) {
      if (!is_raised) {
        weak.fetch_add(1, std::memory_order_relaxed);
        strong.store(1, std::memory_order_release);
        is_raised = true;
      }
      if (inbox.hold(seen))
        return last_step::nothing;
    } else if (is_raised) { // it has come to rest meanwhile
      if (strong.fetch_sub(1, std::memory_order_acq_rel) != 1)
        return last_step::nothing; // a weak one was locked
      weak.fetch_sub(1, std::memory_order_relaxed);
      is_raised = false;
    } else if (Inbox::has_left(seen)) {
      return last_step::free;
    } else if (inbox.claim_from(seen)) {
      return last_step::end;
    }
  }
}

/// What a runner finds that was left with a reference, and wants to rest.
enum class found {
  others, // have one, too: it should give its own back
  more,   // to do; it has come before its sender's reference went
  nobody, // and now there is no reference at all
};

/// `has_more`: whether something waits for the runner.
template <class Count, class Pred>
found take_last(Count& strong, Pred has_more) {
  std::size_t mine = 1;
  if (!strong.compare_exchange_strong(mine, 0, std::memory_order_acq_rel))
    return found::others;
  if (!has_more()) // and nobody is left who could send
    return found::nobody;
  strong.store(1, std::memory_order_release);
  return found::more;
}

} // namespace troupe::detail
