# SPDX-License-Identifier: MIT
"""Which handler runs (api.md 4.1), and what becomes of the exceptions it raises (4.2)."""
import functools
import gc
import http.client
import signal
import sys
import time

import pytest

from cymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_ERROR, MG_EV_HTTP_MSG, MG_EV_OPEN, MG_EV_POLL, MG_EV_READ
from support import DEADLINE, HOST, Recorder, get, hello, name_of, python_process, read_line, run_python, settle, spin

# ==== which one ====


def replying(text):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, text)
    return handler


def test_without_any_handler_connections_work_and_are_cleaned_up(make_manager, peer):
    """[tests rely]"""
    manager = make_manager()
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = peer(port)
    client.send(get())
    spin(manager, lambda: len(manager.connections) == 2)
    client.close()
    spin(manager, lambda: len(manager.connections) == 1)


def test_accepted_connections_inherit_the_listeners_handler(make_manager, peer):
    """[tests rely] for every later request too."""
    own = Recorder(replying("own"))
    default = Recorder(replying("default"))
    manager = make_manager(default)
    listener = manager.listen(f"http://{HOST}:0", handler=own)
    assert listener.handler is own
    client = peer(listener.local_addr[1])
    for n in (1, 2, 3):
        client.send(get())
        spin(manager, lambda: client.responses(n))
    assert {response.body for response in client.responses(3)} == {b"own"}
    assert own.accepted().handler is own
    assert default.entries == []


def test_two_listeners_keep_their_handlers_apart(make_manager, peer):
    """[tests rely]"""
    manager = make_manager()
    clients = [peer(manager.listen(f"http://{HOST}:0", replying(text)).local_addr[1]) for text in ("one", "two")]
    for client in clients:
        client.send(get())
    spin(manager, lambda: all(client.responses(1) for client in clients))
    assert [client.responses(1)[0].body for client in clients] == [b"one", b"two"]


def test_set_handler_of_a_listener_affects_later_connections(make_manager, peer):
    """[tests rely] and None returns them to the default."""
    manager = make_manager(replying("default"))
    listener = manager.listen(f"http://{HOST}:0", replying("first"))
    port = listener.local_addr[1]
    early = peer(port)
    spin(manager, lambda: len(manager.connections) == 2)
    listener.set_handler(replying("second"))
    late = peer(port)
    spin(manager, lambda: len(manager.connections) == 3)
    listener.set_handler(None)
    assert listener.handler is None
    last = peer(port)
    for client in (early, late, last):
        client.send(get())
    spin(manager, lambda: all(client.responses(1) for client in (early, late, last)))
    assert [client.responses(1)[0].body for client in (early, late, last)] == [b"first", b"second", b"default"]


def test_set_handler_switches_from_the_next_event_on(raw, peer):
    first, second = Recorder(), Recorder()

    def default(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            conn.set_handler(first)

    manager, port = raw(default)
    client = peer(port)
    client.send(b"1")
    spin(manager, lambda: first.count("READ"))
    conn = first.who("READ")[0]
    assert first.names() == ["READ"]
    conn.set_handler(second)
    client.send(b"2")
    spin(manager, lambda: second.count("READ"))
    conn.set_handler(None)
    assert conn.handler is None
    client.close()
    settle(manager)
    assert first.names() == ["READ"]
    assert second.names() == ["READ"]


def test_connect_handler_is_that_connections_only(make_manager):
    default, own = Recorder(), Recorder()
    manager = make_manager(default)
    port = manager.listen(f"tcp://{HOST}:0").local_addr[1]
    client = manager.connect(f"tcp://{HOST}:{port}", handler=own)
    spin(manager, lambda: own.count("CONNECT") and default.count("ACCEPT"))
    assert client.handler is own
    assert set(own.who("CONNECT")) == {client}
    assert client not in default.who("CONNECT")
    assert default.accepted().handler is None


def test_handler_is_kept_after_close_and_set_handler_still_stores(make_manager):
    manager = make_manager()
    listener = manager.listen(f"tcp://{HOST}:0", hello)
    listener.close()
    manager.poll(0)
    assert listener.handler is hello
    listener.set_handler(None)
    assert listener.handler is None


def test_the_return_value_is_ignored(http, peer):
    def handler(conn, ev, data):
        hello(conn, ev, data)
        return object() if ev != MG_EV_OPEN else -1

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))


