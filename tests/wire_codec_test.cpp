// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_codec
#include "support/seed.hpp"
#include "support/wire.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <bitset>
#include <chrono>
#include <cmath>
#include <complex>
#include <cstring>
#include <deque>
#include <filesystem>
#include <limits>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>
#include <variant>
#include <vector>

using namespace std::chrono_literals;
using test::decoded;
using test::encoded;
using test::round_trip;

namespace {

enum class colour : short { red = -3, green = 700 };
enum class truth : bool { no, yes };

struct point {
  double x = 0;
  double y = 0;
  friend bool operator==(const point&, const point&) = default;
};

struct padded {
  char c = 0;
  double d = 0;
  bool b = false;
  friend bool operator==(const padded&, const padded&) = default;
};

struct record {
  char name[16] = {};
  int numbers[2][3] = {};
  bool on = false;
};

struct tree {
  int value = 0;
  std::vector<tree> branches;
  friend bool operator==(const tree&, const tree&) = default;
};

struct chain {
  int value = 0;
  std::unique_ptr<chain> next;
};

struct nothing {
  friend bool operator==(const nothing&, const nothing&) = default;
};

/// All that travels, inside one struct.
struct everything {
  bool flag = false;
  std::int8_t small = 0;
  std::uint64_t large = 0;
  float single = 0;
  long double extended = 0;
  colour hue = colour::red;
  std::string text;
  std::u16string wide;
  point where;
  std::vector<int> numbers;
  std::vector<point> points;
  std::vector<padded> loose;
  std::vector<std::string> words;
  std::vector<bool> bits;
  std::array<short, 3> three{};
  std::deque<int> deque;
  std::list<std::string> list;
  std::map<std::string, std::vector<int>> map;
  std::multimap<int, int> many;
  std::unordered_map<int, std::string> hashed;
  std::set<std::string> set;
  std::unordered_set<long> hash_set;
  std::optional<std::string> maybe;
  std::variant<std::monostate, int, std::string, point> either;
  std::pair<int, std::string> pair;
  std::tuple<int, double, std::string> tuple;
  std::chrono::nanoseconds time{};
  std::chrono::system_clock::time_point at{};
  tree branches;
  nothing none;

