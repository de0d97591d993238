// SPDX-License-Identifier: MIT
// chart: lines over logarithmic axes, as SVG.

#pragma once

#include <string>
#include <vector>

namespace bench {

struct point {
  double x, y;
};

struct line {
  std::string name;
  std::string colour;
  std::vector<point> points;
};

struct chart {
  std::string title, x_name, y_name;
  double x_base = 10, y_base = 10; ///< between two rules of the axis
  std::vector<line> lines;
};

/// Requires: all values above 0.
std::string svg_of(const chart& c);

} // namespace bench
