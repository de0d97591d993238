#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# Python's pools of processes and its queue of threads, written as one would
# write them well. The name that this file is run by says which:
# troupe-bench-python_pool, _executor or _threads.
import concurrent.futures
import json
import multiprocessing
import queue
import sys
import threading
import time

ROUND_TRIPS = 2_000
MAP_1_TASKS = 200_000
MAP_ELEMENTS = 10_000_000
LARGE_BYTES = 64 << 20
LARGE_SAMPLES = 5
START_TASKS = 10


def triple(x):
    return x * 3 + 1


def triple_sum(n):
    return 3 * (n * (n - 1) // 2) + n


def size_of_bytes(b):
    return len(b)


def expect(found, wanted):
    if found != wanted:
        raise RuntimeError(f"{found} is not {wanted}")


class Pool:
    """multiprocessing.Pool"""

    def __init__(self, workers):
        self.pool = multiprocessing.Pool(workers)

    def call(self, f, x):
        return self.pool.apply(f, (x,))

    def start(self, f, xs):
        return [self.pool.apply_async(f, (x,)) for x in xs]

    def value(self, started):
        return started.get()

    def map(self, f, xs, **how):
        return self.pool.map(f, xs, **how)

    def end(self):
        self.pool.close()
        self.pool.join()


class Executor:
    """concurrent.futures.ProcessPoolExecutor"""

    def __init__(self, workers):
        self.pool = concurrent.futures.ProcessPoolExecutor(workers)

    def call(self, f, x):
        return self.pool.submit(f, x).result()

    def start(self, f, xs):
        return [self.pool.submit(f, x) for x in xs]

    def value(self, started):
        return started.result()

    def map(self, f, xs, **how):
        return self.pool.map(f, xs, **how)

    def end(self):
        self.pool.shutdown()


def median_s(samples, once):
    seconds = []
    for i in range(samples):
        began = time.perf_counter()
        once(i)
        seconds.append(time.perf_counter() - began)
    return sorted(seconds)[samples // 2]


def round_trip(make, workers):
    pool = make(workers)
    once = lambda i: expect(pool.call(triple, i), triple(i))
    median_s(ROUND_TRIPS // 10, once)
    found = median_s(ROUND_TRIPS, once)
    pool.end()
    return {"process_round_trip": found * 1e6}


def timed_map(make, workers, n, **how):
    pool = make(workers)
    list(pool.map(triple, range(n // 100), **how))
    began = time.perf_counter()
    found = pool.map(triple, range(n), **how)
    total = sum(found)
    seconds = time.perf_counter() - began
    expect(total, triple_sum(n))
    pool.end()
    return seconds / n * 1e9


def map_1(make, workers):
    return {"process_map_1": timed_map(make, workers, MAP_1_TASKS, chunksize=1)}


def map_default(make, workers):
    return {"process_map": timed_map(make, workers, MAP_ELEMENTS)}


def large_bytes(make, workers):
    pool = make(workers)
    data = bytes(LARGE_BYTES)
    once = lambda _: expect(pool.call(size_of_bytes, data), LARGE_BYTES)
    once(0)
    ms = median_s(LARGE_SAMPLES, once) * 1e3
    pool.end()
    return {"process_bytes": ms, "process_blob": ms}


def start(make, workers):
    began = time.perf_counter()
    pool = make(workers)
    started = pool.start(triple, range(START_TASKS))
    for i, s in enumerate(started):
        expect(pool.value(s), triple(i))
    pool.end()
    return {"process_start": (time.perf_counter() - began) * 1e3}


def threads_queue(sides, capacity, items):
    items //= 10  # the figure is per item
    shared = queue.Queue(capacity)
    sums = []

    def put(first):
        for x in range(first, items, sides):
            shared.put(x)

    def take():
        total = 0
        while (x := shared.get()) is not None:
            total += x
        sums.append(total)

    putters = [threading.Thread(target=put, args=(i,)) for i in range(sides)]
    takers = [threading.Thread(target=take) for _ in range(sides)]
    began = time.perf_counter()
    for t in takers + putters:
        t.start()
    for t in putters:
        t.join()
    for _ in takers:
        shared.put(None)
    for t in takers:
        t.join()
    seconds = time.perf_counter() - began
    expect(sum(sums), items * (items - 1) // 2)
    return {"queue": seconds / items * 1e9}


WORKLOADS = {
    "process_round_trip": round_trip,
    "process_map_1": map_1,
    "process_map": map_default,
    "process_bytes": large_bytes,
    "process_start": start,
}

if __name__ == "__main__":
    if len(sys.argv) < 4 or sys.argv[1] != "--run-one":
        sys.exit(f"usage: {sys.argv[0]} --run-one WORKLOAD WORKERS [SIZE...]; "
                 f"the workloads are queue, {', '.join(WORKLOADS)}")
    if sys.argv[2] == "queue":
        print(json.dumps(threads_queue(*map(int, sys.argv[4:]))))
        sys.exit()
    make = Executor if sys.argv[0].endswith("python_executor") else Pool
    print(json.dumps(WORKLOADS[sys.argv[2]](make, int(sys.argv[3]))))
