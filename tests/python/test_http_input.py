# SPDX-License-Identifier: MIT
"""What an HTTP server here takes and what it refuses: framing, limits, time-outs, hostile peers, held-back requests."""
import http.client
import socket
import threading
import time

import pytest

from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WRITE
from support import DEADLINE, HOST, Peer, Recorder, get, hello, join, post, read_responses, settle, spin, wait_until


def echo(conn, ev, data):
    if ev == MG_EV_HTTP_MSG:
        conn.reply(200, data.method.encode() + b" " + data.uri.encode() + b" " + data.body_bytes)


def head(*lines, start="GET / HTTP/1.1"):
    return "".join(f"{line}\r\n" for line in (start, *lines)).encode("latin-1") + b"\r\n"


# ==== bodies ====

def chunked(*chunks, start="POST / HTTP/1.1", trailers=b""):
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return head("Host: x", "Transfer-Encoding: chunked", start=start) + body + b"0\r\n" + trailers + b"\r\n"


@pytest.mark.parametrize("request_bytes, body", [
    (post("/", b""), b"POST / "),
    (post("/", b"x" * 100_000), b"POST / " + b"x" * 100_000),
    (post("/", bytes(range(256))), b"POST / " + bytes(range(256))),
    (head("Host: x", "Content-Length: 3") + b"abc", b"GET / abc"),
    (head("Host: x", start="POST / HTTP/1.1"), b"POST / "),
    (chunked(b"ab", b"c" * 70_000, b"d"), b"POST / ab" + b"c" * 70_000 + b"d"),
    (chunked(), b"POST / "),
    (head("Host: x", "transfer-encoding: CHUNKED", start="PUT / HTTP/1.1") + b"1\r\nx\r\n0\r\n\r\n", b"PUT / x"),
    (head("Host: x", "Content-Length: 0000000000000000000003") + b"abc", b"GET / abc"),
    (head("Host:"), b"GET / "),
    (head("Host: x", "X-Obs: caf\xe9"), b"GET / "),
], ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else None)
def test_bodies(http, peer, request_bytes, body):
    manager, port = http(echo)
    client = peer(port)
    client.send(request_bytes)
    [response] = spin(manager, lambda: client.responses(1))
    assert response.body == body
    client.send(get("/next"))
    assert spin(manager, lambda: client.responses(2))[1].body == b"GET /next ", "the framing is still right"


@pytest.mark.parametrize("request_bytes", [
    head("Host: x", "User-Agent: test"), post("/", b"hello"), chunked(b"abc", b"defgh", trailers=b"X: y\r\n"),
], ids=["get", "post", "chunked"])
def test_every_split_gives_the_same(http, peer, request_bytes):
    manager, port = http(echo)
    client = peer(port)
    client.send(request_bytes)
    whole = spin(manager, lambda: client.responses(1))[0].body
    for n, at in enumerate(range(1, len(request_bytes)), 2):
        client.send(request_bytes[:at])
        manager.poll(1)
        client.send(request_bytes[at:])
        assert spin(manager, lambda: client.responses(n))[n - 1].body == whole


def test_a_sender_of_single_bytes(http, peer):
    manager, port = http(echo)
    client = peer(port)
    for byte in post("/slow", b"body") + chunked(b"ab", b"c"):
        client.send(bytes([byte]))
        manager.poll(0)
    responses = spin(manager, lambda: client.responses(2))
    assert [response.body for response in responses] == [b"POST /slow body", b"POST / abc"]


# ==== keep-alive ====

@pytest.mark.parametrize("request_bytes, stays", [
    (get(), True), (get(Connection="keep-alive"), True), (get(Connection="close"), False),
    (get(Connection="CLOSE"), False), (get(Connection="foo, close"), False),
    (head("Host: x", start="GET / HTTP/1.0"), False), (head(start="GET / HTTP/1.0"), False),
    (head("Connection: keep-alive", start="GET / HTTP/1.0"), True),
])
def test_keep_alive(http, peer, request_bytes, stays):
    manager, port = http(hello)
    client = peer(port)
    client.send(request_bytes)
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 200
    if stays:
        settle(manager)
        assert not client.closed()
        client.send(get())
        spin(manager, lambda: client.responses(2))
    else:
        spin(manager, client.closed)
        assert not client.was_reset


