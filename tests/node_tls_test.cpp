// SPDX-License-Identifier: MIT
// node_tls: TLS over sockets of this process, as connections of nodes use it.
#define BOOST_TEST_MODULE node_tls
#include "node/tls.hpp"
#include "node/tls_stream.hpp"
#include "support/seed.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/test/unit_test.hpp>

#include <openssl/ssl.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
namespace asio = boost::asio;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using namespace troupe::nodes;

struct folder {
  fs::path path;
  folder() {
    auto name = (fs::temp_directory_path() / "troupe-tls-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~folder() { fs::remove_all(path); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
};

/// Two ends of a connection.
struct two_ends : folder {
  key_folder keys{path / "troupe"};
  std::string own = keys.make();
  credentials secret{keys};
  asio::io_context loop;
  peer_key found_a, found_b;
  std::optional<tls_stream> a, b;
  error_code ended_a, ended_b;

  two_ends() {
    tcp::acceptor acceptor{loop, {asio::ip::make_address("127.0.0.1"), 0}};
    tcp::socket one{loop};
    one.connect(acceptor.local_endpoint());
    a.emplace(std::move(one), secret.context());
    b.emplace(acceptor.accept(), secret.context());
    secret.watch(a->native_handle(), found_a);
    secret.watch(b->native_handle(), found_b);
  }

  void run() {
    loop.restart();
    loop.run();
  }

  void shake_hands() {
    a->async_handshake(false, [this](error_code ec) { ended_a = ec; });
    b->async_handshake(true, [this](error_code ec) { ended_b = ec; });
    run();
  }
};

struct joined : two_ends {
  joined() {
    shake_hands();
    BOOST_REQUIRE(!ended_a);
    BOOST_REQUIRE(!ended_b);
  }
};

/// A text in pieces of all sizes, empty ones too.
template <class Buffer, class Bytes>
std::vector<Buffer> pieces_of(Bytes& bytes, test::random_source& random) {
  std::vector<Buffer> pieces;
  for (std::size_t at = 0; at != bytes.size();) {
    const auto most = random.chance(50) ? 100u : 40'000u;
    const auto n = std::min(bytes.size() - at, random.below(most));
    pieces.emplace_back(bytes.data() + at, n);
    at += n;
  }
  return pieces;
}

/// Sends texts one after the other, changing the key now and then.
struct sender {
  tls_stream& to;
  test::random_source& random;
  std::vector<std::string> texts;
  std::size_t next = 0;
  error_code ended{};

  void go() {
    if (next == texts.size())
      return;
    if (random.chance(20))
      SSL_key_update(to.native_handle(), SSL_KEY_UPDATE_NOT_REQUESTED);
    auto& text = texts[next++];
    asio::async_write(to, pieces_of<asio::const_buffer>(text, random),
                      [this](error_code ec, std::size_t) {
                        ended = ec;
                        if (!ec)
                          go();
                      });
  }
};

struct receiver {
  tls_stream& from;
  test::random_source& random;
  std::size_t wanted;
  std::string seen{};
  std::string bytes = std::string(200'000, '-');
  error_code ended{};

  void go() {
    if (seen.size() >= wanted)
      return;
    from.async_read_some(pieces_of<asio::mutable_buffer>(bytes, random),
                         [this](error_code ec, std::size_t n) {
                           ended = ec;
                           seen.append(bytes, 0, n);
                           if (!ec)
                             go();
                         });
  }
};

std::vector<std::string> random_texts(test::random_source& random) {
  std::vector<std::string> texts;
  for (auto n = 1 + random.below(30); n > 0; --n) {
    auto& text =
      texts.emplace_back(random.below(random.chance(50) ? 200 : 400'000), ' ');
    for (auto& c : text)
      c = static_cast<char>(random());
  }
  return texts;
}

std::string joined_text(const std::vector<std::string>& texts) {
  std::string all;
  for (const auto& text : texts)
    all += text;
  return all;
}

} // namespace

BOOST_FIXTURE_TEST_CASE(smoke, joined) {
  std::string got(5, ' ');
  asio::async_write(*a, asio::buffer("hello", 5),
                    [](error_code, std::size_t) {});
  asio::async_read(*b, asio::buffer(got), [](error_code, std::size_t) {});
  run();
  BOOST_TEST(got == "hello");
  BOOST_TEST(found_a.fingerprint == own);
  BOOST_TEST(found_b.fingerprint == own);
}

BOOST_AUTO_TEST_SUITE(a_stream)

BOOST_FIXTURE_TEST_CASE(brings_what_was_sent_both_ways_at_once, joined) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 20; ++i) {
      sender there{*a, random, random_texts(random)};
      sender back{*b, random, random_texts(random)};
      const auto sent = joined_text(there.texts);
      const auto answered = joined_text(back.texts);
      receiver far{*b, random, sent.size()};
      receiver near{*a, random, answered.size()};
      far.go();
      near.go();
      there.go();
      back.go();
      run();
      BOOST_REQUIRE(!there.ended);
      BOOST_REQUIRE(!back.ended);
      BOOST_REQUIRE((far.seen == sent));
      BOOST_REQUIRE((near.seen == answered));
    }
  }
}

BOOST_FIXTURE_TEST_CASE(that_is_cut_says_so_after_the_last_byte, joined) {
  std::string got(100, ' ');
  error_code ended;
  std::size_t count = 0;
  asio::async_write(
    *a, asio::buffer("last", 4),
    [this](error_code, std::size_t) { a->next_layer().close(); });
  asio::async_read(*b, asio::buffer(got), [&](error_code ec, std::size_t n) {
    ended = ec;
    count = n;
  });
  run();
  BOOST_TEST(count == 4u);
  BOOST_TEST(ended == asio::ssl::error::stream_truncated);
}

BOOST_FIXTURE_TEST_CASE(ends_by_a_goodbye_of_both, joined) {
  ended_a = ended_b = asio::error::would_block;
  a->async_shutdown([this](error_code ec) { ended_a = ec; });
  b->async_shutdown([this](error_code ec) { ended_b = ec; });
  run();
  BOOST_TEST(!ended_a);
  BOOST_TEST(!ended_b);
}

BOOST_FIXTURE_TEST_CASE(whose_other_side_says_goodbye_is_at_its_end, joined) {
  std::string got(1, ' ');
  a->async_shutdown([](error_code) {});
  asio::async_read(*b, asio::buffer(got), [this](error_code ec, std::size_t) {
    ended_b = ec;
    b->next_layer().close();
  });
  run();
  BOOST_TEST(ended_b == asio::error::eof);
}

BOOST_FIXTURE_TEST_CASE(of_noise_fails_and_stays_so, joined) {
  std::string noise(1000, 'x');
  std::string got(1, ' ');
  asio::write(a->next_layer(), asio::buffer(noise));
  asio::async_read(*b, asio::buffer(got),
                   [this](error_code ec, std::size_t) { ended_b = ec; });
  run();
  BOOST_TEST((ended_b.category() == asio::error::get_ssl_category()));
  error_code again;
  asio::async_write(*b, asio::buffer(got),
                    [&](error_code ec, std::size_t) { again = ec; });
  run();
  BOOST_TEST(!!again);
}

// A peer that wants new keys with every byte and reads no answer.
BOOST_FIXTURE_TEST_CASE(does_not_answer_without_bound, joined) {
  int sent = 0;
  std::function<void(error_code, std::size_t)> next = [&](error_code ec,
                                                          std::size_t) {
    if (ec || ++sent == 10'000 || ended_b)
      return a->next_layer().close();
    SSL_key_update(a->native_handle(), SSL_KEY_UPDATE_REQUESTED);
    asio::async_write(
      *a, asio::buffer("x", 1),
      [&next](error_code failed, std::size_t n) { next(failed, n); });
  };
  std::string got(20'000, ' ');
  asio::async_read(*b, asio::buffer(got),
                   [this](error_code ec, std::size_t) { ended_b = ec; });
  next({}, 0);
  run();
  BOOST_TEST(ended_b == asio::error::no_buffer_space);
  BOOST_TEST(sent < 10'000);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_handshake)

BOOST_FIXTURE_TEST_CASE(with_a_key_that_is_not_wanted_fails_on_both_sides,
                        two_ends) {
  found_b.wanted = "sha256:" + std::string(64, 'a');
  shake_hands();
  BOOST_TEST(!!ended_b);
  // The client hears of it with the first byte that it wants to read.
  std::string got(1, ' ');
  asio::async_read(*a, asio::buffer(got),
                   [this](error_code ec, std::size_t) { ended_a = ec; });
  run();
  BOOST_TEST((ended_a.category() == asio::error::get_ssl_category()));
}

BOOST_FIXTURE_TEST_CASE(with_noise_fails, two_ends) {
  asio::write(a->next_layer(), asio::buffer(std::string(1000, 'x')));
  b->async_handshake(true, [this](error_code ec) { ended_b = ec; });
  run();
  BOOST_TEST((ended_b.category() == asio::error::get_ssl_category()));
}

BOOST_AUTO_TEST_SUITE_END()