def test_every_kind_of_callable_is_a_handler(make_manager, peer):
    class Callable:
        def __call__(self, conn, ev, data):
            hello(conn, ev, data)

        def method(self, conn, ev, data):
            hello(conn, ev, data)

        @staticmethod
        def static(*args):
            hello(*args)

    manager = make_manager()
    for handler in (Callable(), Callable().method, Callable.static, functools.partial(hello),
                    lambda *args: hello(*args)):
        client = peer(manager.listen(f"http://{HOST}:0", handler).local_addr[1])
        client.send(get())
        spin(manager, lambda: client.responses(1))


def test_a_handler_may_be_replaced_inside_itself_and_freed(raw, peer):
    """The running function stays alive although nothing else holds it."""
    def default(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            def own(conn, ev, data):
                if ev == MG_EV_READ:
                    conn.set_handler(None)
                    gc.collect()
                    conn.send(conn.recv() + own.__name__.encode())
            conn.set_handler(own)

    manager, port = raw(default)
    client = peer(port)
    client.send(b"x")
    spin(manager, lambda: client.has(4))
    assert client.received == b"xown"


# ==== exceptions ====

class Oops(Exception):
    pass


def raising_first(error):
    """Raises error at the first request, answers the others."""
    left = [error]

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            if left:
                raise left.pop()
            conn.reply(200, "recovered")
    return handler


def test_error_handler_gets_the_very_exception(http, peer):
    """[tests rely] object and text preserved; with its traceback."""
    errors, error = [], Oops("the text")
    manager, port = http(raising_first(error), manager_options={"error_handler": errors.append})
    client = peer(port)
    client.send(get())
    spin(manager, lambda: errors)
    assert errors == [error]
    assert errors[0] is error
    assert str(errors[0]) == "the text"
    assert errors[0].__traceback__ is not None


def test_error_handler_keeps_stderr_clean(http, peer, capsys):
    errors = []
    manager, port = http(raising_first(Oops("silent")), manager_options={"error_handler": errors.append})
    peer(port).send(get())
    spin(manager, lambda: errors)
    assert capsys.readouterr().err == ""


def test_without_error_handler_the_traceback_goes_to_sys_stderr(http, peer, capsys):
    """[tests rely] the Python-level object."""
    manager, port = http(raising_first(Oops("shown to the user")))
    client = peer(port)
    client.send(get())
    spin(manager, lambda: manager.connections and "Oops" in sys.stderr.getvalue())
    text = capsys.readouterr().err
    assert text.startswith("Traceback (most recent call last)")
    assert "Oops: shown to the user" in text
    assert "in handler" in text


def test_after_an_exception_poll_returns_and_the_next_request_is_answered(http, peer, capsys):
    """[tests rely] handler exception on request 1, request 2 answered."""
    manager, port = http(raising_first(Oops("first")))
    first = peer(port)
    first.send(get())
    spin(manager, lambda: "first" in sys.stderr.getvalue())
    second = peer(port)
    second.send(get())
    [response] = spin(manager, lambda: second.responses(1))
    assert response.body == b"recovered"
    assert first.received == b""
    assert not first.closed(), "the connection lives on, without a reply"
    capsys.readouterr()


def test_no_event_is_lost_by_an_exception(raw, peer):
    errors = []

    def handler(conn, ev, data):
        if ev != MG_EV_POLL:
            raise Oops(ev)

    manager, port = raw(handler, manager_options={"error_handler": errors.append})
    client = peer(port)
    client.send(b"x")
    spin(manager, lambda: MG_EV_READ in [error.args[0] for error in errors])
    client.close()
    spin(manager, lambda: MG_EV_CLOSE in [error.args[0] for error in errors])
    assert [error.args[0] for error in errors] == [MG_EV_OPEN, MG_EV_OPEN, MG_EV_ACCEPT, MG_EV_READ, MG_EV_CLOSE]


def test_an_exception_in_the_error_handler_goes_to_stderr(http, peer, capsys):
    """[tests rely]"""
    def error_handler(exc):
        raise RuntimeError("the error handler failed too")

    manager, port = http(raising_first(Oops("origin")), manager_options={"error_handler": error_handler})
    client = peer(port)
    client.send(get())
    spin(manager, lambda: "failed too" in sys.stderr.getvalue())
    assert "RuntimeError: the error handler failed too" in capsys.readouterr().err
    other = peer(port)
    other.send(get())
    spin(manager, lambda: other.responses(1))


def test_an_error_handler_that_cannot_be_called_is_told_on_stderr(http, peer, capsys):
    manager, port = http(raising_first(Oops("x")), manager_options={"error_handler": 42})
    peer(port).send(get())
    spin(manager, lambda: "not callable" in sys.stderr.getvalue())
    assert "TypeError" in capsys.readouterr().err


def test_the_error_handler_may_use_the_manager(http, peer):
    errors = []

    def error_handler(exc):
        errors.append(exc)
        for conn in manager.connections:
            if not conn.is_listening:
                conn.close()

    manager, port = http(raising_first(Oops("x")), manager_options={"error_handler": error_handler})
    client = peer(port)
    client.send(get())
    spin(manager, client.closed)
    assert len(manager.connections) == 1


def test_a_missing_stderr_is_no_crash(http, peer, monkeypatch):
    asked = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            asked.append(conn)
            raise Oops("nobody sees this")

    manager, port = http(handler)
    monkeypatch.setattr(sys, "stderr", None)
    peer(port).send(get())
    spin(manager, lambda: asked)


def test_an_exception_inside_listen_and_connect_goes_to_the_error_handler(make_manager):
    errors = []

    def handler(conn, ev, data):
        raise Oops(ev)

    manager = make_manager(handler, error_handler=errors.append)
    assert manager.listen(f"tcp://{HOST}:0").is_listening
    assert manager.connect(f"udp://{HOST}:9").is_client
    assert [type(error) for error in errors] == [Oops] * 4


def test_an_exception_while_the_manager_closes_is_told_too(make_manager):
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_CLOSE:
            raise Oops("at the end")

    manager = make_manager(handler, error_handler=errors.append)
    manager.listen(f"tcp://{HOST}:0")
    manager.listen(f"tcp://{HOST}:0")
    manager.close()
    assert [str(error) for error in errors] == ["at the end"] * 2
    assert manager.connections == ()


def test_an_exception_in_a_timer_is_told_and_a_repeating_timer_goes_on(make_manager, capsys):
    """[tests rely]"""
    calls, errors = [], []

    def callback():
        calls.append(1)
        raise Oops("in a timer")

    manager = make_manager(error_handler=errors.append)
    timer = manager.timer_add(1, callback, repeat=True)
    spin(manager, lambda: len(calls) >= 3)
    assert timer.active
    told = len(errors) + capsys.readouterr().err.count("Oops: in a timer")
    assert told == len(calls)


def test_an_exception_in_a_timer_without_error_handler_goes_to_stderr(make_manager, capsys):
    def callback():
        raise Oops("in a timer")

    manager = make_manager()
    manager.timer_add(0, callback)
    spin(manager, lambda: "Oops: in a timer" in sys.stderr.getvalue())
    assert "Traceback" in capsys.readouterr().err


def test_no_exception_is_left_in_the_interpreter(http, peer, capsys):
    manager, port = http(raising_first(Oops("x")))
    client = peer(port)
    client.send(get())
    spin(manager, lambda: "Oops" in sys.stderr.getvalue())
    assert sys.exc_info() == (None, None, None)
    capsys.readouterr()


# ==== what is no Exception leaves poll() ====

class Stop(BaseException):
    pass


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, Stop])
def test_other_exceptions_leave_poll_unchanged(http, peer, kind):
    error, told = kind("leave"), []
    manager, port = http(raising_first(error), manager_options={"error_handler": told.append})
    client = peer(port)
    client.send(get())
    with pytest.raises(kind) as caught:
        spin(manager, lambda: False)
    assert caught.value is error
    assert told == []
    other = peer(port)
    other.send(get())
    spin(manager, lambda: other.responses(1))


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_they_leave_poll_from_a_timer_too(make_manager, kind):
    def callback():
        raise kind

    calls = []
    manager = make_manager()
    manager.timer_add(0, callback)
    with pytest.raises(kind):
        spin(manager, lambda: False)
    manager.timer_add(0, lambda: calls.append(1))
    spin(manager, lambda: calls)


