#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counts the results in Meson's testlog.json: `N passed, N failed`.

Exit code 1 when a test failed, or when none ran.

usage: count.py TESTLOG_JSON
"""

import collections
import json
import sys

PASSED = {"OK", "EXPECTEDFAIL"}


def count(lines):
    kinds = collections.Counter()
    for line in lines:
        result = json.loads(line)["result"]
        kind = ("passed" if result in PASSED
                else "skipped" if result == "SKIP" else "failed")
        kinds[kind] += 1
    return kinds


def main():
    try:
        with open(sys.argv[1]) as log:
            kinds = count(log)
    except FileNotFoundError:
        kinds = collections.Counter(failed=1)
        print("no test ran", file=sys.stderr)
    skipped = f", {kinds['skipped']} skipped" if kinds["skipped"] else ""
    print(f"{kinds['passed']} passed, {kinds['failed']} failed{skipped}")
    return 1 if kinds["failed"] or not kinds["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
