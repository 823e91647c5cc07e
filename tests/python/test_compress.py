# SPDX-License-Identifier: MIT
"""compress(): what is compressed and what is left alone, as standard decoders see it."""
import gzip
import http.client
import json
import zlib

import pytest

import cymongoose
from cymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage
from support import DEADLINE, HOST, exchange, get, spin

PAGE = b"<p>the same again and again</p>\n" * 200
BUILT_IN = {each.split("/")[0] for each in cymongoose.features().split()}


def compressed(http, peer, accept, action=None, request=None, **options):
    """The response to a request with this Accept-Encoding, and what compress() has returned."""
    def answer(conn, message):
        coding = conn.compress(message, **options)
        (action or (lambda conn: conn.reply(200, PAGE, {"Content-Type": "text/html"})))(conn)
        return coding

    [response], [outcome] = exchange(http, peer, request or get(Accept_Encoding=accept), answer)
    assert not isinstance(outcome, Exception), outcome
    return response, outcome


def test_a_reply_in_gzip(http, peer):
    response, coding = compressed(http, peer, "gzip")
    assert coding == response.header("Content-Encoding") == "gzip"
    assert gzip.decompress(response.body) == PAGE
    assert len(response.body) < len(PAGE) / 10
    assert "accept-encoding" in response.header("Vary").lower()
    assert response.header("Content-Type") == "text/html"


@pytest.mark.parametrize("accept, coding", [
    ("identity", ""), ("gzip;q=0", ""), ("", ""), ("unknown", ""), ("gzip;q=0.5, identity", ""), ("GZIP", "gzip"),
    ("x-gzip", "gzip"), ("deflate", ""), ("gzip;q=1, br;q=0.1, zstd;q=0.1", "gzip"), ("br;q=0, zstd;q=0, *", "gzip"),
])
def test_what_is_accepted(http, peer, accept, coding):
    response, outcome = compressed(http, peer, accept)
    assert outcome == coding == (response.header("Content-Encoding") or "")
    assert (gzip.decompress(response.body) if coding else response.body) == PAGE


@pytest.mark.parametrize("library, coding", [("brotli", "br"), ("zstd", "zstd")])
def test_other_codings(http, peer, library, coding):
    response, outcome = compressed(http, peer, coding)
    assert outcome == (coding if library in BUILT_IN else "")
    assert response.header("Content-Encoding") == (outcome or None)
    assert (len(response.body) < len(PAGE) / 10) == (library in BUILT_IN)


def test_without_accept_encoding(http, peer):
    response, outcome = compressed(http, peer, None, request=get())
    assert (outcome, response.header("Content-Encoding"), response.body) == ("", None, PAGE)


@pytest.mark.parametrize("body, headers, options", [
    (b"small", {}, {}), (PAGE, {}, {"bytes_min": len(PAGE) + 1}), (PAGE, {"Content-Type": "image/png"}, {}),
    (PAGE, {"Content-Encoding": "x-mine"}, {}), (PAGE, {"Cache-Control": "no-transform"}, {}),
])
def test_what_is_left_alone(http, peer, body, headers, options):
    response, outcome = compressed(http, peer, "gzip", lambda conn: conn.reply(200, body, headers), **options)
    assert outcome == "gzip"
    assert response.body == body
    assert response.header("Content-Encoding") == headers.get("Content-Encoding")


def test_bytes_min_and_levels(http, peer):
    response, _ = compressed(http, peer, "gzip", lambda conn: conn.reply(200, "x" * 200), bytes_min=0)
    assert gzip.decompress(response.body) == b"x" * 200
    sizes = [len(compressed(http, peer, "gzip", level=level)[0].body) for level in (1, 9)]
    assert sizes[0] >= sizes[1]


def test_reply_json_and_large_bodies(http, peer):
    data = {"numbers": list(range(50_000))}
    response, _ = compressed(http, peer, "gzip", lambda conn: conn.reply_json(data))
    assert json.loads(gzip.decompress(response.body)) == data
    assert response.header("Content-Type") == "application/json"


