// SPDX-License-Identifier: MIT
// run: the frame of a program.
//
//   int main(int argc, char** argv) {
//     return troupe::run(argc, argv, [](troupe::system& sys) { ... });
//   }
//
// It reads Troupe's options out of the command line and the environment, makes
// the system, calls the function, and stops in order.
// Signals: SIGINT and SIGTERM drain (stop_deadline), then end the program with
//          130 or 143; a second one kills at once (the same one within 100 ms
//          is not a second one: GNU timeout sends two). One thread owns them
//          (signalfd); threads that were started before `run` keep theirs.
// Result:  what the function returns (0 for void); 1 after an exception, which
//          is printed; 2 for a bad option. 1 instead of 0 if what was printed
//          to stdout could not be written.
// Files:   descriptors 0 to 2 that are closed at the start become /dev/null.
#pragma once

#include <span>
#include <type_traits>

#include "troupe/system.hpp"

namespace troupe {

namespace detail {

struct program {
  virtual int call(system& sys, std::span<char*> args) = 0;

protected:
  ~program() = default;
};

int run_program(int argc, char** argv, options opts, program& p);
int run_program(int argc, char** argv, program& p);

template <class F>
struct program_of final : program {
  F& f;
  explicit program_of(F& fn) : f(fn) {}

  int call(system& sys, std::span<char*> args) override {
    if constexpr (std::is_invocable_v<F&, system&, std::span<char*>>)
      return status_of([&]() -> decltype(auto) { return f(sys, args); });
    else
      return status_of([&]() -> decltype(auto) { return f(sys); });
  }

private:
  template <class G>
  static int status_of(G g) {
    if constexpr (std::is_void_v<decltype(g())>) {
      g();
      return 0;
    } else {
      return static_cast<int>(g());
    }
  }
};

} // namespace detail

/// Runs `f(system&)` or `f(system&, std::span<char*>)`; the span holds the
/// arguments that are not Troupe's, the program's name first.
template <class F>
int run(int argc, char** argv, options opts, F&& f) {
  detail::program_of<std::remove_reference_t<F>> program{f};
  return detail::run_program(argc, argv, std::move(opts), program);
}

template <class F>
int run(int argc, char** argv, F&& f) {
  detail::program_of<std::remove_reference_t<F>> program{f};
  return detail::run_program(argc, argv, program);
}

} // namespace troupe
