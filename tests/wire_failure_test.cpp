// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_failure
#include "support/wire.hpp"

#include "troupe/error.hpp"
#include "wire/failure.hpp"

#include <boost/test/unit_test.hpp>

#include <any>
#include <exception>
#include <functional>
#include <future>
#include <ios>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <typeinfo>
#include <variant>

using namespace troupe;

namespace {

/// The other side's exception.
std::exception_ptr across(const std::exception_ptr& e) {
  return test::round_trip(e);
}

/// `e` comes out as an E, not as something derived or wider, with its text.
template <class E>
void check_itself(const E& e) {
  try {
    std::rethrow_exception(across(std::make_exception_ptr(e)));
  } catch (const E& seen) {
    BOOST_TEST((typeid(seen) == typeid(E)), typeid(E).name());
    BOOST_TEST(std::string{seen.what()} == e.what());
    return;
  } catch (...) {}
  BOOST_ERROR(typeid(E).name() << " came out as something else");
}

template <class T>
void check_as_task_failed(const T& thrown, std::string_view type,
                          std::string_view text) {
  const auto record = wire::describe(std::make_exception_ptr(thrown),
                                     "teller::withdraw", 12, "node-3");
  try {
    std::rethrow_exception(wire::rebuild(test::round_trip(record)));
  } catch (const task_failed& e) {
    BOOST_TEST(e.type() == type);
    BOOST_TEST(e.text() == text);
    BOOST_TEST(e.where() == "teller::withdraw");
    BOOST_TEST(e.actor() == 12u);
    BOOST_TEST(e.node() == "node-3");
    return;
  } catch (...) {}
  BOOST_ERROR(type << " came out as something else");
}

} // namespace

namespace bank {

struct not_enough : std::domain_error {
  using std::domain_error::domain_error;
};

struct odd {};

} // namespace bank

BOOST_AUTO_TEST_CASE(smoke) {
  check_itself(std::runtime_error{"text"});
}

BOOST_AUTO_TEST_SUITE(an_exception)

BOOST_AUTO_TEST_CASE(of_the_standard_comes_out_as_itself) {
  check_itself(std::logic_error{"a"});
  check_itself(std::invalid_argument{""});
  check_itself(std::domain_error{"c"});
  check_itself(std::length_error{"d"});
  check_itself(std::out_of_range{"e"});
  check_itself(std::range_error{"f"});
  check_itself(std::overflow_error{"g"});
  check_itself(std::underflow_error{"h"});
  check_itself(std::exception{});
  check_itself(std::bad_alloc{});
  check_itself(std::bad_array_new_length{});
  check_itself(std::bad_cast{});
  check_itself(std::bad_any_cast{});
  check_itself(std::bad_typeid{});
  check_itself(std::bad_exception{});
  check_itself(std::bad_function_call{});
  check_itself(std::bad_optional_access{});
  check_itself(std::bad_variant_access{});
  check_itself(std::bad_weak_ptr{});
}

BOOST_AUTO_TEST_CASE(with_a_code_keeps_it) {
  const std::system_error e{ENOENT, std::generic_category(), "opening x"};
  check_itself(e);
  check_itself(std::system_error{EPERM, std::system_category()});
  check_itself(std::ios_base::failure{"stream"});
  check_itself(std::future_error{std::future_errc::broken_promise});
  try {
    std::rethrow_exception(across(std::make_exception_ptr(e)));
  } catch (const std::system_error& seen) {
    BOOST_TEST((seen.code() == e.code()));
  }
}

BOOST_AUTO_TEST_CASE(of_troupe_comes_out_as_itself) {
  check_itself(error{"a"});
  check_itself(timeout{"b"});
  check_itself(cancelled{"c"});
  check_itself(closed{"d"});
  check_itself(rejected{"e"});
  check_itself(actor_stopped{"f"});
  check_itself(deadlock{"g"});
  check_itself(bad_argument{"h"});
  check_itself(not_sendable{"i"});
  check_itself(wrong_build{"j"});
  check_itself(decode_error{"k"});
}

BOOST_AUTO_TEST_CASE(of_a_program_comes_out_as_task_failed) {
  check_as_task_failed(bank::not_enough{"poor"}, "bank::not_enough", "poor");
  check_as_task_failed(bank::odd{}, "bank::odd", "");
  check_as_task_failed(17, "int", "17");
  check_as_task_failed(std::string{"words"},
                       "std::__cxx11::basic_string<char, "
                       "std::char_traits<char>, std::allocator<char> >",
                       "words");
  check_as_task_failed(static_cast<const char*>("literal"), "char const*",
                       "literal");
}

BOOST_AUTO_TEST_CASE(that_passes_two_borders_keeps_its_origin) {
  const auto first = wire::rebuild(
    wire::describe(std::make_exception_ptr(bank::odd{}), "a::b", 1, "inner"));
  const auto record = wire::describe(first, "c::d", 2, "outer");
  BOOST_TEST(record.type == "bank::odd");
  BOOST_TEST(record.where == "a::b");
  BOOST_TEST(record.node == "inner");
}

BOOST_AUTO_TEST_CASE(thrown_as_task_failed_stays_that) {
  const task_failed e{"std::out_of_range", "far", "a::b", 7, "n"};
  try {
    std::rethrow_exception(across(std::make_exception_ptr(e)));
  } catch (const task_failed& seen) {
    BOOST_TEST(seen.type() == "std::out_of_range");
    BOOST_TEST(seen.actor() == 7u);
  }
}

BOOST_AUTO_TEST_CASE(of_a_liar_is_still_an_exception) {
  // A peer may claim any type with any contents.
  const wire::failure strange{
    .type = "std::system_error", .what = "x", .category = "no such category"};
  BOOST_CHECK_THROW(std::rethrow_exception(wire::rebuild(strange)),
                    task_failed);
  const wire::failure bad_code{
    .type = "std::future_error", .code = 99, .category = "future"};
  BOOST_CHECK_THROW(std::rethrow_exception(wire::rebuild(bad_code)),
                    std::exception);
}

BOOST_AUTO_TEST_CASE(with_a_huge_text_is_cut) {
  const auto record = wire::describe(
    std::make_exception_ptr(std::runtime_error{std::string(10'000'000, 'x')}));
  BOOST_TEST(record.what.size() == wire::failure_text_bytes_max);
}

BOOST_AUTO_TEST_CASE(that_is_none_stays_none) {
  BOOST_TEST((across(nullptr) == nullptr));
}

BOOST_AUTO_TEST_SUITE_END()
