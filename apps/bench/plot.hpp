// SPDX-License-Identifier: MIT
// plot: figures as pictures: SVG, written by hand.

#pragma once

#include "compare.hpp"

namespace bench {

/// Writes FOLDER/actors.svg, the cost of a message by the number of actors,
/// and FOLDER/workers.svg, the throughput by workers, if their rows are among
/// `all`; and FOLDER/section.svg, if the rows of "section" are among `all`:
/// time per call by the length of the critical section, ours and a mutex's, on
/// logarithmic axes; and says on stdout from which length on we are ahead.
/// False when it can't be written.
bool write_plots(const std::string& folder, const std::vector<outcome>& all);

/// Writes FOLDER/ratios.svg: for each row how many times we are ahead of each
/// peer, a bar to the best of them. False when it can't be written; nothing
/// without a ratio.
bool write_bars(const std::string& folder, const std::vector<outcome>& all);

} // namespace bench
