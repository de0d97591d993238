// SPDX-License-Identifier: MIT
// hello: a plain class, spawned: its methods are its messages.
#include <troupe/troupe.hpp>

class counter { // any class: no base class, no macro, no mutex
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }

private:
  int value_ = 0;
};

int main(int argc, char** argv) {
  return troupe::run(argc, argv, [](troupe::system& sys) {
    auto c = sys.spawn<counter>();          // troupe::ref<counter>
    c.tell<&counter::add>(5);               // asynchronous, returns at once
    int v = c.ask<&counter::value>().get(); // troupe::future<int>
    return v == 5 ? 0 : 1;
  });
}
