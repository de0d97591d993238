// SPDX-License-Identifier: MIT
// compile: how long the compiler takes for the first program of each side.

#pragma once

#include <chrono>
#include <string>

namespace bench {

/// Compiles `hello.cpp` of "troupe" or "caf" to an object file with the same
/// compiler and flags (-O2, C++20) and returns its CPU seconds, which other
/// programs on the machine disturb less than the wall clock.
/// Errors: std::runtime_error with the compiler's last line.
double compile_seconds(const std::string& side, std::chrono::seconds limit);

} // namespace bench
