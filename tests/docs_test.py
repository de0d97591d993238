#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every program in a page is compiled and run, its output compared.

A program is a ```cpp block with `int main`. The HTML comment before it says
what running it must give:

    <!-- run: [exit=N] [arg ...]
    the expected standard output
    -->

`<!-- run: -->` expects exit code 0 and no output. A program without such a
comment is a failure: no example goes unchecked. A comment `<!-- file: PATH -->`
between the two says that the block is also the body of that file.

usage: docs_test.py BUILD_DIR PAGE...
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

RUN_SECONDS_MAX = 20

BLOCK = re.compile(
    r"(?:<!--\s*run:(?P<head>[^\n]*?)(?:\n(?P<want>.*?))?-->\s*\n)?"
    r"(?:<!--\s*file:\s*(?P<file>\S+)\s*-->\s*\n)?"
    r"```cpp\n(?P<code>.*?)```", re.S)


class Program:
    def __init__(self, page, text, match):
        self.where = f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}"
        self.code = match["code"]
        self.stated = match["head"] is not None
        self.want = match["want"] or ""
        self.file = match["file"]
        self.exit_code, self.args = 0, []
        for word in shlex.split(match["head"] or ""):
            if word.startswith("exit="):
                self.exit_code = int(word[len("exit="):])
            else:
                self.args.append(word)


def programs(page):
    text = page.read_text()
    found = (Program(page, text, m) for m in BLOCK.finditer(text))
    return [p for p in found if "int main" in p.code]


def flags(build_dir):
    env = dict(os.environ,
               PKG_CONFIG_PATH=str(build_dir / "meson-uninstalled"))
    return subprocess.run(
        ["pkg-config", "--cflags", "--libs", "troupe"], env=env, check=True,
        stdout=subprocess.PIPE, text=True).stdout.split()


def fault(program, root, tmp, link_flags):
    """What is wrong with a program, or None."""
    if not program.stated:
        return "has no <!-- run: --> comment before it"
    if program.file:
        body = (root / program.file).read_text()
        if program.code not in body:
            return f"differs from {program.file}"
    source, binary = tmp / "program.cpp", tmp / "program"
    source.write_text(program.code)
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    built = subprocess.run(
        [*compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror",
         str(source), "-o", str(binary), *link_flags])
    if built.returncode != 0:
        return "does not compile"
    try:
        done = subprocess.run(
            [str(binary), *program.args], timeout=RUN_SECONDS_MAX, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    except subprocess.TimeoutExpired:
        return f"still runs after {RUN_SECONDS_MAX} s"
    if done.returncode != program.exit_code:
        return f"exits {done.returncode}, not {program.exit_code}"
    if done.stdout.strip() != program.want.strip():
        return f"prints\n{done.stdout}instead of\n{program.want}"
    return None


def main():
    build_dir = pathlib.Path(sys.argv[1]).resolve()
    root = pathlib.Path(__file__).resolve().parent.parent
    link_flags = flags(build_dir)
    failed = 0
    for page in map(pathlib.Path, sys.argv[2:]):
        for program in programs(page):
            with tempfile.TemporaryDirectory(prefix="troupe-docs-") as tmp:
                wrong = fault(program, root, pathlib.Path(tmp), link_flags)
            print(f"{program.where}: {wrong or 'as stated'}", flush=True)
            failed += wrong is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
