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
import socket
import subprocess
import sys
import tempfile
import threading

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
    code, out, err = run("hello", "--troupe-workers=2", "extra")
    expect("hello refuses it after an option of Troupe's, too",
           code == 2 and not out and "extra" in err, out + err)
    code, out, err = run("hello", "--troupe-workers=2", "--help")
    expect("hello helps after an option of Troupe's, too",
           code == 0 and "teaches" in out, out + err)


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


def remote_counter_words():
    for args, said in ((("keys",), "new, show or allow"),
                       (("keys", "bogus"), "not bogus"),
                       (("node",), "--listen HOST:PORT"),
                       (("--nosuch",), "--nosuch"),
                       ((), "--node HOST:PORT is needed")):
        code, out, err = run("remote_counter", *args)
        expect(f"remote_counter {' '.join(args)} says what is wrong",
               code == 2 and not out and said in err, out + err)


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


class Server:
    """A web_server on a port that is free."""

    def __init__(self, *args):
        self.process = subprocess.Popen(
            [APPS / "web_server", "--port", "0", *args], text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE)
        self.port = int(re.search(r":(\d+)/",
                                  self.process.stdout.readline())[1])

    def open(self):
        return socket.create_connection(("127.0.0.1", self.port), SECONDS_MAX)

    def greeted(self):
        """A connection that has had an answer, and stays."""
        s = self.open()
        s.sendall(b"GET /square/5 HTTP/1.1\r\nHost: x\r\n\r\n")
        got = b""
        while not got.endswith(b"\r\n\r\n25\n"):
            got += s.recv(65536)
        return s

    def told(self, sent):
        """All that comes back for these bytes, until the server hangs up."""
        with self.open() as s:
            s.sendall(sent)
            return b"".join(iter(lambda: s.recv(65536), b"")).decode()

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            out, err = self.process.communicate(timeout=SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        return self.process.returncode, out, err


def hung_up(s):
    try:
        return s.recv(1) == b""
    except ConnectionResetError: # it had not read everything
        return True


def web_server():
    server = Server()
    ending = " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    for what, sent, status, said in (
            ("a number", f"GET /square/-3{ending}\r\n", 200, "\r\n\r\n9\n"),
            ("no number", f"GET /square/abc{ending}\r\n", 400, "abc"),
            ("half a number", f"GET /square/7up{ending}\r\n", 400, "7up"),
            ("a number too large", f"GET /square/99999999999{ending}\r\n", 400,
             "3037000499"),
            ("one past all limits", f"GET /slow/{'9' * 40}{ending}\r\n", 400,
             "60000"),
            ("the largest", f"GET /square/3037000499{ending}\r\n", 200,
             "9223372030926249001"),
            ("a POST with a body",
             f"POST /square/3{ending}Content-Length: 3\r\n\r\nx=1", 405,
             "Allow: GET, HEAD"),
            ("a GET with a body",
             f"GET /square/3{ending}Content-Length: 3\r\n\r\nx=1", 200, "9\n"),
            ("a large body",
             f"GET /{ending}Content-Length: 9000\r\n\r\n{'x' * 9000}", 413,
             "4 KiB"),
            ("garbage", "what is this\r\n\r\n" * 9, 400, "no request"),
            ("a long header", f"GET /{ending}X: {'x' * 70000}\r\n\r\n", 431,
             "8 KiB")):
        try:
            got = server.told(sent.encode())
        except ConnectionError as e:
            got = str(e)
        expect(f"web_server answers {what} with {status}",
               got.startswith(f"HTTP/1.1 {status} ") and said in got, got)
    got = server.told(f"HEAD /square/12{ending}\r\n".encode())
    expect("web_server answers HEAD with the length and no body",
           got.startswith("HTTP/1.1 200 ") and "Content-Length: 4\r\n" in got
           and got.endswith("\r\n\r\n"), got)
    with server.greeted() as silent, server.greeted() as slow:
        slow.sendall(b"GET / HTT")
        code, out, err = server.end()
        expect("web_server hangs up on the silent at ^C and ends in order",
               code == 130 and "in the way" not in err
               and hung_up(silent) and hung_up(slow), f"{code}: {err}")
    server = Server("--patience-s", "1")
    with server.open() as silent, server.open() as slow:
        slow.sendall(b"GET / HTT")
        expect("web_server lets a client go that says nothing, or half of it",
               hung_up(silent) and hung_up(slow))
    server.end()
    wrong = []
    server = Server()

    def ask():
        while not enough.is_set():
            got = server.told(f"GET /square/5{ending}\r\n".encode())
            if not got.endswith("\r\n\r\n25\n"):
                wrong.append(got)

    enough = threading.Event()
    clients = [threading.Thread(target=ask) for _ in range(3)]
    for c in clients:
        c.start()
    for _ in range(30):
        server.told(f"POST /reload{ending}\r\n".encode())
    enough.set()
    for c in clients:
        c.join()
    expect("web_server reloads without anybody noticing", not wrong,
           "".join(wrong[:3]))
    server.end()


