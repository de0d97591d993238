// SPDX-License-Identifier: MIT
// report: the table for a person and the JSON for a program.

#pragma once

#include "compare.hpp"
#include "machine.hpp"

#include <string>

namespace bench {

/// Three significant digits, never an exponent.
std::string number(double x);

/// The head of the table, two lines.
std::string table_head();

/// A row of the table; a line more for each peer after the first.
std::string table_lines(const outcome& o);

/// `>= 7x caf`: what a row has to reach; empty where there is nothing.
std::string goals_of(const row& r);

/// `30 of 32 targets met`.
std::string met_of(const std::vector<outcome>& all);

/// The last lines: how many targets are met, and which are not.
std::string verdict(const std::vector<outcome>& all);

/// The table for a README, and what it was made with.
std::string to_markdown(const machine& m, const plan& how,
                        const std::vector<outcome>& all);

/// {"machine": {...}, "rows": [{"workload", "unit", "better", "troupe":
/// {"median", "min", "max", "runs"}, "peers": {name: {...}}, "ratio": {name:
/// x}, "counts": {side: {...}}, "target", "met"}]}; a side without figures is
/// {"error": text}.
std::string to_json(const machine& m, const plan& how,
                    const std::vector<outcome>& all);

} // namespace bench
