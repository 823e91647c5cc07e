#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""uvicorn as a peer: the smallest ASGI application, on uvloop and httptools, one process.

  uvicorn_app.py PORT
"""
import sys

import uvicorn

START = {"type": "http.response.start", "status": 200,
         "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")]}
BODY = {"type": "http.response.body", "body": b"Hello, World!"}


async def app(scope, receive, send):
    await send(START)
    await send(BODY)


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off",
            access_log=False, log_level="critical", backlog=4096)
