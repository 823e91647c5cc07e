#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""User-space instructions per operation, counted by valgrind (cachegrind).

  instr.py [-c bench.toml] [-D key=value] [-S SERVER,..] [-k KIND,..] [-n OPS] [-o DIR]

Runs each server under cachegrind twice, once with a short and once with a long
load of a fixed number of operations, and divides the difference of the
instruction counts. The kernel's part is not in it and neither is waiting: the
figure repeats to a fraction of a percent, on a busy machine too. Not for servers
with a JIT.
"""
import argparse, glob, json, os, re, shlex, subprocess, sys, tempfile, time, tomllib
from compare import HERE, Bench, free_port, stop, wait_port

BROWSER = " ".join(f"-H '{h}'" for h in (  # what a desktop browser sends, about 620 bytes
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5", "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: http://127.0.0.1/some/where/else.html", "DNT: 1", "Sec-Fetch-Dest: document",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=yes; seen=1",
    "Upgrade-Insecure-Requests: 1", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Site: same-origin",
    "Sec-Fetch-User: ?1", "Priority: u=0, i", "Pragma: no-cache", "Cache-Control: no-cache"))

KINDS = {  # name: (role, load command; {n} operations)
    "http": ("http", "h2load --h1 -t1 -c1 -n {n} http://127.0.0.1:{port}/"),
    "http_browser": ("http", "h2load --h1 -t1 -c1 -n {n} " + BROWSER + " http://127.0.0.1:{port}/"),
    "ws_20": ("ws", "{bin}/load_ws -p {port} -n 1 -s 20 -d 1 -t 100 -N {n}"),
    "ws_1k": ("ws", "{bin}/load_ws -p {port} -n 1 -s 1024 -d 1 -t 100 -N {n}"),
    "mqtt_q0": ("mqtt", "{bin}/load_mqtt -p {port} -q 0 -w 1 -t 100 -N {n}"),
    "mqtt_q1": ("mqtt", "{bin}/load_mqtt -p {port} -q 1 -w 1 -t 100 -N {n}"),
    "mqtt_q2": ("mqtt", "{bin}/load_mqtt -p {port} -q 2 -w 1 -t 100 -N {n}"),
}


def count(bench, server, role, load, n):
    port = free_port()
    own = {k: v for k, v in server.items() if isinstance(v, (str, int))}
    env = {**own, "port": port, "n": n}
    with tempfile.TemporaryDirectory() as d:
        vg = f"valgrind --tool=cachegrind --cache-sim=no --trace-children=yes " \
             f"--cachegrind-out-file=/dev/null --log-file={d}/%p.log "
        p = subprocess.Popen(["nice", "-n", "10"] + shlex.split(vg + bench.fill(server[role], **env)), cwd=HERE,
                             start_new_session=True, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_port(port, p, 60)
            time.sleep(0.5)
            r = subprocess.run(shlex.split(bench.fill(load, **env)), cwd=HERE, timeout=180,
                               stdin=subprocess.DEVNULL, capture_output=True)
            if r.returncode != 0:
                raise RuntimeError(r.stderr.decode()[-100:])
            time.sleep(0.3)
        finally:
            try:
                os.killpg(p.pid, 15)
                p.wait(20)
            except (subprocess.TimeoutExpired, ProcessLookupError):
                pass
            time.sleep(0.3)
            stop(p)
        total = 0
        for f in glob.glob(d + "/*.log"):
            with open(f) as g:
                for m in re.finditer(r"I\s+refs:\s+([\d,]+)", g.read()):
                    total += int(m[1].replace(",", ""))
        return total


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-c", "--config", default=os.path.join(HERE, "bench.toml"))
    a.add_argument("-D", "--define", action="append", default=[])
    a.add_argument("-S", "--servers", default="")
    a.add_argument("-k", "--kinds", default="http,http_browser,ws_20,ws_1k,mqtt_q0,mqtt_q1,mqtt_q2")
    a.add_argument("-n", "--ops", type=int, default=5000)
    a.add_argument("-b", "--baseline", default="floor")
    a.add_argument("-o", "--out", help="directory for instr.json")
    args = a.parse_args()
    args.secs = 1
    with open(args.config, "rb") as f:
        bench = Bench(tomllib.load(f), args)
    found = {}
    for kind in args.kinds.split(","):
        role, load = KINDS[kind]
        rows = []
        for name, server in bench.conf["server"].items():
            if role not in server or (args.servers and name not in args.servers.split(",")):
                continue
            if (what := bench.missing(server[role])) is not None:
                print(f"  {kind} {name}: left out, there is no {what}", file=sys.stderr)
                continue
            try:
                few, many = (count(bench, server, role, load, k) for k in (500, 500 + args.ops))
                if many <= few:
                    raise RuntimeError("no instruction count")
                rows.append(((many - few) / args.ops, name))
            except Exception as e:
                print(f"  {kind} {name}: FAILED {e}", file=sys.stderr)
        found[kind] = {n: v for v, n in rows}
        base = next((v for v, n in rows if n == args.baseline), 0)
        print(f"### user-space instructions per operation: {kind}\n\n"
              f"| server | instructions/op | x {args.baseline} |\n|---|---|---|")
        for v, n in sorted(rows):
            print(f"| {n} | {v:.0f} | {v / base:.2f} |" if base else f"| {n} | {v:.0f} | - |")
        print(flush=True)
    if args.out:
        os.makedirs(args.out, exist_ok=True)
        with open(os.path.join(args.out, "instr.json"), "w") as f:
            json.dump(found, f)


if __name__ == "__main__":
    main()
