# SPDX-License-Identifier: MIT
"""Connection (api.md section 7): identity, properties alive and closed, buffers, send, recv, drain, close, error."""
import gc
import hashlib
import socket

import pytest

from cymongoose import MG_EV_ACCEPT, MG_EV_CLOSE, MG_EV_CONNECT, MG_EV_HTTP_MSG, MG_EV_READ, Connection
from support import HOST, Recorder, free_port, get, hello, post, settle, spin

BOOLS = ["is_listening", "is_client", "is_udp", "is_websocket", "is_tls", "is_readable", "is_writable", "is_full",
         "is_draining", "is_closing", "is_paused"]
NUMBERS = ["recv_len", "send_len", "recv_size", "send_size"]
ACTING = [("send", ("x",)), ("reply", (200, "x")), ("reply_json", ({},)), ("http_chunk", ("x",)),
          ("http_sse", ("t", "d")), ("http_basic_auth", ("u", "p")), ("error", ("x",)), ("pause", ()), ("resume", ())]


@pytest.fixture
def pair(raw, peer):
    """pair() -> (manager, server-side connection, peer) of raw TCP."""
    def make(handler=None, **options):
        events = Recorder(handler)
        manager, port = raw(events, **options)
        client = peer(port)
        conn = spin(manager, events.accepted)
        conn.userdata = events
        return manager, conn, client
    return make


# ==== identity ====

def test_one_object_for_the_whole_life(http, peer):
    """[tests rely] in handlers, from listen/connect, in connections; usable in sets across events and after CLOSE."""
    seen = {}
    events = Recorder(hello)
    manager, port = http(events)
    listener = manager.connections[0]
    client = manager.connect(f"http://{HOST}:{port}")
    client.send(get())
    spin(manager, lambda: events.count("READ") >= 2)
    for conn, name, _ in events.entries:
        seen.setdefault(conn, []).append(name)
    assert set(seen) == {listener, client, events.accepted()}
    assert set(manager.connections) == set(seen)
    client.close()
    spin(manager, lambda: events.count("CLOSE") == 2)
    assert {conn for conn in events.who("CLOSE")} == {client, events.accepted()}
    assert seen[client][0] == "OPEN"
    assert hash(client) == hash(events.who("CLOSE")[0]) or hash(client) == hash(events.who("CLOSE")[1])


