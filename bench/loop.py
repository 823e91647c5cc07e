#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What the loop costs from Python without traffic: the counterpart of loop.c, with the same names for the figures.

  loop.py [-i IDLE_HTTP]      (PYTHONPATH names the directory of the package)

An empty poll is timed in batches by the thread's own CPU time and the median batch counts, so that the sweeps of
MG_EV_POLL over 10,000 connections, ten times a second, do not hide the turns between them; the mean with them is
printed too. Payloads come from threads that share the GIL with the loop; each has a head (thread, length, number)
and bytes of a known pattern, and all of it is checked.
"""
import argparse
import os
import random
import resource
import statistics
import struct
import subprocess
import sys
import threading
import time

from cymongoose import MG_EV_HTTP_MSG, MG_EV_WAKEUP, Manager

HERE = os.path.dirname(os.path.abspath(__file__))
CONNS = 10000
HEAD = struct.Struct("<IIQ")  # thread, length of the whole payload, number within the thread
SMALL, LARGE, LARGE_EVERY = 32, 1 << 20, 2048
PATTERN = random.Random(1).randbytes(4096 + LARGE)


def figure(name, value, unit):
    digits = 3 if value < 10 else 1 if value < 1000 else 0
    print(f"{name:28} {value:.{digits}f} {unit}", flush=True)


def poll_cost(name, manager, batch=1000, batches=301):
    poll, clock, cost = manager.poll, time.thread_time_ns, []
    for _ in range(batches):
        t0 = clock()
        for _ in range(batch):
            poll(0)
        cost.append((clock() - t0) / batch / 1e3)
    t0 = clock()
    for _ in range(batch):  # what the Python loop itself takes is not the poll's
        pass
    empty = (clock() - t0) / batch / 1e3
    figure(name, statistics.median(cost) - empty, "us")
    print(f"  mean, sweeps included: {statistics.mean(cost) - empty:.3f} us", flush=True)


def poll_beside_timers(n):
    with Manager(lambda conn, ev, data: None) as m:
        timers = [m.timer_add(3600000 + i, lambda: None) for i in range(n)]
        poll_cost(f"poll_timers_{n}", m)
        for t in timers:
            t.cancel()


def poll_beside_connections(idle_http):
    answered = 0

    def handler(conn, ev, data):
        nonlocal answered
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "idle")
            answered += 1

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    if limit[1] != resource.RLIM_INFINITY and limit[1] < CONNS + 100:
        print(f"poll_conns_{CONNS}: left out, the limit of descriptors is {limit[1]}")
        return
    with Manager(handler) as m:
        listener = m.listen("http://127.0.0.1:0")
        command = [idle_http, "-p", str(listener.local_addr[1]), "-n", str(CONNS), "-r", "-H"]
        idle = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while answered < CONNS:
            m.poll(100)
            if time.monotonic() > end or idle.poll() is not None:
                sys.exit(f"only {answered} of {CONNS} connections came")
        poll_cost(f"poll_conns_{CONNS}", m)
    idle.stdin.close()
    idle.wait()


class Tally:
    """What has arrived."""

    def __init__(self):
        self.next, self.got, self.bytes, self.disordered, self.damaged = [0] * 4, 0, 0, 0, 0

    def arrived(self, data):
        thread, length, seq = HEAD.unpack_from(data)
        self.got += 1
        self.bytes += len(data)
        at = seq % 4096
        if length != len(data) or data[HEAD.size:] != PATTERN[at:at + length - HEAD.size]:
            self.damaged += 1
        if self.next[thread] != seq:
            self.disordered += 1
        self.next[thread] = seq + 1


def payload(thread, seq, length):
    at = seq % 4096
    return HEAD.pack(thread, length, seq) + PATTERN[at:at + length - HEAD.size]


def payloads(thread, count, mixed):
    """Made before the clock starts: what is measured is wakeup(), not slicing."""
    rng, sizes = random.Random(thread), [SMALL] * count
    if mixed:
        for i in range(count):
            if rng.randrange(LARGE_EVERY) == 0:
                sizes[i] = min(LARGE, max(SMALL, int(2 ** rng.uniform(5, 20.001))))
    return [payload(thread, i, n) for i, n in enumerate(sizes)]


def flood(name, threads, each, mixed, check):
    """Payloads per second; the ones of a run without `check` are only counted."""
    tally, refused = Tally(), [0] * threads
    count = 0

    def on_event(conn, ev, data):
        nonlocal count
        if ev == MG_EV_WAKEUP:
            count += 1
            if check:
                tally.arrived(data)

    with Manager(on_event, enable_wakeup=True) as m:
        target, work = m.listen("tcp://127.0.0.1:0").id, [payloads(i, each, mixed) for i in range(threads)]

        def produce(thread):
            wakeup = m.wakeup
            for data in work[thread]:
                while not wakeup(target, data):
                    refused[thread] += 1
                    time.sleep(0)

        producers = [threading.Thread(target=produce, args=(i,), daemon=True) for i in range(threads)]
        t0 = last = time.monotonic()
        for p in producers:
            p.start()
        seen = 0
        while count < threads * each and time.monotonic() - last < 5:
            m.poll(100)
            if count != seen:
                seen, last = count, time.monotonic()
        took = last - t0
        for p in producers:
            p.join(5)
    figure(name, count / took, "/s")
    if check and mixed:
        print(f"{'  bytes of these':28} {tally.bytes / took / 1e6:.0f} MB/s")
    lost = threads * each - count
    print(f"  lost {lost} of {threads * each}, out of order {tally.disordered if check else '-'}, "
          f"damaged {tally.damaged if check else '-'}, queue full {sum(refused)} times", flush=True)
    return lost == 0 and tally.disordered == 0 and tally.damaged == 0


def round_trips():
    seen, stop = threading.Semaphore(0), False
    trips = 0

    def on_event(conn, ev, data):
        nonlocal trips
        if ev == MG_EV_WAKEUP:
            trips += 1
            seen.release()

    with Manager(on_event, enable_wakeup=True) as m:
        target = m.listen("tcp://127.0.0.1:0").id

        def ask():
            while not stop:
                m.wakeup(target, b"?")
                seen.acquire()

        asker = threading.Thread(target=ask)
        t0 = time.monotonic()
        asker.start()
        while time.monotonic() - t0 < 1:
            m.poll(100)
        rate = trips / (time.monotonic() - t0)
        stop = True
        seen.release()
        asker.join()
    figure("wakeup_round_trips", rate, "/s")


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-i", "--idle-http", default=os.path.join(HERE, "..", "build", "bench", "idle_http"))
    args = a.parse_args()
    for n in (0, 1000, 10000, 100000):
        poll_beside_timers(n)
    poll_beside_connections(args.idle_http)
    round_trips()
    ok = [flood("wakeup_1_small", 1, 400000, False, False),
          flood("wakeup_4_small", 4, 100000, False, False),
          flood("wakeup_4_mixed", 4, 100000, True, True)]
    sys.exit(not all(ok))


if __name__ == "__main__":
    main()
