// SPDX-License-Identifier: MIT

#include "plot.hpp"
#include "measure.hpp"
#include "sizes.hpp"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

namespace bench {

namespace {

struct point {
  double x, y; // nanoseconds
};

struct line {
  std::string name;
  std::string colour;
  std::vector<point> points;
};

constexpr double width = 720, height = 480, left = 70, right = 20, top = 40,
                 bottom = 60;

// Powers of ten that hold all values.
struct axis {
  double low = 1, high = 10;

  void take(double value) {
    while (value < low)
      low /= 10;
    while (value > high)
      high *= 10;
  }
  double part(double value) const {
    return std::log10(value / low) / std::log10(high / low);
  }
};

double section_ns(int steps) {
  constexpr int times = 2'000;
  volatile std::uint64_t value = 1;
  stopwatch watch;
  for (int i = 0; i < times; ++i)
    value = work(value, steps);
  return std::max(0.5, watch.ns_per(times));
}

const outcome* find(const std::vector<outcome>& all, const std::string& name) {
  for (auto& o : all)
    if (o.what.name == name)
      return &o;
  return nullptr;
}

void add(line& to, double x, const side& s) {
  if (s.found)
    to.points.push_back({x, s.found->median});
}

std::vector<line> section_lines(const std::vector<outcome>& all) {
  std::vector<line> lines{{"guarded, posted", "#1f77b4", {}},
                          {"guarded, each waited for", "#2ca02c", {}},
                          {"std::mutex, 8 threads", "#d62728", {}}};
  for (auto steps : section_steps) {
    auto x = section_ns(steps);
    if (auto* o = find(all, section_row(steps))) {
      add(lines[0], x, o->ours);
      if (auto theirs = o->peers.find("mutex"); theirs != o->peers.end())
        add(lines[2], x, theirs->second);
    }
    if (auto* o = find(all, section_row(steps) + "_waited"))
      add(lines[1], x, o->ours);
  }
  return lines;
}

std::string svg_of(const std::vector<line>& lines) {
  axis x, y;
  for (auto& l : lines)
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
    "<text x=\"{2}\" y=\"24\" font-size=\"16\">8 sharers of one value: time "
    "per call by length of the critical section</text>\n",
    width, height, left);
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
  for (auto v = x.low; v <= x.high * 1.01; v *= 10) {
    rule(at_x(v), top, at_x(v), height - bottom);
    label(at_x(v), height - bottom + 18, "middle", fmt::format("{:g}", v));
  }
  for (auto v = y.low; v <= y.high * 1.01; v *= 10) {
    rule(left, at_y(v), width - right, at_y(v));
    label(left - 8, at_y(v) + 4, "end", fmt::format("{:g}", v));
  }
  label(width / 2, height - 16, "middle", "critical section, ns");
  label(14, top - 8, "start", "ns per call");
  auto key = top + 18;
  for (auto& l : lines) {
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

// The first length from which on `ours` is never slower.
std::string crossover(const line& ours, const line& theirs) {
  std::string from = "nowhere";
  for (std::size_t i = theirs.points.size(); i-- > 0;) {
    if (i >= ours.points.size() || ours.points[i].y > theirs.points[i].y)
      break;
    from = i == 0 ? "everywhere"
                  : fmt::format("from {:.0f} ns on", theirs.points[i].x);
  }
  return from;
}

} // namespace

bool write_plots(const std::string& folder, const std::vector<outcome>& all) {
  auto lines = section_lines(all);
  if (lines[0].points.empty())
    return true;
  for (auto i : {0u, 1u})
    fmt::print("section: {} is ahead of {} {}\n", lines[i].name, lines[2].name,
               crossover(lines[i], lines[2]));
  std::ofstream out{folder + "/section.svg"};
  out << svg_of(lines);
  return static_cast<bool>(out.flush());
}

} // namespace bench
