// SPDX-License-Identifier: MIT

#include "summary.hpp"

#include "report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <fstream>
#include <sstream>

namespace bench {

namespace {

constexpr double savina_aim = 4, go_aim = 1.5, behind = 0.8;

struct mean {
  double product_log = 0;
  int rows = 0;

  void take(std::optional<double> ratio) {
    if (ratio && *ratio > 0) {
      product_log += std::log(*ratio);
      ++rows;
    }
  }
  std::string text(double aim) const {
    auto x = rows == 0 ? 0 : std::exp(product_log / rows);
    return fmt::format("{:.2f}x over {} rows (aim: >= {:g}x, {})", x, rows, aim,
                       x >= aim ? "met" : "NOT met");
  }
};

mean savina_mean(const std::vector<outcome>& all) {
  mean m;
  for (auto& o : all)
    if (o.what.is_savina)
      m.take(o.ratio("caf"));
  return m;
}

mean go_mean(const std::vector<outcome>& all) {
  mean m;
  for (auto& o : all)
    m.take(o.ratio("go"));
  return m;
}

struct best_peer {
  std::string name;
  double ratio = 0;
};

best_peer best_of(const outcome& o) {
  best_peer best;
  for (auto& [name, s] : o.peers)
    if (auto r = o.ratio(name); r && (best.name.empty() || *r < best.ratio))
      best = {name, *r};
  return best;
}

template <class F>
void for_each_behind(const std::vector<outcome>& all, F f) {
  for (auto& o : all)
    if (auto best = best_of(o); !best.name.empty() && best.ratio < behind)
      f(o, best);
}

std::string reason_of(const outcome& o) {
  return o.what.reason.empty() ? "no reason is known" : o.what.reason;
}

std::string page(const machine& m, const plan& how,
                 const std::vector<outcome>& all) {
  auto text = fmt::format(
    "{}, {} usable CPUs, {}, {}, {} build; {}. {} workers; medians of up to {} "
    "runs, in turn with the peers' runs. A ratio is the median over pairs of "
    "runs: **above 1 Troupe is ahead**. The columns are each side's own "
    "median, so where runs differ much a ratio need not be their quotient, "
    "and may even be on the other side of 1.\n\n",
    m.cpu, m.usable_cpus, m.kernel, m.compiler, m.build, peer_versions(),
    how.workers, how.runs);
  text += fmt::format(
    "- Savina against raw CAF, geometric mean: {}.\n"
    "- All rows that Go has too: {}.\n",
    savina_mean(all).text(savina_aim), go_mean(all).text(go_aim));
  text += fmt::format("- {}.\n", met_of(all));
  for (auto& o : all)
    if (o.is_met() == std::optional{false})
      text += fmt::format("  - `{}`, missed: {}; {}.\n", o.what.name,
                          goals_of(o.what), reason_of(o));
  std::string losses;
  for_each_behind(all, [&](auto& o, auto& best) {
    losses += fmt::format("  - `{}`: {}x of {}; {}.\n", o.what.name,
                          number(best.ratio), best.name, reason_of(o));
  });
  text += losses.empty() ? "- No row below 0.8x of its best peer.\n"
                         : "- Below 0.8x of the best peer:\n" + losses;
  text +=
    "\n![How many times ahead of each peer](docs/bench/ratios.svg)\n\n"
    "![Cost of a message by number of actors](docs/bench/actors.svg)\n\n"
    "![Messages per second by number of workers]"
    "(docs/bench/workers.svg)\n\n"
    "![A mutex and guarded](docs/bench/section.svg)\n\n"
    "| row | unit | Troupe | peers |\n| --- | --- | --- | --- |\n";
  for (auto& o : all) {
    std::string peers;
    for (auto& [name, s] : o.peers) {
      std::string figure = s.found ? number(s.found->median) : "absent";
      if (auto r = o.ratio(name))
        figure += *r < 1 ? " (**" + number(*r) + "x**)"
                         : " (" + number(*r) + "x)";
      peers += (peers.empty() ? "" : ", ") + name + " " + figure;
    }
    text += fmt::format("| {} | {} | {} | {} |\n", o.what.name, o.what.unit,
                        o.ours.found ? number(o.ours.found->median)
                                     : o.ours.failure.substr(0, 40),
                        peers);
  }
  return text;
}

} // namespace

std::string summary(const std::vector<outcome>& all) {
  std::string text = "\n";
  if (auto m = savina_mean(all); m.rows > 0)
    text += "Savina, geometric mean against caf: " + m.text(savina_aim) + "\n";
  if (auto m = go_mean(all); m.rows > 0)
    text += "go, geometric mean: " + m.text(go_aim) + "\n";
  for_each_behind(all, [&](auto& o, auto& best) {
    text += fmt::format("behind: {} {}x of {}: {}\n", o.what.name,
                        number(best.ratio), best.name, reason_of(o));
  });
  return text + verdict(all);
}

std::string counts_table(const std::vector<outcome>& all) {
  static constexpr const char* names[] = {
    "messages", "allocations",  "steals", "wakes",
    "switches", "instructions", "cpu_ms", "peak_mib"};
  auto text = fmt::format("\n{:<18} {:<15}", "counts", "side");
  for (auto* name : names)
    text += fmt::format(" {:>12}", name);
  text += "\n";
  for (auto& o : all) {
    auto row = o.what.name;
    for (auto& [side, counts] : o.counts) {
      text += fmt::format("{:<18} {:<15}", row, side);
      for (auto* name : names) {
        auto found = counts.find(name);
        text += found == counts.end()
                  ? fmt::format(" {:>12}", "")
                  : fmt::format(" {:>12.0f}", found->second);
      }
      text += "\n";
      row = "";
    }
  }
  return text;
}

bool write_readme(const std::string& file, const machine& m, const plan& how,
                  const std::vector<outcome>& all) {
  std::ifstream in{file};
  std::ostringstream whole;
  whole << in.rdbuf();
  auto text = whole.str();
  auto begin = text.find("<!-- bench: ");
  auto end = text.find("<!-- bench end -->");
  if (begin == std::string::npos || end == std::string::npos || end < begin)
    return false;
  begin = text.find('\n', begin) + 1;
  std::ofstream out{file};
  out << text.substr(0, begin) << "\n"
      << page(m, how, all) << "\n"
      << text.substr(end);
  return static_cast<bool>(out.flush());
}

} // namespace bench
