# SPDX-License-Identifier: MIT
"""Calls from other threads while one polls: all of them are safe, none is noticed late, and streams stay intact.

The switch interval of the interpreter is made short here, so that threads change at many more places than usual.
"""
import http.client
import random
import socket
import sys
import threading
import time

import pytest

from cymongoose import MG_EV_ACCEPT, MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WAKEUP, Manager
from support import DEADLINE, HOST, Peer, get, hello, join, read_responses, wait_until

SECONDS = 1.0  # how long each storm lasts


@pytest.fixture(autouse=True)
def switch_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


class Storm:
    """Runs functions again and again in threads of their own until the time is over; raises what they raised."""

    def __init__(self, *functions, seconds=SECONDS):
        self.failures = []
        self._end = time.monotonic() + seconds
        self.threads = [threading.Thread(target=self._run, args=(each,), name=f"storm {n}")
                        for n, each in enumerate(functions)]
        for thread in self.threads:
            thread.start()

    def _run(self, function):
        try:
            while time.monotonic() < self._end:
                function()
        except BaseException as exc:
            self.failures.append(exc)

    def finish(self):
        for thread in self.threads:
            join(thread)
        if self.failures:
            raise self.failures[0]


def test_sends_from_four_threads_keep_each_piece_whole(server):
    """The original corrupts the stream or crashes. Each piece arrives whole and in its thread's order."""
    accepted = []
    running = server(lambda conn, ev, data: accepted.append(conn) if ev == MG_EV_ACCEPT else None,
                     url=f"tcp://{HOST}:0")
    client = Peer(running.port)
    wait_until(lambda: accepted)
    conn, sent = accepted[0], [0, 0, 0, 0]

    def sender(thread):
        def send():
            if conn.send_len > 4_000_000:
                time.sleep(0.001)
                return
            size = random.choice((1, 10, 500, 5000, 70_000))
            conn.send(b"%d %d %d;" % (thread, sent[thread], size) + bytes([65 + thread]) * size)
            sent[thread] += 1
        return send

    storm = Storm(*map(sender, range(4)), client.pump)
    storm.finish()
    conn.drain()
    wait_until(client.closed)
    data, at, seen = bytes(client.received), 0, [0, 0, 0, 0]
    while at < len(data):
        end = data.index(b";", at)
        thread, number, size = map(int, data[at:end].split())
        assert number == seen[thread]
        assert data[end + 1:end + 1 + size] == bytes([65 + thread]) * size
        seen[thread] += 1
        at = end + 1 + size
    assert seen == sent
    assert min(sent) > 0
    client.close()


def test_everything_at_once(server):
    """Properties, sends, connects, timers, listeners and closes from four threads; requests are served meanwhile."""
    served, unexpected = [0], []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            served[0] += 1
            conn.reply(200, data.uri)

    running = server(handler, manager_options={"enable_wakeup": True, "error_handler": unexpected.append})
    manager = running.manager

    def look():
        for conn in manager.connections:
            for name in ("id", "is_closing", "is_listening", "local_addr", "remote_addr", "recv_len", "send_len",
                         "handler",
                         "is_full", "recv_size", "send_size", "is_readable", "is_writable", "userdata"):
                getattr(conn, name)
            repr(conn), conn.recv_data(10), conn.send_data(10)

    def ask():
        client = manager.connect(f"http://{HOST}:{running.port}")
        client.send(get("/asked"))
        client.userdata = client
        client.set_handler(lambda conn, ev, data: None)  # not hello: its reply would race with the close below
        client.userdata = None
        time.sleep(0.001)
        random.choice((client.close, client.drain))()

    def listen():
        listener = manager.listen(f"http://{HOST}:0", hello)
        client = Peer(listener.local_addr[1])
        client.send(get())
        listener.close()
        client.close()

    def time_and_wake():
        timer = manager.timer_add(random.randrange(3), lambda: None, repeat=random.random() < 0.5)
        for conn in manager.connections[:3]:
            manager.wakeup(conn.id, b"payload")
        timer.cancel()

    storm = Storm(look, ask, listen, time_and_wake)
    client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
    for n in range(20):
        client.request("GET", f"/{n}")
        assert client.getresponse().read() == b"/%d" % n
    client.close()
    storm.finish()
    assert unexpected == []
    assert served[0] >= 20
    wait_until(lambda: len(manager.connections) == 1, "the end of all connections")


def test_replies_from_other_threads(server):
    """Each request is answered by a worker that calls reply() itself."""
    workers = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            workers.append(threading.Thread(target=conn.reply, args=(200, "by a worker: " + data.uri)))
            workers[-1].start()

    running = server(handler, poll_ms=int(DEADLINE * 1000), manager_options={"enable_wakeup": True})

    def asker(number):
        client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
        state = [0]

        def ask():
            if state[0] == 30:
                return
            client.request("GET", f"/{number}/{state[0]}")
            assert client.getresponse().read().decode() == f"by a worker: /{number}/{state[0]}"
            state[0] += 1
            if state[0] == 30:
                client.close()
        return ask, state

    askers = [asker(number) for number in range(4)]
    threads = [threading.Thread(target=lambda ask=ask: [ask() for _ in range(30)]) for ask, _ in askers]
    for thread in threads:
        thread.start()
    for thread in threads + workers:
        join(thread)
    assert [state[0] for _, state in askers] == [30] * 4
    for worker in workers:
        join(worker)
    running._stop.set()
    running.manager.wakeup(running.manager.wakeup_id)


