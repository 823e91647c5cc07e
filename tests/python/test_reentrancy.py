# SPDX-License-Identifier: MIT
"""Calls from inside handlers: what is refused, and that anything may be closed or opened there (api.md 4.3)."""
import gc
import http.client
import threading

import pytest

from cymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_POLL,
    MG_EV_READ,
    MG_EV_RESOLVE,
    MG_EV_WRITE,
    Manager,
)
from support import DEADLINE, HOST, Recorder, Server, free_port, get, hello, join, name_of, settle, spin, wait_until


def inside(make_manager, call, error_handler=None):
    """call(manager) in a timer callback; its exception or None."""
    outcome = []

    def callback():
        try:
            outcome.append(call(manager))
        except Exception as exc:
            outcome.append(exc)

    manager = make_manager(error_handler=error_handler)
    manager.timer_add(0, callback)
    spin(manager, lambda: outcome)
    return outcome[0]


# ==== poll() and close() inside ====

def test_poll_in_a_timer_is_not_reentrant(make_manager):
    outcome = inside(make_manager, lambda manager: manager.poll(0))
    assert isinstance(outcome, RuntimeError) and "not reentrant" in str(outcome)


def test_poll_in_a_handler_is_not_reentrant(http, peer):
    """[tests rely] and the loop goes on."""
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            try:
                manager.poll(0)
            except RuntimeError as exc:
                errors.append(str(exc))
            conn.reply(200)

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    assert "not reentrant" in errors[0]


def test_poll_while_another_thread_polls_is_not_reentrant(server):
    """[tests rely]"""
    running = server(lambda conn, ev, data: None)
    with pytest.raises(RuntimeError, match="not reentrant"):
        while True:  # the server's thread may be between two polls just now
            running.manager.poll(0)


def test_close_while_another_thread_polls_is_refused(make_manager):
    manager = make_manager(enable_wakeup=True)
    manager.listen(f"tcp://{HOST}:0")
    started = threading.Event()
    manager.timer_add(0, started.set)
    stop = threading.Event()

    def loop():
        while not stop.is_set():
            manager.poll(int(DEADLINE * 1000))

    thread = threading.Thread(target=loop)
    thread.start()
    assert started.wait(DEADLINE)
    with pytest.raises(RuntimeError, match="poll"):
        manager.close()
    assert len(manager.connections) == 1
    stop.set()
    manager.wakeup(manager.wakeup_id)
    join(thread)
    manager.close()


@pytest.mark.parametrize("event", [MG_EV_ACCEPT, MG_EV_READ, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_WRITE, MG_EV_CLOSE,
                                   MG_EV_POLL])
def test_close_of_the_manager_in_a_handler_is_refused(http, peer, event):
    errors = []

    def handler(conn, ev, data):
        if ev == event and not errors:
            with pytest.raises(RuntimeError) as caught:
                manager.close()
            errors.append(str(caught.value))
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(get(Connection="close"))
    spin(manager, lambda: errors)
    assert "Cannot close Manager while poll() is active" in errors[0]
    spin(manager, lambda: client.responses(1))


def test_close_of_the_manager_in_a_timer_is_refused(make_manager):
    outcome = inside(make_manager, lambda manager: manager.close())
    assert isinstance(outcome, RuntimeError) and "poll() is active" in str(outcome)


def test_close_of_the_manager_in_the_error_handler_is_refused(make_manager):
    seen = []

    def error_handler(exc):
        if len(seen) > 1:
            return
        with pytest.raises(RuntimeError):
            manager.close()
        with pytest.raises(RuntimeError):
            manager.poll(0)
        seen.append(exc)

    def fail(*args):
        raise ValueError

    manager = make_manager(error_handler=error_handler)
    manager.listen(f"tcp://{HOST}:0").set_handler(fail)
    manager.timer_add(0, fail)
    spin(manager, lambda: len(seen) > 1)


