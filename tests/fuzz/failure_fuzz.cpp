// SPDX-License-Identifier: MIT
// Error records and greetings from noise: a peer may claim any exception.
#include "fuzz/fuzz.hpp"

#include "wire/build_identity.hpp"
#include "wire/failure.hpp"

#include <exception>
#include <string>

namespace {

using namespace troupe::wire;

void rethrow(const std::exception_ptr& e) {
  try {
    if (e)
      std::rethrow_exception(e);
  } catch (const std::exception& seen) {
    FUZZ_CHECK(seen.what() != nullptr);
  }
}

} // namespace

FUZZ(kind, bytes) {
  reader in{bytes, fuzz::bounds};
  switch (kind % 4) {
    case 0: {
      failure record;
      decode(in, record);
      in.finish();
      rethrow(rebuild(record));
      break;
    }
    case 1: {
      std::exception_ptr e;
      decode(in, e);
      in.finish();
      rethrow(e);
      break;
    }
    case 2: {
      hello theirs;
      decode(in, theirs);
      in.finish();
      check_hello(make_hello(), theirs);
      break;
    }
    default: {
      // Any text as any of the known types.
      failure record;
      decode(in, record);
      for (const auto* type :
           {"std::system_error", "std::future_error", "std::ios_base::failure",
            "std::ios_base::failure[abi:cxx11]", "troupe::timeout"}) {
        record.type = type;
        rethrow(rebuild(record));
      }
    }
  }
}
