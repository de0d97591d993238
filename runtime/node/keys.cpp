// SPDX-License-Identifier: MIT
#include "node/keys.hpp"

#include "core/descriptor.hpp"

#include "troupe/error.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <random>
#include <sstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace troupe::nodes {

namespace {

constexpr std::string_view prefix = "sha256:";
constexpr std::size_t digits = std::size_t{2} * SHA256_DIGEST_LENGTH;
constexpr std::size_t list_bytes_max = std::size_t{1} << 20;
constexpr long certificate_days = 36'500; // 100 years

template <auto F>
struct freed_by {
  template <class T>
  void operator()(T* p) const {
    F(p);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, freed_by<X509_free>>;
using bio_ptr = std::unique_ptr<BIO, freed_by<BIO_free_all>>;

[[noreturn]] void fail(const std::string& what) {
  throw std::system_error{errno, std::generic_category(), what};
}

[[noreturn]] void fail_crypto(const char* what) {
  throw error{fmt::format("OpenSSL could not make {}", what)};
}

std::string text_of(BIO* b) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(b, &data);
  return {data, static_cast<std::size_t>(size)};
}

// A file that is there whole or not at all, with `mode` from its first moment.
void write_file(const std::string& path, const std::string& text, mode_t mode) {
  const auto fresh = fmt::format("{}.{}", path, ::getpid());
  ::unlink(fresh.c_str());
  const int fd = ::open(
    fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0)
    fail(fresh);
  const auto written = ::write(fd, text.data(), text.size());
  const auto is_whole = written == static_cast<ssize_t>(text.size())
                        && ::fsync(fd) == 0;
  ::close(fd);
  // Not over a file that came meanwhile.
  const auto is_there = is_whole && ::link(fresh.c_str(), path.c_str()) == 0;
  const auto why = errno;
  ::unlink(fresh.c_str());
  if (!is_there) {
    errno = why;
    fail(path);
  }
}

certificate_ptr make_certificate(EVP_PKEY* key) {
  certificate_ptr c{X509_new()};
  // Names say nothing, so that a stranger learns nothing.
  auto* name = X509_get_subject_name(c.get());
  unsigned char serial[16] = {};
  std::random_device random;
  for (auto& byte : serial)
    byte = static_cast<unsigned char>(random());
  serial[0] &= 0x7f;
  std::unique_ptr<BIGNUM, freed_by<BN_free>> number{
    BN_bin2bn(serial, sizeof(serial), nullptr)};
  const auto is_made =
    X509_set_version(c.get(), X509_VERSION_3) == 1
    && BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(c.get()))
    && X509_NAME_add_entry_by_txt(
         name, "CN", MBSTRING_ASC,
         reinterpret_cast<const unsigned char*>("troupe"), -1, -1, 0)
         == 1
    && X509_set_issuer_name(c.get(), name) == 1
    && X509_gmtime_adj(X509_getm_notBefore(c.get()), -24L * 3600)
    && X509_time_adj_ex(X509_getm_notAfter(c.get()), certificate_days, 0,
                        nullptr)
    && X509_set_pubkey(c.get(), key) == 1
    && X509_sign(c.get(), key, nullptr) > 0;
  if (!is_made)
    fail_crypto("a certificate");
  return c;
}

std::string fingerprint_of(X509* c) {
  unsigned char* der = nullptr;
  const int size = i2d_X509(c, &der);
  if (size <= 0)
    fail_crypto("the bytes of a certificate");
  auto text =
    nodes::fingerprint_of(std::span{der, static_cast<std::size_t>(size)});
  OPENSSL_free(der);
  return text;
}

// The list, made if it isn't there, while nobody else writes to the folder.
class locked_list {
public:
  explicit locked_list(std::string path)
    : path_(std::move(path)),
      fd_(
        ::open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600)) {
    if (!fd_)
      fail(path_);
    int rc = 0;
    while ((rc = ::flock(fd_.get(), LOCK_EX)) != 0 && errno == EINTR) {}
    if (rc != 0)
      fail(path_);
  }

  void add(std::string_view fingerprint, std::string_view comment) const {
    char last = '\n';
    const auto size = ::lseek(fd_.get(), 0, SEEK_END);
    if (size > 0 && ::pread(fd_.get(), &last, 1, size - 1) != 1)
      last = 0;
    const auto line = fmt::format("{}{}  {}\n", last == '\n' ? "" : "\n",
                                  fingerprint, comment);
    if (::write(fd_.get(), line.data(), line.size())
        != static_cast<ssize_t>(line.size()))
      fail(path_);
  }

private:
  const std::string path_;
  const detail::descriptor fd_;
};

