// SPDX-License-Identifier: MIT
// summary: what all rows together say, and the page for a README.

#pragma once

#include "compare.hpp"
#include "machine.hpp"

#include <string>

namespace bench {

/// Geometric means over Savina and over what Go has too, the rows in which a
/// peer is ahead with their reasons, and how many targets are met.
std::string summary(const std::vector<outcome>& all);

/// What each side counted: messages, allocations, steals, wake-ups, context
/// switches, instructions, CPU time, memory. Each is of one whole run, its
/// start included; empty where it is not known.
std::string counts_table(const std::vector<outcome>& all);

/// Writes the figures into FILE between its lines `<!-- bench: ... -->` and
/// `<!-- bench end -->`. False when they are missing or it can't be written.
bool write_readme(const std::string& file, const machine& m, const plan& how,
                  const std::vector<outcome>& all);

} // namespace bench