def unwritable():
    """Nobody learns what a program found when its output goes nowhere."""
    for name, *args in (("factorial", "--runs", "1"), ("failures",),
                        ("squares", "--sizes", "1", "--reps", "1",
                         "--work-ms", "0"), ("tour", "--list")):
        with open("/dev/full", "w", encoding="ascii") as full:
            done = subprocess.run([APPS / name, *args], timeout=SECONDS_MAX,
                                  stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        expect(f"{name} ends with 1 when its output can't be written",
               done.returncode == 1 and "could not be written" in done.stderr,
               f"{done.returncode}: {done.stderr}")
    done = subprocess.run(
        ["sh", "-c", '"$0" --jobs 20 >&-', APPS / "task_queue"], text=True,
        timeout=SECONDS_MAX, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    expect("task_queue does its jobs with its output closed",
           done.returncode == 0 and "starts workers" not in done.stderr,
           f"{done.returncode}: {done.stderr}")


def between_processes():
    code, out, err = run("between_processes")
    expect("between_processes says what processes shared", code == 0 and not err
           and [" ".join(line.split()) for line in out.splitlines()] == [
               "event 4 other processes waited until it was set: ok",
               "queue 1000 items put by one process, each taken once by 3 "
               "others: ok",
               "semaphore never more than 2 of them in the section: ok",
               "pipe 1 2 3 went out, 1 4 9 came back: ok",
               "shared memory workers added 1 to 1048576 in one buffer of "
               "4 MiB, without a copy: ok",
               "process pool 40 tasks found what the initializer had made, in "
               "workers replaced after about 5: ok"], out + err)
    code, out, err = run("between_processes", "--items", "50", "--consumers",
                         "7", "--slots", "1")
    expect("between_processes does it with other numbers",
           code == 0 and out.count(": ok") == 6, out + err)


def self_checking():
    """Those of what is shared and of what fails; meson runs them plainly."""
    for name, option, bad in (("bank", "--accounts", "0"),
                              ("bank", "--crash-percent", "51"),
                              ("bank", "--seed", "-1"),
                              ("task_queue", "--seed", "-1"),
                              ("threads_or_processes", "--transfer-mb", "-1"),
                              ("web_server", "--port", "-1"),
                              ("philosophers", "--guests", "-1"),
                              ("cluster_map", "--nodes", ""),
                              ("cluster_map", "--local", "-1"),
                              ("philosophers", "--guests", "1"),
                              ("producer_consumer", "--consumers", "0"),
                              ("producer_consumer", "--capacity", "0"),
                              ("shared_list", "--items", "-1"),
                              ("shared_list", "--adders", "many"),
                              ("sharing", "--nonsense", "1"),
                              ("between_processes", "--slots", "0"),
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
                        ("philosophers", "--meals", "1000000"),
                        ("web_server", "--check", "1000000")):
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


    program = subprocess.Popen(
        [APPS / "cluster_map", "--height", "500", "--depth", "200000"],
        text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    program.stdout.readline() # the first row: it draws
    program.send_signal(signal.SIGINT)
    out, err = program.communicate(timeout=SECONDS_MAX)
    expect("cluster_map ends by ^C and has little to say",
           program.returncode == 130 and "interrupted" in err
           and "nobody looked" not in err and err.count("\n") <= 3,
           f"{program.returncode} {err}")


def files():
    with tempfile.TemporaryDirectory() as there:
        for name, option in (("squares", "--plot"), ("mandelbrot", "--out")):
            code, out, err = run(name, option, there + "/no/such")
            expect(f"{name} refuses a file that can't be made before it works",
                   code == 1 and not out and "can't write" in err, out + err)
            code, out, err = run(name, option, "/dev/full", *{
                "squares": ("--sizes", "1", "--reps", "1", "--work-ms", "0"),
                "mandelbrot": ("--width", "9", "--height", "9")}[name])
            expect(f"{name} says that its file could not be written",
                   code == 1 and "can't write" in err, out + err)


def the_script():
    def script(*args):
        done = subprocess.run([ROOT / "run", "--no-install", *args], text=True,
                              timeout=SECONDS_MAX, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return done.returncode, done.stdout, done.stderr

    code, out, err = script("app")
    names = {line.split()[0] for line in out.splitlines()}
    built = {p.name for p in APPS.iterdir() if p.is_file()
             and os.access(p, os.X_OK) and not p.suffix}
    expect("./run app lists what can be built, with what it teaches",
           code == 0 and names == built
           and all(len(line.split()) > 2 for line in out.splitlines()),
           f"{names ^ built} {out}{err}")
    code, out, err = script("install-deps", "nosuch")
    expect("./run install-deps refuses a group that is none",
           code == 2 and "nosuch" in err and "base" in err, out + err)


def opening_lines():
    for name in ("between_processes", "factorial", "hello", "tour"):
        source = (ROOT / f"apps/{name}.cpp").read_text()
        first = re.search(rf"^// ({name}: .*)$", source, re.M)[1]
        code, out, err = run(name, "--help")
        expect(f"{name} --help says what it teaches",
               code == 0 and first.rstrip(".") in " ".join(out.split())
               and "teaches" in out, out)


hello()
factorial()
tour()
remote_counter_words()
remote_counter()
cluster_map()
web_server()
unwritable()
between_processes()
self_checking()
interrupted()
files()
the_script()
opening_lines()
sys.exit(1 if faults else 0)
