#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What can't travel is refused by the compiler in one error with a reason.

usage: wire_refusal_test.py SOURCE_ROOT -- COMPILER [ARGS...]
"""

import subprocess
import sys

HEAD = """
#include "troupe/fn.hpp"
#include "troupe/sendable.hpp"
#include <functional>
#include <string_view>
template <class F, class... Args>
auto submit(F, Args...) { return troupe::wire::task_entry<F, Args...>().id(); }
struct with_pointer { int* p; };
class closed_class { int x = 0; public: int get() const { return x; } };
class with_serialize {
public: template <class A> void serialize(A& a) { a(x); }
private: int x = 0;
};
int* pointer_of(int);
int take(int);
"""

TRAVEL = "this type can't travel to another process"

# Claim -> (the line of code, what the one error says).
REFUSED = {
    "a pointer": ("int n = 0; submit([](int*) {}, &n);", TRAVEL),
    "a struct with a pointer":
        ("submit([](with_pointer) {}, with_pointer{});", TRAVEL),
    "a std::function":
        ("submit([](std::function<void()>) {}, std::function<void()>{});",
         TRAVEL),
    "a class that says nothing":
        ("submit([](closed_class) {}, closed_class{});", TRAVEL),
    "a view that is kept":
        ("submit([](std::string_view) {}, std::string_view{});", TRAVEL),
    "a pointer as result": ("submit(troupe::fn<&pointer_of>, 1);", TRAVEL),
    "a lambda with captures":
        ("int n = 0; submit([n] { return n; });", "has no state"),
    "a function pointer": ("submit(&take, 1);", "has no state"),
    "arguments that do not fit":
        ("submit(troupe::fn<&take>, 1, 2);", "can't be called with these"),
    "serialize() without the header":
        ("submit([](with_serialize) {}, with_serialize{});",
         "#include <troupe/serialize.hpp>"),
}

ACCEPTED = "submit([](int x) { return x; }, 1); submit(troupe::fn<&take>, 2);"


def errors(command, line):
    """The errors that the compiler prints; none if it compiles."""
    done = subprocess.run(
        [*command, "-fsyntax-only", "-x", "c++", "-"], text=True,
        input=f"{HEAD}\nvoid test() {{ {line} }}\n",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 0:
        return []
    found = [text for text in done.stdout.splitlines() if "error:" in text]
    return found or [done.stdout]


def main():
    root, separator, *compiler = sys.argv[1:]
    assert separator == "--"
    command = [*compiler, f"-I{root}/runtime"]
    failed = 0
    unexpected = errors(command, ACCEPTED)
    if unexpected:
        failed += 1
        print("what can travel is refused:", *unexpected, sep="\n  ")
    for claim, (line, reason) in REFUSED.items():
        found = errors(command, line)
        distinct = {text.split("error:")[-1] for text in found}
        if len(distinct) != 1 or reason not in found[0]:
            failed += 1
            print(f"{claim}: wanted one error with \"{reason}\", found "
                  f"{len(found)}:", *(f[:300] for f in found), sep="\n  ")
    print(f"{len(REFUSED) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
