// SPDX-License-Identifier: MIT
// names: the table of what other processes may ask this one to run.
//
//   1. Naming a function, a method or a constructor where it may be called from
//      outside makes an `entry` with static storage: its constructor puts it
//      on a list before main begins.
//   2. The first look into the table freezes it: entries are sorted by name,
//      each gets an id made from its name. Two entries of one name (lambdas of
//      static functions in two files) are told apart by their place in the
//      executable, which is the same in every process started from it.
//   3. A peer asks by id. An id that no entry has is a `decode_error`; nothing
//      that a peer sends is ever used as an address.
//
// This is the one registry that is global (see the style guide); entries of a
// library that is loaded later are not in it, and using them throws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <typeinfo>
#include <vector>

namespace troupe::wire {

class reader;
class writer;

enum class entry_kind : std::uint8_t { task, method, actor };

[[nodiscard]] std::string_view to_string(entry_kind kind) noexcept;

/// One call of an entry. What `target` is lies between who calls the entry and
/// who made it: the object of a method, say.
struct invocation {
  reader& args;
  writer& result;
  void* target = nullptr;
  std::stop_token stop{};
};

using entry_id = std::uint64_t;

class entry {
public:
  using thunk = void (*)(invocation&);

  /// `named` is a type that stands for the function: its name is unique
  /// within a file, and that is enough (2.). `label` is what people read, if
  /// there is a better word for it. Requires: static storage.
  entry(entry_kind kind, const std::type_info& named, thunk run,
        std::string_view label = {}) noexcept;
  entry(const entry&) = delete;
  entry& operator=(const entry&) = delete;

  [[nodiscard]] entry_kind kind() const noexcept { return kind_; }

  /// The same in every process of this build; never 0.
  /// Errors: bad_argument (loaded after the table was frozen).
  [[nodiscard]] entry_id id() const;

  /// For people: "counter::add(int)".
  [[nodiscard]] std::string name() const;

  /// Reads the arguments, calls, writes the result.
  /// Errors: decode_error, and whatever the function throws.
  void invoke(invocation& call) const { run_(call); }

private:
  friend class name_table;

  const std::type_info& named_;
  std::string_view label_;
  thunk run_;
  entry* next_;
  mutable entry_id id_ = 0;
  entry_kind kind_;
};

/// The frozen table. All members may be called from any thread.
class name_table {
public:
  /// Freezes the table, the first time. `troupe::run` does it before anything
  /// else.
  static const name_table& get();

  /// Errors: decode_error (no such entry, or one of another kind).
  [[nodiscard]] const entry& find(entry_kind kind, entry_id id) const;

  /// All entries, by id.
  [[nodiscard]] std::span<const entry* const> entries() const noexcept {
    return entries_;
  }

  /// A hash over all names, for the handshake.
  [[nodiscard]] std::uint64_t fingerprint() const noexcept {
    return fingerprint_;
  }

private:
  name_table();

  std::vector<const entry*> entries_;
  std::uint64_t fingerprint_ = 0;
};

} // namespace troupe::wire
