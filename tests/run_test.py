#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""troupe::run as a shell sees it: exit codes, messages, signals.

usage: run_test.py RUN_PROGRAM
"""

import os
import re
import signal
import subprocess
import sys
import time

PROGRAM = sys.argv[1]
SECONDS_MAX = 20
faults = []


def expect(what, condition, text=""):
    print(("ok      " if condition else "FAULT   ") + what, flush=True)
    if not condition:
        faults.append(what)
        print(text)


def run(*args, **env):
    done = subprocess.run([PROGRAM, *args], text=True, timeout=SECONDS_MAX,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, env={**os.environ, **env})
    return done.returncode, done.stdout, done.stderr


class Running:
    """A program that has said "ready"."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [PROGRAM, *args], text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout.readline() == "ready\n"
        self.began = time.monotonic()

    def signal(self, number):
        self.process.send_signal(number)

    def end(self):
        try:
            out, err = self.process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        return (self.process.returncode, out, err,
                time.monotonic() - self.began)


def exit_codes():
    expect("a function that returns 0 ends with 0, silently",
           run("nothing") == (0, "", ""))
    expect("the function's result is the exit code", run("three")[0] == 3)
    code, out, err = run("throw")
    expect("an exception ends with 1 and says type and text",
           code == 1 and "domain_error" in err and "no such luck" in err, err)
    code, out, err = run("odd")
    expect("whatever is thrown ends with 1 and its type",
           code == 1 and "int" in err, err)