@pytest.mark.parametrize("where", ["error_handler", "close", "listen"])
def test_they_leave_the_call_in_which_they_were_raised(make_manager, http, peer, where):
    left = [KeyboardInterrupt()]

    def interrupt(*args):
        if left:
            raise left.pop()

    if where == "error_handler":
        manager, port = http(raising_first(Oops("x")), manager_options={"error_handler": interrupt})
        peer(port).send(get())
        with pytest.raises(KeyboardInterrupt):
            spin(manager, lambda: False)
    elif where == "listen":
        manager = make_manager(interrupt)
        with pytest.raises(KeyboardInterrupt):
            manager.listen(f"tcp://{HOST}:0")
            manager.poll(0)
    else:
        manager = make_manager(lambda conn, ev, data: interrupt() if ev == MG_EV_CLOSE else None)
        manager.listen(f"tcp://{HOST}:0")
        with pytest.raises(KeyboardInterrupt):
            manager.close()
        manager.close()
        with pytest.raises(RuntimeError):
            manager.poll(0)


def test_requests_that_were_ready_are_served_by_the_next_poll(http, peer):
    served = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            if not served:
                served.append("interrupted")
                raise KeyboardInterrupt
            served.append(data.uri)
            conn.reply(200, data.uri)

    manager, port = http(handler)
    clients = [peer(port) for _ in range(20)]
    spin(manager, lambda: len(manager.connections) == 21)
    for client in clients:
        client.send(get("/x") + get("/y"))
    with pytest.raises(KeyboardInterrupt):
        spin(manager, lambda: False)
    spin(manager, lambda: sum(bool(client.responses(2)) for client in clients) == 19)
    unanswered = [client for client in clients if not client.received]
    assert len(unanswered) == 1
    assert not unanswered[0].closed(), "the interrupted connection lives on, its request waits for an answer"
    assert served.count("/x") == 19


