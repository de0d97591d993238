// SPDX-License-Identifier: MIT
// remote: an actor in another process, as an actor of this one. Its object is
// a `remote_object`: the link to that process and the number it has there. A
// message whose turn has come is not run but forwarded.
//
// That never blocks and calls none of the user's methods, so the thread that
// sends does it (cell::try_forward) unless others are at it: no hand-over.
// A stop is forwarded too; the cell ends when the other side says that the
// actor has.
#pragma once

#include "core/cell.hpp"
#include "troupe/detail/call.hpp"
#include "troupe/system.hpp"

namespace troupe::detail {

/// The way to the other process. Any thread.
class remote_link {
public:
  virtual ~remote_link() = default;
  /// Takes the envelope over; an ask's errors settle its state.
  virtual void forward(cell& from, std::uint64_t target,
                       envelope* e) noexcept = 0;
  virtual void stop(std::uint64_t target, bool kill) noexcept = 0;
  /// Nobody here has a handle any more.
  virtual void forget(std::uint64_t target) noexcept = 0;
  virtual void cancel(state_base& s) noexcept = 0;
  /// Looks for the answer for a moment.
  virtual void look(state_base& s) noexcept = 0;
};

/// What a remote cell has beside its object.
struct remote_part {
  activity at; // of whoever forwards
  std::mutex mutex;
  // Under mutex, for those who wait:
  std::weak_ptr<remote_link> link;
  std::uint64_t target = 0;
};

/// The cell whose remote_object is being made; it is linked to `link`.
void link_object(cell& c, remote_object& object,
                 std::shared_ptr<remote_link> link, std::uint64_t target);

/// A cell for actor `target` behind `link`; one reference for the caller.
cell* make_remote_cell(runtime& rt, const class_info& info,
                       std::shared_ptr<remote_link> link, std::uint64_t target);

/// The other one has ended: so does the object of this cell, if it is still
/// linked to `link`.
void end_remote(cell& c, const remote_link* link, stop_reason why);

} // namespace troupe::detail
