// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE caf_bridge
#include "troupe/caf.hpp"

#include "support/fixture.hpp"

#include <future>
#include <semaphore>

namespace {

using namespace std::chrono_literals;
using troupe::ref;

class counter {
public:
  void add(int n) { value_ += n; }
  int value() const { return value_; }
  int fail() { throw std::domain_error{"no such counter"}; }
  troupe::task<int> sum(ref<counter> other) {
    co_return value_ + co_await other.ask<&counter::value>();
  }

private:
  int value_ = 0;
};

// Notes what comes, from ours and from CAF's.
class notes {
public:
  void put(int n) { got_.push_back(n); }
  void put_two(int a, int b) { got_.insert(got_.end(), {a, b}); }
  std::vector<int> got() const { return got_; }

private:
  std::vector<int> got_;
};

using done_atom = caf::atom_constant<caf::atom("done")>;
using boom_atom = caf::atom_constant<caf::atom("boom")>;
using mute_atom = caf::atom_constant<caf::atom("mute")>;

// A plain CAF actor: squares numbers, crashes when told to.
// The int is for UBSan: without any argument CAF refers to one at null.
caf::behavior squarer(caf::event_based_actor* self, int) {
  return {
    [](int n) { return n * n; },
    [](boom_atom) -> int { throw std::domain_error{"squares are out"}; },
    [self](mute_atom) { static_cast<void>(self->make_response_promise()); },
    [self](done_atom) { self->quit(); },
  };
}

// What a plain CAF actor gets for one request: "7", or the error's text.
template <class R, class... As>
std::string requested(troupe::system& sys, const caf::actor& to, As... as) {
  caf::scoped_actor self{troupe::caf_system(sys)};
  std::string result;
  self->request(to, 5s, as...)
    .receive([&](R value) { result = std::to_string(value); },
             [&](caf::error& e) { result = self->system().render(e); });
  return result;
}

// The reason of the `down_msg` that a plain CAF actor gets for `to`.
class onlooker {
public:
  onlooker(troupe::system& sys, const caf::actor& to)
    : sys_(troupe::caf_system(sys)) {
    std::promise<void> ready;
    auto reason = std::make_shared<std::promise<caf::error>>();
    reason_ = reason->get_future();
    self_ = sys_.spawn(
      [&ready, reason, to](caf::event_based_actor* self, int) {
        self->set_down_handler([self, reason](caf::down_msg& d) {
          reason->set_value(d.reason);
          self->quit();
        });
        self->monitor(to);
        ready.set_value();
        return caf::behavior{[](done_atom) {}};
      },
      0);
    ready.get_future().get();
  }
  std::string reason() {
    if (reason_.wait_for(10s) != std::future_status::ready)
      return "no down_msg";
    auto e = reason_.get();
    return e ? sys_.render(e) : "normal";
  }

private:
  caf::actor_system& sys_;
  caf::actor self_; // else nobody would refer to it
  std::future<caf::error> reason_;
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

template <class E, class F>
std::string text_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  } catch (const std::exception& e) {
    return std::string{"another error: "} + e.what();
  }
  return "no error";
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  auto h = troupe::caf_handle(c);
  caf::anon_send(h, troupe::call<&counter::add>(5));
  BOOST_TEST(requested<int>(live.sys, h, troupe::call<&counter::value>())
             == "5");
}

BOOST_AUTO_TEST_SUITE(a_plain_caf_actor)

BOOST_AUTO_TEST_CASE(tells_and_asks_ours_by_name_and_by_type) {
  test::live_system live;
  auto c = live.sys.spawn<counter>(), d = live.sys.spawn<counter>();
  auto h = troupe::caf_handle<&counter::add, &counter::value>(c);
  for (int i = 1; i <= 100; ++i)
    caf::anon_send(h, i); // add(i): its parameter is an int
  BOOST_TEST(requested<int>(live.sys, h, troupe::call<&counter::value>())
             == "5050");
  d.tell<&counter::add>(50);
  // A coroutine that waits answers a request, too.
  BOOST_TEST(requested<int>(live.sys, h, troupe::call<&counter::sum>(d))
             == "5100");
}

BOOST_AUTO_TEST_CASE(gets_the_text_of_a_method_that_throws) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  auto text = requested<int>(live.sys, troupe::caf_handle(c),
                             troupe::call<&counter::fail>());
  BOOST_TEST(has(text, "no such counter"), text);
  BOOST_TEST(c.is_alive()); // the asker has it: no failure of the actor
}

BOOST_AUTO_TEST_CASE(that_is_not_understood_hears_so_and_is_counted) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  auto h = troupe::caf_handle(c);
  auto text = requested<int>(live.sys, h, std::string{"what?"});
  BOOST_TEST(has(text, "unexpected_message"), text);
  BOOST_TEST(has(text, "what?"), text);
  BOOST_TEST(live.sys.dead_letters() == 1u);
  caf::anon_send(h, std::string{"and again"});
  BOOST_TEST(c.ask<&counter::value>().get() == 0);
  BOOST_TEST(live.sys.dead_letters() == 2u);
}