// Nobody but us and root may say what it holds: it is ours or root's, and so is
// its folder. In a folder with the sticky bit (Kubernetes mounts secrets so)
// others can't touch what is not theirs.
void check_owner(int fd, const std::string& path) {
  struct stat s{};
  if (::fstat(fd, &s) != 0)
    throw bad_argument{fmt::format("{}: {}", path, std::strerror(errno))};
  if (s.st_uid != ::geteuid() && s.st_uid != 0)
    throw bad_argument{
      fmt::format("{}: it belongs to user {}, so the list counts for nothing",
                  path, s.st_uid)};
  if ((s.st_mode & (S_IWGRP | S_IWOTH)) != 0
      && (!S_ISDIR(s.st_mode) || (s.st_mode & S_ISVTX) == 0))
    throw bad_argument{fmt::format(
      "{}: others can write to it, so the list counts for nothing", path)};
}

std::string read_list(const std::filesystem::path& folder, const char* name) {
  const auto path = (folder / name).string();
  const detail::descriptor in{
    ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!in)
    throw bad_argument{
      fmt::format("{}: {}", folder.string(), std::strerror(errno))};
  const detail::descriptor fd{
    ::openat(in.get(), name, O_RDONLY | O_NONBLOCK | O_CLOEXEC)};
  if (!fd)
    throw bad_argument{fmt::format("{}: {}", path, std::strerror(errno))};
  check_owner(in.get(), folder);
  check_owner(fd.get(), path);
  std::string text;
  char some[4096];
  for (;;) {
    const auto n = ::read(fd.get(), some, sizeof(some));
    if (n == 0)
      return text;
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      throw bad_argument{fmt::format("{}: {}", path, std::strerror(errno))};
    text.append(some, static_cast<std::size_t>(n));
    if (text.size() > list_bytes_max)
      throw bad_argument{
        fmt::format("{}: a list of more than {} bytes", path, list_bytes_max)};
  }
}

struct stat look_at(const std::string& path) {
  struct stat s{};
  if (::stat(path.c_str(), &s) != 0)
    throw bad_argument{fmt::format("{}: {}", path, std::strerror(errno))};
  return s;
}

void check_secret(const std::string& path) {
  const auto s = look_at(path);
  if ((s.st_mode & (S_IRWXG | S_IRWXO)) != 0)
    throw bad_argument{fmt::format(
      "{}: others can read this key (mode {:04o}): chmod 600 it, and make a "
      "new one if somebody may have",
      path, s.st_mode & 07777)};
  if (s.st_uid != ::geteuid() && s.st_uid != 0)
    throw bad_argument{
      fmt::format("{}: this key belongs to user {}, not to {} who runs this",
                  path, s.st_uid, ::geteuid())};
}

} // namespace

std::optional<key_folder> key_folder::find_default(const std::string& option) {
  if (!option.empty())
    return key_folder{option};
  if (const auto* set = std::getenv("TROUPE_KEYS"); set != nullptr && *set != 0)
    return key_folder{set};
  if (const auto* set = std::getenv("XDG_CONFIG_HOME");
      set != nullptr && *set == '/')
    return key_folder{std::filesystem::path{set} / "troupe"};
  if (const auto* home = std::getenv("HOME"); home != nullptr && *home == '/')
    return key_folder{std::filesystem::path{home} / ".config" / "troupe"};
  return std::nullopt;
}

key_folder key_folder::by_default(const std::string& option) {
  if (auto found = find_default(option))
    return *found;
  throw bad_argument{
    "there is no home folder for keys: say where they are "
    "(option keys, environment TROUPE_KEYS)"};
}

