# SPDX-License-Identifier: MIT
"""Memory, references and descriptors: collected when dropped, stable under load, and survived when they run out."""
import gc
import os
import socket
import sys
import threading
import time
import weakref

import pytest

from cymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_HTTP_MSG, Manager
from support import (
    BACKEND,
    DEADLINE,
    HOST,
    INSTRUMENTED,
    Peer,
    descriptors,
    get,
    hello,
    join,
    post,
    python_process,
    read_line,
    run_python,
    settle,
    spin,
)

uninstrumented = pytest.mark.skipif(INSTRUMENTED, reason="an instrumented allocator keeps freed memory")


def resident_kib():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * (os.sysconf("SC_PAGE_SIZE") // 1024)


# ==== garbage collection ====

def test_a_dropped_manager_frees_its_descriptors_and_its_peers_see_it(peer):
    before = descriptors().keys()
    manager = Manager(hello, enable_wakeup=True)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    client = Peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    if BACKEND == "epoll":
        manager.fileno()
    manager.timer_add(1000, lambda: None)
    del manager
    gc.collect()
    end = time.monotonic() + DEADLINE
    while not client.closed():
        assert time.monotonic() < end
    client.close()
    assert descriptors().keys() == before


def test_dropped_managers_do_not_pile_up():
    before = len(descriptors())
    for _ in range(200):
        manager = Manager(enable_wakeup=True)
        manager.listen(f"tcp://{HOST}:0")
        manager.poll(0)
        del manager
    gc.collect()
    assert len(descriptors()) == before


class App:
    """A program whose manager, handlers, timers and userdata all refer to each other."""

    def __init__(self):
        self.manager = Manager(self.handler, error_handler=self.failed)
        self.listener = self.manager.listen(f"http://{HOST}:0", self.handler)
        self.listener.userdata = self
        self.timer = self.manager.timer_add(1000, self.tick, repeat=True)
        self.client = self.manager.connect(f"http://{HOST}:{self.listener.local_addr[1]}", self.handler)
        self.client.userdata = [self.client, self]
        self.kept = []

    def handler(self, conn, ev, data):
        self.kept.append((conn, data))
        hello(conn, ev, data)

    def failed(self, exc):
        self.kept.append(exc)

    def tick(self):
        self.kept.append(self)


@pytest.mark.parametrize("closed", [False, True])
def test_cycles_through_handlers_timers_and_userdata_are_collected(closed):
    before = descriptors().keys()
    app = App()
    app.client.send(get())
    spin(app.manager, lambda: any(data is not None for _, data in app.kept))
    if closed:
        app.manager.close()
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None
    assert descriptors().keys() == before


def test_a_connection_keeps_working_after_its_manager_is_gone():
    manager = Manager(lambda conn, ev, data: None)
    listener = manager.listen(f"tcp://{HOST}:0")
    client = manager.connect(f"tcp://{HOST}:{listener.local_addr[1]}")
    client.userdata = "mine"
    del manager
    gc.collect()
    for conn in (listener, client):
        assert conn.is_closing is True
        assert repr(conn) == "<Connection closed>"
        conn.close()
        with pytest.raises(RuntimeError, match="closed"):
            conn.send(b"x")
    assert client.userdata == "mine"


def test_a_manager_made_and_forgotten_without_use():
    for _ in range(100):
        Manager()
    Manager.__new__(Manager)


def test_handlers_that_are_replaced_are_let_go(make_manager):
    def handler(conn, ev, data):
        pass

    manager = make_manager()
    before = sys.getrefcount(handler)
    listener = manager.listen(f"tcp://{HOST}:0", handler)
    assert sys.getrefcount(handler) > before
    listener.set_handler(None)
    assert sys.getrefcount(handler) == before
    manager.listen(f"tcp://{HOST}:0", handler).set_handler(hello)
    assert sys.getrefcount(handler) == before


def test_closed_connections_are_freed(raw, peer):
    class Token:
        pass

    tokens = []

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            conn.userdata = Token()
            tokens.append(weakref.ref(conn.userdata))

    manager, port = raw(handler)
    for n in range(10):
        client = peer(port)
        spin(manager, lambda: len(tokens) == n + 1)
        client.close()
    spin(manager, lambda: len(manager.connections) == 1)
    gc.collect()
    assert [token() for token in tokens] == [None] * 10


def test_payloads_are_let_go(raw, peer):
    """Large bytes are not copied, so they are kept until sent, and no longer."""
    payload = b"x" * 3_000_000
    before = sys.getrefcount(payload)
    accepted = []
    manager, port = raw(lambda conn, ev, data: accepted.append(conn) if ev == MG_EV_ACCEPT else None)
    client = peer(port)
    spin(manager, lambda: accepted)
    for _ in range(3):
        accepted[0].send(payload)
    spin(manager, lambda: client.has(9_000_000))
    settle(manager, 2)
    assert sys.getrefcount(payload) == before
    accepted[0].send(payload)
    accepted[0].close()
    settle(manager, 2)
    assert sys.getrefcount(payload) == before


# ==== stable under load ====

def measure():
    gc.collect()
    return len(gc.get_objects()), sys.getrefcount(None), resident_kib()


@uninstrumented
@pytest.mark.parametrize("kind", ["requests", "bodies", "exceptions", "kept views", "chunks", "wakeups", "timers"])
def test_10000_of_each_leave_nothing(make_manager, peer, kind):
    served, kept = [0], []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            served[0] += 1
            if kind == "kept views":
                kept.append(data)
                del kept[:-10]
            if kind == "chunks":
                conn.reply(200, "", {"Transfer-Encoding": "chunked"})
                conn.http_chunk("chunk")
                conn.http_chunk("")
            else:
                conn.reply(200, data.body_bytes or data.uri, {"X-Q": data.query_var("q"), "X-H": data.header("Host")})
            if kind == "exceptions":
                raise ValueError(data)
        elif data is not None:
            served[0] += isinstance(data, bytes)

    def count(*args):
        served[0] += 1 if not args else 0

    manager = make_manager(handler, enable_wakeup=True, error_handler=lambda exc: None)
    listener = manager.listen(f"http://{HOST}:0")
    client = peer(listener.local_addr[1])
    references = sys.getrefcount(handler)

    def run(number):
        served[0] = 0
        for at in range(0, number, 100):
            if kind == "wakeups":
                for n in range(100):
                    manager.wakeup(listener.id, b"payload %d" % n)
            elif kind == "timers":
                for n in range(100):
                    manager.timer_add(0, count)
            else:
                client.send((post("/?q=v", b"b" * 1000) if kind == "bodies" else get("/x?q=v")) * 100)
            spin(manager, lambda: served[0] == at + 100 and client.pump().sent_all)
            client.received.clear()

    run(3000)
    before = measure()
    run(10_000)
    objects, nones, resident = measure()
    assert abs(objects - before[0]) < 100
    assert abs(nones - before[1]) < 300
    assert resident - before[2] < 2048
    assert abs(sys.getrefcount(handler) - references) < 5


@uninstrumented
def test_2000_connections_leave_no_descriptor_and_no_memory(make_manager):
    """connect, request, close: back to the start in descriptors, objects and memory."""
    served = [0, 0]

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            served[0] += 1
            conn.reply(200, "OK")
        elif ev == MG_EV_CLOSE:
            served[1] += 1

    manager = make_manager(handler)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]

    def run(cycles):
        for _ in range(cycles):
            client = Peer(port)
            client.send(get())
            spin(manager, lambda: client.responses(1), wait_ms=1)
            client.close()
        spin(manager, lambda: len(manager.connections) == 1)

    run(500)
    open_before, (objects_before, _, resident_before) = len(descriptors()), measure()
    run(2000)
    objects, _, resident = measure()
    assert served == [2500, 2500]
    assert len(descriptors()) == open_before
    assert abs(objects - objects_before) < 100
    assert resident - resident_before < 2048