def test_poll_and_close_in_a_handler_that_runs_inside_listen(make_manager):
    """OPEN comes before listen() returns: this is a handler as any other, although no poll() is active."""
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            for call in (manager.close, lambda: manager.poll(0)):
                try:
                    call()
                except RuntimeError as exc:
                    errors.append(str(exc))

    manager = make_manager(handler)
    listener = manager.listen(f"tcp://{HOST}:0")
    assert len(errors) == 2
    assert manager.connections == (listener,)


def test_poll_and_close_inside_the_close_of_the_manager(make_manager):
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            for call in (lambda: manager.poll(0), lambda: manager.listen(f"tcp://{HOST}:0"),
                         lambda: manager.connect(f"tcp://{HOST}:1"), lambda: manager.timer_add(0, lambda: None)):
                with pytest.raises(RuntimeError):
                    call()
            errors.append(manager.connections)

    manager = make_manager(handler)
    manager.listen(f"tcp://{HOST}:0")
    manager.listen(f"tcp://{HOST}:0")
    manager.close()
    assert len(errors) == 2


def test_poll_of_another_manager_in_a_handler_is_fine(make_manager):
    def call(manager):
        with Manager(hello) as inner:
            inner.listen(f"http://{HOST}:0")
            inner.poll(0)
            return "polled"

    assert inside(make_manager, call) == "polled"


# ==== listen, connect and timers inside ====

def test_listen_and_connect_in_a_handler(make_manager):
    events = Recorder()

    def start():
        listener = manager.listen(f"tcp://{HOST}:0")
        manager.connect(f"tcp://{HOST}:{listener.local_addr[1]}")

    manager = make_manager(events)
    manager.timer_add(0, start)
    spin(manager, lambda: events.count("CONNECT") and events.count("ACCEPT"))
    assert len(manager.connections) == 3


def test_what_a_handler_opens_is_first_served_in_a_later_turn(make_manager):
    """A timer added in a callback fires in the next poll at the earliest, so a chain of 0 ms timers cannot hang."""
    calls = []

    def chain():
        calls.append(1)
        if len(calls) < 10:
            manager.timer_add(0, chain)

    manager = make_manager()
    manager.timer_add(0, chain)
    for expected in range(1, 11):
        manager.poll(0)
        assert len(calls) <= expected
    spin(manager, lambda: len(calls) == 10)


# ==== close of connections inside ====

EVENTS_OF_ACCEPTED = [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WRITE, MG_EV_CLOSE,
                      MG_EV_POLL]


@pytest.mark.parametrize("how", ["close", "drain", "error", "reply and close", "reply and drain", "close twice"])
@pytest.mark.parametrize("event", EVENTS_OF_ACCEPTED, ids=name_of)
def test_a_connection_ends_itself_in_each_event(http, peer, event, how):
    """CLOSE is told once, nothing afterwards; the peer sees the end; others are served."""
    log, errors, done = [], [], []

    def end(conn):
        if how == "error":
            conn.error("over")
        elif how.startswith("reply"):
            try:
                conn.reply(200, "bye")
            except RuntimeError as exc:  # no request waits for an answer here
                errors.append(str(exc))
            conn.close() if how.endswith("close") else conn.drain()
        elif how == "close twice":
            conn.close()
            conn.close()
        else:
            getattr(conn, how)()

    def handler(conn, ev, data):
        if conn.is_listening:
            return
        log.append((conn, name_of(ev)))
        if ev == event and conn.userdata is None and not done:
            conn.userdata = "ended"
            done.append(conn)
            try:
                end(conn)
            except RuntimeError as exc:
                errors.append(str(exc))
            else:
                assert conn.is_closing is True or conn.is_draining is True
        if ev == MG_EV_HTTP_MSG and not conn.is_closing and conn.userdata is None:
            conn.reply(200, "OK")

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    if event == MG_EV_CLOSE:
        spin(manager, lambda: client.responses(1))
        client.close()
    else:
        spin(manager, client.closed)
    spin(manager, lambda: len(manager.connections) == 1)
    [ended] = done
    names = [name for conn, name in log if conn is ended]
    assert names.count("CLOSE") == 1
    assert names[-1] == "CLOSE"
    assert ended not in manager.connections
    other = peer(port)
    other.send(get())
    [response] = spin(manager, lambda: other.responses(1))
    assert response.body == b"OK"
    assert errors == [] or event == MG_EV_CLOSE or how.startswith("reply")


