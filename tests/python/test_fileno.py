# SPDX-License-Identifier: MIT
"""Manager.fileno(): the loop inside another loop (select, selectors, asyncio) without a thread of its own."""
import asyncio
import io
import os
import select
import threading
import time

import pytest

from cymongoose import MG_EV_CLOSE, MG_EV_HTTP_MSG, MG_EV_WAKEUP, Manager
from support import BACKEND, DEADLINE, HOST, Peer, get, hello, join

epoll_only = pytest.mark.skipif(BACKEND == "poll", reason="the poll back end has no descriptor of its own")


def readable(manager, seconds=0.0):
    return bool(select.select([manager.fileno()], [], [], seconds)[0])


def quiet(manager):
    """Poll until nothing is left to do."""
    end = time.monotonic() + DEADLINE
    while readable(manager):
        assert time.monotonic() < end, "the descriptor stays readable although nothing happens"
        manager.poll(0)


def drive(manager, until):
    """A foreign loop: poll(0) when the descriptor says so, and never otherwise."""
    end = time.monotonic() + DEADLINE
    while not until():
        assert time.monotonic() < end
        if readable(manager, 0.005):
            manager.poll(0)


def test_the_poll_back_end_says_that_it_has_none():
    with Manager(backend="poll") as manager:
        with pytest.raises(io.UnsupportedOperation):
            manager.fileno()


@epoll_only
def test_it_is_a_descriptor_and_always_the_same(make_manager):
    manager = make_manager()
    number = manager.fileno()
    assert type(number) is int
    os.fstat(number)
    assert manager.fileno() == number
    manager.listen(f"tcp://{HOST}:0")
    manager.poll(0)
    assert manager.fileno() == number
    manager.close()
    with pytest.raises(OSError):
        os.fstat(number)


@epoll_only
def test_it_is_quiet_while_nothing_happens(make_manager):
    """MG_EV_POLL does not make it readable; a foreign loop sleeps."""
    manager = make_manager(lambda conn, ev, data: None)
    manager.listen(f"tcp://{HOST}:0")
    quiet(manager)
    assert not readable(manager, 0.25)


@epoll_only
def test_it_is_readable_when_io_is_due(make_manager, peer):
    manager = make_manager(hello)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    quiet(manager)
    client = peer(port)
    assert readable(manager, DEADLINE)
    quiet(manager)
    client.send(get())
    assert readable(manager, DEADLINE)
    drive(manager, lambda: client.responses(1))
    quiet(manager)
    client.close()
    assert readable(manager, DEADLINE)
    drive(manager, lambda: len(manager.connections) == 1)


@epoll_only
def test_it_is_readable_when_a_timer_is_due_and_not_before(make_manager):
    calls = []
    manager = make_manager()
    quiet(manager)
    started = time.monotonic()
    manager.timer_add(60, lambda: calls.append(time.monotonic() - started))
    drive(manager, lambda: calls)
    assert 0.055 <= calls[0] < DEADLINE / 2
    manager.timer_add(50, calls.clear).cancel()
    manager.timer_add(100_000, calls.clear)
    quiet(manager)
    turns, end = 0, time.monotonic() + 0.15
    while time.monotonic() < end:
        if readable(manager, end - time.monotonic() if end > time.monotonic() else 0):
            manager.poll(0)
            turns += 1
    assert turns <= 2, "at most an empty turn where the cancelled timer was"
    assert len(calls) == 1


@epoll_only
def test_an_earlier_timer_moves_it_forward(make_manager):
    calls = []
    manager = make_manager()
    manager.timer_add(100_000, lambda: calls.append("late"))
    quiet(manager)
    manager.timer_add(10, lambda: calls.append("early"))
    drive(manager, lambda: calls)
    assert calls == ["early"]


