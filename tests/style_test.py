#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The house rules that a machine can check.

usage: style_test.py SOURCE_ROOT

Faults fail the test; files and functions over the soft caps are only named.
"""

import pathlib
import re
import subprocess
import sys

CODE = {".hpp", ".cpp"}
SPDX = {".hpp", ".cpp", ".py", ".sh", ".build"}
TEXT = SPDX | {".md", ".txt", ".in", ".supp", ""}
COLUMNS_MAX = 80
SOFT_CAPS_LINES = {".hpp": 250, ".cpp": 400}
BANNED_STEMS = {"utils", "util", "common", "manager", "helpers", "misc"}

# Whose headers a room may include; observe is seen by all, sees only sched.
ROOMS = {
    "sched": {"sched", "observe"},
    "core": {"core", "sched", "observe"},
    "wire": {"wire", "core", "sched", "observe"},
    "process": {"process", "wire", "core", "sched", "observe"},
    "node": {"node", "wire", "core", "sched", "observe"},
    "observe": {"observe", "sched"},
}

UMBRELLA = pathlib.Path("runtime/troupe/troupe.hpp") # names every header

INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
TODO = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
GOOD_TODO = re.compile(r"\bTODO\((?:perf|port|test)\): \S")
PRIVATE_PATH = re.compile(r"(?<![\w.}])/(?:home|root|Users|work|farm)/\w")
SLEEP = re.compile(r"\b(?:sleep_for|sleep_until|usleep|nanosleep)\s*\(")


def tracked(root):
    """The files that are, or would be, in the repository."""
    try:
        listed = subprocess.run(
            ["git", "-C", root, "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"], stdout=subprocess.PIPE, check=True)
        names = filter(None, listed.stdout.decode().split("\0"))
        return [p for p in sorted(set(map(pathlib.Path, names)))
                if (root / p).is_file()]
    except (FileNotFoundError, subprocess.CalledProcessError):
        pass
    # No git, or an unpacked archive: all but the build trees.
    return [p.relative_to(root) for p in sorted(root.rglob("*"))
            if p.is_file() and not p.relative_to(root).parts[0].startswith(
                ("build", ".git"))]


def include_fault(path, target, quoted, public):
    """Why `path` must not include `target`, or None."""
    room, parts = path.parts[0], pathlib.PurePath(target).parts
    if target.startswith("troupe/"):
        if target not in public:
            return f"{target} is no public header"
        if (room == "runtime" and public[target] == "actors"
                and path != UMBRELLA):
            return f"runtime does not know actors ({target})"
        if (room in ("apps", "actors") and parts[1] == "detail"
                and public[target] != room):
            return f"{room} use what users may use, not {target}"
        if room in ("runtime", "actors") and not quoted:
            return f"<{target}> is for users; inside it is \"{target}\""
        return None
    if not quoted:
        internal = parts[0] in ROOMS
        return f"<{target}> is ours: quote it" if internal else None
    if target.startswith("."):
        return f"{target}: includes start at a root"
    if parts[0] not in ROOMS:
        # A neighbour: apps and tests bring small headers of their own.
        return None
    if room in ("apps", "actors"):
        return f"{room} use public headers only, not {target}"
    if is_installed(path):
        return f"a public header cannot bring {target}: it is not installed"
    if room != "runtime":
        return None
    own = path.parts[1]
    if own in ROOMS and parts[0] not in ROOMS[own]:
        return f"{own} must not see {parts[0]} ({target})"
    return None


def is_installed(path):
    return (path.parts[0] in ("runtime", "actors")
            and path.parts[1] == "troupe" and path.suffix == ".hpp")


def public_headers(files):
    """"troupe/x.hpp" -> the room that it stands in."""
    return {p.relative_to(p.parts[0]).as_posix(): p.parts[0]
            for p in files if is_installed(p)}


def path_faults(path, build_files):
    if path.stem.lower() in BANNED_STEMS:
        yield "a room is a noun: this name says nothing"
    built = (path.parts[0] in ("runtime", "actors", "apps")
             and path.suffix == ".cpp"
             or is_installed(path)
             or path.match("tests/*_test.cpp"))
    if built and not any(build.parent / name == path
                         for build, names in build_files.items()
                         for name in names):
        yield "is in no meson.build"


def sources_in(build_file):
    """The sources that a meson.build names; a test is named by its stem."""
    names = set(re.findall(r"'([^'\s]+)'", build_file.read_text()))
    return names | {name + "_test.cpp" for name in names}


def line_faults(path, number, line, public):
    if path.suffix in SPDX and len(line) > COLUMNS_MAX:
        yield f"{len(line)} columns"
    if line != line.rstrip():
        yield "blanks at the end"
    if path.suffix in SPDX and path.name != "style_test.py":
        if TODO.search(line) and not GOOD_TODO.search(line):
            yield "write TODO(perf|port|test): reason"
    if PRIVATE_PATH.search(line):
        yield "a path of somebody's machine"
    if path.suffix not in CODE:
        return
    if path.parts[0] == "tests" and SLEEP.search(line):
        if "// sleeps:" not in line:
            yield "tests do not sleep; if it is the thing tested: // sleeps:"
    if match := INCLUDE.match(line):
        fault = include_fault(path, match[2], match[1] == '"', public)
        if fault:
            yield fault


NAMED = re.compile(r"`(?:(\w+)/(\w+)/(\w+|\*)|(\w+\.py): ([^`]+))`")
SUITE = re.compile(r"BOOST_AUTO_TEST_SUITE\((\w+)\)(.*?)"
                   r"BOOST_AUTO_TEST_SUITE_END", re.S)
CASE = re.compile(r"BOOST_(?:AUTO|FIXTURE)_TEST_CASE\(\s*(\w+)")


def unshown(root):
    """What tests/README.md promises and no test is named for."""
    page = (root / "tests/README.md").read_text()
    for line in page.splitlines():
        is_row = line.startswith("| ") and not line.endswith("| --- |")
        if is_row and "shown by" not in line and not NAMED.search(line):
            yield f"tests/README.md: names no test: {line}"
    for name, suite, case, script, sentence in NAMED.findall(page):
        path = root / "tests" / (script or f"{name}_test.cpp")
        text = path.read_text() if path.is_file() else ""
        if script:
            known = sentence in text
        else:
            cases = {c for n, body in SUITE.findall(text) if n == suite
                     for c in CASE.findall(body)}
            known = bool(cases) if case == "*" else case in cases
        if not known:
            what = sentence or f"{name}/{suite}/{case}"
            yield f"tests/README.md: there is no {what}"


def check(root):
    files = tracked(root)
    public = public_headers(files)
    build_files = {p: sources_in(root / p) for p in files
                   if p.name == "meson.build"}
    faults, notes = [], []
    for path in files:
        faults += [f"{path}: {f}" for f in path_faults(path, build_files)]
        if path.suffix not in TEXT:
            continue
        try:
            text = (root / path).read_text()
        except UnicodeDecodeError:
            continue
        lines = text.split("\n")
        if path.suffix in SPDX and not any(
                "SPDX-License-Identifier: MIT" in l for l in lines[:3]):
            faults.append(f"{path}:1: no SPDX line")
        if text and not text.endswith("\n"):
            faults.append(f"{path}: no newline at the end")
        for number, line in enumerate(lines, 1):
            faults += [f"{path}:{number}: {f}"
                       for f in line_faults(path, number, line, public)]
        cap = SOFT_CAPS_LINES.get(path.suffix)
        if cap and len(lines) - 1 > cap:
            notes.append(f"{path}: {len(lines) - 1} lines ({cap})")
    return faults + list(unshown(root)), notes


def main():
    faults, notes = check(pathlib.Path(sys.argv[1]).resolve())
    for note in notes:
        print("note: over the soft cap:", note)
    for fault in faults:
        print(fault)
    print(f"{len(faults)} faults, {len(notes)} notes")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