def test_http_1_0_keep_alive_is_confirmed(http, peer):
    manager, port = http(hello)
    client = peer(port)
    client.send(head("Connection: keep-alive", start="GET / HTTP/1.0"))
    [response] = spin(manager, lambda: client.responses(1))
    assert (response.header("Connection") or "").lower() == "keep-alive"


def test_close_is_announced(http, peer):
    manager, port = http(hello)
    client = peer(port)
    client.send(get(Connection="close"))
    [response] = spin(manager, lambda: client.responses(1))
    assert response.header("Connection") == "close"


def test_what_follows_a_last_request_is_not_served(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send(get("/last", Connection="close") + get("/never"))
    spin(manager, client.closed)
    assert [data["uri"] for data in events.data("HTTP_MSG")] == ["/last"]
    assert len(client.responses(1)) == 1


# ==== Expect ====

def test_expect_100_continue(http, peer):
    manager, port = http(echo)
    client = peer(port)
    client.send(head("Host: x", "Content-Length: 4", "Expect: 100-continue", start="POST / HTTP/1.1"))
    spin(manager, lambda: client.has(25))
    assert client.received == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"body")
    assert spin(manager, lambda: client.responses(2))[1].body == b"POST / body"


def test_expect_is_not_answered_when_the_handler_refuses_at_once(http, peer):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.reply(403, "no")

    manager, port = http(handler)
    client = peer(port)
    client.send(head("Host: x", "Content-Length: 400000000", "Expect: 100-continue", start="POST / HTTP/1.1"))
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 403


# ==== held back until answered (9.4) ====