def output():
    for what in ("print", "arguments"):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([PROGRAM, what], timeout=SECONDS_MAX,
                                  stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        expect(f"output that can't be written ends with 1 and says so ({what})",
               done.returncode == 1 and "could not be written" in done.stderr,
               f"{done.returncode}: {done.stderr}")
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([PROGRAM, "three"], timeout=SECONDS_MAX,
                              stdout=full, stderr=subprocess.PIPE, text=True)
    expect("who prints nothing does not mind", done.returncode == 3
           and not done.stderr, done.stderr)
    for closed in ("<&-", ">&-", "<&- >&-", "<&- >&- 2>&-"):
        done = subprocess.run(
            ["sh", "-c", f'"$0" descriptors {closed}', PROGRAM], text=True,
            timeout=SECONDS_MAX, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        expect(f"closed descriptors are /dev/null, there and in workers: "
               f"{closed}", done.returncode == 0 and not done.stderr,
               f"{done.returncode}: {done.stderr}")


def modes():
    code, out, err = run("keys", "--help")
    expect("keys --help is about keys", code == 0 and not err
           and all(f"keys {w}" in out for w in ("new", "show", "allow")),
           out + err)
    code, out, err = run("node", "--help")
    expect("node --help is about nodes", code == 0 and not err
           and "node --listen HOST:PORT" in out, out + err)


def options():
    code, out, err = run("arguments", "a", "--troupe-workers=3", "b")
    expect("Troupe's options are not the program's arguments",
           (code, out) == (0, "arguments\na\nb\nworkers 3\n"), out + err)
    code, out, _ = run("arguments", TROUPE_WORKERS="4")
    expect("the environment counts", out == "arguments\nworkers 4\n", out)
    code, out, _ = run("arguments", "--troupe-workers=3", TROUPE_WORKERS="4")
    expect("the command line counts more", "workers 3" in out, out)
    for args, env in ((["--troupe-workers=many"], {}),
                      ([], {"TROUPE_WORKERS": "many"})):
        code, out, err = run("arguments", *args, **env)
        names = ("options::workers", "TROUPE_WORKERS", "--troupe-workers")
        expect("a bad value ends with 2 and names all three ways",
               code == 2 and "many" in err and all(n in err for n in names),
               err)
    code, out, err = run("arguments", "--troupe-nonsense=1")
    expect("an unknown option ends with 2",
           code == 2 and "--troupe-nonsense" in err, err)


def signals():
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        program = Running("wait")
        program.signal(number)
        status, out, err, seconds = program.end()
        expect(f"{number.name} ends with {code}",
               status == code and "draining" in err and seconds < 5,
               f"{status} after {seconds} s: {err}")
    program = Running("busy")
    program.signal(signal.SIGINT)
    status, out, err, _ = program.end()
    expect("a drain lets what runs come to its end",
           status == 130 and "napped" in out, f"{status}: {out}{err}")
    program = Running("stuck")
    program.signal(signal.SIGINT)
    assert "draining" in program.process.stderr.readline() \
        + program.process.stderr.readline()
    time.sleep(0.2) # sleeps: the same within 100 ms would be no second one
    program.signal(signal.SIGINT)
    status, out, err, seconds = program.end()
    expect("a second signal kills at once",
           status == 130 and seconds < 5 and "killed" in err,
           f"{status} after {seconds} s: {err}")
    program = Running("stuck")
    program.signal(signal.SIGINT)
    assert "draining" in program.process.stderr.readline() \
        + program.process.stderr.readline()
    program.signal(signal.SIGTERM)
    status, out, err, seconds = program.end()
    expect("another signal kills however soon it comes",
           status == 143 and "killed" in err, f"{status}: {err}")
    for _ in range(10): # a machine that stalls in between proves nothing
        program = Running("busy")
        program.signal(signal.SIGINT)
        said = program.process.stderr.readline() \
            + program.process.stderr.readline()
        program.signal(signal.SIGINT)
        status, out, err, _ = program.end()
        if "napped" in out:
            break
    expect("the same signal again at once, as by timeout, is one signal",
           status == 130 and "napped" in out and "killed" not in said + err,
           f"{status}: {out}{said}{err}")
    program = Running("throws")
    program.signal(signal.SIGHUP)
    status, out, err, _ = program.end()
    expect("an observer of signals that throws is told of and ends nothing",
           status == 0 and "no observing" in err, f"{status}: {err}")
    program = Running("blocks")
    program.signal(signal.SIGINT)
    status, out, err, _ = program.end()
    expect("a function given to blocking that never returns is named as that",
           status == 130 and "troupe::blocking: a function" in err
           and "CAF" not in err, f"{status}: {err}")
    program = Running("once")
    program.signal(signal.SIGQUIT)
    status, out, err, _ = program.end()
    expect("SIGQUIT prints the actors and threads and goes on",
           status == 0 and "worker threads" in err, f"{status}: {err}")
    code, out, err = run("late")
    expect("SIGQUIT prints nothing once the system is gone",
           (code, out, err) == (0, "", ""), f"{code}: {err}")
    code, out, err = run("take")
    expect("who takes a signal may give it back meanwhile", code == 0,
           f"{code}: {err}")
    program = Running("report")
    program.signal(signal.SIGQUIT)
    lines = [program.process.stderr.readline() for _ in range(4)]
    program.process.kill()
    program.end()
    text = "".join(lines)
    print(text)
    expect("it says who runs what, for how long, and what waits in mailboxes",
           re.search(r"worker#\d+: worker::nap for \d+ ms, 0 messages wait",
                     text), text)
    expect("it says who waits for whom",
           re.search(r"boss#\d+: in boss::have_done waits for worker::nap"
                     r" of worker#\d+, 2 messages wait", text), text)


def hangs():
    code, out, err = run("hang")
    expect("a test that hangs is ended, and says who waits for whom",
           code == -signal.SIGABRT and "a test hangs" in err
           and re.search(r"worker#\d+: worker::nap for \d+ ms", err)
           and re.search(r"boss#\d+: in boss::have_done waits for worker::nap"
                         r" of worker#\d+", err), f"{code}: {err}")


def failures():
    code, out, err = run("failing")
    expect("a failing tell is logged with actor, method, type and text",
           code == 0 and all(x in err for x in (
               "worker#", "worker::fail", "std::out_of_range", "index 7")),
           err)
    code, out, err = run("unobserved")
    expect("an error that nobody looked at is listed at the end",
           code == 0 and "worker::fail" in err and "index 7" in err, err)


for part in (exit_codes, output, modes, options, signals, hangs, failures):
    part()
print(f"{len(faults)} faults")
sys.exit(1 if faults else 0)