def test_nobody_has_to_keep_it(raw, peer):
    """userdata proves that it is the same object although the program holds no reference."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_ACCEPT:
            conn.userdata = ["set at ACCEPT"]
        elif ev in (MG_EV_READ, MG_EV_CLOSE):
            seen.append(conn.userdata)

    manager, port = raw(handler)
    client = peer(port)
    spin(manager, lambda: len(manager.connections) == 2)
    gc.collect()
    client.send(b"x")
    spin(manager, lambda: seen)
    gc.collect()
    client.close()
    spin(manager, lambda: len(seen) == 2)
    assert seen == [["set at ACCEPT"]] * 2


def test_repr(pair):
    manager, conn, _ = pair()
    assert repr(conn) == (f"<Connection id={conn.id} readable={conn.is_readable} writable={conn.is_writable}>")
    conn.close()
    assert repr(conn) == "<Connection closed>"


def test_ids_start_at_1_or_a_little_above_and_only_grow(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    listener = manager.connections[0]
    assert 0 < listener.id < 10
    numbers = [listener.id]
    for n in range(1, 6):
        client = peer(port)
        spin(manager, lambda: events.count("ACCEPT") == n)
        numbers.append(events.who("ACCEPT")[-1].id)
        client.close()
        spin(manager, lambda: events.count("CLOSE") == n)
    assert numbers == sorted(set(numbers))


# ==== properties ====

def test_properties_of_a_listener(make_manager):
    """[tests rely]"""
    listener = make_manager().listen(f"tcp://{HOST}:0")
    assert listener.is_listening is True
    assert listener.is_client is False
    assert listener.is_closing is False
    host, port, is_ipv6 = listener.local_addr
    assert (host, is_ipv6) == (HOST, False) and 0 < port < 65536
    assert listener.remote_addr == ("0.0.0.0", 0, False)
    assert listener.recv_len == listener.send_len == 0
    assert 0 <= listener.recv_size <= 1 << 20
    assert 0 <= listener.send_size <= 1 << 20


def test_properties_of_accepted_and_outgoing(raw):
    """[tests rely]"""
    events = Recorder()
    manager, port = raw(events)
    client = manager.connect(f"tcp://{HOST}:{port}")
    assert (client.is_client, client.is_listening, client.is_udp) == (True, False, False)
    spin(manager, lambda: events.count("CONNECT") and events.count("ACCEPT"))
    accepted = events.accepted()
    assert (accepted.is_client, accepted.is_listening, accepted.is_udp) == (False, False, False)
    assert client.local_addr == accepted.remote_addr
    assert client.remote_addr == accepted.local_addr == (HOST, port, False)


@pytest.mark.parametrize("name", BOOLS)
def test_flags_are_real_bools(pair, name):
    """[tests rely]"""
    manager, conn, _ = pair()
    assert type(getattr(conn, name)) is bool
    assert type(getattr(manager.connections[0], name)) is bool
    conn.close()
    assert getattr(conn, name) is (name == "is_closing")


def test_numbers_are_ints(pair):
    _, conn, _ = pair()
    for name in NUMBERS:
        assert type(getattr(conn, name)) is int
        assert getattr(conn, name) >= 0


def test_addresses_have_the_documented_form(pair):
    """[tests rely] (ip: str, port: int, is_ipv6: bool)"""
    _, conn, client = pair()
    for address in (conn.local_addr, conn.remote_addr):
        assert type(address) is tuple
        assert [type(part) for part in address] == [str, int, bool]
    assert conn.remote_addr == (*client.address, False)
    assert conn.local_addr[0] == HOST, "the real local address"


def test_accepted_on_the_wildcard_tells_the_real_address(make_manager, peer):
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen("tcp://0.0.0.0:0")
    assert listener.local_addr[0] == "0.0.0.0"
    peer(listener.local_addr[1])
    assert spin(manager, events.accepted).local_addr[0] == HOST


def test_properties_after_close(pair):
    """[tests rely]"""
    manager, conn, client = pair()
    number = conn.id
    client.send(b"unread")
    spin(manager, lambda: conn.recv_len)
    conn.send(b"unsent")
    conn.close()
    for name in NUMBERS:
        assert getattr(conn, name) == 0
    assert conn.local_addr is None
    assert conn.remote_addr is None
    assert conn.recv_data() == conn.send_data() == conn.recv() == b""
    assert conn.is_closing is True
    assert conn.id == number, "friendlier than the original's 0"
    settle(manager)
    assert conn.id == number


def test_everything_after_the_manager_closed(http, peer):
    """[tests rely] sends raise, properties give defaults; also for listeners and clients."""
    manager, port = http(hello)
    peer(port)
    client = manager.connect(f"http://{HOST}:{port}")
    spin(manager, lambda: len(manager.connections) == 4)
    every = manager.connections
    manager.close()
    for conn in every:
        for name in BOOLS:
            assert getattr(conn, name) is (name == "is_closing")
        assert conn.local_addr is None and conn.recv_len == 0 and conn.send_len == 0
        for method, arguments in ACTING:
            with pytest.raises(RuntimeError, match="closed"):
                getattr(conn, method)(*arguments)
        conn.close()
        conn.drain()
        conn.set_handler(None)
        assert repr(conn) == "<Connection closed>"
    assert client in every


@pytest.mark.parametrize("method, arguments", ACTING)
def test_acting_on_a_closed_connection_raises(pair, method, arguments):
    """[tests rely: text "closed"] at once after close(), and still after CLOSE."""
    manager, conn, _ = pair()
    conn.close()
    with pytest.raises(RuntimeError, match="closed"):
        getattr(conn, method)(*arguments)
    settle(manager)
    with pytest.raises(RuntimeError, match="closed"):
        getattr(conn, method)(*arguments)


def test_userdata(pair):
    """[tests rely] any object, the same across events, kept and settable after close."""
    manager, conn, _ = pair()
    fresh = Connection()
    assert fresh.userdata is None
    thing = object()
    conn.userdata = thing
    settle(manager, 2)
    assert conn.userdata is thing
    conn.close()
    settle(manager, 2)
    assert conn.userdata is thing
    conn.userdata = None
    assert conn.userdata is None


def test_userdata_cannot_be_deleted_into_nothing(pair):
    _, conn, _ = pair()
    conn.userdata = 5
    try:
        del conn.userdata
    except (AttributeError, TypeError):
        assert conn.userdata == 5
    else:
        assert conn.userdata is None


def test_readable_and_writable_tell_of_the_last_wait(raw):
    events = Recorder()
    manager, port = raw(events)
    client = manager.connect(f"tcp://{HOST}:{port}")
    states = []
    client.set_handler(lambda conn, ev, data: states.append((ev, conn.is_readable, conn.is_writable)))
    spin(manager, lambda: any(ev == MG_EV_CONNECT for ev, _, _ in states))
    assert next(writable for ev, _, writable in states if ev == MG_EV_CONNECT) is True
    events.accepted() or spin(manager, events.accepted)
    events.accepted().send(b"x")
    spin(manager, lambda: any(ev == MG_EV_READ for ev, _, _ in states))
    assert next(readable for ev, readable, _ in states if ev == MG_EV_READ) is True


# ==== sending ====

def test_output_waits_in_the_buffer_until_poll(pair):
    """[tests rely] send_len and send_data() show it right after the call."""
    manager, conn, client = pair()
    conn.send(b"12345")
    conn.send("678")
    assert conn.send_len == 8
    assert conn.send_data() == b"12345678"
    assert conn.send_data(3) == b"123"
    assert conn.send_data(0) == b""
    assert conn.send_data(100) == b"12345678"
    assert type(conn.send_data()) is bytes
    assert conn.send_size >= 8
    spin(manager, lambda: client.has(8))
    assert conn.send_len == 0
    assert conn.send_data() == b""
    assert client.received == b"12345678"


def test_http_basic_auth_on_a_client(raw):
    """[tests rely] outside of poll, on a connected client: send_len > 0 and the bytes in send_data()."""
    events = Recorder()
    manager, port = raw(events)
    client = manager.connect(f"tcp://{HOST}:{port}")
    spin(manager, lambda: events.count("CONNECT"))
    client.http_basic_auth("user", "pass")
    assert client.send_len > 0
    assert client.send_data() == b"Authorization: Basic dXNlcjpwYXNz\r\n"


def test_sending_before_connect(raw):
    events = Recorder()
    manager, port = raw(events)
    client = manager.connect(f"tcp://{HOST}:{port}")
    client.send(b"early ")
    client.send(b"bird")
    assert client.send_data() == b"early bird"
    spin(manager, lambda: events.count("READ"))
    assert events.accepted().recv_data() == b"early bird"


def test_an_empty_send_is_nothing(pair):
    manager, conn, client = pair()
    conn.send(b"")
    conn.send("")
    assert conn.send_len == 0
    settle(manager)
    assert "WRITE" not in conn.userdata.names(conn)
    assert client.received == b""


def test_large_and_small_pieces_arrive_in_order(pair):
    """From a few bytes to several MB: copied and shared memory, partial writes, kept in order."""
    manager, conn, client = pair()
    pieces = [bytes([65 + n % 26]) * size
              for n, size in enumerate([1, 4095, 4096, 5, 65_536, 3, 1_000_003, 2, 3_000_000, 100, 17])]
    for piece in pieces:
        conn.send(piece)
    whole = b"".join(pieces)
    assert conn.send_len == len(whole)
    assert conn.send_data(5000) == whole[:5000]
    spin(manager, lambda: client.has(len(whole)))
    assert hashlib.sha256(client.received).digest() == hashlib.sha256(whole).digest()


def test_send_on_a_listener_is_harmless(make_manager):
    """[tests rely] nothing is sent, the listener stays open."""
    manager = make_manager()
    listener = manager.listen(f"tcp://{HOST}:0")
    listener.send(b"x")
    listener.reply(200, "x")
    listener.reply_json({"a": 1})
    listener.http_chunk("x")
    settle(manager)
    assert listener.is_listening is True
    assert manager.connections == (listener,)


def test_a_peer_that_never_reads_meets_the_maximum(pair):
    """The send queue has a named maximum; then ERROR, CLOSE, and memory is given back."""
    manager, conn, client = pair(send_bytes_max=1_000_000)
    events = conn.userdata
    with pytest.raises(RuntimeError):
        for _ in range(1000):
            conn.send(b"x" * 100_000)
            manager.poll(0)
    spin(manager, lambda: events.count("CLOSE"))
    assert events.names(conn)[-2:] == ["ERROR", "CLOSE"]
    assert conn.send_len == 0


def test_a_single_reply_larger_than_the_send_maximum_is_accepted(http, peer):
    manager, port = http(lambda conn, ev, data: conn.reply(200, b"y" * 500_000) if ev == MG_EV_HTTP_MSG else None,
                         send_bytes_max=100_000)
    client = peer(port)
    client.send(get())
    [response] = spin(manager, lambda: client.responses(1))
    assert response.body == b"y" * 500_000


@pytest.mark.parametrize("sent", [b"", b"x"])
def test_idle_time_out(pair, sent):
    manager, conn, client = pair(idle_timeout_ms=60)
    client.send(sent)
    spin(manager, client.closed, wait_ms=20)
    assert conn.userdata.names(conn)[-2:] == ["ERROR", "CLOSE"]
    assert conn.userdata.names(conn).count("READ") == len(sent)


def test_is_full_tells_of_the_high_water_mark(pair):
    manager, conn, client = pair(send_high_water=200_000, send_low_water=50_000)
    assert conn.is_full is False
    conn.send(b"x" * 20_000_000)
    assert conn.is_full is True
    spin(manager, lambda: client.has(20_000_000))
    manager.poll(0)
    assert conn.is_full is False


# ==== receiving ====

def test_recv_data_does_not_consume(pair):
    """[tests rely]"""
    manager, conn, client = pair()
    client.send(b"0123456789")
    spin(manager, lambda: conn.recv_len == 10)
    assert conn.recv_data() == conn.recv_data(-1) == conn.recv_data(-5) == b"0123456789"
    assert conn.recv_data(4) == b"0123"
    assert conn.recv_data(0) == b""
    assert conn.recv_data(1000) == b"0123456789"
    assert conn.recv_len == 10
    assert conn.recv_size >= 10
    client.send(b"ab")
    spin(manager, lambda: conn.recv_len == 12)
    assert conn.recv_data() == b"0123456789ab"


def test_recv_consumes(pair):
    manager, conn, client = pair()
    client.send(b"0123456789")
    spin(manager, lambda: conn.recv_len == 10)
    assert conn.recv(3) == b"012"
    assert conn.recv_len == 7
    assert conn.recv_data() == b"3456789"
    assert conn.recv(0) == b""
    assert conn.recv(100) == b"3456789"
    assert conn.recv() == b""
    assert conn.recv_len == 0
    client.send(b"next")
    spin(manager, lambda: conn.recv_len)
    assert conn.recv(-1) == b"next"


def test_inside_http_msg_recv_data_10_is_a_prefix(http, peer):
    """[tests rely] recv_data(10) has at most 10 bytes and is no longer than recv_data()."""
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            seen.append((conn.recv_data(10), conn.recv_data(), conn.recv_len))
            conn.reply(200)
            seen.append((conn.send_len, conn.send_data()))

    manager, port = http(handler)
    client = peer(port)
    client.send(post("/", b"body"))
    spin(manager, lambda: client.responses(1))
    (short, whole, length), (send_len, send_data) = seen
    assert len(short) == 10 and whole.startswith(short) and len(whole) == length
    assert send_len == len(send_data) > 0
    assert send_data.startswith(b"HTTP/1.1 200 OK\r\n")


def test_unconsumed_input_meets_the_maximum(pair):
    """Peeking only: the limit ends in ERROR and CLOSE."""
    manager, conn, client = pair(recv_bytes_max=100_000)
    events = conn.userdata
    client.send(b"x" * 500_000)
    spin(manager, lambda: client.pump(reading=False) and events.count("CLOSE"))
    assert events.names(conn)[-2:] == ["ERROR", "CLOSE"]
    assert "READ" in events.names(conn)


def test_a_program_that_consumes_is_paused_and_resumed_instead(pair):
    """After the first recv() a full buffer holds the peer back; nothing is lost."""
    got = hashlib.sha256()
    taken = [0]

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            piece = conn.recv(30_000)
            got.update(piece)
            taken[0] += len(piece)

    manager, conn, client = pair(handler, recv_bytes_max=50_000)
    whole = bytes(range(256)) * 8000
    client.send(whole)

    def step():
        client.pump(reading=False)
        piece = conn.recv(10_000)
        got.update(piece)
        taken[0] += len(piece)
        assert conn.recv_len <= 50_000 + 131_072
        return taken[0] == len(whole)

    spin(manager, step, wait_ms=0)
    assert got.digest() == hashlib.sha256(whole).digest()
    assert not conn.is_closing


def test_pause_and_resume(pair):
    manager, conn, client = pair()
    events = conn.userdata
    assert conn.is_paused is False
    conn.pause()
    conn.pause()
    assert conn.is_paused is True
    client.send(b"held back")
    settle(manager)
    assert "READ" not in events.names(conn)
    assert conn.recv_len == 0
    conn.send(b"sending goes on")
    spin(manager, lambda: client.has(15))
    conn.resume()
    assert conn.is_paused is False
    spin(manager, lambda: conn.recv_len == 9)
    assert events.names(conn).count("READ") == 1


def test_a_paused_connection_holds_the_peer_back(pair):
    manager, conn, client = pair()
    conn.pause()
    client.send(b"x" * 50_000_000)
    for _ in range(20):
        client.pump(reading=False)
        manager.poll(1)
    assert not client.sent_all
    assert conn.recv_len == 0


def test_a_paused_connection_can_still_be_closed(pair):
    manager, conn, client = pair()
    conn.pause()
    conn.close()
    spin(manager, client.closed)
    assert conn.userdata.count("CLOSE") == 1


def test_pause_inside_read(raw, peer):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_READ:
            seen.append(conn.recv())
            conn.pause()
            manager.timer_add(0, conn.resume)

    manager, port = raw(handler)
    client = peer(port)
    for n in range(5):
        client.send(b"%d" % n)
        spin(manager, lambda: sum(map(len, seen)) == n + 1)
    assert b"".join(seen) == b"01234"


def test_pause_and_resume_on_a_listener_are_without_effect(make_manager, peer):
    events = Recorder()
    manager = make_manager(events)
    listener = manager.listen(f"tcp://{HOST}:0")
    listener.pause()
    peer(listener.local_addr[1])
    spin(manager, events.accepted)
    listener.resume()


# ==== the end ====

def test_close_is_at_once_and_idempotent(pair):
    manager, conn, client = pair()
    assert conn.close() is None
    assert conn.is_closing is True
    conn.close()
    manager.poll(0)
    manager.poll(0)
    assert conn.userdata.names(conn) == ["OPEN", "ACCEPT", "CLOSE"]
    assert conn not in manager.connections
    spin(manager, client.closed)


def test_close_drops_what_waits(pair):
    manager, conn, client = pair()
    conn.send(b"x" * 5_000_000)
    conn.close()
    assert conn.send_len == 0
    spin(manager, client.closed)
    assert len(client.received) < 5_000_000


def test_close_of_a_listener_frees_its_port(make_manager, peer):
    manager = make_manager()
    listener = manager.listen(f"tcp://{HOST}:0")
    port = listener.local_addr[1]
    client = peer(port)
    spin(manager, lambda: len(manager.connections) == 2)
    listener.close()
    manager.poll(0)
    with pytest.raises(OSError):
        peer(port)
    accepted = manager.connections[0]
    accepted.send(b"still here")
    spin(manager, lambda: client.has(10))
    manager.listen(f"tcp://{HOST}:{port}")


def test_close_of_a_connection_that_is_being_established(raw):
    events = Recorder()
    manager, port = raw(events)
    client = manager.connect(f"tcp://{HOST}:{port}", events)
    client.close()
    settle(manager)
    assert events.names(client)[-1] == "CLOSE"
    assert "CONNECT" not in events.names(client)


def test_drain_flushes_everything_first(pair):
    """[tests rely] is_draining is True immediately."""
    manager, conn, client = pair()
    conn.send(b"z" * 3_000_000)
    conn.drain()
    assert conn.is_draining is True
    spin(manager, client.closed)
    assert client.received == b"z" * 3_000_000
    assert not client.was_reset
    assert conn.is_closing is True
    conn.drain()


def test_drain_of_an_empty_connection_closes_in_the_next_poll(pair):
    manager, conn, client = pair()
    conn.drain()
    manager.poll(0)
    manager.poll(0)
    assert conn.userdata.count("CLOSE") == 1
    spin(manager, client.closed)


def test_drain_of_a_listener_closes_it(make_manager):
    manager = make_manager()
    listener = manager.listen(f"tcp://{HOST}:0")
    listener.drain()
    spin(manager, lambda: not manager.connections)


def test_drain_after_each_of_three_requests(http, peer):
    """[tests rely] response complete, then CLOSE; three sequential requests with drain each."""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "complete" * 1000)
            conn.drain()

    manager, port = http(handler)
    for _ in range(3):
        client = peer(port)
        client.send(get())
        spin(manager, client.closed)
        assert client.responses(1)[0].body == b"complete" * 1000
        assert not client.was_reset


def test_a_client_that_half_closes_still_gets_its_answer(http, peer):
    manager, port = http(hello)
    client = peer(port)
    client.send(get())
    client.socket.shutdown(socket.SHUT_WR)
    spin(manager, client.closed)
    assert client.responses(1)[0].body == b"OK"


@pytest.mark.parametrize("text", ["plain", "x" * 1000, "grüße", ""])
def test_error(pair, text):
    manager, conn, client = pair()
    conn.error(text)
    assert conn.is_closing is True
    spin(manager, client.closed)
    assert text in conn.userdata.data("ERROR")[0]
    assert conn.userdata.names(conn)[-2:] == ["ERROR", "CLOSE"]


def test_a_connection_to_a_dead_port_has_an_id_at_once(make_manager):
    """[tests rely] tests read id > 0 shortly after connect() to a refused port."""
    manager = make_manager()
    client = manager.connect(f"tcp://{HOST}:{free_port()}")
    assert client.id > 0
    spin(manager, lambda: client.is_closing)
    assert client.id > 0
