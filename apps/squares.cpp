// SPDX-License-Identifier: MIT
// squares: one map on process pools of several sizes, and which is worth it.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <numeric>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <troupe/troupe.hpp>

namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr int count_max = 10'000'000;

struct settings {
  std::vector<int> sizes{2, 4, 8};
  int count = 10;
  int reps = 5;
  int work_ms = 10;
  std::string plot_file;
};

// The two grains: next to nothing, and a while of computing.
long long square(int x) {
  return static_cast<long long>(x) * x;
}

long long square_after(std::pair<int, int> x_and_ms) {
  const auto [x, ms] = x_and_ms;
  const auto until = steady_clock::now() + std::chrono::milliseconds{ms};
  while (steady_clock::now() < until) {}
  return square(x);
}

struct figure {
  std::string grain;
  int workers = 0; // 0: in sequence
  double start_ms = 0, median_ms = 0, p95_ms = 0;
};

double ms_since(steady_clock::time_point began) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - began)
    .count();
}

// Runs `once`, which gives the squares, `reps` times after a warm-up.
template <class F>
figure measure(const settings& s, std::string grain, int workers,
               double start_ms, F once) {
  std::vector<long long> wanted;
  for (int i = 1; i <= s.count; ++i)
    wanted.push_back(square(i));
  std::vector<double> ms;
  for (int i = 0; i <= s.reps; ++i) {
    const auto began = steady_clock::now();
    const auto found = once();
    if (i > 0)
      ms.push_back(ms_since(began));
    if (found != wanted)
      throw std::logic_error{grain + ": the squares are wrong"};
  }
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double q) {
    return ms[static_cast<std::size_t>(q * static_cast<double>(ms.size() - 1)
                                       + 0.5)];
  };
  return {std::move(grain), workers, start_ms, at(0.5), at(0.95)};
}

template <class F, class Inputs>
std::vector<long long> in_sequence(F f, const Inputs& inputs) {
  std::vector<long long> found;
  for (const auto& x : inputs)
    found.push_back(f(x));
  return found;
}

// One grain: in sequence, then on each size of pool.
template <class F, class Inputs>
void run_grain(troupe::system& sys, const settings& s, const std::string& grain,
               F f, const Inputs& inputs, std::vector<figure>& all) {
  all.push_back(
    measure(s, grain, 0, 0, [&] { return in_sequence(f, inputs); }));
  for (const int workers : s.sizes) {
    const auto began = steady_clock::now();
    troupe::process_pool pool{sys, {.workers = workers, .spares = 0}};
    // Started is who has answered.
    (void)pool.submit(troupe::fn<&square>, 1).get();
    const auto start_ms = ms_since(began);
    all.push_back(measure(s, grain, workers, start_ms,
                          [&] { return pool.map(f, inputs).to_vector(); }));
  }
}

void print_table(const settings& s, const std::vector<figure>& all) {
  fmt::print("{:<9} {:>7} {:>10} {:>11} {:>10} {:>12} {:>8} {:>10}\n", "grain",
             "workers", "start ms", "median ms", "p95 ms", "results/s",
             "speed-up", "efficiency");
  double sequence_ms = 0;
  for (const auto& f : all) {
    if (f.workers == 0)
      sequence_ms = f.median_ms;
    const auto speed_up = sequence_ms / f.median_ms;
    fmt::print(
      "{:<9} {:>7} {:>10.2f} {:>11.4f} {:>10.4f} {:>12.0f} {:>8.2f} "
      "{:>10}\n",
      f.grain, f.workers == 0 ? "none" : std::to_string(f.workers), f.start_ms,
      f.median_ms, f.p95_ms, s.count / f.median_ms * 1e3, speed_up,
      f.workers == 0 ? std::string{"-"}
                     : fmt::format("{:.0f} %", 100 * speed_up / f.workers));
  }
}

void print_advice(const std::vector<figure>& all, std::size_t cpus) {
  for (const std::string grain : {"trivial", "computing"}) {
    const figure* sequence = nullptr;
    const figure* best = nullptr;
    for (const auto& f : all) {
      if (f.grain != grain)
        continue;
      if (f.workers == 0)
        sequence = &f;
      else if (best == nullptr || f.median_ms < best->median_ms)
        best = &f;
    }
    if (sequence == nullptr || best == nullptr)
      continue;
    const auto ratio = sequence->median_ms / best->median_ms;
    if (ratio < 1)
      fmt::print(
        "{}: every pool is SLOWER than no pool, the best takes {:.2f} "
        "times as long: {}\n",
        grain, 1 / ratio,
        grain == "trivial"
          ? "carrying a\nnumber there and back costs more than "
            "squaring it"
          : "there is too\nlittle work to share, or no core is free "
            "for it");
    else
      fmt::print(
        "{}: {} workers are best, {:.2f} times as fast as no pool "
        "({} usable cores)\n",
        grain, best->workers, ratio, cpus);
  }
}

