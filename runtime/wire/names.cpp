// SPDX-License-Identifier: MIT
#include "troupe/detail/wire/names.hpp"

#include "troupe/error.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

namespace troupe::wire {

namespace {

/// All entries, last first. Constant-initialised, so that it is there before
/// the first static initialiser runs.
constinit std::atomic<entry*> list_head{nullptr};

constexpr std::uint64_t fnv_basis = 0xcbf29ce484222325;

constexpr std::uint64_t fnv(std::string_view text, std::uint64_t hash) {
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

/// Where an entry lies: the same in each process of one executable, wherever
/// that is loaded.
struct place {
  std::string_view module;
  std::uintptr_t offset = 0;

  explicit place(const entry* e) : offset(reinterpret_cast<std::uintptr_t>(e)) {
    Dl_info info{};
    if (dladdr(e, &info) == 0 || info.dli_fbase == nullptr)
      return;
    module = info.dli_fname;
    offset -= reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  }
  friend auto operator<=>(const place&, const place&) = default;
};

void replace_all(std::string& text, std::string_view from,
                 std::string_view to) {
  for (auto at = text.find(from); at != std::string::npos;
       at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

/// Puts X in the place of `opening` X `>`, and of `opening` (X) `>`.
void unwrap(std::string& text, std::string_view opening) {
  const auto at = text.find(opening);
  if (at == std::string::npos)
    return;
  auto depth = 1;
  auto end = at + opening.size();
  for (; end < text.size(); ++end) {
    const bool arrow = text[end] == '>' && text[end - 1] == '-';
    depth += text[end] == '<' ? 1 : text[end] == '>' && !arrow ? -1 : 0;
    if (depth == 0)
      break;
  }
  auto inner = text.substr(at + opening.size(), end - at - opening.size());
  if (inner.starts_with('(') && inner.ends_with(')')
      && !inner.starts_with("(anonymous"))
    inner = inner.substr(1, inner.size() - 2);
  text.replace(at, end + 1 - at, inner);
}

std::string demangle(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text{
    abi::__cxa_demangle(mangled, nullptr, nullptr, &status), &std::free};
  return status == 0 ? text.get() : mangled;
}

} // namespace

std::string_view to_string(entry_kind kind) noexcept {
  switch (kind) {
    case entry_kind::task:
      return "task";
    case entry_kind::method:
      return "method";
    case entry_kind::actor:
      return "actor";
  }
  return "entry";
}

entry::entry(entry_kind kind, const std::type_info& named, thunk run,
             std::string_view label) noexcept
  : named_(named),
    label_(label),
    run_(run),
    next_(list_head.load(std::memory_order_relaxed)),
    kind_(kind) {
  while (!list_head.compare_exchange_weak(
    next_, this, std::memory_order_release, std::memory_order_relaxed)) {}
}

entry_id entry::id() const {
  name_table::get();
  if (id_ == 0)
    throw bad_argument{fmt::format(
      "{} {} comes from a library that was loaded after main began: other "
      "processes don't know it",
      to_string(kind_), name())};
  return id_;
}

std::string entry::name() const {
  if (!label_.empty())
    return std::string{label_};
  auto text = demangle(named_.name());
  // "troupe::wire::task_thunk<troupe::fn_t<&(square(int))>, int>"
  if (const auto at = text.find("_thunk<"); at != std::string::npos) {
    text.erase(0, at + std::strlen("_thunk<"));
    if (text.ends_with('>'))
      text.pop_back();
  }
  unwrap(text, "troupe::fn_t<&");
  if (text.starts_with("&(") && text.ends_with(')'))
    text = text.substr(2, text.size() - 3);
  replace_all(text,
              "std::__cxx11::basic_string<char, std::char_traits<char>, "
              "std::allocator<char> >",
              "std::string");
  return text;
}

// -- the table ----------------------------------------------------------------

name_table::name_table() {
  struct named {
    std::string_view name;
    const entry* item;
  };
  std::vector<named> all;
  for (auto* e = list_head.load(std::memory_order_acquire); e != nullptr;
       e = e->next_)
    all.push_back({e->named_.name(), e});
  std::sort(all.begin(), all.end(), [](const named& a, const named& b) {
    const auto kinds = std::tuple{a.name, a.item->kind_};
    const auto other = std::tuple{b.name, b.item->kind_};
    if (kinds != other)
      return kinds < other;
    return place{a.item} < place{b.item};
  });

  unsigned ordinal = 0;
  for (std::size_t i = 0; i != all.size(); ++i) {
    const auto& [name, item] = all[i];
    const bool again = i != 0 && all[i - 1].name == name
                       && all[i - 1].item->kind_ == item->kind_;
    ordinal = again ? ordinal + 1 : 0;
    auto id = fnv(name, fnv_basis + static_cast<unsigned>(item->kind_));
    if (ordinal != 0)
      id = fnv(fmt::format("#{}", ordinal), id);
    item->id_ = id == 0 ? 1 : id;
  }

  std::vector<const entry*> sorted;
  sorted.reserve(all.size());
  for (const auto& n : all)
    sorted.push_back(n.item);
  // By id, and by name where two names have one hash: then the later moves up.
  // The order is the same everywhere, so the outcome is too.
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) {
    if (a->id_ != b->id_)
      return a->id_ < b->id_;
    return std::string_view{a->named_.name()} < b->named_.name();
  });
  for (std::size_t i = 1; i < sorted.size(); ++i)
    if (sorted[i]->id_ <= sorted[i - 1]->id_)
      sorted[i]->id_ = sorted[i - 1]->id_ + 1;

  fingerprint_ = fnv_basis;
  for (const auto* e : sorted)
    fingerprint_ = fnv(e->named_.name(), fingerprint_ ^ e->id_);
  entries_ = std::move(sorted);
}

const name_table& name_table::get() {
  static const name_table table;
  return table;
}

const entry& name_table::find(entry_kind kind, entry_id id) const {
  const auto all = entries();
  const auto at = std::lower_bound(
    all.begin(), all.end(), id,
    [](const entry* e, entry_id wanted) { return e->id_ < wanted; });
  if (at == all.end() || (*at)->id_ != id)
    throw decode_error{
      fmt::format("no {} of this program has the id {:016x}: it was never "
                  "named in the code",
                  to_string(kind), id)};
  if ((*at)->kind_ != kind)
    throw decode_error{fmt::format("{:016x} is the {} {}, not a {}", id,
                                   to_string((*at)->kind_), (*at)->name(),
                                   to_string(kind))};
  return **at;
}

} // namespace troupe::wire
