# SPDX-License-Identifier: MIT
"""HttpMessage: what can be read from it, and that it is dead as soon as its handler has returned."""
import gc
import threading

import pytest

from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_POLL, HttpMessage
from support import get, hello, join, post, settle, spin


def ask(http, peer, request, read):
    """read(message) inside HTTP_MSG, its result or its exception."""
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            try:
                outcome.append(read(data))
            except Exception as exc:
                outcome.append(exc)
            conn.reply(200)

    manager, port = http(handler)
    client = peer(port)
    client.send(request)
    spin(manager, lambda: client.responses(1))
    return outcome[0]


def assert_dead(message):
    """[tests rely] a view whose handler has returned is invalid and empty."""
    assert bool(message) is False
    for name in ("method", "uri", "query", "proto", "body_text"):
        assert getattr(message, name) == ""
    assert message.body_bytes == b""
    assert message.headers() == []
    assert message.trailers() == []
    assert message.header("Host") is None
    assert message.header("Host", "default") == "default"
    assert message.query_var("a") is None
    assert message.header_var("Content-Type", "boundary") is None
    assert message.status() is None


# ==== contents ====

def test_request_line(http, peer):
    """[tests rely]"""
    def read(message):
        return message.method, message.uri, message.query, message.proto, bool(message), message.status()

    assert ask(http, peer, get("/test?foo=bar&baz=qux"), read) == (
        "GET", "/test", "foo=bar&baz=qux", "HTTP/1.1", True, 0)


@pytest.mark.parametrize("target, uri, query", [
    ("/", "/", ""), ("/?", "/", ""), ("/a%20b?c%20d", "/a%20b", "c%20d"), ("/a?b?c", "/a", "b?c"),
    ("/?a=1", "/", "a=1"),
    ("/%00", "/%00", ""), ("/..//x", "/..//x", ""), ("/é", "/é", ""),
])
def test_target_is_split_at_the_first_question_mark_and_not_decoded(http, peer, target, uri, query):
    assert ask(http, peer, get(target), lambda message: (message.uri, message.query)) == (uri, query)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "XYZZY", "M-SEARCH", "get"])
def test_any_token_is_a_method(http, peer, method):
    request = f"{method} /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode()
    assert ask(http, peer, request, lambda message: message.method) == method


