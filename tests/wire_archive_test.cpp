// SPDX-License-Identifier: MIT
// Classes that bring serialize() in one of cereal's ways.
#define BOOST_TEST_MODULE wire_archive
#include "support/wire.hpp"

#include "troupe/error.hpp"
#include "troupe/serialize.hpp"

#include <boost/test/unit_test.hpp>
#include <cereal/types/stack.hpp>
#include <cereal/types/string.hpp>
#include <cereal/types/vector.hpp>

#include <map>
#include <memory>
#include <stack>
#include <stdexcept>
#include <string>
#include <vector>

using test::decoded;
using test::encoded;
using test::round_trip;

namespace shop {

class account {
public:
  account() = default;
  account(std::string owner, long cents)
    : owner_(std::move(owner)),
      cents_(cents) {}
  template <class Archive>
  void serialize(Archive& archive) {
    archive(owner_, cents_, history_);
  }
  void add(account a) { history_.push_back(std::move(a)); }
  const std::string& owner() const { return owner_; }
  long cents() const { return cents_; }
  const std::vector<account>& history() const { return history_; }

private:
  std::string owner_;
  long cents_ = 0;
  std::vector<account> history_;
};

class shy {
public:
  shy() = default;
  explicit shy(int x) : x_(x) {}
  int value() const { return x_; }

private:
  friend class cereal::access;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(CEREAL_NVP(x_));
  }
  int x_ = 0;
};

struct in_boost_style {
  in_boost_style() {}
  template <class Archive>
  void serialize(Archive& archive, const unsigned) {
    archive & number & text;
  }
  int number = 0;
  std::string text;
};

class outside {
public:
  int number = 0;
  outside() {}
};

template <class Archive>
void serialize(Archive& archive, outside& x) {
  archive(x.number);
}

/// Reads what it wrote, and checks it.
class percent {
public:
  percent() = default;
  explicit percent(int n) : value_(n) {}
  template <class Archive>
  void save(Archive& archive) const {
    archive(value_);
  }
  template <class Archive>
  void load(Archive& archive) {
    archive(value_);
    if (value_ < 0 || value_ > 100)
      throw std::domain_error("no percentage");
  }
  int value() const { return value_; }

private:
  int value_ = 0;
};

class minimal {
public:
  minimal() = default;
  explicit minimal(int n) : value(n) {}
  template <class Archive>
  std::string save_minimal(const Archive&) const {
    return std::to_string(value);
  }
  template <class Archive>
  void load_minimal(const Archive&, const std::string& text) {
    value = std::stoi(text);
  }
  int value = 0;
};

struct base {
  int a = 0;
};

class derived : public base {
public:
  int b = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::base_class<base>(this), CEREAL_NVP(b));
  }
};

class raw {
public:
  char block[8] = {};
  template <class Archive>
  void serialize(Archive& archive) {
    archive(cereal::binary_data(block, sizeof(block)));
  }
};

class both_ways {
public:
  int loaded = 0;
  template <class Archive>
  void serialize(Archive& archive) {
    if constexpr (Archive::is_loading::value)
      loaded = 1;
    archive(value);
  }
  int value = 0;
  both_ways() = default;
};

/// Claims to be a container of cereal's own kind.
class greedy {
public:
  std::size_t claimed = 0;
  greedy() = default;
  template <class Archive>
  void save(Archive& archive) const {
    archive(cereal::make_size_tag(static_cast<cereal::size_type>(claimed)));
  }
  template <class Archive>
  void load(Archive& archive) {
    cereal::size_type size = 0;
    archive(cereal::make_size_tag(size));
    claimed = size;
  }
};

class endless {
public:
  std::unique_ptr<endless> next;
  endless() = default;
  template <class Archive>
  void serialize(Archive& archive) {
    archive(next);
  }
};

struct plain_with_classes {
  account a;
  std::map<std::string, shy> shy_ones;
  std::vector<percent> percents;
};

} // namespace shop

template <>
inline constexpr bool troupe::travels_by_cereal<std::stack<int>> = true;

