#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds each *_fuzz.cpp with clang's libFuzzer, ASan and UBSan and runs it.

usage: run.py [--seconds N] [--jobs N] [--build DIR] [--library FILE] [--keep]
              [NAME...]

Each run starts from corpus/NAME and from what is found on the way, which is
thrown away; --keep adds the smallest set that reaches as much to corpus/NAME.
A find is written to DIR/NAME.crash-*, and the exit code is 1. Without a clang
that has libFuzzer the exit code is 77 (skipped). TROUPE_SEED=N repeats a run,
FUZZ_SECONDS=N says how long where --seconds doesn't (else 5 s each).
"""

import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FLAGS = ["-std=c++20", "-O1", "-g", "-fno-omit-frame-pointer",
         "-fsanitize=fuzzer,address,undefined",
         # It compares type names by address; those of libcaf are others.
         "-fno-sanitize=vptr", "-fno-sanitize-recover=undefined",
         "-DSPDLOG_SHARED_LIB", "-DSPDLOG_COMPILED_LIB",
         "-DSPDLOG_FMT_EXTERNAL",
         f"-I{ROOT / 'runtime'}", f"-I{ROOT / 'tests'}"]
KEPT_INPUTS = 32  # of each target, about
LIBRARIES = ["-lcaf_core", "-lspdlog", "-lfmt", "-lssl", "-lcrypto", "-ldl",
             "-pthread"]
# What the fuzzer and the sanitizers look into: the decoders, and of an actor
# what owns memory. All else that an actor needs is the library's, as built.
WATCHED = ["wire/*.cpp", "core/cell.cpp", "core/mailbox.cpp",
           "core/memory.cpp", "core/remote.cpp", "core/state.cpp",
           "process/channel.cpp", "process/child.cpp",
           "process/descriptors.cpp", "node/keys.cpp", "node/places.cpp",
           "node/pool*.cpp", "node/session.cpp"]
SOURCES = sorted(p for pattern in WATCHED
                 for p in (ROOT / "runtime").glob(pattern))


def find_clang(build):
    """The command of a clang++ that links libFuzzer, or None."""
    probe = build / "probe.cpp"
    probe.write_text('#include <cstdint>\n#include <cstddef>\n'
                     'extern "C" int LLVMFuzzerTestOneInput('
                     'const std::uint8_t*, std::size_t) { return 0; }\n')
    names = [os.environ.get("FUZZ_CXX", ""), "clang++"]
    names += [f"clang++-{n}" for n in range(30, 13, -1)]
    for name in filter(shutil.which, filter(None, names)):
        done = subprocess.run(
            [name, *FLAGS, probe, "-o", build / "probe"], check=False,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode == 0:
            cache = ["ccache"] if shutil.which("ccache") else []
            return [*cache, name]
    return None


def run(command):
    """Runs a step of the build; its text is shown if it fails."""
    done = subprocess.run(command, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}")


def newest_header():
    return max(p.stat().st_mtime for root in ("runtime", "tests")
               for p in (ROOT / root).rglob("*.hpp"))


def build_with(clang, target, sources, extra=()):
    """Builds `target` if one of its sources or a header is newer."""
    newest = max([newest_header(), *(s.stat().st_mtime for s in sources)])
    if not target.exists() or target.stat().st_mtime < newest:
        run([*clang, *FLAGS, *sources, *extra, "-o", target])


def fuzz(name, program, args, seed):
    """Returns (name, ok, the lines worth reading)."""
    corpus = HERE / "corpus" / name
    with tempfile.TemporaryDirectory() as found:
        command = [program, f"-max_total_time={args.seconds}",
                   f"-seed={seed}", "-max_len=4096", "-timeout=10",
                   "-rss_limit_mb=1024", "-malloc_limit_mb=256",
                   "-print_final_stats=1",
                   f"-artifact_prefix={args.build}/{name}.", found]
        if corpus.is_dir():
            command.append(corpus)
        # Less of what was freed is kept: its peak is what the input took.
        env = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=64"}
        done = subprocess.run(command, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=env,
                              errors="replace", check=False)
        ok = done.returncode == 0
        if ok and args.keep:
            merged = pathlib.Path(args.build) / f"{name}.corpus"
            shutil.rmtree(merged, ignore_errors=True)
            merged.mkdir()
            inputs = [merged, found] + ([corpus] if corpus.is_dir() else [])
            run([program, "-merge=1", "-max_len=4096", *inputs])
            shutil.rmtree(corpus, ignore_errors=True)
            corpus.mkdir()
            kept = sorted(merged.iterdir(), key=lambda p: p.stat().st_size)
            for path in kept[::max(1, len(kept) // KEPT_INPUTS)]:
                shutil.copy(path, corpus / (path.stem + ".bin"))
    lines = done.stdout.splitlines()
    if not ok:
        return name, ok, lines[-60:]
    runs = [line.split()[-1] for line in lines
            if "number_of_executed_units" in line]
    peak = [line.split()[-1] for line in lines if "peak_rss_mb" in line]
    return name, ok, [f"{name}: {runs[0] if runs else '?'} inputs, "
                      f"peak {peak[0] if peak else '?'} MiB, seed {seed}"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int,
                        default=int(os.environ.get("FUZZ_SECONDS", "5")))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--build", default="build/fuzz")
    parser.add_argument("--library", dest="linked", type=pathlib.Path,
                        default=ROOT / "build/libtroupe.a")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    build = pathlib.Path(args.build).resolve()
    build.mkdir(parents=True, exist_ok=True)
    args.build = build
    clang = find_clang(build)
    if clang is None:
        print("skipped: no clang++ with libFuzzer here")
        return 77
    seed = int(os.environ.get("TROUPE_SEED", "0"), 0)
    seed = seed % 2**32 or random.randrange(1, 2**32)
    names = args.names or sorted(p.name.removesuffix("_fuzz.cpp")
                                 for p in HERE.glob("*_fuzz.cpp"))
    objects = [build / f"{source.parent.name}_{source.stem}.o"
               for source in SOURCES]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        list(pool.map(
            lambda so: build_with(clang, so[1], [so[0]], ["-c"]),
            zip(SOURCES, objects)))
        list(pool.map(
            lambda n: build_with(clang, build / f"{n}_fuzz",
                                 [HERE / f"{n}_fuzz.cpp", *objects,
                                  args.linked],
                                 LIBRARIES), names))
        results = list(pool.map(
            lambda n: fuzz(n, build / f"{n}_fuzz", args, seed), names))
    for name, ok, lines in results:
        print("\n".join(lines))
        if not ok:
            print(f"{name}: FAILED, seed {seed}")
    failed = sum(not ok for _, ok, _ in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
