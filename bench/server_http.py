#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The Python server that is measured: a plain handler with the default events, so every event reaches Python.

  server_http.py [-p PORT] [-c] [-d] [-w DIR]
    -c  answer "Connection: close", for a new connection per request
    -d  listen with TCP_DEFER_ACCEPT, as the floor does with -c
    -w  answer with the files of this directory instead
"""
import argparse

from cymongoose import MG_EV_HTTP_MSG, Manager

a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
a.add_argument("-p", "--port", type=int, default=8000)
a.add_argument("-c", "--close", action="store_true")
a.add_argument("-d", "--defer", action="store_true")
a.add_argument("-w", "--www")
args = a.parse_args()


def hello(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "Hello, World!")


def hello_and_close(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "Hello, World!", {"Connection": "close"})


def serve_file(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.serve_dir(data, args.www)


manager = Manager(serve_file if args.www else hello_and_close if args.close else hello)
manager.listen(f"http://127.0.0.1:{args.port}", **({"defer_accept": True} if args.defer else {}))
manager.run()
