// SPDX-License-Identifier: MIT
// The second file of wire_names_test: what has a name of its own within a file
// only.
#include "support/twins.hpp"

#include "troupe/fn.hpp"

namespace {

int twice(int x) {
  return x * 200;
}

} // namespace

static const troupe::wire::entry& lambda_entry() {
  const auto twin = [](int x) { return x + 1000; };
  return troupe::wire::task_entry<decltype(twin), int>();
}

std::vector<const troupe::wire::entry*> twins::others() {
  return {&lambda_entry(),
          &troupe::wire::task_entry<troupe::fn_t<&twice>, int>()};
}
