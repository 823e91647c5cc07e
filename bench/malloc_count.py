#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How many allocations a keep-alive request costs: none, for the C server.

  malloc_count.py [-D build=DIR] [-S SERVER,..] [-n N]

Runs a server with libmalloc_count.so preloaded, sends it N requests and then 10 N over as many connections as
before, and asks for the number of malloc, calloc and realloc calls before and after each. What a connection costs is
in both; the difference of the two, divided by 9 N, is the price of a request. CPython takes small objects from
arenas of its own, so its figure counts only what goes past them.
"""
import argparse, os, re, signal, shlex, subprocess, sys, time, tomllib
from compare import HERE, Bench, free_port, stop, wait_port

CONNS = 8


def calls(proc):
    os.kill(proc.pid, signal.SIGUSR1)
    for line in proc.stderr:
        if m := re.match(rb"malloc_count (\d+)", line):
            return int(m[1])
    raise RuntimeError("the server ended")


def requests(bench, port, n):
    load = f"h2load --h1 -t1 -c{CONNS} -n {n} http://127.0.0.1:{port}/"
    out = subprocess.run(shlex.split(load), capture_output=True, text=True, timeout=300, check=True).stdout
    if f"{n} succeeded" not in out:
        raise RuntimeError(f"not all of {n} requests succeeded")
    time.sleep(0.3)  # the closing of the connections


def measure(bench, server, n):
    port = free_port()
    preload = os.path.join(bench.vars["build"], "bench", "libmalloc_count.so")
    if not os.path.exists(preload):
        sys.exit(f"there is no {preload}")
    proc = subprocess.Popen(shlex.split(bench.fill(server["http"], port=port)), cwd=HERE, start_new_session=True,
                            env={**os.environ, "LD_PRELOAD": preload}, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_port(port, proc)
        requests(bench, port, n)  # warm: buffers that grow once
        counts = [calls(proc)]
        for k in (n, 10 * n):
            requests(bench, port, k)
            counts.append(calls(proc))
        return counts[1] - counts[0], counts[2] - counts[1]
    finally:
        stop(proc)


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-c", "--config", default=os.path.join(HERE, "bench.toml"))
    a.add_argument("-D", "--define", action="append", default=[])
    a.add_argument("-S", "--servers", default="tavi")
    a.add_argument("-n", "--requests", type=int, default=2000)
    args = a.parse_args()
    args.secs = 1
    with open(args.config, "rb") as f:
        bench = Bench(tomllib.load(f), args)
    for name in args.servers.split(","):
        server, n = bench.conf["server"][name], args.requests
        if (what := bench.missing(server["http"])) is not None:
            sys.exit(f"{name}: there is no {what}")
        few, many = measure(bench, server, n)
        print(f"{name}: {few} allocations for {n} requests, {many} for {10 * n}, {CONNS} connections each: "
              f"{max(0, many - few) / (9 * n):.3f} per request")


if __name__ == "__main__":
    main()