BOOST_AUTO_TEST_CASE(smoke) {
  BOOST_TEST(round_trip(shop::account{"ada", 7}).owner() == "ada");
}

BOOST_AUTO_TEST_SUITE(a_class)

BOOST_AUTO_TEST_CASE(with_a_member_serialize_nests) {
  shop::account a{"ada", 1};
  shop::account b{"bob", 2};
  b.add({"eve", 3});
  a.add(b);
  const auto back = round_trip(a);
  BOOST_TEST(back.history().at(0).history().at(0).owner() == "eve");
  BOOST_TEST(back.history().at(0).cents() == 2);
}

BOOST_AUTO_TEST_CASE(may_keep_it_private) {
  BOOST_TEST(round_trip(shop::shy{5}).value() == 5);
}

BOOST_AUTO_TEST_CASE(may_be_written_for_boost) {
  shop::in_boost_style x;
  x.number = 3;
  x.text = "three";
  BOOST_TEST(round_trip(x).text == "three");
  BOOST_TEST(round_trip(std::vector{x, x})[1].number == 3);
}

BOOST_AUTO_TEST_CASE(may_have_a_free_function) {
  shop::outside x;
  x.number = 4;
  BOOST_TEST(round_trip(x).number == 4);
}

BOOST_AUTO_TEST_CASE(may_check_itself) {
  BOOST_TEST(round_trip(shop::percent{40}).value() == 40);
  const auto bytes = encoded(shop::percent{140});
  BOOST_CHECK_THROW(decoded<shop::percent>(bytes.bytes()), std::domain_error);
}

BOOST_AUTO_TEST_CASE(may_be_minimal) {
  BOOST_TEST(round_trip(shop::minimal{77}).value == 77);
}

BOOST_AUTO_TEST_CASE(may_have_a_base_and_raw_bytes) {
  shop::derived x;
  x.a = 1;
  x.b = 2;
  BOOST_TEST(round_trip(x).a == 1);
  shop::raw r;
  r.block[7] = 'z';
  BOOST_TEST(round_trip(r).block[7] == 'z');
}

BOOST_AUTO_TEST_CASE(knows_which_way_it_goes) {
  BOOST_TEST(round_trip(shop::both_ways{}).loaded == 1);
}

BOOST_AUTO_TEST_CASE(stands_inside_plain_structs) {
  const auto back = round_trip(shop::plain_with_classes{
    {"ada", 9}, {{"x", shop::shy{1}}}, {shop::percent{3}}});
  BOOST_TEST(back.shy_ones.at("x").value() == 1);
  BOOST_TEST(back.percents.at(0).value() == 3);
}

BOOST_AUTO_TEST_CASE(of_the_library_may_be_left_to_cereal) {
  std::stack<int> s;
  s.push(1);
  s.push(2);
  auto back = round_trip(s);
  BOOST_TEST(back.top() == 2);
  BOOST_TEST(back.size() == 2u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(bad_bytes)

BOOST_AUTO_TEST_CASE(a_size_tag_is_checked) {
  shop::greedy x;
  x.claimed = std::size_t{1} << 40;
  const auto bytes = encoded(x);
  BOOST_CHECK_THROW(decoded<shop::greedy>(bytes.bytes()), troupe::decode_error);
}

BOOST_AUTO_TEST_CASE(nesting_is_bounded) {
  const std::vector<std::byte> ones(100'000, std::byte{1});
  BOOST_CHECK_THROW(decoded<shop::endless>(ones), troupe::decode_error);
}

BOOST_AUTO_TEST_CASE(cut_anywhere_is_refused) {
  shop::account a{"ada", 1};
  a.add({"bob", 2});
  const auto whole = encoded(a);
  for (std::size_t cut = 0; cut < whole.size(); ++cut)
    BOOST_CHECK_THROW(decoded<shop::account>(whole.bytes().first(cut)),
                      troupe::decode_error);
}

BOOST_AUTO_TEST_SUITE_END()
