#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A page, a JSON route, a timer, and a thread that answers through wakeup: hello.py [PORT] (0: any free one)."""
import json
import sys
import threading
import time

from cymongoose import MG_EV_HTTP_MSG, MG_EV_WAKEUP, Manager

PAGE = b"""<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Tavi</title><h1>Hello from Tavi</h1>
<ul><li><a href="/api/status">/api/status</a>: JSON<li><a href="/slow">/slow</a>: answered by a worker thread</ul>"""
started = time.monotonic()
ticks = 0


def work(manager, conn_id):
    """On a thread of its own: the loop goes on serving meanwhile."""
    digits = sum(int(d) for d in str(7**5000))
    manager.wakeup(conn_id, json.dumps({"digits of 7**5000 add up to": digits}).encode())


def on_tick():
    global ticks
    ticks += 1


def handler(conn, ev, data):
    if ev == MG_EV_WAKEUP:
        conn.reply(200, data, {"Content-Type": "application/json"})
    elif ev == MG_EV_HTTP_MSG:
        if data.uri == "/":
            conn.reply(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        elif data.uri == "/api/status":
            up = round(time.monotonic() - started, 3)
            conn.reply_json({"status": "ok", "up_seconds": up, "ticks": ticks, "connections": len(manager.connections)})
        elif data.uri == "/slow":
            threading.Thread(target=work, args=(manager, conn.id), daemon=True).start()
        else:
            conn.reply(404, "Not found\n")


manager = Manager(handler, enable_wakeup=True)
listener = manager.listen(f"http://127.0.0.1:{sys.argv[1] if len(sys.argv) > 1 else 8000}")
manager.timer_add(1000, on_tick, repeat=True)
print(f"http://127.0.0.1:{listener.local_addr[1]}/  (Ctrl-C ends it)", flush=True)
manager.run()
