// SPDX-License-Identifier: MIT
// loans: mappings of what a parent lends, kept for the next time.
#define BOOST_TEST_MODULE process_loans
#include "process/loans.hpp"
#include "sched/clock.hpp"
#include "troupe/error.hpp"
#include "wire/block.hpp"

#include <boost/test/unit_test.hpp>

#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

using namespace troupe::process;

namespace {

constexpr int fixed_length = F_SEAL_SHRINK | F_SEAL_GROW;

descriptor memfd_of(const std::string& bytes, int seals = fixed_length) {
  descriptor fd{::memfd_create("lent", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  BOOST_REQUIRE(::write(fd.get(), bytes.data(), bytes.size())
                == static_cast<ssize_t>(bytes.size()));
  BOOST_REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
  return fd;
}

// A sparse one: of a size, and of no bytes.
descriptor memfd_of_size(std::size_t bytes) {
  descriptor fd{::memfd_create("lent", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  BOOST_REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
  BOOST_REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, fixed_length) == 0);
  return fd;
}

descriptor again(const descriptor& fd) {
  return descriptor{::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)};
}

// Where the bytes are mapped.
const std::byte* place_of(loans& l, const descriptor& fd, std::size_t n = 1) {
  return l.take(again(fd), n).bytes().data();
}

bool is_mapped(const std::byte* at) {
  unsigned char there = 0;
  auto* page = reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(at)
                                       & ~std::uintptr_t{4095});
  return ::mincore(page, 1, &there) == 0;
}

} // namespace

BOOST_AUTO_TEST_SUITE(what_is_lent)

BOOST_AUTO_TEST_CASE(smoke) {
  loans l{true};
  const auto lent = l.take(memfd_of("hello"), 4);
  BOOST_TEST(std::memcmp(lent.bytes().data(), "hell", 4) == 0);
  BOOST_TEST(lent.bytes().size() == 4u);
}

BOOST_AUTO_TEST_CASE(is_found_again_where_it_was) {
  loans l{true};
  const auto a = memfd_of("a"), b = memfd_of("b");
  const auto* at = place_of(l, a);
  const auto* other = place_of(l, b);
  BOOST_TEST(at != other);
  BOOST_TEST(place_of(l, a) == at);
  BOOST_TEST(place_of(l, b) == other);
  BOOST_TEST((*at == std::byte{'a'}));
}

BOOST_AUTO_TEST_CASE(shows_what_was_written_since) {
  loans l{true};
  const auto a = memfd_of("abc");
  const auto* at = place_of(l, a);
  BOOST_REQUIRE(::pwrite(a.get(), "x", 1, 0) == 1);
  BOOST_TEST(place_of(l, a) == at);
  BOOST_TEST((*at == std::byte{'x'}));
}

BOOST_AUTO_TEST_CASE(goes_when_it_was_not_used_for_long) {
  loans l{true};
  const auto* at = place_of(l, memfd_of("a"));
  const auto now = troupe::sched::now_ns();
  BOOST_TEST(l.trim(now));
  BOOST_TEST(is_mapped(at));
  BOOST_TEST(!l.trim(now + troupe::wire::idle_ns));
  BOOST_TEST(!is_mapped(at));
}

BOOST_AUTO_TEST_CASE(stays_while_it_is_used) {
  loans l{true};
  const auto lent = l.take(memfd_of("a"), 1);
  BOOST_TEST(l.trim(troupe::sched::now_ns() + 2 * troupe::wire::idle_ns));
  BOOST_TEST((lent.bytes()[0] == std::byte{'a'}));
}

BOOST_AUTO_TEST_CASE(is_bounded_in_number_and_bytes) {
  loans l{true};
  const auto first = memfd_of("a");
  const auto* at = place_of(l, first);
  for (std::size_t i = 1; i < loans::kept_mappings; ++i)
    place_of(l, memfd_of("b"));
  BOOST_TEST(is_mapped(at));
  place_of(l, memfd_of("c"));
  BOOST_TEST(!is_mapped(at)); // the one that was used longest ago

  const auto* large = place_of(l, memfd_of_size(troupe::wire::kept_bytes_max));
  BOOST_TEST(is_mapped(large));
  const auto* larger =
    place_of(l, memfd_of_size(troupe::wire::kept_bytes_max + 1));
  BOOST_TEST(!is_mapped(larger));
}

BOOST_AUTO_TEST_CASE(is_not_kept_where_memory_is_limited) {
  loans l{false};
  BOOST_TEST(!is_mapped(place_of(l, memfd_of("a"))));
}

BOOST_AUTO_TEST_CASE(is_refused_if_it_could_be_cut_or_is_too_short) {
  loans l{true};
  for (int seals : {0, F_SEAL_SHRINK, F_SEAL_GROW})
    BOOST_CHECK_THROW((void)l.take(memfd_of("abc", seals), 3),
                      troupe::decode_error);
  BOOST_CHECK_THROW((void)l.take(memfd_of("abc"), 4), troupe::decode_error);
  BOOST_CHECK_THROW((void)l.take(memfd_of("abc"), 0), troupe::decode_error);
  BOOST_CHECK_THROW((void)l.take(descriptor{}, 1), troupe::decode_error);
  const auto known = memfd_of("abc");
  place_of(l, known, 3);
  BOOST_CHECK_THROW((void)l.take(again(known), 4), troupe::decode_error);
  BOOST_CHECK_THROW(
    (void)l.take(descriptor{::open("/dev/zero", O_RDONLY | O_CLOEXEC)}, 1),
    troupe::decode_error);
}

BOOST_AUTO_TEST_SUITE_END()
