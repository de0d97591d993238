// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_names
#include "support/seed.hpp"
#include "support/twins.hpp"

#include "troupe/detail/call.hpp"
#include "troupe/error.hpp"
#include "troupe/fn.hpp"
#include "wire/build_identity.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <stdexcept>
#include <stop_token>
#include <string>

using namespace troupe::wire;
using troupe::bad_argument;
using troupe::decode_error;

struct counter {
  std::string text;
  void add(std::string_view piece, int times) {
    for (; times > 0; --times)
      text += piece;
  }
  void call(const std::function<void()>& f) { f(); }
};

namespace {

int twice(int x) {
  return x * 2;
}

std::string join(std::string_view a, const std::string& b) {
  return std::string{a} + b;
}

/// Runs at once, as a process with one thread would.
struct direct {
  template <class Body>
  static void run(invocation& call, Body&& body) {
    body(call.target);
  }
  template <class T, class... Args>
  static void make(invocation& call, Args&&... args) {
    *static_cast<std::unique_ptr<T>*>(call.target) =
      std::make_unique<T>(std::forward<Args>(args)...);
  }
};

/// Calls an entry as a peer would: by its id, with bytes.
template <class R, class... Wires>
R call(entry_id id, const Wires&... args) {
  buffer sent;
  buffer answered;
  writer out{sent};
  writer result{answered};
  encode_args<Wires...>(out, args...);
  reader in{sent.bytes()};
  invocation now{in, result};
  name_table::get().find(entry_kind::task, id).invoke(now);
  in.finish();
  reader back{answered.bytes()};
  R r{};
  decode(back, r);
  back.finish();
  return r;
}

} // namespace

static void find(entry_kind kind, entry_id id) {
  static_cast<void>(name_table::get().find(kind, id));
}

static const entry& lambda_entry() {
  const auto twin = [](int x) { return x + 1; };
  return task_entry<decltype(twin), int>();
}

BOOST_AUTO_TEST_CASE(smoke) {
  const auto& e = task_entry<troupe::fn_t<&twice>, int>();
  BOOST_TEST((call<int>(e.id(), 21) == 42));
}

BOOST_AUTO_TEST_SUITE(an_entry)

BOOST_AUTO_TEST_CASE(is_there_before_its_function_ran) {
  const auto named = [](auto* e) {
    return e->name().find("never_called") != std::string::npos;
  };
  struct never_called {
    int operator()(int x) const { return x; }
  };
  const auto all = name_table::get().entries();
  BOOST_TEST((std::ranges::count_if(all, named) == 1));
  if (all.empty()) // never
    task_entry<never_called, int>();
}

BOOST_AUTO_TEST_CASE(of_two_lambdas_of_one_name_is_not_the_other) {
  const auto& mine = lambda_entry();
  const auto& theirs = *twins::others().at(0);
  BOOST_TEST(mine.name() == theirs.name()); // else this tests nothing
  BOOST_TEST(mine.id() != theirs.id());
  BOOST_TEST((call<int>(mine.id(), 1) == 2));
  BOOST_TEST((call<int>(theirs.id(), 1) == 1001));
}

BOOST_AUTO_TEST_CASE(of_two_functions_of_one_name_is_not_the_other) {
  const auto& mine = task_entry<troupe::fn_t<&twice>, int>();
  const auto& theirs = *twins::others().at(1);
  BOOST_TEST(mine.name() == theirs.name());
  BOOST_TEST((call<int>(mine.id(), 1) == 2));
  BOOST_TEST((call<int>(theirs.id(), 1) == 200));
}

BOOST_AUTO_TEST_CASE(of_two_lambdas_in_one_function_is_not_the_other) {
  const auto a = [] { return 1; };
  const auto b = [] { return 2; };
  const auto first = task_entry<decltype(a)>().id();
  const auto second = task_entry<decltype(b)>().id();
  BOOST_TEST((call<int>(first) == 1));
  BOOST_TEST((call<int>(second) == 2));
}

