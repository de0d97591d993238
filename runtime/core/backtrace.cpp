// SPDX-License-Identifier: MIT
// backtrace: where an exception was thrown. The C++ runtime forgets it, so each
// throw inside of an actor or task notes its return addresses (about a
// microsecond); they are turned into text only when a failure is reported.
#include <boost/stacktrace.hpp>
#include <dlfcn.h>

#include "core/context.hpp"
#include "core/runtime.hpp"

namespace troupe::detail {

namespace {

constexpr std::size_t frames_max = 24;

struct noted {
  const void* frames[frames_max]{};
  std::size_t size = 0;
};

constinit thread_local noted last_throw;

void note_throw() noexcept {
  if (current.home == nullptr)
    return;
  last_throw.size = boost::stacktrace::safe_dump_to(2, last_throw.frames,
                                                    sizeof(last_throw.frames))
                    - 1;
}

} // namespace

std::string take_backtrace() {
  auto n = std::exchange(last_throw.size, 0);
  std::string text;
  for (std::size_t i = 0; i < n && i < frames_max; ++i) {
    if (last_throw.frames[i] == nullptr)
      break;
    boost::stacktrace::frame f{last_throw.frames[i]};
    auto name = f.name();
    if (name.find("troupe::detail::cell::") != std::string::npos)
      break; // below it is the runtime
    Dl_info where{};
    ::dladdr(last_throw.frames[i], &where);
    text += "    " + (name.empty() ? std::string{} : name + " in ")
            + (where.dli_fname == nullptr ? "?" : where.dli_fname);
    // For addr2line, where the program has no names for its own functions.
    char offset[32];
    std::snprintf(
      offset, sizeof(offset), "(+0x%zx)\n",
      static_cast<std::size_t>(static_cast<const char*>(last_throw.frames[i])
                               - static_cast<const char*>(where.dli_fbase)));
    text += offset;
  }
  if (!text.empty())
    text.pop_back();
  return text;
}

} // namespace troupe::detail

// Every throw comes by here on its way into the C++ runtime. (Compilers declare
// the real name in ways that differ, hence the label.)
extern "C" {
[[noreturn]] void troupe_throw(void* object, void* type,
                               void (*destroy)(void*)) asm("__cxa_throw");

[[gnu::visibility("default")]] void troupe_throw(void* object, void* type,
                                                 void (*destroy)(void*)) {
  using throw_function = void (*)(void*, void*, void (*)(void*));
  static auto next =
    reinterpret_cast<throw_function>(::dlsym(RTLD_NEXT, "__cxa_throw"));
  troupe::detail::note_throw();
  next(object, type, destroy);
  __builtin_unreachable();
}
}
