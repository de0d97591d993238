// SPDX-License-Identifier: MIT
// modes: what else this executable can be started as. Named here because `run`
// has to ask first; made in the rooms above.
#pragma once

#include "troupe/options.hpp"

#include <optional>
#include <span>

namespace troupe::detail {

/// The exit code, if this process was started as a child of another one and has
/// ended as that; nothing if it is the program itself, which may have children
/// from here on. In process/host.cpp.
std::optional<int> run_as_child(int argc, char** argv);

/// `app keys --help` and `app node --help`: whatever the program is, these two
/// words with this one are ours. Whether it was one. In node/command.cpp.
bool show_help_of_mode(std::span<char*> args);

/// `app keys ...`: its exit code; nothing if it is not that. `args` have no
/// options of Troupe any more. In node/command.cpp.
std::optional<int> run_keys(const options& opts, std::span<char*> args);

struct program;

/// `app node --listen ...`: what runs instead of the program; null if it is not
/// that. Errors: bad_argument. In node/command.cpp.
program* node_program(std::span<char*> args);

} // namespace troupe::detail
