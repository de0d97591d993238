// SPDX-License-Identifier: MIT
// A program of somebody else's that uses an installed Troupe.
#include <troupe/troupe.hpp>
#include <troupe/version.hpp>

#include <iostream>

class counter {
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }

private:
  int value_ = 0;
};

int main(int argc, char** argv) {
  std::cout << "Troupe " << troupe::version() << '\n';
  return troupe::run(argc, argv, [](troupe::system& sys) {
    auto c = sys.spawn<counter>();
    c.tell<&counter::add>(5);
    return c.ask<&counter::value>().get() == 5 ? 0 : 1;
  });
}
