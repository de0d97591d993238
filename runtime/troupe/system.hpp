// SPDX-License-Identifier: MIT
// system: owns the worker threads and the actors.
//
// `troupe::run` makes one and hands it over; a program that brings its own main
// makes it directly (then there are no worker processes and no nodes, which
// are this same executable started by `run`).
// Who may call: anybody, from any thread.
// Stop:   1. spawns are refused. 2. what runs and waits is given time to finish
//         (drain). 3. actors end, the youngest first, each after its mailbox.
//         4. at the deadline the rest is killed and reported. The destructor
//         does the same with `stop_deadline`; it never hangs: a method that
//         doesn't return keeps its thread, which is left behind and named.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "troupe/actor.hpp"
#include "troupe/options.hpp"
#include "troupe/placement.hpp"

namespace troupe {

class system;
class supervisor;       // supervisor.hpp
struct supervisor_spec; // likewise
class node;             // node.hpp
struct connect_options; // likewise

/// An actor (or thread) that did not end in time.
struct straggler {
  std::uint64_t id = 0;
  std::string actor;                  // its class
  std::string method;                 // what it is in; empty when idle
  std::chrono::nanoseconds running{}; // for how long
  std::size_t mailbox = 0;            // messages that wait
};

struct stop_report {
  bool clean = true; // everything ended by itself, before the deadline
  std::vector<straggler> in_the_way;
  std::uint64_t messages_dropped = 0; // by kills
};

std::string to_string(const stop_report& r);

/// A message that could not be delivered.
struct dead_letter {
  std::uint64_t actor = 0;
  std::string name;    // the actor's class
  std::string message; // the method
  std::string why;     // "stopped", "full"
};

/// Counters since the start.
struct statistics {
  std::uint64_t messages = 0, actors_spawned = 0, actors_alive = 0,
                dead_letters = 0, resumes = 0, steals = 0, parks = 0, wakes = 0,
                injected = 0, stalls = 0;
  std::size_t workers = 0, threads = 0, blocking_threads = 0;
};

namespace detail {

class runtime; // core/runtime.hpp

/// What the runtime knows about a class of actors: one constant per class.
struct class_info {
  std::string_view name;
  std::size_t size, align;
  void (*destroy)(void*);
  void (*on_stop)(void*, const stop_reason&); // null without the hook
  void (*on_down)(void*, const down&);        // null without the hook
  bool has_self;                              // derives from troupe::actor
  bool is_reentrant;
};

template <class T>
inline constexpr class_info info_of{
  type_name<T>(),
  sizeof(T),
  alignof(T),
  [](void* p) { static_cast<T*>(p)->~T(); },
  [] {
    void (*f)(void*, const stop_reason&) = nullptr;
    if constexpr (requires(T& t, stop_reason r) { t.on_stop(r); })
      f = [](void* p, const stop_reason& r) { static_cast<T*>(p)->on_stop(r); };
    return f;
  }(),
  [] {
    void (*f)(void*, const down&) = nullptr;
    if constexpr (requires(T& t, down d) { t.on_down(d); })
      f = [](void* p, const down& d) { static_cast<T*>(p)->on_down(d); };
    return f;
  }(),
  std::is_base_of_v<actor, T>,
  std::is_base_of_v<reentrant, T>};

void publish_cell(runtime& rt, const std::string& name, cell* c);

class remote_link; // core/remote.hpp

/// The object of an actor that lives in another process: the way to it.
struct remote_object {
  std::shared_ptr<remote_link> link;
  std::uint64_t target = 0;

