// SPDX-License-Identifier: MIT

#include "plot.hpp"
#include "chart.hpp"
#include "measure.hpp"
#include "sizes.hpp"

#include <fmt/format.h>

#include <cmath>
#include <fstream>

namespace bench {

namespace {

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

bool write(const std::string& file, const chart& c) {
  std::ofstream out{file};
  out << svg_of(c);
  return static_cast<bool>(out.flush());
}

bool write_section(const std::string& folder, const std::vector<outcome>& all) {
  auto lines = section_lines(all);
  if (lines[0].points.empty())
    return true;
  for (auto i : {0u, 1u})
    fmt::print("section: {} is ahead of {} {}\n", lines[i].name, lines[2].name,
               crossover(lines[i], lines[2]));
  return write(folder + "/section.svg",
               {"8 sharers of one value: time per call by length of the "
                "critical section",
                "critical section, ns", "ns per call", 10, 10, lines});
}

// A line for us and one for each peer, through the rows of such steps.
template <class Steps, class Row>
std::vector<line> lines_over(const std::vector<outcome>& all,
                             const Steps& steps, Row row) {
  std::vector<line> lines{{"Troupe", "#d62728", {}},
                          {"CAF 0.17.6", "#1f77b4", {}},
                          {"Go", "#2ca02c", {}}};
  for (auto n : steps)
    if (auto* o = find(all, row(n))) {
      const auto x = static_cast<double>(n);
      add(lines[0], x, o->ours);
      for (auto i : {1u, 2u})
        if (auto s = o->peers.find(i == 1 ? "caf" : "go"); s != o->peers.end())
          add(lines[i], x, s->second);
    }
  return lines;
}

bool write_unless_empty(const std::string& file, const chart& c) {
  return c.lines[0].points.empty() || write(file, c);
}

} // namespace

bool write_plots(const std::string& folder, const std::vector<outcome>& all) {
  return write_section(folder, all)
         && write_unless_empty(
           folder + "/actors.svg",
           {"8 tokens hop round a ring: time per message by number of actors",
            "actors", "ns per message", 10, 10,
            lines_over(all, scale_steps, scale_row)})
         && write_unless_empty(
           folder + "/workers.svg",
           {"16 pairs play ping-pong: messages per second by workers",
            "workers", "M messages per second", 2, 2,
            lines_over(all, worker_steps, workers_row)});
}

} // namespace bench
