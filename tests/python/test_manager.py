# SPDX-License-Identifier: MIT
"""Manager (api.md section 6): listen and connect in all their forms, run() with signals, context manager, close."""
import http.client
import io
import ipaddress
import os
import signal
import socket
import sys
import threading
import time

import pytest

from cymongoose import MG_EV_HTTP_MSG, MG_EV_READ, Manager
from support import (
    BACKEND,
    DEADLINE,
    HOST,
    Recorder,
    free_port,
    get,
    has_ipv6,
    hello,
    join,
    python_process,
    read_line,
    run_python,
    settle,
    spin,
)

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")


# ==== listen ====

def test_port_0_is_chosen_by_the_system(make_manager):
    """[tests rely] read it from listener.local_addr[1]."""
    manager = make_manager()
    ports = {manager.listen(f"{scheme}://{HOST}:0").local_addr[1] for scheme in ("http", "tcp", "udp", "mqtt")}
    assert len(ports) == 4
    assert 0 not in ports


@pytest.mark.parametrize("url", [
    "invalid://address", "http://example.invalid:80", "tcp://256.1.1.1:0", "tcp://127.0.0.1:99999",
    "tcp://127.0.0.1:-1", "tcp://127.0.0.1:x", "tcp://[::1:0", "tcp://[zz]:0", "unix:", "fd://x", "fd://99999",
    "fd://-1", "fd://0x1",
])
def test_failures_to_listen(make_manager, url):
    """[tests rely: text "Failed to listen"]; the url is named."""
    manager = make_manager()
    with pytest.raises(RuntimeError) as caught:
        manager.listen(url)
    assert "Failed to listen" in str(caught.value)
    assert url in str(caught.value)
    assert manager.connections == ()


def test_a_port_in_use_fails(make_manager):
    manager = make_manager()
    port = manager.listen(f"tcp://{HOST}:0").local_addr[1]
    with pytest.raises(RuntimeError, match="Failed to listen"):
        manager.listen(f"tcp://{HOST}:{port}")
    with pytest.raises(RuntimeError, match="Failed to listen"):
        make_manager().listen(f"tcp://{HOST}:{port}")


def test_a_failed_listen_calls_no_handler(make_manager):
    events = Recorder()
    with pytest.raises(RuntimeError):
        make_manager(events).listen("invalid://address", events)
    assert events.entries == []


def test_a_port_is_free_again_at_once(make_manager, peer):
    """SO_REUSEADDR: also with connections in TIME_WAIT."""
    manager = make_manager(lambda conn, ev, data: conn.drain() if ev == MG_EV_READ else None)
    port = manager.listen(f"tcp://{HOST}:0").local_addr[1]
    client = peer(port)
    client.send(b"x")
    spin(manager, client.closed)
    manager.close()
    make_manager().listen(f"tcp://{HOST}:{port}")


@pytest.mark.parametrize("host", ["", "0.0.0.0", "localhost"])
def test_listen_hosts(make_manager, peer, host):
    manager = make_manager(hello)
    listener = manager.listen(f"http://{host}:0")
    client = peer(listener.local_addr[1])
    client.send(get())
    spin(manager, lambda: client.responses(1))
    assert listener.local_addr[0] == (HOST if host == "localhost" else "0.0.0.0")


@pytest.mark.parametrize("url, options, is_http", [
    ("http", {}, True), ("HTTP", {}, True), ("ws", {}, True), ("tcp", {}, False), ("mqtt", {}, False),
    ("tcp", {"http": True}, True), ("http", {"http": False}, False), ("http", {"http": None}, True),
    ("http", {"http": True}, True),
])
def test_http_parsing_by_scheme_and_override(make_manager, peer, url, options, is_http):
    """[tests rely] http=True/False overrides in both directions."""
    events = Recorder()
    manager = make_manager(events)
    port = manager.listen(f"{url}://{HOST}:0", **options).local_addr[1]
    peer(port).send(get())
    spin(manager, lambda: events.count("READ"))
    assert ("HTTP_MSG" in events.names()) is is_http