  remote_object() = default;
  remote_object(const remote_object&) = delete;
  remote_object& operator=(const remote_object&) = delete;
  ~remote_object();
  void on_stop(const stop_reason& why);
};

/// What the runtime knows about such an actor of class T.
template <class T>
inline constexpr class_info remote_info_of{
  type_name<T>(),
  sizeof(remote_object),
  alignof(remote_object),
  [](void* p) { static_cast<remote_object*>(p)->~remote_object(); },
  [](void* p, const stop_reason& r) {
    static_cast<remote_object*>(p)->on_stop(r);
  },
  nullptr,
  true,
  std::is_base_of_v<reentrant, T>};

template <class T>
constexpr const class_info& remote_info() {
  return remote_info_of<T>;
}

/// Who does an own thread's work instead of a thread: is told when there is
/// some.
struct thread_driver {
  void (*wake)(void* of) = nullptr;
  void* of = nullptr;
};

struct spawn_options {
  bool own_thread = false;
  bool bounded = false;
  bool is_restartable = false;
  bool is_remote = false;
  thread_driver driver{};
  calls_during_restart calls = calls_during_restart::queued;
  mailbox box;
};

inline void apply(spawn_options&, on_workers) {}
inline void apply(spawn_options& o, on_thread) {
  o.own_thread = true;
}
inline void apply(spawn_options& o, mailbox m) {
  o.bounded = true;
  o.box = m;
}
inline void apply(spawn_options& o, restartable r) {
  o.is_restartable = true;
  o.calls = r.calls;
}

template <class A>
concept spawn_option = std::is_same_v<std::remove_cvref_t<A>, on_workers>
                       || std::is_same_v<std::remove_cvref_t<A>, on_thread>
                       || std::is_same_v<std::remove_cvref_t<A>, mailbox>
                       || std::is_same_v<std::remove_cvref_t<A>, restartable>;

// make_cell gives raw memory for the object, with `constructing_cell` set;
// commit_cell makes it an actor, abandon_cell takes it back.
cell* make_cell(runtime& rt, const class_info& info, const spawn_options& o);
void* object_of(cell* c) noexcept;
void commit_cell(cell* c, envelope* first);
void abandon_cell(cell* c) noexcept;

template <class T>
struct start_function {
  auto operator()(T& t) { return t.on_start(); }
};

template <class T>
struct start_body : function_body<T, start_function<T>> {
  using function_body<T, start_function<T>>::function_body;
  static constexpr std::string_view name() { return "on_start"; }
};

// The message that runs on_start; null without the hook.
template <class T>
envelope* start_message() {
  if constexpr (requires(T& t) { t.on_start(); })
    return new tell_message<start_body<T>>(start_function<T>{});
  else
    return nullptr;
}

template <class T, class... As>
void construct(void* memory, As&&... as) {
  if constexpr (std::is_constructible_v<T, As...>)
    ::new (memory) T(std::forward<As>(as)...);
  else
    ::new (memory) T{std::forward<As>(as)...};
}

template <class T, class... As>
ref<T> spawn_with(runtime& rt, const spawn_options& o, As&&... as) {
  auto* c = make_cell(rt, info_of<T>, o);
  try {
    construct<T>(object_of(c), std::forward<As>(as)...);
  } catch (...) {
    abandon_cell(c);
    throw;
  }
  auto result = ref<T>::adopt(c);
  commit_cell(c, start_message<T>());
  return result;
}

/// Makes the process, the actor in it, and `object`, which is in the cell that
/// is being made; in process/actor.cpp.
void start_remote(void* object, const in_process& where,
                  const wire::entry& constructor,
                  const std::function<void(wire::writer&)>& arguments);
/// The same on another node; in node/session.cpp.
void start_remote(void* object, const on_node& where,
                  const wire::entry& constructor,
                  const std::function<void(wire::writer&)>& arguments);

/// Not here but in another process.
template <class A>
concept remote_placement = std::is_same_v<std::remove_cvref_t<A>, in_process>
                           || std::is_same_v<std::remove_cvref_t<A>, on_node>;

/// Runs in the other process: makes the actor from arguments that came.
struct actor_maker {
  template <class T, class... As>
  static void make(wire::invocation& call, As&&... as);
};

template <class T, remote_placement Where, class... As>
void construct_remote(void* object, const Where& where, const As&... as) {
  wire::require_sendable<wire::packed_t<As>...>();
  start_remote(
    object, where,
    wire::entry_of<wire::actor_thunk<T, actor_maker, wire::packed_t<As>...>>(),
    [&](wire::writer& out) {
      wire::encode_args<wire::packed_t<As>...>(out, as...);
    });
}

template <class T, remote_placement Where, class... As>
ref<T> spawn_remote(runtime& rt, spawn_options o, const Where& where,
                    const As&... as) {
  o.is_remote = true;
  auto* c = make_cell(rt, remote_info_of<T>, o);
  try {
    construct_remote<T>(object_of(c), where, as...);
  } catch (...) {
    abandon_cell(c);
    throw;
  }
  auto result = ref<T>::adopt(c);
  commit_cell(c, nullptr);
  return result;
}

template <class T, class A, class... As>
ref<T> spawn_parsed(runtime& rt, spawn_options o, A&& a, As&&... as);

template <class T>
ref<T> spawn_parsed(runtime& rt, spawn_options o) {
  return spawn_with<T>(rt, o);
}

template <class T, class A, class... As>
ref<T> spawn_parsed(runtime& rt, spawn_options o, A&& a, As&&... as) {
  if constexpr (remote_placement<A>) {
    return spawn_remote<T>(rt, o, a, as...);
  } else if constexpr (spawn_option<A>) {
    apply(o, a);
    return spawn_parsed<T>(rt, o, std::forward<As>(as)...);
  } else {
    return spawn_with<T>(rt, o, std::forward<A>(a), std::forward<As>(as)...);
  }
}

} // namespace detail

class system {
public:
  /// Errors: bad_argument for an option out of range.
  explicit system(options opts = {});
  system(const system&) = delete;
  system& operator=(const system&) = delete;
  ~system();

