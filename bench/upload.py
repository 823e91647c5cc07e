#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a large upload costs a server: its memory, which must not grow with the file, and its CPU time.

  upload.py [-D build=DIR] [-S SERVER,..] [-n MIB] [-d DIRECTORY]

curl sends a form with one file of MIB (default 1024) to each server, which writes it to DIRECTORY (default: a new one
below the system's for temporary files) and drops it. Printed are the growth of VmHWM, the most memory that the server
ever had, over what it was after an upload of 1 MiB; CPU seconds per GiB, threads that write included; and the time that
it took. The file is made of random bytes, so boundaries have to be looked for. The floor is `dd`, from a pipe to a
file: what it costs to read and write so many bytes without looking at them.
"""
import argparse, os, re, resource, shlex, shutil, subprocess, sys, tempfile, time
import tomllib
from compare import HERE, Bench, cpu_ns, free_port, stop, tree, wait_port

MIB = 1 << 20


def peak_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1])


def make_file(path, mib):
    block = os.urandom(MIB)
    with open(path, "wb") as f:
        for i in range(mib):
            f.write(block[i:] + block[:i])


def send(port, path):
    """Uploads the file; seconds."""
    t0 = time.time()
    out = subprocess.run(["curl", "-sS", "-F", f"file=@{path}", f"http://127.0.0.1:{port}/"],
                         capture_output=True, text=True, timeout=600)
    if out.stdout.strip() != str(os.path.getsize(path)):
        raise RuntimeError(f"the server says {out.stdout.strip()!r} {out.stderr.strip()}")
    return time.time() - t0


def measure(bench, command, directory, small, large):
    port = free_port()
    proc = bench.spawn(bench.cpus["server"], bench.fill(command, port=port, upload_dir=directory), stderr=None)
    try:
        wait_port(port, proc)
        pid = tree(proc.pid)[-1]
        send(port, small)
        peak, cpu = peak_kib(pid), cpu_ns([pid])
        took = send(port, large)
        return {"peak_kib": peak_kib(pid), "growth_kib": peak_kib(pid) - peak,
                "cpu_s": (cpu_ns([pid]) - cpu) / 1e9, "took_s": took}
    finally:
        stop(proc)


def floor(directory, large):
    """CPU seconds and time of dd, which gets the file through a pipe."""
    out = os.path.join(directory, "floor")
    before, t0 = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    with subprocess.Popen(["cat", large], stdout=subprocess.PIPE) as source:
        pid = subprocess.Popen(["dd", "bs=64k", f"of={out}", "status=none"], stdin=source.stdout).pid
        _, _, used = os.wait4(pid, 0)
    os.unlink(out)
    return {"cpu_s": used.ru_utime + used.ru_stime, "took_s": time.time() - t0}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("-c", "--config", default=os.path.join(HERE, "bench.toml"))
    a.add_argument("-D", "--define", action="append", default=[])
    a.add_argument("-S", "--servers", default="tavi,tavi-py")
    a.add_argument("-n", "--mib", type=int, default=1024)
    a.add_argument("-d", "--directory", default=tempfile.gettempdir())
    args = a.parse_args()
    args.secs = 1
    with open(args.config, "rb") as f:
        conf = tomllib.load(f)
    bench = Bench(conf, args)
    if shutil.disk_usage(args.directory).free < 3 * args.mib * MIB:
        sys.exit(f"{args.directory} has no room for a file of {args.mib} MiB and its copy")

    with tempfile.TemporaryDirectory(dir=args.directory) as directory:
        small, large = (os.path.join(directory, name) for name in ("small", "large"))
        make_file(small, 1)
        make_file(large, args.mib)
        gib = args.mib / 1024
        r = floor(directory, large)
        print(f"{'dd':12} cpu {r['cpu_s'] / gib:6.2f} s/GiB   took {r['took_s']:6.2f} s", flush=True)
        for name in args.servers.split(","):
            command = conf["server"][name]["upload"]
            if (what := bench.missing(command)) is not None:
                print(f"{name:12} left out, there is no {what}")
                continue
            r = measure(bench, command, directory, small, large)
            print(f"{name:12} cpu {r['cpu_s'] / gib:6.2f} s/GiB   took {r['took_s']:6.2f} s   "
                  f"peak {r['peak_kib']} KiB, {r['growth_kib']} KiB more than after 1 MiB", flush=True)


if __name__ == "__main__":
    main()