@pytest.mark.parametrize("scheme, options, is_http", [
    ("http", {}, True), ("tcp", {}, False), ("tcp", {"http": True}, True), ("http", {"http": False}, False)])
def test_http_parsing_of_clients(make_manager, scheme, options, is_http):
    events = Recorder()
    manager = make_manager(hello)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = manager.connect(f"{scheme}://{HOST}:{port}", events, **options)
    client.send(get())
    spin(manager, lambda: events.count("READ"))
    assert ("HTTP_MSG" in events.names()) is is_http


def test_a_listener_made_while_polling_elsewhere_is_served(server, make_manager, peer):
    """listen() from another thread, while the poller waits without limit."""
    running = server(hello, poll_ms=int(DEADLINE * 1000), manager_options={"enable_wakeup": True})
    port = running.manager.listen(f"http://{HOST}:0").local_addr[1]
    client = peer(port)
    client.send(get())
    end = time.monotonic() + DEADLINE / 2
    while not client.responses(1):
        assert time.monotonic() < end
        time.sleep(0.001)
    running._stop.set()
    running.manager.wakeup(running.manager.wakeup_id)


# ==== kinds of addresses ====

@needs_ipv6
def test_ipv6(make_manager, peer):
    events = Recorder(hello)
    manager = make_manager(events)
    listener = manager.listen("http://[::1]:0")
    ip, port, is_ipv6 = listener.local_addr
    assert is_ipv6 is True
    client = peer(("::1", port), family=socket.AF_INET6)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    ip, *rest = events.accepted().remote_addr
    assert rest == [client.address[1], True]
    assert ipaddress.ip_address(ip) == ipaddress.ip_address("::1")
    outgoing = Recorder()
    manager.connect(f"tcp://[::1]:{port}", outgoing)
    spin(manager, lambda: outgoing.count("CONNECT"))


@needs_ipv6
def test_dual_stack(make_manager, peer):
    """[::] takes both families."""
    manager = make_manager(hello)
    port = manager.listen("http://[::]:0").local_addr[1]
    for target, family in (((HOST, port), socket.AF_INET), (("::1", port), socket.AF_INET6)):
        client = peer(target, family=family)
        client.send(get())
        spin(manager, lambda: client.responses(1))


@needs_ipv6
def test_udp_over_ipv6(make_manager):
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen("udp://[::1]:0")
    client = manager.connect(f"udp://[::1]:{listener.local_addr[1]}", lambda conn, ev, data: None)
    client.send(b"six")
    spin(manager, lambda: events.count("READ"))
    assert listener.recv_data() == b"six"


def test_unix_stream_sockets(make_manager, peer, tmp_path):
    path = str(tmp_path / "socket")
    events = Recorder(hello)
    manager = make_manager(events)
    listener = manager.listen(f"unix:{path}", http=True)
    assert listener.local_addr == (path, 0, False)
    client = peer(path, family=socket.AF_UNIX)
    client.send(get())
    assert spin(manager, lambda: client.responses(1))[0].body == b"OK"
    outgoing = Recorder()
    connection = manager.connect(f"unix:{path}", outgoing, http=True)
    connection.send(get())
    spin(manager, lambda: outgoing.count("HTTP_MSG"))
    assert outgoing.data("HTTP_MSG")[0]["body"] == b"OK"
    assert connection.remote_addr == (path, 0, False)


def test_unix_abstract_sockets(make_manager, peer):
    name = f"tavi-test-{os.getpid()}"
    events = Recorder(lambda conn, ev, data: conn.send(conn.recv()) if ev == MG_EV_READ else None)
    manager = make_manager(events)
    manager.listen(f"unix:@{name}")
    client = peer("\0" + name, family=socket.AF_UNIX)
    client.send(b"abstract")
    spin(manager, lambda: client.has(8))


