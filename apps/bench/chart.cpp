// SPDX-License-Identifier: MIT

#include "chart.hpp"

#include <fmt/format.h>

#include <cmath>

namespace bench {

namespace {

constexpr double width = 720, height = 480, left = 70, right = 20, top = 40,
                 bottom = 60;

// Powers of its base that hold all values.
struct axis {
  explicit axis(double b) : base(b) {}

  double base, low = 1, high = base;
  bool is_empty = true;

  void take(double value) {
    if (is_empty) {
      low = std::pow(base, std::floor(std::log(value) / std::log(base)));
      high = low * base;
      is_empty = false;
    }
    while (value < low)
      low /= base;
    while (value > high)
      high *= base;
  }
  double part(double value) const {
    return std::log10(value / low) / std::log10(high / low);
  }
};

} // namespace

std::string svg_of(const chart& c) {
  axis x{c.x_base}, y{c.y_base};
  for (auto& l : c.lines)
    for (auto& p : l.points) {
      x.take(p.x);
      y.take(p.y);
    }
  auto at_x = [&](double v) {
    return left + x.part(v) * (width - left - right);
  };
  auto at_y = [&](double v) {
    return height - bottom - y.part(v) * (height - top - bottom);
  };
  auto text = fmt::format(
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
    "font-family=\"sans-serif\" font-size=\"13\">\n"
    "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
    "<text x=\"{2}\" y=\"24\" font-size=\"16\">{3}</text>\n",
    width, height, left, c.title);
  auto rule = [&](double x1, double y1, double x2, double y2) {
    text += fmt::format(
      "<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" "
      "stroke=\"#ccc\"/>\n",
      x1, y1, x2, y2);
  };
  auto label = [&](double lx, double ly, const char* anchor,
                   const std::string& s) {
    text += fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"{}\">{}"
      "</text>\n",
      lx, ly, anchor, s);
  };
  for (auto v = x.low; v <= x.high * 1.01; v *= c.x_base) {
    rule(at_x(v), top, at_x(v), height - bottom);
    label(at_x(v), height - bottom + 18, "middle", fmt::format("{:g}", v));
  }
  for (auto v = y.low; v <= y.high * 1.01; v *= c.y_base) {
    rule(left, at_y(v), width - right, at_y(v));
    label(left - 8, at_y(v) + 4, "end", fmt::format("{:g}", v));
  }
  label(width / 2, height - 16, "middle", c.x_name);
  label(14, top - 8, "start", c.y_name);
  auto key = top + 18;
  for (auto& l : c.lines) {
    std::string path;
    for (auto& p : l.points)
      path += fmt::format("{}{:.1f} {:.1f}", path.empty() ? "M" : "L",
                          at_x(p.x), at_y(p.y));
    text += fmt::format(
      "<path d=\"{}\" fill=\"none\" stroke=\"{}\" "
      "stroke-width=\"2\"/>\n",
      path, l.colour);
    text += fmt::format("<text x=\"{}\" y=\"{}\" fill=\"{}\">{}</text>\n",
                        left + 14, key, l.colour, l.name);
    key += 18;
  }
  return text + "</svg>\n";
}

} // namespace bench
