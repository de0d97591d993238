#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each app runs with small arguments; output and exit code are what it says.

usage: apps_test.py SOURCE_ROOT APPS_DIR
"""

import math
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile

SECONDS_MAX = 30
ROOT, APPS = map(pathlib.Path, sys.argv[1:3])
faults = []


def expect(what, condition, text=""):
    print(("ok      " if condition else "FAULT   ") + what, flush=True)
    if not condition:
        faults.append(what)
        print(text)


def run(name, *args):
    done = subprocess.run([APPS / name, *args], text=True, timeout=SECONDS_MAX,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    return done.returncode, done.stdout, done.stderr


def hello():
    code, out, err = run("hello")
    expect("hello ends with 0 and has nothing to say",
           (code, out, err) == (0, "", ""), out + err)
    code, out, err = run("hello", "--nonsense")
    expect("hello refuses what it does not know with exit code 2",
           code == 2 and not out and "--nonsense" in err, out + err)


def factorial():
    code, out, err = run("factorial", "--runs", "3")
    rows = dict(re.findall(r"(\d+)! = (\d+)", out))
    expect("factorial pairs 1 to 10 with their results",
           code == 0 and rows == {str(n): str(math.factorial(n))
                                  for n in range(1, 11)}, out + err)
    expect("factorial names a pool of 4, its threads and one process",
           re.search(r"pool of 4: \d+ threads? of it had a task:( \d+){1,4}; "
                     r"1 process: \d+", out), out)
    expect("factorial compares medians and says which won",
           re.search(r"median of 3 runs: pool [\d.]+ us, in sequence [\d.]+ us"
                     r"\nthe pool is [\d.]+ times (SLOWER|faster)", out), out)
    code, out, err = run("factorial", "--full", "--runs", "1", "21", "100", "0")
    rows = dict(re.findall(r"(\d+)! = (\d+)", out))
    expect("factorial is exact past 64 bits",
           rows == {str(n): str(math.factorial(n)) for n in (0, 21, 100)}, out)
    for bad in ("-1", "x", "1.5", "100001"):
        code, out, err = run("factorial", "--", bad)
        expect(f"factorial refuses {bad} with exit code 2",
               code == 2 and not out and bad in err, out + err)
    code, out, err = run("factorial", "-3")
    expect("factorial refuses -3 without --, too", code == 2, out + err)
    code, out, err = run("factorial", "--workers", "0")
    expect("factorial refuses a pool of 0", code == 2 and "workers" in err, err)


def tour():
    code, out, err = run("tour", "--fast")
    expect("tour ends with 0 and says nothing to stderr",
           code == 0 and not err, out + err)
    for said in ("a thousand times: 4000", "took 30", "only 70 left",
                 "withdrew 40 of 80", "dead letters: 2", "7 * 7 = 49",
                 "24 120 720 5040 40320 362880 3628800",
                 "shutdown:", "sleeper", "nap",
                 "1 + 4 + 9 + 16 = 30", "came out: 1 2 3",
                 "the new one begins at 0", "encrypted connection: 60",
                 "1 + 4 + 9 + ... + 10000 = 338350",
                 "and the account: 127.0.0.1:", "running  counter#",
                 "counter::crash: std::runtime_error: out of luck",
                 "moved 4000, in the bank: 100000 of 100000"):
        expect(f"tour shows '{said}'", said in out, out)
    link = r"friendly#\d+\.ask<.*%s> -> "
    expect("tour names the cycle of the deadlock",
           re.search(link % "years" + link % "greet_back" + r"friendly#\d+",
                     out), out)
    code, out, err = run("tour", "--list")
    parts = [line.split()[0] for line in out.splitlines()]
    expect("tour lists its parts", code == 0 and len(parts) >= 8, out)
    code, out, err = run("tour", "--fast", parts[1])
    expect("tour shows one part alone", code == 0 and "[1/1]" in out, out)
    code, out, err = run("tour", "nonsense")
    expect("tour refuses an unknown part", code == 2 and "nonsense" in err, err)
    source = (ROOT / "apps/tour.cpp").read_text()
    code_only = " ".join(re.sub(r'R"\(.*?\)"', "", source, flags=re.S).split())
    for shown in re.findall(r'R"\((.*?)\)"', source, re.S):
        for line in shown.strip().splitlines():
            expect(f"tour runs what it shows: {line.strip()}",
                   " ".join(line.split()) in code_only)


def remote_counter():
    """The two terminals of the README, on a port that is free."""
    with tempfile.TemporaryDirectory() as home:
        env = dict(os.environ, TROUPE_KEYS=home + "/keys")
        app = APPS / "remote_counter"

        def keys(*args):
            return subprocess.run([app, "keys", *args], env=env, text=True,
                                  timeout=SECONDS_MAX, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE)

        node = subprocess.run([app, "node", "--listen", "127.0.0.1:0"], env=env,
                              text=True, timeout=SECONDS_MAX,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect("a node without keys says how to make them",
               node.returncode == 1 and "keys new" in node.stderr, node.stderr)
        made = keys("new")
        expect("keys new prints the fingerprint",
               re.fullmatch("sha256:[0-9a-f]{64}\n", made.stdout), made.stderr)
        expect("keys show says who is let in",
               made.stdout.strip() in keys("show").stdout.split("\n")[2])
        expect("keys new keeps what is there", keys("new").returncode == 2)
        expect("keys allow refuses what is no fingerprint",
               keys("allow", "nonsense").returncode == 2)
        node = subprocess.Popen([app, "node", "--listen", "127.0.0.1:0"],
                                env=env, text=True, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL)
        try:
            where = node.stdout.readline().split()[-1]
            done = subprocess.run([app, "--node", where], env=env, text=True,
                                  timeout=SECONDS_MAX, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT)
            expect("remote_counter counts to 1000 in another process",
                   done.returncode == 0 and done.stdout
                   == "counted to 1000 in another process: yes\n", done.stdout)
        finally:
            node.terminate()
            code = node.wait(SECONDS_MAX)
        expect("a node ends in order when it is told to",
               code == 128 + signal.SIGTERM, str(code))
        done = subprocess.run([app, "--node", where], env=env, text=True,
                              timeout=SECONDS_MAX, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        expect("remote_counter says that nobody is there",
               done.returncode == 1 and "node_lost" in done.stderr,
               done.stderr)


def cluster_map():
    code, out, err = run("cluster_map", "--kill")
    expect("cluster_map draws the whole picture though a node was killed",
           code == 0 and out.rstrip().endswith("the picture is whole"),
           out + err)
    pid = re.search(r"-- process (\d+), node (\S+), was killed", out)
    expect("cluster_map says which node was killed and what it cost",
           pid and re.search(rf"node {pid[2]}: \d+ rows, (\d+) lost with it, "
                             r"gone", out)
           and re.search(r"(\d+) rows lost with their node, \1 drawn again",
                         out), out)
    expect("cluster_map shows the rows of the picture between",
           sum(len(line) == 76 for line in out.splitlines()) >= 28, out)
    for args in (("--local", "0"), ("--nodes", "nowhere"),
                 ("--nodes", "a:1", "--kill")):
        code, out, err = run("cluster_map", *args)
        expect(f"cluster_map refuses {' '.join(args)}",
               code in (1, 2) and err and not out, out + err)


def self_checking():
    """Those of what is shared and of what fails; meson runs them plainly."""
    for name, option, bad in (("bank", "--accounts", "0"),
                              ("bank", "--crash-percent", "51"),
                              ("philosophers", "--guests", "1"),
                              ("producer_consumer", "--consumers", "0"),
                              ("producer_consumer", "--capacity", "0"),
                              ("shared_list", "--items", "-1"),
                              ("shared_list", "--adders", "many"),
                              ("sharing", "--nonsense", "1"),
                              ("failures", "--nonsense", "1")):
        code, out, err = run(name, option, bad)
        expect(f"{name} refuses {option} {bad} with exit code 2",
               code == 2 and option.lstrip("-") in err, out + err)
    code, out, err = run("shared_list", "--items", "1000", "--adders", "3",
                         "--removers", "1")
    expect("shared_list times itself beside a lock",
           code == 0 and "actors" in out and "with a lock" in out
           and out.count("1000") >= 4 and out.count(" ms") == 2, out + err)
    code, out, err = run("bank", "--transfers", "50", "--seed", "7")
    expect("bank keeps its total over crashes",
           code == 0 and "transfers 400 of 400" in out
           and "total 1000000 of 1000000, seed 7: ok" in out
           and "crashes 0" not in out, out + err)
    code, out, err = run("failures")
    expect("failures lists the result that nobody looked at",
           code == 0 and "1 failed result that nobody looked at" in err
           and "worker::divide" in err, out + err)


def interrupted():
    for name, *args in (("bank", "--transfers", "1000000"),
                        ("philosophers", "--meals", "1000000")):
        program = subprocess.Popen([APPS / name, *args], text=True,
                                   stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        try:
            program.communicate(timeout=0.5)
        except subprocess.TimeoutExpired:
            pass
        program.send_signal(signal.SIGINT)
        try:
            out, err = program.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            program.kill()
            out, err = program.communicate()
        expect(f"{name} ends by ^C with 130", program.returncode == 130,
               f"{program.returncode} {out} {err}")


def opening_lines():
    for name in ("factorial", "hello", "tour"):
        source = (ROOT / f"apps/{name}.cpp").read_text()
        first = re.search(rf"^// ({name}: .*)$", source, re.M)[1]
        code, out, err = run(name, "--help")
        expect(f"{name} --help says what it teaches",
               code == 0 and first.rstrip(".") in " ".join(out.split())
               and "teaches" in out, out)


hello()
factorial()
tour()
remote_counter()
cluster_map()
self_checking()
interrupted()
opening_lines()
sys.exit(1 if faults else 0)
