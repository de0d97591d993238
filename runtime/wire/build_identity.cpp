// SPDX-License-Identifier: MIT
#include "wire/build_identity.hpp"

#include "troupe/detail/wire/names.hpp"
#include "troupe/error.hpp"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <elf.h>
#include <link.h>
#include <memory>
#include <span>
#include <system_error>
#include <unistd.h>

namespace troupe::wire {

namespace {

std::string hex(std::span<const unsigned char> bytes) {
  std::string text;
  for (const auto byte : bytes)
    text += fmt::format("{:02x}", byte);
  return text;
}

/// The build id among the notes of a segment, or nothing.
std::string find_build_id(const unsigned char* at, std::size_t size) {
  while (size >= sizeof(ElfW(Nhdr))) {
    ElfW(Nhdr) note;
    std::memcpy(&note, at, sizeof(note));
    const auto padded = [](std::size_t n) { return (n + 3) & ~std::size_t{3}; };
    const auto name = sizeof(note);
    const auto text = name + padded(note.n_namesz);
    const auto next = text + padded(note.n_descsz);
    if (next > size)
      break;
    if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4
        && std::memcmp(at + name, "GNU", 4) == 0)
      return hex({at + text, note.n_descsz});
    at += next;
    size -= next;
  }
  return {};
}

/// The first object that is listed is the executable.
int look_at_executable(dl_phdr_info* info, std::size_t, void* result) {
  auto& text = *static_cast<std::string*>(result);
  for (int i = 0; i < info->dlpi_phnum && text.empty(); ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type == PT_NOTE)
      text = find_build_id(reinterpret_cast<const unsigned char*>(
                             info->dlpi_addr + segment.p_vaddr),
                           segment.p_memsz);
  }
  return 1;
}

std::string hash_of_file() {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{
    std::fopen("/proc/self/exe", "rb"), &std::fclose};
  if (!file)
    throw std::system_error{errno, std::generic_category(),
                            "reading this executable to name its build"};
  // Two hashes of 64 bits: nobody attacks this, so FNV is enough.
  std::uint64_t a = 0xcbf29ce484222325;
  std::uint64_t b = 0x84222325cbf29ce4;
  std::array<unsigned char, 65536> block{};
  for (;;) {
    const auto got = std::fread(block.data(), 1, block.size(), file.get());
    for (std::size_t i = 0; i != got; ++i) {
      a = (a ^ block[i]) * 0x100000001b3;
      b = (b + block[i]) * 0x9e3779b97f4a7c15;
    }
    if (got < block.size())
      break;
  }
  return fmt::format("file:{:016x}{:016x}", a, b);
}

} // namespace

const std::string& build_identity() {
  static const std::string identity = [] {
    std::string text;
    dl_iterate_phdr(&look_at_executable, &text);
    return text.empty() ? hash_of_file() : text;
  }();
  return identity;
}

hello make_hello(std::uint64_t incarnation) {
  return {.build = build_identity(),
          .names = name_table::get().fingerprint(),
          .pid = static_cast<std::uint64_t>(::getpid()),
          .incarnation = incarnation};
}

void check_hello(const hello& ours, const hello& theirs) {
  if (theirs.protocol != ours.protocol)
    throw wrong_build{fmt::format(
      "the peer speaks protocol {}, this program {}: build {}, ours {}",
      theirs.protocol, ours.protocol, theirs.build, ours.build)};
  if (theirs.build != ours.build)
    throw wrong_build{
      fmt::format("the peer runs build {}, this program is build {}: start the "
                  "same executable on both sides",
                  theirs.build, ours.build)};
  if (theirs.names != ours.names)
    throw wrong_build{fmt::format(
      "the peer has other tasks and methods ({:016x}, ours {:016x}) though it "
      "is of our build {}: do its shared libraries differ?",
      theirs.names, ours.names, ours.build)};
}

} // namespace troupe::wire
