// SPDX-License-Identifier: MIT
// ref: a typed handle to an actor, wherever it lives.
// Who may call: anybody, from any thread; copies are cheap and equal.
// A death:      the handle stays safe after its actor, and after its system:
//               tells become dead letters, asks fail with actor_stopped.
#pragma once

#include <functional>
#include <iosfwd>

#include "troupe/detail/call.hpp"

namespace troupe {

namespace detail {

void retain(cell* c) noexcept;
void release(cell* c) noexcept;
void retain_weak(cell* c) noexcept;
void release_weak(cell* c) noexcept;
bool lock_weak(cell* c) noexcept;   // takes a reference unless it was the last
void retain_self(cell* c) noexcept; // by whoever runs it
std::uint64_t id_of(const cell* c) noexcept;
bool is_alive(const cell* c) noexcept;
std::string describe(const cell* c); // `counter#12`
void stop_cell(cell* c) noexcept;
void kill_cell(cell* c) noexcept;
[[noreturn]] void throw_null_ref();
constexpr std::int64_t default_limit = -1; // the system's ask_deadline

} // namespace detail

template <class T>
class weak_ref;

template <class T>
class limited_ref;

/// Handle to an actor of class T. It keeps the actor alive: an actor ends when
/// it is stopped or when the last handle is gone and its mailbox is empty.
template <class T>
class ref {
public:
  using actor_type = T;

  /// Refers to nothing; using it throws bad_argument.
  ref() = default;

