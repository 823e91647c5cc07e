# SPDX-License-Identifier: MIT
"""Arguments whose conversion runs Python code, and that code closes what the call is about to use.

__bytes__, __index__, __bool__, __str__, items(), __iter__ and __del__ may do anything: the call must notice afterwards,
raise or do nothing, and never touch what is gone. (Worth running with the address sanitizer.)
"""
import gc

import pytest

from cymongoose import MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WAKEUP, Manager
from support import HOST, Recorder, get, hello, post, settle, spin


class Evil:
    """Runs action() whenever it is converted, once."""

    def __init__(self, action, number=5):
        self.action, self.number = action, number

    def _run(self):
        action, self.action = self.action, None
        if action is not None:
            action()
            gc.collect()

    def __bytes__(self):
        self._run()
        return b"from an evil object"

    def __index__(self):
        self._run()
        return self.number

    def __bool__(self):
        self._run()
        return True

    def __str__(self):
        self._run()
        return "evil"

    def __iter__(self):
        self._run()
        return iter([1, 2, 3])

    def items(self):
        self._run()
        return [("X-Evil", "1")]


class EvilIterable:
    """No __bytes__: bytes() has to iterate."""

    def __init__(self, action):
        self.action = action

    def __iter__(self):
        yield 65
        self.action()
        gc.collect()
        yield 66


ENDS = ["close", "drain", "error"]


def end(conn, how):
    conn.error("over") if how == "error" else getattr(conn, how)()


ON_CONNECTION = {
    "send": lambda conn, evil: conn.send(evil),
    "send iterable": lambda conn, evil: conn.send(EvilIterable(evil.action)),
    "reply body": lambda conn, evil: conn.reply(200, evil),
    "reply headers": lambda conn, evil: conn.reply(200, b"x" * 100_000, evil),
    "reply header": lambda conn, evil: conn.reply(200, "x", {"X": evil}),
    "reply header name": lambda conn, evil: conn.reply(200, "x", {evil: "x"}),
    "reply status": lambda conn, evil: conn.reply(evil, "x"),
    "reply_json": lambda conn, evil: conn.reply_json({"a": 1}, headers=evil),
    "http_chunk": lambda conn, evil: (conn.reply(200, "", {"Transfer-Encoding": "chunked"}), conn.http_chunk(evil)),
    "recv_data": lambda conn, evil: conn.recv_data(evil),
    "send_data": lambda conn, evil: conn.send_data(evil),
    "recv": lambda conn, evil: conn.recv(evil),
}


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("call", ON_CONNECTION)
def test_the_connection_ends_while_an_argument_is_converted(http, peer, call, how):
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.uri == "/evil":
            number = 200 if "status" in call else 5
            try:
                outcome.append(ON_CONNECTION[call](conn, Evil(lambda: end(conn, how), number)))
            except (RuntimeError, ValueError, TypeError) as exc:
                outcome.append(exc)
            assert data.uri == "/evil"
        else:
            hello(conn, ev, data)

    errors = []
    manager, port = http(handler, manager_options={"error_handler": errors.append})
    client = peer(port)
    client.send(post("/evil", b"body" * 1000))
    spin(manager, client.closed)
    client.close()
    spin(manager, lambda: len(manager.connections) == 1)
    assert len(outcome) == 1
    assert errors == []
    other = peer(port)
    other.send(get())
    spin(manager, lambda: other.responses(1))


ON_MANAGER = {
    "poll": lambda manager, evil: manager.poll(evil),
    "timer_add": lambda manager, evil: manager.timer_add(evil, hello),
    "timer_add repeat": lambda manager, evil: manager.timer_add(5, hello, repeat=evil),
    "listen http": lambda manager, evil: manager.listen(f"tcp://{HOST}:0", http=evil),
    "listen reuse_port": lambda manager, evil: manager.listen(f"tcp://{HOST}:0", reuse_port=evil),
    "listen backlog": lambda manager, evil: manager.listen(f"tcp://{HOST}:0", backlog=evil),
    "listen body_bytes_max": lambda manager, evil: manager.listen(f"http://{HOST}:0", body_bytes_max=evil),
    "connect http": lambda manager, evil: manager.connect(f"tcp://{HOST}:1", http=evil),
    "connect idle_timeout_ms": lambda manager, evil: manager.connect(f"tcp://{HOST}:1", idle_timeout_ms=evil),
}


@pytest.mark.parametrize("call", ON_MANAGER)
def test_the_manager_closes_while_an_argument_is_converted(make_manager, call):
    manager = make_manager(enable_wakeup=True)
    manager.listen(f"tcp://{HOST}:0")
    try:
        ON_MANAGER[call](manager, Evil(manager.close))
    except (RuntimeError, TypeError):
        pass
    with pytest.raises(RuntimeError):
        manager.poll(0)
    assert manager.connections == ()


def test_the_manager_closes_inside_its_own_construction():
    class Half(Manager):
        pass

    manager = Half.__new__(Half)
    try:
        manager.__init__(None, Evil(lambda: manager.close()))
    except RuntimeError:
        pass
    manager.close()

    manager = Half.__new__(Half)

    def events():
        manager.close()
        yield MG_EV_READ
        with pytest.raises(RuntimeError):
            manager.poll(0)

    try:
        manager.__init__(events=events())
    except RuntimeError:
        pass
    manager.close()


