# SPDX-License-Identifier: MIT
"""Connection.resolve(), as far as it needs no name server; with one: tests/e2e/test_names.py."""
import socket
import threading

import pytest

from cymongoose import Connection, Manager
from support import DEADLINE, Recorder, join, settle, spin


@pytest.fixture
def silent_server():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("url, wanted", [
    ("10.1.2.3", (("10.1.2.3", 0, False),)),
    ("tcp://10.1.2.3:80", (("10.1.2.3", 80, False),)),
    ("wss://[::1]:443/x", (("::1", 443, True),)),
    ("LOCALHOST:7", (("127.0.0.1", 7, False), ("::1", 7, True)))])
def test_what_is_known_is_told_inside_the_call(make_manager, url, wanted):
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen("tcp://127.0.0.1:0")
    assert listener.resolved == ()
    listener.resolve(url)
    assert events.entries[-1] == (listener, "RESOLVE", None)
    assert listener.resolved == wanted and listener.remote_addr == wanted[0]
    settle(manager)
    assert events.count("RESOLVE") == 1 and not listener.is_closing


def test_a_connection_keeps_its_peer(make_manager):
    events = Recorder()
    manager = make_manager(events)
    port = manager.listen("tcp://127.0.0.1:0").local_addr[1]
    client = manager.connect(f"tcp://127.0.0.1:{port}")
    spin(manager, lambda: events.count("CONNECT"))
    client.resolve("10.1.2.3")
    assert client.remote_addr == ("127.0.0.1", port, False) and client.resolved == (("10.1.2.3", 0, False),)


@pytest.mark.parametrize("url", ["", "tcp://", "unix:/x", "a b", "[::1"])
def test_no_host(make_manager, url):
    listener = make_manager().listen("tcp://127.0.0.1:0")
    with pytest.raises(ValueError):
        listener.resolve(url)


def test_arguments(make_manager):
    listener = make_manager().listen("tcp://127.0.0.1:0")
    for bad in (None, 1, b"a.test"):
        with pytest.raises(TypeError):
            listener.resolve(bad)
    with pytest.raises(ValueError):
        listener.resolve("a\0b")
    with pytest.raises(TypeError):
        listener.resolve()
    listener.close()
    for call in (lambda: listener.resolve("localhost"), listener.resolve_cancel, lambda: Connection().resolve("localhost")):
        with pytest.raises(RuntimeError):
            call()
    assert Connection().resolved == ()


def test_bad_options():
    for servers in ("x", "", "localhost", "1.1.1.1:0"):
        with pytest.raises(ValueError):
            Manager(dns_servers=servers)
    with pytest.raises(TypeError):
        Manager(dns_servers=53)
    for ms in (0, -1, 1 << 32):
        with pytest.raises(OverflowError):
            Manager(dns_timeout_ms=ms)
    Manager(dns_servers=None, dns_timeout_ms=None).close()


def test_silence_ends_and_names_the_host(make_manager, silent_server):
    events = Recorder()
    manager = make_manager(events, dns_servers=silent_server, dns_timeout_ms=150)
    listener = manager.listen("tcp://127.0.0.1:0")
    listener.resolve("name.test")
    client = manager.connect("tcp://other.test:80")
    spin(manager, lambda: events.count("RESOLVE") and events.count("CLOSE"))
    assert events.data("RESOLVE") == ["name.test: no name server answers"]
    assert events.names(client) == ["OPEN", "ERROR", "CLOSE"]
    assert "other.test" in events.data("ERROR")[0]
    assert not listener.is_closing


def test_cancel_and_replace(make_manager, silent_server):
    events = Recorder()
    manager = make_manager(events, dns_servers=silent_server)
    listener = manager.listen("tcp://127.0.0.1:0")
    listener.resolve("name.test")
    settle(manager, 3)
    listener.resolve("10.0.0.1")
    assert events.data("RESOLVE") == [None]
    listener.resolve("name.test")
    listener.resolve_cancel()
    listener.resolve_cancel()
    client = manager.connect("tcp://other.test:80")
    client.resolve_cancel()
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(client) == ["OPEN", "CLOSE"] and events.count("RESOLVE") == 1


def test_another_thread_ends_the_wait(make_manager):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(DEADLINE)
        events = Recorder()
        manager = make_manager(events, dns_servers=f"127.0.0.1:{server.getsockname()[1]}")
        listener = manager.listen("tcp://127.0.0.1:0")
        asked = []

        def other():
            listener.resolve("name.test")
            asked.append(server.recv(512))
            listener.resolve_cancel()
            listener.close()

        thread = threading.Thread(target=other)
        thread.start()
        spin(manager, lambda: events.count("CLOSE"), wait_ms=60000)
        join(thread)
    assert b"\4name\4test" in asked[0] and "RESOLVE" not in events.names()


def test_handlers_may_resolve_and_close(make_manager):
    manager = make_manager(lambda conn, ev, data: None)
    listener = manager.listen("tcp://127.0.0.1:0")
    left = [50]

    def again(conn, ev, data):
        if left[0] > 0:
            left[0] -= 1
            conn.resolve("localhost")
        else:
            conn.close()

    listener.set_handler(again)
    listener.resolve("127.0.0.1")
    settle(manager)
    assert left == [0] and listener.is_closing
