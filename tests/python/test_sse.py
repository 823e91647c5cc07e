# SPDX-License-Identifier: MIT
"""Server-sent events: one stream, and channels that send each event to many, from any thread."""
import gc
import http.client
import socket
import sys
import threading
import time

import pytest

from cymongoose import MG_EV_CLOSE, MG_EV_ERROR, MG_EV_HTTP_MSG, Connection, EventChannel, Manager
from support import DEADLINE, HOST, Peer, exchange, get, join, settle, spin, wait_until

EVENT = "event: tick\ndata: {}\n\n"


def events_of(received):
    """The body of an event stream as it has come so far, without the chunks."""
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return body.decode()
    text = b""
    while True:
        size, found, rest = body.partition(b"\r\n")
        length = int(size, 16) if found else None
        if length is None or len(rest) < length + 2 or length == 0:
            return text.decode()
        text, body = text + rest[:length], rest[length + 2:]


# ==== one stream ====

def test_http_sse_begin(http, peer):
    def action(conn, message):
        assert conn.http_sse_begin() is None
        conn.http_sse("tick", "1")
        conn.http_sse("", "no type")
        conn.http_sse("tick", "")
        conn.http_chunk("")

    [response], [outcome] = exchange(http, peer, get(), action)
    assert outcome is None
    assert response.status == 200
    assert response.header("Content-Type") == "text/event-stream"
    assert response.header("Cache-Control") == "no-store"
    assert response.body == b"event: tick\ndata: 1\n\ndata: no type\n\nevent: tick\ndata: \n\n"


def test_headers_of_http_sse_begin(http, peer):
    headers = {"X-A": 5, "cache-control": "no-cache", "Content-Type": "text/plain"}

    def action(conn, message):
        conn.http_sse_begin(headers)
        conn.http_chunk("")

    [response], _ = exchange(http, peer, get(), action)
    assert (response.header("X-A"), response.header("Cache-Control")) == ("5", "no-cache")
    assert response.header("Content-Type") == "text/event-stream"
    assert headers == {"X-A": 5, "cache-control": "no-cache", "Content-Type": "text/plain"}


@pytest.mark.parametrize("headers, error", [({"X": "a\r\nb"}, ValueError), ({"a b": "c"}, ValueError),
                                            ([("a", "b")], AttributeError), ("ab", AttributeError)])
def test_headers_that_are_none(http, peer, headers, error):
    [response], [outcome] = exchange(http, peer, get(), lambda conn, message: conn.http_sse_begin(headers))
    assert isinstance(outcome, error)
    assert response.status == 500


def test_id_and_retry(http, peer):
    def action(conn, message):
        conn.http_sse_begin()
        conn.http_sse("tick", "a\nb", id="5", retry_ms=1000)
        conn.http_sse("tick", "c", id="", retry_ms=0)
        conn.http_sse("tick", "d", id=None, retry_ms=None)
        conn.http_chunk("")

    [response], [outcome] = exchange(http, peer, get(), action)
    assert outcome is None
    events = [event.split("\n") for event in response.body.decode().split("\n\n")]
    assert sorted(events[0]) == ["data: a", "data: b", "event: tick", "id: 5", "retry: 1000"]
    assert sorted(line.rstrip() for line in events[1]) in (["data: c", "event: tick", "id:", "retry: 0"],
                                                           ["data: c", "event: tick", "id", "retry: 0"])
    assert sorted(events[2]) == ["data: d", "event: tick"]


@pytest.mark.parametrize("arguments, options", [
    (("a\nb", "x"), {}), (("a\r", "x"), {}), (("a", "x"), {"id": "1\n"}), (("a", "x"), {"id": "\r"}),
    (("a", "x"), {"id": "\0"}),
])
def test_line_breaks_where_none_may_be(http, peer, arguments, options):
    def action(conn, message):
        conn.http_sse_begin()
        channel = conn.userdata = message_manager[0].event_channel()
        channel.subscribe(conn)
        for call in (conn.http_sse, channel.publish):
            with pytest.raises(ValueError, match="line break"):
                call(*arguments, **options)
        conn.http_chunk("")

    message_manager = []

    def make(handler, **more):
        manager, port = http(handler, **more)
        message_manager.append(manager)
        return manager, port

    [response], [outcome] = exchange(make, peer, get(), action)
    assert (outcome, response.body) == (None, b"")


