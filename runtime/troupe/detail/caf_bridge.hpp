// SPDX-License-Identifier: MIT
// caf_bridge: calls between CAF actors and ours. Included by troupe/caf.hpp.
#pragma once

namespace troupe::detail {

/// A method call that travels in a CAF message.
struct caf_invocation {
  virtual ~caf_invocation() = default;
  /// Calls the method; the answer goes to `answer`, later for task or future.
  virtual void run(cell& self, void* object, caf_answer answer) = 0;
};

using caf_matcher =
  std::function<std::unique_ptr<caf_invocation>(const caf::message&)>;

void set_matchers(cell* c, std::vector<caf_matcher> ms);
caf::error to_caf_error(std::exception_ptr e);
std::exception_ptr from_caf_error(const caf::error& e,
                                  const caf::actor_system& sys);

// Sends the answer when the state settles.
template <class R>
struct answer_waiter final : waiter, pooled {
  caf_answer answer;
  state_ptr<state<R>> from;

  explicit answer_waiter(caf_answer a)
    : waiter(&settled),
      answer(std::move(a)) {}

  static void settled(waiter* w, state_base& s) noexcept {
    std::unique_ptr<answer_waiter> self{static_cast<answer_waiter*>(w)};
    s.observed.store(true, std::memory_order_relaxed);
    try {
      future<R> done{std::move(self->from)};
      if constexpr (std::is_void_v<R>) {
        done.get();
        self->answer(caf::make_message());
      } else {
        self->answer(caf::make_message(done.get()));
      }
    } catch (...) {
      self->answer(caf::make_message(to_caf_error(std::current_exception())));
    }
  }
};

// Runs like an ask of ours whose future is answered to CAF.
template <class T, auto M>
struct method_invocation final : caf_invocation {
  using message = ask_message<body_of<T, M>>;
  using value = typename message::value;
  std::function<message*()> make;

  void run(cell& self, void* object, caf_answer answer) override {
    auto* m = make();
    m->retain();
    m->what = message::table.name;
    auto w = std::make_unique<answer_waiter<value>>(std::move(answer));
    w->from = state_ptr<state<value>>{m};
    auto* raw = w.release();
    if (!m->add_waiter(*raw))
      raw->notify(raw, *m);
    message::run(m, self, object);
  }
};

template <class M>
struct class_of;
template <class R, class T>
struct class_of<R T::*> {
  using type = T;
};

template <auto M, class... As>
caf_call make_call(As&&... as) {
  using T = typename class_of<decltype(M)>::type;
  using invocation = method_invocation<T, M>;
  auto made = std::make_shared<invocation>();
  // CAF messages may be copied, so the arguments are copied for each run.
  made->make = [args = std::make_tuple(std::forward<As>(as)...)] {
    return std::apply(
      [](const auto&... xs) { return new typename invocation::message(xs...); },
      args);
  };
  return caf_call{std::move(made)};
}

template <class T, auto M, class... Ps>
caf_matcher matcher_for(parameters<Ps...>) {
  return [](const caf::message& msg) -> std::unique_ptr<caf_invocation> {
    if (!msg.template match_elements<kept_t<Ps>...>())
      return nullptr;
    using invocation = method_invocation<T, M>;
    auto made = std::make_unique<invocation>();
    made->make = [msg] {
      return [&]<std::size_t... Is>(std::index_sequence<Is...>) {
        return new
          typename invocation::message(msg.template get_as<kept_t<Ps>>(Is)...);
      }(std::index_sequence_for<Ps...>{});
    };
    return made;
  };
}

template <class T, auto... Methods>
void understand(cell* c) {
  std::vector<caf_matcher> ms;
  (ms.push_back(matcher_for<T, Methods>(
     typename method_traits<decltype(Methods)>::params{})),
   ...);
  set_matchers(c, std::move(ms));
}

// A spawn from a thread outside leaves CAF's logger with that thread, and the
// end of CAF's system waits for it.
void forget_logger();

// A CAF actor that sends one request and settles a future with the response.
template <class R>
future<R> ask_caf(system& sys, const caf::actor& to, caf::message msg) {
  auto p = std::make_shared<promise<R>>();
  auto result = p->get_future();
  auto ns = sys.settings().ask_deadline;
  auto limit =
    ns == std::chrono::nanoseconds::max()
      ? caf::duration{caf::infinite}
      : caf::duration{
          std::max(std::chrono::milliseconds{1},
                   std::chrono::duration_cast<std::chrono::milliseconds>(ns))};
  // An argument that says nothing: without any CAF refers to one at null.
  auto body = [p, to, limit, msg](caf::event_based_actor* self, int) {
    auto fail = [=](const caf::error& e) {
      p->try_set_exception(from_caf_error(e, self->system()));
      self->quit();
    };
    self->set_down_handler([=](caf::down_msg& d) {
      fail(d.reason ? d.reason
                    : caf::make_error(caf::sec::request_receiver_down));
    });
    self->monitor(to);
    auto request = self->request(to, limit, msg);
    auto on_error = [=](caf::error& e) { fail(e); };
    if constexpr (std::is_void_v<R>)
      request.then(
        [=] {
          p->try_set_value();
          self->quit();
        },
        on_error);
    else
      request.then(
        [=](R& value) {
          p->try_set_value(std::move(value));
          self->quit();
        },
        on_error);
  };
  detail::caf_system_of(sys.runtime()).template spawn<caf::hidden>(body, 0);
  forget_logger();
  return result;
}

} // namespace troupe::detail
