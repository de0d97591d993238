#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""An installed Troupe serves a program outside this tree.

Installs into a temporary folder, then builds and runs tests/install/ against
it, once by pkg-config and once by CMake. Exit 77 (skipped): no cmake.

usage: install_test.py BUILD_DIR
"""

import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

CONSUMER = pathlib.Path(__file__).parent / "install"


def run(*command, **kwargs):
    print("+", shlex.join(str(c) for c in command), flush=True)
    return subprocess.run([str(c) for c in command], check=True, text=True,
                          **kwargs)


def one(root, name):
    """The one file of that name under root."""
    found = list(root.rglob(name))
    assert len(found) == 1, f"{len(found)} of {name} under {root}: {found}"
    return found[0]


def by_pkg_config(root, tmp):
    env = dict(os.environ, PKG_CONFIG_PATH=str(one(root, "troupe.pc").parent))
    flags = run("pkg-config", "--cflags", "--libs", "troupe", env=env,
                stdout=subprocess.PIPE).stdout.split()
    compiler = shlex.split(os.environ.get("CXX", "g++"))
    program = tmp / "by_pkg_config"
    run(*compiler, "-std=c++20", CONSUMER / "main.cpp", "-o", program, *flags)
    run(program)


def by_cmake(root, tmp):
    package = one(root, "TroupeConfig.cmake").parent
    build = tmp / "by_cmake"
    # A launcher such as ccache before the compiler is not CMake's business.
    compiler = shlex.split(os.environ.get("CXX", "g++"))[-1]
    run("cmake", "-G", "Ninja", "-S", CONSUMER, "-B", build,
        f"-DTroupe_DIR={package}", f"-DCMAKE_CXX_COMPILER={compiler}")
    run("cmake", "--build", build)
    run(build / "consumer")


def main():
    build_dir = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="troupe-install-") as name:
        tmp = pathlib.Path(name)
        root = tmp / "root"
        run("meson", "install", "-C", build_dir, "--no-rebuild", "--quiet",
            "--destdir", root)
        by_pkg_config(root, tmp)
        if not shutil.which("cmake"):
            print("skipped the CMake half: cmake is not there")
            return 77
        by_cmake(root, tmp)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"failed with {error.returncode}: "
                 f"{shlex.join(map(str, error.cmd))}")
