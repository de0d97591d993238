// SPDX-License-Identifier: MIT

#include "compare.hpp"

#include "child.hpp"
#include "compile.hpp"
#include "machine.hpp"
#include "measure.hpp"

#include <boost/json/parse.hpp>

#include <algorithm>
#include <filesystem>
#include <sstream>

namespace bench {

namespace {

// What a side has given so far: values by row, or a failure.
struct series {
  std::string name;
  std::map<std::string, std::vector<double>> values;
  std::map<std::string, std::vector<double>> counts;
  std::string failure;
  double seconds = 0; // that it took, all runs and what went before them
};

std::string program_of(const std::string& name) {
  auto self = std::filesystem::path{self_path()};
  if (name == "troupe")
    return self;
  return self.parent_path() / ("troupe-bench-" + name);
}

// Those that can't read sizes.hpp.
bool needs_sizes(const std::string& name) {
  return name == "go" || name == "erlang" || name == "python_threads";
}

std::vector<std::string> command_of(const workload& what,
                                    const std::string& name, const plan& how) {
  auto program = program_of(name);
  if (!is_executable(program))
    throw std::runtime_error("absent (its package was not found)");
  std::vector<std::string> command{program, "--run-one", what.name,
                                   std::to_string(how.workers)};
  if (needs_sizes(name))
    for (auto size : what.sizes)
      command.push_back(std::to_string(size));
  return command;
}

// Its figures, by row; what it counted begins with #.
figures run_process(const workload& what, const std::string& name,
                    const plan& how) {
  auto end = run_child(command_of(what, name, how), what.limit);
  if (!end.failure.empty())
    throw std::runtime_error(end.failure);
  figures found;
  // Whatever else a side prints: its figures are the last line.
  auto at = end.output.find_last_of('\n', end.output.size() - 2);
  auto line = boost::json::parse(
    std::string_view{end.output}.substr(at == std::string::npos ? 0 : at + 1));
  for (auto& [row, value] : line.as_object())
    found[row] = value.to_number<double>();
  found["#switches"] = end.switches;
  found["#cpu_ms"] = end.cpu_seconds * 1e3;
  found["#peak_mib"] = end.peak_mib;
  if (end.instructions)
    found["#instructions"] = *end.instructions;
  return found;
}

// Of a program in C++, by a library that is loaded before it; its processes
// are counted together.
void count_allocations(series& of, const workload& what, const plan& how) {
  auto library = program_of("allocations.so");
  static constexpr std::string_view in_cpp[] = {"troupe", "caf",       "tbb",
                                                "asio",   "std_async", "mutex"};
  if (!of.failure.empty() || what.name == "compile" || !is_executable(library)
      || std::find(std::begin(in_cpp), std::end(in_cpp), of.name)
           == std::end(in_cpp))
    return;
  auto command = command_of(what, of.name, how);
  command.insert(command.begin(), {"env", "LD_PRELOAD=" + library});
  auto end = run_child(command, what.limit);
  if (!end.failure.empty())
    return;
  std::istringstream in{end.errors};
  double sum = 0;
  for (std::string word; in >> word;)
    if (double n = 0; word == "#allocations" && in >> n)
      sum += n;
  of.counts["allocations"] = {sum};
}

figures run_once(const workload& what, const std::string& name,
                 const plan& how) {
  if (what.name == "compile")
    return {{"compile", compile_seconds(name, what.limit)}};
  return run_process(what, name, how);
}

void add_run(series& to, const workload& what, const plan& how, bool counts) {
  stopwatch watch;
  warm_memory();
  try {
    for (auto& [row, value] : run_once(what, to.name, how))
      if (counts)
        (row[0] == '#' ? to.counts[row.substr(1)] : to.values[row])
          .push_back(value);
  } catch (const std::exception& failure) {
    to.failure = failure.what();
  }
  to.seconds += watch.seconds();
}

side sum_up(const series& from, const std::string& row) {
  if (!from.failure.empty())
    return {std::nullopt, from.failure};
  auto found = from.values.find(row);
  if (found == from.values.end())
    return {std::nullopt, "no figure"};
  auto& all = found->second;
  auto [low, high] = std::minmax_element(all.begin(), all.end());
  return {spread{quantile(all, 0.5), *low, *high, all}, {}};
}

} // namespace

std::optional<double> outcome::ratio(const std::string& peer) const {
  auto theirs = peers.find(peer);
  if (theirs == peers.end() || !theirs->second.found || !ours.found)
    return std::nullopt;
  auto* a = &ours.found->values;
  auto* b = &theirs->second.found->values;
  if (what.higher_is_better)
    std::swap(a, b);
  std::vector<double> ratios;
  for (std::size_t i = 0; i < std::min(a->size(), b->size()); ++i)
    if ((*a)[i] > 0)
      ratios.push_back((*b)[i] / (*a)[i]);
  return ratios.empty() ? std::nullopt : std::optional{quantile(ratios, 0.5)};
}

std::optional<bool> outcome::is_met() const {
  auto first = is_met(what.goal);
  if (what.also.kind == target::none || (first && !*first))
    return first;
  auto second = is_met(what.also);
  return second && *second ? first : second;
}

std::optional<bool> outcome::is_met(const target& goal) const {
  if (goal.kind == target::value_max && ours.found)
    return ours.found->median <= goal.bound;
  if (goal.kind == target::ratio_min)
    if (auto r = ratio(goal.peer))
      return *r >= goal.bound;
  return std::nullopt;
}

std::vector<outcome> compare(const workload& what, const plan& how,
                             const progress& tell) {
  std::vector<series> sides{{"troupe", {}, {}, {}}};
  for (auto& peer : what.peers)
    if (std::find(how.peers.begin(), how.peers.end(), peer) != how.peers.end())
      sides.push_back({peer, {}, {}, {}});
  const auto budget = how.budget ? how.budget->count() * 1e-3 : 1e9;
  for (auto run = what.has_warm_up && how.warms_up ? 0u : 1u; run <= how.runs;
       ++run)
    for (auto& s : sides) {
      if (!s.failure.empty() || (run > 1 && s.seconds > budget))
        continue;
      tell(what.name + " " + std::to_string(run) + "/"
           + std::to_string(how.runs) + " " + s.name);
      add_run(s, what, how, run > 0);
    }
  if (how.counts_allocations)
    for (auto& s : sides) {
      tell(what.name + " allocations " + s.name);
      count_allocations(s, what, how);
    }
  std::vector<outcome> result;
  for (auto& row : what.rows) {
    outcome o{row, sum_up(sides[0], row.name), {}};
    // A peer need not have each of our rows; a failure is said once.
    for (std::size_t i = 1; i < sides.size(); ++i)
      if (auto& s = sides[i];
          s.failure.empty() ? s.values.contains(row.name) : result.empty())
        o.peers[s.name] = sum_up(s, row.name);
    result.push_back(std::move(o));
  }
  for (auto& s : sides)
    for (auto& [name, values] : s.counts)
      result[0].counts[s.name][name] = quantile(values, 0.5);
  return result;
}

} // namespace bench
