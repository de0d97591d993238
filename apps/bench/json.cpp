// SPDX-License-Identifier: MIT
// Boost.JSON is header-only where one file includes its source.

#include <boost/json/src.hpp>
