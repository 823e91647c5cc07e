# SPDX-License-Identifier: MIT
"""What reply() and its relatives put on the wire (api.md section 10), read by a standard client where it matters."""
import base64
import email.utils
import http.client
import json
import re
import time
import urllib.request

import pytest

from cymongoose import MG_EV_HTTP_MSG, MG_EV_READ, MG_EV_WRITE
from support import DEADLINE, HOST, get, hello, read_responses, settle, spin


def answering(http, peer, action, request=get(), methods=(), count=1):
    """The responses to one request that action(conn) answers, and what action raised."""
    raised = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            try:
                action(conn)
            except Exception as exc:
                raised.append(exc)
                conn.reply(599, "the call was refused")

    manager, port = http(handler)
    client = peer(port)
    client.send(request)
    responses = spin(manager, lambda: client.responses(count, methods))
    settle(manager, 2)
    assert read_responses(client.pump().received, methods)[1] == b"", "nothing may follow"
    return responses, raised


def answer(http, peer, action, **options):
    [response], raised = answering(http, peer, action, **options)
    if raised:
        raise raised[0]
    return response


def without_date(raw):
    head, date, rest = re.fullmatch(rb"(.*\r\n)(Date: [^\r\n]+\r\n)(.*)", raw, re.DOTALL).groups()
    return head + rest


# ==== reply ====

