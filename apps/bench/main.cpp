// SPDX-License-Identifier: MIT
// troupe-bench: Troupe beside its peers, in turn, on this machine.

#include "ours/workloads.hpp"
#include "plot.hpp"
#include "report.hpp"
#include "run_one.hpp"
#include "summary.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <troupe/run.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

namespace {

using namespace bench;

struct options {
  plan how;
  std::vector<std::string> only;
  std::string json_file;
  std::string plot_folder;
  std::string markdown_file;
  bool makes_readme = false;
  bool is_quick = false;
  bool lists = false;
};

bool is_wanted(const workload& w, const std::vector<std::string>& only) {
  auto names = [&](const std::string& name) {
    return std::find(only.begin(), only.end(), name) != only.end();
  };
  return only.empty() || names(w.name)
         || std::any_of(w.rows.begin(), w.rows.end(),
                        [&](auto& r) { return names(r.name); });
}

void list() {
  for (auto& w : catalogue())
    fmt::print("{:<12} {:<52} peers: {}\n", w.name, w.says,
               fmt::join(w.peers, ", "));
}

// One line on stderr that is written over and over, if that is a terminal.
class progress_line {
public:
  explicit progress_line(std::size_t workloads) : all_(workloads) {}

  void show(const std::string& text) const {
    constexpr std::size_t width = 24;
    if (isatty(STDERR_FILENO) == 0)
      return;
    auto filled = all_ == 0 ? width : width * done_ / all_;
    auto s = static_cast<int>(watch_.seconds());
    fmt::print(stderr, "\r\033[K[{:=<{}}{: <{}}] {}/{} {}:{:02} {}", "", filled,
               "", width - filled, done_, all_, s / 60, s % 60, text);
  }
  void next() {
    ++done_;
    if (isatty(STDERR_FILENO) != 0)
      fmt::print(stderr, "\r\033[K");
  }

private:
  std::size_t all_, done_ = 0;
  stopwatch watch_;
};

std::vector<outcome> run_all(const options& opts) {
  std::vector<outcome> all;
  std::vector<const workload*> wanted;
  for (auto& w : catalogue())
    if (is_wanted(w, opts.only) && (!opts.is_quick || w.is_quick))
      wanted.push_back(&w);
  progress_line line{wanted.size()};
  fmt::print("{}", table_head());
  for (auto* w : wanted) {
    auto found = compare(*w, opts.how,
                         [&](const std::string& text) { line.show(text); });
    line.next();
    for (auto& o : found)
      fmt::print("{}", table_lines(o));
    std::fflush(stdout);
    all.insert(all.end(), found.begin(), found.end());
  }
  return all;
}

void print_notes(const std::vector<std::string>& only) {
  for (auto& w : catalogue())
    if (!w.note.empty() && is_wanted(w, only))
      fmt::print("{}: {}\n", w.name, w.note);
}

// Worker processes are this program started again by troupe::run; the other
// workloads do without the system that it brings.
bool needs_processes(int argc, char** argv) {
  const std::string_view first = argc > 1 ? argv[1] : "";
  const std::string_view second = argc > 2 ? argv[2] : "";
  return first.starts_with("--troupe-") || first == "node" || first == "keys"
         || (first == "--run-one"
             && (second.starts_with("process_")
                 || second.starts_with("node_")));
}

bool write(const std::string& file, const std::string& text) {
  std::ofstream out{file};
  out << text;
  return static_cast<bool>(out.flush());
}

// The first file or folder that can't be written; empty if all are.
std::string write_files(const options& opts, const machine& where,
                        const std::vector<outcome>& all) {
  auto folder = opts.plot_folder;
  if (opts.makes_readme) {
    folder = "docs/bench";
    std::error_code failed; // then writing fails too
    std::filesystem::create_directories(folder, failed);
  }
  if (!opts.json_file.empty()
      && !write(opts.json_file, to_json(where, opts.how, all)))
    return opts.json_file;
  if (!opts.markdown_file.empty()
      && !write(opts.markdown_file, to_markdown(where, opts.how, all)))
    return opts.markdown_file;
  if (!folder.empty() && !(write_plots(folder, all) && write_bars(folder, all)))
    return folder;
  if (opts.makes_readme && !write_readme("README.md", where, opts.how, all))
    return "README.md";
  return "";
}

int run(const options& opts) {
  auto where = this_machine();
  fmt::print(
    "{}, {} usable CPUs, {}, {}, {}\n{}\n{} workers, median of up to {} runs "
    "{} a warm-up; a ratio above 1: Troupe is ahead\n\n",
    where.cpu, where.usable_cpus, where.kernel, where.compiler, where.build,
    peer_versions(), opts.how.workers, opts.how.runs,
    opts.how.warms_up ? "after" : "without");
  auto all = run_all(opts);
  if (opts.how.counts_allocations)
    fmt::print("{}", counts_table(all));
  fmt::print("{}", summary(all));
  print_notes(opts.only);
  if (auto file = write_files(opts, where, all); !file.empty()) {
    fmt::print(stderr, "troupe-bench: cannot write {}\n", file);
    return 1;
  }
  auto failed = [](auto& o) { return !o.ours.found; };
  return std::any_of(all.begin(), all.end(), failed) ? 1 : 0;
}

} // namespace

