// SPDX-License-Identifier: MIT

#include "report.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <cmath>

namespace bench {

std::string number(double x) {
  if (x == 0)
    return "0";
  auto digits = 2 - static_cast<int>(std::floor(std::log10(std::abs(x))));
  return fmt::format("{:.{}f}", x, std::clamp(digits, 0, 6));
}

namespace {

namespace json = boost::json;

constexpr auto line_format =
  "{:<15} {:<14} {:>26}  {:<10} {:>26} {:>8}  {:<14} "
  "{}\n";

std::string text_of(const side& s) {
  if (!s.found)
    return s.failure.substr(0, 60);
  return fmt::format("{} ({}..{})", number(s.found->median),
                     number(s.found->min), number(s.found->max));
}

std::string text_of(const target& t) {
  switch (t.kind) {
    case target::ratio_min:
      return fmt::format(">= {:g}x {}", t.bound, t.peer);
    case target::value_max:
      return fmt::format("<= {:g}", t.bound);
    case target::none:
      break;
  }
  return "";
}

std::string text_of(std::optional<bool> is_met) {
  return is_met ? (*is_met ? "met" : "NOT met") : "";
}

json::object json_of(const side& s) {
  if (!s.found)
    return {{"error", s.failure}};
  return {{"median", s.found->median},
          {"min", s.found->min},
          {"max", s.found->max},
          {"runs", s.found->values.size()}};
}

json::object json_of(const outcome& o) {
  json::object peers;
  json::object ratios;
  for (auto& [name, s] : o.peers) {
    peers[name] = json_of(s);
    if (auto r = o.ratio(name))
      ratios[name] = *r;
  }
  json::object result{{"workload", o.what.name},
                      {"unit", o.what.unit},
                      {"better", o.what.higher_is_better ? "higher" : "lower"},
                      {"troupe", json_of(o.ours)},
                      {"peers", std::move(peers)},
                      {"ratio", std::move(ratios)}};
  for (auto& [name, counts] : o.counts) {
    json::object all;
    for (auto& [what, n] : counts)
      all[what] = n;
    if (!result.contains("counts"))
      result["counts"] = json::object{};
    result["counts"].as_object()[name] = std::move(all);
  }
  if (o.what.goal.kind != target::none)
    result["target"] = goals_of(o.what);
  if (auto is_met = o.is_met())
    result["met"] = *is_met;
  return result;
}

} // namespace

std::string goals_of(const row& r) {
  auto text = text_of(r.goal);
  return r.also.kind == target::none ? text : text + ", " + text_of(r.also);
}

std::string table_head() {
  auto head = fmt::format(fmt::runtime(line_format), "workload", "unit",
                          "troupe: median (min..max)", "peer",
                          "its median (min..max)", "ratio", "target", "");
  return head + std::string(head.size() + 6, '-') + "\n";
}

std::string table_lines(const outcome& o) {
  std::string name = o.what.name;
  std::string unit = o.what.unit;
  std::string ours = text_of(o.ours);
  std::string goal = goals_of(o.what);
  std::string is_met = text_of(o.is_met());
  std::string result;
  auto add_line = [&](const std::string& peer, const std::string& theirs,
                      const std::string& ratio) {
    result += fmt::format(fmt::runtime(line_format), name, unit, ours, peer,
                          theirs, ratio, goal, is_met);
    name = unit = ours = goal = is_met = "";
  };
  for (auto& [peer, s] : o.peers) {
    auto r = o.ratio(peer);
    add_line(peer, text_of(s), r ? number(*r) + "x" : "");
  }
  if (o.peers.empty())
    add_line("", "", "");
  return result;
}

std::string met_of(const std::vector<outcome>& all) {
  int judged = 0;
  int met = 0;
  for (auto& o : all)
    if (o.what.goal.kind != target::none) {
      ++judged;
      met += o.is_met().value_or(false) ? 1 : 0;
    }
  return fmt::format("{} of {} targets met", met, judged);
}

std::string verdict(const std::vector<outcome>& all) {
  std::string missed;
  for (auto& o : all)
    if (o.what.goal.kind != target::none && !o.is_met().value_or(false))
      missed += " " + o.what.name;
  return met_of(all)
         + (missed.empty() ? "" : "; not met or not known:" + missed) + "\n";
}

std::string to_markdown(const machine& m, const plan& how,
                        const std::vector<outcome>& all) {
  auto text = fmt::format(
    "{}, {} usable CPUs, {}, {}, {}; {} workers, median of up to {} runs in "
    "turn. A ratio is the median over pairs of runs; **above 1 Troupe is "
    "ahead**.\n\n| workload | unit | Troupe | peer | its figure | ratio | "
    "target |\n| --- | --- | --- | --- | --- | --- | --- |\n",
    m.cpu, m.usable_cpus, m.kernel, m.compiler, m.build, how.workers, how.runs);
  auto figure = [](const side& s) {
    return s.found ? number(s.found->median) : s.failure.substr(0, 40);
  };
  for (auto& o : all) {
    auto goal = goals_of(o.what);
    if (auto met = o.is_met())
      goal += *met ? ", met" : ", **not met**";
    auto line = [&](const std::string& peer, const std::string& theirs,
                    const std::string& ratio) {
      text += fmt::format("| {} | {} | {} | {} | {} | {} | {} |\n", o.what.name,
                          o.what.unit, figure(o.ours), peer, theirs, ratio,
                          goal);
    };
    for (auto& [peer, s] : o.peers) {
      auto r = o.ratio(peer);
      line(peer, figure(s), r ? number(*r) + "x" : "");
    }
    if (o.peers.empty())
      line("", "", "");
  }
  return text;
}

std::string to_json(const machine& m, const plan& how,
                    const std::vector<outcome>& all) {
  json::array rows;
  for (auto& o : all)
    rows.push_back(json_of(o));
  json::object result{{"machine",
                       {{"cpu", m.cpu},
                        {"cores", m.cores},
                        {"usable_cpus", m.usable_cpus},
                        {"memory_gib", m.memory_gib},
                        {"kernel", m.kernel},
                        {"compiler", m.compiler},
                        {"build", m.build},
                        {"load_1m", m.load_1m},
                        {"peers", peer_versions()},
                        {"workers", how.workers},
                        {"runs", how.runs}}},
                      {"rows", std::move(rows)}};
  return json::serialize(result) + "\n";
}

} // namespace bench
