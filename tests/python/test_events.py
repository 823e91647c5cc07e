# SPDX-License-Identifier: MIT
"""Sequences of events of TCP, UDP and HTTP: their order and their data (api.md section 5). POLL has its own file."""
import socket

import pytest

from cymongoose import (
    MG_EV_ACCEPT,
    MG_EV_CLOSE,
    MG_EV_CONNECT,
    MG_EV_ERROR,
    MG_EV_HTTP_HDRS,
    MG_EV_HTTP_MSG,
    MG_EV_OPEN,
    MG_EV_POLL,
    MG_EV_READ,
    MG_EV_RESOLVE,
    MG_EV_WAKEUP,
    Connection,
    HttpMessage,
    Manager,
)
from support import HOST, Recorder, free_port, get, hello, name_of, post, settle, spin

HTTP_REQUEST = ["HTTP_HDRS", "HTTP_MSG", "READ", "WRITE"]


# ==== TCP ====

def test_tcp_listen(make_manager):
    events = Recorder()
    listener = make_manager(events).listen(f"tcp://{HOST}:0")
    assert events.entries == [(listener, "OPEN", None)]


def test_tcp_accept_read_write_close(raw, peer):
    events = Recorder(lambda conn, ev, data: conn.send(conn.recv_data()) if ev == MG_EV_READ else None)
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    assert events.names(conn) == ["OPEN", "ACCEPT"]
    client.send(b"ping")
    spin(manager, lambda: client.has(4))
    assert events.names(conn) == ["OPEN", "ACCEPT", "READ", "WRITE"]
    client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(conn) == ["OPEN", "ACCEPT", "READ", "WRITE", "CLOSE"]
    assert {type(data) for who, _, data in events.entries if who is conn} == {type(None)}