@pytest.mark.parametrize("event", [MG_EV_OPEN, MG_EV_RESOLVE, MG_EV_CONNECT, MG_EV_WRITE, MG_EV_READ, MG_EV_ERROR])
@pytest.mark.parametrize("how", ["close", "drain", "error"])
def test_an_outgoing_connection_ends_itself_in_each_event(make_manager, event, how):
    events = Recorder()

    def handler(conn, ev, data):
        events(conn, ev, data)
        if ev == event and conn.userdata is None:
            conn.userdata = "ended"
            try:
                conn.error("over") if how == "error" else getattr(conn, how)()
            except RuntimeError:
                assert conn.is_closing

    manager = make_manager()
    echo = manager.listen(f"tcp://{HOST}:0", lambda conn, ev, data: conn.send(b"y") if ev == MG_EV_READ else None)
    port = free_port() if event == MG_EV_ERROR else echo.local_addr[1]
    client = manager.connect(f"tcp://{HOST}:{port}", handler)
    if not client.is_closing and not client.is_draining:
        client.send(b"x")
    spin(manager, lambda: events.count("CLOSE"))
    settle(manager, 3)
    assert events.names().count("CLOSE") == 1
    assert events.names()[-1] == "CLOSE"
    spin(manager, lambda: manager.connections == (echo,))


@pytest.mark.parametrize("event", [MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_READ, MG_EV_HTTP_MSG, MG_EV_CLOSE])
def test_a_connection_closes_all_others(http, peer, event):
    """Also those that are ready in the same turn and come later in it: they get CLOSE and nothing else."""
    log, done = [], []

    def handler(conn, ev, data):
        log.append((conn, name_of(ev)))
        if ev == event and not conn.is_listening and len(manager.connections) >= 10 and not done:
            done.append(conn)
            for other in manager.connections:
                if other is not conn and not other.is_listening:
                    other.close()
                    assert other.is_closing
        hello(conn, ev, data)

    manager, port = http(handler)
    clients = [peer(port) for _ in range(10)]
    spin(manager, lambda: len(manager.connections) == 11 or done)
    for client in clients[1:]:
        client.send(get())
    if event == MG_EV_CLOSE:
        clients[0].close()
    spin(manager, lambda: done)
    settle(manager)
    for conn in {conn for conn, _ in log if not conn.is_listening}:
        names = [name for who, name in log if who is conn]
        assert names.count("CLOSE") == (0 if conn in manager.connections else 1)
        if "CLOSE" in names:
            assert names[-1] == "CLOSE"


