// SPDX-License-Identifier: MIT
// What lies between a parent and a worker, without processes: the ring, the
// claims, records with descriptors.
#define BOOST_TEST_MODULE process_channel
#include <boost/test/unit_test.hpp>

#include <fcntl.h>
#include <string>
#include <sys/stat.h>
#include <thread>

#include "process/channel.hpp"
#include "support/seed.hpp"
#include "troupe/error.hpp"

namespace {

using namespace troupe::process;

struct ring {
  ring_state state;
  std::vector<std::byte> bytes{ring_bytes};
  ring_writer writer{state, bytes.data()};
  ring_reader reader{state, bytes.data()};

  void write(std::string_view text) {
    writer.write(std::as_bytes(std::span{text}));
    writer.publish();
  }
  std::string read(std::size_t most) {
    std::string text;
    while (most != 0) {
      const auto there = reader.peek();
      const auto n = std::min(there.size(), most);
      if (n == 0)
        break;
      text.append(reinterpret_cast<const char*>(there.data()), n);
      reader.consume(n);
      most -= n;
    }
    return text;
  }
};

} // namespace

BOOST_AUTO_TEST_SUITE(the_ring)

BOOST_AUTO_TEST_CASE(smoke) {
  ring r;
  BOOST_TEST(r.reader.is_empty());
  r.write("hello");
  BOOST_TEST(!r.reader.is_empty());
  BOOST_TEST(r.read(100) == "hello");
  BOOST_TEST(r.reader.is_empty());
}

BOOST_AUTO_TEST_CASE(shows_nothing_before_it_is_published) {
  ring r;
  r.writer.write(std::as_bytes(std::span{"abc", 3}));
  BOOST_TEST(r.reader.is_empty());
  r.writer.publish();
  BOOST_TEST(r.read(9) == "abc");
}

BOOST_AUTO_TEST_CASE(is_full_at_its_size_and_not_before) {
  ring r;
  r.write(std::string(ring_bytes - 1, 'x'));
  BOOST_TEST(r.writer.room() == 1u);
  r.write("y");
  BOOST_TEST(r.writer.room() == 0u);
  BOOST_TEST(r.read(ring_bytes).size() == ring_bytes);
  BOOST_TEST(r.writer.room() == ring_bytes);
}

