// SPDX-License-Identifier: MIT
// What arrives is not what was sent: nothing may crash, hang or cost more than
// the limits say.
#define BOOST_TEST_MODULE wire_bounds
#include "support/allocations.hpp"
#include "support/sanitized.hpp"
#include "support/seed.hpp"
#include "support/wire.hpp"

#include "troupe/error.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

using test::allocations;
using test::decoded;
using test::encoded;
using troupe::decode_error;

namespace {

struct item {
  std::string name;
  std::vector<int> numbers;
  std::map<std::string, std::optional<double>> map;
  std::variant<int, std::string, std::vector<bool>> either;
  std::unordered_map<int, std::string> hashed;
  std::unique_ptr<item> next;
  bool flag = true;
};

item sample() {
  item x{.name = "name",
         .numbers = {1, 2, 3},
         .map = {{"a", 1.0}, {"b", std::nullopt}},
         .either = std::string{"text"},
         .hashed = {{1, "x"}, {2, "y"}},
         .next = std::make_unique<item>()};
  x.next->either = std::vector<bool>{true, false, true};
  return x;
}

/// A length as the writer writes it, then `tail` zero bytes.
troupe::wire::buffer claim(std::uint64_t length, std::size_t tail = 0) {
  troupe::wire::buffer bytes;
  troupe::wire::writer out{bytes};
  out.length(length);
  const std::vector<std::byte> zeros(tail);
  out.bytes(zeros.data(), zeros.size());
  return bytes;
}

constexpr std::uint64_t four_gib_1 = (std::uint64_t{1} << 32) + 1;

/// Refused, and no more than `bytes` of memory were taken for it.
template <class T>
void check_refused(const troupe::wire::buffer& wire, std::size_t bytes = 4096,
                   const troupe::wire::limits& bounds = {}) {
  allocations.reset();
  bool refused = false;
  try {
    decoded<T>(wire.bytes(), bounds);
  } catch (const decode_error&) {
    refused = true;
  }
  const auto taken = allocations.bytes.load();
  BOOST_TEST(refused);
  BOOST_TEST(taken <= bytes);
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  const auto bytes = encoded(sample());
  BOOST_TEST(decoded<item>(bytes.bytes()).next->flag);
}

BOOST_AUTO_TEST_SUITE(a_claimed_length)

BOOST_AUTO_TEST_CASE(of_4_gib_and_1_takes_no_memory) {
  for (const auto n : {four_gib_1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    check_refused<std::string>(claim(n));
    check_refused<std::vector<double>>(claim(n, 100));
    check_refused<std::vector<std::string>>(claim(n, 100));
    check_refused<std::vector<bool>>(claim(n, 100));
    check_refused<std::list<int>>(claim(n, 100));
    check_refused<std::map<int, int>>(claim(n, 100));
    check_refused<std::unordered_set<int>>(claim(n, 100));
    check_refused<std::vector<std::optional<int>>>(claim(n, 100));
    check_refused<std::vector<std::monostate>>(claim(n));
    check_refused<std::u32string>(claim(n, 100));
  }
}

BOOST_AUTO_TEST_CASE(that_wraps_when_multiplied_is_refused) {
  check_refused<std::vector<double>>(claim((std::uint64_t{1} << 61) + 1, 64));
  check_refused<std::u32string>(claim((std::uint64_t{1} << 62) + 1, 64));
}

BOOST_AUTO_TEST_CASE(of_small_values_of_large_types_is_charged) {
  using big = std::optional<std::array<char, 100'000>>;
  // 2,000 bytes on the wire would be 200 MB in memory.
  check_refused<std::vector<big>>(claim(2000, 2000));
  const troupe::wire::limits tight{.memory_bytes_max = 10'000};
  check_refused<std::vector<std::string>>(claim(400, 400), 4096, tight);
  const troupe::wire::limits less{.memory_bytes_max = 10'000};
  troupe::wire::buffer pointers;
  troupe::wire::writer out{pointers};
  encode(out, std::vector<std::optional<std::array<char, 4000>>>(
                8, std::array<char, 4000>{}));
  check_refused<std::vector<std::unique_ptr<std::array<char, 4000>>>>(
    pointers, 12'000, less);
}

BOOST_AUTO_TEST_CASE(beyond_64_bits_or_with_needless_bytes_is_refused) {
  troupe::wire::buffer bytes;
  for (int i = 0; i < 12; ++i)
    *bytes.extend(1) = std::byte{0xff};
  check_refused<std::string>(bytes);
  bytes.clear();
  for (int i = 0; i < 9; ++i)
    *bytes.extend(1) = std::byte{0x80};
  *bytes.extend(1) = std::byte{2}; // bit 64: read as 0, it would be accepted
  check_refused<std::string>(bytes);
  bytes.clear();
  *bytes.extend(1) = std::byte{0x80};
  *bytes.extend(1) = std::byte{0};
  check_refused<std::string>(bytes);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_bad_value)

BOOST_AUTO_TEST_CASE(is_no_bool_no_index_no_presence) {
  const auto two = claim(2);
  check_refused<bool>(two);
  check_refused<std::vector<bool>>(claim(9, 1));
  check_refused<std::optional<std::monostate>>(two);
  check_refused<std::unique_ptr<int>>(two);
  check_refused<std::variant<std::monostate, std::monostate>>(two);
}

BOOST_AUTO_TEST_CASE(nested_too_deep_is_refused) {
  struct deep {
    std::vector<deep> inner;
  };
  troupe::wire::buffer bytes;
  for (int i = 0; i < 100'000; ++i)
    *bytes.extend(1) = std::byte{1};
  check_refused<deep>(bytes, 1 << 20);
}

BOOST_AUTO_TEST_CASE(with_bytes_left_over_is_refused) {
  check_refused<int>(claim(1, 7));
}

BOOST_AUTO_TEST_CASE(keys_that_collide_do_not_make_it_slow) {
  // All in one bucket of a table for 200,000 keys: 2 * 10^10 steps.
  std::unordered_set<std::uint64_t> model;
  model.reserve(200'000);
  const auto buckets = model.bucket_count();
  troupe::wire::buffer bytes;
  troupe::wire::writer out{bytes};
  out.length(200'000);
  for (std::uint64_t i = 0; i < 200'000; ++i)
    encode(out, i * buckets);
  check_refused<std::unordered_set<std::uint64_t>>(bytes, 16 << 20);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_message)

BOOST_AUTO_TEST_CASE(cut_anywhere_is_refused) {
  const auto whole = encoded(sample());
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    BOOST_CHECK_THROW(decoded<item>(whole.bytes().first(cut)), decode_error);
}

BOOST_AUTO_TEST_CASE(changed_anywhere_is_a_value_or_an_error) {
  test::random_source random;
  TEST_WITH_SEED() {
    const auto whole = encoded(sample());
    for (int i = 0; i < test::rounds(100'000); ++i) {
      std::vector<std::byte> bytes(whole.bytes().begin(), whole.bytes().end());
      for (auto n = 1 + random.below(4); n > 0; --n)
        bytes[random.below(bytes.size())] = static_cast<std::byte>(random());
      if (random.chance(20))
        bytes.resize(random.below(bytes.size() + 1));
      allocations.reset();
      try {
        decoded<item>(bytes);
      } catch (const decode_error&) {}
      BOOST_REQUIRE(allocations.largest.load() < 100'000u);
    }
  }
}

BOOST_AUTO_TEST_CASE(of_noise_is_a_value_or_an_error) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < test::rounds(100'000); ++i) {
      std::vector<std::byte> bytes(random.below(200));
      for (auto& b : bytes)
        b = static_cast<std::byte>(random.chance(70) ? random.below(4)
                                                     : random());
      allocations.reset();
      try {
        decoded<item>(bytes);
      } catch (const decode_error&) {}
      BOOST_REQUIRE(allocations.largest.load() < 100'000u);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
