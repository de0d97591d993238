// SPDX-License-Identifier: MIT
// version: which Troupe a program runs on.
#pragma once

#include <string_view>

namespace troupe {

/// The version of the library that the program is linked with, "1.2.3".
std::string_view version() noexcept;

} // namespace troupe
