# SPDX-License-Identifier: MIT
"""sntp_connect() and sntp_request(): against a server that does what a test wants, and against chronyd."""
import contextlib
import pathlib
import socket
import struct
import sys
import threading
import time

import pytest

from cymongoose import MG_EV_CLOSE, MG_EV_ERROR, MG_EV_SNTP_TIME, Connection, Manager
from support import HOST, name_of, settle, spin

sys.path.append(str(pathlib.Path(__file__).parents[1] / "e2e"))
import chrony  # noqa: E402

Y1970 = 2208988800


class TimeServer:
    """A socket that is asked, and answers when the test says so."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((HOST, 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.url = f"sntp://{HOST}:{self.port}"
        self.question = None

    def is_asked(self):
        with contextlib.suppress(BlockingIOError):
            self.question = self.socket.recvfrom(1000)
            return True
        return False

    def answer(self, *, flags=0x24, stratum=1, code=b"GPS\0", ahead=0.0, origin=None):
        packet, client = self.question
        now = int((time.time() + ahead + Y1970) * 2**32) & (2**64 - 1)
        self.socket.sendto(struct.pack("!BB2xII4sQ8sQQ", flags, stratum, 0, 0, code, now, origin or packet[40:48], now, now),
                           client)


@pytest.fixture
def time_server():
    server = TimeServer()
    with contextlib.closing(server.socket):
        yield server


def short(seen):
    return [name_of(ev) for _, ev, _ in seen]


@pytest.fixture
def asked(make_manager, time_server):
    """asked(...) -> (manager, connection, events) after the question has arrived. Events but POLL: (conn, ev, data)."""

    def ask(**options):
        seen = []

        def handler(conn, ev, data):
            if name_of(ev) != "POLL":
                seen.append((conn, ev, data))

        manager = make_manager()
        conn = manager.sntp_connect(time_server.url, handler, **options)
        spin(manager, time_server.is_asked, "the question")
        return manager, conn, seen

    return ask


def test_one_answer_and_the_end(asked, time_server):
    manager, conn, seen = asked()
    assert conn.is_client and conn.is_udp and conn.id > 0
    time_server.answer(ahead=7200)
    spin(manager, lambda: conn.is_closing and short(seen)[-1] == "CLOSE")
    assert short(seen) == ["OPEN", "RESOLVE", "CONNECT", "WRITE", "SNTP_TIME", "READ", "CLOSE"]
    told = seen[4][2]
    assert type(told) is int and abs(told / 1000 - time.time() - 7200) < 5
    assert all(each is conn for each, _, _ in seen)


def test_request_at_once_is_the_same_question(asked, time_server):
    manager, conn, seen = asked()
    conn.sntp_request()
    time_server.answer()
    time_server.answer()
    spin(manager, lambda: conn.is_closing and short(seen)[-1] == "CLOSE")
    assert short(seen).count("SNTP_TIME") == 1 and not time_server.is_asked()
    with pytest.raises(RuntimeError, match="closed"):
        conn.sntp_request()


def test_keep_open(asked, time_server):
    manager, conn, seen = asked(keep_open=True)
    for count in (1, 2, 3):
        time_server.answer()
        spin(manager, lambda count=count: short(seen).count("SNTP_TIME") == count)
        settle(manager)
        if count < 3:
            conn.sntp_request()
            spin(manager, time_server.is_asked)
    assert not conn.is_closing and "ERROR" not in short(seen)


def test_default_handler(make_manager, time_server):
    seen = []
    manager = make_manager(lambda conn, ev, data: seen.append((ev, data)), events=[MG_EV_SNTP_TIME, MG_EV_CLOSE])
    manager.sntp_connect(time_server.url.replace("sntp", "udp"))
    spin(manager, time_server.is_asked)
    time_server.answer()
    spin(manager, lambda: len(seen) == 2)
    assert [ev for ev, _ in seen] == [MG_EV_SNTP_TIME, MG_EV_CLOSE]


def test_forged_answers_are_ignored(asked, time_server):
    manager, conn, seen = asked()
    before = len(seen)
    time_server.answer(origin=b"notasked", ahead=3600)
    time_server.answer(origin=b"notasked", stratum=0, code=b"DENY")
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as other:
        other.sendto(b"\x24\x01" + bytes(46), time_server.question[1])
    settle(manager)
    assert len(seen) == before and not conn.is_closing
    time_server.answer()
    spin(manager, lambda: conn.is_closing)
    told = [data for _, ev, data in seen if ev == MG_EV_SNTP_TIME]
    assert len(told) == 1 and abs(told[0] / 1000 - time.time()) < 5


@pytest.mark.parametrize("changes, text", [
    ({"stratum": 0, "code": b"RATE"}, "the time server was asked too often (RATE)"),
    ({"stratum": 0, "code": b"DENY"}, "the time server denies access (DENY)"),
    ({"stratum": 16}, "the time server does not know the time"),
    ({"flags": 0xe4}, "the time server does not know the time"),
])
def test_useless_answers_are_errors(asked, time_server, changes, text):
    manager, conn, seen = asked(keep_open=True)
    time_server.answer(**changes)
    spin(manager, lambda: short(seen)[-1] == "CLOSE")
    assert short(seen)[-2:] == ["ERROR", "CLOSE"] and seen[-2][2] == text
    assert "SNTP_TIME" not in short(seen) and not time_server.is_asked()


def test_no_answer_in_time(asked):
    start = time.monotonic()
    manager, conn, seen = asked(timeout_ms=150)
    spin(manager, lambda: short(seen)[-1] == "CLOSE")
    assert time.monotonic() - start >= 0.149
    assert seen[-2][1:] == (MG_EV_ERROR, f"no answer from the time server {HOST} within 150 ms")


def test_bad_arguments(make_manager, time_server):
    manager = make_manager()
    for url in ("", "tcp://127.0.0.1:123", "sntp://"):
        with pytest.raises(RuntimeError, match="Failed to connect"):
            manager.sntp_connect(url)
    for arguments, options in (((), {}), ((1,), {}), ((b"sntp://x",), {}), (("sntp://x", None, 1), {}), (("sntp://x",), {"retry": 1}),
                               (("sntp://x",), {"timeout_ms": "1"})):
        with pytest.raises(TypeError):
            manager.sntp_connect(*arguments, **options)
    for timeout_ms in (0, -1, 2**32):
        with pytest.raises(OverflowError):
            manager.sntp_connect(time_server.url, timeout_ms=timeout_ms)
    assert manager.connections == ()
    plain = manager.connect(time_server.url.replace("sntp", "udp"))
    listener = manager.listen(f"tcp://{HOST}:0")
    for conn in (plain, listener):
        with pytest.raises(RuntimeError, match="sntp_connect"):
            conn.sntp_request()
    with pytest.raises(RuntimeError, match="closed"):
        Connection().sntp_request()
    manager.close()
    with pytest.raises(RuntimeError, match="freed"):
        manager.sntp_connect(time_server.url)


def test_exception_of_the_handler_is_reported(make_manager, time_server):
    raised = []

    def handler(conn, ev, data):
        if ev == MG_EV_SNTP_TIME:
            raise ValueError(data)

    manager = make_manager(handler, error_handler=raised.append)
    conn = manager.sntp_connect(time_server.url)
    spin(manager, time_server.is_asked)
    time_server.answer()
    spin(manager, lambda: conn.is_closing)
    assert len(raised) == 1 and isinstance(raised[0], ValueError)


def test_from_another_thread_during_poll(make_manager, time_server):
    seen = []
    manager = make_manager(lambda conn, ev, data: seen.append(ev))
    thread = threading.Thread(target=manager.sntp_connect, args=(time_server.url,))
    thread.start()
    spin(manager, time_server.is_asked)
    thread.join()
    time_server.answer()
    spin(manager, lambda: MG_EV_CLOSE in seen)
    assert MG_EV_SNTP_TIME in seen


@pytest.mark.skipif(chrony.find() is None, reason="no chronyd")
def test_chronyd(make_manager, tmp_path):
    told = []

    def handler(conn, ev, data):
        if ev in (MG_EV_SNTP_TIME, MG_EV_ERROR, MG_EV_CLOSE):
            told.append((conn, ev, data))

    with chrony.running(tmp_path, "local stratum 3") as port, chrony.running(tmp_path) as other:
        with Manager(handler) as manager:
            good = manager.sntp_connect(f"udp://localhost:{port}")
            good.sntp_request()
            without_time = manager.sntp_connect(f"sntp://{HOST}:{other}")
            spin(manager, lambda: len(told) == 4)
    (millis,) = [data for conn, ev, data in told if conn is good and ev == MG_EV_SNTP_TIME]
    assert abs(millis / 1000 - time.time()) < 30
    assert [data for conn, ev, data in told if conn is without_time] == ["the time server does not know the time", None]
