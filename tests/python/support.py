# SPDX-License-Identifier: MIT
"""What the tests of this folder share: deadlines, a peer on a raw socket, a recorder of events, a reader of responses.

Most tests drive the manager on their own thread: spin() polls until a condition holds, and a Peer is a non-blocking
socket that is moved along by the condition itself. So nothing sleeps and nothing races. Tests of threads, and those
with a blocking client (http.client, curl's habits), use the Server of the fixture `server` instead.
"""
import contextlib
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
import time

import cymongoose
from cymongoose import MG_EV_HTTP_MSG, MG_EV_POLL, HttpMessage, Manager

HOST = "127.0.0.1"
BACKEND = os.environ.get("TAVI_BACKEND", "epoll")
INSTRUMENTED = "asan" in os.environ.get("LD_PRELOAD", "")
DEADLINE = 10.0 * (5 if INSTRUMENTED else 1)


def name_of(ev):
    """The short name of an event: 'HTTP_MSG' for MG_EV_HTTP_MSG."""
    return cymongoose.event_name(ev)[len("MG_EV_"):]


# ==== waiting ====

def spin(manager, until, what="the condition", seconds=DEADLINE, wait_ms=2):
    """Poll until until() is true, and return what it returned."""
    end = time.monotonic() + seconds
    while True:
        result = until()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come to hold within {seconds} s")
        manager.poll(wait_ms)


def settle(manager, turns=8):
    """A few turns in which nothing more is expected."""
    for _ in range(turns):
        manager.poll(2)


def wait_until(condition, what="the condition", seconds=DEADLINE):
    """The same without a manager, for what happens on other threads."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come to hold within {seconds} s")
        time.sleep(0.001)


def join(thread, seconds=DEADLINE):
    thread.join(seconds)
    assert not thread.is_alive(), f"{thread.name} did not end within {seconds} s"


# ==== HTTP as other people read it ====

class Response:
    def __init__(self, status, reason, headers, body, raw):
        self.status, self.reason, self.headers, self.body, self.raw = status, reason, headers, body, raw

    def header(self, name):
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} appears {len(values)} times in {self.raw!r}"
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.status} {self.headers} {self.body[:60]!r}>"


def _chunked_body(data, at):
    parts = []
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None, at
        size = int(data[at:end].split(b";")[0], 16)
        if len(data) < end + 2 + size + 2:
            return None, at
        parts.append(data[end + 2:end + 2 + size])
        assert data[end + 2 + size:end + 4 + size] == b"\r\n", "a chunk must end in CRLF"
        at = end + 4 + size
        if size == 0:
            return b"".join(parts), at


def read_responses(data, methods=()):
    """The complete responses at the start of data, and what is left. methods: of the requests, where not GET."""
    data, at, responses = bytes(data), 0, []
    while True:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return responses, data[at:]
        lines = data[at:end].decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) (.*)", lines[0])
        assert match, f"no status line: {lines[0]!r}"
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        fields = {name.lower(): value for name, value in headers}
        status, body_at = int(match[1]), end + 4
        method = methods[len(responses)] if len(responses) < len(methods) else "GET"
        if method == "HEAD" or status in (204, 304) or status < 200:
            body, after = b"", body_at
        elif fields.get("transfer-encoding", "").lower() == "chunked":
            body, after = _chunked_body(data, body_at)
        else:
            length = int(fields["content-length"])
            body, after = data[body_at:body_at + length], body_at + length
            body = body if len(body) == length else None
        if body is None:
            return responses, data[at:]
        responses.append(Response(status, match[2], headers, body, data[at:after]))
        at = after


def get(path="/", **headers):
    """The bytes of a GET request."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n".encode()


def post(path, body, **headers):
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


# ==== the other end ====

