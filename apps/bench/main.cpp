// SPDX-License-Identifier: MIT
// troupe-bench: Troupe beside its peers, in turn, on this machine.

#include "ours/workloads.hpp"
#include "plot.hpp"
#include "report.hpp"
#include "run_one.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <troupe/run.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
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

void show_progress(const std::string& text) {
  if (isatty(STDERR_FILENO) != 0)
    fmt::print(stderr, "\r\033[K{}", text);
}

std::vector<outcome> run_all(const options& opts) {
  std::vector<outcome> all;
  fmt::print("{}", table_head());
  for (auto& w : catalogue()) {
    if (!is_wanted(w, opts.only) || (opts.is_quick && !w.is_quick))
      continue;
    auto found = compare(w, opts.how, show_progress);
    show_progress("");
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

int run(const options& opts) {
  auto where = this_machine();
  fmt::print(
    "{}, {} usable CPUs, {}, {}, {}\n{} workers, median of {}{} runs "
    "{} a warm-up; a ratio above 1: Troupe is ahead\n\n",
    where.cpu, where.usable_cpus, where.kernel, where.compiler, where.build,
    opts.how.workers, opts.is_quick ? "up to " : "", opts.how.runs,
    opts.is_quick ? "without" : "after");
  auto all = run_all(opts);
  fmt::print("{}", verdict(all));
  print_notes(opts.only);
  if (!opts.json_file.empty()) {
    std::ofstream out{opts.json_file};
    out << to_json(where, opts.how, all);
    if (!out.flush()) {
      fmt::print(stderr, "troupe-bench: cannot write {}\n", opts.json_file);
      return 1;
    }
  }
  if (!opts.markdown_file.empty()) {
    std::ofstream out{opts.markdown_file};
    out << to_markdown(where, opts.how, all);
    if (!out.flush()) {
      fmt::print(stderr, "troupe-bench: cannot write {}\n", opts.markdown_file);
      return 1;
    }
  }
  if (!opts.plot_folder.empty()
      && !(write_plots(opts.plot_folder, all)
           && write_bars(opts.plot_folder, all))) {
    fmt::print(stderr, "troupe-bench: cannot write to {}\n", opts.plot_folder);
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
                "draw ratios.svg, and section.svg if that is measured, in "
                "this folder")
    ->check(CLI::ExistingDirectory);
  app.add_option("--markdown", opts.markdown_file,
                 "write the table to this file");
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
  if (opts.is_quick)
    opts.how.budget = std::chrono::milliseconds{1'500};
  if (opts.lists) {
    list();
    return 0;
  }
  return run(opts);
}
