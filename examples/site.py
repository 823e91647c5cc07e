#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A folder on the web, with uploads and live news of them: site.py FOLDER [PORT [USER:PASSWORD]].

Files are under /files/ (ranges, so that videos can be searched); uploads of any size go to disk while they arrive, and
need the password when there is one; every open page hears of a new file through server-sent events."""
import os
import sys

from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Manager

PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<style>body { overflow-wrap: anywhere }</style><title>Site</title><h1>Site</h1><p><a href="/files/">Files</a>
<form action="/upload" method="post" enctype="multipart/form-data">
<input type="file" name="file" multiple required><button>Upload</button></form>
<ul id="news"></ul>
<script>
new EventSource("/events").addEventListener("upload", e => {
  const line = document.createElement("li");
  line.textContent = e.data;
  document.getElementById("news").prepend(line);
});
</script>"""
if len(sys.argv) < 2:
    sys.exit(__doc__)
folder = sys.argv[1]
user, _, password = sys.argv[3].partition(":") if len(sys.argv) > 3 else ("", "", "")


def on_form(conn, form):
    if form.error:
        return  # the client is told form.status
    try:
        for part in form.parts:
            name = part.filename.encode(errors="replace").decode()  # it may be no UTF-8
            name = name.replace("\\", "/").rsplit("/", 1)[-1].lstrip(".")  # a hint, never a path
            if part.is_file and name:
                part.save(os.path.join(folder, name))
                news.publish("upload", f"{name}: {part.size:,} bytes")
    except (OSError, ValueError) as error:  # a name that is too long, a folder's, ...
        conn.reply(400, f"{error}\n")
    else:
        conn.reply(303, "", {"Location": "/"})


def handler(conn, ev, data):
    if ev == MG_EV_HTTP_HDRS and data.method == "POST" and data.uri == "/upload":
        if len(sys.argv) > 3 and not data.is_user(user, password):
            conn.http_challenge("Basic", "uploads")
            return
        try:
            conn.receive_form(data, folder, on_form)
        except ValueError:  # it is none
            conn.reply(415, "A form is expected\n")
    elif ev == MG_EV_HTTP_MSG:
        if data.uri == "/":
            conn.compress(data)  # nothing secret is on this page
            conn.reply(200, PAGE, {"Content-Type": "text/html; charset=utf-8"})
        elif data.uri == "/events":
            conn.http_sse_begin()
            news.subscribe(conn)
        else:
            conn.serve_dir(data, folder, mount="/files")


manager = Manager(handler)
news = manager.event_channel()
listener = manager.listen(f"http://127.0.0.1:{sys.argv[2] if len(sys.argv) > 2 else 8000}")
print(f"http://127.0.0.1:{listener.local_addr[1]}/  (Ctrl-C ends it)", flush=True)
manager.run()