  friend bool operator==(const everything&, const everything&) = default;
};

// -- random values ------------------------------------------------------------

using test::random_source;

std::string random_text(random_source& random) {
  std::string text(random.below(20), ' ');
  for (auto& c : text)
    c = static_cast<char>(random.below(256));
  return text;
}

template <class F>
auto random_list(random_source& random, F make) {
  std::vector<decltype(make())> all(random.below(6));
  for (auto&& x : all)
    x = make();
  return all;
}

tree random_tree(random_source& random, int depth) {
  tree t{.value = static_cast<int>(random())};
  if (depth > 0)
    for (auto n = random.below(3); n > 0; --n)
      t.branches.push_back(random_tree(random, depth - 1));
  return t;
}

everything random_value(random_source& random) {
  const auto number = [&] { return static_cast<int>(random()); };
  const auto text = [&] { return random_text(random); };
  const auto spot = [&] {
    return point{static_cast<double>(number()), static_cast<double>(number())};
  };
  everything x;
  x.flag = random.chance(50);
  x.small = static_cast<std::int8_t>(number());
  x.large = random();
  x.single = static_cast<float>(number());
  x.extended = static_cast<long double>(number()) / 3;
  x.hue = random.chance(50) ? colour::red : colour::green;
  x.text = text();
  x.wide = std::u16string(random.below(5), static_cast<char16_t>(number()));
  x.where = spot();
  x.numbers = random_list(random, number);
  x.points = random_list(random, spot);
  x.loose = random_list(random, [&] {
    return padded{static_cast<char>(number()), 0.5 * number(),
                  random.chance(50)};
  });
  x.words = random_list(random, text);
  for (auto n = random.below(40); n > 0; --n)
    x.bits.push_back(random.chance(50));
  for (auto& s : x.three)
    s = static_cast<short>(number());
  for (auto n : random_list(random, number))
    x.deque.push_back(n);
  for (auto& s : random_list(random, text))
    x.list.push_back(s);
  for (auto& s : random_list(random, text))
    x.map[s] = random_list(random, number);
  for (auto n : random_list(random, number))
    x.many.emplace(n % 3, n);
  for (auto n : random_list(random, number))
    x.hashed[n] = text();
  for (auto& s : random_list(random, text))
    x.set.insert(s);
  for (auto n : random_list(random, number))
    x.hash_set.insert(n);
  if (random.chance(50))
    x.maybe = text();
  switch (random.below(4)) {
    case 0:
      break;
    case 1:
      x.either = number();
      break;
    case 2:
      x.either = text();
      break;
    default:
      x.either = spot();
  }
  x.pair = {number(), text()};
  x.tuple = {number(), 0.25 * number(), text()};
  x.time = std::chrono::nanoseconds{number()};
  x.at += std::chrono::microseconds{number()};
  x.branches = random_tree(random, 4);
  return x;
}

template <class T>
void check_same(const T& x) {
  BOOST_TEST((round_trip(x) == x));
}

/// The same bits, NaN included, which equals nothing.
template <class T>
void check_bits(T x) {
  const auto sent = encoded(x);
  const auto back = encoded(round_trip(x));
  BOOST_TEST(std::ranges::equal(back.bytes(), sent.bytes()));
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  BOOST_TEST(round_trip(42) == 42);
}

BOOST_AUTO_TEST_SUITE(one_value)

BOOST_AUTO_TEST_CASE(numbers_come_back_at_their_limits) {
  check_same(std::numeric_limits<std::int64_t>::min());
  check_same(std::numeric_limits<std::uint64_t>::max());
  check_same(std::numeric_limits<char32_t>::max());
  check_same(true);
  check_same(colour::green);
  check_same(truth::yes);
  check_same(std::byte{200});
}

BOOST_AUTO_TEST_CASE(nan_and_infinity_are_exact) {
  check_bits(std::numeric_limits<double>::quiet_NaN());
  check_bits(std::nan("12345"));
  check_bits(-std::numeric_limits<float>::infinity());
  check_bits(-0.0);
  check_bits(std::numeric_limits<double>::denorm_min());
  check_bits(std::numeric_limits<long double>::infinity());
  check_same(std::numeric_limits<long double>::max());
}

BOOST_AUTO_TEST_CASE(strings_of_all_widths) {
  check_same(std::string{});
  check_same(std::string{"a\0b", 3});
  check_same(std::string(100'000, 'x'));
  check_same(std::wstring{L"wide"});
  check_same(std::u32string{U"\U0001f600"});
  check_same(std::u8string{u8"ä"});
}

BOOST_AUTO_TEST_CASE(structs_with_arrays) {
  record r;
  std::strcpy(r.name, "fifteen letters");
  r.numbers[1][2] = 9;
  r.on = true;
  const auto back = round_trip(r);
  BOOST_TEST(std::string{back.name} == "fifteen letters");
  BOOST_TEST(back.numbers[1][2] == 9);
  BOOST_TEST(back.on);
}

BOOST_AUTO_TEST_CASE(pointers_own_what_arrives) {
  const auto one = round_trip(std::make_unique<point>(point{1, 2}));
  BOOST_TEST((*one == point{1, 2}));
  BOOST_TEST((round_trip(std::unique_ptr<int>{}) == nullptr));
  const auto shared = std::make_shared<const std::string>("s");
  BOOST_TEST(*round_trip(shared) == "s");
  BOOST_TEST((round_trip(std::shared_ptr<int>{}) == nullptr));
}

BOOST_AUTO_TEST_CASE(types_of_the_library_without_their_headers) {
  check_same(std::complex<double>{1.5, -2});
  check_same(std::bitset<19>{0x4a5a5});
  check_same(std::filesystem::path{"/a/b c"});
  check_same(std::array<std::string, 2>{"a", "b"});
  check_same(std::array<int, 0>{});
  check_same(std::vector<std::optional<int>>{1, std::nullopt, 3});
}

BOOST_AUTO_TEST_CASE(old_contents_are_gone) {
  std::map<int, int> map{{1, 1}};
  std::vector<int> list{1, 2, 3};
  std::optional<int> maybe = 3;
  const auto no_map = encoded(std::map<int, int>{});
  const auto no_list = encoded(std::vector<int>{});
  const auto no_value = encoded(std::optional<int>{});
  troupe::wire::reader a{no_map.bytes()};
  troupe::wire::reader b{no_list.bytes()};
  troupe::wire::reader c{no_value.bytes()};
  decode(a, map);
  decode(b, list);
  decode(c, maybe);
  BOOST_TEST(map.empty());
  BOOST_TEST(list.empty());
  BOOST_TEST(!maybe.has_value());
}

BOOST_AUTO_TEST_CASE(a_long_chain_of_pointers_is_refused_by_the_sender) {
  chain first;
  auto* last = &first;
  for (int i = 0; i < 600; ++i)
    last = (last->next = std::make_unique<chain>()).get();
  BOOST_CHECK_THROW(encoded(first), troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(what_the_sender_accepts_the_reader_accepts) {
  chain first;
  auto* last = &first;
  for (int i = 0; i < 500; ++i)
    last = (last->next = std::make_unique<chain>(chain{i, {}})).get();
  const auto back = round_trip(first);
  int count = 0;
  for (auto* at = back.next.get(); at != nullptr; at = at->next.get())
    ++count;
  BOOST_TEST(count == 500);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(sizes_on_the_wire)

BOOST_AUTO_TEST_CASE(structs_travel_without_padding) {
  BOOST_TEST(encoded(padded{}).size() == 10u);
  BOOST_TEST(encoded(point{}).size() == 16u);
  BOOST_TEST(encoded(nothing{}).size() == 0u);
  BOOST_TEST(encoded(std::string(127, 'x')).size() == 128u);
  BOOST_TEST(encoded(std::string(128, 'x')).size() == 130u);
  BOOST_TEST(encoded(std::vector<bool>(17)).size() == 4u);
}

BOOST_AUTO_TEST_CASE(blocks_are_found) {
  using troupe::wire::codec;
  BOOST_TEST(codec<point>::bitwise);
  BOOST_TEST(!codec<padded>::bitwise);
  BOOST_TEST(codec<padded>::fixed);
  BOOST_TEST(!codec<bool>::bitwise);
  BOOST_TEST((codec<std::array<point, 3>>::bitwise));
  BOOST_TEST(!codec<tree>::fixed);
}

BOOST_AUTO_TEST_CASE(a_message_over_the_limit_is_refused) {
  const troupe::wire::limits small{.frame_bytes_max = 1000};
  BOOST_TEST(encoded(std::string(998, 'x'), small).size() == 1000u);
  BOOST_CHECK_THROW(encoded(std::string(999, 'x'), small),
                    troupe::bad_argument);
  BOOST_CHECK_THROW(encoded(std::vector<int>(250), small),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(random_values)

BOOST_AUTO_TEST_CASE(come_back_equal) {
  random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 2000; ++i) {
      const auto x = random_value(random);
      BOOST_REQUIRE(round_trip(x) == x);
    }
  }
}

BOOST_AUTO_TEST_CASE(have_one_encoding) {
  random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 500; ++i) {
      auto x = random_value(random);
      x.hashed.clear(); // their order is their own
      x.hash_set.clear();
      const auto bytes = encoded(x);
      const auto again = encoded(decoded<everything>(bytes.bytes()));
      BOOST_REQUIRE(std::ranges::equal(bytes.bytes(), again.bytes()));
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
