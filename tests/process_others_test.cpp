// SPDX-License-Identifier: MIT
// What happens to one task or one worker is no other's matter: a deadline, a
// cancel, an answer that was forged, output that nobody reads.
#define BOOST_TEST_MODULE process_others
#define BOOST_TEST_NO_MAIN
#include "process/channel.hpp"
#include "support/processes.hpp"
#include "troupe/serialize.hpp"
#include "wire/frame.hpp"

#include <algorithm>
#include <atomic>
#include <fcntl.h>
#include <numeric>
#include <stop_token>
#include <thread>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;
using test::eventually;
using test::live_system;
using test::word;
using troupe::fn;
using troupe::process_pool;

struct bench {
  live_system live;
  process_pool pool;
  explicit bench(const troupe::process_pool_options& opts)
    : pool(live.sys, opts) {}
};

int square(int x) {
  return x * x;
}

void nap(std::chrono::milliseconds d) {
  std::this_thread::sleep_for(d); // sleeps: a task, or reading, that takes long
}

// The letters that are in it, each once.
std::string letters_of(const std::vector<char>& bytes) {
  bool seen[256] = {};
  for (const auto c : bytes)
    seen[static_cast<unsigned char>(c)] = true;
  std::string letters;
  for (std::size_t i = 0; i < std::size(seen); ++i)
    if (seen[i])
      letters += static_cast<char>(i);
  return letters;
}

// Also says in `w` which letter it began with, and the next bit if it was not
// alone.
std::string letters_there(const std::vector<char>& bytes, word w) {
  const auto letters = letters_of(bytes);
  test::set_word(w, letters.size() == 1 ? static_cast<unsigned char>(letters[0])
                                        : std::uint32_t{256});
  return letters;
}

// Takes the program that asked for it long to read, and nobody else.
struct slow_to_read {
  int pid = 0;
  template <class Archive>
  void serialize(Archive& ar) {
    ar(pid);
    if (Archive::is_loading::value && ::getpid() == pid)
      nap(600ms);
  }
};

slow_to_read make_slow(int pid) {
  nap(3ms);
  return {pid};
}

// Answers, in the name of the call that it is, a chunk without results.
int forge(int) {
  using namespace troupe;
  static auto& memory = *new process::shared_memory{
    process::shared_memory::map(process::descriptor{::dup(4)})};
  auto& page = memory.page();
  std::uint64_t call = 0;
  for (auto& c : page.claims)
    if ((c.load() & 3) == static_cast<std::uint64_t>(process::claim::begun))
      call = std::max(call, c.load() >> 2);
  wire::buffer bytes;
  wire::frame_writer frame{bytes,
                           {.kind = wire::frame_kind::result, .call = call}};
  for (int i = 0; i < 3; ++i)
    frame.payload().length(0);
  frame.finish();
  auto put = page.responses.put.load();
  for (const auto byte : bytes.bytes())
    memory.responses()[put++ % process::ring_bytes] = byte;
  page.responses.put.store(put);
  const std::uint64_t one = 1;
  static_cast<void>(!::write(5, &one, sizeof(one)));
  for (;;)
    ::pause();
}

// From now on whoever reads its bell may wait for ever.
void take_the_bell() {
  constexpr int bell = 5;
  ::fcntl(bell, F_SETFL, 0);
  std::thread{[] {
    std::uint64_t count = 0;
    while (::read(bell, &count, sizeof(count)) > 0) {}
  }}.detach();
}

// Stops when asked to, slowly.
int tidy_up(std::stop_token stop, word running) {
  std::atomic<bool> done{false};
  const std::stop_callback tidies{stop, [&] {
                                    nap(1500ms);
                                    done = true;
                                  }};
  test::set_word(running, 1);
  while (!done)
    nap(1ms);
  return 7;
}

void chat(int lines) {
  const auto line = std::string(1'000, '.') + '\n';
  for (int i = 0; i < lines; ++i)
    static_cast<void>(!::write(2, line.data(), line.size()));
}

// While it lives, what goes to stderr goes to a pipe that nobody reads.
class deaf_stderr {
public:
  deaf_stderr() : was_(::dup(2)) {
    if (::pipe(ends_) != 0 || ::dup2(ends_[1], 2) != 2)
      throw std::system_error{errno, std::generic_category(), "pipe"};
  }
  ~deaf_stderr() {
    ::dup2(was_, 2);
    for (const auto fd : {was_, ends_[0], ends_[1]})
      ::close(fd);
  }
  deaf_stderr(const deaf_stderr&) = delete;
  deaf_stderr& operator=(const deaf_stderr&) = delete;

private:
  const int was_;
  int ends_[2];
};

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  bench t{{.workers = 1}};
  BOOST_TEST(t.pool.submit(fn<&square>, 3).get() == 9);
}

