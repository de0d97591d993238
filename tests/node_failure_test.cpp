// SPDX-License-Identifier: MIT
// node_failure: bad input, strangers, and what else goes wrong between nodes.
#define BOOST_TEST_MODULE node_failure
#define BOOST_TEST_NO_MAIN
#include "node/host.hpp"
#include "node/pulse.hpp"
#include "support/nodes.hpp"
#include "support/processes.hpp"
#include "support/raw_peer.hpp"
#include "support/relay.hpp"
#include "support/seed.hpp"

#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
using test::contains;
using test::eventually;
using test::live_system;
using test::node_process;
using test::raw_peer;
using troupe::on_node;
using troupe::wire::frame_kind;

class tally : public troupe::actor {
public:
  tally() = default;
  explicit tally(int n) : n_(n) {}
  int add(int n) { return n_ += n; }
  int pid() const { return ::getpid(); }
  std::size_t size(const std::string& text) const { return text.size(); }
  std::size_t size_of(troupe::blob b) const { return b.size(); }
  std::string text(int bytes) const {
    return std::string(static_cast<std::size_t>(std::clamp(bytes, 0, 1 << 26)),
                       'x');
  }
  void sleeps(int ms) { // half a second at most: a fuzzer calls it too
    ms = std::clamp(ms, 0, 500);
    std::this_thread::sleep_for(ms * 1ms); // sleeps: a method that takes long
  }
  void hold(troupe::semaphore s) { lease_ = s.acquire().get(); }
  int hold_item(troupe::queue<int> q) {
    item_ = q.take().get();
    return **item_;
  }

private:
  int n_ = 0;
  troupe::lease lease_;
  std::optional<troupe::item<int>> item_;
};

std::size_t open_descriptors() {
  std::size_t n = 0;
  for ([[maybe_unused]] auto& e :
       std::filesystem::directory_iterator{"/proc/self/fd"})
    ++n;
  return n;
}

std::size_t resident_bytes() {
  std::ifstream statm{"/proc/self/statm"};
  std::size_t total = 0;
  std::size_t pages = 0;
  statm >> total >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

// A system that listens by itself.
struct listening {
  live_system live{test::with_keys()};
  std::string address = live.sys.listen("127.0.0.1:0");

  // It still serves.
  void check() {
    live_system other{test::with_keys()};
    auto n = other.sys.connect(address);
    auto t = other.sys.spawn<tally>(on_node{n}, 1);
    BOOST_TEST(t.ask<&tally::add>(2).get() == 3);
  }
};

// Keys that nobody knows, in a folder of their own.
struct stranger {
  test::folder place;
  std::string folder = place / "keys";
  std::string key = troupe::nodes::key_folder{folder}.make();
};

// An environment without these, for as long as it lives.
class without_variables {
public:
  without_variables(std::initializer_list<const char*> names) {
    for (const auto* name : names)
      if (const auto* value = std::getenv(name); value != nullptr) {
        were_.emplace_back(name, value);
        ::unsetenv(name);
      }
  }
  ~without_variables() {
    for (auto& [name, value] : were_)
      ::setenv(name.c_str(), value.c_str(), 1);
  }
  without_variables(const without_variables&) = delete;
  without_variables& operator=(const without_variables&) = delete;

private:
  std::vector<std::pair<std::string, std::string>> were_;
};

} // namespace

BOOST_AUTO_TEST_SUITE(without_keys)