def test_a_unix_path_that_is_taken_or_too_long_fails(make_manager, tmp_path):
    manager = make_manager()
    manager.listen(f"unix:{tmp_path}/taken")
    for url in (f"unix:{tmp_path}/taken", f"unix:{tmp_path}/{'x' * 200}", f"unix:{tmp_path}/missing/socket"):
        with pytest.raises(RuntimeError, match="Failed to listen"):
            manager.listen(url)


def test_a_connection_to_a_missing_unix_path_is_an_error_event(make_manager, tmp_path):
    events = Recorder()
    manager = make_manager(events)
    manager.connect(f"unix:{tmp_path}/nothing")
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names()[-2:] == ["ERROR", "CLOSE"]


def test_an_inherited_descriptor(make_manager, peer):
    """fd://N takes over a listening socket."""
    with socket.create_server((HOST, 0)) as inherited:
        port = inherited.getsockname()[1]
        number = os.dup(inherited.fileno())
    manager = make_manager(hello)
    listener = manager.listen(f"fd://{number}", http=True)
    assert listener.local_addr[1] == port
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    manager.close()
    with pytest.raises(OSError):
        os.fstat(number)


def test_a_descriptor_that_does_not_listen_fails(make_manager):
    with open(os.devnull) as file:
        with pytest.raises(RuntimeError, match="Failed to listen"):
            make_manager().listen(f"fd://{file.fileno()}")
        os.fstat(file.fileno())


def test_sockets_of_systemd():
    result = run_python("""
import os, socket, sys
listening = socket.create_server(("127.0.0.1", 0))
os.dup2(listening.fileno(), 3)
os.set_inheritable(3, True)
port = listening.getsockname()[1]
os.environ["LISTEN_FDS"] = "1"
os.environ["LISTEN_PID"] = str(os.getpid())
code = '''
import socket, sys
from cymongoose import *
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "from systemd")
with Manager(handler) as manager:
    assert manager.listen("fd://systemd", http=True).local_addr[1] == int(sys.argv[1])
    client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    client.sendall(b"GET / HTTP/1.1\\\\r\\\\nHost: x\\\\r\\\\nConnection: close\\\\r\\\\n\\\\r\\\\n")
    client.setblocking(False)
    for _ in range(500):
        manager.poll(10)
        try:
            print(client.recv(1000)[-12:].decode())
            break
        except BlockingIOError:
            pass
'''
os.execv(sys.executable, [sys.executable, "-c", code, str(port)])
""")
    assert result.stdout == "from systemd\n", result.stderr


def test_reuse_port(make_manager):
    first, second = make_manager(), make_manager()
    port = first.listen(f"tcp://{HOST}:0", reuse_port=True).local_addr[1]
    assert second.listen(f"tcp://{HOST}:{port}", reuse_port=True).local_addr[1] == port
    with pytest.raises(RuntimeError):
        make_manager().listen(f"tcp://{HOST}:{port}")


def test_defer_accept(make_manager, peer):
    """Connections are accepted when bytes are there, not before."""
    events = Recorder(hello)
    manager = make_manager(events)
    port = manager.listen(f"http://{HOST}:0", defer_accept=True).local_addr[1]
    client = peer(port)
    settle(manager, 20)
    assert events.accepted() is None
    client.send(get())
    spin(manager, lambda: client.responses(1))


def test_backlog_is_taken(make_manager, peer):
    manager = make_manager(hello)
    port = manager.listen(f"http://{HOST}:0", backlog=1).local_addr[1]
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))


# ==== UDP ====

def test_udp_echo_with_a_client_used_from_another_thread(server):
    """[tests rely] the example: the client is created and used outside of the polling thread."""
    def handler(conn, ev, data):
        if ev == MG_EV_READ and not conn.is_client:
            conn.send(conn.recv_data())

    running = server(handler, url=f"udp://{HOST}:0", poll_ms=50)
    got = []
    client = running.manager.connect(f"udp://{HOST}:{running.port}",
                                     lambda conn, ev, data: got.append(conn.recv_data()) if ev == MG_EV_READ else None)
    for n in range(5):
        client.send(b"ping %d" % n)
        end = time.monotonic() + DEADLINE
        while len(got) <= n:
            assert time.monotonic() < end
            time.sleep(0.001)
    assert [each[-6:] for each in got] == [b"ping %d" % n for n in range(5)]