def test_connect_has_host_and_port_as_uri(http, peer):
    """[tests rely] the proxy's request."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            seen.append((data.method, data.uri))
            conn.reply(502, "no")

    manager, port = http(handler)
    client = peer(port)
    client.send(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n")
    spin(manager, lambda: client.responses(1))
    assert seen == [("CONNECT", "example.org:443")]


def test_options_asterisk_and_absolute_form(http, peer):
    assert ask(http, peer, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", lambda message: message.uri) == "*"


def test_header(http, peer):
    """First of that name in any case, trimmed; '' when empty; else the default."""
    request = (b"GET / HTTP/1.1\r\nHost: h\r\nUser-Agent: \t tester/1.0 \t\r\nX-Empty:\r\nX-Twice: one\r\n"
               b"x-twice: two\r\nX-Inner: a \t b\r\n\r\n")

    def read(message):
        return [message.header("User-Agent"), message.header("USER-AGENT"), message.header("user-agent", "d"),
                message.header("X-Empty"), message.header("X-Twice"), message.header("Missing"),
                message.header("Missing", "d"), message.header("Missing", 7), message.header("X-Inner"),
                message.header(""), message.header("User")]

    assert ask(http, peer, request, read) == [
        "tester/1.0", "tester/1.0", "tester/1.0", "", "one", None, "d", 7, "a \t b", None, None]


def test_headers_in_order_with_case_and_duplicates(http, peer):
    request = b"GET / HTTP/1.1\r\nhOsT: h\r\nB: 2\r\nA: 1\r\nb: 3 \r\nC:\r\n\r\n"
    assert ask(http, peer, request, lambda message: message.headers()) == [
        ("hOsT", "h"), ("B", "2"), ("A", "1"), ("b", "3"), ("C", "")]


def test_more_headers_than_the_original_kept(http, peer):
    """None is dropped silently, Content-Length at the end least of all."""
    lines = "".join(f"X-{n}: {n}\r\n" for n in range(100))
    request = f"POST / HTTP/1.1\r\nHost: h\r\n{lines}Content-Length: 4\r\n\r\nbody".encode()
    headers, body = ask(http, peer, request, lambda message: (message.headers(), message.body_bytes))
    assert headers[1:101] == [(f"X-{n}", str(n)) for n in range(100)]
    assert body == b"body"


@pytest.mark.parametrize("query, name, value", [
    ("a=1&b=2", "b", "2"), ("a=1&a=2", "a", "1"), ("a=x+y%20z", "a", "x y z"), ("a=%C3%A9", "a", "é"),
    ("a=1", "c", None), ("", "a", None), ("a=b=c", "a", "b=c"), ("xa=1&a=2", "a", "2"), ("a%20b=1", "zz", None),
    ("a=%2B%26%3D", "a", "+&="), ("a=%FF", "a", "\udcff"),
])
def test_query_var(http, peer, query, name, value):
    assert ask(http, peer, get(f"/?{query}"), lambda message: message.query_var(name)) == value


@pytest.mark.parametrize("query", ["a=", "a", "a=&b=1"])
def test_query_var_empty_is_empty_or_none(http, peer, query):
    assert ask(http, peer, get(f"/?{query}"), lambda message: message.query_var("a")) in ("", None)


def test_query_var_of_2000_bytes(http, peer):
    """[tests rely] 2,000 bytes work; here more do."""
    for length in (2000, 8000):
        assert ask(http, peer, get("/?v=" + "x" * length), lambda message: message.query_var("v")) == "x" * length


@pytest.mark.parametrize("query", ["a=%", "a=%4", "a=%zz", "a=1%2"])
def test_query_var_with_a_bad_escape_is_a_value_error(http, peer, query):
    assert isinstance(ask(http, peer, get(f"/?{query}"), lambda message: message.query_var("a")), ValueError)


@pytest.mark.parametrize("header, name, var, value", [
    ('multipart/form-data; boundary=abc', "Content-Type", "boundary", "abc"),
    ('form-data; name="a b"; filename="x.txt"', "Content-Disposition", "filename", "x.txt"),
    ('form-data; name="a b"; filename="x.txt"', "Content-Disposition", "name", "a b"),
    ('Digest realm=r,nonce=n', "Authorization", "realm", "r"),
    ('session=1; token=2', "Cookie", "token", "2"),
    ('session=1; token=2', "Cookie", "other", None),
    ('session=', "Cookie", "session", None),
])
def test_header_var(http, peer, header, name, var, value):
    request = f"GET / HTTP/1.1\r\nHost: h\r\n{name}: {header}\r\n\r\n".encode()
    assert ask(http, peer, request, lambda message: message.header_var(name, var)) == value


def test_header_var_of_a_missing_header(http, peer):
    assert ask(http, peer, get(), lambda message: message.header_var("Cookie", "a")) is None


def test_body(http, peer):
    body = bytes(range(256))
    assert ask(http, peer, post("/", body), lambda message: message.body_bytes) == body
    assert ask(http, peer, post("/", "grüße".encode()), lambda message: message.body_text) == "grüße"


def test_values_have_the_documented_types(http, peer):
    def read(message):
        assert type(message) is HttpMessage
        for name in ("method", "uri", "query", "proto", "body_text"):
            assert type(getattr(message, name)) is str
        assert type(message.body_bytes) is bytes
        assert type(message.headers()) is list and type(message.headers()[0]) is tuple
        assert type(message.status()) is int
        return "read"

    assert ask(http, peer, post("/?a=1", b"x"), read) == "read"


def test_views_are_read_only(http, peer):
    def read(message):
        for name in ("method", "uri", "body_bytes"):
            with pytest.raises(AttributeError):
                setattr(message, name, "x")
        return "read"

    assert ask(http, peer, get(), read) == "read"


def test_body_in_hdrs_is_what_has_arrived(http, peer):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            seen.append((data.method, data.header("X-A"), data.body_bytes, data.trailers()))
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nX-A: 1\r\nContent-Length: 1000000\r\n\r\npart")
    spin(manager, lambda: seen)
    assert seen == [("POST", "1", b"part", [])]


def test_chunked_body_and_trailers(http, peer):
    request = (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 7\r\nX-More: \r\n\r\n")
    assert ask(http, peer, request, lambda message: (message.body_bytes, message.trailers())) == (
        b"hello world", [("X-Sum", "7"), ("X-More", "")])


# ==== life time ====

def test_a_view_is_dead_when_its_handler_has_returned(http, peer):
    """[tests rely]"""
    kept = []

    def handler(conn, ev, data):
        if ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG):
            assert bool(data) is True
            kept.append(data)
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(post("/x?a=1", b"body", Content_Type="multipart/form-data; boundary=b"))
    spin(manager, lambda: client.responses(1))
    assert len(kept) == 2
    for message in kept:
        assert_dead(message)


def test_copies_outlive_the_view(http, peer):
    copies = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            copies.extend([data.uri, data.body_bytes, data.headers(), data.header("Host")])
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(post("/first", b"body one"))
    spin(manager, lambda: client.responses(1))
    client.send(post("/other", b"BODY TWO"))
    spin(manager, lambda: client.responses(2))
    assert copies[:4] == ["/first", b"body one", [("Host", "test"), ("Content-Length", "8")], "test"]


def test_a_view_is_dead_after_an_exception(http, peer):
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            kept.append(data)
            conn.reply(200)
            raise ValueError("on purpose")

    errors = []
    manager, port = http(handler, manager_options={"error_handler": errors.append})
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    assert len(errors) == 1
    assert_dead(kept[0])


def test_a_view_kept_by_a_traceback_is_dead(http, peer):
    errors = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            local_view = data
            conn.reply(200)
            raise ValueError(local_view.uri)

    manager, port = http(handler, manager_options={"error_handler": errors.append})
    client = peer(port)
    client.send(get("/traced"))
    spin(manager, lambda: client.responses(1))
    frame = errors[0].__traceback__.tb_frame
    assert errors[0].args == ("/traced",)
    assert_dead(frame.f_locals["local_view"])


def test_a_view_is_dead_after_keyboard_interrupt(http, peer):
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            kept.append(data)
            raise KeyboardInterrupt

    manager, port = http(handler)
    peer(port).send(get())
    with pytest.raises(KeyboardInterrupt):
        spin(manager, lambda: False)
    assert_dead(kept[0])


def test_dead_views_stay_dead_when_others_live(http, peer):
    """Views come from a free list: a kept one must not be handed out again, nor wake up with the next request."""
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            assert bool(data)
            assert all(data is not other for other in kept)
            for other in kept:
                assert_dead(other)
            kept.append(data)
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(b"".join(get(f"/{n}") for n in range(50)))
    spin(manager, lambda: client.responses(50))
    assert len(kept) == 50
    assert len({id(message) for message in kept}) == 50
    for message in kept:
        assert_dead(message)
    del kept[:]
    gc.collect()
    client.send(get())
    spin(manager, lambda: client.responses(51))


def test_views_that_nobody_kept_are_valid_again_each_time(http, peer):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            seen.append(data.uri if data else "dead")
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(b"".join(get(f"/{n}") for n in range(200)))
    spin(manager, lambda: client.responses(200))
    assert seen == [f"/{n}" for n in range(200)]


def test_a_view_in_another_thread_dies_too(http, peer):
    """A thread that reads a view while handlers come and go sees it alive or dead, and never something else."""
    wrong, views, stop = [], [], threading.Event()

    def reader():
        while not stop.is_set():
            for message in views[-3:]:
                uri = message.uri
                body = message.body_bytes
                if uri not in ("", "/page") or body not in (b"", b"b" * 5000):
                    wrong.append((uri, body))

    def handler(conn, ev, data):
        if ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG):
            views.append(data)
        hello(conn, ev, data)

    manager, port = http(handler)
    thread = threading.Thread(target=reader)
    thread.start()
    client = peer(port)
    for n in range(1, 201):
        client.send(post("/page", b"b" * 5000))
        spin(manager, lambda: client.responses(n))
    stop.set()
    join(thread)
    assert wrong == []
    for message in views:
        assert_dead(message)


def test_a_nested_handler_has_its_own_view_and_the_outer_one_stays_valid(http, peer):
    """An event inside a handler (ERROR by conn.error() here) does not end the outer view."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.error("nested")
            seen.append((bool(data), data.uri, data.body_bytes))

    manager, port = http(handler)
    peer(port).send(post("/outer", b"body"))
    spin(manager, lambda: seen)
    assert seen == [(True, "/outer", b"body")]


@pytest.mark.parametrize("end", ["close", "drain", "error", "reply"])
def test_a_view_survives_the_end_of_its_connection_inside_the_handler(http, peer, end):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.error("x") if end == "error" else conn.reply(200) if end == "reply" else getattr(conn, end)()
            seen.append((bool(data), data.uri, data.header("Host"), data.body_bytes))

    manager, port = http(handler)
    peer(port).send(post("/still", b"here" * 1000))
    spin(manager, lambda: seen)
    settle(manager)
    assert seen == [(True, "/still", "test", b"here" * 1000)]


def test_many_kept_views_cost_only_themselves(http, peer):
    kept = []

    def handler(conn, ev, data):
        if ev != MG_EV_POLL and data is not None:
            kept.append(data)
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(b"".join(post(f"/{n}", b"x" * 10_000) for n in range(200)))
    spin(manager, lambda: client.responses(200))
    manager.close()
    for message in kept:
        assert_dead(message)