def test_the_next_request_waits_for_the_answer(http, peer):
    """The answer may come later, from another event."""
    waiting = []
    events = Recorder(lambda conn, ev, data: waiting.append((conn, data.uri)) if ev == MG_EV_HTTP_MSG else None)
    manager, port = http(events)
    client = peer(port)
    client.send(get("/1") + get("/2"))
    spin(manager, lambda: waiting)
    client.send(get("/3"))
    settle(manager)
    assert [uri for _, uri in waiting] == ["/1"]
    for n in (1, 2, 3):
        spin(manager, lambda: len(waiting) == n)
        settle(manager, 3)
        assert len(waiting) == n
        conn, uri = waiting[-1]
        conn.reply(200, uri)
    responses = spin(manager, lambda: client.responses(3))
    assert [response.body for response in responses] == [b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("answer", ["reply", "reply_json", "chunks", "raw with length", "raw chunked", "raw and chunks",
                                    "raw in pieces", "raw 204"])
def test_every_kind_of_answer_lets_the_next_request_through(http, peer, answer):
    """[tests rely] for the raw head with http_chunk; raw send() counts as the answer too."""
    def handler(conn, ev, data):
        if ev != MG_EV_HTTP_MSG:
            return
        if answer == "reply":
            conn.reply(200, "x")
        elif answer == "reply_json":
            conn.reply_json([1])
        elif answer == "chunks":
            conn.reply(200, "", {"Transfer-Encoding": "chunked"})
            conn.http_chunk("x")
            conn.http_chunk("")
        elif answer == "raw with length":
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        elif answer == "raw chunked":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")
        elif answer == "raw and chunks":
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            conn.http_chunk("x")
            conn.http_chunk("")
        elif answer == "raw in pieces":
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nxy":
                conn.send(bytes([byte]))
        else:
            conn.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    manager, port = http(handler)
    client = peer(port)
    client.send(get("/1") + get("/2"))
    spin(manager, lambda: client.responses(2))
    client.send(get("/3"))
    spin(manager, lambda: client.responses(3))


def test_a_2xx_to_connect_turns_the_connection_raw(http, peer):
    events = Recorder()

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        elif ev == MG_EV_READ and conn.recv_len:
            conn.send(conn.recv().upper())

    events.then = handler
    manager, port = http(events)
    client = peer(port)
    client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    spin(manager, lambda: client.has(39))
    client.send(b"get / not http\r\n\r\n\0")
    spin(manager, lambda: client.has(39 + 19))
    assert client.received.endswith(b"GET / NOT HTTP\r\n\r\n\0")
    assert events.count("HTTP_MSG") == 1


def test_deep_pipelines_are_answered_in_order(http, peer):
    manager, port = http(echo)
    client = peer(port)
    count = 2000
    client.send(b"".join(get(f"/{n}") for n in range(count)))
    responses = spin(manager, lambda: client.responses(count))
    assert [response.body for response in responses] == [b"GET /%d " % n for n in range(count)]


def test_an_early_answer_in_hdrs_skips_the_body(http, peer):
    events = Recorder(lambda conn, ev, data: conn.reply(200, data.uri) if ev == MG_EV_HTTP_HDRS else None)
    manager, port = http(events)
    client = peer(port)
    client.send(post("/early", b"x" * 1000) + get("/next"))
    responses = spin(manager, lambda: client.responses(2))
    assert [response.body for response in responses] == [b"/early", b"/next"]


# ==== refused ====

LONG = "x" * 100_000
CHUNKED = head("Host: x", "Transfer-Encoding: chunked")
MALFORMED = [
    ("garbage", b"\x16\x03\x01 nonsense\r\n\r\n", (400,)),
    ("text", b"hello there\r\n\r\n", (400,)),
    ("no version", b"GET /\r\n\r\n", (400,)),
    ("http/0.9", b"GET /\r\nHost: x\r\n\r\n", (400,)),
    ("bad version", b"GET / HTTX/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("version without digit", b"GET / HTTP/1\r\nHost: x\r\n\r\n", (400,)),
    ("version 2", b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", (505,)),
    ("version 9", b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", (505,)),
    ("bare LF", b"GET / HTTP/1.1\nHost: x\n\n", (400,)),
    ("bare LF in a header", b"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", (400,)),
    ("bare CR", b"GET / HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", (400,)),
    ("NUL in the target", b"GET /a\0b HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("NUL in a value", b"GET / HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n", (400,)),
    ("control byte in a value", b"GET / HTTP/1.1\r\nHost: x\r\nX: a\x01b\r\n\r\n", (400,)),
    ("DEL in the target", b"GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("tab in the request line", b"GET\t/\tHTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("space in the target", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("bad method", b"G(T / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("empty method", b" / HTTP/1.1\r\nHost: x\r\n\r\n", (400,)),
    ("obs-fold", head("Host: x", "X: a", " b"), (400,)),
    ("fold of the first header", head(" Host: x"), (400,)),
    ("space before the colon", head("Host: x", "X : y"), (400,)),
    ("space before the colon of a length", head("Host: x", "Content-Length : 5") + b"hello", (400,)),
    ("no colon", head("Host: x", "nonsense"), (400,)),
    ("empty name", head("Host: x", ": y"), (400,)),
    ("bytes above 0x7f in a name", head("Host: x", "X-\xe9: y"), (400,)),
    ("separator in a name", head("Host: x", "X(y): z"), (400,)),
    ("no host", head("X: y"), (400,)),
    ("two hosts", head("Host: x", "Host: y"), (400,)),
    ("two equal hosts", head("Host: x", "Host: x"), (400,)),
    ("bad host", head("Host: a b"), (400,)),
    ("two different lengths", head("Host: x", "Content-Length: 5", "Content-Length: 6") + b"hello", (400,)),
    ("two lengths in one", head("Host: x", "Content-Length: 5, 6") + b"hello", (400,)),
    ("negative length", head("Host: x", "Content-Length: -5"), (400,)),
    ("length with plus", head("Host: x", "Content-Length: +5") + b"hello", (400,)),
    ("hexadecimal length", head("Host: x", "Content-Length: 0x5") + b"hello", (400,)),
    ("length with text", head("Host: x", "Content-Length: 5x") + b"hello", (400,)),
    ("empty length", head("Host: x", "Content-Length:"), (400,)),
    ("length above 64 bits", head("Host: x", "Content-Length: 99999999999999999999999"), (400, 413)),
    ("length above the limit", head("Host: x", "Content-Length: 9999999999"), (413,)),
    ("both framings", head("Host: x", "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n", (400,)),
    ("both framings, other order",
     head("Host: x", "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n", (400,)),
    ("unknown coding", head("Host: x", "Transfer-Encoding: gzip"), (501, 400)),
    ("unknown coding before chunked", head("Host: x", "Transfer-Encoding: gzip, chunked"), (501,)),
    ("chunked not last", head("Host: x", "Transfer-Encoding: chunked, gzip"), (400, 501)),
    ("chunked twice", head("Host: x", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), (400, 501)),
    ("almost chunked", head("Host: x", "Transfer-Encoding: xchunked"), (400, 501)),
    ("chunked with a vertical tab", head("Host: x", "Transfer-Encoding: \x0bchunked"), (400, 501)),
    ("coding in http/1.0",
     head("Host: x", "Transfer-Encoding: chunked", start="POST / HTTP/1.0") + b"0\r\n\r\n", (400,)),
    ("unknown expectation", head("Host: x", "Expect: miracles"), (417,)),
    ("bad chunk size", CHUNKED + b"zz\r\n", (400,)),
    ("negative chunk size", CHUNKED + b"-1\r\n", (400,)),
    ("chunk size with prefix", CHUNKED + b"0x1\r\nx\r\n0\r\n\r\n", (400,)),
    ("huge chunk size", CHUNKED + b"fffffffffffffffff\r\n", (400, 413)),
    ("chunk longer than said", CHUNKED + b"1\r\nxy\r\n0\r\n\r\n", (400,)),
    ("chunk ended by LF", CHUNKED + b"1\nx\n0\n\n", (400,)),
    ("endless chunk extension", CHUNKED + b"1;" + b"x" * 100_000, (400, 413, 431)),
    ("forbidden byte in a trailer", CHUNKED + b"0\r\nX\0: y\r\n\r\n", (400,)),
    ("large trailers", CHUNKED + b"0\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", (400, 431)),
    ("100 KB header", head("Host: x", "X-Big: " + LONG), (431,)),
    ("10,000 headers", head("Host: x", *(f"X-{n}: {n}" for n in range(10_000))), (431,)),
    ("500 headers", head("Host: x", *(f"X-{n}: {n}" for n in range(500))), (431,)),
    ("long target", b"GET /" + LONG.encode() + b" HTTP/1.1\r\nHost: x\r\n\r\n", (414, 431)),
    ("long method", LONG.encode() + b" / HTTP/1.1\r\nHost: x\r\n\r\n", (400, 431, 501, 414)),
    ("endless line", b"A" * 200_000, (400, 414, 431, 501)),
]


@pytest.mark.parametrize("bytes_sent, statuses", [each[1:] for each in MALFORMED], ids=[each[0] for each in MALFORMED])
def test_refused_before_a_handler_sees_it(http, peer, bytes_sent, statuses):
    """One answer with the right status, then the end; no message, no ERROR; what follows is not served."""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "OK" if data.uri == "/healthcheck" else "served")

    events = Recorder(handler)
    manager, port = http(events)
    client = peer(port)
    client.send(bytes_sent + get("/smuggled"))
    spin(manager, lambda: client.closed())
    responses, rest = read_responses(client.received)
    client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert [response.status for response in responses] in [[status] for status in statuses]
    assert responses[0].header("Connection") == "close"
    assert responses[0].header("Date")
    assert rest == b""
    assert events.count("HTTP_MSG") == 0
    assert events.count("ERROR") == 0
    names = [name for name in events.names(events.accepted()) if name not in ("WRITE", "HTTP_HDRS")]
    assert names[:3] == ["OPEN", "ACCEPT", "READ"] and names[-1] == "CLOSE" and set(names[2:-1]) == {"READ"}
    healthy(manager, peer(port))


def healthy(manager, client, seconds=2 if DEADLINE <= 10 else DEADLINE):
    """[tests rely] GET /healthcheck gives 200 "OK" in 2 s."""
    client.send(get("/healthcheck"))
    [response] = spin(manager, lambda: client.responses(1), "a healthy answer", seconds)
    assert (response.status, response.body) == (200, b"OK")


@pytest.mark.parametrize("what", ["unfinished head", "unfinished body", "unfinished chunk", "nothing", "half a method",
                                  "reset in a head", "reset after a request"])
def test_peers_that_stop_midway(http, peer, what):
    """[tests rely] adversarial: the server goes on, and nothing of the peer is left."""
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send({"unfinished head": b"GET / HTTP/1.1\r\nHost: x\r\nX-", "unfinished body": post("/", b"x" * 10)[:-5],
                 "unfinished chunk": CHUNKED + b"5\r\nab", "nothing": b"",
                 "half a method": b"GE", "reset in a head": b"GET / HT", "reset after a request": get()}[what])
    if what != "nothing":
        spin(manager, lambda: events.count("READ") or events.accepted() and settle(manager, 3) is None)
    spin(manager, events.accepted)
    client.reset() if what.startswith("reset") else client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert len(manager.connections) == 1
    assert events.count("ERROR") == 0
    healthy(manager, peer(port))


def test_50_idle_connections_do_not_disturb(http, peer):
    manager, port = http(hello)
    for _ in range(50):
        peer(port)
    healthy(manager, peer(port))


def test_an_unknown_method_is_served(http, peer):
    """[tests rely]"""
    manager, port = http(hello)
    client = peer(port)
    client.send(head("Host: x", start="XYZZY / HTTP/1.1"))
    assert spin(manager, lambda: client.responses(1))[0].status == 200


def test_the_request_before_a_malformed_one_is_answered(http, peer):
    manager, port = http(echo)
    client = peer(port)
    client.send(get("/good") + b"garbage\r\n\r\n")
    spin(manager, client.closed)
    responses, _ = read_responses(client.received)
    assert [response.status for response in responses] == [200, 400]


def test_a_malformed_request_behind_one_that_waits_for_its_answer(http, peer):
    waiting = []
    manager, port = http(lambda conn, ev, data: waiting.append(conn) if ev == MG_EV_HTTP_MSG else None)
    client = peer(port)
    client.send(get("/good") + b"garbage\r\n\r\n")
    conn = spin(manager, lambda: waiting)[0]
    settle(manager)
    conn.reply(200, "late")
    spin(manager, client.closed)
    responses, _ = read_responses(client.received)
    assert [response.status for response in responses] == [200, 400]


# ==== options of listen() ====

@pytest.mark.parametrize("options, request_bytes, status", [
    ({"body_bytes_max": 10}, post("/", b"x" * 11), 413),
    ({"body_bytes_max": 10}, chunked(b"x" * 6, b"y" * 6), 413),
    ({"head_bytes_max": 1000}, get(X_Long="y" * 1000), 431),
    ({"header_count_max": 3}, get(A="1", B="2", C="3"), 431),
    ({"target_bytes_max": 100}, get("/" + "t" * 100), 414),
])
def test_limits_are_options(http, peer, options, request_bytes, status):
    manager, port = http(hello, **options)
    client = peer(port)
    client.send(request_bytes)
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == status
    spin(manager, client.closed)


@pytest.mark.parametrize("options, request_bytes", [
    ({"body_bytes_max": 10}, post("/", b"x" * 10)), ({"body_bytes_max": 10}, chunked(b"x" * 6, b"y" * 4)),
    ({"header_count_max": 3}, get(A="1", B="2")), ({"target_bytes_max": 100}, get("/" + "t" * 99)),
    ({"body_bytes_max": 50_000_000}, post("/", b"x" * 20_000_000)),
])
def test_what_just_fits_is_served(http, peer, options, request_bytes):
    manager, port = http(hello, **options)
    client = peer(port)
    client.send(request_bytes)
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 200


@pytest.mark.parametrize("option, sent, status", [
    ("head_timeout_ms", b"GET / HTTP/1.1\r\nHo", 408),
    ("body_timeout_ms", post("/", b"12345")[:-2], 408),
    ("head_timeout_ms", b"", None),
])
def test_time_outs_of_requests(http, peer, option, sent, status):
    events = Recorder(hello)
    manager, port = http(events, **{option: 60})
    client = peer(port)
    client.send(sent)
    started = time.monotonic()
    spin(manager, client.closed, wait_ms=20)
    assert time.monotonic() - started >= 0.04
    responses, _ = read_responses(client.received)
    assert [response.status for response in responses] in ([[status]] if status else [[], [408]])
    client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert events.count("HTTP_MSG") == 0


def test_keep_alive_time_out_is_silent(http, peer):
    manager, port = http(hello, keepalive_timeout_ms=60)
    client = peer(port)
    client.send(get())
    spin(manager, client.closed, wait_ms=20)
    assert len(client.responses(1)) == 1
    assert read_responses(client.received)[1] == b""


def test_a_slow_sender_does_not_extend_the_time_for_a_head(http, peer):
    """A byte now and then keeps no connection alive for ever."""
    manager, port = http(hello, head_timeout_ms=100)
    client = peer(port)
    request = get(X_Slow="z" * 10_000)
    end = time.monotonic() + DEADLINE
    for byte in request:
        if client.closed():
            break
        assert time.monotonic() < end
        client.send(bytes([byte]))
        manager.poll(2)  # returns for the byte
        manager.poll(2)  # and this one waits: the whole head would take 20 s
    assert client.closed()


def test_a_late_answer_is_no_time_out(http, peer):
    """While the program works on its answer, no time-out of the request runs."""
    waiting = []
    manager, port = http(lambda conn, ev, data: waiting.append(conn) if ev == MG_EV_HTTP_MSG else None,
                         head_timeout_ms=40, body_timeout_ms=40, keepalive_timeout_ms=40)
    client = peer(port)
    client.send(post("/", b"body"))
    spin(manager, lambda: waiting)
    end = time.monotonic() + 0.15
    while time.monotonic() < end:
        manager.poll(10)
    waiting[0].reply(200, "late")
    assert spin(manager, lambda: client.responses(1))[0].body == b"late"


def test_write_time_out_of_a_peer_that_never_reads(http, peer):
    events = Recorder(lambda conn, ev, data: conn.reply(200, b"x" * 20_000_000) if ev == MG_EV_HTTP_MSG else None)
    manager, port = http(events, write_timeout_ms=100)
    peer(port).send(get())
    spin(manager, lambda: events.count("CLOSE"), wait_ms=20)
    assert len(manager.connections) == 1


# ==== streamed request bodies ====

def collector(limit=None):
    """A handler that streams each body; its result is a list of (uri, body, trailers) of the messages."""
    messages, parts = [], {}

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            parts[conn] = bytearray()
            conn.stream_body()
        elif ev == MG_EV_READ and conn in parts:
            parts[conn] += conn.recv() if limit is None else conn.recv(limit)
        elif ev == MG_EV_HTTP_MSG:
            assert data.body_bytes == b""
            messages.append((data.uri, bytes(parts.pop(conn)), data.trailers()))
            conn.reply(200, "%d" % len(messages[-1][1]))

    return handler, messages


@pytest.mark.parametrize("size", [0, 1, 1000, 200_000, 40_000_000])
def test_stream_body_of_any_size(http, peer, size):
    """Beyond body_bytes_max too, which limits only what is collected."""
    handler, messages = collector()
    manager, port = http(handler)
    client = peer(port)
    client.send(post("/up", b"u" * size) + get("/next"))
    responses = spin(manager, lambda: client.responses(2))
    assert [(uri, len(body)) for uri, body, _ in messages] == [("/up", size), ("/next", 0)]
    assert messages[0][1] == b"u" * size
    assert responses[0].body == b"%d" % size


def test_stream_body_of_chunks_with_trailers(http, peer):
    handler, messages = collector()
    manager, port = http(handler)
    client = peer(port)
    request = chunked(b"one", b"two" * 50_000, b"three", trailers=b"X-End: yes\r\n")
    for at in range(0, len(request), 10_000):
        client.send(request[at:at + 10_000])
        manager.poll(0)
    spin(manager, lambda: client.responses(1))
    assert messages == [("/", b"one" + b"two" * 50_000 + b"three", [("X-End", "yes")])]


def test_stream_body_that_is_not_taken_holds_the_peer_back(http, peer):
    events = Recorder(lambda conn, ev, data: conn.stream_body() if ev == MG_EV_HTTP_HDRS else
                      conn.reply(200, "all") if ev == MG_EV_HTTP_MSG else None)
    manager, port = http(events, recv_bytes_max=100_000)
    client = peer(port)
    size = 30_000_000
    client.send(post("/", b"u" * size))
    for _ in range(30):
        client.pump(reading=False)
        manager.poll(1)
    conn = events.accepted()
    assert not client.sent_all
    assert 0 < conn.recv_len <= 100_000 + 131_072
    assert events.count("HTTP_MSG") == 0
    taken = [0]

    def step():
        taken[0] += len(conn.recv())
        return client.responses(1)

    spin(manager, step, wait_ms=0)
    assert taken[0] == size


def test_stream_body_is_for_hdrs_only(http, peer):
    errors = []

    def handler(conn, ev, data):
        if ev in (MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WRITE):
            try:
                conn.stream_body()
            except RuntimeError as exc:
                errors.append((ev, exc))
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(post("/", b"x"))
    spin(manager, lambda: client.responses(1))
    settle(manager, 2)
    assert {ev for ev, _ in errors} == {MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WRITE}
    with pytest.raises(RuntimeError):
        manager.connections[0].stream_body()


def test_a_peer_that_leaves_in_a_streamed_body(http, peer):
    handler, messages = collector()
    events = Recorder(handler)
    manager, port = http(events)
    client = peer(port)
    client.send(post("/", b"x" * 1000)[:-1])
    spin(manager, lambda: events.count("READ"))
    client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert messages == []
    assert events.names(events.accepted())[-1] == "CLOSE"


def test_a_time_out_in_a_streamed_body(http, peer):
    handler, messages = collector()
    manager, port = http(handler, body_timeout_ms=60)
    client = peer(port)
    client.send(post("/", b"x" * 1000)[:-1])
    spin(manager, client.closed, wait_ms=20)
    assert messages == []


# ==== with standard clients, in threads ====

def test_byte_by_byte_beside_normal_clients(server):
    running = server(hello)
    slow = Peer(running.port)
    stop = threading.Event()

    def trickle():
        for byte in get(X_Slow="z" * 300):
            slow.send(bytes([byte]))
            if stop.wait(0.001):
                break

    thread = threading.Thread(target=trickle)
    thread.start()
    for _ in range(20):
        client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
        client.request("GET", "/healthcheck")
        assert client.getresponse().read() == b"OK"
        client.close()
    join(thread)
    wait_until(lambda: slow.responses(1))
    slow.close()
    stop.set()


def test_a_request_in_two_segments_with_standard_sockets(server):
    running = server(echo)
    with socket.create_connection((HOST, running.port), timeout=DEADLINE) as client:
        client.sendall(b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo")
        client.sendall(b"dy")
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.read() == b"POST /p body"
