// SPDX-License-Identifier: MIT
// Where envelopes, states and cells come from: mimalloc for us, and nothing of
// it for the program.
#define BOOST_TEST_MODULE memory
#include <boost/test/unit_test.hpp>

#include <cstring>
#include <dlfcn.h>
#include <string>
#include <thread>
#include <vector>

#include "troupe/detail/envelope.hpp"

namespace {

using troupe::detail::allocate;
using troupe::detail::deallocate;

// Before main, perhaps before the library's own initialisers.
void* const early = allocate(100);

// The file whose function of that name the program gets.
std::string file_of(const char* name) {
  Dl_info info{};
  auto* address = ::dlsym(RTLD_DEFAULT, name);
  return address != nullptr && ::dladdr(address, &info) != 0 ? info.dli_fname
                                                             : "";
}

} // namespace

BOOST_AUTO_TEST_CASE(smoke) {
  std::memset(early, 1, 100);
  deallocate(early);
  deallocate(nullptr);
}

BOOST_AUTO_TEST_SUITE(the_programs_own)

BOOST_AUTO_TEST_CASE(malloc_stays_what_it_was) {
  for (auto* name : {"malloc", "free", "calloc", "realloc", "posix_memalign",
                     "_Znwm", "_ZdlPv"}) {
    const auto file = file_of(name);
    BOOST_TEST(!file.empty());
    BOOST_TEST(file.find("mimalloc") == std::string::npos, name << " " << file);
  }
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(ours)

BOOST_AUTO_TEST_CASE(goes_from_thread_to_thread) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([] {
      std::vector<void*> all;
      for (std::size_t n = 1; n < 5'000; n += 7) {
        all.push_back(allocate(n));
        std::memset(all.back(), static_cast<int>(n), n);
      }
      std::thread{[all] {
        for (auto* p : all)
          deallocate(p);
      }}.join();
    });
  for (auto& t : threads)
    t.join();
}

BOOST_AUTO_TEST_SUITE_END()
