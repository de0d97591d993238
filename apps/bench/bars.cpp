// SPDX-License-Identifier: MIT
// bars: a line per row and a mark per peer: how many times ahead we are, on a
// logarithmic axis, with a bar from 1 to the best peer.

#include "plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>

namespace bench {

namespace {

struct mark {
  std::string peer;
  double ratio = 1;
};

struct bar {
  std::string row;
  std::vector<mark> marks; // the best peer first
};

constexpr double width = 760, left = 170, right = 24, top = 78, step_y = 16;

// Those of `section`, which has a picture of its own, are left out.
std::vector<bar> bars_of(const std::vector<outcome>& all) {
  std::vector<bar> result;
  for (auto& o : all) {
    bar b{o.what.name, {}};
    for (auto& [peer, s] : o.peers)
      if (auto r = o.ratio(peer); r && *r > 0)
        b.marks.push_back({peer, *r});
    std::sort(b.marks.begin(), b.marks.end(),
              [](auto& x, auto& y) { return x.ratio < y.ratio; });
    if (!b.marks.empty() && !b.row.starts_with("section_"))
      result.push_back(std::move(b));
  }
  return result;
}

std::string colour_of(const std::string& peer) {
  static constexpr const char* colours[] = {
    "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#e377c2", "#7f7f7f",
    "#bcbd22", "#8c564b", "#17becf", "#333333", "#aaaaaa"};
  auto names = peer_names();
  auto at = std::find(names.begin(), names.end(), peer) - names.begin();
  return colours[static_cast<std::size_t>(at) % std::size(colours)];
}

std::string key_of(const std::vector<bar>& bars) {
  std::string text;
  double x = left;
  for (auto& peer : peer_names()) {
    auto has = [&](const bar& b) {
      return std::any_of(b.marks.begin(), b.marks.end(),
                         [&](auto& m) { return m.peer == peer; });
    };
    if (std::none_of(bars.begin(), bars.end(), has))
      continue;
    text += fmt::format(
      "<circle cx=\"{:.0f}\" cy=\"38\" r=\"4\" fill=\"{}\"/>\n"
      "<text x=\"{:.0f}\" y=\"42\">{}</text>\n",
      x, colour_of(peer), x + 7, peer);
    x += 18 + 5.6 * static_cast<double>(peer.size());
  }
  return text;
}

std::string svg_of(const std::vector<bar>& bars) {
  double low = 0.5, high = 2;
  for (auto& b : bars)
    for (auto& m : b.marks) {
      while (m.ratio < low)
        low /= 2;
      while (m.ratio > high)
        high *= 2;
    }
  auto at = [&](double ratio) {
    return left
           + std::log(ratio / low) / std::log(high / low)
               * (width - left - right);
  };
  auto height = top + step_y * static_cast<double>(bars.size()) + 12;
  auto text = fmt::format(
    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" "
    "height=\"{1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n"
    "<rect width=\"{0}\" height=\"{1:.0f}\" fill=\"white\"/>\n"
    "<text x=\"10\" y=\"20\" font-size=\"15\">How many times Troupe is ahead "
    "of "
    "each peer; left of 1 the peer is ahead</text>\n",
    width, height);
  text += key_of(bars);
  auto step = std::max(1, static_cast<int>(std::log2(high / low)) / 10);
  for (double v = low; v <= high * 1.01; v *= std::exp2(step))
    text += fmt::format(
      "<path d=\"M{0:.1f} {1}V{2:.0f}\" stroke=\"#ddd\"/>\n"
      "<text x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:.3g}</text>\n",
      at(v), top - 6, height - 10, top - 10, v);
  auto y = top + step_y / 2;
  for (auto& b : bars) {
    auto best = at(b.marks[0].ratio);
    text += fmt::format(
      "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">{}</text>\n"
      "<rect x=\"{:.1f}\" y=\"{:.0f}\" width=\"{:.1f}\" height=\"10\" "
      "fill=\"{}\"/>\n",
      left - 8, y + 4, b.row, std::min(best, at(1)), y - 5,
      std::abs(best - at(1)), b.marks[0].ratio < 1 ? "#f2b8b8" : "#cfe3cf");
    for (auto& m : b.marks)
      text += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.0f}\" r=\"4\" fill=\"{}\">"
        "<title>{} / {}: {:.3g}x</title></circle>\n",
        at(m.ratio), y, colour_of(m.peer), b.row, m.peer, m.ratio);
    y += step_y;
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
