// SPDX-License-Identifier: MIT

#include "compile.hpp"

#include "bench_config.hpp"
#include "child.hpp"

#include <filesystem>
#include <sstream>
#include <stdexcept>

namespace bench {

namespace {

std::vector<std::string> words(const std::string& text) {
  std::istringstream in{text};
  std::vector<std::string> result;
  for (std::string word; in >> word;)
    result.push_back(word);
  return result;
}

} // namespace

double compile_seconds(const std::string& side, std::chrono::seconds limit) {
  std::string source = side == "caf" ? TROUPE_BENCH_HELLO_CAF
                                     : TROUPE_BENCH_HELLO;
  if (!std::filesystem::exists(source))
    throw std::runtime_error("absent (" + source + ")");
  auto command = words(TROUPE_BENCH_COMPILER);
  if (command.size() > 1 && command.front() == "ccache")
    command.erase(command.begin()); // it preprocesses once more, to look it up
  for (const char* flag : {"-std=c++20", "-O2", "-c", "-o", "/dev/null"})
    command.emplace_back(flag);
  if (side == "troupe")
    for (auto& folder : words(TROUPE_BENCH_INCLUDE))
      command.push_back("-I" + folder);
  command.push_back(source);
  auto end = run_child(command, limit);
  if (!end.failure.empty())
    throw std::runtime_error(end.failure);
  return end.cpu_seconds;
}

} // namespace bench
