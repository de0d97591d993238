// SPDX-License-Identifier: MIT
// crash: what a dying worker writes down about itself, in a signal handler.
#pragma once

#include "process/channel.hpp"

namespace troupe::process {

/// From here on SIGSEGV, SIGBUS, SIGFPE, SIGILL and SIGABRT leave their
/// backtrace in `box` and then do what they do without us. The calling thread
/// gets a stack of its own for that, so that an overflow is seen too.
void watch_crashes(black_box& box);

} // namespace troupe::process
