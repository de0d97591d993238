// SPDX-License-Identifier: MIT
// Calls by id with arguments from noise: an entry of the table is called with
// values, or there is an error with a name.
#include "fuzz/fuzz.hpp"

#include "troupe/fn.hpp"
#include "troupe/sendable.hpp"

#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace troupe::wire;

std::size_t sum(const std::vector<std::string>& words, bool twice) {
  std::size_t n = 0;
  for (const auto& word : words)
    n += word.size();
  return twice ? 2 * n : n;
}

std::map<std::string, int> merge(std::map<std::string, int> a,
                                 const std::map<std::string, int>& b) {
  a.insert(b.begin(), b.end());
  return a;
}

void nothing() {}

} // namespace

FUZZ(kind, bytes) {
  static const entry* const tasks[] = {
    &task_entry<troupe::fn_t<&sum>, std::vector<std::string>, bool>(),
    &task_entry<troupe::fn_t<&merge>, std::map<std::string, int>,
                std::map<std::string, int>>(),
    &task_entry<troupe::fn_t<&nothing>>()};
  entry_id id = 0;
  if (kind < 128) {
    id = tasks[kind % 3]->id();
  } else if (bytes.size() >= sizeof(id)) {
    std::memcpy(&id, bytes.data(), sizeof(id));
    bytes = bytes.subspan(sizeof(id));
  }
  buffer answer;
  writer result{answer, fuzz::bounds};
  reader in{bytes, fuzz::bounds};
  invocation call{in, result};
  name_table::get().find(entry_kind::task, id).invoke(call);
  in.finish();
}