int main(int argc, char** argv) {
  if (needs_processes(argc, argv))
    return troupe::run(argc, argv, [](troupe::system&, std::span<char*> args) {
      return run_one(our_workloads(), static_cast<int>(args.size()),
                     args.data());
    });
  if (argc > 1 && std::strcmp(argv[1], "--run-one") == 0)
    return run_one(our_workloads(), argc, argv);
  options opts;
  opts.how.workers = this_machine().usable_cpus;
  opts.how.peers.assign(peer_names().begin(), peer_names().end());
  std::set<std::string> names;
  for (auto& w : catalogue()) {
    names.insert(w.name);
    for (auto& r : w.rows)
      names.insert(r.name);
  }
  CLI::App app{
    "Measures Troupe and its peers in turn, each run in a process "
    "of its own,\nand prints medians, spreads, ratios and targets. "
    "Exit code 1: a workload of ours failed."};
  app.add_option("--only", opts.only, "workloads or rows, by comma")
    ->delimiter(',')
    ->check(CLI::IsMember(names));
  app.add_option("--json", opts.json_file, "write the figures to this file");
  app
    .add_option("--plot", opts.plot_folder,
                "draw ratios.svg, and actors.svg, workers.svg and section.svg "
                "if they are measured, in this folder")
    ->check(CLI::ExistingDirectory);
  app.add_option("--markdown", opts.markdown_file,
                 "write the table to this file");
  app.add_flag("--readme", opts.makes_readme,
               "write the figures into README.md and plots into docs/bench of "
               "this folder; a side that takes long runs fewer times");
  app.add_flag("--counts", opts.how.counts_allocations,
               "print what each side counted: messages, context switches, ...; "
               "allocations by one more run of those in C++");
  app.add_flag("--quick", opts.is_quick,
               "2 minutes in all: fewer runs, no warm-up, without what takes "
               "long by itself");
  auto known = opts.how.peers;
  known.emplace_back("none");
  app.add_option("--peers", opts.how.peers, "peers to compare with, by comma")
    ->delimiter(',')
    ->check(CLI::IsMember(known));
  app.add_option("--runs", opts.how.runs, "counted runs of each side")
    ->check(CLI::Range(1, 1000))
    ->capture_default_str();
  app.add_option("--workers", opts.how.workers, "threads of each side")
    ->check(CLI::Range(1, 1024))
    ->capture_default_str();
  app.add_flag("--list", opts.lists, "name the workloads and end");
  CLI11_PARSE(app, argc, argv);
  if (opts.makes_readme)
    opts.how.budget = std::chrono::milliseconds{5'000};
  if (opts.is_quick) {
    opts.how.budget = std::chrono::milliseconds{300};
    opts.how.warms_up = false;
  }
  if (opts.lists) {
    list();
    return 0;
  }
  return run(opts);
}
