// SPDX-License-Identifier: MIT
#include "troupe/options.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <optional>

#include "troupe/error.hpp"

namespace troupe {

namespace {

using std::chrono::nanoseconds;

constexpr std::int64_t ms = 1'000'000, hour = 3'600'000 * ms;

struct entry {
  const char* name; // with underscores, as in the struct
  const char* unit; // for the help
  const char* range;
  const char* meaning;
  std::function<bool(options&, std::string_view)> set; // false: malformed
  std::function<std::string(const options&)> get;
  std::function<bool(const options&)> in_range;
};

std::optional<std::int64_t> integer(std::string_view text) {
  std::int64_t n = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), n);
  if (ec != std::errc{} || end != text.data() + text.size())
    return std::nullopt;
  return n;
}

std::optional<std::int64_t> duration(std::string_view text) {
  static constexpr std::pair<std::string_view, std::int64_t> units[] = {
    {"ns", 1},         {"us", 1'000}, {"ms", ms}, {"min", 60'000 * ms},
    {"s", 1'000 * ms}, {"h", hour}};
  for (auto& [name, factor] : units) {
    if (text.size() <= name.size()
        || text.substr(text.size() - name.size()) != name)
      continue;
    auto n = integer(text.substr(0, text.size() - name.size()));
    std::int64_t result = 0;
    if (!n || __builtin_mul_overflow(*n, factor, &result))
      return std::nullopt;
    return result;
  }
  return std::nullopt;
}

std::string show(nanoseconds d) {
  auto n = d.count();
  if (d == nanoseconds::max())
    return "none";
  if (n % (1'000 * ms) == 0)
    return std::to_string(n / (1'000 * ms)) + "s";
  if (n % ms == 0)
    return std::to_string(n / ms) + "ms";
  return n % 1'000 == 0 ? std::to_string(n / 1'000) + "us"
                        : std::to_string(n) + "ns";
}

entry number(const char* name, std::size_t options::* field, std::int64_t least,
             std::int64_t most, const char* range, const char* meaning) {
  return {name,
          "a number",
          range,
          meaning,
          [=](options& o, std::string_view text) {
            auto n = integer(text);
            if (!n || *n < least || *n > most)
              return false;
            o.*field = static_cast<std::size_t>(*n);
            return true;
          },
          [=](const options& o) { return std::to_string(o.*field); },
          [=](const options& o) {
            return o.*field >= static_cast<std::size_t>(least)
                   && o.*field <= static_cast<std::size_t>(most);
          }};
}

entry time(const char* name, nanoseconds options::* field, std::int64_t least,
           std::int64_t most, bool none, const char* range,
           const char* meaning) {
  auto fits = [=](nanoseconds d) {
    return (d.count() >= least && d.count() <= most)
           || (none && d == nanoseconds::max());
  };
  return {name,
          "a time such as 20ms",
          range,
          meaning,
          [=](options& o, std::string_view text) {
            auto d = none && text == "none"
                       ? std::optional{nanoseconds::max().count()}
                       : duration(text);
            if (!d || !fits(nanoseconds{*d}))
              return false;
            o.*field = nanoseconds{*d};
            return true;
          },
          [=](const options& o) { return show(o.*field); },
          [=](const options& o) { return fits(o.*field); }};
}

bool is_level(std::string_view text) {
  for (auto* level : {"trace", "debug", "info", "warning", "error", "off"})
    if (text == level)
      return true;
  return false;
}

const std::vector<entry>& table() {
  static const std::vector<entry> entries{
    number("workers", &options::workers, 0, 1024, "0..1024",
           "worker threads; 0: the usable CPUs"),
    number("throughput", &options::throughput, 1, 1'000'000, "1..1000000",
           "messages an actor handles before others get their turn"),
    time("ask_deadline", &options::ask_deadline, ms, 10'000 * hour, true,
         "1ms..10000h or none", "how long an ask waits for its answer"),
    time("stop_deadline", &options::stop_deadline, 0, 24 * hour, false,
         "0s..24h", "how long the end drains before it kills"),
    time("stall_after", &options::stall_after, ms, hour, false, "1ms..1h",
         "a worker in one method for longer gets a stand-in"),
    time("spin_max", &options::spin_max, 0, 100 * ms, false, "0us..100ms",
         "how long an idle worker looks before it sleeps"),
    number("spare_workers_max", &options::spare_workers_max, 0, 4096, "0..4096",
           "stand-ins for workers that wait or are stuck"),
    number("blocking_threads_max", &options::blocking_threads_max, 1, 16'384,
           "1..16384", "threads for on_thread actors and blocking()"),
    {"keys", "a folder", "any folder", "where the keys for other nodes are",
     [](options& o, std::string_view text) {
       o.keys = text;
       return true;
     },
     [](const options& o) { return o.keys; },
     [](const options&) { return true; }},
    time("heartbeat", &options::heartbeat, 10 * ms, hour, false, "10ms..1h",
         "how often a silent node is asked for a sign of life"),
    time("patience", &options::patience, 20 * ms, 10 * hour, false, "20ms..10h",
         "a node that was silent for so long is lost"),
    number("node_backlog_bytes_max", &options::node_backlog_bytes_max,
           std::int64_t{64} << 10, std::int64_t{64} << 30, "65536..68719476736",
           "bytes that may wait to be sent to one node"),
    number("node_calls_max", &options::node_calls_max, 1, 100'000'000,
           "1..100000000", "asks that may be open to one node, and from it"),
    {"log_level", "a level", "trace, debug, info, warning, error, off",
     "what is logged to stderr",
     [](options& o, std::string_view text) {
       if (!is_level(text))
         return false;
       o.log_level = text;
       return true;
     },
     [](const options& o) { return o.log_level; },
     [](const options& o) { return is_level(o.log_level); }}};
  return entries;
}

std::string flag_of(const entry& e) {
  std::string flag = "--troupe-";
  for (auto* c = e.name; *c != 0; ++c)
    flag += *c == '_' ? '-' : *c;
  return flag;
}

std::string variable_of(const entry& e) {
  std::string name = "TROUPE_";
  for (auto* c = e.name; *c != 0; ++c)
    name += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
  return name;
}

[[noreturn]] void refuse(const entry& e, std::string_view value) {
  throw bad_argument{"option " + std::string{e.name} + ": \""
                     + std::string{value} + "\" is not " + e.unit + " in "
                     + e.range + " (in code options::" + e.name
                     + ", environment " + variable_of(e) + ", command line "
                     + flag_of(e) + "=VALUE)"};
}

} // namespace

std::vector<char*> read_options(options& opts, std::span<char*> args) {
  for (auto& e : table())
    if (auto* value = std::getenv(variable_of(e).c_str()))
      if (!e.set(opts, value))
        refuse(e, value);
  std::vector<char*> rest;
  auto ours = true;
  for (auto* arg : args) {
    std::string_view text{arg};
    if (text == "--")
      ours = false;
    if (!ours || rest.empty() || !text.starts_with("--troupe-")) {
      rest.push_back(arg);
      continue;
    }
    auto equals = text.find('=');
    const entry* found = nullptr;
    for (auto& e : table())
      if (flag_of(e) == text.substr(0, equals))
        found = &e;
    if (found == nullptr)
      throw bad_argument{"unknown option " + std::string{text}
                         + "; known are:\n" + options_help()};
    if (equals == std::string_view::npos)
      refuse(*found, "");
    if (!found->set(opts, text.substr(equals + 1)))
      refuse(*found, text.substr(equals + 1));
  }
  return rest;
}

void check_options(const options& opts) {
  for (auto& e : table())
    if (!e.in_range(opts))
      refuse(e, e.get(opts));
}

std::string options_help() {
  std::string text;
  const options defaults;
  for (auto& e : table())
    text += "  " + flag_of(e) + "=VALUE  (" + variable_of(e) + ") " + e.meaning
            + "; " + e.range + "; default " + e.get(defaults) + "\n";
  return text;
}

} // namespace troupe
