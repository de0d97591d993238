// SPDX-License-Identifier: MIT
// Texts about nodes from noise: lists of hosts as Slurm writes them, lists of
// addresses, fingerprints. A list is hosts, each once and not too many, or a
// bad_argument.
#include "fuzz/fuzz.hpp"

#include "node/keys.hpp"
#include "troupe/launch.hpp"

#include <cstdlib>
#include <set>
#include <string>

FUZZ(kind, bytes) {
  const std::string text{reinterpret_cast<const char*>(bytes.data()),
                         bytes.size()};
  if (kind % 3 == 0) {
    const auto found = troupe::nodes::read_fingerprint(text);
    FUZZ_CHECK(!found || troupe::nodes::read_fingerprint(*found) == found);
    return;
  }
  ::setenv("SLURM_JOB_NODELIST", text.c_str(), 1);
  // Never a name that would be looked up, nor a file.
  const auto list = kind % 3 == 1 ? "slurm:7" : "," + text;
  const auto hosts = troupe::find_nodes(list);
  FUZZ_CHECK(!hosts.empty() && hosts.size() <= 100'000);
  FUZZ_CHECK(std::set(hosts.begin(), hosts.end()).size() == hosts.size());
}