  /// Makes an actor of class T. Its constructor runs here, in the caller, and
  /// what it throws comes out of spawn; everything else runs in the actor.
  /// Shape:  `spawn<T>(args...)`, `spawn<T>(on_thread{}, mailbox{...},
  /// args...)` Errors: what T's constructor throws; closed after stop;
  /// bad_argument for
  ///         a mailbox of 0; rejected when there are no more threads.
  template <class T, class... As>
  ref<T> spawn(As&&... as) {
    return detail::spawn_parsed<T>(*runtime_, {}, std::forward<As>(as)...);
  }

  /// Starts a tree of children that are restarted when they end; its words are
  /// in supervisor.hpp.
  /// Errors: bad_argument that names the first fault of the spec, before
  ///         anything starts; what the start of a child throws.
  supervisor supervise(supervisor_spec spec);

  /// Connects to another node, which is this same executable started as
  /// `app node --listen HOST:PORT`; all about it is in node.hpp.
  node connect(std::string address);
  node connect(std::string address, connect_options opts);

  /// Listens for other nodes; only those whose keys are let in.
  /// Shape:  "127.0.0.1:7000", "[::1]:7000", ":7000" (all interfaces); port 0
  ///         takes a free one -> the address with the port.
  /// Errors: bad_argument (no keys, no such address, the port is taken);
  ///         closed after stop.
  std::string listen(const std::string& address);

  /// Other nodes find `r` by this name (node::lookup); it lives at least until
  /// another takes the name or it is unpublished.
  /// Errors: bad_argument (an empty handle or name, one above 256 bytes);
  ///         closed after stop.
  template <class T>
  void publish(const std::string& name, const ref<T>& r) {
    detail::publish_cell(*runtime_, name, r.get());
  }
  /// Whether it was there.
  bool unpublish(const std::string& name);

  /// Stops as described on top. Idempotent: later calls return the report of
  /// the first. Called by an actor of this system it throws bad_argument.
  stop_report stop(time_limit deadline);
  stop_report stop();

  bool is_stopping() const;

  /// Messages that could not be delivered so far.
  std::uint64_t dead_letters() const;

  /// Calls `f` for each of them from now on, one at a time, from the thread
  /// that finds it: keep it short. What it throws is logged; what it loses
  /// itself is counted only. An empty function ends it; `f` may do so, too.
  void on_dead_letter(std::function<void(const dead_letter&)> f);

  statistics stats() const;

  /// A readable list: actors that run, wait or have mail, what they are in and
  /// whom they wait for. For people in trouble; safe at any time.
  std::string describe() const;

  /// Worker threads (not counting stand-ins).
  std::size_t workers() const;

  const options& settings() const;

  /// For the library.
  detail::runtime& runtime() const { return *runtime_; }

private:
  std::unique_ptr<detail::runtime, void (*)(detail::runtime*)> runtime_;
};

/// The system that `r` belongs to, which must be there still.
/// Errors: bad_argument for an empty handle.
template <class T>
system& system_of(const ref<T>& r) {
  if (!r)
    detail::throw_null_ref();
  return detail::system_of(r.get());
}

namespace detail {

/// `invocation::target` of a constructor.
struct making {
  runtime* rt;
  spawn_options options;
  cell* made = nullptr; // one reference
};

template <class T, class... As>
void actor_maker::make(wire::invocation& call, As&&... as) {
  auto& m = *static_cast<making*>(call.target);
  auto r = spawn_with<T>(*m.rt, m.options, std::forward<As>(as)...);
  m.made = r.get();
  retain(m.made);
}

} // namespace detail

template <class T, class... As>
auto actor::spawn(As&&... as) {
  return system().template spawn<T>(std::forward<As>(as)...);
}

} // namespace troupe
