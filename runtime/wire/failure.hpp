// SPDX-License-Identifier: MIT
// failure: an exception as a record that travels.
// Standard exceptions and Troupe's errors come out as themselves; what derives
// from them, or from nothing, comes out as `task_failed` with its type and
// text. An exception that was thrown as `task_failed` stays what it was.
#pragma once

#include "troupe/detail/wire/codec_containers.hpp"
#include "troupe/detail/wire/codec_values.hpp"

#include <cstdint>
#include <exception>
#include <string>

namespace troupe::wire {

/// All texts are cut to `failure_text_bytes_max`.
struct failure {
  std::string type;  // demangled: "std::out_of_range"
  std::string what;  // empty if it had no text
  std::string where; // the method or task: "teller::withdraw"
  std::string node;  // where it ran
  std::uint64_t actor = 0;
  std::int32_t code = 0;  // of a std::system_error and its kind
  std::string category{}; // "generic", "system", "iostream", "future"
};

inline constexpr std::size_t failure_text_bytes_max = std::size_t{64} << 10;

/// What `error` holds, whatever it is. `where`, `actor` and `node` say where it
/// came from; those of a `task_failed` win. A null pointer has no type.
failure describe(const std::exception_ptr& error, std::string_view where = {},
                 std::uint64_t actor = 0, std::string_view node = {});

/// The exception again; null for a record without a type.
std::exception_ptr rebuild(const failure& record);

} // namespace troupe::wire
