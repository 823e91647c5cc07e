#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Side-by-side measurements of servers, alternating, pinned, several rounds.

  compare.py [-c bench.toml] [-o results] [-r ROUNDS] [-d SECONDS]
             [-s SCENARIO[,..]] [-S SERVER[,..]] [-b BASELINE] [-D key=value]

The TOML file names servers and scenarios. A server has a command line for each
role it can play (http, https, ws, tcp, mqtt, ...); a scenario names the role
that it needs and a load command. {port}, {secs}, {pids}, {bin}, {bench} and all
keys given with -D or in [vars] are replaced; a server may override [vars] keys.
Each round runs every server once, in turn, freshly started; the figures printed
are medians over the rounds. All rows of a table come from one run.

CPU us/op is the run time that the scheduler charged to the server's threads
(children included), divided by the operations done: it does not depend on
whether the load generator kept up.

-D build=DIR names the build directory (default: build beside bench), relative to
where you stand.
"""
import argparse, json, os, re, shlex, shutil, signal, socket, statistics, subprocess, sys, time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
UNIT = {"us": 1.0, "ms": 1e3, "s": 1e6, "m": 60e6}


def free_port():
    """A port below the ephemeral range, so that no client socket takes it."""
    start = 20000 + (os.getpid() * 37 + int(time.time())) % 9000
    for port in range(start, start + 2000):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise SystemExit("no free port")


def tree(pid):
    """pid and all its descendants."""
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/children") as f:
                    todo += [int(x) for x in f.read().split()]
        except OSError:
            pass
    return out


def cpu_ns(pids):
    total = 0
    for p in pids:
        try:
            for t in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{t}/schedstat") as f:
                    total += int(f.read().split()[0])
        except (OSError, ValueError, IndexError):
            pass
    return total


def rss_kib(pids):
    total = 0
    for p in pids:
        try:
            with open(f"/proc/{p}/status") as f:
                total += sum(int(l.split()[1]) for l in f if l.startswith("VmRSS"))
        except OSError:
            pass
    return total


def busy(cpu):
    """(busy, stolen, total) ticks of one CPU."""
    with open("/proc/stat") as f:
        for line in f:
            if line.startswith(f"cpu{cpu} "):
                v = [int(x) for x in line.split()[1:]]
                return sum(v[:8]) - v[3] - v[4], v[7], sum(v[:8])
    return 0, 0, 0


def wait_port(port, proc, limit=15):
    end = time.time() + limit
    while time.time() < end:
        if proc.poll() is not None:
            raise RuntimeError(f"server ended with {proc.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.03)
    raise RuntimeError("server does not listen")


def stop(proc):
    """Ends one server that this program started (its own process group)."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(proc.pid, sig)
        except ProcessLookupError:
            pass
        try:
            proc.wait(1.5)
            break
        except subprocess.TimeoutExpired:
            continue
    try:
        os.killpg(proc.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def parse_wrk(text):
    out = {}
    m = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)", text)
    out["ops"] = int(m[1])
    m = re.search(r"Requests/sec:\s+([\d.]+)", text)
    out["rate"] = float(m[1])
    for q in (50, 99):
        m = re.search(rf"^\s+{q}%\s+([\d.]+)(us|ms|s|m)", text, re.M)
        if m:
            out[f"p{q}_us"] = float(m[1]) * UNIT[m[2]]
    m = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    out["errors"] = sum(map(int, m.groups())) if m else 0
    m = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    out["errors"] += int(m[1]) if m else 0
    return out


def parse_h2load(text):
    m = re.search(r"finished in ([\d.]+)(us|ms|s|m), ([\d.]+) req/s", text)
    done = re.search(r"(\d+) succeeded, (\d+) failed", text)
    return {"ops": int(done[1]), "rate": float(m[3]), "errors": int(done[2])}


def parse_s_time(text):
    m = re.search(r"(\d+) connections in (\d+) real seconds", text)
    return {"ops": int(m[1]), "rate": int(m[1]) / int(m[2]), "errors": 0}


def parse_json(text):
    return json.loads(text.strip().splitlines()[-1])


PARSERS = {"wrk": parse_wrk, "h2load": parse_h2load, "s_time": parse_s_time, "json": parse_json}


