// SPDX-License-Identifier: MIT
// node_keys: the folder with our key and those that are let in.
#define BOOST_TEST_MODULE node_keys
#include "node/keys.hpp"

#include "troupe/error.hpp"

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <latch>
#include <string>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

namespace fs = std::filesystem;
using troupe::nodes::key_folder;

struct folder {
  fs::path path;
  folder() {
    auto name = (fs::temp_directory_path() / "troupe-keys-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~folder() { fs::remove_all(path); }
  folder(const folder&) = delete;
  folder& operator=(const folder&) = delete;
};

struct keys_there : folder {
  key_folder keys{path / "troupe"};
  std::string own = keys.make();
};

mode_t mode_of(const std::string& file) {
  struct stat s{};
  BOOST_REQUIRE(::stat(file.c_str(), &s) == 0);
  return s.st_mode & 07777;
}

bool is_let_in(const key_folder& keys, const std::string& who) {
  std::string why;
  const auto is = keys.allows(who, why);
  BOOST_TEST(is == why.empty());
  return is;
}

const std::string other = "sha256:" + std::string(64, 'a');

} // namespace

BOOST_AUTO_TEST_SUITE(a_key)

BOOST_FIXTURE_TEST_CASE(smoke, keys_there) {
  BOOST_TEST(own.starts_with("sha256:"));
  BOOST_TEST(own.size() == 71u);
  BOOST_TEST(keys.check() == own);
}

BOOST_FIXTURE_TEST_CASE(is_for_its_owner_alone, keys_there) {
  BOOST_TEST(mode_of(keys.key_file()) == 0600u);
  BOOST_TEST(mode_of(keys.path()) == 0700u);
  BOOST_TEST(mode_of(keys.allowed_file()) == 0600u);
}

BOOST_FIXTURE_TEST_CASE(is_refused_when_others_can_read_it, keys_there) {
  for (const auto mode : {0640u, 0604u, 0620u, 0601u}) {
    ::chmod(keys.key_file().c_str(), mode);
    BOOST_CHECK_THROW((void)keys.check(), troupe::bad_argument);
  }
  ::chmod(keys.key_file().c_str(), 0400);
  BOOST_TEST(keys.check() == own);
}

BOOST_FIXTURE_TEST_CASE(is_never_written_over, keys_there) {
  BOOST_CHECK_THROW((void)keys.make(), troupe::bad_argument);
  BOOST_TEST(keys.check() == own);
}

BOOST_FIXTURE_TEST_CASE(is_made_by_one_of_many_that_try_at_once, folder) {
  for (int round = 0; round < 20; ++round) {
    const key_folder keys{path / std::to_string(round)};
    std::atomic<int> made{0};
    std::latch all_here{4};
    std::vector<std::thread> all;
    for (int i = 0; i < 4; ++i)
      all.emplace_back([&] {
        all_here.arrive_and_wait();
        try {
          static_cast<void>(keys.make());
          ++made;
        } catch (const troupe::bad_argument&) {
          // Another one was first.
        }
      });
    for (auto& t : all)
      t.join();
    BOOST_TEST(made == 1);
    BOOST_TEST(is_let_in(keys, keys.check()));
  }
}

BOOST_FIXTURE_TEST_CASE(is_another_each_time, folder) {
  BOOST_TEST(key_folder{path / "a"}.make() != key_folder{path / "b"}.make());
}

BOOST_FIXTURE_TEST_CASE(must_fit_its_certificate, keys_there) {
  const key_folder second{path / "second"};
  static_cast<void>(second.make());
  fs::copy_file(second.certificate_file(), keys.certificate_file(),
                fs::copy_options::overwrite_existing);
  BOOST_CHECK_THROW((void)keys.check(), troupe::bad_argument);
}

BOOST_FIXTURE_TEST_CASE(that_is_missing_or_garbage_is_a_clear_error,
                        keys_there) {
  std::ofstream{keys.certificate_file()} << "nothing";
  BOOST_CHECK_THROW((void)keys.check(), troupe::bad_argument);
  std::ofstream{keys.key_file()} << "nothing";
  BOOST_CHECK_THROW((void)keys.check(), troupe::bad_argument);
  const key_folder none{path / "none"};
  BOOST_CHECK_EXCEPTION((void)none.check(), troupe::bad_argument,
                        [](const troupe::bad_argument& e) {
                          return std::string{e.what()}.find("keys new")
                                 != std::string::npos;
                        });
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(the_list)

BOOST_FIXTURE_TEST_CASE(has_the_key_itself, keys_there) {
  BOOST_TEST(is_let_in(keys, own));
  BOOST_TEST(!is_let_in(keys, other));
}

BOOST_FIXTURE_TEST_CASE(is_read_anew_each_time, keys_there) {
  keys.allow(other, "a friend");
  BOOST_TEST(is_let_in(keys, other));
  std::ofstream{keys.allowed_file()} << "# nobody\n";
  BOOST_TEST(!is_let_in(keys, other));
  BOOST_TEST(!is_let_in(keys, own));
}

BOOST_FIXTURE_TEST_CASE(takes_a_line_that_was_cut, keys_there) {
  std::ofstream{keys.allowed_file(), std::ios::app} << "# no end of line";
  keys.allow(other, "");
  BOOST_TEST(is_let_in(keys, other));
}

BOOST_FIXTURE_TEST_CASE(has_each_key_once, keys_there) {
  const auto before = fs::file_size(keys.allowed_file());
  keys.allow(own, "again");
  BOOST_TEST(fs::file_size(keys.allowed_file()) == before);
}

BOOST_FIXTURE_TEST_CASE(that_others_can_write_to_lets_nobody_in, keys_there) {
  ::chmod(keys.allowed_file().c_str(), 0622);
  BOOST_TEST(!is_let_in(keys, own));
}

BOOST_FIXTURE_TEST_CASE(in_a_folder_of_others_lets_nobody_in, keys_there) {
  for (const auto mode : {0720u, 0702u}) {
    ::chmod(keys.path().c_str(), mode);
    BOOST_TEST(!is_let_in(keys, own));
  }
  ::chmod(keys.path().c_str(), 01777); // what is ours stays: as in /tmp
  BOOST_TEST(is_let_in(keys, own));
}

BOOST_FIXTURE_TEST_CASE(that_is_another_users_lets_nobody_in, keys_there) {
  if (::geteuid() != 0)
    return; // only root can give files away
  constexpr uid_t nobody = 12345;
  ::chmod(keys.allowed_file().c_str(), 0644);
  BOOST_REQUIRE(::chown(keys.allowed_file().c_str(), nobody, nobody) == 0);
  BOOST_TEST(!is_let_in(keys, own));
  BOOST_REQUIRE(::chown(keys.allowed_file().c_str(), 0, 0) == 0);
  BOOST_TEST(is_let_in(keys, own));
  BOOST_REQUIRE(::chown(keys.path().c_str(), nobody, nobody) == 0);
  BOOST_TEST(!is_let_in(keys, own));
}

BOOST_FIXTURE_TEST_CASE(that_is_gone_or_too_long_lets_nobody_in, keys_there) {
  std::ofstream{keys.allowed_file(), std::ios::app}
    << std::string(std::size_t{2} << 20, '#');
  BOOST_TEST(!is_let_in(keys, own));
  fs::remove(keys.allowed_file());
  BOOST_TEST(!is_let_in(keys, own));
}

BOOST_FIXTURE_TEST_CASE(takes_lines_of_many_at_once_whole, keys_there) {
  std::vector<std::thread> all;
  for (char c = 'a'; c <= 'f'; ++c)
    all.emplace_back([this, c] {
      keys.allow("sha256:" + std::string(64, c), std::string(3000, c));
    });
  for (auto& t : all)
    t.join();
  for (char c = 'a'; c <= 'f'; ++c)
    BOOST_TEST(is_let_in(keys, "sha256:" + std::string(64, c)));
}

BOOST_AUTO_TEST_SUITE_END()

BOOST_AUTO_TEST_SUITE(a_fingerprint)

BOOST_AUTO_TEST_CASE(is_read_as_openssl_prints_it) {
  std::string text;
  for (int i = 0; i < 32; ++i)
    text += i == 0 ? "AB" : ":AB";
  std::string plain = "sha256:";
  for (int i = 0; i < 32; ++i)
    plain += "ab";
  BOOST_TEST(troupe::nodes::read_fingerprint(text).value() == plain);
  BOOST_TEST(troupe::nodes::read_fingerprint(" " + plain + "  who").value()
             == plain);
}

BOOST_FIXTURE_TEST_CASE(that_is_none_is_refused, keys_there) {
  for (const auto* text :
       {"", " ", "sha256:", "sha256:zz", "md5:1234", "sha256:ab cd"})
    BOOST_CHECK_THROW(keys.allow(text, ""), troupe::bad_argument);
  BOOST_CHECK_THROW(keys.allow(other + "a", ""), troupe::bad_argument);
  BOOST_CHECK_THROW(keys.allow(other, "two\nlines"), troupe::bad_argument);
}

BOOST_AUTO_TEST_SUITE_END()
