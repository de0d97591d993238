// SPDX-License-Identifier: MIT
// twins: entries of the name table that two files name alike.
#pragma once

#include "troupe/sendable.hpp"

#include <vector>

namespace twins {

/// The entries made in wire_names_other.cpp, in order.
std::vector<const troupe::wire::entry*> others();

} // namespace twins