@uninstrumented
def test_outgoing_connections_leave_nothing(make_manager):
    manager = make_manager(hello)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]

    def run(cycles):
        answered = []

        def on_event(conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                answered.append(1)
                conn.close()

        for n in range(1, cycles + 1):
            manager.connect(f"http://{HOST}:{port}", on_event).send(get())
            spin(manager, lambda: len(answered) == n, wait_ms=1)
        spin(manager, lambda: len(manager.connections) == 1)

    run(200)
    open_before, (objects_before, _, resident_before) = len(descriptors()), measure()
    run(500)
    objects, _, resident = measure()
    assert len(descriptors()) == open_before
    assert abs(objects - objects_before) < 100
    assert resident - resident_before < 2048


@uninstrumented
def test_idle_connections_hold_no_buffers(make_manager, peer):
    manager = make_manager(lambda conn, ev, data: conn.reply(200, b"x" * 50_000) if ev == MG_EV_HTTP_MSG else None)
    port = manager.listen(f"http://{HOST}:0").local_addr[1]
    clients = [peer(port) for _ in range(300)]
    for client in clients:
        client.send(post("/", b"y" * 50_000))
    spin(manager, lambda: all(client.responses(1) for client in clients))
    settle(manager)
    for conn in manager.connections:
        assert conn.recv_size <= 4096 and conn.send_size <= 4096


def test_stress_2000_serial_cycles_under_poll_1(server):
    """[tests rely] connect/request/close with poll(1): at least 1,900 are handled; here all of them."""
    handled = [0]

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            handled[0] += 1
            conn.reply(200, "OK")

    running = server(handler, poll_ms=1)
    for _ in range(2000):
        with socket.create_connection((HOST, running.port), timeout=DEADLINE) as client:
            client.sendall(get())
            assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
    assert handled[0] == 2000


def test_stress_5_times_400_parallel_cycles(server):
    """[tests rely]"""
    running, failures = server(hello, poll_ms=1), []

    def work():
        try:
            for _ in range(400):
                with socket.create_connection((HOST, running.port), timeout=DEADLINE) as client:
                    client.sendall(get())
                    assert client.recv(1000).startswith(b"HTTP/1.1 200 OK")
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread, 6 * DEADLINE)
    assert failures == []