class Peer:
    """A raw client socket that never blocks: send() queues, pump() moves bytes in both directions."""

    def __init__(self, target, family=socket.AF_INET):
        self.received = bytearray()
        self.eof = False
        self.was_reset = False
        self._out = bytearray()
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(DEADLINE)
        try:
            self.socket.connect(target if isinstance(target, (tuple, str)) else (HOST, target))
        except OSError:
            self.socket.close()
            raise
        self.socket.setblocking(False)
        if family != socket.AF_UNIX:
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def address(self):
        return self.socket.getsockname()

    def send(self, data):
        self._out += data
        self.pump(reading=False)

    def pump(self, reading=True):
        try:
            while self._out:
                del self._out[:self.socket.send(self._out)]
        except BlockingIOError:
            pass
        except OSError:
            self._out.clear()
        while reading and not self.eof:
            try:
                data = self.socket.recv(1 << 18)
            except BlockingIOError:
                break
            except OSError:
                self.eof = self.was_reset = True
                break
            if data:
                self.received += data
            else:
                self.eof = True
        return self

    @property
    def sent_all(self):
        return not self.pump(reading=False)._out

    def has(self, n):
        return len(self.pump().received) >= n

    def responses(self, n, methods=()):
        """n complete responses, or None while there are fewer."""
        found, _ = read_responses(self.pump().received, methods)
        return found if len(found) >= n else None

    def closed(self):
        return self.pump().eof

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Recorder:
    """A handler that notes every event except POLL, and may go on with another handler.

    Entries are (conn, event name, data); of an HttpMessage a dict of copies is kept, because the view dies.
    """

    def __init__(self, then=None):
        self.entries = []
        self.then = then

    def __call__(self, conn, ev, data):
        if ev == MG_EV_POLL:
            return
        if isinstance(data, HttpMessage):
            data = {"view": data, "method": data.method, "uri": data.uri, "query": data.query, "proto": data.proto,
                    "body": data.body_bytes, "headers": data.headers(), "status": data.status()}
        self.entries.append((conn, name_of(ev), data))
        if self.then is not None:
            self.then(conn, ev, data["view"] if isinstance(data, dict) else data)

    def names(self, conn=None):
        """The events in order: of one connection, or of all."""
        return [name for who, name, _ in self.entries if conn is None or who is conn]

    def count(self, name):
        return self.names().count(name)

    def data(self, name):
        return [data for _, event, data in self.entries if event == name]

    def who(self, name):
        """The connections that got this event, in order."""
        return [conn for conn, event, _ in self.entries if event == name]

    def accepted(self):
        """The first accepted connection."""
        conns = self.who("ACCEPT")
        return conns[0] if conns else None


class Server:
    """The usual harness: a thread that owns the loop, stopped by a flag and closed from the test's thread."""

    def __init__(self, handler, url=f"http://{HOST}:0", poll_ms=100, manager_options=(), **listen_options):
        self.manager = Manager(handler, **dict(manager_options))
        self.listener = self.manager.listen(url, **listen_options)
        self.port = self.listener.local_addr[1]
        self.failure = None
        self._poll_ms = poll_ms
        self._stop = threading.Event()
        self.thread = threading.Thread(target=self._run, name="server", daemon=True)
        self.thread.start()

    def _run(self):
        try:
            while not self._stop.is_set():
                self.manager.poll(self._poll_ms)
        except BaseException as exc:  # the test's thread raises it again
            self.failure = exc

    def stop(self):
        self._stop.set()
        join(self.thread)
        self.manager.close()
        if self.failure is not None:
            raise self.failure


def hello(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "OK")


def ignore(conn, ev, data):
    pass


def exchange(http, peer, request, action, responses=1, methods=(), **options):
    """Run action(conn, message) inside HTTP_MSG of each request; the responses, and what the actions returned or raised.

    An action that raises is answered with 500. manager_options and those of listen() may be given."""
    outcomes = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            try:
                outcomes.append(action(conn, data))
            except Exception as exc:
                outcomes.append(exc)
                if not conn.is_closing:
                    conn.reply(500, "refused")

    manager, port = http(handler, **options)
    client = peer(port)
    client.send(request)
    return spin(manager, lambda: client.responses(responses, methods), "the response"), outcomes


# ==== processes ====

def run_python(code, *options, env=None, seconds=60):
    """Run code in a fresh interpreter; returns the finished process with text output."""
    return subprocess.run([sys.executable, *options, "-c", code], env={**os.environ, **(env or {})},
                          capture_output=True, text=True, timeout=seconds * (5 if INSTRUMENTED else 1))


@contextlib.contextmanager
def python_process(code, *options, env=None):
    """A running interpreter with pipes; killed when the block is left."""
    process = subprocess.Popen([sys.executable, *options, "-c", code], env={**os.environ, **(env or {})},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def read_line(process, seconds=DEADLINE):
    """One line of its output, with a deadline."""
    assert select.select([process.stdout], [], [], seconds)[0], "the process printed nothing"
    return process.stdout.readline().strip()


def descriptors():
    """The open descriptors, as a dict from number to what it is."""
    found = {}
    for entry in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(entry)] = os.readlink(f"/proc/self/fd/{entry}")
    return {fd: what for fd, what in found.items() if "/proc/" not in what}


def free_port(kind=socket.SOCK_STREAM):
    """A port that nobody listens on just now."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
