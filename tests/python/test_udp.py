# SPDX-License-Identifier: MIT
"""Datagrams beyond those that connect() and send() are for: to any address, to groups, to everybody."""
import contextlib
import socket

import pytest

from cymongoose import MG_EV_READ, Connection
from support import HOST, settle, spin


@pytest.fixture
def bind(make_manager):
    """bind(manager, url, ...) -> (connection, [(datagram, sender), ...])."""

    def make(manager, url=f"udp://{HOST}:0", **options):
        got = []

        def handler(conn, ev, data):
            if ev == MG_EV_READ:
                got.append((conn.recv_data(), conn.remote_addr))

        return manager.listen(url, handler, **options), got

    return make


def test_send_to_any_address(make_manager, bind):
    manager = make_manager()
    sender, _ = bind(manager)
    others = [bind(manager) for _ in range(3)]
    for conn, _ in others:
        sender.send_to(conn.local_addr, f"to {conn.id}")
        sender.send_to(conn.local_addr[:2], b"")
        sender.send_to((HOST, conn.local_addr[1]), bytearray(65507))
    spin(manager, lambda: all(len(got) == 3 for _, got in others))
    for conn, got in others:
        assert [data for data, _ in got] == [f"to {conn.id}".encode(), b"", bytes(65507)]
        assert {who for _, who in got} == {sender.local_addr}
    assert not sender.is_closing


def test_send_to_leaves_the_answered_peer(make_manager, bind):
    manager = make_manager()
    server, got = bind(manager)
    other, heard = bind(manager)
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as client:
        client.setblocking(False)
        client.sendto(b"", server.local_addr[:2])
        spin(manager, lambda: got)
        server.send_to(other.local_addr, "news")
        server.send("answer")
        spin(manager, lambda: heard)
        assert client.recv(100) == b"answer" and heard[0][0] == b"news"


def test_send_to_what_cannot_be(make_manager, bind):
    manager = make_manager()
    sender, _ = bind(manager)
    client = manager.connect(f"udp://{HOST}:9")
    stream = manager.listen(f"tcp://{HOST}:0")
    for addr in (("localhost", 9), ("", 9), (HOST, 0), ("::1", 9), ("x" * 500, 9), ("fe80::1%nobody0", 9)):
        with pytest.raises(ValueError, match="cannot send to"):
            sender.send_to(addr, b"x")
    for addr in (None, HOST, (HOST,), (HOST, 9, False, 0), [HOST, 9], (9, HOST), (b"127.0.0.1", 9)):
        with pytest.raises(TypeError):
            sender.send_to(addr, b"x")
    for port in (-1, 65536):
        with pytest.raises(OverflowError):
            sender.send_to((HOST, port), b"x")
    for data in (None, 3):
        with pytest.raises(TypeError):
            sender.send_to((HOST, 9), data)
    with pytest.raises(RuntimeError, match="too big"):
        sender.send_to((HOST, 9), bytes(65508))
    for conn in (client, stream):
        with pytest.raises(RuntimeError, match="send_to"):
            conn.send_to((HOST, 9), b"x")
    sender.close()
    for conn in (sender, Connection()):
        with pytest.raises(RuntimeError, match="closed"):
            conn.send_to((HOST, 9), b"x")


def test_broadcast(make_manager, bind):
    manager = make_manager()
    sender, _ = bind(manager, "udp://:0")
    other, got = bind(manager, "udp://:0")
    everybody = ("127.255.255.255", other.local_addr[1])
    with pytest.raises(RuntimeError, match="permission"):
        sender.send_to(everybody, "all")
    sender.set_broadcast()
    sender.send_to(everybody, "all")
    spin(manager, lambda: got)
    sender.set_broadcast(False)
    with pytest.raises(RuntimeError, match="permission"):
        sender.send_to(everybody, "all")
    with pytest.raises(RuntimeError, match="UDP"):
        manager.listen(f"tcp://{HOST}:0").set_broadcast()


def test_groups(make_manager, bind):
    manager = make_manager()
    one, heard_by_one = bind(manager, "udp://:0", reuse_port=True)
    port = one.local_addr[1]
    two, heard_by_two = bind(manager, f"udp://:{port}", reuse_port=True)
    sender, heard_by_sender = bind(manager, "udp://:0")
    group = "239.255.7.77"
    one.join_group(group, "lo")
    two.join_group(group, interface="lo")
    sender.set_multicast("lo", hops=0)
    sender.send_to((group, port), "hello")
    spin(manager, lambda: heard_by_one and heard_by_two)
    one.send("hello yourself")
    spin(manager, lambda: heard_by_sender)
    assert heard_by_sender[0][0] == b"hello yourself"
    one.leave_group(group, "lo")
    sender.send_to((group, port), "again")
    spin(manager, lambda: len(heard_by_two) == 2)
    settle(manager)
    assert len(heard_by_one) == 1


def test_groups_that_cannot_be(make_manager, bind):
    manager = make_manager()
    conn, _ = bind(manager, "udp://:0")
    stream = manager.listen(f"tcp://{HOST}:0")
    for group in (HOST, "", "nonsense", "ff02::1"):
        with pytest.raises(ValueError, match="no group"):
            conn.join_group(group)
    with pytest.raises(ValueError, match="not in"):
        conn.leave_group("239.255.7.78", "lo")
    with pytest.raises(RuntimeError, match="not found"):
        conn.join_group("239.255.7.78", "nobody0")
    conn.join_group("239.255.7.78", "lo")
    with pytest.raises(RuntimeError, match="in use"):
        conn.join_group("239.255.7.78", "lo")
    with pytest.raises(TypeError):
        conn.join_group(7)
    with pytest.raises(TypeError):
        conn.join_group("239.255.7.78", 1)
    for hops in (-1, 256):
        with pytest.raises(OverflowError):
            conn.set_multicast(hops=hops)
    with pytest.raises(RuntimeError, match="not found"):
        conn.set_multicast("nobody0")
    for method in (stream.join_group, stream.leave_group):
        with pytest.raises(RuntimeError, match="UDP"):
            method("239.255.7.78")
    with pytest.raises(RuntimeError, match="UDP"):
        stream.set_multicast()
    conn.close()
    for method in (conn.join_group, conn.leave_group):
        with pytest.raises(RuntimeError, match="closed"):
            method("239.255.7.78")


def test_shared_port(make_manager, bind):
    manager = make_manager()
    first, _ = bind(manager)
    with pytest.raises(RuntimeError, match="in use"):
        bind(manager, f"udp://{HOST}:{first.local_addr[1]}", reuse_port=True)
    second, _ = bind(manager, reuse_port=True)
    third, _ = bind(manager, f"udp://{HOST}:{second.local_addr[1]}", reuse_port=True)
    assert third.local_addr == second.local_addr