def test_each_chunk_can_be_decoded_when_it_comes(http, peer):
    conns = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            assert conn.compress(data) == "gzip"
            conn.http_sse_begin()
            conns.append(conn)

    manager, port = http(handler)
    client = peer(port)
    client.send(get(Accept_Encoding="gzip"))
    decoder, text = zlib.decompressobj(31), b""
    spin(manager, lambda: conns and b"\r\n\r\n" in client.pump().received)
    del client.received[:client.received.index(b"\r\n\r\n") + 4]
    for n in range(10):
        conns[0].http_sse("tick", str(n))
        expected = text + b"event: tick\ndata: %d\n\n" % n
        while text != expected:
            spin(manager, lambda: client.pump().received.endswith(b"\r\n"))
            size, _, rest = bytes(client.received).partition(b"\r\n")
            text += decoder.decompress(rest[:int(size, 16)])
            del client.received[:len(size) + 4 + int(size, 16)]
    assert not client.received


def test_a_channel_sends_to_compressed_and_plain_streams(http, peer):
    conns = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.compress(data)
            conn.http_sse_begin()
            channel.subscribe(conn)
            conns.append(conn)

    manager, port = http(handler)
    channel = manager.event_channel()
    clients = [peer(port), peer(port)]
    clients[0].send(get(Accept_Encoding="gzip"))
    clients[1].send(get())
    spin(manager, lambda: len(conns) == 2)
    assert channel.publish("tick", "to all") == 2
    for conn in conns:
        conn.http_chunk("")
    bodies = [spin(manager, lambda: client.responses(1))[0].body for client in clients]
    if b"tick" not in bodies[1]:
        bodies.reverse()
    assert gzip.decompress(bodies[0]) == bodies[1] == b"event: tick\ndata: to all\n\n"


def test_a_standard_client(server):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.compress(data)
            conn.reply(200, PAGE)

    client = http.client.HTTPConnection(HOST, server(handler).port, timeout=DEADLINE)
    for n in range(6):
        client.request("GET", "/", headers={"Accept-Encoding": "gzip"} if n % 2 else {})
        response = client.getresponse()
        body = response.read()
        assert (gzip.decompress(body) if n % 2 else body) == PAGE, "the choice is of one answer"
    client.close()


def test_arguments(http, peer):
    kept = []

    def action(conn, message):
        for call, error in [
            (lambda: conn.compress(), TypeError), (lambda: conn.compress(None), TypeError),
            (lambda: conn.compress(message, 4), TypeError), (lambda: conn.compress(message, level=0), ValueError),
            (lambda: conn.compress(message, level=10), ValueError), (lambda: conn.compress(message, level="4"), TypeError),
            (lambda: conn.compress(message, bytes_min=-1), OverflowError),
            (lambda: conn.compress(message, bytes_min=None), TypeError),
            (lambda: conn.compress(HttpMessage()), ValueError), (lambda: Connection().compress(message), RuntimeError),
        ]:
            with pytest.raises(error):
                call()
        kept.append((conn, message))
        conn.reply(200, PAGE)
        with pytest.raises(RuntimeError, match="no request"):
            conn.compress(message)

    [response], [outcome] = exchange(http, peer, get(Accept_Encoding="gzip"), action)
    assert (outcome, response.body) == (None, PAGE)
    [(conn, message)] = kept
    for each in (conn, Connection()):
        with pytest.raises(ValueError, match="^HttpMessage is not valid for this event$"):
            each.compress(message)


def test_a_listener_compresses_nothing(http, peer):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            seen.append(manager.connections[0].compress(data))
            conn.reply(204)

    seen = []
    manager, port = http(handler)
    client = peer(port)
    client.send(get(Accept_Encoding="gzip"))
    spin(manager, lambda: client.responses(1))
    assert seen == [""]