def test_wakeups_and_timers_survive_an_interrupt(make_manager):
    seen = []

    def handler(conn, ev, data):
        if data is not None:
            seen.append(data)
            if data == b"1":
                raise KeyboardInterrupt

    manager = make_manager(handler, enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0")
    for n in range(5):
        manager.wakeup(listener.id, b"%d" % n)
    manager.timer_add(0, lambda: seen.append("timer"))
    with pytest.raises(KeyboardInterrupt):
        spin(manager, lambda: False)
    spin(manager, lambda: len(seen) == 6)
    assert [each for each in seen if each != "timer"] == [b"0", b"1", b"2", b"3", b"4"]


@pytest.mark.parametrize("event", ["READ", "WRITE", "CLOSE", "ACCEPT", "ERROR"])
def test_an_interrupt_in_any_event_leaves_the_loop_whole(raw, peer, event):
    raised = []

    def handler(conn, ev, data):
        if name_of(ev) == event and not raised:
            raised.append(ev)
            raise KeyboardInterrupt
        if ev == MG_EV_READ:
            conn.send(conn.recv())
        if ev == MG_EV_READ and event == "ERROR" and not raised:
            conn.error("on purpose")

    manager, port = raw(handler)
    client = peer(port)
    client.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        spin(manager, lambda: client.has(1) and event == "CLOSE" and client.close())
    other = peer(port)
    other.send(b"y")
    spin(manager, lambda: other.has(1))
    client.close()
    other.close()
    spin(manager, lambda: len(manager.connections) == 1)


# ==== signals ====

WAITING = """
import cymongoose, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
manager = cymongoose.Manager()
manager.listen("tcp://127.0.0.1:0")
manager.poll(0)
manager.poll(0)
print("ready", flush=True)
try:
    while True:
        manager.poll({timeout})
except KeyboardInterrupt:
    print("interrupted", flush=True)
manager.poll(0)
manager.close()
print("closed", flush=True)
"""


@pytest.mark.parametrize("timeout", [-1, 60_000])
def test_sigint_while_waiting_leaves_poll(timeout):
    with python_process(WAITING.format(timeout=timeout)) as process:
        assert read_line(process) == "ready"
        time.sleep(0.05)  # most likely it waits by now; it must work in any case
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert read_line(process) == "interrupted"
        assert time.monotonic() - started < 5
        assert read_line(process) == "closed"
        assert process.wait(DEADLINE) == 0


IN_HANDLER = """
import cymongoose, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
def handler(conn, ev, data):
    if ev == cymongoose.MG_EV_HTTP_MSG and data.uri == "/spin":
        print("in handler", flush=True)
        while True:
            pass
    elif ev == cymongoose.MG_EV_HTTP_MSG:
        conn.reply(200, "alive")
manager = cymongoose.Manager(handler)
print(manager.listen("http://127.0.0.1:0").local_addr[1], flush=True)
while True:
    try:
        manager.poll(1000)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


def test_sigint_in_a_handler_leaves_poll_and_the_server_goes_on():
    with python_process(IN_HANDLER) as process:
        port = int(read_line(process))
        stuck = http.client.HTTPConnection(HOST, port, timeout=DEADLINE)
        stuck.request("GET", "/spin")
        assert read_line(process) == "in handler"
        process.send_signal(signal.SIGINT)
        assert read_line(process) == "interrupted"
        client = http.client.HTTPConnection(HOST, port, timeout=DEADLINE)
        client.request("GET", "/")
        assert client.getresponse().read() == b"alive"
        client.close()
        stuck.close()


def test_an_uncaught_interrupt_ends_the_program_as_usual():
    code = WAITING.format(timeout=-1).replace("except KeyboardInterrupt", "except ZeroDivisionError")
    with python_process(code) as process:
        assert read_line(process) == "ready"
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=DEADLINE)
        assert process.returncode == -signal.SIGINT
        assert "KeyboardInterrupt" in text


def test_system_exit_in_a_handler_ends_the_program_with_its_status():
    result = run_python("""
import cymongoose, sys, atexit
atexit.register(lambda: print("atexit ran"))
def tick():
    sys.exit(7)
manager = cymongoose.Manager()
manager.timer_add(0, tick)
try:
    manager.poll(1000)
finally:
    print("finally ran")
""")
    assert (result.returncode, result.stdout.split("\n")[:2], result.stderr) == (7, ["finally ran", "atexit ran"], "")


def test_a_python_signal_handler_runs_while_poll_waits(make_manager):
    """A signal ends the wait; its handler that does not raise lets poll() return normally."""
    seen = []
    previous = signal.signal(signal.SIGALRM, lambda number, frame: seen.append(number))
    try:
        manager = make_manager()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        started = time.monotonic()
        while not seen and time.monotonic() - started < DEADLINE:
            manager.poll(int(DEADLINE * 1000))
        assert seen == [signal.SIGALRM]
        assert time.monotonic() - started < DEADLINE / 2
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_a_signal_handler_that_raises_leaves_poll_with_that_exception(make_manager):
    def alarm(number, frame):
        raise Oops("from the signal")

    previous = signal.signal(signal.SIGALRM, alarm)
    try:
        manager = make_manager()
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(Oops):
            manager.poll(int(DEADLINE * 1000))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def test_sigpipe_does_not_end_the_process():
    result = run_python("""
import signal, socket, cymongoose
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
manager = cymongoose.Manager()
listener = manager.listen("tcp://127.0.0.1:0")
client = socket.create_connection(("127.0.0.1", listener.local_addr[1]))
while len(manager.connections) < 2:
    manager.poll(10)
conn = manager.connections[1]
client.close()
for _ in range(50):
    try:
        conn.send(b"x" * 100000)
    except RuntimeError:
        break
    manager.poll(1)
manager.close()
print("alive")
""")
    assert (result.returncode, result.stdout) == (0, "alive\n")


def test_exceptions_of_error_event_handlers_do_not_stop_the_close(make_manager):
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_ERROR:
            raise Oops("in ERROR")

    manager = make_manager(handler, error_handler=errors.append)
    manager.listen(f"tcp://{HOST}:0").error("x")
    spin(manager, lambda: not manager.connections)
    assert [str(error) for error in errors] == ["in ERROR"]
