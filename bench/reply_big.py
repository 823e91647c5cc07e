#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A reply of many bytes from Python is not copied: the memory that it takes, and the time.

  reply_big.py [-n MIB] [-k CONNECTIONS]

Each of some clients asks for the same bytes object of MIB (default 10) and reads nothing until all have been answered,
so that all replies are in the queues at once. Copies would take CONNECTIONS (default 20) times as much memory. VmHWM is
the most memory that the process ever had; what sockets hold is the system's and not in it. cymongoose has to be on
PYTHONPATH.
"""
import argparse, re, socket, sys, time

from cymongoose import MG_EV_HTTP_MSG, Manager

a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
a.add_argument("-n", "--mib", type=int, default=10)
a.add_argument("-k", "--connections", type=int, default=20)
args = a.parse_args()

body = b"x" * (args.mib << 20)
answered = 0


def peak_kib():
    with open("/proc/self/status") as f:
        return int(re.search(r"VmHWM:\s+(\d+) kB", f.read())[1])


def handler(conn, ev, data):
    global answered
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, body)
        answered += 1


def read_all(client):
    """Takes what has come; bytes."""
    size = 0
    try:
        while n := client.recv_into(room):
            size += n
    except BlockingIOError:
        pass
    return size


manager = Manager(handler)
port = manager.listen("http://127.0.0.1:0").local_addr[1]
clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(args.connections)]
room = bytearray(1 << 20)
for client in clients:
    client.setblocking(False)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
before, t0 = peak_kib(), time.process_time()
while answered < len(clients):
    manager.poll(100)
manager.poll(0)
grown, queued_ms = peak_kib() - before, (time.process_time() - t0) * 1000

got, end = 0, time.time() + 60
while got < len(clients) * len(body) and time.time() < end:
    manager.poll(0)
    got += sum(read_all(client) for client in clients)
manager.close()
if got < len(clients) * len(body):
    sys.exit(f"only {got} bytes came")
print(f"{len(clients)} replies of {args.mib} MiB: {grown} KiB of memory more, {queued_ms / len(clients):.3f} ms each "
      f"to queue it and to fill the socket")
if grown > len(body) >> 10:
    sys.exit("that is a copy")
