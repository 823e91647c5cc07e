#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One table of what figures.sh has measured, beside what we want to reach.

  summary.py [DIR]        (default: results beside this file)

Scenarios: CPU time per operation as a ratio to the floor (ratio of the medians), in brackets the middle half of the
ratios round by round, which tells how far to believe it. All else: the figure itself.
"""
import json, os, re, statistics, sys

HERE = os.path.dirname(os.path.abspath(__file__))

SCENARIOS = (  # scenario, C server, Python server, target of each
    ("http_1", "tavi", "tavi-py", None, None),
    ("http_64", "tavi", "tavi-py", 1.06, 1.15),
    ("http_512", "tavi", "tavi-py", 1.05, 1.15),
    ("pipe16_64", "tavi", "tavi-py", 1.20, 1.6),
    ("churn_64", "tavi", "tavi-py", 1.10, 1.15),
    ("churn_64", "tavi-nodefer", "tavi-py-nodefer", 1.6, 1.7),
    ("idle10k_64", "tavi", "tavi-py", 1.08, 1.15),
    ("static_1k", "tavi", "tavi-py", None, None),
    ("static_100k", "tavi", "tavi-py", None, None),
    ("static_10m", "tavi", "tavi-py", None, None),
    ("sse_1000", "tavi", "tavi-py", 1.20, 1.30),
)
INSTRUCTIONS = (("http", 1500, 5500), ("http_browser", 4500, 8500))
LOOP = (  # figure, unit, target of C and of Python, True when more is better
    ("poll_timers_0", "us", None, None, False),
    ("poll_timers_1000", "us", None, None, False),
    ("poll_timers_100000", "us", 0.3, 0.6, False),
    ("poll_conns_10000", "us", 0.3, 0.6, False),
    ("wakeup_round_trips", "/s", None, None, True),
    ("wakeup_1_small", "/s", 5e6, 0.5e6, True),
    ("wakeup_4_small", "/s", 5e6, 0.5e6, True),
    ("wakeup_4_mixed", "/s", None, None, True),
)
# The cost of each at 1,000,000 timers is to be within 4 times that at 1,000
TIMERS = ("timer_add_first", "timer_add", "timer_cancel", "timer_cancel_shuffled", "timer_fire")


def load(path):
    if not os.path.exists(path):
        return None
    with open(path) as f:
        return json.load(f)


def lines_of(path):
    """name -> value of the lines "name value unit" of the loop programs."""
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return {m[1]: float(m[2]) for m in (re.match(r"(\w+) +([\d.]+) \S+$", line) for line in f) if m}


def middle(values):
    q = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
    return q[0], q[2]


def verdict(value, target, more=False):
    if value is None or target is None:
        return "-"
    return "yes" if (value >= target if more else value <= target) else "NO"


def shown(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}" if value < 1000 else f"{value:,.0f}"


def row(name, floor, c, py, c_target, py_target, more=False, digits=2, cells=None):
    sign = ">=" if more else "<="
    targets = ", ".join("-" if t is None else f"{sign} {t:,.10g}" for t in (c_target, py_target))
    print("| " + " | ".join((name, shown(floor, digits), *(cells or (shown(c, digits), shown(py, digits))), targets,
                             verdict(c, c_target, more) + ", " + verdict(py, py_target, more))) + " |")


def ratio(runs, server):
    """(ratio of medians, cell of the table) of one server to the floor."""
    floor, own = runs.get("floor"), runs.get(server)
    if not floor or not own:
        return None, "-"
    value = statistics.median(r["cpu_us"] for r in own) / statistics.median(r["cpu_us"] for r in floor)
    low, high = middle([a["cpu_us"] / b["cpu_us"] for a, b in zip(own, floor)])
    return value, f"{value:.2f} ({low:.2f}..{high:.2f})"


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(HERE, "results")
    print("| figure | floor | C | Python | targets: C, Python | met |\n|---|---|---|---|---|---|")
    for name, c, py, c_target, py_target in SCENARIOS:
        data = load(os.path.join(out, name + ".json"))
        if data is None:
            continue
        runs = data["runs"]
        (c_value, c_cell), (py_value, py_cell) = ratio(runs, c), ratio(runs, py)
        floor = statistics.median(r["cpu_us"] for r in runs["floor"]) if runs.get("floor") else None
        label = f"{name}{', no defer' if c.endswith('nodefer') else ''}, x floor (floor: us), n={len(runs.get(c, []))}"
        row(label, floor, c_value, py_value, c_target, py_target, cells=(c_cell, py_cell))
    found = load(os.path.join(out, "instr.json")) or {}
    for kind, c_target, py_target in INSTRUCTIONS:
        own = found.get(kind, {})
        row(f"instructions per request, {kind}", own.get("floor"), own.get("tavi"), own.get("tavi-py"), c_target,
            py_target, digits=0)
    data = load(os.path.join(out, "rss_http_used.json"))
    if data:
        med = {n: statistics.median(r["bytes_per_conn"] for r in rs) for n, rs in data["runs"].items() if rs}
        row("bytes per idle connection, after a request", med.get("floor"), med.get("tavi"), med.get("tavi-py"), 256,
            384, digits=0)
    floor, c, py = (lines_of(os.path.join(out, f"loop_{x}.txt")) for x in ("floor", "c", "py"))
    for name, unit, c_target, py_target, more in LOOP:
        row(f"{name}, {unit}", floor.get(name), c.get(name), py.get(name), c_target, py_target, more, digits=3)
    for name in TIMERS:
        few, many = c.get(name + "_1000"), c.get(name + "_1000000")
        row(f"{name}, ns, 1,000,000 timers (1,000: {shown(few, 0)})", floor.get(name + "_1000000"), many, None,
            few and 4 * few, None, digits=0)
    path = os.path.join(out, "malloc_count.txt")
    if os.path.exists(path):
        with open(path) as f:
            per = re.search(r"^tavi: .*: ([\d.]+) per request", f.read(), re.M)
        row("allocations per keep-alive request", None, float(per[1]) if per else None, None, 0, None, digits=3)


if __name__ == "__main__":
    main()
