# SPDX-License-Identifier: MIT
"""Objects that are used while what they stand for is being taken down, and what a forked child must not take with it."""
import socket
import subprocess
import sys

import pytest

from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_READ, Connection, Manager
from support import HOST, Recorder, get, post, spin


def test_many_headers_that_are_left_out():
    """reply_json() sends no other Content-Type; forty of them are forty to be left out."""
    variants = {}
    for n in range(40):
        name = "".join(c.upper() if n >> i & 1 else c for i, c in enumerate("content-type"))
        variants[name] = "text/plain"
    with pytest.raises(RuntimeError):
        Connection().reply_json({}, headers=variants)


def test_a_timer_whose_end_cancels_another():
    timers = []

    class Callback:
        def __call__(self):
            pass

        def __del__(self):
            for timer in timers:
                timer.cancel()

    manager = Manager()
    timers += [manager.timer_add(100_000, Callback()) for _ in range(5)]
    manager.close()
    assert not any(timer.active for timer in timers)
    timers.clear()


def test_a_subclass_with_a_del_of_its_own_is_closed_all_the_same():
    class Mine(Manager):
        def __del__(self):
            pass

    manager = Mine()
    listener = manager.listen(f"tcp://{HOST}:0")
    port = listener.local_addr[1]
    del manager
    assert listener.is_closing
    with pytest.raises(RuntimeError):
        listener.send(b"x")
    with pytest.raises(OSError):
        socket.create_connection((HOST, port), 5).close()


def test_recv_takes_nothing_in_http_hdrs(make_manager, peer):
    """stream_body() begins with the READ that follows; what recv() gives there is given once."""
    got, early = [], []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.stream_body()
            early.append(conn.recv())
        elif ev == MG_EV_READ:
            got.append(conn.recv())
        elif ev == MG_EV_HTTP_MSG:
            conn.reply(200, b"".join(got))

    manager = make_manager(handler)
    client = peer(manager.listen(f"http://{HOST}:0").local_addr[1])
    client.send(post("/", b"once"))
    [response] = spin(manager, lambda: client.responses(1))
    assert response.body == b"once" and early == [b""]


def test_a_body_that_is_there_does_not_belong_to_the_request_before(make_manager, peer):
    """A streamed request without a body, between one with a body and the next: each gets its own bytes."""
    bodies = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS and data.uri == "/stream":
            conn.stream_body()
        elif ev == MG_EV_READ:
            conn.recv()
        elif ev == MG_EV_HTTP_MSG:
            bodies.append((data.uri, data.body_bytes))
            conn.reply(200, data.uri)

    manager = make_manager(handler)
    client = peer(manager.listen(f"http://{HOST}:0").local_addr[1])
    client.send(post("/first", b"0123456789"))
    spin(manager, lambda: client.responses(1))
    client.send(get("/stream") + get("/last"))
    responses = spin(manager, lambda: client.responses(3))
    assert [response.body for response in responses] == [b"/first", b"/stream", b"/last"]
    assert bodies == [("/first", b"0123456789"), ("/stream", b""), ("/last", b"")]


@pytest.mark.parametrize("events", [None, [MG_EV_HTTP_MSG]])
def test_interim_responses_are_no_messages(make_manager, events):
    """... whether or not somebody listens to HTTP_HDRS."""
    messages = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            messages.append(data.status())

    manager = make_manager(handler, events=events)
    with socket.create_server((HOST, 0)) as server:
        client = manager.connect(f"http://{HOST}:{server.getsockname()[1]}")
        client.send(get())
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            spin(manager, lambda: messages)
            assert messages == [200] and not client.is_closing


def test_a_reset_in_the_middle_of_a_response_is_an_error(make_manager):
    events = Recorder()
    manager = make_manager(events)
    with socket.create_server((HOST, 0)) as server:
        client = manager.connect(f"http://{HOST}:{server.getsockname()[1]}")
        client.send(get())
        accepted, _ = server.accept()
        accepted.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok")
        spin(manager, lambda: events.count("HTTP_HDRS"))
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        accepted.close()
        spin(manager, lambda: events.count("CLOSE"))
    assert events.count("ERROR") == 1 and events.count("HTTP_MSG") == 0


FORK = """
import os, socket, sys
from cymongoose import MG_EV_HTTP_MSG, Manager
manager = Manager(lambda conn, ev, data: conn.reply(200, "parent") if ev == MG_EV_HTTP_MSG else None)
port = manager.listen("http://127.0.0.1:0").local_addr[1]
path = sys.argv[1]
manager.listen("unix:" + path)
manager.poll(0)
child = os.fork()
if child == 0:
    sys.exit(0)  # with finalizers, which must not take down what the parent uses
os.waitpid(child, 0)
assert os.path.exists(path)
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
client.setblocking(False)
for _ in range(1000):
    manager.poll(10)
    try:
        print(client.recv(1000)[-6:].decode())
        break
    except BlockingIOError:
        pass
manager.close()
assert not os.path.exists(path)
"""


def test_a_forked_child_that_exits_leaves_the_parent_alone(tmp_path):
    done = subprocess.run([sys.executable, "-c", FORK, str(tmp_path / "s")], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("parent\n", "")