BOOST_AUTO_TEST_CASE(does_what_a_string_does_past_its_end) {
  TEST_WITH_SEED() {
    test::random_source random;
    ring r;
    std::string model;
    std::size_t passed = 0;
    char next = 0;
    while (passed < 20 * ring_bytes) {
      BOOST_TEST_REQUIRE(r.writer.room() == ring_bytes - model.size());
      if (random.chance(50)) {
        auto n = random.below(random.chance(10) ? ring_bytes : 3000);
        n = std::min(n, r.writer.room());
        std::string text(n, 0);
        for (auto& c : text)
          c = ++next;
        r.write(text);
        model += text;
      } else {
        const auto n = random.below(random.chance(10) ? ring_bytes : 3000);
        const auto text = r.read(n);
        BOOST_TEST_REQUIRE((text == model.substr(0, n)));
        model.erase(0, n);
        passed += text.size();
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(refuses_an_index_that_cant_be) {
  for (std::uint64_t bad :
       {std::uint64_t{6}, ring_bytes + 6, std::uint64_t{1} << 63}) {
    ring r;
    r.write("12345");
    r.state.taken.store(bad); // more than was put
    BOOST_CHECK_THROW((void)r.writer.room(), troupe::decode_error);
  }
  for (std::uint64_t bad : {ring_bytes + 1, ring_bytes + 5, ~std::uint64_t{0},
                            std::uint64_t{1} << 63}) {
    ring r;
    r.state.put.store(bad); // more than it holds
    BOOST_CHECK_THROW((void)r.reader.peek(), troupe::decode_error);
  }
  ring r;
  r.write("12345");
  BOOST_TEST(r.read(3) == "123");
  r.state.put.store(2); // back behind what was taken
  BOOST_CHECK_THROW((void)r.reader.peek(), troupe::decode_error);
}

BOOST_AUTO_TEST_CASE(keeps_its_own_index_to_itself) {
  ring r;
  r.write("12345");
  r.state.put.store(1'000); // the writer's own: it does not care
  r.state.taken.store(0);
  BOOST_TEST(r.writer.room() == ring_bytes - 5);
  r.write("6");
  BOOST_TEST(r.state.put.load() == 6u);
}

BOOST_AUTO_TEST_CASE(loses_no_wake_up_between_two_threads) {
  ring r;
  const std::size_t total = std::size_t{8} << 20;
  std::thread writer{[&] {
    unsigned char next = 0;
    std::vector<unsigned char> piece;
    for (std::size_t sent = 0; sent < total;) {
      const auto room = r.writer.room();
      if (room == 0) {
        r.state.writer_waits.store(1);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if (r.writer.room() == 0)
          sleep_on(r.state.writer_waits, 1, -1);
        continue;
      }
      piece.resize(std::min({room, total - sent, 1 + sent % 7'001}));
      for (auto& b : piece)
        b = next++;
      r.writer.write(std::as_bytes(std::span{piece}));
      r.writer.publish();
      sent += piece.size();
      std::atomic_thread_fence(std::memory_order_seq_cst);
      wake_other(r.state.reader_waits);
    }
  }};
  unsigned char next = 0;
  auto wrong = 0;
  for (std::size_t got = 0; got < total;) {
    const auto there = r.reader.peek();
    if (there.empty()) {
      r.state.reader_waits.store(1);
      std::atomic_thread_fence(std::memory_order_seq_cst);
      if (r.reader.is_empty())
        sleep_on(r.state.reader_waits, 1, -1);
      continue;
    }
    for (auto b : there)
      wrong += static_cast<unsigned char>(b) != next++;
    r.reader.consume(there.size());
    got += there.size();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    wake_other(r.state.writer_waits);
  }
  writer.join();
  BOOST_TEST(wrong == 0);
}

BOOST_AUTO_TEST_SUITE_END()

// -- claims -------------------------------------------------------------------

BOOST_AUTO_TEST_SUITE(a_claim)

// The parent offers, takes back, and gives the place to a later call, which it
// may take back, too. The worker comes by each of the two calls once, in their
// order and after they were offered. All interleavings.
BOOST_AUTO_TEST_CASE(goes_to_exactly_one_in_every_order) {
  const auto memory = shared_memory::make();
  auto& page = memory.page();
  int orders = 0;
  for (std::uint64_t first : {std::uint64_t{1}, window + 5, 1000 * window}) {
    const auto second = first + window;
    for (int before_1 = 1; before_1 <= 4; ++before_1) // parent's steps done
      for (int before_2 = std::max(before_1, 3); before_2 <= 4; ++before_2) {
        ++orders;
        auto begun_1 = false, begun_2 = false, back_1 = false, back_2 = false;
        for (int done = 0; done <= 4; ++done) {
          switch (done) { // the parent's step
            case 1:
              offer(page, first);
              break;
            case 2:
              back_1 = move_claim(page, first, claim::withdrawn);
              break;
            case 3:
              offer(page, second);
              break;
            case 4:
              back_2 = move_claim(page, second, claim::withdrawn);
              break;
            default:
              break;
          }
          if (done == before_1)
            begun_1 = move_claim(page, first, claim::begun);
          if (done == before_2)
            begun_2 = move_claim(page, second, claim::begun);
        }
        BOOST_TEST((begun_1 != back_1));
        BOOST_TEST((begun_2 != back_2));
        BOOST_TEST((begun_1 == (before_1 == 1)));
      }
  }
  BOOST_TEST(orders == 21);
}

BOOST_AUTO_TEST_CASE(goes_to_exactly_one_of_two_threads) {
  const auto memory = shared_memory::make();
  auto& page = memory.page();
  constexpr std::uint64_t rounds = 20'000;
  std::atomic<std::uint64_t> offered{0}, answered{0};
  std::uint64_t begun = 0, back = 0;
  std::thread worker{[&] {
    for (std::uint64_t call = 1; call <= rounds; ++call) {
      while (offered.load() < call) {}
      begun += move_claim(page, call, claim::begun) ? 1 : 0;
      answered.store(call);
    }
  }};
  for (std::uint64_t call = 1; call <= rounds; ++call) {
    offer(page, call);
    offered.store(call);
    back += move_claim(page, call, claim::withdrawn) ? 1 : 0;
    while (answered.load() < call) {}
  }
  worker.join();
  BOOST_TEST(begun + back == rounds);
}

BOOST_AUTO_TEST_SUITE_END()

// -- the memory and the socket ------------------------------------------------

BOOST_AUTO_TEST_SUITE(the_memory)

BOOST_AUTO_TEST_CASE(is_one_for_both_and_cant_be_cut) {
  const auto ours = shared_memory::make();
  const auto theirs = shared_memory::map(descriptor{::dup(ours.memfd())});
  theirs.page().beat.store(7);
  BOOST_TEST(ours.page().beat.load() == 7u);
  BOOST_TEST(::ftruncate(theirs.memfd(), 10) == -1);
  BOOST_TEST(::ftruncate(theirs.memfd(), 1 << 30) == -1);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_record)

std::uint64_t inode(int fd) {
  struct stat info{};
  return ::fstat(fd, &info) == 0 ? info.st_ino : 0;
}

BOOST_AUTO_TEST_CASE(brings_its_descriptors) {
  auto [a, b] = make_socket_pair();
  std::vector<descriptor> files;
  std::vector<int> raw;
  for (std::size_t i = 0; i < descriptors_max; ++i) {
    int ends[2];
    BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
    ::close(ends[1]);
    files.emplace_back(ends[0]);
    raw.push_back(ends[0]);
  }
  BOOST_TEST((send_value(a.get(), std::uint64_t{5}, raw) == transfer::done));
  BOOST_TEST((send_value(a.get(), std::uint64_t{6}) == transfer::done));
  std::uint64_t value = 0;
  auto got = receive_record(b.get(),
                            std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::done));
  BOOST_TEST(value == 5u);
  BOOST_TEST_REQUIRE(got.fds.size() == descriptors_max);
  for (std::size_t i = 0; i < descriptors_max; ++i) {
    BOOST_TEST_REQUIRE(inode(got.fds[i].get()) == inode(raw[i]));
    BOOST_TEST_REQUIRE(::fcntl(got.fds[i].get(), F_GETFD) == FD_CLOEXEC);
  }
  got = receive_record(b.get(), std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST(value == 6u); // a75: they never merge
  BOOST_TEST(got.fds.empty());
  got = receive_record(b.get(), std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::again));
}

BOOST_AUTO_TEST_CASE(that_nobody_takes_closes_them) {
  int ends[2];
  BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  descriptor reader{ends[0]}, writer{ends[1]};
  {
    auto [a, b] = make_socket_pair();
    const int fd = writer.get();
    BOOST_TEST((send_value(a.get(), 1, std::span{&fd, 1}) == transfer::done));
    writer.reset();
    char c = 0;
    BOOST_TEST(::read(reader.get(), &c, 1) == -1); // it is under way
  }
  char c = 0;
  BOOST_TEST(::read(reader.get(), &c, 1) == 0);
}

BOOST_AUTO_TEST_CASE(never_blocks_its_sender) {
  auto [a, b] = make_socket_pair();
  const std::string text(1000, 'x');
  auto how = transfer::done;
  int n = 0;
  for (; how == transfer::done && n < 100'000; ++n)
    how = send_record(a.get(), std::as_bytes(std::span{text}), {});
  BOOST_TEST((how == transfer::again));
  b.reset();
  BOOST_TEST((send_record(a.get(), std::as_bytes(std::span{text}), {})
              == transfer::ended));
}

BOOST_AUTO_TEST_CASE(ends_with_its_peer) {
  auto [a, b] = make_socket_pair();
  BOOST_TEST((send_value(a.get(), 7) == transfer::done));
  a.reset();
  int value = 0;
  auto got = receive_record(b.get(),
                            std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::done)); // what was sent comes first
  BOOST_TEST(value == 7);
  got = receive_record(b.get(), std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::ended));
}

BOOST_AUTO_TEST_CASE(comes_whole_from_a_peer_that_left_records_unread) {
  auto [a, b] = make_socket_pair();
  int ends[2];
  BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  descriptor reader{ends[0]}, writer{ends[1]};
  const int fd = reader.get();
  BOOST_TEST((send_value(a.get(), 7, std::span{&fd, 1}) == transfer::done));
  BOOST_TEST((send_value(b.get(), 8) == transfer::done)); // nobody reads it
  a.reset();
  int value = 0;
  auto got = receive_record(b.get(),
                            std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::done));
  BOOST_TEST(value == 7);
  BOOST_TEST_REQUIRE(got.fds.size() == 1u);
  BOOST_TEST(inode(got.fds[0].get()) == inode(fd));
  got = receive_record(b.get(), std::as_writable_bytes(std::span{&value, 1}));
  BOOST_TEST((got.how == transfer::ended));
}

BOOST_AUTO_TEST_SUITE_END()