def test_accept_is_never_told_to_the_listener(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    listener = manager.connections[0]
    peer(port)
    spin(manager, events.accepted)
    assert events.names(listener) == ["OPEN"]


def test_a_reset_is_close_without_error(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    client.reset()
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(conn) == ["OPEN", "ACCEPT", "CLOSE"]


@pytest.mark.parametrize("host", [HOST, "localhost"])
def test_tcp_connect(raw, host):
    server_events, client_events = Recorder(), Recorder()
    manager, port = raw(server_events)
    client = manager.connect(f"tcp://{host}:{port}", client_events)
    assert client_events.names() == ["OPEN", "RESOLVE"]
    spin(manager, lambda: client_events.count("CONNECT") and server_events.accepted())
    client.send(b"x")
    spin(manager, lambda: server_events.count("READ"))
    server_events.accepted().send(b"yz")
    spin(manager, lambda: client_events.count("READ"))
    assert client_events.names() == ["OPEN", "RESOLVE", "CONNECT", "WRITE", "READ"]
    assert client_events.who("READ") == [client]
    assert client.recv_data() == b"yz"
    assert all(data is None for _, _, data in client_events.entries)


def test_tcp_connect_refused(make_manager):
    events = Recorder()
    manager = make_manager(events)
    client = manager.connect(f"tcp://{HOST}:{free_port()}")
    assert client.id > 0
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(client) == ["OPEN", "RESOLVE", "ERROR", "CLOSE"]
    [text] = events.data("ERROR")
    assert type(text) is str
    assert "socket error" in text or "refused" in text


def test_the_connection_is_marked_closing_when_error_is_told(make_manager):
    closing = []
    manager = make_manager(lambda conn, ev, data: closing.append(conn.is_closing) if ev == MG_EV_ERROR else None)
    manager.connect(f"tcp://{HOST}:{free_port()}")
    spin(manager, lambda: closing)
    assert closing == [True]


def test_close_comes_once_and_last_whatever_ends_the_connection(raw, peer):
    events = Recorder(lambda conn, ev, data: conn.error("again") if ev == MG_EV_READ else None)
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    client.send(b"x")
    client.socket.shutdown(socket.SHUT_WR)
    spin(manager, lambda: events.count("CLOSE"))
    conn.close()
    conn.drain()
    settle(manager)
    assert events.names(conn).count("CLOSE") == 1
    assert events.names(conn)[-1] == "CLOSE"


def test_data_that_came_before_the_end_is_read_first(raw, peer):
    seen = []
    events = Recorder(lambda conn, ev, data: seen.append(conn.recv_data()) if ev == MG_EV_READ else None)
    manager, port = raw(events)
    client = peer(port)
    client.send(b"last words")
    client.socket.shutdown(socket.SHUT_WR)
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(events.accepted()) == ["OPEN", "ACCEPT", "READ", "CLOSE"]
    assert seen[-1] == b"last words"


def test_raw_tcp_never_produces_http_events(raw, peer):
    """[tests rely] even when the bytes are a request."""
    events = Recorder()
    manager, port = raw(events)
    peer(port).send(get())
    spin(manager, lambda: events.count("READ"))
    settle(manager)
    assert not {"HTTP_HDRS", "HTTP_MSG"} & set(events.names())


def test_poll_returns_none(make_manager):
    manager = make_manager()
    assert manager.poll() is None
    assert manager.poll(1) is None


# ==== UDP ====

def test_udp_listener_gets_every_datagram_itself(make_manager):
    seen = []
    events = Recorder(lambda conn, ev, data: seen.append(conn.recv_data()) if ev == MG_EV_READ else None)
    manager = make_manager(events)
    listener = manager.listen(f"udp://{HOST}:0")
    kind = socket.AF_INET, socket.SOCK_DGRAM
    with socket.socket(*kind) as one, socket.socket(*kind) as two:
        for number, sender in enumerate((one, two, one)):
            sender.sendto(b"datagram %d" % number, listener.local_addr[:2])
        spin(manager, lambda: events.count("READ") == 3)
    assert events.names() == ["OPEN", "READ", "READ", "READ"]
    assert set(events.who("READ")) == {listener}
    assert [each[-10:] for each in seen] == [b"datagram 0", b"datagram 1", b"datagram 2"]
    assert manager.connections == (listener,)


def test_udp_connect_happens_inside_the_call(make_manager):
    events = Recorder()
    manager = make_manager(events)
    client = manager.connect(f"udp://{HOST}:{free_port(socket.SOCK_DGRAM)}")
    assert events.entries == [(client, "OPEN", None), (client, "RESOLVE", None), (client, "CONNECT", None)]


def test_udp_write_is_told_inside_send(make_manager):
    events = Recorder()
    manager = make_manager()
    listener = manager.listen(f"udp://{HOST}:0")
    client = manager.connect(f"udp://{HOST}:{listener.local_addr[1]}", events)
    client.send(b"one")
    assert events.names() == ["OPEN", "RESOLVE", "CONNECT", "WRITE"]
    assert client.send_len == 0


# ==== who gets the events of listen() and connect() themselves ====

@pytest.mark.parametrize("scheme", ["tcp", "udp", "http"])
def test_events_inside_listen_and_connect_go_to_the_given_handler(make_manager, scheme):
    default, own, client = Recorder(), Recorder(), Recorder()
    manager = make_manager(default)
    listener = manager.listen(f"{scheme}://{HOST}:0", own)
    manager.connect(f"{scheme}://{HOST}:{listener.local_addr[1]}", client)
    assert own.names() == ["OPEN"]
    assert client.names()[:2] == ["OPEN", "RESOLVE"]
    assert default.names() == []


def test_a_handler_may_use_the_connection_inside_its_open(make_manager):
    def handler(conn, ev, data):
        if ev == MG_EV_OPEN:
            conn.userdata = "set at OPEN"

    listener = make_manager(handler).listen(f"tcp://{HOST}:0")
    assert listener.userdata == "set at OPEN"


# ==== HTTP server ====

def test_http_keep_alive(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    for n in (1, 2, 3):
        client.send(get(f"/{n}"))
        spin(manager, lambda: client.responses(n))
        settle(manager, 2)
    assert events.names(events.accepted()) == ["OPEN", "ACCEPT"] + 3 * HTTP_REQUEST
    assert [data["uri"] for data in events.data("HTTP_MSG")] == ["/1", "/2", "/3"]


def test_http_data_types(http, peer):
    types = []

    def handler(conn, ev, data):
        if ev != MG_EV_POLL:
            types.append((type(conn), type(ev), name_of(ev), type(data)))
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    assert {(conn, number) for conn, number, _, _ in types} == {(Connection, int)}
    assert {name: data for _, _, name, data in types} == {
        "OPEN": type(None), "ACCEPT": type(None), "HTTP_HDRS": HttpMessage, "HTTP_MSG": HttpMessage,
        "READ": type(None), "WRITE": type(None)}


def test_raw_bytes_are_in_the_buffer_during_http_events_and_gone_at_read(http, peer):
    seen = []

    def handler(conn, ev, data):
        if ev in (MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, MG_EV_READ):
            seen.append((name_of(ev), conn.recv_len, conn.recv_data()))
        hello(conn, ev, data)

    manager, port = http(handler)
    client = peer(port)
    request = post("/x", b"body")
    client.send(request)
    spin(manager, lambda: client.responses(1))
    assert seen == [("HTTP_HDRS", len(request), request), ("HTTP_MSG", len(request), request), ("READ", 0, b"")]


def test_http_body_arrives_late(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n")
    spin(manager, lambda: events.count("READ") == 1)
    client.send(b"abc")
    spin(manager, lambda: events.count("READ") == 2)
    client.send(b"def")
    spin(manager, lambda: client.responses(1))
    names = events.names(events.accepted())
    assert names[:4] == ["OPEN", "ACCEPT", "HTTP_HDRS", "READ"]
    assert names[-3:] == ["HTTP_MSG", "READ", "WRITE"]
    assert names.count("HTTP_HDRS") == 1, "repeating it is a weakness of the original"
    assert events.data("HTTP_MSG")[0]["body"] == b"abcdef"


def test_http_pipelining_in_one_read(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send(get("/1") + get("/2"))
    spin(manager, lambda: client.responses(2))
    names = events.names(events.accepted())
    assert names[:7] == ["OPEN", "ACCEPT", "HTTP_HDRS", "HTTP_MSG", "HTTP_HDRS", "HTTP_MSG", "READ"]


def test_http_connection_close(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send(get(Connection="close"))
    spin(manager, client.closed)
    settle(manager, 2)
    assert events.names(events.accepted()) == ["OPEN", "ACCEPT"] + HTTP_REQUEST + ["CLOSE"]
    assert len(client.responses(1)) == 1


def test_http_malformed_is_read_and_close_without_http_events_and_error(http, peer):
    events = Recorder(hello)
    manager, port = http(events)
    client = peer(port)
    client.send(b"not http at all\r\n\r\n")
    spin(manager, client.closed)
    client.close()  # the server lingers for the rest of a refused request
    spin(manager, lambda: events.count("CLOSE"))
    names = [name for name in events.names(events.accepted()) if name != "WRITE"]
    assert names == ["OPEN", "ACCEPT", "READ", "CLOSE"]


# ==== HTTP client ====

def http_client(manager, port, events, request=get()):
    client = manager.connect(f"http://{HOST}:{port}", events)
    client.send(request)
    return client


def test_http_client(http):
    events = Recorder()
    manager, port = http(hello)
    client = http_client(manager, port, events)
    spin(manager, lambda: events.count("READ"))
    settle(manager)
    assert events.names() == ["OPEN", "RESOLVE", "CONNECT", "WRITE", "HTTP_HDRS", "HTTP_MSG", "READ"]
    assert not client.is_closing


def test_http_client_sees_a_response_as_message(http):
    events = Recorder()
    manager, port = http(lambda conn, ev, data: conn.reply(404, "nothing") if ev == MG_EV_HTTP_MSG else None)
    http_client(manager, port, events)
    spin(manager, lambda: events.count("HTTP_MSG"))
    [message] = events.data("HTTP_MSG")
    assert (message["method"], message["uri"], message["proto"]) == ("HTTP/1.1", "404", "Not Found")
    assert message["status"] == 404
    assert message["body"] == b"nothing"


def responder(make_manager, reply, close=False):
    """A raw TCP server that answers anything with fixed bytes, and the recorder of an HTTP client's events."""
    def handler(conn, ev, data):
        if ev == MG_EV_READ and conn.recv():
            conn.send(reply)
            if close:
                conn.drain()

    events = Recorder()
    manager = make_manager()
    port = manager.listen(f"tcp://{HOST}:0", handler).local_addr[1]
    return manager, http_client(manager, port, events), events


def test_http_client_response_until_eof(make_manager):
    manager, _, events = responder(make_manager, b"HTTP/1.1 200 OK\r\n\r\nall of it until the end", close=True)
    spin(manager, lambda: events.count("CLOSE"))
    assert events.data("HTTP_MSG")[0]["body"] == b"all of it until the end"
    names = events.names()
    assert names.index("HTTP_HDRS") < names.index("READ") < names.index("HTTP_MSG") < names.index("CLOSE")


def test_http_client_end_inside_a_declared_body_is_not_taken_for_a_message(make_manager):
    manager, _, events = responder(make_manager, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", close=True)
    spin(manager, lambda: events.count("CLOSE"))
    names = events.names()
    assert names[-1] == "CLOSE"
    assert "HTTP_MSG" not in names or events.count("ERROR"), "the truncation has to show"


def test_http_client_chunked_response(make_manager):
    manager, _, events = responder(
        make_manager, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    spin(manager, lambda: events.count("HTTP_MSG"))
    assert events.data("HTTP_MSG")[0]["body"] == b"abcde"


@pytest.mark.parametrize("head", [b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 304 Not Modified\r\n\r\n",
                                  b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"])
def test_http_client_responses_without_a_body(make_manager, head):
    manager, _, events = responder(make_manager, head)
    spin(manager, lambda: events.count("HTTP_MSG"))
    assert events.data("HTTP_MSG")[0]["body"] == b""


def test_http_client_head_response_has_no_body(http):
    events = Recorder()
    manager, port = http(hello)
    client = http_client(manager, port, events, b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    spin(manager, lambda: events.count("HTTP_MSG"))
    assert events.data("HTTP_MSG")[0]["body"] == b""
    client.send(get())
    spin(manager, lambda: events.count("HTTP_MSG") == 2)
    assert events.data("HTTP_MSG")[1]["body"] == b"OK"


def test_http_client_100_continue_does_not_swallow_the_response(make_manager):
    manager, _, events = responder(
        make_manager, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal")
    spin(manager, lambda: any(data["body"] == b"real" for data in events.data("HTTP_MSG")))


def test_http_client_pipelined_responses(http):
    events = Recorder()
    manager, port = http(lambda conn, ev, data: conn.reply(200, data.uri) if ev == MG_EV_HTTP_MSG else None)
    http_client(manager, port, events, get("/1") + get("/2") + get("/3"))
    spin(manager, lambda: events.count("HTTP_MSG") == 3)
    assert [data["body"] for data in events.data("HTTP_MSG")] == [b"/1", b"/2", b"/3"]


@pytest.mark.parametrize("garbage", [b"garbage\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"\x00\x01\x02\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
                                     b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"])
def test_http_client_malformed_response_ends_the_connection(make_manager, garbage):
    manager, _, events = responder(make_manager, garbage)
    spin(manager, lambda: events.count("CLOSE"))
    assert "HTTP_MSG" not in events.names()


# ==== wakeup, error, close, drain ====

def test_wakeup_event_carries_bytes(make_manager):
    events = Recorder()
    manager = make_manager(events, enable_wakeup=True)
    listener = manager.listen(f"tcp://{HOST}:0")
    manager.wakeup(listener.id, b"payload")
    spin(manager, lambda: events.count("WAKEUP"))
    assert events.entries[-1] == (listener, "WAKEUP", b"payload")
    assert type(events.entries[-1][2]) is bytes


def test_error_call_is_told_with_its_text_then_close(raw, peer):
    """[tests rely] the text is contained in the data, CLOSE follows by the next poll."""
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    text = "it went wrong: " + "x" * 200 + "é"
    conn.error(text)
    manager.poll(0)
    manager.poll(0)
    assert events.names(conn) == ["OPEN", "ACCEPT", "ERROR", "CLOSE"]
    assert text in events.data("ERROR")[0]
    spin(manager, client.closed)


def test_drain_writes_then_closes(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    conn.send(b"the last")
    conn.drain()
    assert conn.is_draining is True
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(conn) == ["OPEN", "ACCEPT", "WRITE", "CLOSE"]
    spin(manager, client.closed)
    assert client.received == b"the last"


def test_manager_close_delivers_close_to_everything_newest_first(http, peer):
    events = Recorder()
    manager, port = http(events)
    peer(port)
    spin(manager, events.accepted)
    peer(port)
    spin(manager, lambda: events.count("ACCEPT") == 2)
    before = manager.connections
    assert len(before) == 3
    manager.close()
    assert events.who("CLOSE") == list(reversed(before))
    assert [events.names(conn)[-1] for conn in before] == ["CLOSE"] * 3


def test_events_wanted_narrow_what_is_delivered(http, peer):
    events = Recorder(hello)
    manager, port = http(events, manager_options={"events": [MG_EV_HTTP_MSG, MG_EV_CLOSE]})
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    client.close()
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names() == ["HTTP_MSG", "CLOSE"]


@pytest.mark.parametrize("events", [(), [MG_EV_ACCEPT], {MG_EV_CONNECT, MG_EV_RESOLVE}, iter([MG_EV_WAKEUP])])
def test_events_may_be_any_iterable(events):
    with Manager(events=events) as manager:
        manager.poll(0)


def test_without_interest_connections_still_work_and_are_cleaned_up(http, peer):
    """ERROR and CLOSE are handled inside, whether or not they are delivered."""
    events = Recorder(hello)
    manager, port = http(events, manager_options={"events": [MG_EV_HTTP_MSG]})
    client = peer(port)
    client.send(get())
    spin(manager, lambda: client.responses(1))
    conn = events.who("HTTP_MSG")[0]
    manager.connect(f"tcp://{HOST}:{free_port()}")
    client.close()
    spin(manager, lambda: len(manager.connections) == 1)
    assert conn.is_closing is True
    assert repr(conn) == "<Connection closed>"
    assert events.names() == ["HTTP_MSG"]
