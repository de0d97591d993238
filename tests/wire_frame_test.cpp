// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_frame
#include "support/allocations.hpp"
#include "support/seed.hpp"
#include "support/wire.hpp"

#include "troupe/error.hpp"
#include "wire/frame.hpp"

#include <boost/test/unit_test.hpp>

#include <array>
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

using namespace std::chrono_literals;
using namespace troupe::wire;
using test::allocations;
using troupe::decode_error;

namespace {

constexpr auto header_bytes = frame_header::size_bytes;

frame_header random_header(test::random_source& random) {
  frame_header head{.kind = frame_kind::call,
                    .flags = static_cast<std::uint16_t>(random()),
                    .call = random() | 1,
                    .target = random(),
                    .name = random() | 1,
                    .trace = random()};
  if (random.chance(50))
    head.deadline_us = random.below(1'000'000'000);
  return head;
}

/// A stream of frames with payloads of up to `size` bytes.
std::vector<std::string> write_frames(test::random_source& random, buffer& out,
                                      int count, std::size_t size) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i) {
    auto& text = texts.emplace_back(random.below(size + 1), 'x');
    frame_writer frame{out, random_header(random)};
    encode(frame.payload(), text);
    frame.finish();
  }
  return texts;
}

std::array<std::byte, header_bytes> stored(const frame_header& head) {
  std::array<std::byte, header_bytes> bytes{};
  store_header(bytes.data(), head);
  return bytes;
}

void check_refused(const frame_header& head, const limits& bounds = {}) {
  const auto bytes = stored(head);
  BOOST_CHECK_THROW(load_header(bytes, bounds), decode_error);
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  buffer out;
  frame_writer writing{out, {.kind = frame_kind::tell, .name = 1}};
  encode(writing.payload(), 42);
  writing.finish();
  frame_decoder decoder;
  BOOST_TEST(decoder.push(out.bytes()) == out.size());
  BOOST_TEST(decoder.is_ready());
  const auto whole = decoder.take();
  BOOST_TEST((whole.head.kind == frame_kind::tell));
  BOOST_TEST(test::decoded<int>(whole.payload.bytes()) == 42);
}

BOOST_AUTO_TEST_SUITE(a_header)

BOOST_AUTO_TEST_CASE(comes_back_equal) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int i = 0; i < 10'000; ++i) {
      const auto head = random_header(random);
      BOOST_REQUIRE((load_header(stored(head)) == head));
    }
  }
}