// Speed-up by size, one line per grain.
void plot(std::ofstream& out, const settings& s,
          const std::vector<figure>& all) {
  const auto largest = *std::max_element(s.sizes.begin(), s.sizes.end());
  const auto x_of = [&](int workers) { return 60 + 500.0 * workers / largest; };
  const auto y_of = [&](double up) { return 330 - 280.0 * up / largest; };
  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"640\" "
         "height=\"400\" font-family=\"sans-serif\" font-size=\"13\">\n"
         "<rect width=\"640\" height=\"400\" fill=\"white\"/>\n"
      << fmt::format(
           "<path d=\"M60 50 V330 H580\" fill=\"none\" "
           "stroke=\"black\"/>\n<line x1=\"60\" y1=\"330\" "
           "x2=\"{}\" y2=\"{}\" stroke=\"#aaa\" "
           "stroke-dasharray=\"4\"/>\n",
           x_of(largest), y_of(largest))
      << "<text x=\"60\" y=\"30\">speed-up of " << s.count
      << " squares by size of the process pool (dashed: perfect)</text>\n"
         "<text x=\"280\" y=\"375\">workers</text>\n";
  for (const int size : s.sizes)
    out << fmt::format(
      "<text x=\"{}\" y=\"350\" text-anchor=\"middle\">{}"
      "</text>\n",
      x_of(size), size);
  for (const int up : {1, largest})
    out << fmt::format(
      "<text x=\"50\" y=\"{}\" text-anchor=\"end\">{}</text>\n", y_of(up) + 4,
      up);
  const std::pair<const char*, const char*> lines[] = {{"trivial", "#c33"},
                                                       {"computing", "#36c"}};
  int row = 0;
  for (const auto& [grain, colour] : lines) {
    double sequence_ms = 0;
    std::string points;
    for (const auto& f : all) {
      if (f.grain != grain)
        continue;
      if (f.workers == 0)
        sequence_ms = f.median_ms;
      else
        points += fmt::format("{:.1f},{:.1f} ", x_of(f.workers),
                              y_of(sequence_ms / f.median_ms));
    }
    out << fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" "
      "stroke-width=\"2\"/>\n<text x=\"80\" y=\"{}\" "
      "fill=\"{}\">{}</text>\n",
      points, colour, 70 + 18 * row++, colour, grain);
  }
  out << "</svg>\n" << std::flush;
  if (!out)
    throw std::runtime_error{"can't write " + s.plot_file};
  fmt::print("the plot is in {}\n", s.plot_file);
}

int work(troupe::system& sys, const settings& s) {
  std::ofstream plot_file; // before all the work, which might be for nothing
  if (!s.plot_file.empty()) {
    plot_file.open(s.plot_file);
    if (!plot_file)
      throw std::runtime_error{"can't write " + s.plot_file};
  }
  std::vector<int> numbers(static_cast<std::size_t>(s.count));
  std::iota(numbers.begin(), numbers.end(), 1);
  if (s.count <= 10)
    fmt::print("{} -> {}\n", fmt::join(numbers, ", "),
               fmt::join(troupe::process_pool{sys, {.workers = 2}}
                           .map(troupe::fn<&square>, numbers)
                           .to_vector(),
                         ", "));
  std::vector<std::pair<int, int>> timed;
  for (const int x : numbers)
    timed.emplace_back(x, s.work_ms);
  std::vector<figure> all;
  run_grain(sys, s, "trivial", troupe::fn<&square>, numbers, all);
  if (s.work_ms > 0)
    run_grain(sys, s, "computing", troupe::fn<&square_after>, timed, all);
  fmt::print(
    "{} squares, {} usable cores, median of {} runs; computing: {} ms "
    "each\n\n",
    s.count, sys.workers(), s.reps, s.work_ms);
  print_table(s, all);
  fmt::print("\n");
  print_advice(all, sys.workers());
  if (!s.plot_file.empty())
    plot(plot_file, s, all);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  return troupe::run(
    argc, argv, [](troupe::system& sys, std::span<char*> args) {
      settings s;
      CLI::App app{
        "squares: one map on process pools of several sizes, and which is "
        "worth it.\n\nIt teaches: pool.map with worker processes; what a pool "
        "costs to start and per\nresult; that it pays only where the work is "
        "larger than the way there.\nExit codes: 0 all squares were right, 1 "
        "not, 2 a bad option."};
      app.add_option("--sizes", s.sizes, "Workers of each pool, by comma")
        ->delimiter(',')
        ->check(CLI::Range(1, 256))
        ->capture_default_str();
      app.add_option("--count", s.count, "Squares of 1 to this")
        ->check(CLI::Range(1, count_max))
        ->capture_default_str();
      app.add_option("--reps", s.reps, "Timed runs of each")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
      app.add_option("--work-ms", s.work_ms, "Computing per square; 0: none")
        ->check(CLI::Range(0, 10'000))
        ->capture_default_str();
      app.add_option("--plot", s.plot_file, "Write the speed-up as an SVG");
      try {
        app.parse(static_cast<int>(args.size()), args.data());
      } catch (const CLI::ParseError& e) {
        return app.exit(e) == 0 ? 0 : 2;
      }
      return work(sys, s);
    });
}
