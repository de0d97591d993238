// SPDX-License-Identifier: MIT
// caf_inlet: CAF messages into our mailbox, and CAF's words for how we end.
#pragma once

#include <caf/error.hpp>
#include <caf/mailbox_element.hpp>
#include <caf/resumable.hpp>

#include "core/cell.hpp"

namespace troupe::detail {

void accept_caf(cell& to, caf::mailbox_element_ptr what);

/// An error in CAF's terms: its text is in the context.
caf::error to_caf_error(const stop_reason& r);

/// Gives plain CAF actors an exception handler that keeps the text, before they
/// run for the first time.
void adopt_caf_actor(caf::resumable* job);

} // namespace troupe::detail
