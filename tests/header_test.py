#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A public header compiles alone, and only caf.hpp pulls in CAF.

usage: header_test.py HEADER -- COMPILER [FLAGS...]
"""

import pathlib
import subprocess
import sys
import tempfile

MAY_INCLUDE_CAF = {"caf.hpp"}


def caf_headers(depfile):
    words = depfile.read_text().replace("\\\n", " ").split()
    return [w for w in words if "/caf/" in w and not w.endswith(".cpp")]


def main():
    header = pathlib.Path(sys.argv[1])
    compiler = sys.argv[sys.argv.index("--") + 1:]
    with tempfile.TemporaryDirectory(prefix="troupe-header-") as tmp:
        unit = pathlib.Path(tmp) / "alone.cpp"
        deps = pathlib.Path(tmp) / "alone.d"
        # Twice: the guard must hold.
        inside = header.as_posix().rpartition("/troupe/")[2]
        line = f"#include <troupe/{inside}>\n"
        unit.write_text(line + line + "int main() {}\n")
        done = subprocess.run(
            compiler + ["-Werror", "-fsyntax-only", "-MD", "-MF", deps, unit])
        if done.returncode != 0:
            print(f"{header.name} does not compile alone")
            return 1
        caf = caf_headers(deps)
        if caf and header.name not in MAY_INCLUDE_CAF:
            print(f"{header.name} pulls in CAF: {' '.join(caf[:3])} ...")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