@pytest.mark.parametrize("arguments, wire", [
    ((200, "hello"), b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"),
    ((200,), b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n"),
    ((201, b"x", {}), b"HTTP/1.1 201 Created\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"),
    ((200, "x", {"X-A": "1", "X-B": "2"}),
     b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: 1\r\nX-B: 2\r\nContent-Length: 1\r\n\r\nx"),
    ((200, "x", {"X-A": 1, "content-TYPE": "text/html"}),
     b"HTTP/1.1 200 OK\r\nX-A: 1\r\ncontent-TYPE: text/html\r\nContent-Length: 1\r\n\r\nx"),
    ((200, "x", {"X-Text": "grüße", "X-None": None}),
     "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Text: grüße\r\nX-None: None\r\n"
     "Content-Length: 1\r\n\r\nx".encode()),
    ((200, "x", {"X-Empty": ""}),
     b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Empty: \r\nContent-Length: 1\r\n\r\nx"),
])
def test_reply_exact_bytes(http, peer, arguments, wire):
    """[tests rely] custom headers and status; the order of lines is the documented one, Date apart."""
    assert without_date(answer(http, peer, lambda conn: conn.reply(*arguments)).raw) == wire


def test_every_response_has_the_date_of_now(http, peer):
    response = answer(http, peer, lambda conn: conn.reply(200))
    text = response.header("Date")
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", text)
    when = email.utils.parsedate_to_datetime(text)
    assert abs(when.timestamp() - time.time()) < 3
    assert email.utils.format_datetime(when, usegmt=True) == text


def test_a_date_of_ones_own_is_not_doubled(http, peer):
    response = answer(http, peer, lambda conn: conn.reply(200, "x", {"date": "Thu, 01 Jan 1970 00:00:00 GMT"}))
    assert response.header("Date") == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize("body", [b"a\0b", b"\0", b"\0" * 100, bytes(range(256)) * 100, b"x" * 10_000_000])
def test_bodies_are_sent_whole(http, peer, body):
    assert answer(http, peer, lambda conn: conn.reply(200, body)).body == body


def test_bodies_of_str_are_utf_8(http, peer):
    """[tests rely]"""
    response = answer(http, peer, lambda conn: conn.reply(200, "grüße, 世界 🎉"))
    assert response.body.decode() == "grüße, 世界 🎉"


@pytest.mark.parametrize("status, reason", [
    (200, "OK"), (201, "Created"), (202, "Accepted"), (206, "Partial Content"),
    (301, "Moved Permanently"), (302, "Found"),
    (400, "Bad Request"), (401, "Unauthorized"), (403, "Forbidden"), (404, "Not Found"), (405, "Method Not Allowed"),
    (418, "I'm a teapot"), (429, "Too Many Requests"), (500, "Internal Server Error"), (501, "Not Implemented"),
    (502, "Bad Gateway"), (503, "Service Unavailable"), (299, ""), (799, ""),
])
def test_reason_phrases(http, peer, status, reason):
    response = answer(http, peer, lambda conn: conn.reply(status, "x"))
    assert (response.status, response.reason) == (status, reason)


@pytest.mark.parametrize("status", [0, 1, 99, 1000, -1])
def test_impossible_statuses_are_refused(http, peer, status):
    responses, raised = answering(http, peer, lambda conn: conn.reply(status, "x"))
    assert isinstance(raised[0], (ValueError, OverflowError))
    assert responses[0].status == 599


@pytest.mark.parametrize("name, value, text", [
    ("X\r\nY", "v", "Header name"), ("X\n", "v", "Header name"), ("X\0", "v", "Header name"),
    ("\rX", "v", "Header name"),
    ("X", "v\r\nSet-Cookie: a", "Header value"), ("X", "v\n", "Header value"), ("X", "\0", "Header value"),
    ("X", "\r", "Header value"), ("Content-Type", "a\r\nb", "Header value"),
])
@pytest.mark.parametrize("method", ["reply", "reply_json"])
def test_headers_with_illegal_characters_are_refused_before_any_output(http, peer, method, name, value, text):
    """[tests rely] "Header name", "Header value", "illegal character"; the request can still be answered."""
    def action(conn):
        headers = {"X-Good": "1", name: value}
        conn.reply(200, "x", headers) if method == "reply" else conn.reply_json({}, 200, headers)

    [response], raised = answering(http, peer, action)
    assert isinstance(raised[0], ValueError)
    assert text in str(raised[0]) and "illegal character" in str(raised[0])
    assert response.status == 599


def test_headers_are_validated_on_listeners_too(make_manager):
    """[tests rely]"""
    listener = make_manager().listen(f"http://{HOST}:0")
    with pytest.raises(ValueError, match="Header name.*illegal character"):
        listener.reply(200, "x", {"a\r\nb": "c"})
    with pytest.raises(ValueError, match="Header value.*illegal character"):
        listener.reply_json({}, headers={"a": "b\n"})


@pytest.mark.parametrize("name", ["", "X:", "X Y", "X\t", "(X)", "é"])
def test_a_name_that_is_no_token_never_breaks_the_response(http, peer, name):
    [response], raised = answering(http, peer, lambda conn: conn.reply(200, "x", {name: "v"}))
    assert raised and isinstance(raised[0], ValueError) or response.body == b"x"


def test_headers_need_items(http, peer):
    for wrong in ([("a", "b")], "a: b", 5):
        _, raised = answering(http, peer, lambda conn: conn.reply(200, "x", wrong))
        assert isinstance(raised[0], (AttributeError, TypeError))


def test_any_mapping_gives_headers(http, peer):
    class Mapping:
        def items(self):
            return iter([("X-From", "items")])

    assert answer(http, peer, lambda conn: conn.reply(200, "x", Mapping())).header("X-From") == "items"


def test_an_error_inside_headers_sends_nothing(http, peer):
    class Bad:
        def __str__(self):
            raise ZeroDivisionError

    class BadMapping:
        def items(self):
            yield "X-A", "1"
            raise ZeroDivisionError

    for headers in ({"X-Good": "1", "X": Bad()}, {Bad(): "x"}, BadMapping()):
        [response], raised = answering(http, peer, lambda conn: conn.reply(200, "x", headers))
        assert isinstance(raised[0], ZeroDivisionError)
        assert response.status == 599


def test_headers_that_close_the_connection_while_they_are_read(http, peer):
    """str() of a header runs Python code, which may do anything."""
    outcome = []

    class Closing:
        def __str__(self):
            self.conn.close()
            return "value"

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            closing = Closing()
            closing.conn = conn
            with pytest.raises(RuntimeError, match="closed"):
                conn.reply(200, "x", {"X": closing})
            outcome.append(True)

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, client.closed)
    assert outcome == [True] and client.received == b""


def test_a_length_of_ones_own_is_not_doubled(http, peer):
    response = answer(http, peer, lambda conn: conn.reply(200, "hello", {"Content-Length": "5"}))
    assert response.header("Content-Length") == "5"
    assert response.body == b"hello"


def test_a_wrong_length_does_not_break_the_framing(http, peer):
    for wrong in ("3", "500", "x"):
        [response], raised = answering(http, peer, lambda conn: conn.reply(200, "hello", {"Content-Length": wrong}))
        assert raised or (response.header("Content-Length"), response.body) == ("5", b"hello")


@pytest.mark.parametrize("status", [204, 304])
def test_responses_without_a_body(http, peer, status):
    response = answer(http, peer, lambda conn: conn.reply(status, "ignored"))
    assert response.raw.endswith(b"\r\n\r\n")
    assert status == 304 or response.header("Content-Length") is None


def test_head_gets_the_length_but_no_body(http, peer):
    response = answer(http, peer, lambda conn: conn.reply(200, "hello"), request=b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
                      methods=["HEAD"])
    assert response.header("Content-Length") == "5"
    assert response.raw.endswith(b"\r\n\r\n")


def test_head_of_a_chunked_answer_has_no_chunks(http, peer):
    def stream(conn):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        conn.http_chunk("data")
        conn.http_chunk("")

    response = answer(http, peer, stream, request=b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", methods=["HEAD"])
    assert response.raw.endswith(b"\r\n\r\n")


def test_a_second_reply_raises_and_sends_nothing(http, peer):
    def twice(conn):
        conn.reply(200, "first")
        with pytest.raises(RuntimeError):
            conn.reply(200, "second")
        with pytest.raises(RuntimeError):
            conn.reply_json({})

    assert answer(http, peer, twice).body == b"first"


def test_reply_on_raw_tcp_writes_the_response(raw, peer):
    manager, port = raw(lambda conn, ev, data: conn.reply(200, "raw") if ev == MG_EV_READ else None)
    client = peer(port)
    client.send(b"anything")
    assert spin(manager, lambda: client.responses(1))[0].body == b"raw"


def test_reply_from_a_timer_and_after_a_while(http, peer):
    manager, port = http(lambda conn, ev, data: manager.timer_add(5, lambda: conn.reply(200, "later"))
                         if ev == MG_EV_HTTP_MSG else None)
    client = peer(port)
    client.send(get())
    assert spin(manager, lambda: client.responses(1))[0].body == b"later"


def test_a_reply_outside_of_poll_leaves_with_the_next_poll(http, peer):
    waiting = []
    manager, port = http(lambda conn, ev, data: waiting.append(conn) if ev == MG_EV_HTTP_MSG else None)
    client = peer(port)
    client.send(get())
    conn = spin(manager, lambda: waiting)[0]
    conn.reply(200, "between two polls")
    assert conn.send_len > 0
    assert b"between two polls" in conn.send_data()
    assert spin(manager, lambda: client.responses(1))[0].body == b"between two polls"


# ==== reply_json ====

@pytest.mark.parametrize("data", [{"a": [1, 2.5, None, True]}, [], "text", 5, None, {"ü": "ß"}, {"x": {"y": {}}}])
def test_reply_json(http, peer, data):
    response = answer(http, peer, lambda conn: conn.reply_json(data))
    assert response.header("Content-Type") == "application/json"
    assert response.body == json.dumps(data).encode()
    assert response.status == 200


def test_reply_json_with_status_and_headers(http, peer):
    response = answer(http, peer, lambda conn: conn.reply_json({}, 201, {"X-A": "1", "Content-Type": "text/wrong"}))
    assert response.status == 201
    assert response.header("X-A") == "1"
    assert response.header("Content-Type") == "application/json"


def test_reply_json_with_a_type_in_another_case_is_not_doubled(http, peer):
    response = answer(http, peer, lambda conn: conn.reply_json({}, headers={"content-type": "application/hal+json"}))
    assert "json" in response.header("Content-Type")


def test_reply_json_leaves_the_callers_headers_alone(http, peer):
    headers = {"X-A": "1"}
    answer(http, peer, lambda conn: conn.reply_json({}, headers=headers))
    assert headers == {"X-A": "1"}


def test_reply_json_of_what_has_no_json(http, peer):
    for wrong in (object(), {1, 2}, b"bytes", {"a": object()}):
        _, raised = answering(http, peer, lambda conn: conn.reply_json(wrong))
        assert isinstance(raised[0], TypeError)


# ==== chunks ====

def stream(*chunks, head={"Transfer-Encoding": "chunked"}):
    def action(conn):
        conn.reply(200, "", head)
        for chunk in chunks:
            conn.http_chunk(chunk)
        conn.http_chunk("")
    return action


def test_http_chunk_exact_bytes(http, peer):
    response = answer(http, peer, stream("hello", b"x" * 26))
    assert response.raw.endswith(b"\r\n\r\n5\r\nhello\r\n1a\r\n" + b"x" * 26 + b"\r\n0\r\n\r\n")
    assert response.header("Content-Length") is None
    assert response.header("Transfer-Encoding") == "chunked"


def test_the_body_of_a_chunked_reply_is_its_first_chunk(http, peer):
    def action(conn):
        conn.reply(200, "first ", {"transfer-encoding": "chunked"})
        conn.http_chunk("second")
        conn.http_chunk("")

    assert answer(http, peer, action).body == b"first second"


def test_chunks_after_the_end_raise(http, peer):
    def action(conn):
        stream("x")(conn)
        for more in ("y", ""):
            with pytest.raises(RuntimeError):
                conn.http_chunk(more)

    assert answer(http, peer, action).body == b"x"


def test_a_raw_head_with_chunks_is_read_by_a_standard_client(server):
    """[tests rely]"""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
            for n in range(5):
                conn.http_chunk(f"chunk {n};")
            conn.http_chunk("")

    running = server(handler)
    client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
    for _ in range(3):
        client.request("GET", "/")
        response = client.getresponse()
        assert response.read() == b"chunk 0;chunk 1;chunk 2;chunk 3;chunk 4;"
    client.close()


@pytest.mark.parametrize("count, size", [(100, 10), (64, 10_000), (20, 300_000)])
def test_chunked_streams_are_read_by_a_standard_client(server, count, size):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            stream(*(bytes([n % 256]) * size for n in range(count)))(conn)

    running = server(handler)
    client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
    client.request("GET", "/")
    response = client.getresponse()
    assert response.chunked
    assert response.read() == b"".join(bytes([n % 256]) * size for n in range(count))
    client.close()


def test_a_stream_with_back_pressure(http, peer):
    """A program that waits for WRITE while is_full streams without end in bounded memory."""
    total, state, most = 30_000_000, {"left": 30_000_000}, [0]

    def more(conn):
        while state["left"] and not conn.is_full:
            piece = b"p" * min(65_536, state["left"])
            conn.http_chunk(piece)
            state["left"] -= len(piece)
            if not state["left"]:
                conn.http_chunk("")
        most[0] = max(most[0], conn.send_len)

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "", {"Transfer-Encoding": "chunked"})
            more(conn)
        elif ev == MG_EV_WRITE and state["left"]:
            more(conn)

    manager, port = http(handler, send_high_water=500_000, send_low_water=100_000)
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.has(total) and client.received.endswith(b"\r\n0\r\n\r\n"), wait_ms=1)
    assert client.responses(1)[0].body == b"p" * total
    assert most[0] < 1_000_000


def test_a_chunked_answer_to_http_1_0(http, peer):
    """HTTP/1.0 knows no chunks: whatever is done, an old client must be able to read it."""
    manager, port = http(lambda conn, ev, data: stream("old ", "client")(conn) if ev == MG_EV_HTTP_MSG else None)
    client = peer(port)
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    spin(manager, client.closed)
    head, body = bytes(client.received).split(b"\r\n\r\n", 1)
    assert body == b"old client"
    assert b"chunked" not in head.lower()


# ==== server-sent events ====

def test_http_sse(http, peer):
    def action(conn):
        conn.reply(200, "", {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        conn.http_sse("update", "one")
        conn.http_sse("update", "grüße")
        conn.http_chunk("")

    response = answer(http, peer, action)
    assert response.body == "event: update\ndata: one\n\nevent: update\ndata: grüße\n\n".encode()
    first = b"event: update\ndata: one\n\n"
    assert b"%x\r\n%b\r\n" % (len(first), first) in response.raw


def test_http_sse_splits_lines_of_data(http, peer):
    def action(conn):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        conn.http_sse("e", "one\ntwo\r\nthree")
        conn.http_chunk("")

    assert answer(http, peer, action).body == b"event: e\ndata: one\ndata: two\ndata: three\n\n"


@pytest.mark.parametrize("event_type", ["a\nb", "a\r", "\n"])
def test_http_sse_with_a_line_break_in_the_type(http, peer, event_type):
    def action(conn):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        with pytest.raises(ValueError):
            conn.http_sse(event_type, "x")
        conn.http_chunk("")

    assert answer(http, peer, action).body == b""


def test_http_sse_after_a_raw_head(server):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            conn.http_sse("tick", "1")
            conn.http_chunk("")

    running = server(handler)
    client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
    client.request("GET", "/")
    assert client.getresponse().read() == b"event: tick\ndata: 1\n\n"
    client.close()


# ==== http_basic_auth ====

@pytest.mark.parametrize("username, password, encoded", [
    ("user", "pass", "dXNlcjpwYXNz"), ("user", "", "dXNlcjo="), ("", "pass", "OnBhc3M="), ("ü", "ß", "w7w6w58="),
    ("u" * 100, "p" * 100, None),
])
def test_http_basic_auth(raw, peer, username, password, encoded):
    encoded = encoded or base64.b64encode(f"{username}:{password}".encode()).decode()
    manager, port = raw(lambda conn, ev, data: conn.http_basic_auth(username, password) if ev == MG_EV_READ else None)
    client = peer(port)
    client.send(b"x")
    wire = f"Authorization: Basic {encoded}\r\n".encode()
    spin(manager, lambda: client.has(len(wire)))
    assert client.received == wire


def test_a_request_with_http_basic_auth(http):
    seen = []
    manager, port = http(lambda conn, ev, data: seen.append(data.header("Authorization"))
                         if ev == MG_EV_HTTP_MSG else None)
    client = manager.connect(f"http://{HOST}:{port}")
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
    client.http_basic_auth("user", "pass")
    client.send(b"\r\n")
    spin(manager, lambda: seen)
    assert seen == ["Basic dXNlcjpwYXNz"]


# ==== as standard clients see it ====

@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_methods_with_a_standard_client(server, method):
    running = server(lambda conn, ev, data: conn.reply(200, data.body_bytes or data.method, {"X-Method": data.method})
                     if ev == MG_EV_HTTP_MSG else None)
    client = http.client.HTTPConnection(HOST, running.port, timeout=DEADLINE)
    for _ in range(3):
        client.request(method, "/", body="payload" if method in ("POST", "PUT", "PATCH", "DELETE") else None)
        response = client.getresponse()
        assert response.status == 200
        assert response.getheader("X-Method") == method
        body = response.read()
        assert body in (b"payload", method.encode(), b"")
        assert (body == b"") == (method == "HEAD")
    client.close()


def test_urllib(server):
    running = server(hello)
    with urllib.request.urlopen(f"http://{HOST}:{running.port}/", timeout=DEADLINE) as response:
        assert response.read() == b"OK"
