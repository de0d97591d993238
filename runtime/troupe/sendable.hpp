// SPDX-License-Identifier: MIT
// sendable: which values can go to another process or another machine.
//
//   travels                               how
//   numbers, bool, char, enums            exact, NaN and infinities too
//   plain structs (up to 40 members)      as they are, no code needed
//   arrays, std::array, pair, tuple       element by element
//   string, vector, deque, list, map,     element by element; blocks of numbers
//     set, unordered_*, and containers      and of structs of numbers in one
//     of your own that look like them       copy
//   optional, variant, chrono             as they are
//   unique_ptr, shared_ptr                what they own; sharing is lost, and
//                                           the class must be final if it has
//                                           virtual functions
//   std::exception_ptr                    standard types as themselves, others
//                                           as task_failed
//   classes with serialize(archive, x),   see <troupe/serialize.hpp>
//     or save and load
//   blob                                  large ones without a copy, see
//                                           <troupe/blob.hpp>
//   string_view, span, const char*        as arguments: the other side gets
//                                           a string or vector of its own
//
// All must be default constructible: a value is made, then read into.
//
// Refused by the compiler: plain pointers and references, lambdas with
// captures, std::function, mutexes, threads, files, classes with private
// members and no serialize(), structs with base classes or bit-fields.
// Found at run time: messages over a limit (`bad_argument`, on the side of
// the sender), a handle or buffer on a road that can't carry it
// (`not_sendable`).
#pragma once

#include "troupe/detail/wire/thunk.hpp"

namespace troupe {

/// A value of type `T` can leave the process and come back the same.
template <class T>
concept sendable = !std::is_void_v<T> && wire::is_sendable<T>;

} // namespace troupe