def test_closing_everything_in_one_timer_including_listeners(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    clients = [peer(port) for _ in range(5)]
    spin(manager, lambda: len(manager.connections) == 6)
    manager.timer_add(0, lambda: [conn.close() for conn in manager.connections])
    spin(manager, lambda: not manager.connections)
    spin(manager, lambda: all(client.closed() for client in clients))
    assert events.count("CLOSE") == 6
    with pytest.raises(OSError):
        peer(port)


def test_two_connections_that_close_each_other(raw, peer):
    events = Recorder()

    def handler(conn, ev, data):
        events(conn, ev, data)
        if ev in (MG_EV_READ, MG_EV_CLOSE):
            for other in events.who("ACCEPT"):
                if other is not conn:
                    other.close()

    manager, port = raw(handler)
    one, two = peer(port), peer(port)
    spin(manager, lambda: events.count("ACCEPT") == 2)
    one.send(b"x")
    two.send(b"x")
    spin(manager, lambda: len(manager.connections) == 1)
    assert events.count("CLOSE") == 2


def test_a_listener_closed_in_its_accept_keeps_the_accepted_connection(make_manager, peer):
    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            listener.close()
        hello(conn, ev, data)

    manager = make_manager(handler)
    listener = manager.listen(f"http://{HOST}:0")
    client = peer(listener.local_addr[1])
    client.send(get())
    spin(manager, lambda: client.responses(1))
    assert listener.is_closing is True
    assert len(manager.connections) == 1


def test_send_in_close_raises(raw, peer):
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE and not conn.is_listening:
            for call in (lambda: conn.send(b"x"), lambda: conn.reply(200), lambda: conn.error("x")):
                with pytest.raises(RuntimeError, match="closed"):
                    call()
            outcome.append((conn.is_closing, conn.recv_data(), repr(conn), conn.local_addr))

    manager, port = raw(handler)
    client = peer(port)
    spin(manager, lambda: len(manager.connections) == 2)
    client.close()
    spin(manager, lambda: outcome)
    assert outcome[0][0] is True


def test_a_reply_after_close_in_the_same_handler_raises(http, peer):
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.close()
            assert conn.is_closing is True
            with pytest.raises(RuntimeError, match="closed"):
                conn.reply(200, "too late")
            outcome.append(True)

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, client.closed)
    assert outcome == [True]
    assert client.received == b""


def test_iteration_over_connections_while_they_close(http, peer):
    """The snapshot does not change, whatever happens during the iteration."""
    manager, port = http(hello)
    clients = [peer(port) for _ in range(10)]
    spin(manager, lambda: len(manager.connections) == 11)
    snapshot = manager.connections
    for index, conn in enumerate(snapshot):
        conn.close()
        if index % 3 == 0:
            manager.poll(0)
            gc.collect()
    assert len(snapshot) == 11
    spin(manager, lambda: not manager.connections)
    assert all(conn.is_closing for conn in snapshot)
    spin(manager, lambda: all(client.closed() for client in clients))


def test_the_last_reference_to_the_manager_may_go_inside_a_handler():
    holder, seen = [], []

    def callback():
        holder.clear()
        gc.collect()
        seen.append(1)

    manager = Manager(hello)
    manager.listen(f"tcp://{HOST}:0")
    manager.timer_add(0, callback)
    holder.append(manager)
    poll = manager.poll
    del manager
    while not seen:
        holder[0].poll(0) if holder else None
    del poll
    gc.collect()


def test_garbage_collection_in_every_event(http, peer):
    def handler(conn, ev, data):
        gc.collect()
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(get() + get(Connection="close"))
    spin(manager, lambda: client.responses(2))
    spin(manager, client.closed)


# ==== independent managers ====

def test_managers_of_several_threads_are_independent():
    """[tests rely]"""
    def replying(text):
        return lambda conn, ev, data: conn.reply(200, text) if ev == MG_EV_HTTP_MSG else None

    servers = [Server(replying(f"server {n}")) for n in range(4)]
    try:
        for n, each in enumerate(servers):
            client = http.client.HTTPConnection(HOST, each.port, timeout=DEADLINE)
            client.request("GET", "/")
            assert client.getresponse().read() == b"server %d" % n
            client.close()
    finally:
        for each in servers:
            each.stop()


def test_a_handler_may_close_a_connection_of_another_manager(server, make_manager, peer):
    """The other manager is polled by its own thread, which has to notice at once."""
    other = server(hello, poll_ms=int(DEADLINE * 1000), manager_options={"enable_wakeup": True})
    try:
        client = peer(other.port)
        wait_until(lambda: len(other.manager.connections) == 2)
        victim = other.manager.connections[1]
        manager = make_manager()
        manager.timer_add(0, victim.close)
        spin(manager, client.closed, seconds=DEADLINE / 2)
    finally:
        other._stop.set()
        other.manager.wakeup(other.manager.wakeup_id)