class Bench:
    def __init__(self, conf, args):
        self.conf, self.args = conf, args
        self.vars = dict(conf.get("vars", {}))
        self.vars.update(bench=HERE, build=os.path.join(HERE, "..", "build"), secs=args.secs)
        self.vars.update(x.split("=", 1) for x in args.define)
        self.vars["build"] = os.path.abspath(self.vars["build"])  # servers run with bench/ as their directory
        built = os.path.join(self.vars["build"], "bench")
        self.vars.setdefault("bin", built if os.path.exists(os.path.join(built, "floor_http"))
                             else os.path.join(HERE, "bin"))
        self.cpus = conf.get("pin", {"server": 0, "load": 1})

    def fill(self, text, **more):
        env = {**self.vars, **more}
        for _ in range(3):
            text = re.sub(r"\{(\w+)\}", lambda m: str(env.get(m[1], m[0])), text)
        return text

    def missing(self, command):
        """The program or script that a command line needs and that is not there, or None."""
        words = shlex.split(self.fill(command))
        if words[0] == "env":
            package = words[1].partition("=")[2]  # env PYTHONPATH=DIR ...
            return None if os.path.isdir(package) else package
        return None if shutil.which(words[0]) else words[0]

    def spawn(self, cpu, text, **kw):
        quiet = dict(stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        quiet.update(kw)
        return subprocess.Popen(["taskset", "-c", str(cpu)] + shlex.split(text),
                                start_new_session=True, cwd=HERE, **quiet)

    def once(self, sc, server):
        role = sc["role"]
        own = {k: v for k, v in server.items() if isinstance(v, (str, int))}
        port = free_port()
        env = {**own, **sc.get("vars", {}), "port": port, "secs": sc.get("secs", self.vars["secs"])}
        proc = self.spawn(self.cpus["server"], self.fill(server[role], **env))
        idle = None
        try:
            wait_port(port, proc)
            time.sleep(sc.get("settle", 0.3))
            pids = tree(proc.pid)
            env["pids"] = ",".join(map(str, pids))
            out = {}
            if "before" in sc:
                idle = self.spawn(self.cpus["load"], self.fill(sc["before"], **env),
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE)
                out["idle"] = json.loads(idle.stdout.readline() or b"{}")
            load = shlex.split(self.fill(sc["load"], **env))
            c0, b0, l0, t0 = cpu_ns(pids), busy(self.cpus["server"]), busy(self.cpus["load"]), time.time()
            p = subprocess.Popen(["taskset", "-c", str(self.cpus["load"])] + load, cwd=HERE,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            text, err = (x.decode(errors="replace") for x in p.communicate(timeout=180))
            took = time.time() - t0
            c1, b1, l1 = cpu_ns(pids), busy(self.cpus["server"]), busy(self.cpus["load"])
            try:
                out.update(PARSERS[sc.get("parser", "json")](text))
            except Exception:
                raise RuntimeError((err or text).strip()[-200:] or f"load ended with {p.returncode}")
            ops = max(out.get("ops", 0), 1)
            used = out.get("server_cpu_ns") or c1 - c0
            out["cpu_us"] = used / ops / 1e3
            out["server_share"] = used / 1e9 / (out.get("seconds") or took)
            out["cpu0"] = (b1[0] - b0[0]) / max(b1[2] - b0[2], 1)
            out["cpu1"] = (l1[0] - l0[0]) / max(l1[2] - l0[2], 1)
            out["stolen"] = max((b1[1] - b0[1]) / max(b1[2] - b0[2], 1), (l1[1] - l0[1]) / max(l1[2] - l0[2], 1))
            out["rss_kib"] = rss_kib(tree(proc.pid))
            return out
        finally:
            if idle:
                idle.stdin.close()
                try:
                    idle.wait(10)
                except subprocess.TimeoutExpired:
                    stop(idle)
            stop(proc)

    def scenario(self, name, sc):
        names = [n for n, s in self.conf["server"].items() if sc["role"] in s]
        group = lambda key: [n for x in sc[key] for n in
                             (self.conf["group"][x[1:]] if x.startswith("@") else [x])]
        if self.args.servers:
            names = [n for n in names if n in self.args.servers]
        if "only" in sc:
            names = [n for n in names if n in group("only")]
        if "skip" in sc and not self.args.servers:
            names = [n for n in names if n not in group("skip")]
        for n in list(names):
            if (what := self.missing(self.conf["server"][n][sc["role"]])) is not None:
                print(f"  {name} {n}: left out, there is no {what}", file=sys.stderr)
                names.remove(n)
        runs, failed = {n: [] for n in names}, {}
        rounds = sc.get("rounds", self.args.rounds) if not self.args.force_rounds else self.args.force_rounds
        for i in range(rounds):
            order = names if i % 2 == 0 else names[::-1]
            for n in order:
                if len(failed.get(n, [])) > 1 and not runs[n]:
                    continue
                try:
                    runs[n].append(self.once(sc, self.conf["server"][n]))
                    r = runs[n][-1]
                    what = f"{r['bytes_per_conn']:.0f} bytes" if "bytes_per_conn" in r else \
                           f"{r.get('rate', 0):.0f}/s {r.get('cpu_us', 0):.2f} us"
                    print(f"  {name} round {i + 1} {n}: {what} cpu0 {r.get('cpu0', 0):.2f} "
                          f"cpu1 {r.get('cpu1', 0):.2f}", file=sys.stderr, flush=True)
                except Exception as e:
                    failed.setdefault(n, []).append(str(e))
                    print(f"  {name} round {i + 1} {n}: FAILED {e}", file=sys.stderr, flush=True)
        return runs, failed

    def table(self, name, sc, runs, failed):
        base = self.args.baseline or sc.get("baseline", "floor")
        metric = sc.get("metric", "cpu_us")
        med = lambda rs, k: statistics.median([r.get(k, 0) for r in rs])
        lines = [f"### {name}: {sc.get('title', '')}", "", f"Load: `{self.shown(sc['load'])}`"
                 + (f", beside `{self.shown(sc['before'])}`" if "before" in sc else ""), ""]
        cols = ["server", "n", "CPU us/op", "min..max", f"x {base}", "ops/s", "min..max", f"x {base} ",
                "p50 us", "p99 us", "srv core", "cpu0", "load core", "RSS MiB", "errors", "lost"]
        if metric == "bytes_per_conn":
            cols = ["server", "n", "bytes/conn", "min..max", f"x {base}", "failed", "RSS MiB"]
        lines += ["| " + " | ".join(cols) + " |", "|" + "---|" * len(cols)]
        def ratio(k, v):
            b = med(runs[base], k) if runs.get(base) else 0
            return f"{v / b:.2f}" if b else "-"
        rows = []
        for n, rs in runs.items():
            if not rs:
                continue
            if metric == "bytes_per_conn":
                v = [r["bytes_per_conn"] for r in rs]
                m = statistics.median(v)
                rows.append((m, [n, len(rs), f"{m:.0f}", f"{min(v):.0f}..{max(v):.0f}", ratio("bytes_per_conn", m),
                                 f"{med(rs, 'failed'):.0f}", f"{med(rs, 'rss_kib') / 1024:.1f}"]))
                continue
            c, q = [r["cpu_us"] for r in rs], [r["rate"] for r in rs]
            mc, mq = statistics.median(c), statistics.median(q)
            rows.append((mc, [n, len(rs), f"{mc:.2f}", f"{min(c):.2f}..{max(c):.2f}", ratio("cpu_us", mc),
                              f"{mq:.0f}", f"{min(q):.0f}..{max(q):.0f}", ratio("rate", mq),
                              f"{med(rs, 'p50_us'):.0f}", f"{med(rs, 'p99_us'):.0f}",
                              f"{med(rs, 'server_share'):.2f}", f"{med(rs, 'cpu0'):.2f}",
                              f"{med(rs, 'cpu1'):.2f}", f"{med(rs, 'rss_kib') / 1024:.1f}",
                              f"{med(rs, 'errors'):.0f}", f"{med(rs, 'lost'):.0f}"]))
        for _, r in sorted(rows, key=lambda x: x[0]):
            lines.append("| " + " | ".join(map(str, r)) + " |")
        for n, e in failed.items():
            why = re.sub(r"/[\w./-]+/", "", e[-1].replace("\n", " "))
            lines.append(f"\n{n}: {len(e)} of {len(e) + len(runs[n])} runs failed ({why[:120]})")
        return "\n".join(lines) + "\n"

    def shown(self, text):
        return text.replace("{bin}/", "").replace("{bench}/", "")


def report(bench, out):
    """Summary matrix of all raw results in a directory: scenario x server."""
    data = {}
    for n, sc in bench.conf["scenario"].items():
        path = os.path.join(out, n + ".json")
        if os.path.exists(path):
            with open(path) as f:
                data[n] = json.load(f)
    groups = (("HTTP", ("http", "churn")), ("static files", ("static",)), ("server-sent events", ("sse",)),
              ("HTTPS", ("https", "tls_churn")), ("WebSocket and TCP", ("ws", "fanout", "tcp")), ("MQTT", ("mqtt",)))
    for metric, title, digits in (("cpu_us", "CPU us per operation of the server", 2),
                                  ("rate", "operations per second, server pinned to one core", 0),
                                  ("bytes_per_conn", "bytes of server memory per idle connection", 0)):
        print(f"### {title} (median; in brackets the ratio to the floor)\n")
        for label, roles in groups:
            names = [n for n in data if data[n]["scenario"]["role"] in roles
                     and data[n]["scenario"].get("metric", "cpu_us" if metric == "rate" else metric) in
                     ({"cpu_us"} if metric == "rate" else {metric})
                     and ("metric" in data[n]["scenario"]) == (metric == "bytes_per_conn")]
            if not names:
                continue
            servers = [s for s in bench.conf["server"] if any(data[n]["runs"].get(s) for n in names)]
            print(f"| {label} | " + " | ".join(servers) + " |\n|" + "---|" * (len(servers) + 1))
            for n in names:
                row, base = [], None
                for s in servers:
                    rs = [r[metric] for r in data[n]["runs"].get(s, []) if metric in r]
                    m = statistics.median(rs) if rs else None
                    if s == "floor":
                        base = m
                    row.append("-" if m is None else
                               f"{m:.{digits}f}" + (f" ({m / base:.2f})" if base else ""))
                print(f"| {n} | " + " | ".join(row) + " |")
            print()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-c", "--config", default=os.path.join(HERE, "bench.toml"))
    a.add_argument("-o", "--out", help="directory for raw JSON and tables")
    a.add_argument("-r", "--rounds", type=int, default=5)
    a.add_argument("-R", "--force-rounds", type=int, help="overrides the rounds of the scenarios too")
    a.add_argument("-d", "--secs", type=float, default=2)
    a.add_argument("-s", "--scenarios", default="", help="names or name* patterns")
    a.add_argument("-S", "--servers", default="")
    a.add_argument("-b", "--baseline")
    a.add_argument("-D", "--define", action="append", default=[])
    a.add_argument("-l", "--list", action="store_true", help="names of scenarios and servers")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # lets once() end its children
    a.add_argument("--report", action="store_true", help="only summarise what lies in -o DIR")
    args = a.parse_args()
    args.secs = int(args.secs) if args.secs == int(args.secs) else args.secs
    args.servers = [x for x in args.servers.split(",") if x]
    with open(args.config, "rb") as f:
        conf = tomllib.load(f)
    wanted = [x for x in args.scenarios.split(",") if x]
    def chosen(n):
        return not wanted or any(n == w or (w.endswith("*") and n.startswith(w[:-1])) for w in wanted)
    if args.list:
        for n, s in conf["scenario"].items():
            print(f"{n:20} {s['role']:8} {s.get('title', '')}")
        print("servers:", ", ".join(conf["server"]))
        return
    b = Bench(conf, args)
    if args.report:
        return report(b, args.out)
    for n, sc in conf["scenario"].items():
        if not chosen(n):
            continue
        runs, failed = b.scenario(n, sc)
        text = b.table(n, sc, runs, failed)
        print(text, flush=True)
        if args.out:
            os.makedirs(args.out, exist_ok=True)
            with open(os.path.join(args.out, n + ".json"), "w") as f:
                json.dump({"scenario": sc, "runs": runs, "failed": failed}, f)
            with open(os.path.join(args.out, n + ".md"), "w") as f:
                f.write(text)


if __name__ == "__main__":
    main()
