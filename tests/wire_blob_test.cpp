// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE wire_blob
#include "support/wire.hpp"

#include "troupe/blob.hpp"
#include "troupe/error.hpp"
#include "wire/segment.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <numeric>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

using namespace troupe::wire;
using troupe::blob;
using troupe::decode_error;
using troupe::shared_buffer;

namespace {

constexpr std::size_t large = std::size_t{3} << 20;

/// Descriptors pass through its hands as they would through a socket.
class road final : public attachment_carrier {
public:
  bool attach(std::shared_ptr<const segment> bytes,
              std::uint32_t& number) override {
    if (descriptors.size() == room)
      return false;
    number = static_cast<std::uint32_t>(descriptors.size());
    descriptors.push_back(::dup(bytes->descriptor()));
    return true;
  }
  int take_attached(std::uint32_t number) override {
    return number < descriptors.size() ? std::exchange(descriptors[number], -1)
                                       : -1;
  }
  ~road() override {
    for (const int fd : descriptors)
      if (fd >= 0)
        ::close(fd);
  }

  std::size_t room = 2;
  std::vector<int> descriptors;
};

template <class T>
buffer sent(const T& x, road* by) {
  buffer bytes;
  writer out{bytes, {}, by};
  encode(out, x);
  return bytes;
}

template <class T>
T received(const buffer& bytes, road* by) {
  reader in{bytes.bytes(), {}, by};
  T x;
  decode(in, x);
  in.finish();
  return x;
}

blob pattern(std::size_t size) {
  shared_buffer filling{size};
  auto value = 0u;
  for (auto& b : filling.bytes())
    b = static_cast<std::byte>(value++ * 7);
  return std::move(filling).freeze();
}

std::ptrdiff_t open_descriptors() {
  return std::distance(std::filesystem::directory_iterator{"/proc/self/fd"},
                       std::filesystem::directory_iterator{});
}

/// A message that says: attachment 0 is a blob of `size` bytes.
buffer claim(std::size_t size) {
  buffer bytes;
  writer out{bytes};
  *out.claim(1) = std::byte{1};
  out.length(0);
  out.length(size);
  return bytes;
}

int memfd(std::size_t size, int seals) {
  const int fd = ::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  BOOST_REQUIRE(::ftruncate(fd, static_cast<off_t>(size)) == 0);
  BOOST_REQUIRE(::fcntl(fd, F_ADD_SEALS, seals) == 0);
  return fd;
}

constexpr int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  BOOST_TEST(test::round_trip(blob{"text"}).text() == "text");
}

BOOST_AUTO_TEST_SUITE(a_blob)

BOOST_AUTO_TEST_CASE(that_is_small_travels_in_the_message) {
  road by;
  const auto small = pattern(1000);
  BOOST_TEST(!small.is_shared());
  const auto bytes = sent(small, &by);
  BOOST_TEST(by.descriptors.empty());
  BOOST_TEST((received<blob>(bytes, &by) == small));
  BOOST_TEST((test::round_trip(blob{}) == blob{}));
}

BOOST_AUTO_TEST_CASE(that_is_large_travels_beside_it) {
  road by;
  const auto big = pattern(large);
  BOOST_TEST(big.is_shared());
  const auto bytes = sent(big, &by);
  BOOST_TEST(bytes.size() < 20u);
  const auto back = received<blob>(bytes, &by);
  BOOST_TEST((back == big));
  BOOST_TEST(back.is_shared());
}

BOOST_AUTO_TEST_CASE(travels_in_the_message_where_nothing_can_be_attached) {
  const auto big = pattern(large);
  BOOST_TEST((test::round_trip(big) == big));
  road full;
  full.room = 1;
  const std::vector<blob> two{big, pattern(large + 1)};
  const auto bytes = sent(two, &full);
  BOOST_TEST(bytes.size() > large);
  BOOST_TEST((received<std::vector<blob>>(bytes, &full) == two));
}

BOOST_AUTO_TEST_CASE(cannot_be_changed_by_anybody) {
  road by;
  sent(pattern(large), &by);
  BOOST_TEST(::ftruncate(by.descriptors[0], 0) != 0);
  BOOST_TEST(::pwrite(by.descriptors[0], "x", 1, 0) != 1);
  BOOST_TEST(::mmap(nullptr, large, PROT_READ | PROT_WRITE, MAP_SHARED,
                    by.descriptors[0], 0)
             == MAP_FAILED);
}

BOOST_AUTO_TEST_CASE(is_an_array_of_numbers) {
  shared_buffer filling{100 * sizeof(double)};
  const auto numbers = filling.as<double>();
  std::iota(numbers.begin(), numbers.end(), 0.0);
  const auto frozen = std::move(filling).freeze();
  BOOST_TEST(frozen.as<double>().size() == 100u);
  BOOST_TEST(frozen.as<double>()[99] == 99.0);
}

BOOST_AUTO_TEST_CASE(leaves_no_descriptor_behind) {
  const auto before = open_descriptors();
  {
    road by;
    const auto bytes = sent(pattern(large), &by);
    received<blob>(bytes, &by);
  }
  BOOST_TEST(open_descriptors() == before);
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_peer)

BOOST_AUTO_TEST_CASE(that_could_shorten_the_memory_is_refused) {
  const auto before = open_descriptors();
  for (const int seals : {0, F_SEAL_GROW | F_SEAL_WRITE,
                          F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL}) {
    road by;
    by.descriptors.push_back(memfd(large, seals));
    BOOST_CHECK_THROW(received<blob>(claim(large), &by), decode_error);
  }
  BOOST_TEST(open_descriptors() == before);
}

BOOST_AUTO_TEST_CASE(that_lies_about_the_size_is_refused) {
  for (const auto size : {large - 1, large + 1, ~std::size_t{0}, 0ul}) {
    road by;
    by.descriptors.push_back(memfd(large, sealed));
    BOOST_CHECK_THROW(received<blob>(claim(size), &by), decode_error);
  }
}

BOOST_AUTO_TEST_CASE(that_sends_another_kind_of_file_is_refused) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  road by;
  by.descriptors = {ends[0], ends[1]};
  BOOST_CHECK_THROW(received<blob>(claim(large), &by), decode_error);
}

BOOST_AUTO_TEST_CASE(that_attaches_nothing_is_refused) {
  road empty;
  BOOST_CHECK_THROW(received<blob>(claim(large), &empty), decode_error);
  BOOST_CHECK_THROW(received<blob>(claim(large), nullptr), decode_error);
}

BOOST_AUTO_TEST_CASE(that_names_an_attachment_twice_is_refused) {
  road by;
  by.descriptors.push_back(memfd(large, sealed));
  buffer bytes;
  writer out{bytes};
  out.length(2);
  for (int i = 0; i < 2; ++i) {
    const auto one = claim(large);
    out.bytes(one.data(), one.size());
  }
  BOOST_CHECK_THROW(received<std::vector<blob>>(bytes, &by), decode_error);
}

BOOST_AUTO_TEST_SUITE_END()
