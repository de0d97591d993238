// SPDX-License-Identifier: MIT
#include "wire/failure.hpp"

#include "troupe/error.hpp"

#include <algorithm>
#include <any>
#include <array>
#include <cstdlib>
#include <cxxabi.h>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <string_view>
#include <system_error>
#include <typeinfo>
#include <variant>

namespace troupe::wire {

namespace {

std::string cut(std::string_view text) {
  return std::string{text.substr(0, failure_text_bytes_max)};
}

std::string demangle(const std::type_info& type) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text{
    abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free};
  return cut(status == 0 ? text.get() : type.name());
}

const std::error_category* category_of(std::string_view name) {
  for (const std::error_category* known :
       {&std::generic_category(), &std::system_category(),
        &std::iostream_category(), &std::future_category()})
    if (name == known->name())
      return known;
  return nullptr;
}

/// std::system_error puts its code's text after the one it is given: give it
/// what was there before.
std::string without_code(const failure& record, const std::error_code& code) {
  std::string_view text = record.what;
  const auto tail = code.message();
  if (text.ends_with(tail))
    text.remove_suffix(tail.size());
  if (text.ends_with(": "))
    text.remove_suffix(2);
  return std::string{text};
}

template <class E>
std::exception_ptr with_text(const failure& record) {
  return std::make_exception_ptr(E{record.what});
}

template <class E>
std::exception_ptr without_text(const failure&) {
  return std::make_exception_ptr(E{});
}

/// Null for a category that this program doesn't know.
template <class E>
std::exception_ptr with_code(const failure& record) {
  const auto* category = category_of(record.category);
  if (category == nullptr)
    return nullptr;
  const std::error_code code{record.code, *category};
  if constexpr (std::is_same_v<E, std::future_error>) {
    return std::make_exception_ptr(
      std::future_error{static_cast<std::future_errc>(code.value())});
  } else {
    const auto text = without_code(record, code);
    if constexpr (std::is_same_v<E, std::system_error>)
      return std::make_exception_ptr(
        text.empty() ? std::system_error{code} : std::system_error{code, text});
    else
      return std::make_exception_ptr(E{text, code});
  }
}

/// What comes out as itself.
struct known_type {
  const std::type_info* type;
  std::exception_ptr (*make)(const failure&);
};

constexpr std::array known_types{
  known_type{&typeid(std::logic_error), &with_text<std::logic_error>},
  known_type{&typeid(std::invalid_argument), &with_text<std::invalid_argument>},
  known_type{&typeid(std::domain_error), &with_text<std::domain_error>},
  known_type{&typeid(std::length_error), &with_text<std::length_error>},
  known_type{&typeid(std::out_of_range), &with_text<std::out_of_range>},
  known_type{&typeid(std::runtime_error), &with_text<std::runtime_error>},
  known_type{&typeid(std::range_error), &with_text<std::range_error>},
  known_type{&typeid(std::overflow_error), &with_text<std::overflow_error>},
  known_type{&typeid(std::underflow_error), &with_text<std::underflow_error>},
  known_type{&typeid(std::system_error), &with_code<std::system_error>},
  known_type{&typeid(std::ios_base::failure),
             &with_code<std::ios_base::failure>},
  known_type{&typeid(std::future_error), &with_code<std::future_error>},
  known_type{&typeid(std::exception), &without_text<std::exception>},
  known_type{&typeid(std::bad_alloc), &without_text<std::bad_alloc>},
  known_type{&typeid(std::bad_array_new_length),
             &without_text<std::bad_array_new_length>},
  known_type{&typeid(std::bad_cast), &without_text<std::bad_cast>},
  known_type{&typeid(std::bad_any_cast), &without_text<std::bad_any_cast>},
  known_type{&typeid(std::bad_typeid), &without_text<std::bad_typeid>},
  known_type{&typeid(std::bad_exception), &without_text<std::bad_exception>},
  known_type{&typeid(std::bad_function_call),
             &without_text<std::bad_function_call>},
  known_type{&typeid(std::bad_optional_access),
             &without_text<std::bad_optional_access>},
  known_type{&typeid(std::bad_variant_access),
             &without_text<std::bad_variant_access>},
  known_type{&typeid(std::bad_weak_ptr), &without_text<std::bad_weak_ptr>},
  known_type{&typeid(error), &with_text<error>},
  known_type{&typeid(timeout), &with_text<timeout>},
  known_type{&typeid(cancelled), &with_text<cancelled>},
  known_type{&typeid(closed), &with_text<closed>},
  known_type{&typeid(rejected), &with_text<rejected>},
  known_type{&typeid(actor_stopped), &with_text<actor_stopped>},
  known_type{&typeid(deadlock), &with_text<deadlock>},
  known_type{&typeid(node_lost), &with_text<node_lost>},
  known_type{&typeid(bad_argument), &with_text<bad_argument>},
  known_type{&typeid(not_sendable), &with_text<not_sendable>},
  known_type{&typeid(wrong_build), &with_text<wrong_build>},
  known_type{&typeid(decode_error), &with_text<decode_error>},
};

/// Texts and numbers are thrown often enough to be worth a word.
std::string text_of_current() {
  try {
    throw;
  } catch (const char* text) {
    return cut(text == nullptr ? "" : text);
  } catch (const std::string& text) {
    return cut(text);
  } catch (int number) {
    return std::to_string(number);
  } catch (...) {
    return {};
  }
}

void describe_standard(failure& record, const std::exception& e) {
  record.type = demangle(typeid(e));
  record.what = cut(e.what());
  const std::error_code* code = nullptr;
  if (const auto* system = dynamic_cast<const std::system_error*>(&e))
    code = &system->code();
  else if (const auto* future = dynamic_cast<const std::future_error*>(&e))
    code = &future->code();
  if (code != nullptr) {
    record.code = code->value();
    record.category = cut(code->category().name());
  }
}

} // namespace

failure describe(const std::exception_ptr& error, std::string_view where,
                 std::uint64_t actor, std::string_view node) {
  failure record;
  if (!error)
    return record;
  record.where = cut(where);
  record.node = cut(node);
  record.actor = actor;
  try {
    std::rethrow_exception(error);
  } catch (const task_failed& e) {
    record.type = cut(e.type());
    record.what = cut(e.text());
    record.where = cut(e.where());
    if (!e.node().empty())
      record.node = cut(e.node());
    record.actor = e.actor();
    record.category = "task_failed";
  } catch (const std::exception& e) {
    describe_standard(record, e);
  } catch (...) {
    const auto* type = abi::__cxa_current_exception_type();
    record.type = type == nullptr ? "unknown" : demangle(*type);
    record.what = text_of_current();
  }
  if (record.type.empty())
    record.type = "unknown";
  return record;
}

std::exception_ptr rebuild(const failure& record) {
  if (record.type.empty())
    return nullptr;
  if (record.category != "task_failed")
    for (const auto& known : known_types)
      if (record.type == demangle(*known.type))
        if (auto made = known.make(record))
          return made;
  return std::make_exception_ptr(task_failed{
    record.type, record.what, record.where, record.actor, record.node});
}

// -- as a value inside a message ----------------------------------------------

void write_exception(writer& out, const std::exception_ptr& error) {
  encode(out, describe(error));
}

std::exception_ptr read_exception(reader& in) {
  failure record;
  decode(in, record);
  return rebuild(record);
}

} // namespace troupe::wire