# ==== running out ====

SMALL = """
import resource, time
from cymongoose import *
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        if data.uri == "/cpu":
            conn.reply(200, "%f" % time.process_time())
        elif data.uri == "/connect":
            client = manager.connect("tcp://127.0.0.1:%d" % port)
            conn.reply(200, "failed" if client.is_closing else "trying")
        elif data.uri == "/listen":
            try:
                manager.listen("tcp://127.0.0.1:0").close()
                conn.reply(200, "listening")
            except RuntimeError as exc:
                conn.reply(200, str(exc))
        else:
            conn.reply(200, "%d" % len(manager.connections))
manager = Manager(handler)
port = manager.listen("http://127.0.0.1:0").local_addr[1]
print(port, flush=True)
while True:
    manager.poll(100)
"""


def ask(client, path):
    client.received.clear()
    client.send(get(path))
    end = time.monotonic() + DEADLINE
    while not client.responses(1):
        assert time.monotonic() < end and not client.eof
        time.sleep(0.001)
    return client.responses(1)[0].body


def test_descriptor_exhaustion_is_survived(peer):
    """Those who have a connection are served, the surplus is shed without spinning, afterwards all is as before."""
    with python_process(SMALL) as process:
        port = int(read_line(process))
        first = peer(port)
        assert ask(first, "/") == b"2"
        crowd = [peer(port) for _ in range(100)]
        end = time.monotonic() + DEADLINE
        while sum(client.closed() for client in crowd) < 60:
            assert time.monotonic() < end, "the surplus is not shed"
            time.sleep(0.002)
        assert 20 < int(ask(first, "/")) <= 40
        assert ask(first, "/listen").startswith(b"Failed to listen")
        assert ask(first, "/connect") in (b"failed", b"trying")
        used = float(ask(first, "/cpu"))
        time.sleep(0.3)
        assert float(ask(first, "/cpu")) - used < 0.15, "the loop spins"
        served = next(client for client in crowd if not client.closed())
        assert int(ask(served, "/")) > 20
        for client in crowd:
            client.close()
        end = time.monotonic() + DEADLINE
        while ask(first, "/") != b"2":
            assert time.monotonic() < end, "no recovery"
        for _ in range(10):
            assert ask(peer(port), "/")
        assert ask(first, "/listen") == b"listening"
        assert process.poll() is None


