// SPDX-License-Identifier: MIT
// processes: what the tests of worker processes share. A test program that
// includes it is a program of `troupe::run`: its workers are copies of it.
//
// A worker shares nothing with the test but `words`: numbers in a memfd that
// stays open as long as the test program runs, so that a late worker never
// writes anywhere else.
#pragma once

#include <algorithm>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <linux/futex.h>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "support/fixture.hpp"
#include "troupe/process_pool.hpp"
#include "troupe/run.hpp"

namespace test {

// -- words --------------------------------------------------------------------

/// Names a number that the test and all its workers see.
struct word {
  std::int32_t pid = 0;
  std::int32_t fd = 0;
  std::uint32_t index = 0;
};

inline constexpr std::uint32_t words_max = 1 << 20;

using shared_word = std::atomic<std::uint32_t>;

inline shared_word* map_words(int fd) {
  auto* at = ::mmap(nullptr, words_max * sizeof(shared_word),
                    PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED)
    throw std::system_error{errno, std::generic_category(), "mapping words"};
  return static_cast<shared_word*>(at);
}

inline std::atomic<std::uint32_t> words_used{0};

inline word new_word() {
  static const int fd = [] {
    const int made = ::memfd_create("words", MFD_CLOEXEC);
    if (::ftruncate(made, words_max * sizeof(shared_word)) != 0)
      throw std::system_error{errno, std::generic_category(), "ftruncate"};
    return made;
  }();
  const auto index = words_used++;
  if (index >= words_max)
    throw std::length_error{"too many words in one test program"};
  return {::getpid(), fd, index};
}

inline shared_word& at(word w) {
  static shared_word* const mapped = [w] {
    if (w.pid == ::getpid())
      return map_words(w.fd);
    const auto path = "/proc/" + std::to_string(w.pid) + "/fd/"
                      + std::to_string(w.fd);
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
    auto* words = map_words(fd);
    ::close(fd);
    return words;
  }();
  return mapped[w.index % words_max];
}

/// All words are 0 and new again. Requires: no worker that knows one is left.
inline void forget_words() {
  const auto first = new_word();
  for (auto i = words_used.exchange(0); i-- != 0;)
    at({first.pid, first.fd, i}).store(0);
}

inline void set_word(word w, std::uint32_t value) {
  at(w).store(value);
  ::syscall(SYS_futex, &at(w), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

/// Sleeps until it is not 0.
inline void await_word(word w) {
  while (at(w).load() == 0)
    ::syscall(SYS_futex, &at(w), FUTEX_WAIT, 0, nullptr, nullptr, 0);
}

// -- the backend of the executors' contract -----------------------------------

struct on_processes {
  using pool = troupe::process_pool;
  using options = troupe::process_pool_options;

  class gate {
  public:
    word token() const { return word_; }
    void open() { set_word(word_, 1); }

  private:
    word word_ = new_word();
  };
  static void pass(word g) { await_word(g); }

  class tally {
  public:
    word token() const { return word_; }
    int value() const { return static_cast<int>(at(word_).load()); }

  private:
    word word_ = new_word();
  };
  static int count(word t) { return static_cast<int>(at(t).fetch_add(1)); }

  static std::uint64_t here() { return static_cast<std::uint64_t>(::getpid()); }
};

// -- what the kernel says -----------------------------------------------------

inline std::size_t entries_of(const char* directory) {
  std::size_t n = 0;
  for (auto& e : std::filesystem::directory_iterator{directory})
    n += e.path().empty() ? 0 : 1;
  return n;
}

inline std::size_t open_files() {
  return entries_of("/proc/self/fd");
}
inline std::size_t threads() {
  return entries_of("/proc/self/task");
}

/// The third field of its stat: R, S, T, Z; 0: there is no such process.
inline char process_state(int pid) {
  std::ifstream stat{"/proc/" + std::to_string(pid) + "/stat"};
  std::string text;
  if (!std::getline(stat, text))
    return 0;
  auto end = text.rfind(')');
  return end == std::string::npos || end + 2 >= text.size() ? 0 : text[end + 2];
}

/// A zombie that somebody else has to reap counts as gone.
inline bool is_gone(int pid) {
  const auto state = process_state(pid);
  return state == 0 || state == 'Z' || state == 'X';
}

inline std::vector<int> children_of(int pid) {
  std::vector<int> all;
  for (auto& task : std::filesystem::directory_iterator{
         "/proc/" + std::to_string(pid) + "/task"}) {
    std::ifstream list{task.path() / "children"};
    for (int child = 0; list >> child;)
      all.push_back(child);
  }
  return all;
}

/// This program's processes below `pid`, zombies included.
inline std::vector<int> descendants_of(int pid) {
  std::vector<int> all;
  try {
    for (int child : children_of(pid)) {
      all.push_back(child);
      for (int below : descendants_of(child))
        all.push_back(below);
    }
  } catch (const std::filesystem::filesystem_error&) {
    // It has ended meanwhile.
  }
  return all;
}

// -- errors -------------------------------------------------------------------

/// The certificate of a task that died.
template <class R>
troupe::certificate death_of(const troupe::future<R>& f) {
  try {
    f.get();
  } catch (const troupe::worker_died& e) {
    return e.why();
  } catch (const std::exception& e) {
    BOOST_ERROR("another error: " << e.what());
    return {};
  }
  BOOST_ERROR("it did not die");
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace test

/// Main of a test program: `init` is Boost.Test's init_unit_test.
#define TROUPE_TEST_MAIN \
  int main(int argc, char** argv) { \
    return troupe::run( \
      argc, argv, [](troupe::system&, std::span<char*> args) { \
        return boost::unit_test::unit_test_main( \
          &init_unit_test, static_cast<int>(args.size()), args.data()); \
      }); \
  }