@pytest.mark.parametrize("arguments, options, error", [
    ((b"a", "x"), {}, TypeError), (("a", b"x"), {}, TypeError), (("a", None), {}, TypeError), (("a",), {}, TypeError),
    (("a", "x", "1"), {}, TypeError), (("a", "x"), {"id": 5}, TypeError), (("a", "x"), {"retry_ms": "5"}, TypeError),
    (("a", "x"), {"retry_ms": -1}, OverflowError), (("a", "x"), {"retry_ms": 2**63}, OverflowError),
    (("a", "\udc80"), {}, UnicodeEncodeError), (("a", "x"), {"unknown": 1}, TypeError),
])
def test_arguments_of_events(make_manager, arguments, options, error):
    manager = make_manager()
    for call in (manager.listen(f"http://{HOST}:0").http_sse, manager.event_channel().publish):
        with pytest.raises(error):
            call(*arguments, **options)


@pytest.mark.parametrize("head, chunked", [
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n", True),
    (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", False),
])
def test_events_after_a_head_written_by_hand(http, peer, head, chunked):
    """[tests rely] event: and data: are in the raw body; only a chunked one has chunks."""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.send(head)
            conn.http_sse("tick", "1")
            conn.drain()

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, client.closed)
    raw, events = client.received.partition(b"\r\n\r\n")[2], EVENT.format(1).encode()
    assert bytes(raw) == (b"%x\r\n%b\r\n" % (len(events), events) if chunked else events)


def test_events_to_http_1_0(http, peer):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            conn.http_sse("tick", "1")
            conn.http_chunk("")

    manager, port = http(handler)
    client = peer(port)
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    spin(manager, client.closed)
    assert client.received.endswith(b"\r\n\r\n" + EVENT.format(1).encode())


def test_calls_without_a_stream(http, peer):
    def action(conn, message):
        for call in (lambda: conn.http_sse("a", "b"), lambda: channel().subscribe(conn)):
            with pytest.raises(RuntimeError):
                call()
        conn.reply(200, "whole")
        for call in (lambda: conn.http_sse("a", "b"), lambda: channel().subscribe(conn), conn.http_sse_begin):
            with pytest.raises(RuntimeError):
                call()

    holder = []

    def channel():
        return holder[0].event_channel()

    def make(handler, **more):
        manager, port = http(handler, **more)
        holder.append(manager)
        return manager, port

    [response], [outcome] = exchange(make, peer, get(), action)
    assert (outcome, response.body) == (None, b"whole")


def test_on_closed_connections_and_listeners(make_manager):
    manager = make_manager()
    for call in (lambda: Connection().http_sse("a", "b"), Connection().http_sse_begin):
        with pytest.raises(RuntimeError, match="closed"):
            call()
    listener = manager.listen(f"http://{HOST}:0")
    assert listener.http_sse_begin() is None and listener.http_sse("a", "b") is None


def test_a_standard_client_reads_a_stream(server):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            for n in range(3):
                conn.http_sse("tick", str(n))
            conn.http_chunk("")

    client = http.client.HTTPConnection(HOST, server(handler).port, timeout=DEADLINE)
    for _ in range(2):
        client.request("GET", "/", headers={"Last-Event-ID": "5"})
        assert client.getresponse().read().decode() == "".join(EVENT.format(n) for n in range(3))
    client.close()


# ==== channels ====