@epoll_only
def test_it_is_readable_for_a_wakeup_from_a_thread(make_manager):
    arrived = []
    manager = make_manager(lambda conn, ev, data: arrived.append(data) if ev == MG_EV_WAKEUP else None,
                           enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0")
    quiet(manager)
    thread = threading.Thread(target=lambda: [manager.wakeup(listener.id, b"%d" % n) for n in range(1000)])
    thread.start()
    drive(manager, lambda: len(arrived) == 1000)
    join(thread)
    assert arrived == [b"%d" % n for n in range(1000)]


@epoll_only
@pytest.mark.parametrize("action", ["send", "close", "drain", "error", "reply"])
def test_it_is_readable_for_what_is_done_out_of_turn(make_manager, peer, action):
    waiting = []
    manager = make_manager(lambda conn, ev, data: waiting.append(conn) if ev == MG_EV_HTTP_MSG else None)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = peer(port)
    client.send(get())
    drive(manager, lambda: waiting)
    quiet(manager)
    getattr(waiting[0], action)(*{"send": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",), "error": ("x",),
                                  "reply": (200, "x")}.get(action, ()))
    assert readable(manager)
    if action in ("send", "reply"):
        drive(manager, lambda: client.responses(1))
    else:
        drive(manager, client.closed)


@epoll_only
def test_it_is_readable_for_new_connections_out_of_turn(make_manager):
    events = []
    manager = make_manager(hello)
    quiet(manager)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = manager.connect(f"http://{HOST}:{port}", lambda conn, ev, data: events.append(ev))
    client.send(get())
    drive(manager, lambda: MG_EV_HTTP_MSG in events)


@epoll_only
def test_work_that_is_left_over_keeps_it_readable(make_manager, peer):
    """Work per turn is bounded; what is left must not be forgotten until something else happens."""
    manager = make_manager(lambda conn, ev, data: conn.reply(200, b"x" * 1000) if ev == MG_EV_HTTP_MSG else None)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    clients = [peer(port) for _ in range(300)]
    for client in clients:
        client.send(get() * 3)
    drive(manager, lambda: all(client.responses(3) for client in clients))


@epoll_only
def test_large_transfers_under_a_foreign_loop(make_manager, peer):
    manager = make_manager(lambda conn, ev, data: conn.reply(200, data.body_bytes) if ev == MG_EV_HTTP_MSG else None)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = peer(port)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n" + b"b" * 10_000_000)
    drive(manager, lambda: client.has(10_000_000))
    drive(manager, lambda: client.responses(1))


@epoll_only
def test_inside_asyncio(make_manager):
    """Timers, wakeups from an executor, sends and replies from coroutines, and a stream from asyncio's own client."""
    ticks, woken, waiting = [], [], []

    def handler(conn, ev, data):
        if ev == MG_EV_WAKEUP:
            woken.append(data)
        elif ev == MG_EV_HTTP_MSG and data.uri == "/later":
            waiting.append(conn)
        else:
            hello(conn, ev, data)

    async def main():
        loop = asyncio.get_running_loop()
        manager = make_manager(handler, enable_wakeup=True)
        listener = manager.listen(f"http://{HOST}:0")
        loop.add_reader(manager.fileno(), manager.poll, 0)
        manager.timer_add(5, lambda: ticks.append(1), repeat=True)

        async def ask(path):
            reader, writer = await asyncio.open_connection(HOST, listener.local_addr[1])
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            return answer.split(b"\r\n\r\n", 1)[1]

        async def answer_later():
            while len(waiting) < 5:
                await asyncio.sleep(0.001)
            for conn in waiting:
                await asyncio.sleep(0)
                conn.reply(200, "from a coroutine")

        answers = await asyncio.gather(*map(ask, ["/"] * 20 + ["/later"] * 5), answer_later())
        assert answers[:20] == [b"OK"] * 20
        assert answers[20:25] == [b"from a coroutine"] * 5
        await loop.run_in_executor(None, lambda: [manager.wakeup(listener.id, b"%d" % n) for n in range(500)])
        while len(woken) < 500 or len(ticks) < 3:
            await asyncio.sleep(0.001)
        loop.remove_reader(manager.fileno())
        manager.close()
        await loop.shutdown_default_executor()

    asyncio.run(asyncio.wait_for(main(), DEADLINE))
    assert woken == [b"%d" % n for n in range(500)]


@epoll_only
def test_two_managers_in_one_asyncio_loop(make_manager):
    """One is the client of the other, both in one loop without threads."""
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        first, second = make_manager(hello), make_manager()
        for manager in (first, second):
            loop.add_reader(manager.fileno(), manager.poll, 0)

        def answered(conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                conn.close()
                done.set_result(data.body_bytes)

        client = second.connect(f"http://{HOST}:{first.listen(f'http://{HOST}:0').local_addr[1]}", answered)
        client.send(get())
        assert await done == b"OK"
        for manager in (first, second):
            loop.remove_reader(manager.fileno())

    asyncio.run(asyncio.wait_for(main(), DEADLINE))


@epoll_only
def test_exceptions_leave_poll_in_a_foreign_loop_and_it_goes_on(make_manager, peer):
    raised = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and not raised:
            raised.append(1)
            raise KeyboardInterrupt
        hello(conn, ev, data)

    manager = make_manager(handler)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    clients = [peer(port) for _ in range(5)]
    drive(manager, lambda: len(manager.connections) == 6)
    quiet(manager)
    for client in clients:
        client.send(get())
    with pytest.raises(KeyboardInterrupt):
        drive(manager, lambda: False)
    drive(manager, lambda: sum(bool(client.responses(1)) for client in clients) == 4)


@epoll_only
def test_polling_more_often_than_needed_is_harmless(make_manager):
    events = []
    manager = make_manager(lambda conn, ev, data: events.append(ev))
    listener = manager.listen(f"tcp://{HOST}:0")
    client = Peer(listener.local_addr[1])
    for _ in range(200):
        manager.poll(0)
    client.close()
    drive(manager, lambda: MG_EV_CLOSE in events)