BOOST_AUTO_TEST_CASE(gets_a_down_msg_with_the_reason) {
  test::live_system live;
  auto end = [&](auto how) {
    auto c = live.sys.spawn<counter>();
    onlooker o{live.sys, troupe::caf_handle(c)};
    how(c);
    return o.reason();
  };
  BOOST_TEST(end([](auto& c) { c.stop(); }) == "normal");
  auto text = end([](auto& c) { c.kill(); });
  BOOST_TEST(has(text, "kill"), text);
  text = end([](auto& c) { c.template tell<&counter::fail>(); });
  BOOST_TEST(has(text, "no such counter"), text);
}

BOOST_AUTO_TEST_CASE(gets_a_down_msg_for_one_that_has_ended_before) {
  test::live_system live;
  auto c = live.sys.spawn<counter>();
  auto h = troupe::caf_handle(c);
  c.kill();
  BOOST_TEST(test::eventually(5s, [&] { return !c.is_alive(); }));
  BOOST_TEST(onlooker(live.sys, h).reason() != "no down_msg");
  auto text = requested<int>(live.sys, h, troupe::call<&counter::value>());
  BOOST_TEST(has(text, "request_receiver_down"), text);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(our_actor)

BOOST_AUTO_TEST_CASE(tells_and_asks_a_plain_one) {
  test::live_system live;
  auto& caf_sys = troupe::caf_system(live.sys);
  auto s = caf_sys.spawn(squarer, 0);
  BOOST_TEST(troupe::caf_ask<int>(live.sys, s, 12).get() == 144);
  // From inside an actor, and by a coroutine that waits for it.
  class asker : public troupe::actor {
  public:
    explicit asker(caf::actor s) : s_(std::move(s)) {}
    troupe::task<int> both() {
      auto f = troupe::caf_ask<int>(system(), s_, 3);
      co_return co_await f;
    }
    void end() { troupe::caf_tell(s_, done_atom::value); }

  private:
    caf::actor s_;
  };
  auto a = live.sys.spawn<asker>(s);
  BOOST_TEST(a.ask<&asker::both>().get() == 9);
  onlooker o{live.sys, s};
  a.tell<&asker::end>();
  BOOST_TEST(o.reason() == "normal");
}

BOOST_AUTO_TEST_CASE(gets_in_order_what_one_turn_sends_both_ways) {
  std::binary_semaphore gate{0}; // outlives who waits
  test::live_system live;
  auto n = live.sys.spawn<notes>();
  auto h = troupe::caf_handle<&notes::put_two>(n);
  n.tell([&](notes&) { gate.acquire(); });
  auto c = live.sys.spawn<counter>();
  c.ask([n, h](counter&) {
     for (int i = 1; i <= 3; ++i)
       n.tell<&notes::put>(i);
     troupe::caf_tell(h, 4, 5);
     n.tell<&notes::put>(6);
   })
    .get();
  gate.release();
  BOOST_TEST((n.ask<&notes::got>().get() == std::vector{1, 2, 3, 4, 5, 6}));
}

BOOST_AUTO_TEST_CASE(gets_the_text_of_a_crash) {
  test::live_system live;
  auto s = troupe::caf_system(live.sys).spawn(squarer, 0);
  auto f = troupe::caf_ask<int>(live.sys, s, boom_atom::value);
  auto text = text_of<troupe::task_failed>([&] { f.get(); });
  BOOST_TEST(has(text, "squares are out"), text);
  BOOST_TEST(has(text, "domain_error"), text);
}

BOOST_AUTO_TEST_CASE(hears_of_a_plain_one_that_is_dead) {
  test::live_system live;
  auto s = troupe::caf_system(live.sys).spawn(squarer, 0);
  onlooker o{live.sys, s};
  troupe::caf_tell(s, done_atom::value);
  BOOST_TEST(o.reason() == "normal");
  auto f = troupe::caf_ask<int>(live.sys, s, 1);
  auto text = text_of<troupe::actor_stopped>([&] { f.get(); });
  BOOST_TEST(has(text, "has stopped"), text);
}

BOOST_AUTO_TEST_CASE(hears_of_a_plain_one_that_dies_meanwhile) {
  test::live_system live;
  auto s = troupe::caf_system(live.sys).spawn(squarer, 0);
  auto f = troupe::caf_ask<int>(live.sys, s, mute_atom::value);
  caf::anon_send_exit(s, caf::exit_reason::kill);
  auto text = text_of<troupe::actor_stopped>([&] { f.get(); });
  BOOST_TEST(has(text, "has stopped"), text);
}

BOOST_AUTO_TEST_CASE(waits_no_longer_than_its_deadline) {
  test::live_system live{{.workers = 2, .ask_deadline = 30ms}};
  auto s = troupe::caf_system(live.sys).spawn(squarer, 0);
  auto f = troupe::caf_ask<int>(live.sys, s, mute_atom::value);
  BOOST_CHECK_THROW(f.get(), troupe::timeout);
  caf::anon_send_exit(s, caf::exit_reason::kill);
}

BOOST_AUTO_TEST_CASE(hears_of_an_answer_of_another_type_or_none) {
  test::live_system live;
  auto s = troupe::caf_system(live.sys).spawn(squarer, 0);
  auto f = troupe::caf_ask<std::string>(live.sys, s, 3);
  BOOST_CHECK_THROW(f.get(), troupe::bad_argument);
  // Not understood: CAF's own default handler answers and ends the actor.
  auto g = troupe::caf_ask<int>(live.sys, s, std::string{"what?"});
  BOOST_TEST((g.exception() != nullptr));
}

BOOST_AUTO_TEST_SUITE_END()