class Feed:
    """A server whose requests become subscribers of one channel."""

    def __init__(self, http, channel_options=(), begin=None, **options):
        self.conns, self.events = [], []
        self.begin = begin or (lambda conn, message: conn.http_sse_begin())
        self.manager, self.port = http(self.handler, **options)
        self.channel = self.manager.event_channel(**dict(channel_options))

    def handler(self, conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            self.begin(conn, data)
            self.channel.subscribe(conn)
            self.conns.append(conn)
        elif ev in (MG_EV_CLOSE, MG_EV_ERROR) and not conn.is_listening:
            self.events.append((ev, conn))

    def subscribers(self, peer, count):
        clients = [peer(self.port) for _ in range(count)]
        for client in clients:
            client.send(get())
            spin(self.manager, lambda: b"\r\n\r\n" in client.pump().received)
        assert len(self.conns) == self.channel.subscriber_count == count
        return clients


def test_a_channel_reaches_all(http, peer):
    feed = Feed(http)
    clients = feed.subscribers(peer, 20)
    assert feed.channel.publish("tick", "0") == 20
    assert feed.channel.publish("tick", "grüße", id="1", retry_ms=5) == 20
    assert feed.channel.publish("tick", "x" * 100_000) == 20
    spin(feed.manager, lambda: all("x" * 100_000 in events_of(client.pump().received) for client in clients))
    for client in clients:
        text = events_of(client.received)
        assert text.startswith(EVENT.format(0))
        assert "data: grüße\n" in text and "id: 1\n" in text and "retry: 5\n" in text
    assert feed.channel.skipped_count == feed.channel.closed_count == 0


def test_publish_to_nobody(make_manager):
    channel = make_manager().event_channel()
    assert channel.publish("a", "b") == 0
    assert channel.subscriber_count == 0


def test_subscribe_and_unsubscribe(http, peer):
    feed = Feed(http)
    one, two = feed.subscribers(peer, 2)
    feed.channel.subscribe(feed.conns[0])
    assert feed.channel.subscriber_count == 2, "twice is once"
    assert feed.channel.unsubscribe(feed.conns[0]) is None
    feed.channel.unsubscribe(feed.conns[0])
    assert feed.channel.publish("tick", "1") == 1
    feed.conns[0].http_sse("tick", "alone")
    spin(feed.manager, lambda: "alone" in events_of(one.pump().received) and "data: 1" in events_of(two.pump().received))
    assert "data: 1" not in events_of(one.received)


def test_several_channels(http, peer):
    feed = Feed(http)
    [client] = feed.subscribers(peer, 1)
    other = feed.manager.event_channel()
    other.subscribe(feed.conns[0])
    assert (feed.channel.publish("tick", "1"), other.publish("tick", "2")) == (1, 1)
    feed.channel.close()
    assert other.publish("tick", "3") == 1
    spin(feed.manager, lambda: events_of(client.pump().received) == "".join(EVENT.format(n) for n in (1, 2, 3)))


@pytest.mark.parametrize("how", ["close", "peer", "drain", "end"])
def test_subscribers_that_end_leave(http, peer, how):
    feed = Feed(http)
    clients = feed.subscribers(peer, 3)
    if how == "peer":
        clients[0].close()
    elif how == "end":
        feed.conns[0].http_chunk("")
    else:
        getattr(feed.conns[0], how)()
    if how != "peer":
        assert feed.channel.publish("tick", "1") == 2
    spin(feed.manager, lambda: feed.channel.subscriber_count == 2)
    assert feed.channel.publish("tick", "2") == 2
    feed.channel.unsubscribe(feed.conns[0])
    if how in ("close", "drain"):
        spin(feed.manager, lambda: feed.conns[0] not in feed.manager.connections)
        with pytest.raises(RuntimeError, match="closed"):
            feed.channel.subscribe(feed.conns[0])


def test_the_next_request_on_the_connection_is_no_subscriber(http, peer):
    feed = Feed(http)
    [client] = feed.subscribers(peer, 1)
    feed.conns[0].http_chunk("")
    feed.begin = lambda conn, message: (conn.http_sse_begin(), conn.http_sse("tick", message.uri))
    client.send(get("/again"))
    spin(feed.manager, lambda: client.pump().received.count(b"HTTP/1.1 200") == 2)
    assert feed.channel.subscriber_count == 1
    assert feed.channel.publish("tick", "1") == 1


def test_slow_subscribers_are_closed(http, peer):
    feed = Feed(http, {"pending_bytes_max": 100_000})
    fast, slow = feed.subscribers(peer, 2)
    data = "x" * 200_000
    sent = 0
    while feed.channel.closed_count == 0:
        assert sent < 1000
        feed.channel.publish("tick", data)
        sent += 1
        spin(feed.manager, lambda: len(events_of(fast.pump().received)) >= sent * len(data) - 100_000
             if sent % 10 == 0 else feed.manager.poll(1) or fast.pump())
    assert (feed.channel.closed_count, feed.channel.skipped_count) == (1, 0)
    spin(feed.manager, lambda: feed.events)
    assert feed.events == [(MG_EV_CLOSE, feed.conns[1])]
    assert feed.channel.publish("tick", "still") == 1


def test_slow_subscribers_are_skipped(http, peer):
    feed = Feed(http, {"slow": "skip", "pending_bytes_max": 50_000})
    [slow] = feed.subscribers(peer, 1)
    counts = []
    while not counts or counts[-1]:
        assert len(counts) < 1000
        counts.append(feed.channel.publish("tick", "x" * 100_000))
        feed.manager.poll(0)
    assert (feed.channel.skipped_count, feed.channel.closed_count) == (1, 0)
    assert feed.channel.publish("tick", "skipped") == 0
    spin(feed.manager, lambda: slow.pump() and feed.conns[0].send_len == 0)
    assert feed.channel.publish("tick", "last") == 1
    spin(feed.manager, lambda: "last" in events_of(slow.pump().received))
    assert "skipped" not in events_of(slow.received)
    assert feed.channel.subscriber_count == 1


@pytest.mark.parametrize("options, error", [
    ({"slow": "wait"}, ValueError), ({"slow": None}, TypeError), ({"slow": 1}, TypeError),
    ({"pending_bytes_max": "1"}, TypeError), ({"pending_bytes_max": -1}, OverflowError), ({"unknown": 1}, TypeError),
])
def test_options_of_a_channel(make_manager, options, error):
    with pytest.raises(error):
        make_manager().event_channel(**options)
    with pytest.raises(TypeError):
        make_manager().event_channel("close")


@pytest.mark.parametrize("wrong", [None, 5, "conn", object()])
def test_a_subscriber_is_a_connection(make_manager, wrong):
    channel = make_manager().event_channel()
    for call in (channel.subscribe, channel.unsubscribe):
        with pytest.raises(TypeError, match="conn must be Connection"):
            call(wrong)


def test_connections_that_cannot_subscribe(http, make_manager, peer):
    feed = Feed(http)
    feed.subscribers(peer, 1)
    other = make_manager()
    channel = other.event_channel()
    with pytest.raises(ValueError, match="another Manager"):
        channel.subscribe(feed.conns[0])
    channel.unsubscribe(feed.conns[0])
    for conn in (other.listen(f"http://{HOST}:0"), other.connect(f"http://{HOST}:{feed.port}"),
                 other.connect(f"tcp://{HOST}:{feed.port}")):
        with pytest.raises(RuntimeError, match="no event stream"):
            channel.subscribe(conn)
        channel.unsubscribe(conn)
    assert feed.channel.subscriber_count == 1


# ==== the end of channels and managers ====

def assert_closed(channel):
    assert (channel.subscriber_count, channel.skipped_count, channel.closed_count) == (0, 0, 0)
    with pytest.raises(RuntimeError, match="EventChannel has been closed"):
        channel.publish("a", "b")
    with pytest.raises(RuntimeError, match="closed"):
        channel.subscribe(Connection())
    channel.unsubscribe(Connection())
    channel.close()


def test_close_of_a_channel(http, peer):
    feed = Feed(http)
    [client] = feed.subscribers(peer, 1)
    feed.channel.close()
    assert_closed(feed.channel)
    feed.conns[0].http_sse("tick", "goes on")
    spin(feed.manager, lambda: "goes on" in events_of(client.pump().received))


def test_channels_of_a_manager_that_is_closed(http, peer):
    feed = Feed(http)
    feed.subscribers(peer, 2)
    others = [feed.manager.event_channel() for _ in range(5)]
    others.pop(2)
    in_close = []
    feed.conns[0].set_handler(lambda conn, ev, data: in_close.append(feed.channel) if ev == MG_EV_CLOSE else None)
    feed.manager.close()
    assert in_close == [feed.channel]
    for channel in (feed.channel, *others):
        assert_closed(channel)
    with pytest.raises(RuntimeError, match="freed"):
        feed.manager.event_channel()


def test_channels_of_a_manager_that_is_collected():
    manager = Manager()
    channels = [manager.event_channel() for _ in range(3)]
    del manager
    gc.collect()
    for channel in channels:
        assert_closed(channel)


def test_a_handler_of_close_publishes_to_nobody(http, peer):
    counts = []
    feed = Feed(http)
    feed.subscribers(peer, 2)

    def on_event(conn, ev, data):
        if ev == MG_EV_CLOSE:
            counts.append(feed.channel.publish("bye", "bye"))
            with pytest.raises(RuntimeError):
                feed.channel.subscribe(conn)
            if len(counts) == 2:
                feed.channel.close()
                with pytest.raises(RuntimeError, match="closed"):
                    feed.channel.publish("bye", "bye")

    other = feed.manager.event_channel()
    for conn in feed.conns:
        conn.set_handler(on_event)
    feed.manager.close()
    assert counts == [0, 0]
    for channel in (feed.channel, other):
        assert_closed(channel)


def test_a_channel_that_is_dropped_ends(http, peer):
    feed = Feed(http)
    [client] = feed.subscribers(peer, 1)
    feed.channel = None
    gc.collect()
    feed.conns[0].http_sse("tick", "goes on")
    spin(feed.manager, lambda: "goes on" in events_of(client.pump().received))
    for _ in range(1000):
        feed.manager.event_channel().subscribe(feed.conns[0])


def test_channels_do_not_keep_their_manager_or_subscribers(http, peer):
    feed = Feed(http)
    manager_references = sys.getrefcount(feed.manager)
    channels = [feed.manager.event_channel() for _ in range(100)]
    feed.subscribers(peer, 1)
    conn = feed.conns[0]
    references = sys.getrefcount(conn)
    for channel in channels:
        channel.subscribe(conn)
        channel.publish("a", "b")
    after = sys.getrefcount(conn), sys.getrefcount(feed.manager)
    assert after == (references, manager_references)


def test_subclasses_are_closed_by_hand():
    class Mine(EventChannel):
        pass

    assert_closed(Mine())


def test_publishing_leaves_no_references(http, peer):
    feed = Feed(http)
    [client] = feed.subscribers(peer, 1)
    texts = ["tick" * 10, "data " * 50_000, "id 5"]
    before = [sys.getrefcount(each) for each in texts]
    for _ in range(50):
        feed.channel.publish(texts[0], texts[1], id=texts[2])
        feed.conns[0].http_sse(texts[0], texts[1], id=texts[2])
        with pytest.raises(ValueError):
            feed.channel.publish("\n", texts[1], id=texts[2])
        with pytest.raises(TypeError):
            feed.channel.publish(texts[0], texts[1], id=5)
        spin(feed.manager, lambda: client.pump() and feed.conns[0].send_len == 0)
    assert [sys.getrefcount(each) for each in texts] == before


# ==== errors inside publish, threads ====

def test_connections_that_fail_inside_publish_get_their_own_error(http, peer):
    """A compressed event can be longer than a plain one, for which there was room: ERROR goes to each that failed."""
    text = "q7Zx!k2#Vw9@Lm4$Tb6%Yc8^Rd1&Hf3*"
    chunk = f"event: t\ndata: {text}\n\n"
    chunk_bytes = len(f"{len(chunk):x}\r\n{chunk}\r\n")
    queued, published, told = [], [], []

    def begin(conn, message):
        assert conn.compress(message) == "gzip"
        conn.http_sse_begin()
        queued.append(conn.send_len)

    def attempt(count, **options):
        """All subscribers begin, and get one event, in one turn: their heads are in the queue still."""
        feed = Feed(http, begin=begin, **options)
        [listener] = feed.manager.connections

        def handler(conn, ev, data):
            feed.handler(conn, ev, data)
            if ev == MG_EV_HTTP_MSG and len(feed.conns) == count:
                published.append(feed.channel.publish("t", text))
            elif ev == MG_EV_ERROR:
                told.append((conn, data))

        listener.set_handler(handler)
        clients = [peer(feed.port) for _ in range(count)]
        spin(feed.manager, lambda: len(feed.manager.connections) == count + 1)
        for client in clients:
            client.send(get(Accept_Encoding="gzip"))
        spin(feed.manager, lambda: len(feed.conns) == count)
        return feed

    attempt(1)
    feed = attempt(5, send_bytes_max=queued[0] + chunk_bytes)
    assert published == [1, 0]
    assert [conn for conn, _ in told] == feed.conns
    assert all("send_bytes_max" in why for _, why in told)
    spin(feed.manager, lambda: len(feed.events) == 10)
    assert [conn for ev, conn in feed.events if ev == MG_EV_ERROR] == feed.conns
    assert {conn for ev, conn in feed.events if ev == MG_EV_CLOSE} == set(feed.conns)
    assert feed.channel.closed_count == 0


def test_publish_from_another_thread_ends_the_wait(server):
    holder = {}

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            holder["channel"].subscribe(conn)

    running = server(handler, poll_ms=int(DEADLINE * 1000), manager_options={"enable_wakeup": True})
    holder["channel"] = running.manager.event_channel()
    client = socket.create_connection((HOST, running.port), timeout=DEADLINE)
    try:
        client.sendall(get())
        wait_until(lambda: holder["channel"].subscriber_count == 1)
        received = b""
        for n in range(20):
            began = time.monotonic()
            assert holder["channel"].publish("tick", str(n)) == 1
            while EVENT.format(n).encode() not in received:
                received += client.recv(10_000)
            assert time.monotonic() - began < DEADLINE / 2
    finally:
        client.close()
        running._stop.set()
        running.manager.wakeup(running.manager.wakeup_id)


def test_threads_publish_while_subscribers_come_and_go(server):
    holder, failures, stop = {}, [], threading.Event()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            holder["channel"].subscribe(conn)

    running = server(handler, poll_ms=5)
    holder["channel"] = running.manager.event_channel(slow="skip")

    def publish():
        while not stop.is_set():
            holder["channel"].publish("tick", "x" * 100)
            running.manager.event_channel().close()

    def visit():
        for _ in range(30):
            client = socket.create_connection((HOST, running.port), timeout=DEADLINE)
            client.sendall(get())
            received = b""
            while received.count(b"data: x") < 3:
                received += client.recv(100_000)
            client.close()

    def guarded(work):
        try:
            work()
        except BaseException as exc:
            failures.append(exc)

    publishers = [threading.Thread(target=guarded, args=(publish,)) for _ in range(3)]
    visitors = [threading.Thread(target=guarded, args=(visit,)) for _ in range(4)]
    for thread in publishers + visitors:
        thread.start()
    for thread in visitors:
        join(thread, 5 * DEADLINE)
    stop.set()
    for thread in publishers:
        join(thread)
    assert failures == []


def test_many_subscribers(http):
    feed = Feed(http)
    clients = [Peer(feed.port) for _ in range(200)]
    for client in clients:
        client.send(get())
    spin(feed.manager, lambda: feed.channel.subscriber_count == 200)
    for n in range(20):
        assert feed.channel.publish("tick", str(n)) == 200
    spin(feed.manager, lambda: all(EVENT.format(19) in events_of(client.pump().received) for client in clients))
    expected = "".join(EVENT.format(n) for n in range(20))
    assert all(events_of(client.received) == expected for client in clients)
    for client in clients[:100]:
        client.close()
    spin(feed.manager, lambda: feed.channel.subscriber_count == 100)
    for client in clients[100:]:
        client.close()
    settle(feed.manager)