def test_an_init_inside_an_init():
    class Half(Manager):
        pass

    manager = Half.__new__(Half)

    def events():
        yield MG_EV_READ
        manager.__init__()

    try:
        manager.__init__(events=events())
    except RuntimeError:
        pass
    manager.listen(f"tcp://{HOST}:0")
    manager.poll(0)
    manager.close()


def test_asking_a_message_with_an_argument_that_ends_the_connection(http, peer):
    seen = []

    class EvilDefault:
        pass

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            default = EvilDefault()
            conn.close()
            gc.collect()
            seen.append(data.header("Missing", default) is default)

    manager, port = http(handler)
    peer(port).send(get())
    spin(manager, lambda: seen)
    assert seen == [True]


class Finalizer:
    """Runs an action when it is freed."""

    def __init__(self, action, done):
        self.action, self.done = action, done

    def __call__(self, *args):
        pass

    def __del__(self):
        try:
            self.action()
        except RuntimeError:
            pass
        self.done.append(1)


def test_a_handler_that_acts_when_it_is_freed(raw, peer):
    done = []
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    conn.set_handler(Finalizer(lambda: (conn.set_handler(None), conn.close()), done))
    conn.set_handler(events)
    assert done == [1]
    spin(manager, client.closed)
    spin(manager, lambda: conn not in manager.connections)


def test_userdata_that_acts_when_it_is_freed(raw, peer):
    done = []
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    conn.userdata = Finalizer(conn.close, done)
    conn.userdata = None
    assert done == [1]
    spin(manager, client.closed)


def test_a_timer_callback_that_acts_when_it_is_freed(make_manager):
    done = []
    manager = make_manager()
    timers = []
    for how in (lambda: timers[1].cancel(), lambda: manager.timer_add(0, lambda: None), lambda: manager.poll(0),
                manager.close):
        timers.append(manager.timer_add(1000, Finalizer(how, done)))
    for timer in timers:
        timer.cancel()
    with pytest.raises(RuntimeError):
        manager.poll(0)
    assert len(done) == 4


def test_a_callback_that_acts_when_it_is_freed_by_its_firing(make_manager):
    done, errors = [], []
    manager = make_manager(error_handler=errors.append)
    manager.timer_add(0, Finalizer(lambda: manager.poll(0), done))
    manager.timer_add(0, Finalizer(lambda: manager.timer_add(0, lambda: done.append("chained")), done))
    manager.timer_add(0, Finalizer(lambda: [conn.close() for conn in manager.connections], done))
    manager.listen(f"tcp://{HOST}:0")
    spin(manager, lambda: len(done) == 4)
    assert manager.connections == ()
    assert errors == []


def test_handlers_that_act_when_the_manager_is_collected():
    done = []
    manager = Manager(Finalizer(lambda: None, done), error_handler=Finalizer(lambda: None, done))
    listener = manager.listen(f"tcp://{HOST}:0", Finalizer(lambda: listener_ref[0].close(), done))
    listener_ref = [listener]
    listener.userdata = Finalizer(lambda: listener_ref[0].send(b"x"), done)
    manager.timer_add(1000, Finalizer(lambda: None, done))
    del manager
    gc.collect()
    assert listener.is_closing is True
    listener.userdata = None
    listener.set_handler(None)
    assert len(done) == 5


def test_a_close_handler_that_brings_the_manager_back():
    """A manager that is being collected is handed to nobody, so nobody can use it while it goes."""
    saved = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            saved.append(conn)

    manager = Manager(handler)
    manager.listen(f"tcp://{HOST}:0")
    manager.connect(f"tcp://{HOST}:1")
    del manager
    gc.collect()
    for conn in saved:
        assert conn.is_closing is True
        with pytest.raises(RuntimeError):
            conn.send(b"x")


def test_a_payload_that_changes_while_the_call_goes_on(raw, peer):
    class Shrinking(bytearray):
        def __bytes__(self):
            self.clear()
            return b"cleared"

    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    spin(manager, events.accepted).send(Shrinking(b"x" * 100_000))
    spin(manager, lambda: client.pump().received)
    settle(manager)
    assert client.received in (b"cleared", b"x" * 100_000)


def test_exceptions_inside_conversions_come_out_unchanged(make_manager):
    class Oops(Exception):
        pass

    def fail():
        raise Oops

    manager = make_manager(enable_wakeup=True)
    conn = manager.listen(f"tcp://{HOST}:0")
    client = manager.connect(f"tcp://{HOST}:{conn.local_addr[1]}")
    for call in list(ON_CONNECTION.values()) + list(ON_MANAGER.values()):
        target = client if call in ON_CONNECTION.values() else manager
        with pytest.raises(Oops):
            call(target, Evil(fail))
    assert not client.is_closing
    manager.poll(0)


def test_the_payload_of_a_wakeup_may_be_the_last_reference(make_manager):
    seen = []
    manager = make_manager(lambda conn, ev, data: seen.append(len(data)) if ev == MG_EV_WAKEUP else None,
                           enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0")
    for size in (10, 100_000, 3_000_000):
        manager.wakeup(listener.id, bytes(size))
        gc.collect()
    spin(manager, lambda: len(seen) == 3)
    assert seen == [10, 100_000, 3_000_000]


def test_hdrs_that_end_the_connection_before_the_message(http, peer):
    events = Recorder(lambda conn, ev, data: conn.close() if ev == MG_EV_HTTP_HDRS else None)
    manager, port = http(events)
    client = peer(port)
    client.send(post("/", b"body") + get())
    spin(manager, client.closed)
    assert "HTTP_MSG" not in events.names()
