#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The Python server of uploads that is measured (upload.py): receives a form, whose files go to a directory and are
dropped, and tells how many bytes they had.

  server_upload.py [-p PORT] -w DIR
"""
import argparse

from cymongoose import MG_EV_HTTP_HDRS, Manager

a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
a.add_argument("-p", "--port", type=int, default=8000)
a.add_argument("-w", "--directory", required=True)
args = a.parse_args()


def on_form(conn, form):
    if not form.error:
        conn.reply(200, f"{sum(part.size for part in form.parts)}\n")


def handler(conn, ev, data):
    if ev == MG_EV_HTTP_HDRS:
        conn.receive_form(data, args.directory, on_form, file_bytes_max=1 << 32)


manager = Manager(handler)
manager.listen(f"http://127.0.0.1:{args.port}")
manager.run()