BOOST_AUTO_TEST_CASE(nothing_listens_and_nothing_connects) {
  test::folder empty;
  live_system live{test::with_keys({.workers = 1, .keys = empty / "none"})};
  for (const auto* address : {"127.0.0.1:0", ":0", "[::1]:0"})
    BOOST_TEST(contains(test::text_thrown<troupe::bad_argument>(
                          [&] { (void)live.sys.listen(address); }),
                        "keys new"));
  BOOST_CHECK_THROW((void)live.sys.connect("127.0.0.1:1"),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(and_without_a_home_there_are_some_for_our_own_children) {
  const without_variables none{{"TROUPE_KEYS", "XDG_CONFIG_HOME", "HOME"}};
  live_system live{{.workers = 1}};
  auto& host = troupe::nodes::host::of(live.sys.runtime());
  const auto folder = host.keys_or_own();
  BOOST_TEST(host.keys()->own() == troupe::nodes::key_folder{folder}.check());
}

BOOST_AUTO_TEST_CASE(that_are_secret_nothing_listens) {
  const stranger s;
  const troupe::nodes::key_folder keys{s.folder};
  std::filesystem::permissions(keys.key_file(),
                               std::filesystem::perms::group_read,
                               std::filesystem::perm_options::add);
  live_system live{test::with_keys({.workers = 1, .keys = s.folder})};
  BOOST_TEST(contains(test::text_thrown<troupe::bad_argument>(
                        [&] { (void)live.sys.listen("127.0.0.1:0"); }),
                      "others can read"));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_stranger)

BOOST_FIXTURE_TEST_CASE(is_not_let_in_and_is_told_why, listening) {
  const stranger s;
  // It knows us, we don't know it.
  const troupe::nodes::key_folder ours{test::keys() / "keys"};
  troupe::nodes::key_folder{s.folder}.allow(ours.check(), "");
  live_system theirs{test::with_keys({.workers = 1, .keys = s.folder})};
  BOOST_TEST(contains(test::text_thrown<troupe::node_lost>(
                        [&] { (void)theirs.sys.connect(address); }),
                      "does not let our key in"));
  check();
}

BOOST_FIXTURE_TEST_CASE(is_not_connected_to, listening) {
  // We let it in, it doesn't let us in: a listener with another key.
  const stranger s;
  live_system theirs{test::with_keys({.workers = 1, .keys = s.folder})};
  const auto there = theirs.sys.listen("127.0.0.1:0");
  BOOST_TEST(contains(test::text_thrown<troupe::node_lost>(
                        [&] { (void)live.sys.connect(there); }),
                      s.key));
}

BOOST_FIXTURE_TEST_CASE(gets_nothing_and_learns_nothing, listening) {
  const stranger s;
  troupe::nodes::key_folder{s.folder}.allow(
    troupe::nodes::key_folder{test::keys() / "keys"}.check(), "");
  raw_peer p{s.folder};
  p.dial(address);
  // In TLS 1.3 its own side may be done before it is refused.
  try {
    p.secure(false);
    p.upgrade(false);
    BOOST_ERROR("it was let in");
  } catch (const boost::system::system_error& e) {
    BOOST_TEST(contains(e.what(), "alert"));
  }
  check();
}

BOOST_FIXTURE_TEST_CASE(with_plain_text_or_noise_is_cut_off, listening) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 20; ++i) {
      raw_peer p;
      p.dial(address);
      std::string noise(1 + random.below(2000), 0);
      for (auto& c : noise)
        c = static_cast<char>(random());
      if (i == 0)
        noise = "GET /troupe/1 HTTP/1.1\r\nHost: x\r\n\r\n";
      boost::system::error_code ec;
      asio::write(p.socket(), asio::buffer(noise), ec);
      p.socket().shutdown(asio::socket_base::shutdown_send, ec);
      char c = 0;
      while (!ec) // until we are cut off
        p.socket().read_some(asio::buffer(&c, 1), ec);
    }
    check();
  }
}

BOOST_FIXTURE_TEST_CASE(is_let_in_once_the_list_has_it, listening) {
  const stranger s;
  const troupe::nodes::key_folder ours{test::keys() / "keys"};
  troupe::nodes::key_folder{s.folder}.allow(ours.check(), "");
  live_system theirs{test::with_keys({.workers = 1, .keys = s.folder})};
  BOOST_CHECK_THROW((void)theirs.sys.connect(address), troupe::node_lost);
  ours.allow(s.key, "a friend by now");
  auto n = theirs.sys.connect(address);
  auto t = theirs.sys.spawn<tally>(on_node{n}, 1);
  BOOST_TEST(t.ask<&tally::add>(2).get() == 3);
}

BOOST_FIXTURE_TEST_CASE(is_cut_off_once_it_is_off_the_list, listening) {
  const stranger s;
  const troupe::nodes::key_folder ours{test::keys() / "keys"};
  const auto us = ours.check();
  troupe::nodes::key_folder{s.folder}.allow(us, "");
  ours.allow(s.key, "a friend");
  live_system theirs{test::with_keys({.workers = 1, .keys = s.folder})};
  auto n = theirs.sys.connect(address, {.reconnect = false});
  auto t = theirs.sys.spawn<tally>(on_node{n}, 1);
  live_system friends{test::with_keys()};
  auto m = friends.sys.connect(address);
  auto u = friends.sys.spawn<tally>(on_node{m}, 1);
  const auto before = m.incarnation();
  BOOST_TEST(t.ask<&tally::add>(2).get() == 3);
  std::ofstream{ours.allowed_file()} << us << "\n";
  BOOST_TEST(eventually(10s, [&] { return !n.is_up(); }));
  BOOST_CHECK_THROW(t.ask<&tally::add>(0).get(), troupe::node_lost);
  BOOST_CHECK_THROW((void)theirs.sys.connect(address), troupe::node_lost);
  // Those that are still on it don't notice.
  BOOST_TEST(m.incarnation() == before);
  BOOST_TEST(u.ask<&tally::add>(1).get() == 2);
}

