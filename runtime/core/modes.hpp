// SPDX-License-Identifier: MIT
// modes: what else this executable can be started as. Named here because `run`
// has to ask first; made in the rooms above.
#pragma once

#include <optional>

namespace troupe::detail {

/// The exit code, if this process was started as a child of another one and has
/// ended as that; nothing if it is the program itself, which may have children
/// from here on. In process/host.cpp.
std::optional<int> run_as_child(int argc, char** argv);

} // namespace troupe::detail