BOOST_AUTO_TEST_CASE(says_its_name) {
  const auto text =
    task_entry<troupe::fn_t<&join>, std::string, std::string>().name();
  BOOST_TEST(text.ends_with("::join"), text);
  BOOST_TEST(text.find("fn_t") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(hands_views_what_they_look_at) {
  const auto id =
    task_entry<troupe::fn_t<&join>, std::string, std::string>().id();
  BOOST_TEST(
    (call<std::string>(id, std::string{"a"}, std::string{"b"}) == "ab"));
}

BOOST_AUTO_TEST_CASE(may_take_a_stop_token) {
  const auto f = [](const std::stop_token& stop, int x) {
    return stop.stop_requested() ? -1 : x;
  };
  const auto& e = task_entry<std::remove_const_t<decltype(f)>, int>();
  std::stop_source source;
  source.request_stop();
  buffer sent;
  buffer answered;
  writer out{sent};
  writer result{answered};
  encode(out, 5);
  reader in{sent.bytes()};
  invocation now{.args = in, .result = result, .stop = source.get_token()};
  e.invoke(now);
  reader back{answered.bytes()};
  int r = 0;
  decode(back, r);
  BOOST_TEST(r == -1);
}

BOOST_AUTO_TEST_CASE(throws_what_its_function_throws) {
  const auto f = [](int) -> int { throw std::out_of_range("far"); };
  const auto id = task_entry<std::remove_const_t<decltype(f)>, int>().id();
  BOOST_CHECK_THROW((call<int>(id, 1)), std::out_of_range);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_method)

BOOST_AUTO_TEST_CASE(is_called_with_arguments_from_bytes) {
  using body = troupe::detail::body_of<counter, &counter::add>;
  static_assert(body_travels<body>);
  const auto& e = entry_of<method_thunk<body, direct>>();
  BOOST_TEST(e.name() == "counter::add");
  buffer sent;
  buffer answered;
  writer out{sent};
  writer result{answered};
  const body message{std::in_place, "ab", 2};
  encode(out, message.args);
  reader in{sent.bytes()};
  counter object;
  invocation now{.args = in, .result = result, .target = &object};
  name_table::get().find(entry_kind::method, e.id()).invoke(now);
  BOOST_TEST(object.text == "abab");
}

BOOST_AUTO_TEST_CASE(that_takes_what_cannot_travel_is_known) {
  using body = troupe::detail::body_of<counter, &counter::call>;
  static_assert(!body_travels<body>);
}

BOOST_AUTO_TEST_CASE(constructor_gets_arguments_from_bytes) {
  const auto& e = entry_of<actor_thunk<counter, direct, std::string>>();
  buffer sent;
  buffer answered;
  writer out{sent};
  writer result{answered};
  encode(out, std::string{"new"});
  reader in{sent.bytes()};
  std::unique_ptr<counter> made;
  invocation now{.args = in, .result = result, .target = &made};
  name_table::get().find(entry_kind::actor, e.id()).invoke(now);
  BOOST_TEST(made->text == "new");
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_table)

BOOST_AUTO_TEST_CASE(has_no_id_twice) {
  std::set<entry_id> ids;
  for (const auto* e : name_table::get().entries())
    ids.insert(e->id());
  BOOST_TEST(ids.size() == name_table::get().entries().size());
  BOOST_TEST(!ids.contains(0));
}

BOOST_AUTO_TEST_CASE(names_an_unknown_id_and_does_not_jump) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 10'000; ++i)
      BOOST_CHECK_THROW(find(entry_kind::task, random()), decode_error);
  }
  BOOST_CHECK_THROW(find(entry_kind::task, 0), decode_error);
}

BOOST_AUTO_TEST_CASE(does_not_call_a_task_for_a_method) {
  const auto id = lambda_entry().id();
  BOOST_CHECK_THROW(find(entry_kind::method, id), decode_error);
}

BOOST_AUTO_TEST_CASE(refuses_an_entry_that_comes_late) {
  name_table::get();
  static const entry late{entry_kind::task, typeid(int), [](invocation&) {}};
  BOOST_CHECK_THROW(static_cast<void>(late.id()), bad_argument);
}

BOOST_AUTO_TEST_CASE(is_the_same_in_every_run) {
  // Started once more, this executable must name the same ids.
  if (std::getenv("TROUPE_TEST_PRINT_NAMES") != nullptr) {
    std::printf("names %llx\n", static_cast<unsigned long long>(
                                  name_table::get().fingerprint()));
    return;
  }
  ::setenv("TROUPE_TEST_PRINT_NAMES", "1", 1);
  std::FILE* run = ::popen(
    "exec /proc/$PPID/exe "
    "--run_test=the_table/is_the_same_in_every_run",
    "r");
  BOOST_REQUIRE(run != nullptr);
  std::string text;
  std::array<char, 256> line{};
  while (std::fgets(line.data(), line.size(), run) != nullptr)
    text += line.data();
  ::pclose(run);
  ::unsetenv("TROUPE_TEST_PRINT_NAMES");
  std::array<char, 64> wanted{};
  std::snprintf(
    wanted.data(), wanted.size(), "names %llx\n",
    static_cast<unsigned long long>(name_table::get().fingerprint()));
  BOOST_TEST(text.find(wanted.data()) != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_build)

BOOST_AUTO_TEST_CASE(has_a_printable_identity) {
  const auto& text = build_identity();
  BOOST_TEST(text.size() >= 16u);
  BOOST_TEST(std::ranges::all_of(
    text, [](unsigned char c) { return c > ' ' && c < 127; }));
}

BOOST_AUTO_TEST_CASE(accepts_itself_and_names_a_stranger) {
  const auto ours = make_hello(3);
  auto theirs = ours;
  theirs.pid = 1;
  check_hello(ours, theirs);
  theirs.build = "0123abcd";
  BOOST_CHECK_EXCEPTION(check_hello(ours, theirs), troupe::wrong_build,
                        [&](const auto& e) {
                          const std::string text = e.what();
                          return text.find("0123abcd") != std::string::npos
                                 && text.find(ours.build) != std::string::npos;
                        });
  theirs = ours;
  theirs.names ^= 1;
  BOOST_CHECK_THROW(check_hello(ours, theirs), troupe::wrong_build);
  theirs = ours;
  theirs.protocol = 99;
  BOOST_CHECK_THROW(check_hello(ours, theirs), troupe::wrong_build);
}

BOOST_AUTO_TEST_SUITE_END()
