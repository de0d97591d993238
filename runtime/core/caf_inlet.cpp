// SPDX-License-Identifier: MIT
#include "core/caf_inlet.hpp"

#include <caf/all.hpp>
#include <map>
#include <mutex>

#include "core/runtime.hpp"
#include "troupe/caf.hpp"

namespace troupe::detail {

namespace {

struct caf_message final : envelope, pooled {
  caf::mailbox_element_ptr element;

  explicit caf_message(caf::mailbox_element_ptr e)
    : envelope(&table),
      element(std::move(e)) {}

  static void run(envelope* e, cell& self, void* object) {
    std::unique_ptr<caf_message> m{static_cast<caf_message*>(e)};
    m->deliver(self, object);
  }

  static void drop(envelope* e, drop_reason) noexcept {
    std::unique_ptr<caf_message> m{static_cast<caf_message*>(e)};
    m->bounce(caf::make_error(caf::sec::request_receiver_down));
  }

  void deliver(cell& self, void* object);
  void bounce(caf::error why);
  std::function<void(caf::message)> reply_function(cell& self);

  static constexpr message_ops table{&run, &drop, "a CAF message",
                                     message_kind::call};
};

struct matcher_table {
  std::mutex mutex;
  std::map<const class_entry*, std::shared_ptr<const std::vector<caf_matcher>>>
    of_class;
};

matcher_table& matchers() {
  static matcher_table table;
  return table;
}

std::shared_ptr<const std::vector<caf_matcher>> matchers_of(cell& c) {
  auto& table = matchers();
  std::lock_guard guard{table.mutex};
  auto i = table.of_class.find(cell::entry_slot(&c));
  return i == table.of_class.end() ? nullptr : i->second;
}

void caf_message::bounce(caf::error why) {
  if (element->mid.is_request() && element->sender)
    element->sender->enqueue(nullptr, element->mid.response_id(),
                             caf::make_message(std::move(why)), nullptr);
}

std::function<void(caf::message)> caf_message::reply_function(cell& self) {
  if (!element->mid.is_request() || !element->sender)
    return [](caf::message) {};
  retain_self(&self);
  caf::strong_actor_ptr me{self.block(), false};
  return [me, to = element->sender, id = element->mid.response_id()](
           caf::message m) { to->enqueue(me, id, std::move(m), nullptr); };
}

void caf_message::deliver(cell& self, void* object) {
  auto& msg = element->content();
  if (msg.match_elements<caf::exit_msg>()) {
    auto& em = msg.get_as<caf::exit_msg>(0);
    if (em.reason == caf::exit_reason::kill)
      self.set(cell::flag_killed);
    else if (em.reason)
      self.quit();
    return;
  }
  if (msg.match_elements<caf::down_msg>()) {
    if (self.info().on_down == nullptr)
      return;
    auto& dm = msg.get_as<caf::down_msg>(0);
    down d;
    d.id = dm.source.id();
    d.name = "a CAF actor";
    if (dm.reason) {
      d.reason.kind = stop_reason::failed;
      d.reason.error = from_caf_error(dm.reason, self.home_system());
      d.reason.text = text_of(d.reason.error);
    }
    self.info().on_down(object, d);
    return;
  }
  std::unique_ptr<caf_invocation> made;
  caf_invocation* call = nullptr;
  if (msg.match_elements<troupe::caf_call>()) {
    call = msg.get_as<troupe::caf_call>(0).invocation.get();
  } else if (auto known = matchers_of(self)) {
    for (auto& match : *known)
      if ((made = match(element->copy_content_to_message()))) {
        call = made.get();
        break;
      }
  }
  if (call != nullptr) {
    call->run(self, object, reply_function(self));
    return;
  }
  // Counted first: who hears of it finds it counted.
  auto text = to_string(msg);
  count_dead_letter(self, "a CAF message " + text, "not understood");
  bounce(caf::make_error(caf::sec::unexpected_message, text));
}

// Our text travels behind the code: error::context() of one string.
caf::error coded(caf::sec code, const std::string& text) {
  return caf::make_error(code, text);
}

} // namespace

void set_matchers(cell* c, std::vector<caf_matcher> ms) {
  auto& table = matchers();
  std::lock_guard guard{table.mutex};
  table.of_class[cell::entry_slot(c)] =
    std::make_shared<const std::vector<caf_matcher>>(std::move(ms));
}

caf::actor_system& caf_system_of(runtime& rt) {
  return rt.caf();
}

caf::actor caf_actor_of(cell* c) {
  if (c == nullptr)
    throw_null_ref();
  return caf::actor_cast<caf::actor>(caf::strong_actor_ptr{c->block()});
}

void accept_caf(cell& to, caf::mailbox_element_ptr what) {
  close_tell_to(&to);
  // Through CAF's pointer: it may be the last one that holds the actor.
  post_or_drop(&to, new caf_message{std::move(what)});
}

caf::error to_caf_error(std::exception_ptr e) {
  return coded(caf::sec::runtime_error, text_with_type(e));
}

caf::error to_caf_error(const stop_reason& r) {
  switch (r.kind) {
    case stop_reason::normal:
      return {};
    case stop_reason::killed:
      return caf::exit_reason::kill;
    case stop_reason::failed:
      return to_caf_error(r.error);
    case stop_reason::unreachable:
      return caf::exit_reason::unreachable;
    default:
      return caf::exit_reason::user_shutdown;
  }
}

void forget_logger() {
  if (sched::worker::current() == nullptr)
    caf::logger::set_current_actor_system(nullptr);
}

std::exception_ptr from_caf_error(const caf::error& e,
                                  const caf::actor_system& sys) {
  if (e == caf::sec::request_receiver_down || e.category() == caf::atom("exit"))
    return std::make_exception_ptr(
      actor_stopped{"the CAF actor has stopped: " + sys.render(e)});
  if (e == caf::sec::unexpected_response)
    return std::make_exception_ptr(
      bad_argument{"caf_ask: the answer has another type: " + sys.render(e)});
  if (e == caf::sec::request_timeout)
    return std::make_exception_ptr(
      timeout{"the CAF actor did not answer: " + sys.render(e)});
  std::string text;
  if (e.context().match_elements<std::string>())
    text = e.context().get_as<std::string>(0);
  else
    text = sys.render(e);
  return std::make_exception_ptr(
    task_failed{"caf::error", text, "a CAF actor", 0});
}

void adopt_caf_actor(caf::resumable* job) {
  auto* a = static_cast<caf::scheduled_actor*>(job);
  if (a->getf(caf::abstract_actor::is_initialized_flag))
    return;
  a->set_exception_handler([](caf::scheduled_actor*, std::exception_ptr& e) {
    return to_caf_error(e);
  });
}

} // namespace troupe::detail