  ref(const ref& other) noexcept : cell_(other.cell_) {
    if (cell_ != nullptr)
      detail::retain(cell_);
  }
  ref(ref&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  ref& operator=(ref other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  ~ref() {
    if (cell_ != nullptr)
      detail::release(cell_);
  }

  /// Sends a message and returns at once. Those that one message of an actor
  /// sends to another in a row, small and by one method, share an envelope:
  /// most of them cost one atomic operation.
  /// Shape:  the method's arguments, moved or copied into the message.
  /// Errors: rejected (a full mailbox that rejects), timeout and deadlock (a
  ///         full mailbox that waits). To a stopped actor: a dead letter. What
  ///         the method throws is a failure of the actor.
  template <auto M, class... As>
  void tell(As&&... as) const {
    check_arguments<M, sizeof...(As)>();
    detail::send_tell<detail::body_of<T, M>>(checked(),
                                             std::forward<As>(as)...);
  }

  /// The same with a function that is called with the object: `f(T&)`.
  template <class F>
    requires std::is_invocable_v<F&, T&>
  void tell(F f) const {
    detail::send_tell<detail::function_body<T, F>>(checked(), std::move(f));
  }

  /// Sends a message and returns the future of its result. Its deadline is the
  /// option `ask_deadline` (30 s) or what remains to the caller, if that is
  /// less; `within` sets another.
  /// Errors: through the future: what the method throws (standard types and
  ///         Troupe's as themselves, others as task_failed), actor_stopped,
  ///         timeout, rejected, deadlock.
  template <auto M, class... As>
  auto ask(As&&... as) const {
    return ask_within<M>(detail::default_limit, std::forward<As>(as)...);
  }

  /// The same with a function: `f(T&)`.
  template <class F>
    requires std::is_invocable_v<F&, T&>
  auto ask(F f) const {
    return ask_within(detail::default_limit, std::move(f));
  }

  /// `r.within(50ms).ask<&T::m>(...)`: an ask with a deadline of its own.
  /// Units: any duration; 0 and below fail with timeout at once;
  ///        `no_deadline` must be written out.
  limited_ref<T> within(time_limit limit) const {
    return limited_ref<T>{*this, limit};
  }

  /// Ends the actor after the messages that were sent before.
  void stop() const { detail::stop_cell(checked()); }

  /// Ends the actor after the message that it is at; those in its mailbox are
  /// dropped as dead letters.
  void kill() const { detail::kill_cell(checked()); }

  /// Unique among the actors of this process; 0 for an empty handle.
  std::uint64_t id() const noexcept {
    return cell_ == nullptr ? 0 : detail::id_of(cell_);
  }

  /// False once it has ended. True says little: it may end at any time.
  bool is_alive() const noexcept {
    return cell_ != nullptr && detail::is_alive(cell_);
  }

  explicit operator bool() const noexcept { return cell_ != nullptr; }

  friend bool operator==(const ref& a, const ref& b) noexcept {
    return a.cell_ == b.cell_;
  }

  friend std::string to_string(const ref& r) {
    return r.cell_ == nullptr ? std::string{"(no actor)"}
                              : detail::describe(r.cell_);
  }

  template <class Char, class Traits>
  friend std::basic_ostream<Char, Traits>&
  operator<<(std::basic_ostream<Char, Traits>& out, const ref& r) {
    return out << to_string(r).c_str();
  }

  /// For the library: takes over one reference to `c`.
  static ref adopt(detail::cell* c) noexcept {
    ref result;
    result.cell_ = c;
    return result;
  }

  detail::cell* get() const noexcept { return cell_; }

private:
  friend class limited_ref<T>;
  friend class weak_ref<T>;

  template <auto M, std::size_t N>
  static constexpr void check_arguments() {
    static_assert(std::is_member_function_pointer_v<decltype(M)>,
                  "tell and ask take a method: &T::method");
    static_assert(detail::method_traits<decltype(M)>::arity == N,
                  "another number of arguments than the method takes");
  }

  template <auto M, class... As>
  auto ask_within(std::int64_t limit, As&&... as) const {
    check_arguments<M, sizeof...(As)>();
    return detail::send_ask<detail::ask_message<detail::body_of<T, M>>>(
      checked(), limit, std::forward<As>(as)...);
  }

  template <class F>
  auto ask_within(std::int64_t limit, F f) const {
    return detail::send_ask<detail::ask_message<detail::function_body<T, F>>>(
      checked(), limit, std::move(f));
  }

  detail::cell* checked() const {
    if (cell_ == nullptr)
      detail::throw_null_ref();
    return cell_;
  }

  detail::cell* cell_ = nullptr;
};

namespace detail {

struct class_info;
template <class T>
constexpr const class_info& remote_info(); // system.hpp
void write_ref(wire::writer& out, cell* c);
cell* read_ref(wire::reader& in, const class_info& of);

} // namespace detail

/// A handle travels to where its road knows actors (in_process, a node); there
/// it is a handle to the same actor.
template <class T>
struct wire::codec<ref<T>> {
  static constexpr bool fixed = false;
  static constexpr bool bitwise = false;
  static constexpr std::size_t bytes_min = 1;

  template <class...>
  static consteval bool travels() {
    return true;
  }
  static void write(writer& out, const ref<T>& x) {
    troupe::detail::write_ref(out, x.get());
  }
  static void read(reader& in, ref<T>& x) {
    x = ref<T>::adopt(
      troupe::detail::read_ref(in, troupe::detail::remote_info<T>()));
  }
};

/// What `ref::within` returns.
template <class T>
class limited_ref {
public:
  limited_ref(ref<T> r, time_limit limit) : ref_(std::move(r)), limit_(limit) {}

  template <auto M, class... As>
  auto ask(As&&... as) const {
    return ref_.template ask_within<M>(ns(), std::forward<As>(as)...);
  }

  template <class F>
    requires std::is_invocable_v<F&, T&>
  auto ask(F f) const {
    return ref_.ask_within(ns(), std::move(f));
  }

private:
  std::int64_t ns() const { return limit_.ns() < 0 ? 0 : limit_.ns(); }

  ref<T> ref_;
  time_limit limit_;
};

/// A handle that doesn't keep its actor alive.
template <class T>
class weak_ref {
public:
  weak_ref() = default;
  weak_ref(const ref<T>& r) noexcept : cell_(r.get()) {
    if (cell_ != nullptr)
      detail::retain_weak(cell_);
  }
  weak_ref(const weak_ref& other) noexcept : cell_(other.cell_) {
    if (cell_ != nullptr)
      detail::retain_weak(cell_);
  }
  weak_ref(weak_ref&& other) noexcept
    : cell_(std::exchange(other.cell_, nullptr)) {}
  weak_ref& operator=(weak_ref other) noexcept {
    std::swap(cell_, other.cell_);
    return *this;
  }
  ~weak_ref() {
    if (cell_ != nullptr)
      detail::release_weak(cell_);
  }

  /// A handle, or an empty one when the actor has ended.
  ref<T> lock() const noexcept {
    if (cell_ == nullptr || !detail::lock_weak(cell_))
      return {};
    return ref<T>::adopt(cell_);
  }

  std::uint64_t id() const noexcept {
    return cell_ == nullptr ? 0 : detail::id_of(cell_);
  }

  friend bool operator==(const weak_ref& a, const weak_ref& b) noexcept {
    return a.cell_ == b.cell_;
  }

private:
  detail::cell* cell_ = nullptr;
};

} // namespace troupe

template <class T>
struct std::hash<troupe::ref<T>> {
  std::size_t operator()(const troupe::ref<T>& r) const noexcept {
    return std::hash<std::uint64_t>{}(r.id());
  }
};

template <class T>
struct std::hash<troupe::weak_ref<T>> {
  std::size_t operator()(const troupe::weak_ref<T>& r) const noexcept {
    return std::hash<std::uint64_t>{}(r.id());
  }
};
