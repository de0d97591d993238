// SPDX-License-Identifier: MIT
// Handles that travel between processes: an actor lives as long as one of them
// does and no longer, whatever crosses on the way.
#define BOOST_TEST_MODULE handles
#define BOOST_TEST_NO_MAIN
#include "support/nodes.hpp"
#include "troupe/serialize.hpp"

#include <string>
#include <unistd.h>
#include <vector>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using test::node_process;

class leaf {
public:
  int number() const { return 7; }
};

// Can be read and not be written.
struct unwritable {
  template <class Archive>
  void serialize(Archive&) {
    if (Archive::is_saving::value)
      throw std::domain_error{"can't be saved"};
  }
};

class holder : public troupe::actor {
public:
  holder() = default;
  explicit holder(const std::string& text) : bytes_(text.size()) {}

  void glance(troupe::ref<leaf>) {}
  int look(troupe::ref<leaf>) const { return 1; }
  int look_at_both(troupe::ref<leaf>, unwritable) const { return 2; }
  int look_slowly(troupe::ref<leaf>, int ms) const {
    ::usleep(static_cast<unsigned>(ms) * 1'000); // sleeps: a method that does
    return 3;
  }
  troupe::ref<leaf> make(int ms) {
    ::usleep(static_cast<unsigned>(ms) * 1'000); // sleeps: a method that does
    return spawn<leaf>();
  }
  troupe::ref<leaf> make_one_that_ends() {
    auto l = spawn<leaf>();
    l.stop();
    return l;
  }
  troupe::ref<holder> me() { return self(); }
  std::size_t bytes() const { return bytes_; }
  int pid() const { return ::getpid(); }

private:
  std::size_t bytes_ = 0;
};

class watcher : public troupe::actor {
public:
  void watch(troupe::ref<leaf> l) { monitor(l); }
  void on_down(const troupe::down&) { ++downs_; }
  int downs() const { return downs_; }

private:
  int downs_ = 0;
};

// A holder in a process of its own.
struct in_a_process {
  live_system live;
  troupe::ref<holder> h = live.sys.spawn<holder>(troupe::in_process{});
};

// A holder on a node.
struct on_a_node {
  node_process process;
  live_system live{test::with_keys()};
  troupe::node n = live.sys.connect(process.address());
  troupe::ref<holder> h = live.sys.spawn<holder>(troupe::on_node{n});
};

// Whether `w` is of an actor that is not there any more.
bool has_gone(const troupe::weak_ref<leaf>& w) {
  return eventually(5s, [&] { return !w.lock(); });
}

template <class Place>
void crossing_release() {
  Place p;
  troupe::weak_ref<leaf> w;
  {
    auto l = p.live.sys.template spawn<leaf>();
    w = l;
    for (int i = 0; i < 2'000; ++i)
      p.h.template tell<&holder::glance>(l);
    for (int i = 0; i < 50; ++i)
      BOOST_TEST(p.h.template ask<&holder::look>(l).get() == 1);
  }
  BOOST_TEST(has_gone(w));
}

template <class Place>
void unsent() {
  Place p;
  troupe::weak_ref<leaf> w;
  {
    auto l = p.live.sys.template spawn<leaf>();
    w = l;
    BOOST_CHECK_THROW(
      p.h.template ask<&holder::look_at_both>(l, unwritable{}).get(),
      std::exception);
    BOOST_TEST(p.h.template ask<&holder::look>(l).get() == 1);
  }
  BOOST_TEST(has_gone(w));
}

// One of the two sides takes one call at a time.
void rejected_message(const troupe::options& here,
                      const std::vector<std::string>& there) {
  node_process process{there};
  live_system live{here};
  auto n = live.sys.connect(process.address());
  auto h = live.sys.spawn<holder>(troupe::on_node{n});
  troupe::weak_ref<leaf> w;
  {
    auto l = live.sys.spawn<leaf>();
    w = l;
    auto first = h.ask<&holder::look_slowly>(l, 300);
    BOOST_CHECK_THROW(h.ask<&holder::look>(l).get(), troupe::rejected);
    BOOST_TEST(first.get() == 3);
  }
  BOOST_TEST(has_gone(w));
}

template <class Place>
void dead_when_it_came() {
  Place p;
  troupe::ref<watcher> w = p.live.sys.template spawn<watcher>();
  for (int i = 1; i <= 10; ++i) {
    troupe::ref<leaf> l = p.h.template ask<&holder::make_one_that_ends>().get();
    w.ask<&watcher::watch>(l).get();
    BOOST_TEST(
      eventually(5s, [&] { return w.ask<&watcher::downs>().get() == i; }));
  }
}

} // namespace

BOOST_AUTO_TEST_SUITE(an_actor)

BOOST_AUTO_TEST_CASE(smoke) {
  in_a_process p;
  auto l = p.h.ask<&holder::make>(0).get();
  BOOST_TEST(l.ask<&leaf::number>().get() == 7);
}

BOOST_AUTO_TEST_CASE(goes_though_its_release_crossed_another_handle) {
  crossing_release<in_a_process>();
  crossing_release<on_a_node>();
}

BOOST_AUTO_TEST_CASE(goes_though_a_message_with_it_could_not_be_written) {
  unsent<in_a_process>();
  unsent<on_a_node>();
}

BOOST_AUTO_TEST_CASE(goes_though_a_message_with_it_was_rejected) {
  auto few = test::with_keys();
  few.node_calls_max = 1;
  rejected_message(few, {});
}

// The side that is asked counts, too.
BOOST_AUTO_TEST_CASE(goes_though_a_message_with_it_was_rejected_over_there) {
  rejected_message(test::with_keys(), {"--troupe-node-calls-max=1"});
}

BOOST_AUTO_TEST_CASE(that_ended_before_its_handle_came_is_down_for_monitors) {
  dead_when_it_came<in_a_process>();
  dead_when_it_came<on_a_node>();
}

// Its first handle here has gone before the next one comes.
BOOST_AUTO_TEST_CASE(that_gave_itself_away_goes_on) {
  live_system live;
  troupe::ref<holder> again;
  {
    auto h = live.sys.spawn<holder>(troupe::in_process{});
    auto f = h.ask<&holder::me>();
    h = {};
    again = f.get();
  }
  const auto pid = again.ask<&holder::pid>().get();
  std::this_thread::sleep_for(5500ms); // sleeps: past what it gets to end
  BOOST_TEST(again.ask<&holder::pid>().get() == pid);
}

BOOST_AUTO_TEST_CASE(takes_calls_after_large_arguments_of_its_constructor) {
  live_system live;
  constexpr std::size_t size = std::size_t{65} << 20;
  auto h = live.sys.spawn<holder>(troupe::in_process{}, std::string(size, 'x'));
  for (int i = 0; i < 3; ++i)
    BOOST_TEST(h.ask<&holder::bytes>().get() == size);
}

BOOST_AUTO_TEST_SUITE_END()

// Handles come while the system that would make their stand-ins ends.
BOOST_AUTO_TEST_CASE(a_handle_may_come_during_a_stop) {
  troupe::system sys{{.workers = 2, .stop_deadline = 1s}};
  static_cast<void>(
    sys.spawn<holder>(troupe::in_process{}).ask<&holder::make>(700));
  BOOST_TEST(sys.stop().in_the_way.empty());
}

TROUPE_TEST_MAIN
