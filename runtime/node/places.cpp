// SPDX-License-Identifier: MIT
// places: where nodes are that somebody else has started.
#include "node/listener.hpp"
#include "troupe/error.hpp"
#include "troupe/launch.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <unordered_set>

namespace troupe {

namespace {

constexpr std::size_t hosts_max = 100'000;
constexpr std::size_t line_bytes_max = 1024;
constexpr std::size_t name_bytes_max = 255; // of a host: DNS allows no more
constexpr std::size_t digits_max = 20;

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    if (comma != 0)
      parts.emplace_back(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return parts;
}

[[noreturn]] void refuse_list(std::string_view list) {
  throw bad_argument{
    fmt::format("SLURM_JOB_NODELIST: \"{}\" is no list of hosts as Slurm "
                "writes them: a[01-03,7],b",
                list)};
}

std::size_t number(std::string_view digits, std::string_view list) {
  std::size_t n = 0;
  const auto [end, ec] = std::from_chars(digits.data(),
                                         digits.data() + digits.size(), n);
  if (digits.empty() || digits.size() > digits_max || ec != std::errc{}
      || end != digits.data() + digits.size())
    refuse_list(list);
  return n;
}

// "01-03,7" as "01", "02", "03", "7": the width is that of the first number.
std::vector<std::string> ranges(std::string_view text, std::string_view list) {
  std::vector<std::string> all;
  for (const std::string_view part : split(text)) {
    const auto dash = part.find('-');
    const auto first = part.substr(0, dash);
    const auto low = number(first, list);
    const auto high = dash == std::string_view::npos
                        ? low
                        : number(part.substr(dash + 1), list);
    if (high < low || high - low >= hosts_max - all.size())
      refuse_list(list);
    for (std::size_t i = 0; i <= high - low; ++i) // high may be the last number
      all.push_back(fmt::format("{:0{}}", low + i, first.size()));
  }
  if (all.empty())
    refuse_list(list);
  return all;
}

// One element of the list: "rack[1-2]n[01-03]".
void expand(const std::string& before, std::string_view rest,
            std::string_view list, std::vector<std::string>& to) {
  const auto open = rest.find('[');
  if (before.size() + std::min(open, rest.size()) > name_bytes_max)
    refuse_list(list);
  if (open == std::string_view::npos) {
    if (to.size() >= hosts_max || rest.find(']') != std::string_view::npos)
      refuse_list(list);
    to.push_back(before + std::string{rest});
    return;
  }
  const auto close = rest.find(']', open);
  if (close == std::string_view::npos)
    refuse_list(list);
  for (const auto& n : ranges(rest.substr(open + 1, close - open - 1), list))
    expand(before + std::string{rest.substr(0, open)} + n,
           rest.substr(close + 1), list, to);
}

// Commas inside brackets belong to their element.
std::vector<std::string> slurm_hosts(std::string_view list) {
  std::vector<std::string> hosts;
  std::size_t begin = 0;
  auto inside = false;
  for (std::size_t i = 0; i <= list.size(); ++i) {
    const char c = i < list.size() ? list[i] : ',';
    inside = c == '[' || (inside && c != ']');
    if (c != ',' || (inside && i < list.size()))
      continue;
    if (i != begin)
      expand({}, list.substr(begin, i - begin), list, hosts);
    begin = i + 1;
  }
  if (hosts.empty())
    refuse_list(list);
  return hosts;
}

std::vector<std::string> of_slurm(std::string_view port) {
  const auto* list = std::getenv("SLURM_JOB_NODELIST");
  if (list == nullptr || *list == '\0')
    throw bad_argument{
      "slurm: SLURM_JOB_NODELIST is not set: this is no job of Slurm"};
  auto hosts = slurm_hosts(list);
  for (auto& h : hosts)
    h += fmt::format(":{}", port);
  return hosts;
}

std::vector<std::string> of_dns(const std::string& address) {
  std::vector<std::string> all;
  for (const auto& e : nodes::resolve(address))
    all.push_back(nodes::to_string(e));
  return all;
}

std::vector<std::string> of_file(const std::string& path) {
  std::ifstream in{path};
  if (!in)
    throw bad_argument{fmt::format("{}: it can't be read", path)};
  std::vector<std::string> all;
  std::size_t n = 0;
  for (std::string line; std::getline(in, line);) {
    ++n;
    line.resize(std::min(line.find('#'), line.size()));
    const auto first = line.find_first_not_of(" \t\r");
    if (first == std::string::npos)
      continue;
    const auto last = line.find_last_not_of(" \t\r");
    all.push_back(line.substr(first, last - first + 1));
    try {
      if (line.size() > line_bytes_max || all.size() > hosts_max)
        throw bad_argument{"it is too long"};
      static_cast<void>(nodes::numeric(all.back()));
    } catch (const bad_argument& e) {
      throw bad_argument{fmt::format("{}:{}: {}", path, n, e.what())};
    }
  }
  return all;
}

} // namespace

std::vector<std::string> find_nodes(std::string_view where) {
  std::vector<std::string> found;
  const auto colon = where.find(':');
  const auto kind = where.substr(0, colon);
  const auto rest =
    std::string{colon == std::string_view::npos ? "" : where.substr(colon + 1)};
  if (kind == "slurm")
    found = of_slurm(rest);
  else if (kind == "dns" && rest.find(':') != std::string::npos)
    found = of_dns(rest);
  else if (kind == "file")
    found = of_file(rest);
  else
    found = split(where);
  std::vector<std::string> once;
  std::unordered_set<std::string> seen;
  for (auto& a : found) {
    static_cast<void>(nodes::numeric(a)); // is it an address at all?
    if (seen.insert(a).second)
      once.push_back(std::move(a));
  }
  if (once.empty())
    throw bad_argument{fmt::format("\"{}\" names no nodes", where)};
  return once;
}

} // namespace troupe
