// SPDX-License-Identifier: MIT
// error: what can go wrong, each by its name. The text of every error says
// what, where, the value seen and the limit.
#pragma once

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>

namespace troupe {

/// The base of all errors of Troupe.
class error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// A deadline has passed. `tasks that throw it themselves` look the same: use
/// `future::ready` to tell a late answer from an answer that is this error.
class timeout : public error {
public:
  using error::error;
};

/// Somebody gave the work up before it began.
class cancelled : public error {
public:
  using error::error;
};

/// Put or submit after close, spawn after stop.
class closed : public error {
public:
  using error::error;
};

/// A bound is reached and its policy says no.
class rejected : public error {
public:
  using error::error;
};

/// The connection to a node has ended, or there is none: it died, it was
/// stopped, the network is cut, or it has another incarnation by now.
class node_lost : public error {
public:
  using error::error;
};

/// The actor that should have answered has stopped.
class actor_stopped : public error {
public:
  using error::error;
};

/// An ask or a wait that could only ever wait for itself; the text names the
/// cycle: `a.ask<transfer> -> b.ask<lock> -> a`.
class deadlock : public error {
public:
  using error::error;
};

/// An argument outside of what is documented.
class bad_argument : public error {
public:
  using error::error;
};

/// A value that can't leave this process (found at run time; most are refused
/// by the compiler).
class not_sendable : public error {
public:
  using error::error;
};

/// The peer runs another build; the text prints both identities.
class wrong_build : public error {
public:
  using error::error;
};

/// Bytes that are not what they claim to be.
class decode_error : public error {
public:
  using error::error;
};

/// An actor's method threw something that is not a standard exception; these
/// are rethrown as themselves, and so are the errors on this page.
class task_failed : public error {
public:
  /// Shape: `what` is the original text; the message prints everything.
  task_failed(std::string type, std::string what, std::string where,
              std::uint64_t actor, std::string node = {},
              std::exception_ptr original = nullptr);

  /// The demangled type of what was thrown.
  const std::string& type() const noexcept { return type_; }

  /// The text of what was thrown; empty when it had none.
  const std::string& text() const noexcept { return text_; }

  /// The method or task, such as `teller::withdraw`.
  const std::string& where() const noexcept { return where_; }

  /// The actor's id; 0 for a pool's task.
  std::uint64_t actor() const noexcept { return actor_; }

  /// The node or process it ran on; empty for this one.
  const std::string& node() const noexcept { return node_; }

  /// What was thrown; null when it was thrown in another process.
  const std::exception_ptr& original() const noexcept { return original_; }

private:
  std::string type_, text_, where_;
  std::uint64_t actor_;
  std::string node_;
  std::exception_ptr original_;
};

} // namespace troupe