std::string key_folder::make() const {
  const auto check_none = [this] {
    if (std::filesystem::exists(key_file()))
      throw bad_argument{
        fmt::format("{}: there is a key already; it stays", key_file())};
  };
  check_none();
  const key_ptr key{EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")};
  if (!key)
    fail_crypto("a key");
  const auto certificate = make_certificate(key.get());
  const bio_ptr secret{BIO_new(BIO_s_mem())};
  const bio_ptr open{BIO_new(BIO_s_mem())};
  if (PEM_write_bio_PrivateKey(secret.get(), key.get(), nullptr, nullptr, 0,
                               nullptr, nullptr)
        != 1
      || PEM_write_bio_X509(open.get(), certificate.get()) != 1)
    fail_crypto("the text of a key");
  const auto is_new = std::filesystem::create_directories(path_);
  if (is_new && ::chmod(path_.c_str(), 0700) != 0)
    fail(path_);
  const locked_list list{allowed_file()};
  check_none();                         // somebody else may just have made one
  ::unlink(certificate_file().c_str()); // of a key that never came to be
  write_file(certificate_file(), text_of(open.get()), 0644);
  write_file(key_file(), text_of(secret.get()), 0600);
  auto own = fingerprint_of(certificate.get());
  list.add(own, "this key itself");
  return own;
}

std::string key_folder::check() const {
  if (!std::filesystem::exists(key_file()))
    throw bad_argument{fmt::format(
      "no keys in {}: `{} keys new` makes them (another folder: TROUPE_KEYS)",
      path_.string(), program_invocation_short_name)};
  check_secret(key_file());
  const bio_ptr secret{BIO_new_file(key_file().c_str(), "re")};
  const bio_ptr open{BIO_new_file(certificate_file().c_str(), "re")};
  if (!secret)
    throw bad_argument{key_file() + ": can't be read"};
  if (!open)
    throw bad_argument{certificate_file() + ": can't be read"};
  // A key behind a passphrase would ask at the terminal: an empty one instead.
  char none[] = "";
  const key_ptr key{
    PEM_read_bio_PrivateKey(secret.get(), nullptr, nullptr, none)};
  const certificate_ptr c{
    PEM_read_bio_X509(open.get(), nullptr, nullptr, none)};
  if (!key)
    throw bad_argument{key_file() + ": no key that can be read"};
  if (!c)
    throw bad_argument{certificate_file() + ": no certificate"};
  if (X509_check_private_key(c.get(), key.get()) != 1)
    throw bad_argument{fmt::format("{} is not the certificate of {}",
                                   certificate_file(), key_file())};
  return fingerprint_of(c.get());
}

bool key_folder::allows(std::string_view fingerprint, std::string& why) const {
  try {
    std::istringstream list{read_list(path_, "allowed")};
    for (std::string line; std::getline(list, line);)
      if (auto found = read_fingerprint(line); found && *found == fingerprint)
        return true;
    why = fmt::format("{} is not in {}", fingerprint, allowed_file());
  } catch (const bad_argument& e) {
    why = e.what();
  }
  return false;
}

std::string key_folder::list_stamp() const {
  struct stat s{};
  if (::stat(allowed_file().c_str(), &s) != 0)
    return fmt::format("none: {}", errno);
  return fmt::format("{} {} {} {}.{} {}.{}", s.st_ino, s.st_size, s.st_mode,
                     s.st_mtim.tv_sec, s.st_mtim.tv_nsec, s.st_ctim.tv_sec,
                     s.st_ctim.tv_nsec);
}

void key_folder::allow(std::string_view fingerprint,
                       std::string_view comment) const {
  const auto text = read_fingerprint(fingerprint);
  if (!text)
    throw bad_argument{
      fmt::format("\"{}\" is no fingerprint: sha256: and {} hexadecimal digits",
                  fingerprint, digits)};
  if (comment.find_first_of("\r\n") != std::string_view::npos)
    throw bad_argument{"the comment of a fingerprint is one line"};
  std::string why;
  if (allows(*text, why))
    return;
  locked_list{allowed_file()}.add(*text, comment);
}

std::string fingerprint_of(std::span<const unsigned char> der) {
  unsigned char hash[SHA256_DIGEST_LENGTH];
  ::SHA256(der.data(), der.size(), hash);
  std::string text{prefix};
  for (const auto byte : hash)
    text += fmt::format("{:02x}", byte);
  return text;
}

std::optional<std::string> read_fingerprint(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos)
    return std::nullopt;
  text.remove_prefix(begin);
  text = text.substr(0, text.find_first_of(" \t\r\n"));
  if (text.starts_with(prefix))
    text.remove_prefix(prefix.size());
  std::string found{prefix};
  for (const char c : text) {
    if (c == ':')
      continue;
    if (c >= 'A' && c <= 'F')
      found += static_cast<char>(c - 'A' + 'a');
    else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))
      found += c;
    else
      return std::nullopt;
  }
  if (found.size() != prefix.size() + digits)
    return std::nullopt;
  return found;
}

} // namespace troupe::nodes