BOOST_AUTO_TEST_CASE(with_one_bit_changed_is_refused) {
  test::random_source random;
  TEST_WITH_SEED() {
    const auto bytes = stored(random_header(random));
    for (std::size_t bit = 0; bit < header_bytes * 8; ++bit) {
      auto changed = bytes;
      changed[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
      BOOST_CHECK_THROW(load_header(changed), decode_error);
    }
  }
}

BOOST_AUTO_TEST_CASE(that_makes_no_sense_is_refused) {
  using enum frame_kind;
  check_refused({.kind = call, .call = 0, .name = 1});
  check_refused({.kind = call, .call = 1, .name = 0});
  check_refused({.kind = tell, .name = 0});
  check_refused({.kind = result, .call = 0});
  check_refused({.kind = error, .call = 0});
  check_refused({.kind = down, .target = 0});
  check_refused({.kind = ping, .payload_bytes = 1});
  check_refused({.kind = static_cast<frame_kind>(0)});
  check_refused({.kind = static_cast<frame_kind>(200)});
  check_refused({.kind = log, .deadline_us = ~std::uint64_t{0} - 1});
  check_refused({.kind = log, .attachments = 65});
}

BOOST_AUTO_TEST_CASE(that_claims_4_gib_and_1_takes_no_memory) {
  check_refused(
    {.kind = frame_kind::log, .payload_bytes = (std::uint64_t{1} << 32) + 1});
  check_refused({.kind = frame_kind::log, .payload_bytes = ~std::uint64_t{0}});
  check_refused({.kind = frame_kind::log, .payload_bytes = 1000},
                {.frame_bytes_max = 1000});
  const auto bytes =
    stored({.kind = frame_kind::log, .payload_bytes = 1 << 30});
  allocations.reset();
  frame_decoder decoder;
  BOOST_CHECK_THROW(decoder.push(bytes), decode_error);
  BOOST_TEST(allocations.bytes.load() < 4096u);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_decoder)

BOOST_AUTO_TEST_CASE(joins_what_arrives_in_pieces) {
  test::random_source random;
  TEST_WITH_SEED() {
    for (int round = 0; round < 200; ++round) {
      buffer out;
      const auto texts = write_frames(random, out, 20, 300);
      frame_decoder decoder;
      std::vector<std::string> seen;
      auto rest = out.bytes();
      while (!rest.empty()) {
        auto piece =
          rest.first(1 + random.below(std::min(rest.size(), std::size_t{400})));
        rest = rest.subspan(piece.size());
        while (!piece.empty()) {
          piece = piece.subspan(decoder.push(piece));
          if (decoder.is_ready())
            seen.push_back(
              test::decoded<std::string>(decoder.take().payload.bytes()));
        }
      }
      BOOST_TEST(!decoder.is_midway());
      BOOST_REQUIRE((seen == texts));
    }
  }
}

BOOST_AUTO_TEST_CASE(says_what_is_missing) {
  buffer out;
  frame_writer writing{out, {.kind = frame_kind::log}};
  encode(writing.payload(), std::string(9, 'x'));
  writing.finish();
  frame_decoder decoder;
  BOOST_TEST(!decoder.is_midway());
  BOOST_TEST(decoder.missing_bytes() == header_bytes);
  decoder.push(out.bytes().first(10));
  BOOST_TEST(decoder.is_midway());
  BOOST_TEST(decoder.missing_bytes() == header_bytes - 10);
  decoder.push(out.bytes().subspan(10, header_bytes - 10));
  BOOST_TEST(decoder.missing_bytes() == 10u);
  BOOST_TEST(!decoder.is_ready());
}

BOOST_AUTO_TEST_CASE(gives_nothing_more_after_an_error) {
  buffer out;
  append_frame(out, {.kind = frame_kind::ping});
  auto torn = std::vector<std::byte>(out.bytes().begin(), out.bytes().end());
  torn[8] ^= std::byte{1};
  frame_decoder decoder;
  BOOST_CHECK_THROW(decoder.push(torn), decode_error);
  BOOST_CHECK_THROW(decoder.push(out.bytes()), decode_error);
  BOOST_TEST(!decoder.is_ready());
}

BOOST_AUTO_TEST_CASE(takes_memory_only_for_what_has_arrived) {
  // A peer claims 900 MiB and sends 2 MiB of them.
  const auto head =
    stored({.kind = frame_kind::log, .payload_bytes = 900u << 20});
  frame_decoder decoder;
  decoder.push(head);
  const std::vector<std::byte> part(2 << 20);
  decoder.push(part);
  BOOST_TEST(!decoder.is_ready());
  BOOST_TEST(decoder.payload_capacity_bytes() <= (8u << 20));
}

BOOST_AUTO_TEST_CASE(whose_payload_is_put_in_place_comes_out_the_same) {
  test::random_source random;
  TEST_WITH_SEED() {
    buffer out;
    write_frames(random, out, 20, 5000);
    std::vector<frame> seen;
    frame_decoder decoder;
    for (auto rest = out.bytes(); !rest.empty();) {
      auto n = std::min<std::size_t>(rest.size(), 1 + random.below(200));
      if (const auto to = decoder.room(); !to.empty()) {
        n = std::min(n, to.size());
        std::memcpy(to.data(), rest.data(), n);
        decoder.filled(n);
      } else {
        n = decoder.push(rest.first(n));
      }
      rest = rest.subspan(n);
      if (decoder.is_ready())
        seen.push_back(decoder.take());
    }
    BOOST_TEST(!decoder.is_midway());
    BOOST_REQUIRE(seen.size() == 20u);
    auto rest = out.bytes();
    for (auto& got : seen) {
      const auto expected = next_frame(rest);
      BOOST_REQUIRE((expected && got.head == expected->head));
      BOOST_TEST(std::ranges::equal(got.payload.bytes(), expected->payload));
      rest = rest.subspan(expected->size_bytes());
    }
  }
}

BOOST_AUTO_TEST_CASE(offers_no_more_room_than_it_has) {
  frame_decoder decoder;
  BOOST_TEST(decoder.room().empty());
  const auto head =
    stored({.kind = frame_kind::log, .payload_bytes = std::size_t{512} << 20});
  decoder.push(head);
  BOOST_TEST(decoder.room().empty()); // nothing of it has come
  const std::vector<std::byte> part(std::size_t{1} << 20);
  decoder.push(part);
  BOOST_TEST(decoder.room().size()
             <= decoder.payload_capacity_bytes() - part.size());
}

BOOST_AUTO_TEST_CASE(of_noise_gives_frames_or_errors) {
  test::random_source random;
  TEST_WITH_SEED() {
    buffer out;
    write_frames(random, out, 5, 100);
    for (int i = 0; i < 20'000; ++i) {
      std::vector<std::byte> bytes(out.bytes().begin(), out.bytes().end());
      for (auto n = 1 + random.below(3); n > 0; --n)
        bytes[random.below(bytes.size())] = static_cast<std::byte>(random());
      frame_decoder decoder;
      try {
        auto rest = std::span<const std::byte>{bytes};
        while (!rest.empty()) {
          rest = rest.subspan(decoder.push(rest));
          if (decoder.is_ready())
            decoder.take();
        }
      } catch (const decode_error&) {}
      BOOST_REQUIRE(decoder.payload_capacity_bytes() <= 4096u);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_writer)

BOOST_AUTO_TEST_CASE(that_is_given_up_leaves_no_trace) {
  buffer out;
  append_frame(out, {.kind = frame_kind::ping});
  const auto before = out.size();
  const limits small{.frame_bytes_max = 1000};
  const auto write = [&] {
    frame_writer frame{out, {.kind = frame_kind::log}, small};
    encode(frame.payload(), std::string(10, 'x'));
    encode(frame.payload(), std::string(1000, 'x'));
    frame.finish();
  };
  BOOST_CHECK_THROW(write(), troupe::bad_argument);
  BOOST_TEST(out.size() == before);
}

BOOST_AUTO_TEST_CASE(fills_the_limit_and_the_decoder_accepts) {
  const limits small{.frame_bytes_max = 1000};
  buffer out;
  frame_writer frame{out, {.kind = frame_kind::log}, small};
  encode(frame.payload(), std::string(1000 - header_bytes - 2, 'x'));
  frame.finish();
  BOOST_TEST(out.size() == 1000u);
  frame_decoder decoder{small};
  decoder.push(out.bytes());
  BOOST_TEST(decoder.is_ready());
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_deadline)

BOOST_AUTO_TEST_CASE(travels_as_what_remains) {
  const std::chrono::steady_clock::time_point here{1000s};
  const std::chrono::steady_clock::time_point there{77s};
  const auto across = [&](auto at) {
    frame_header head{.kind = frame_kind::log};
    head.deadline_us = remaining_us(at, here);
    return deadline_at(load_header(stored(head)), there);
  };
  BOOST_TEST((across(std::optional{here + 50ms}) == there + 50ms));
  BOOST_TEST((across(std::optional{here - 1s}) == there));
  BOOST_TEST((across(std::optional{here + 1ns}) > there));
  BOOST_TEST((!across(std::optional<std::chrono::steady_clock::time_point>{})
                 .has_value()));
}

BOOST_AUTO_TEST_SUITE_END()