@pytest.mark.parametrize("call", ["send", "close", "drain", "reply", "connect", "resume"])
def test_a_call_wakes_the_poller(server, call):
    """The poller waits for ever; what another thread does must still take effect at once."""
    accepted = []

    def handler(conn, ev, data):
        if ev == (MG_EV_HTTP_MSG if call == "reply" else MG_EV_ACCEPT) and not conn.is_client:
            accepted.append(conn)
            if call == "resume":
                conn.pause()
        elif ev == MG_EV_READ and call == "resume":
            conn.send(conn.recv())

    scheme = "http" if call == "reply" else "tcp"
    running = server(handler, url=f"{scheme}://{HOST}:0", poll_ms=int(2 * DEADLINE * 1000),
                     manager_options={"enable_wakeup": True})
    client = Peer(running.port)
    client.send(get() if call == "reply" else b"bytes" if call == "resume" else b"")
    wait_until(lambda: accepted)
    time.sleep(0.02)  # the poller waits by now, most likely
    conn = accepted[0]
    if call == "connect":
        running.manager.connect(f"tcp://{HOST}:{running.port}")
        wait_until(lambda: len(accepted) == 2, seconds=DEADLINE / 2)
    else:
        getattr(conn, call)(*{"send": (b"x",), "reply": (200, "x")}.get(call, ()))
        wait_until(client.closed if call in ("close", "drain") else lambda: client.has(1), seconds=DEADLINE / 2)
    running._stop.set()
    running.manager.wakeup(running.manager.wakeup_id)
    client.close()


def test_udp_from_another_thread(server):
    """[tests rely] connect("udp://...") and send while another thread sits in poll()."""
    got = []
    running = server(lambda conn, ev, data: got.append(conn.recv_data()) if ev == MG_EV_READ else None,
                     url=f"udp://{HOST}:0", poll_ms=100)

    def send():
        client = running.manager.connect(f"udp://{HOST}:{running.port}", lambda conn, ev, data: None)
        client.send(b"from a thread")
        client.close()
        time.sleep(0.001)

    Storm(send, send, seconds=0.3).finish()
    wait_until(lambda: got)
    assert set(got) == {b"from a thread"}


def test_close_races_with_send(server):
    """A connection that ends while others send on it: RuntimeError, and nothing else."""
    accepted = []
    running = server(lambda conn, ev, data: accepted.append(conn) if ev == MG_EV_ACCEPT else None,
                     url=f"tcp://{HOST}:0")
    outcomes = set()

    def send():
        for conn in accepted[-2:]:
            try:
                conn.send(b"x" * 1000)
                outcomes.add("sent")
            except RuntimeError as exc:
                assert "closed" in str(exc)
                outcomes.add("closed")
        time.sleep(0)

    storm = Storm(send, send, send)
    for n in range(30):
        client = Peer(running.port)
        wait_until(lambda: len(accepted) == n + 1)
        if n % 2:
            accepted[-1].close()
        client.reset() if n % 3 else client.close()
    storm.finish()
    assert outcomes == {"sent", "closed"}
    wait_until(lambda: len(running.manager.connections) == 1)


def test_parallel_clients_get_their_own_answers(server):
    """[tests rely] ten parallel paths and bodies, echoed to the right client; four methods with bodies."""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, f"{data.method} {data.uri} ".encode() + data.body_bytes)

    running = server(handler)
    failures = []

    def work(number):
        try:
            client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
            for n in range(10):
                for method in ("GET", "POST", "PUT", "DELETE"):
                    body = f"body {number} {n} {method}" * 50
                    client.request(method, f"/{number}/{n}", body=body)
                    assert client.getresponse().read() == f"{method} /{number}/{n} {body}".encode()
            client.close()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert failures == []


def test_a_manager_may_be_polled_by_one_thread_after_the_other():
    seen = []
    with Manager(lambda conn, ev, data: seen.append(data) if ev == MG_EV_WAKEUP else None,
                 enable_wakeup=True) as manager:
        listener = manager.listen(f"tcp://{HOST}:0")
        for n in range(5):
            manager.wakeup(listener.id, b"%d" % n)
            thread = threading.Thread(target=lambda: [manager.poll(10) for _ in range(3)])
            thread.start()
            join(thread)
    assert seen == [b"0", b"1", b"2", b"3", b"4"]


def test_two_threads_that_poll_are_never_inside_together(make_manager):
    inside, most, refused = [0], [0], [0]

    def tick():
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.0005)
        inside[0] -= 1

    manager = make_manager()
    manager.timer_add(1, tick, repeat=True)

    def poll():
        try:
            manager.poll(2)
        except RuntimeError as exc:
            assert "not reentrant" in str(exc)
            refused[0] += 1

    Storm(poll, poll, poll, seconds=0.4).finish()
    assert most[0] == 1
    assert refused[0] > 0


def test_many_managers_in_many_threads():
    """Nothing is shared: each is made, used and closed in its own thread, all at the same time."""
    failures = []

    def work():
        try:
            for _ in range(5):
                with Manager(hello) as manager:
                    port = manager.listen(f"http://{HOST}:0").local_addr[1]
                    client = Peer(port)
                    client.send(get())
                    end = time.monotonic() + DEADLINE
                    while not client.responses(1):
                        assert time.monotonic() < end
                        manager.poll(2)
                    assert read_responses(client.received)[0][0].body == b"OK"
                    client.close()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    assert failures == []


def test_a_proxy_of_blocking_sockets_beside_the_loop(server):
    """A thread that blocks in a socket of its own does not hold the loop."""
    running = server(hello)
    with socket.create_server((HOST, 0)) as silent:
        blocked = socket.create_connection(silent.getsockname(), timeout=DEADLINE)
        thread = threading.Thread(target=lambda: blocked.recv(1))
        thread.start()
        client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
        client.request("GET", "/")
        assert client.getresponse().read() == b"OK"
        client.close()
        silent.accept()[0].close()
        join(thread)
        blocked.close()
