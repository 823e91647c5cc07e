#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a request costs the library as a client, beside wrk, in one run: CPU time per request against the same nginx.

usage: client.py BUILD_DIR [REQUESTS [CALLS]]       (by default 10000 requests, 64 at a time; seven rounds in turns)
"""
import json
import os
import re
import resource
import socket
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROUNDS = 7


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def children_s():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wrk(url, calls):
    """CPU microseconds per request of one second of wrk."""
    before = children_s()
    out = subprocess.run(["wrk", "-t1", f"-c{calls}", "-d1s", url], capture_output=True, text=True, check=True).stdout
    return (children_s() - before) * 1e6 / int(re.search(r"(\d+) requests in", out).group(1))


def main():
    build = sys.argv[1]
    requests = int(sys.argv[2]) if len(sys.argv) > 2 else 10000
    calls = int(sys.argv[3]) if len(sys.argv) > 3 else 64
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    with subprocess.Popen([os.path.join(HERE, "peers", "nginx.sh"), str(port)]) as server:
        try:
            wait_for(port)
            theirs, ours = [], []
            for _ in range(ROUNDS):
                theirs.append(wrk(url, calls))
                out = subprocess.run([os.path.join(build, "bench", "bench_client"), url, str(requests), str(calls)],
                                     capture_output=True, text=True, check=True).stdout
                ours.append(json.loads(out)["cpu_us"])
        finally:
            server.terminate()
    wrk_us, tavi_us = statistics.median(theirs), statistics.median(ours)
    print(json.dumps({"requests": requests, "calls": calls, "wrk_cpu_us": round(wrk_us, 3),
                      "tavi_cpu_us": round(tavi_us, 3), "ratio": round(tavi_us / wrk_us, 3)}))


main()