BOOST_FIXTURE_TEST_CASE(can_be_excluded_by_a_pinned_key, listening) {
  BOOST_CHECK_THROW(
    (void)live.sys.connect(address,
                           {.fingerprint = "sha256:" + std::string(64, 'a')}),
    troupe::node_lost);
  const auto own = troupe::nodes::key_folder{test::keys() / "keys"}.check();
  BOOST_TEST(live.sys.connect(address, {.fingerprint = own}).fingerprint()
             == own);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_peer)

BOOST_FIXTURE_TEST_CASE(of_another_build_is_refused_with_both_identities,
                        listening) {
  raw_peer p;
  p.dial(address);
  p.secure(false);
  p.upgrade(false);
  auto hello = troupe::wire::make_hello(1);
  hello.build = "another build";
  p.send(test::hello_text(hello));
  // It learns ours, so that both can say what is wrong.
  const auto answer = p.receive();
  BOOST_REQUIRE(answer.has_value());
  BOOST_TEST(contains(*answer, troupe::wire::build_identity()));
  p.await_end();
  check();
}

BOOST_AUTO_TEST_CASE(of_another_build_is_a_clear_error_of_connect) {
  test::raw_listener listener;
  live_system live{test::with_keys()};
  std::thread other{[&] {
    raw_peer p;
    p.accept(listener.acceptor());
    p.secure(true);
    p.upgrade(true);
    auto hello = troupe::wire::make_hello(1);
    hello.build = "another build";
    p.send(test::hello_text(hello));
    p.await_end();
  }};
  const auto text = test::text_thrown<troupe::wrong_build>(
    [&] { (void)live.sys.connect(listener.address()); });
  BOOST_TEST(contains(text, "another build"));
  BOOST_TEST(contains(text, troupe::wire::build_identity()));
  other.join();
}

BOOST_AUTO_TEST_CASE(that_accepts_and_never_speaks_costs_the_deadline_alone) {
  test::raw_listener silent;
  node_process process;
  live_system live{test::with_keys()};
  const auto began = std::chrono::steady_clock::now();
  std::thread blocked{[&] {
    BOOST_CHECK_THROW(
      (void)live.sys.connect(silent.address(), {.deadline = 700ms}),
      troupe::timeout);
  }};
  // Nobody else waits for that.
  auto n = live.sys.connect(process.address());
  BOOST_TEST((std::chrono::steady_clock::now() - began < 600ms));
  blocked.join();
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
}

BOOST_FIXTURE_TEST_CASE(that_only_opens_connections_holds_none_for_long,
                        listening) {
  // More than may shake hands at a time: the rest is turned away at once, those
  // when their time is over.
  std::vector<std::unique_ptr<raw_peer>> all;
  for (int i = 0; i < 80; ++i) {
    all.push_back(std::make_unique<raw_peer>());
    all.back()->dial(address);
  }
  BOOST_TEST(eventually(20s, [&] {
    try {
      live_system other{test::with_keys({.workers = 1})};
      return other.sys.connect(address, {.deadline = 2s}).is_up();
    } catch (const troupe::error&) {
      return false;
    }
  }));
}

BOOST_FIXTURE_TEST_CASE(that_only_opens_connections_holds_up_none_of_ours,
                        listening) {
  node_process process;
  std::vector<std::unique_ptr<raw_peer>> all;
  for (int i = 0; i < 80; ++i) {
    all.push_back(std::make_unique<raw_peer>());
    all.back()->dial(address);
  }
  // One is turned away: no more may shake hands.
  char c = 0;
  boost::system::error_code ec;
  all.back()->socket().read_some(asio::buffer(&c, 1), ec);
  BOOST_TEST(!!ec);
  BOOST_TEST(live.sys.connect(process.address()).is_up());
}

BOOST_FIXTURE_TEST_CASE(that_stops_in_the_middle_of_a_frame_loses_it_alone,
                        listening) {
  {
    raw_peer p;
    p.join(address);
    const auto frame = test::frame_text(
      {.kind = frame_kind::call, .call = 1, .target = 1, .name = 1},
      std::string(1000, 'x'));
    p.send(frame.substr(0, 500));
  }
  check();
}

BOOST_FIXTURE_TEST_CASE(that_claims_gigabytes_gets_no_memory, listening) {
  raw_peer p;
  p.join(address);
  auto frame = test::frame_text(
    {.kind = frame_kind::call, .call = 1, .target = 1, .name = 1});
  // A claim of 2^40 bytes: the checksum finds it; one that fits is believed
  // as its bytes come.
  frame[13] = 1;
  p.send(frame);
  p.await_end();
  check();
}

