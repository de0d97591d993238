// SPDX-License-Identifier: MIT
// remote_task: a task that runs in another process, as its pool keeps it: the
// encoded call, who waits for it, and what has become of it so far.
#pragma once

#include "troupe/certificate.hpp"
#include "troupe/detail/name.hpp"
#include "troupe/detail/remote_message.hpp"
#include "troupe/detail/wire/buffer.hpp"
#include "troupe/detail/wire/carrier.hpp"
#include "troupe/detail/wire/thunk.hpp"
#include "troupe/executor.hpp"
#include "troupe/future.hpp"

#include <memory>
#include <stop_token>
#include <vector>

namespace troupe {

template <class F>
struct idempotent_t;

namespace detail {

class runtime;

/// Links, owner and lock: the pool's.
struct remote_task {
  remote_task* next = nullptr;
  remote_task* previous = nullptr;
  const wire::entry& entry;
  wire::buffer arguments;
  wire::attachments road;
  std::int64_t deadline_ns = -1; // -1: the pool's
  int priority = 0;
  bool is_idempotent = false;
  bool is_claimed = false;            // its future knows that it was sent
  bool is_given_up = false;           // settled, though it still runs
  bool is_ended = false;              // by force, because it was cancelled
  std::uint16_t flags = 0;            // of its frame
  std::uint8_t where = 0;             // wire/tasks.hpp
  std::uint64_t call = 0;             // its number at its worker or node
  std::uint64_t place = 0;            // that one's
  std::int64_t due = INT64_MAX;       // of the call that was sent to a node
  std::vector<certificate> deaths;    // of workers
  std::vector<std::string> lost_with; // nodes

  explicit remote_task(const wire::entry& e) : entry(e) {}

  /// What was sent is not needed any more, however long its future lives.
  void let_go() noexcept {
    arguments = {};
    road.attached.clear();
  }

  virtual state_base& state() noexcept = 0;
  /// Settles with the value in `in`, or with why there is none in it.
  virtual void decode(wire::reader& in) noexcept = 0;

protected:
  ~remote_task() = default;
};

/// A pool of such tasks, as they and their futures see it.
class remote_pool : public std::enable_shared_from_this<remote_pool> {
public:
  virtual ~remote_pool() = default;
  /// Errors: closed, rejected.
  virtual void submit(remote_task& t, bool may_reject) = 0;
  /// Its future is not wanted any more, though it was sent.
  virtual void stop_task(remote_task& t) noexcept = 0;
  /// Somebody waits for it: brings the answer nearer for a moment.
  virtual void help(remote_task& t) noexcept = 0;
  virtual drain_report shut_down(shutdown_mode mode, std::int64_t limit_ns) = 0;
  [[nodiscard]] virtual std::size_t workers() const noexcept = 0;
  /// Whether blocks can go beside a message, as descriptors.
  [[nodiscard]] virtual bool has_attachments() const noexcept = 0;
  /// Moves large arguments beside the message, if that can be.
  virtual void seal(remote_task& t) = 0;
};

/// Errors: bad_argument.
std::int64_t checked_task_limit(time_limit limit);
/// The error of a value that can't be read.
void settle_undecodable(state_base& s) noexcept;

template <class R>
struct remote_call final : remote_task, detail::state<R>, pooled {
  const std::weak_ptr<remote_pool> pool;
  void (*const read)(detail::state<R>&, wire::reader&);

  remote_call(remote_pool& p, const wire::entry& e,
              void (*reads)(detail::state<R>&, wire::reader&));

  state_base& state() noexcept override { return *this; }

  void decode(wire::reader& in) noexcept override {
    try {
      read(*this, in);
    } catch (...) {
      settle_undecodable(*this);
    }
  }

  static remote_call& of(state_base* s) noexcept {
    return *static_cast<remote_call*>(static_cast<detail::state<R>*>(s));
  }

