#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The Python server of server-sent events that is measured: GET /events subscribes to an EventChannel, any other
request publishes one event on it.

  server_sse.py [-p PORT] [-s EVENT_BYTES]
    -s  bytes of an event as text ("data: ...", two line feeds), without the chunk's framing
"""
import argparse

from cymongoose import MG_EV_HTTP_MSG, Manager

a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
a.add_argument("-p", "--port", type=int, default=8000)
a.add_argument("-s", "--size", type=int, default=64)
args = a.parse_args()
text = "x" * (args.size - len("data: \n\n"))


def handler(conn, ev, data):
    if ev != MG_EV_HTTP_MSG:
        return
    if data.uri == "/events":
        conn.http_sse_begin()
        channel.subscribe(conn)
    else:
        channel.publish("", text)
        conn.reply(204)


manager = Manager(handler)
channel = manager.event_channel()
manager.listen(f"http://127.0.0.1:{args.port}")
manager.run()
