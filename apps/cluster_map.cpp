// SPDX-License-Identifier: MIT
// cluster_map: a picture drawn by several nodes, one of which may die
//
//   cluster_map --kill                    3 local nodes, one killed midway
//   cluster_map --nodes a:7000,b:7000     nodes that run already
//   cluster_map --nodes slurm:7000        in a job of Slurm; dns:NAME:PORT and
//                                         file:PATH likewise
#include <troupe/troupe.hpp>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <atomic>
#include <complex>
#include <csignal>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

struct settings {
  int width = 76, height = 28, depth = 60'000;
  std::size_t nodes = 3;
  std::string where;
  bool kill = false;
};

/// Plain structs travel as they are.
struct row {
  int y = 0;
  int width = 0, height = 0, depth = 0;
};

// A row of the Mandelbrot set, a letter for each point.
std::string draw(const row& r) {
  constexpr std::string_view shades = " .:-=+*%@";
  std::string line;
  for (int x = 0; x < r.width; ++x) {
    const std::complex<double> c{-2.2 + 3.2 * x / r.width,
                                 -1.2 + 2.4 * r.y / r.height};
    std::complex<double> z;
    int steps = 0;
    while (steps < r.depth && std::norm(z) <= 4) {
      z = z * z + c;
      ++steps;
    }
    const auto shade = steps == r.depth ? shades.size() - 1
                                        : static_cast<std::size_t>(steps)
                                            % (shades.size() - 1);
    line += shades[shade];
  }
  return line;
}

void report(const troupe::node_pool& pool) {
  for (const auto& n : pool.nodes())
    fmt::print("node {}: {} rows, {} lost with it{}\n", n.address, n.answered,
               n.lost, n.is_up ? "" : ", gone");
  const auto s = pool.stats();
  fmt::print("{} rows lost with their node, {} drawn again elsewhere\n", s.lost,
             s.retried);
}

int work(troupe::system& sys, const settings& s) {
  std::vector<troupe::launched_node> local;
  std::vector<troupe::node> nodes;
  if (s.where.empty()) {
    local = troupe::launch_local(sys, s.nodes);
    for (const auto& l : local)
      nodes.push_back(l.node());
  } else {
    nodes = troupe::connect_all(sys, troupe::find_nodes(s.where));
  }
  // At ^C no more is drawn: what is left goes with the map, silently.
  auto interrupted = std::make_shared<std::atomic<bool>>(false);
  for (const int number : {SIGINT, SIGTERM})
    troupe::on_signal(number, [interrupted](int) { *interrupted = true; });
  troupe::node_pool pool{sys, {.nodes = nodes}};
  std::vector<row> rows;
  for (int y = 0; y < s.height; ++y)
    rows.push_back({y, s.width, s.height, s.depth});
  // A row may be drawn twice: it is the same picture.
  constexpr auto task = troupe::idempotent(troupe::fn<&draw>);
  std::vector<std::string> picture;
  for (auto&& line : pool.map(task, rows, {.chunk = 1})) {
    if (*interrupted)
      return 1;
    fmt::print("{}\n", line);
    picture.push_back(std::move(line));
    if (s.kill && picture.size() == rows.size() / 4) {
      const int pid = local.front().pid();
      local.front().kill();
      fmt::print("-- process {}, node {}, was killed\n", pid,
                 nodes.front().address());
    }
  }
  report(pool);
  std::size_t good = 0;
  for (std::size_t y = 0; y < std::min(picture.size(), rows.size()); ++y)
    good += picture[y] == draw(rows[y]) ? 1 : 0;
  const auto is_whole = good == rows.size() && picture.size() == rows.size();
  fmt::print("{} of {} rows are as they are drawn here: the picture is {}\n",
             good, rows.size(), is_whole ? "whole" : "NOT whole");
  return is_whole ? 0 : 1;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "cluster_map: a picture drawn by several nodes, one of which may "
        "die.\n\nIt teaches: node_pool, launch_local, find_nodes; what is "
        "idempotent is tried\nagain elsewhere when its node is lost.\nExit "
        "codes: 0 the picture is whole, 1 not, 2 a bad option."};
      app.add_option("--width", s.width, "Letters")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
      app.add_option("--height", s.height, "Rows")
        ->check(CLI::Range(4, 1000))
        ->capture_default_str();
      app.add_option("--depth", s.depth, "Steps for a point, at most")
        ->check(CLI::Range(1, 10'000'000))
        ->capture_default_str();
      auto* local =
        app.add_option("--local", s.nodes, "Nodes to start on this machine")
          ->check(CLI::Range(2, 64))
          ->capture_default_str();
      auto* where = app.add_option("--nodes", s.where,
                                   "Nodes that run already");
      auto* kill = app.add_flag("--kill", s.kill, "Kill one of them midway");
      where->excludes(local);
      where->excludes(kill);
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      if (where->count() > 0 && s.where.empty()) {
        fmt::print(stderr, "cluster_map: --nodes needs addresses\n");
        return 2;
      }
      return work(sys, s);
    });
}