  static constexpr state_ops table{
    [](state_base* s) noexcept { delete &of(s); },
    [](state_base* s) noexcept {
      if (auto p = of(s).pool.lock())
        p->stop_task(of(s));
    },
    nullptr, nullptr,
    [](state_base* s) noexcept {
      if (auto p = of(s).pool.lock())
        p->help(of(s));
    }};
};

template <class R>
remote_call<R>::remote_call(remote_pool& p, const wire::entry& e,
                            void (*reads)(detail::state<R>&, wire::reader&))
  : remote_task(e),
    detail::state<R>(&table),
    pool(p.weak_from_this()),
    read(reads) {}

template <class Encode>
void encode_arguments(remote_pool& p, remote_task& t, Encode encode) {
  wire::writer out{t.arguments, {}, p.has_attachments() ? &t.road : nullptr};
  encode(out);
  p.seal(t);
}

template <class F>
inline constexpr bool is_idempotent = false;
template <class F>
inline constexpr bool is_idempotent<idempotent_t<F>> = true;

// -- maps ---------------------------------------------------------------------

/// `f(a, b)` as a function of one tuple.
template <class F>
struct spread_t {
  template <class Tuple>
  decltype(auto) operator()(Tuple&& t) const {
    return std::apply(F{}, std::forward<Tuple>(t));
  }
};
template <class F>
inline constexpr bool is_idempotent<spread_t<F>> = is_idempotent<F>;

/// What comes back of a chunk: the values, and which inputs failed and why.
template <class R>
struct chunk_answer {
  std::vector<std::conditional_t<std::is_void_v<R>, std::uint8_t, R>> values;
  std::vector<std::uint64_t> failed; // positions, rising
  std::vector<std::exception_ptr> errors;
};

/// A chunk of a map as a task: what one input makes it throw concerns that one.
template <class F, class In>
struct chunk_task {
  using input = wire::packed_t<In>;
  using value = std::decay_t<std::invoke_result_t<const F&, input>>;
  using packed =
    std::conditional_t<std::is_void_v<value>, void, wire::packed_t<value>>;
  using results = chunk_result<value>;

  // Letting the map go stops it between two inputs: nobody looks at the rest.
  chunk_answer<packed> operator()(std::stop_token stop,
                                  std::vector<input> inputs) const {
    chunk_answer<packed> answer;
    answer.values.reserve(inputs.size());
    const F f{};
    for (std::size_t i = 0; i < inputs.size() && !stop.stop_requested(); ++i) {
      try {
        if constexpr (std::is_void_v<value>) {
          std::invoke(f, std::move(inputs[i]));
          answer.values.push_back(0);
        } else {
          answer.values.push_back(std::invoke(f, std::move(inputs[i])));
        }
      } catch (...) {
        answer.failed.push_back(i);
        answer.errors.push_back(std::current_exception());
        answer.values.emplace_back();
      }
    }
    return answer;
  }

  static constexpr std::string_view name() { return type_name<F>(); }
};

template <class F, class In>
void decode_chunk(state<typename chunk_task<F, In>::results>& s,
                  wire::reader& in) {
  using task = chunk_task<F, In>;
  chunk_answer<typename task::packed> answer;
  wire::decode(in, answer);
  in.finish();
  typename task::results results(answer.values.size());
  if constexpr (!std::is_void_v<typename task::value>)
    for (std::size_t i = 0; i < results.size(); ++i)
      results[i].value.emplace(std::move(answer.values[i]));
  if (answer.failed.size() != answer.errors.size())
    in.refuse("a chunk with another number of errors than failures");
  for (std::size_t i = 0; i < answer.failed.size(); ++i) {
    if (answer.failed[i] >= results.size())
      in.refuse("an error of an input that is not there");
    results[answer.failed[i]].error = std::move(answer.errors[i]);
  }
  s.set(std::move(results));
}

} // namespace detail
} // namespace troupe
