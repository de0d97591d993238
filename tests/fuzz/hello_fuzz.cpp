// SPDX-License-Identifier: MIT
// The first thing that another node says, from noise: it is refused, or it is
// one that we would have written ourselves; another build is always refused.
#include "fuzz/fuzz.hpp"

#include "wire/build_identity.hpp"

#include <algorithm>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace troupe::wire;
  const auto bytes = std::as_bytes(std::span{data, size});
  hello theirs;
  try {
    reader in{bytes, fuzz::bounds};
    decode(in, theirs);
    in.finish();
  } catch (const troupe::decode_error&) {
    return 0;
  }
  buffer again;
  writer out{again};
  encode(out, theirs);
  FUZZ_CHECK(std::ranges::equal(again.bytes(), bytes));
  const hello ours{.build = "0123456789abcdef", .names = 7};
  try {
    check_hello(ours, theirs);
    FUZZ_CHECK(theirs.build == ours.build && theirs.names == ours.names);
  } catch (const troupe::wrong_build&) {
    FUZZ_CHECK(theirs.build != ours.build || theirs.names != ours.names
               || theirs.protocol != ours.protocol);
  }
  return 0;
}
