// SPDX-License-Identifier: MIT
// A program of somebody else's that uses an installed Troupe.
#include <troupe/version.hpp>

#include <iostream>

int main() {
  std::cout << "Troupe " << troupe::version() << '\n';
  return troupe::version().empty() ? 1 : 0;
}