def test_a_manager_without_descriptors_raises():
    result = run_python("""
import resource, os
import cymongoose
resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))
taken = []
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    cymongoose.Manager(enable_wakeup=True).listen("tcp://127.0.0.1:0")
    print("made")
except (OSError, RuntimeError) as exc:
    print("raised")
os.close(taken.pop()); os.close(taken.pop()); os.close(taken.pop()); os.close(taken.pop()); os.close(taken.pop())
with cymongoose.Manager() as manager:
    manager.listen("tcp://127.0.0.1:0")
    manager.poll(0)
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "raised\n", "")


# ==== debugging interpreters ====

EVERYTHING = """
import gc, socket, threading
from cymongoose import *
errors, woken, ticks, kept = [], [], [], []
def handler(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        kept.append(data)
        conn.userdata = [conn]
        if data.uri == "/raise":
            conn.reply(500)
            raise ValueError(data.uri)
        elif data.uri == "/json":
            conn.reply_json({"q": data.query_var("q")}, headers={"X-A": data.header("Host")})
        elif data.uri == "/chunks":
            conn.reply(200, "", {"Transfer-Encoding": "chunked"})
            conn.http_sse("event", "data")
            conn.http_chunk(b"x" * 100000)
            conn.http_chunk("")
        elif data.uri == "/file/etc/passwd":
            conn.serve_dir(data, "/nowhere,/file=/", "X-A: 1", hidden=True)
        elif data.uri == "/events":
            conn.compress(data)
            conn.http_sse_begin({"X-A": data.cookie("a"), "X-B": data.cookies()})
            channel.subscribe(conn)
            channel.publish("event", "data" * 50000, id=str(conn.origin(data)))
            conn.http_chunk("")
        else:
            conn.reply(200, data.body_bytes)
    elif ev == MG_EV_HTTP_HDRS and data.uri == "/form":
        conn.receive_form(data, "/tmp", lambda conn, form: kept.extend([form, *form.parts]) or conn.reply(200))
    elif ev == MG_EV_WAKEUP:
        woken.append(data)
    elif ev == MG_EV_READ and conn.is_udp:
        conn.recv_data()
manager = Manager(handler, enable_wakeup=True, error_handler=errors.append)
listener = manager.listen("http://127.0.0.1:0", handler)
channel = manager.event_channel()
udp = manager.listen("udp://127.0.0.1:0")
manager.connect("udp://127.0.0.1:%d" % udp.local_addr[1]).send(b"datagram")
manager.connect("tcp://127.0.0.1:1")
timer = manager.timer_add(1, lambda: ticks.append(1), repeat=True)
thread = threading.Thread(target=lambda: [manager.wakeup(listener.id, b"w" * n) for n in range(300)])
thread.start()
client = socket.create_connection(("127.0.0.1", listener.local_addr[1]))
for path in (b"/raise", b"/json?q=1", b"/chunks", b"/file/etc/passwd", b"/events", b"/"):
    client.sendall(b"GET %b HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % path)
form = b"a=1&b=" + b"x" * 1000
client.sendall(b"POST /form HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: application/x-www-form-urlencoded\\r\\n"
               b"Content-Length: %d\\r\\n\\r\\n%b" % (len(form), form))
client.sendall(b"POST / HTTP/1.1\\r\\nHost: x\\r\\nContent-Length: 300000\\r\\n\\r\\n" + b"y" * 300000)
client.setblocking(False)
received, rounds = 0, 0
while (received < 600000 or len(woken) < 300 or len(ticks) < 3) and rounds < 5000:
    manager.poll(2)
    rounds += 1
    try:
        received += len(client.recv(1 << 20))
    except BlockingIOError:
        pass
thread.join()
bad = socket.create_connection(("127.0.0.1", listener.local_addr[1]))
bad.sendall(b"garbage\\r\\n\\r\\n")
manager.connect("http://127.0.0.1:%d" % listener.local_addr[1]).send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
for _ in range(10):
    manager.poll(2)
    gc.collect()
timer.cancel()
bad.close()
client.close()
manager.close()
assert len(errors) == 1 and len(woken) == 300 and received > 600000, (errors, len(woken), received)
assert not any(kept)
for make in (Manager, Connection, HttpMessage, EventChannel, Form, FormPart, Timer):
    make()
dropped = Manager(handler)
dropped.listen("tcp://127.0.0.1:0").userdata = dropped
print("done")
"""


@pytest.mark.skipif(INSTRUMENTED, reason="another allocator is in place already")
@pytest.mark.parametrize("options, env", [
    (["-X", "dev", "-W", "error"], {}), ([], {"PYTHONMALLOC": "debug"}),
    (["-X", "dev"], {"PYTHONMALLOC": "malloc_debug"}),
], ids=["dev", "debug", "malloc_debug"])
def test_a_debugging_interpreter_finds_nothing(options, env):
    result = run_python(EVERYTHING, *options, env=env)
    assert (result.returncode, result.stdout, result.stderr) == (0, "done\n", "")


def test_the_end_of_the_interpreter_with_an_open_manager_is_clean():
    result = run_python("""
import cymongoose
def handler(conn, ev, data):
    if ev == cymongoose.MG_EV_CLOSE:
        conn.is_closing
manager = cymongoose.Manager(handler, enable_wakeup=True)
listener = manager.listen("http://127.0.0.1:0")
listener.userdata = manager
client = manager.connect("http://127.0.0.1:%d" % listener.local_addr[1])
timer = manager.timer_add(1, lambda: None, repeat=True)
for _ in range(5):
    manager.poll(2)
print("end")
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")


def test_the_end_of_the_interpreter_with_a_polling_daemon_thread_is_clean():
    result = run_python("""
import cymongoose, threading
manager = cymongoose.Manager(lambda conn, ev, data: None)
manager.listen("http://127.0.0.1:0")
def loop():
    while True:
        manager.poll(5)
threading.Thread(target=loop, daemon=True).start()
import time
time.sleep(0.05)
print("end")
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "end\n", "")


def test_a_forked_child_can_leave_without_harm():
    """fork() while a manager is open: the child may drop it, and the parent goes on serving."""
    result = run_python("""
import os, socket, cymongoose
from cymongoose import *
manager = Manager(lambda conn, ev, data: conn.reply(200, "parent") if ev == MG_EV_HTTP_MSG else None)
port = manager.listen("http://127.0.0.1:0").local_addr[1]
manager.poll(0)
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
client = socket.create_connection(("127.0.0.1", port))
client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
client.setblocking(False)
for _ in range(500):
    manager.poll(5)
    try:
        print(client.recv(1000)[-6:].decode())
        break
    except BlockingIOError:
        pass
client.close()
manager.close()
""")
    assert (result.returncode, result.stdout, result.stderr) == (0, "parent\n", "")
