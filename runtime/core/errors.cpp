// SPDX-License-Identifier: MIT
// errors: exceptions as others get them.
#include "troupe/error.hpp"

#include <cxxabi.h>

#include <cstdio>
#include <cstring>
#include <mutex>
#include <vector>

#include "core/log.hpp"
#include "core/observer.hpp"
#include "core/runtime.hpp"
#include "troupe/failure.hpp"

namespace troupe {

namespace {

std::string demangle(const char* name) {
  int status = 0;
  auto* text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string result{status == 0 ? text : name};
  std::free(text);
  return result;
}

std::string compose(const std::string& type, const std::string& what,
                    const std::string& where, std::uint64_t actor,
                    const std::string& node) {
  auto text = where.empty() ? std::string{"a task"} : where;
  text += " failed";
  if (actor != 0)
    text += " in actor " + std::to_string(actor);
  if (!node.empty())
    text += " on " + node;
  text += " with " + type;
  if (!what.empty())
    text += ": " + what;
  return text;
}

struct thrown {
  std::string type, what;
  bool is_ours = false; // standard, or derived from troupe::error
};

thrown inspect(const std::exception_ptr& e) {
  try {
    std::rethrow_exception(e);
  } catch (const error& x) {
    return {demangle(typeid(x).name()), x.what(), true};
  } catch (const std::exception& x) {
    auto* name = typeid(x).name();
    auto standard = std::strncmp(name, "St", 2) == 0
                    || std::strncmp(name, "NSt", 3) == 0;
    return {demangle(name), x.what(), standard};
  } catch (const std::string& x) {
    return {"std::string", x};
  } catch (const char* x) {
    return {"const char*", x};
  } catch (...) {
    auto* type = abi::__cxa_current_exception_type();
    return {type == nullptr ? "an unknown type" : demangle(type->name()), {}};
  }
}

} // namespace

task_failed::task_failed(std::string type, std::string what, std::string where,
                         std::uint64_t actor, std::string node,
                         std::exception_ptr original)
  : error(compose(type, what, where, actor, node)),
    type_(std::move(type)),
    text_(std::move(what)),
    where_(std::move(where)),
    actor_(actor),
    node_(std::move(node)),
    original_(std::move(original)) {}

namespace detail {

std::string text_of(const std::exception_ptr& e) {
  auto t = inspect(e);
  return t.what.empty() ? t.type : t.what;
}

std::string text_with_type(const std::exception_ptr& e) {
  auto t = inspect(e);
  return t.what.empty() ? t.type : t.type + ": " + t.what;
}

std::exception_ptr translate(std::exception_ptr e, cell& self,
                             std::string_view where) noexcept {
  auto t = inspect(e);
  if (t.is_ours)
    return e;
  return std::make_exception_ptr(task_failed{std::move(t.type),
                                             std::move(t.what),
                                             plain_name(where),
                                             id_of(&self),
                                             {},
                                             e});
}

void settle_thrown(state_base& s, cell& self) noexcept {
  s.fail(translate(std::current_exception(), self, s.what));
}

// -- failures that nobody looked at -------------------------------------------

namespace {

observer<const failure&>& failure_observer() {
  static auto* o = new observer<const failure&>;
  return *o;
}

void tell_observer(const failure& f) noexcept {
  try {
    failure_observer().tell(f);
  } catch (...) {
    log().error("on_failure: {}", text_with_type(std::current_exception()));
  }
}

struct unobserved_list {
  std::mutex mutex;
  std::vector<std::string> texts;
  std::size_t count = 0;
};

unobserved_list& unobserved() {
  static auto* list = new unobserved_list; // used until the very end
  return *list;
}

} // namespace

// Whether anybody reads what a failure says: its backtrace costs 100 us.
bool is_failure_seen() noexcept {
  return failure_observer().is_set() || log().should_log(spdlog::level::err);
}

void report_failure(const failure& f) noexcept {
  detail::log().error("{}", to_string(f));
  tell_observer(f);
}

void report_actor_failure(const cell& c, std::string_view where,
                          const std::exception_ptr& e) noexcept {
  auto t = inspect(e);
  failure f;
  f.actor = id_of(&c);
  f.name = plain_name(c.info().name);
  f.where = plain_name(where);
  f.type = std::move(t.type);
  f.text = std::move(t.what);
  if (is_failure_seen())
    f.backtrace = take_backtrace();
  report_failure(f);
}

void report_unobserved(const state_base& s) noexcept {
  // Whoever stopped waiting because of the end needs no reminder.
  try {
    std::rethrow_exception(s.failure);
  } catch (const actor_stopped&) {
    return;
  } catch (...) {}
  auto& list = unobserved();
  auto text = plain_name(s.what.empty() ? "a task" : s.what) + ": "
              + text_with_type(s.failure);
  {
    std::lock_guard guard{list.mutex};
    ++list.count;
    if (list.texts.size() < 100)
      list.texts.push_back(std::move(text));
  }
  auto t = inspect(s.failure);
  failure f;
  f.where = plain_name(s.what.empty() ? "a task" : s.what);
  f.type = std::move(t.type);
  f.text = std::move(t.what);
  f.unobserved = true;
  tell_observer(f);
}

void print_unobserved() {
  auto& list = unobserved();
  std::lock_guard guard{list.mutex};
  if (list.count == 0)
    return;
  std::fprintf(stderr, "troupe: %zu failed result%s nobody looked at:\n",
               list.count, list.count == 1 ? " that" : "s that");
  for (auto& t : list.texts)
    std::fprintf(stderr, "  %s\n", t.c_str());
  if (list.count > list.texts.size())
    std::fprintf(stderr, "  ... and %zu more\n",
                 list.count - list.texts.size());
  list.texts.clear();
  list.count = 0;
}

} // namespace detail

std::string to_string(const failure& f) {
  auto text = f.name.empty() ? f.where
                             : f.name + "#" + std::to_string(f.actor) + ": "
                                 + (f.where.empty() ? "it" : f.where);
  text += " failed with " + f.type;
  if (!f.text.empty())
    text += ": " + f.text;
  if (f.unobserved)
    text += " (and nobody looked at the result)";
  if (!f.backtrace.empty())
    text += "\n" + f.backtrace;
  return text;
}

void on_failure(std::function<void(const failure&)> f) {
  detail::failure_observer().set(std::move(f));
}

} // namespace troupe
