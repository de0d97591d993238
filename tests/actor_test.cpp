// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE actor
#include "support/fixture.hpp"

namespace {

class counter {
public:
  void add(int n) {
    value_ += n;
  }
  int value() const {
    return value_;
  }

private:
  int value_ = 0;
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  c.tell<&counter::add>(5);
  BOOST_TEST(c.ask<&counter::value>().get() == 5);
}