// With a claim of a payload, and none.
std::string header_text(const troupe::wire::frame_header& head) {
  std::string text(troupe::wire::frame_header::size_bytes, 0);
  troupe::wire::store_header(reinterpret_cast<std::byte*>(text.data()), head);
  return text;
}

BOOST_FIXTURE_TEST_CASE(that_claims_gigabytes_in_its_hello_is_cut_off,
                        listening) {
  raw_peer p;
  p.dial(address);
  p.secure(false);
  p.upgrade(false);
  const auto began = std::chrono::steady_clock::now();
  const auto head =
    header_text({.kind = frame_kind::hello, .payload_bytes = 1u << 29});
  // In two pieces, which the decoder puts together.
  p.send(head.substr(0, 30));
  p.send(head.substr(30));
  p.await_end();
  // At once, not when the time for handshakes is over.
  BOOST_TEST((std::chrono::steady_clock::now() - began < 4s));
}

BOOST_AUTO_TEST_CASE(may_send_as_much_as_a_writer_writes) {
  live_system small{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 1s})};
  raw_peer p;
  p.join(small.sys.listen("127.0.0.1:0"));
  const auto began = std::chrono::steady_clock::now();
  p.send(
    header_text({.kind = frame_kind::call,
                 .call = 1,
                 .target = 1,
                 .name = 1,
                 .payload_bytes = troupe::wire::limits{}.frame_bytes_max}));
  p.await_end();
  // The rest is waited for until patience ends.
  BOOST_TEST((std::chrono::steady_clock::now() - began >= 900ms));
}

BOOST_FIXTURE_TEST_CASE(that_sends_a_large_message_is_cut_off, listening) {
  raw_peer p;
  p.join(address);
  try {
    p.send(std::string(std::size_t{2} << 20, 'x'));
  } catch (const boost::system::system_error&) {
    // Cut off already.
  }
  p.await_end();
  check();
}

BOOST_FIXTURE_TEST_CASE(that_says_anything_before_hello_is_cut_off, listening) {
  raw_peer p;
  p.dial(address);
  p.secure(false);
  p.upgrade(false);
  p.send(test::frame_text({.kind = frame_kind::ping}));
  p.await_end();
  check();
}

// The question for "tally", so that there is an actor to call.
std::string lookup_frame() {
  troupe::wire::buffer bytes;
  troupe::wire::writer out{bytes};
  troupe::wire::encode(out, std::string{"tally"});
  troupe::wire::encode(out, std::string{troupe::detail::type_name<tally>()});
  return test::frame_text(
    {.kind = frame_kind::notice, .call = 1},
    {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

// A frame whose header is right, with any numbers and bytes.
std::string any_frame(test::random_source& random) {
  static constexpr frame_kind usual[] = {
    frame_kind::call,   frame_kind::call, frame_kind::tell,
    frame_kind::spawn,  frame_kind::ping, frame_kind::notice,
    frame_kind::cancel, frame_kind::stop, frame_kind::release};
  const auto names = troupe::wire::name_table::get().entries();
  troupe::wire::frame_header head;
  head.kind = random.chance(98) ? usual[random.below(std::size(usual))]
                                : static_cast<frame_kind>(
                                    1
                                    + random.below(static_cast<std::size_t>(
                                      troupe::wire::frame_kind_last)));
  head.call = 1 + random.below(20);
  head.target = random.below(4);
  head.name = random.chance(90) ? names[random.below(names.size())]->id()
                                : random();
  if (head.kind == frame_kind::stop)
    head.target = 3 + random.below(3); // our own actor shall stay
  if (random.chance(30))
    head.deadline_us = random.below(1000);
  std::string payload(random.below(64), 0);
  for (auto& c : payload)
    c = static_cast<char>(random.chance(50) ? random.below(8) : random());
  if (head.kind == frame_kind::ping || head.kind == frame_kind::cancel
      || head.kind == frame_kind::release)
    payload.clear();
  return test::frame_text(head, payload);
}

BOOST_FIXTURE_TEST_CASE(with_fuzzed_frames_does_no_harm, listening) {
  auto published = live.sys.spawn<tally>(1);
  live.sys.publish("tally", published);
  test::random_source random;
  TEST_WITH_SEED() {
    for (int round = 0; round < test::rounds(100); ++round) {
      raw_peer p;
      p.join(address);
      try {
        p.send(lookup_frame());
        for (int i = 0; i < 100; ++i)
          p.send(any_frame(random));
      } catch (const boost::system::system_error&) {
        // It was cut off.
      }
    }
    check();
    BOOST_TEST(published.is_alive());
  }
}

BOOST_FIXTURE_TEST_CASE(with_flipped_bits_is_cut_off, listening) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int round = 0; round < test::rounds(50); ++round) {
      raw_peer p;
      p.join(address);
      auto frame = test::frame_text({.kind = frame_kind::ping, .call = 5});
      frame[random.below(frame.size())] ^=
        static_cast<char>(1 << random.below(8));
      p.send(frame);
      p.await_end();
    }
    check();
  }
}

