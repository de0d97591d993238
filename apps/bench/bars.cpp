// SPDX-License-Identifier: MIT
// bars: one bar per row and peer, how many times ahead we are, on a
// logarithmic axis; to the left of 1 the peer is ahead.

#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace bench {

namespace {

struct bar {
  std::string row, peer;
  double ratio = 1;
};

constexpr double width = 760, left = 250, right = 60, top = 56, line = 18;

std::vector<bar> bars_of(const std::vector<outcome>& all) {
  std::vector<bar> result;
  for (auto& o : all)
    for (auto& [peer, s] : o.peers)
      if (auto r = o.ratio(peer))
        result.push_back({o.what.name, peer, *r});
  return result;
}

std::string colour_of(const std::string& peer) {
  static constexpr const char* colours[] = {"#1f77b4", "#2ca02c", "#9467bd",
                                            "#8c564b", "#e377c2", "#7f7f7f",
                                            "#bcbd22", "#17becf"};
  auto names = peer_names();
  auto at = std::find(names.begin(), names.end(), peer) - names.begin();
  return colours[static_cast<std::size_t>(at) % std::size(colours)];
}

std::string svg_of(const std::vector<bar>& bars) {
  double low = 0.5, high = 2;
  for (auto& b : bars) {
    while (b.ratio < low)
      low /= 2;
    while (b.ratio > high)
      high *= 2;
  }
  auto at = [&](double ratio) {
    return left
           + std::log(ratio / low) / std::log(high / low)
               * (width - left - right);
  };
  auto height = top + line * static_cast<double>(bars.size()) + 16;
  auto text = fmt::format(
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" "
    "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"12\">\n"
    "<rect width=\"{0}\" height=\"{1:.0f}\" fill=\"white\"/>\n"
    "<text x=\"10\" y=\"20\" font-size=\"15\">How many times ahead of each "
    "peer; left of 1 it is ahead</text>\n",
    width, height);
  auto step = std::max(1, static_cast<int>(std::log2(high / low)) / 10);
  for (double v = low; v <= high * 1.01; v *= std::exp2(step))
    text += fmt::format(
      "<path d=\"M{0:.1f} {1}V{2:.0f}\" stroke=\"#ddd\"/>\n"
      "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:g}</text>\n",
      at(v), top - 6, height - 10, top - 10, v);
  auto y = top;
  for (auto& b : bars) {
    auto from = std::min(at(b.ratio), at(1));
    text += fmt::format(
      "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{} / {}</text>\n"
      "<rect x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"12\" "
      "fill=\"{}\"/>\n<text x=\"{:.1f}\" y=\"{:.0f}\">{:.3g}x</text>\n",
      left - 8, y + 11, b.row, b.peer, from, y + 1,
      std::abs(at(b.ratio) - at(1)),
      b.ratio < 1 ? "#d62728" : colour_of(b.peer),
      std::max(at(b.ratio), at(1)) + 4, y + 11, b.ratio);
    y += line;
  }
  return text
         + fmt::format(
           "<path d=\"M{0:.1f} {1}V{2:.0f}\" stroke=\"#333\"/>\n"
           "</svg>\n",
           at(1), top - 6, height - 10);
}

} // namespace

bool write_bars(const std::string& folder, const std::vector<outcome>& all) {
  auto bars = bars_of(all);
  if (bars.empty())
    return true;
  std::ofstream out{folder + "/ratios.svg"};
  out << svg_of(bars);
  return static_cast<bool>(out.flush());
}

} // namespace bench
