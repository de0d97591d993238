// SPDX-License-Identifier: MIT
// Values of every kind from noise. What is accepted has one encoding: the
// bytes that were read.
#include "fuzz/fuzz.hpp"

#include "troupe/blob.hpp"
#include "troupe/sendable.hpp"

#include <array>
#include <chrono>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>

namespace {

struct point {
  double x = 0;
  double y = 0;
};

struct padded {
  char c = 0;
  double d = 0;
  bool b = false;
  char name[5] = {};
};

struct tree {
  int value = 0;
  std::vector<tree> branches;
};

struct chain {
  std::unique_ptr<chain> next;
  std::shared_ptr<tree> branches;
};

struct mixed {
  bool flag = false;
  std::string text;
  std::u16string wide;
  std::vector<point> points;
  std::vector<padded> loose;
  std::vector<bool> bits;
  std::deque<short> deque;
  std::list<std::string> list;
  std::optional<std::array<char, 9>> maybe;
  std::variant<std::monostate, int, std::string, std::vector<int>> either;
  std::tuple<int, std::string, long double> tuple;
  std::chrono::nanoseconds time{};
  chain links;
};

template <class T>
void check(std::span<const std::byte> bytes) {
  using namespace troupe::wire;
  T x{};
  reader in{bytes, fuzz::bounds};
  decode(in, x);
  in.finish();
  buffer again;
  writer out{again, fuzz::bounds};
  encode(out, x);
  // A vector of bits has spare ones; keys of a map come out sorted.
  constexpr bool exact = !std::is_same_v<T, std::vector<bool>>
                         && !std::is_same_v<T, mixed>;
  FUZZ_CHECK(again.size() == bytes.size() || !exact);
  FUZZ_CHECK(!exact || std::ranges::equal(again.bytes(), bytes));
}

/// No equality: what a hash table or a map holds may be less than was sent.
template <class T>
void try_only(std::span<const std::byte> bytes) {
  troupe::wire::reader in{bytes, fuzz::bounds};
  T x{};
  troupe::wire::decode(in, x);
  in.finish();
}

} // namespace

FUZZ(kind, bytes) {
  switch (kind % 15) {
    case 0:
      return check<mixed>(bytes);
    case 1:
      return check<std::vector<std::string>>(bytes);
    case 2:
      return check<tree>(bytes);
    case 3:
      return check<chain>(bytes);
    case 4:
      return check<std::vector<padded>>(bytes);
    case 5:
      return check<std::vector<bool>>(bytes);
    case 6:
      return try_only<std::map<std::string, std::vector<int>>>(bytes);
    case 7:
      return try_only<std::unordered_map<int, std::optional<tree>>>(bytes);
    case 8:
      return try_only<std::multiset<std::string>>(bytes);
    case 9:
      return check<std::vector<std::optional<std::array<int, 1000>>>>(bytes);
    case 10:
      return check<std::variant<bool, std::unique_ptr<std::string>>>(bytes);
    case 11:
      return check<std::vector<std::monostate>>(bytes);
    case 13:
      return check<troupe::blob>(bytes);
    case 12:
      return check<std::vector<double>>(bytes);
    default:
      return check<std::list<std::vector<std::tuple<char, bool>>>>(bytes);
  }
}