BOOST_FIXTURE_TEST_CASE(that_reads_nothing_is_cut_off_when_too_much_waits,
                        listening) {
  live_system small{test::with_keys(
    {.workers = 2, .patience = 1h, .node_backlog_bytes_max = 1u << 20})};
  const auto there = small.sys.listen("127.0.0.1:0");
  raw_peer p;
  p.join(there);
  // Pings whose answers nobody reads.
  std::string pings;
  for (int i = 0; i < 1000; ++i)
    pings += test::frame_text({.kind = frame_kind::ping, .call = 1});
  try {
    for (int i = 0; i < 5000; ++i)
      p.send(pings);
    BOOST_ERROR("it was not cut off");
  } catch (const boost::system::system_error&) {
    // As it should be.
  }
}

BOOST_AUTO_TEST_CASE(that_reads_nothing_and_lives_is_cut_off_by_patience) {
  test::raw_listener listener;
  live_system small{test::with_keys({.workers = 2,
                                     .heartbeat = 100ms,
                                     .patience = 500ms,
                                     .node_backlog_bytes_max = 1u << 16,
                                     .node_calls_max = 10'000'000})};
  std::thread other{[&] {
    raw_peer p;
    p.accept(listener.acceptor());
    p.secure(true);
    p.upgrade(true);
    p.send(test::hello_text(troupe::wire::make_hello(1)));
    static_cast<void>(p.receive());
    // More answers than the system takes, and signs of life.
    std::string pings;
    for (int i = 0; i < 1000; ++i)
      pings += test::frame_text({.kind = frame_kind::ping, .call = 1});
    try {
      for (int i = 0;; ++i) {
        p.send(i < 200 ? pings : pings.substr(0, 64));
        if (i >= 200)
          std::this_thread::sleep_for(5ms); // sleeps: it lives, no more
      }
    } catch (const boost::system::system_error&) {
      // It was cut off.
    }
  }};
  auto n = small.sys.connect(listener.address(), {.reconnect = false});
  BOOST_TEST(contains(test::text_thrown<troupe::node_lost>(
                        [&] { (void)n.lookup<tally>("nobody"); }),
                      "it does not read what it is sent"));
  other.join();
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(too_much)

BOOST_FIXTURE_TEST_CASE(an_argument_beyond_the_limit_is_refused_here,
                        listening) {
  live_system other{test::with_keys()};
  auto n = other.sys.connect(address);
  auto t = other.sys.spawn<tally>(on_node{n}, 1);
  // Pages that nobody has touched take no memory.
  troupe::shared_buffer buffer{std::size_t{5} << 30};
  const auto large = std::move(buffer).freeze();
  BOOST_TEST(contains(test::text_thrown<troupe::error>(
                        [&] { (void)t.ask<&tally::size_of>(large).get(); }),
                      "limit"));
  BOOST_TEST(t.ask<&tally::add>(0).get() == 1);
}

BOOST_FIXTURE_TEST_CASE(calls_beyond_the_bound_are_rejected, listening) {
  live_system small{test::with_keys({.workers = 2, .node_calls_max = 100})};
  auto n = small.sys.connect(address);
  auto t = small.sys.spawn<tally>(on_node{n}, 1);
  t.tell<&tally::sleeps>(300);
  std::vector<troupe::future<int>> calls;
  for (int i = 0; i < 150; ++i)
    calls.push_back(t.ask<&tally::add>(1));
  int rejected = 0;
  for (auto& f : calls) {
    try {
      f.get();
    } catch (const troupe::rejected& e) {
      ++rejected;
      BOOST_TEST(contains(e.what(), "100"));
    }
  }
  BOOST_TEST(rejected == 50);
  BOOST_TEST(t.ask<&tally::add>(0).get() == 101);
}

BOOST_FIXTURE_TEST_CASE(calls_of_a_peer_beyond_the_bound_are_rejected,
                        listening) {
  live_system small{test::with_keys({.workers = 2, .node_calls_max = 100})};
  const auto there = small.sys.listen("127.0.0.1:0");
  auto n = live.sys.connect(there);
  auto t = live.sys.spawn<tally>(on_node{n}, 1);
  t.tell<&tally::sleeps>(300);
  std::vector<troupe::future<int>> calls;
  for (int i = 0; i < 150; ++i)
    calls.push_back(t.ask<&tally::add>(1));
  int rejected = 0;
  for (auto& f : calls) {
    try {
      f.get();
    } catch (const troupe::rejected&) {
      ++rejected;
    }
  }
  BOOST_TEST(rejected == 50);
}

BOOST_FIXTURE_TEST_CASE(bytes_beyond_the_bound_are_rejected, listening) {
  node_process process;
  live_system small{
    test::with_keys({.workers = 2, .node_backlog_bytes_max = 1u << 20})};
  auto n = small.sys.connect(process.address());
  auto t = small.sys.spawn<tally>(on_node{n}, 1);
  process.freeze();
  std::vector<troupe::future<std::size_t>> calls;
  auto rejected = false;
  const std::string text(100'000, 'x');
  for (int i = 0; i < 500 && !rejected; ++i) {
    auto f = t.ask<&tally::size>(text);
    if (f.ready()) {
      BOOST_CHECK_THROW(f.get(), troupe::rejected);
      rejected = true;
    } else {
      calls.push_back(std::move(f));
    }
  }
  BOOST_TEST(rejected);
  process.signal(SIGCONT);
  for (auto& f : calls)
    BOOST_TEST(f.get() == text.size());
}

BOOST_AUTO_TEST_CASE(for_one_moment_is_no_reason_to_cut_who_reads) {
  // Far above what may wait: one answer alone, and many behind it.
  live_system there{
    test::with_keys({.workers = 2, .node_backlog_bytes_max = 1u << 16})};
  live_system here{test::with_keys()};
  test::relay between{there.sys.listen("127.0.0.1:0")};
  auto n = here.sys.connect(between.address(), {.reconnect = false});
  auto t = here.sys.spawn<tally>(on_node{n}, 0);
  between.hold(false, true);
  auto large = t.ask<&tally::text>(1 << 24);
  std::vector<troupe::future<std::string>> behind;
  for (int i = 0; i < 100; ++i)
    behind.push_back(t.ask<&tally::text>(10'000));
  BOOST_TEST(!large.wait_for(200ms));
  between.hold(false, false);
  BOOST_TEST(large.get().size() == std::size_t{1} << 24);
  for (auto& f : behind)
    BOOST_TEST(f.get().size() == 10'000u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(an_address)

BOOST_FIXTURE_TEST_CASE(that_is_taken_is_a_clear_error, listening) {
  live_system other{test::with_keys()};
  BOOST_TEST(contains(test::text_thrown<troupe::bad_argument>(
                        [&] { (void)other.sys.listen(address); }),
                      address));
}

BOOST_AUTO_TEST_CASE(that_is_none_is_a_clear_error) {
  live_system live{test::with_keys({.workers = 1})};
  for (const auto* address : {"", "x", ":", "1.2.3.4", "1.2.3.4:70000",
                              "1.2.3.4:-1", "::1:7000", "a b:1", "x:1x"}) {
    BOOST_CHECK_THROW((void)live.sys.listen(address), troupe::bad_argument);
    BOOST_CHECK_THROW((void)live.sys.connect(address), troupe::bad_argument);
  }
  BOOST_CHECK_THROW((void)live.sys.connect("127.0.0.1:1", {.deadline = 0s}),
                    troupe::bad_argument);
}

BOOST_AUTO_TEST_CASE(after_the_end_of_the_system_is_an_error_at_once) {
  troupe::system sys{test::with_keys({.workers = 1})};
  auto& host = troupe::nodes::host::of(sys.runtime());
  host.stop();
  BOOST_CHECK_THROW((void)host.connect("127.0.0.1:1", {.deadline = 20s}),
                    troupe::closed);
}

BOOST_AUTO_TEST_CASE(where_nobody_listens_is_an_error_at_once) {
  live_system live{test::with_keys({.workers = 1})};
  const auto began = std::chrono::steady_clock::now();
  BOOST_TEST(contains(test::text_thrown<troupe::node_lost>(
                        [&] { (void)live.sys.connect("127.0.0.1:1"); }),
                      "127.0.0.1:1: the TCP connect failed"));
  BOOST_TEST((std::chrono::steady_clock::now() - began < 5s));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_network)

namespace {

// Both sides lose patience after half a second.
struct far_apart {
  live_system there{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 500ms})};
  live_system here{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 500ms})};
  test::relay between{there.sys.listen("127.0.0.1:0")};
  troupe::node n = here.sys.connect(
    between.address(), {.deadline = 2s, .backoff = 20ms, .backoff_max = 100ms});
  troupe::ref<tally> t = here.sys.spawn<tally>(on_node{n}, 1);

  // What was under way fails, on both sides, and things go on once the network
  // does.
  void check_loss() {
    auto f = t.ask<&tally::add>(1);
    BOOST_CHECK_THROW(f.get(), troupe::node_lost);
    BOOST_TEST(
      eventually(10s, [&] { return there.sys.stats().actors_alive == 0; }));
    between.hold(false, false);
    BOOST_TEST(n.await_up(20s));
    auto again = here.sys.spawn<tally>(on_node{n}, 5);
    BOOST_TEST(again.ask<&tally::add>(1).get() == 6);
    BOOST_CHECK_THROW(t.ask<&tally::add>(1).get(), troupe::error);
  }
};

} // namespace

BOOST_FIXTURE_TEST_CASE(that_is_slow_costs_time_alone, far_apart) {
  between.delay(40ms);
  const auto began = std::chrono::steady_clock::now();
  BOOST_TEST(t.ask<&tally::add>(1).get() == 2);
  BOOST_TEST((std::chrono::steady_clock::now() - began >= 80ms));
  for (int i = 0; i < 10; ++i)
    BOOST_TEST(t.ask<&tally::add>(1).get() == 3 + i);
  BOOST_TEST(n.is_up());
}

BOOST_FIXTURE_TEST_CASE(that_is_narrow_costs_time_alone, far_apart) {
  between.slow_down();
  const std::string text(std::size_t{3} << 20, 'x');
  BOOST_TEST(t.ask<&tally::size>(text).get() == text.size());
  BOOST_TEST(n.is_up());
}

BOOST_AUTO_TEST_CASE(that_ends_at_a_frozen_process_is_a_loss_while_much_goes) {
  node_process process;
  live_system here{
    test::with_keys({.workers = 2, .heartbeat = 100ms, .patience = 500ms})};
  auto n = here.sys.connect(process.address(), {.reconnect = false});
  auto t = here.sys.spawn<tally>(on_node{n}, 1);
  process.freeze();
  auto f = t.ask<&tally::size>(std::string(std::size_t{64} << 20, 'x'));
  BOOST_TEST(contains(test::text_thrown<troupe::node_lost>([&] { f.get(); }),
                      "no sign of life for 500 ms"));
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_is_a_loss_for_both_sides, far_apart) {
  between.hold(true, true);
  check_loss();
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_one_way_there_is_a_loss_too, far_apart) {
  between.hold(true, false);
  check_loss();
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_one_way_back_is_a_loss_too, far_apart) {
  between.hold(false, true);
  check_loss();
}

BOOST_FIXTURE_TEST_CASE(that_stalls_for_less_than_patience_loses_nothing,
                        far_apart) {
  between.hold(true, true);
  auto f = t.ask<&tally::add>(1);
  BOOST_TEST(!f.wait_for(100ms));
  between.hold(false, false);
  BOOST_TEST(f.get() == 2);
  BOOST_TEST(n.is_up());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_pulse)

BOOST_AUTO_TEST_CASE(finds_silence_and_standstill_by_counting_looks) {
  using enum troupe::nodes::pulse::finding;
  // Ten looks of 50 ms.
  const troupe::nodes::pulse fresh{100ms, 500ms};
  BOOST_TEST((fresh.period() == 50ms));
  auto p = fresh;
  std::uint64_t heard = 1;
  BOOST_TEST((p.look(heard, 1, false) == fine));
  BOOST_TEST((p.look(heard, 1, false) == quiet)); // nothing went
  for (std::uint64_t moved = 2; moved < 10; ++moved)
    BOOST_TEST((p.look(heard, moved, true) == fine));
  BOOST_TEST((p.look(heard, 10, true) == silent)); // what goes is no sign
  BOOST_TEST((p.look(++heard, 10, true) == quiet));
  for (int i = 0; i < 8; ++i)
    BOOST_TEST((p.look(++heard, 10, true) == quiet));
  BOOST_TEST((p.look(++heard, 10, true) == stuck));
  BOOST_TEST((p.look(++heard, 11, true) == fine)); // one byte went
  for (int i = 0; i < 100; ++i)
    BOOST_TEST((p.look(++heard, 11, false) == quiet)); // little waits
}

BOOST_AUTO_TEST_CASE(is_never_less_patient_than_two_heartbeats) {
  troupe::nodes::pulse p{1s, 20ms};
  for (int i = 0; i < 3; ++i)
    BOOST_TEST((p.look(0, 0, false) == troupe::nodes::pulse::finding::quiet));
  BOOST_TEST((p.look(0, 0, false) == troupe::nodes::pulse::finding::silent));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_loop)

BOOST_AUTO_TEST_CASE(goes_on_while_a_helper_is_off_its_core) {
  live_system live{test::with_keys({.workers = 1})};
  auto& loop = troupe::nodes::host::of(live.sys.runtime()).loop();
  std::atomic<bool> done{false};
  // It helps, and does something else for long.
  loop.help(1'000'000'000, [&] {
    loop.post([&] { done.store(true); });
    BOOST_TEST(eventually(10s, [&] { return done.load(); }));
    return true;
  });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(nodes)

BOOST_AUTO_TEST_CASE(that_connect_to_each_other_at_once_both_serve) {
  live_system a{test::with_keys()};
  live_system b{test::with_keys()};
  const auto at_a = a.sys.listen("127.0.0.1:0");
  const auto at_b = b.sys.listen("127.0.0.1:0");
  for (int i = 0; i < 5; ++i) {
    troupe::node to_a;
    troupe::node to_b;
    std::thread one{[&] { to_b = a.sys.connect(at_b); }};
    std::thread two{[&] { to_a = b.sys.connect(at_a); }};
    one.join();
    two.join();
    auto in_b = a.sys.spawn<tally>(on_node{to_b}, 1);
    auto in_a = b.sys.spawn<tally>(on_node{to_a}, 2);
    BOOST_TEST(in_b.ask<&tally::add>(1).get() == 2);
    BOOST_TEST(in_a.ask<&tally::add>(1).get() == 3);
  }
}

BOOST_AUTO_TEST_CASE(connect_and_disconnect_a_thousand_times_without_a_trace) {
  listening l;
  live_system other{test::with_keys()};
  auto once = [&] {
    auto n = other.sys.connect(l.address);
    auto t = other.sys.spawn<tally>(on_node{n}, 1);
    BOOST_TEST(t.ask<&tally::add>(1).get() == 2);
    n.close();
  };
  for (int i = 0; i < 50; ++i)
    once();
  const auto before = open_descriptors();
  const auto threads = test::threads();
  const auto memory = resident_bytes();
  for (int i = 0; i < test::rounds(1000); ++i)
    once();
  BOOST_TEST(eventually(5s, [&] { return open_descriptors() <= before; }));
  BOOST_TEST(eventually(5s, [&] { return test::threads() <= threads; }));
  // 4 KiB for each would show.
  if (!test::is_sanitized)
    BOOST_TEST(resident_bytes() < memory + (std::size_t{4} << 20));
  BOOST_TEST(
    eventually(5s, [&] { return l.live.sys.stats().actors_alive == 0; }));
}

BOOST_AUTO_TEST_CASE(whose_handle_goes_are_left_when_nothing_needs_them) {
  listening l;
  live_system other{test::with_keys()};
  other.sys.connect(l.address).close(); // the loop is there
  const auto before = open_descriptors();
  auto t = other.sys.spawn<tally>(on_node{other.sys.connect(l.address)}, 1);
  BOOST_TEST(t.ask<&tally::add>(1).get() == 2); // the handle holds it
  t = {};
  BOOST_TEST(eventually(10s, [&] { return open_descriptors() <= before; }));
}

BOOST_AUTO_TEST_CASE(that_drain_let_open_calls_finish) {
  auto process = std::make_unique<node_process>();
  live_system live{test::with_keys()};
  auto n = live.sys.connect(process->address());
  auto t = live.sys.spawn<tally>(on_node{n}, 1);
  BOOST_TEST(t.ask<&tally::add>(0).get() == 1);
  t.tell<&tally::sleeps>(300);
  auto f = t.ask<&tally::add>(1);
  static_cast<void>(n.ping()); // it has come before this
  process->signal(SIGTERM);
  BOOST_TEST(f.get() == 2);
  BOOST_TEST(process->wait() == 128 + SIGTERM);
  BOOST_TEST(eventually(5s, [&] { return !n.is_up(); }));
}

BOOST_AUTO_TEST_CASE(end_with_their_standard_input_if_told_so) {
  node_process process;
  process.close_stdin();
  BOOST_TEST(process.wait() == 0);
}

BOOST_AUTO_TEST_CASE(that_die_hold_no_permits_and_no_items_any_longer) {
  node_process process;
  live_system live{test::with_keys()};
  auto n = live.sys.connect(process.address());
  troupe::semaphore slots{live.sys, {.permits = 1}};
  troupe::queue<int> items{live.sys, {.capacity = 10}};
  items.put(7).get();
  auto there = live.sys.spawn<tally>(on_node{n}, 1);
  there.ask<&tally::hold>(slots).get();
  BOOST_TEST(there.ask<&tally::hold_item>(items).get() == 7);
  BOOST_TEST(!slots.try_acquire().get().has_value());
  process.signal(SIGKILL);
  BOOST_TEST(
    eventually(5s, [&] { return slots.try_acquire().get().has_value(); }));
  auto back = items.take().get();
  BOOST_REQUIRE(back.has_value());
  BOOST_TEST(**back == 7);
}

BOOST_AUTO_TEST_SUITE_END()

TROUPE_TEST_MAIN