// The memory of arguments is used again, but not while they may be read.
BOOST_AUTO_TEST_CASE(arguments_of_a_late_task_stay_its_own) {
  bench t{{.workers = 2, .spares = 0, .grace = 10s}};
  BOOST_TEST(t.pool.submit(fn<&square>, 2).get() == 4);
  constexpr std::size_t size = std::size_t{50} << 20;
  const std::vector<char> first(size, 'A');
  const std::vector<char> second(size, 'B');
  for (int round = 0; round < 3; ++round) {
    const auto a = test::new_word();
    auto late =
      t.pool.with({.deadline = 1ms}).submit(fn<&letters_there>, first, a);
    try {
      BOOST_TEST(late.get() == "A");
    } catch (const troupe::timeout&) {}
    BOOST_TEST(t.pool.submit(fn<&letters_there>, second, test::new_word()).get()
               == "B");
    // It may also have been ended before it began.
    BOOST_TEST(eventually(10s, [&] { return t.pool.stats().running == 0; }));
    const auto seen = test::at(a).load();
    BOOST_TEST((seen == 0 || seen == 'A'));
  }
}

// The one has answered, which nobody has read yet; the next one runs.
BOOST_AUTO_TEST_CASE(a_cancel_ends_nothing_behind_it) {
  bench t{{.workers = 1, .spares = 0, .grace = 50ms}};
  for (int i = 0; i < 300; ++i) // so that several are sent at a time
    BOOST_TEST_REQUIRE(t.pool.submit(fn<&square>, i).get() == i * i);
  auto slow = t.pool.submit(fn<&make_slow>, static_cast<int>(::getpid()));
  auto over = t.pool.submit(fn<&square>, 3);
  auto behind = t.pool.submit(
    [](int ms) {
      nap(std::chrono::milliseconds{ms});
      return 7;
    },
    1'000);
  std::jthread reads{[&] {
    while (!slow.wait_for(1us)) {} // helps, and so reads it
  }};
  nap(150ms);
  static_cast<void>(over.cancel());
  BOOST_TEST(behind.get() == 7);
  BOOST_TEST(t.pool.stats().crashes == 0u);
}

BOOST_AUTO_TEST_CASE(a_map_with_too_few_results_is_an_error) {
  bench t{{.workers = 1, .spares = 0}};
  const std::vector<int> inputs{1, 2, 3};
  auto results = t.pool.map(fn<&forge>, inputs, {.chunk = 3});
  auto i = results.begin();
  for (int n = 0; n < 3; ++n) {
    BOOST_CHECK_THROW(static_cast<void>(*i), troupe::decode_error);
    ++i;
  }
  BOOST_TEST((i == results.end()));
  t.pool.shutdown(troupe::shutdown_mode::cancel_pending, 0ms);
}

BOOST_AUTO_TEST_CASE(a_bell_that_is_taken_away_stops_nobody_else) {
  bench t{{.workers = 1, .spares = 0}};
  process_pool others{t.live.sys, {.workers = 1, .spares = 0}};
  t.pool.submit(fn<&take_the_bell>).get();
  for (int i = 0; i < 300; ++i) {
    const auto unseen = t.pool.submit(fn<&square>, i);
    auto f = others.submit(fn<&square>, i);
    BOOST_TEST_REQUIRE(eventually(5s, [&] { return f.ready(); }));
  }
  t.pool.shutdown(troupe::shutdown_mode::cancel_pending, 0ms);
}

BOOST_AUTO_TEST_CASE(a_stop_callback_that_takes_long_is_no_silence) {
  bench t{{.workers = 1, .spares = 0, .grace = 20s, .heartbeat = 500ms}};
  const auto running = test::new_word();
  auto f = t.pool.submit(fn<&tidy_up>, running);
  test::await_word(running);
  static_cast<void>(f.cancel());
  BOOST_TEST(f.get() == 7);
  BOOST_TEST(t.pool.stats().crashes == 0u);
}

BOOST_AUTO_TEST_CASE(output_that_nobody_reads_holds_up_only_who_writes_it) {
  bench t{{.workers = 2, .spares = 0}};
  BOOST_TEST(t.pool.submit(fn<&square>, 2).get() == 4);
  const deaf_stderr deaf;
  auto chatty = t.pool.submit(fn<&chat>, 1'000);
  auto late = t.pool.with({.deadline = 300ms}).submit([] { nap(10s); });
  BOOST_TEST(late.wait_for(8s));
  BOOST_TEST(chatty.wait_for(20s));
}

TROUPE_TEST_MAIN