def test_udp_reply_goes_to_the_last_sender(make_manager):
    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            conn.send(b"you are %d" % conn.remote_addr[1])

    manager = make_manager(handler)
    listener = manager.listen(f"udp://{HOST}:0")
    assert listener.is_udp is True and listener.is_listening is True
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    try:
        for each in sockets:
            each.bind((HOST, 0))
            each.setblocking(False)
            each.sendto(b"who am I", listener.local_addr[:2])
        for each in sockets:
            def received(each=each):
                try:
                    return each.recv(100)
                except BlockingIOError:
                    return None
            assert spin(manager, received) == b"you are %d" % each.getsockname()[1]
    finally:
        for each in sockets:
            each.close()


def test_udp_datagrams_of_all_sizes(make_manager):
    sizes = []
    manager = make_manager(lambda conn, ev, data: sizes.append(len(conn.recv_data())) if ev == MG_EV_READ else None)
    listener = manager.listen(f"udp://{HOST}:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for n, size in enumerate((1, 100, 1472, 9000, 65_507, 2), 1):
            sender.sendto(b"x" * size, listener.local_addr[:2])
            spin(manager, lambda: len(sizes) == n)
    assert sizes == [1, 100, 1472, 9000, 65_507, 2], "the newest datagram alone"


def test_an_empty_datagram_does_not_stop_a_listener(make_manager):
    """A weakness of the original: a remote peer could stop it."""
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen(f"udp://{HOST}:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"", listener.local_addr[:2])
        sender.sendto(b"after", listener.local_addr[:2])
        spin(manager, lambda: listener.recv_data() == b"after")
    assert not listener.is_closing
    assert manager.connections == (listener,)


def test_udp_send_too_large_raises(make_manager):
    manager = make_manager()
    listener = manager.listen(f"udp://{HOST}:0")
    client = manager.connect(f"udp://{HOST}:{listener.local_addr[1]}")
    with pytest.raises(RuntimeError):
        client.send(b"x" * 70_000)


def test_udp_to_a_port_without_listener_does_not_end_the_loop(make_manager):
    manager = make_manager()
    client = manager.connect(f"udp://{HOST}:{free_port(socket.SOCK_DGRAM)}")
    for _ in range(5):
        try:
            client.send(b"anybody?")
        except RuntimeError:
            break
        manager.poll(1)
    settle(manager)


# ==== connect ====

def test_an_empty_url_fails_synchronously(make_manager):
    with pytest.raises(RuntimeError, match="Failed to connect to ''"):
        make_manager().connect("")


def test_a_connect_time_out(make_manager):
    """A listener whose queue is full does not answer: the attempt ends by itself."""
    events = Recorder()
    with socket.socket() as full:
        full.bind((HOST, 0))
        full.listen(0)
        fillers = []
        for _ in range(4):
            fillers.append(socket.socket())
            fillers[-1].setblocking(False)
            fillers[-1].connect_ex(full.getsockname())
        try:
            manager = make_manager(events)
            client = manager.connect(f"tcp://{HOST}:{full.getsockname()[1]}", connect_timeout_ms=80)
            spin(manager, lambda: events.count("CLOSE"), wait_ms=20)
            assert events.names(client) == ["OPEN", "RESOLVE", "ERROR", "CLOSE"]
        finally:
            for each in fillers:
                each.close()


# ==== connections ====

def test_connections_is_a_tuple_in_the_order_of_creation(raw, peer):
    """[tests rely] () at first and after close; grows by the accepted peer, shrinks after it closed."""
    empty = Manager()
    assert empty.connections == ()
    empty.close()
    manager, port = raw(None)
    listener = manager.connections[0]
    clients = []
    for n in range(3):
        clients.append(peer(port))
        spin(manager, lambda: len(manager.connections) == n + 2)
    outgoing = manager.connect(f"tcp://{HOST}:{port}")
    spin(manager, lambda: len(manager.connections) == 6)
    snapshot = manager.connections
    assert type(snapshot) is tuple
    assert snapshot[0] is listener
    assert snapshot[4] is outgoing
    assert [conn.id for conn in snapshot] == sorted(conn.id for conn in snapshot)
    clients[0].close()
    for _ in range(20):
        manager.poll(10)
    assert len(manager.connections) == 5
    assert len(snapshot) == 6, "a snapshot"
    with pytest.raises(AttributeError):
        manager.connections = ()
    manager.close()
    assert manager.connections == ()


def test_the_wakeup_is_no_connection(make_manager):
    assert make_manager(enable_wakeup=True).connections == ()


# ==== poll ====

def test_poll_waits_as_long_as_it_was_told(make_manager):
    manager = make_manager()
    started = time.monotonic()
    manager.poll(50)
    assert time.monotonic() - started >= 0.045
    started = time.monotonic()
    for _ in range(100):
        manager.poll(0)
        manager.poll()
    assert time.monotonic() - started < 1


def test_poll_with_a_negative_time_waits_for_an_event(make_manager):
    manager = make_manager(enable_wakeup=True)
    manager.poll(0)
    woken = []
    timer = threading.Timer(0.03, lambda: woken.append(manager.wakeup(manager.wakeup_id)))
    timer.start()
    started = time.monotonic()
    while not woken:
        manager.poll(-1)
    assert 0.02 < time.monotonic() - started < DEADLINE
    join(timer)


def test_poll_releases_the_gil(make_manager):
    manager = make_manager()
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    manager.poll(100)
    stop.set()
    join(thread)
    assert counted[0] > 1000


def test_after_close_everything_raises(make_manager):
    """[tests rely: RuntimeError]"""
    manager = make_manager(enable_wakeup=True)
    manager.close()
    for call in (manager.poll, manager.run, manager.fileno, lambda: manager.listen(f"tcp://{HOST}:0"),
                 lambda: manager.connect(f"tcp://{HOST}:1"), lambda: manager.timer_add(1, hello),
                 lambda: manager.wakeup(1)):
        with pytest.raises(RuntimeError):
            call()
    with pytest.raises(RuntimeError, match="freed"):
        manager.poll()


def test_close_twice_is_no_error(make_manager):
    """[tests rely]"""
    manager = make_manager()
    manager.listen(f"tcp://{HOST}:0")
    assert manager.close() is None
    assert manager.close() is None


def test_close_runs_handlers(make_manager):
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen(f"tcp://{HOST}:0")
    manager.close()
    assert events.names(listener) == ["OPEN", "CLOSE"]


def test_peers_see_the_close_of_the_manager(http, peer):
    manager, port = http(hello)
    clients = [peer(port) for _ in range(3)]
    spin(manager, lambda: len(manager.connections) == 4)
    manager.close()
    for client in clients:
        end = time.monotonic() + DEADLINE
        while not client.closed():
            assert time.monotonic() < end


# ==== context manager ====

def test_context_manager():
    """[tests rely] returns self, closes, exceptions propagate."""
    with Manager() as manager:
        assert type(manager) is Manager
        listener = manager.listen(f"tcp://{HOST}:0")
    assert listener.is_closing is True
    with pytest.raises(RuntimeError):
        manager.poll()


def test_context_manager_lets_exceptions_out():
    with pytest.raises(ZeroDivisionError):
        with Manager() as manager:
            raise ZeroDivisionError
    with pytest.raises(RuntimeError):
        manager.poll()
    other = Manager()
    assert other.__enter__() is other
    assert other.__exit__(None, None, None) is False
    assert other.__exit__(ValueError, ValueError(), None) is False


def test_context_manager_around_a_closed_manager():
    with Manager() as manager:
        manager.close()


# ==== run ====

@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_until_a_signal(make_manager, number):
    """[tests rely] the signal comes from a 200 ms timer; previous handlers are back (the same objects); then closed."""
    def mine(number, frame):
        raise AssertionError("the previous handler must not run")

    before = {each: signal.signal(each, mine) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        events = Recorder()
        manager = make_manager(events)
        manager.listen(f"tcp://{HOST}:0")
        manager.timer_add(200, lambda: os.kill(os.getpid(), number))
        started = time.monotonic()
        assert manager.run() is None
        assert 0.15 < time.monotonic() - started < DEADLINE
        assert signal.getsignal(signal.SIGINT) is mine
        assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert events.names() == ["OPEN", "CLOSE"]
    with pytest.raises(RuntimeError):
        manager.poll()


def test_run_while_a_handler_runs_the_signal(http, peer):
    manager, port = http(lambda conn, ev, data: (conn.reply(200, "bye"), os.kill(os.getpid(), signal.SIGTERM))
                         if ev == MG_EV_HTTP_MSG else None)
    client = peer(port)
    client.send(get())
    manager.run(poll_ms=20)
    end = time.monotonic() + DEADLINE
    while not client.closed():
        assert time.monotonic() < end
    assert manager.connections == ()


def test_run_in_a_thread_is_a_value_error_and_the_manager_stays_open(make_manager):
    manager = make_manager()
    outcome = []

    def work():
        try:
            manager.run()
        except Exception as exc:
            outcome.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    join(thread)
    assert isinstance(outcome[0], ValueError)
    manager.poll(0)


def test_run_restores_handlers_when_poll_raises(make_manager):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    def leave():
        raise SystemExit(3)

    manager = make_manager()
    manager.timer_add(0, leave)
    with pytest.raises(SystemExit):
        manager.run()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_run_serves_meanwhile(server):
    """A program whose main thread is in run(), seen from outside."""
    code = """
from cymongoose import *
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, "running")
manager = Manager(handler)
print(manager.listen("http://127.0.0.1:0").local_addr[1], flush=True)
manager.run()
print("over", flush=True)
"""
    with python_process(code) as process:
        client = http.client.HTTPConnection(HOST, int(read_line(process)), timeout=DEADLINE)
        client.request("GET", "/")
        assert client.getresponse().read() == b"running"
        process.send_signal(signal.SIGTERM)
        assert read_line(process) == "over"
        assert process.wait(DEADLINE) == 0
        client.close()


# ==== the back end ====

def test_the_environment_chooses_the_back_end():
    code = "import cymongoose; m = cymongoose.Manager(); m.fileno(); m.close()"
    for backend, works in (("epoll", True), ("poll", False)):
        result = run_python(code, env={"TAVI_BACKEND": backend})
        assert (result.returncode == 0) is works, result.stderr
    assert run_python(code, env={"TAVI_BACKEND": "nonsense"}).returncode != 0


@pytest.mark.parametrize("backend", ["epoll", "poll", "auto"])
def test_a_back_end_can_be_asked_for(backend, peer):
    with Manager(hello, backend=backend) as manager:
        client = peer(manager.listen(f"http://{HOST}:0").local_addr[1])
        client.send(get())
        spin(manager, lambda: client.responses(1))


def test_the_suite_runs_on_the_back_end_that_was_asked_for(make_manager):
    manager = make_manager()
    if BACKEND == "poll":
        with pytest.raises(io.UnsupportedOperation):
            manager.fileno()
    else:
        assert manager.fileno() >= 0


def test_no_module_of_the_standard_library_is_imported_for_nothing():
    result = run_python("import sys; before = set(sys.modules); import cymongoose; print(set(sys.modules) - before)")
    assert not {"asyncio", "ssl", "http.client"} & set(eval(result.stdout))
    assert sys.version_info >= (3, 9)
