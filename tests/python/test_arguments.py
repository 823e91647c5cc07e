# SPDX-License-Identifier: MIT
"""What each kind of parameter takes, and which exception the rest gives. Nothing refused may reach the wire."""
import pytest

from cymongoose import MG_EV_HTTP_MSG, Connection, Manager, Timer
from support import HOST, Recorder, get, ignore, read_responses, settle, spin

PAYLOADS = [
    pytest.param("héllo", "héllo".encode(), id="str"),
    pytest.param(b"\x00\xff", b"\x00\xff", id="bytes"),
    pytest.param(bytearray(b"array"), b"array", id="bytearray"),
    pytest.param(memoryview(b"view"), b"view", id="memoryview"),
    pytest.param(memoryview(b"0123456789")[::2], b"02468", id="strided memoryview"),
    pytest.param([104, 105], b"hi", id="list of ints"),
    pytest.param(range(3), b"\x00\x01\x02", id="iterable of ints"),
]


class HasBytes:
    def __bytes__(self):
        return b"from __bytes__"


NO_TEXT = [b"bytes", None, 5, ["x"], bytearray(b"x")]


def in_request(http, peer, action, expected_responses=1):
    """Run action(conn, message) inside HTTP_MSG; returns its outcome and the responses that the peer saw."""
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            try:
                outcome.append(action(conn, data))
            except Exception as exc:
                outcome.append(exc)
                conn.reply(500, "refused")

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    return spin(manager, lambda: client.responses(expected_responses)), outcome[0]


# ==== payloads ====

@pytest.mark.parametrize("payload, wire", PAYLOADS)
def test_send_takes_every_payload(raw, peer, payload, wire):
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    spin(manager, events.accepted).send(payload)
    spin(manager, lambda: client.has(len(wire)))
    assert client.received == wire


def test_send_takes_objects_with_bytes_method(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    spin(manager, events.accepted).send(HasBytes())
    spin(manager, lambda: client.has(14))
    assert client.received == b"from __bytes__"


@pytest.mark.parametrize("payload, wire", PAYLOADS)
def test_reply_body_takes_every_payload(http, peer, payload, wire):
    [response], _ = in_request(http, peer, lambda conn, message: conn.reply(200, payload))
    assert response.body == wire


@pytest.mark.parametrize("payload, wire", PAYLOADS)
def test_http_chunk_takes_every_payload(http, peer, payload, wire):
    def stream(conn, message):
        conn.reply(200, "", {"Transfer-Encoding": "chunked"})
        conn.http_chunk(payload)
        conn.http_chunk("")

    [response], _ = in_request(http, peer, stream)
    assert response.body == wire


@pytest.mark.parametrize("method", ["send", "http_chunk"])
@pytest.mark.parametrize("wrong", [None, 1.5, object(), ["x"]])
def test_a_payload_that_is_none_is_a_type_error(make_manager, method, wrong):
    conn = make_manager().listen(f"tcp://{HOST}:0")
    with pytest.raises(TypeError):
        getattr(conn, method)(wrong)


@pytest.mark.parametrize("wrong", [None, 1.5, object()])
def test_a_reply_body_that_is_no_payload_is_a_type_error_and_nothing_is_sent(http, peer, wrong):
    [response], outcome = in_request(http, peer, lambda conn, message: conn.reply(200, wrong))
    assert isinstance(outcome, TypeError)
    assert (response.status, response.body) == (500, b"refused")


@pytest.mark.parametrize("wrong", [[256], [-1]])
def test_ints_outside_of_a_byte_are_a_value_error(make_manager, wrong):
    conn = make_manager().listen(f"tcp://{HOST}:0")
    with pytest.raises(ValueError):
        conn.send(wrong)


def test_a_lone_surrogate_cannot_be_sent(http, peer):
    def attempt(conn, message):
        with pytest.raises(UnicodeEncodeError):
            conn.send("\udc80")
        conn.reply(200, "\ud800")

    [response], outcome = in_request(http, peer, attempt)
    assert isinstance(outcome, UnicodeEncodeError)
    assert response.status == 500


def test_a_payload_may_be_changed_after_the_call(raw, peer):
    events = Recorder()
    manager, port = raw(events)
    client = peer(port)
    conn = spin(manager, events.accepted)
    changing = bytearray(b"a" * 300_000)
    conn.send(changing)
    changing[:] = b"b" * 300_000
    changing.clear()  # a BufferError here would mean that the buffer is still exported
    spin(manager, lambda: client.has(300_000))
    assert client.received == b"a" * 300_000


# ==== text ====

@pytest.mark.parametrize("wrong", NO_TEXT)
def test_urls_are_str(make_manager, wrong):
    manager = make_manager()
    with pytest.raises(TypeError, match="url"):
        manager.listen(wrong)
    with pytest.raises(TypeError, match="url"):
        manager.connect(wrong)
    assert manager.connections == ()


@pytest.mark.parametrize("wrong", NO_TEXT)
def test_texts_of_a_connection_are_str(make_manager, wrong):
    conn = make_manager().listen(f"tcp://{HOST}:0")
    with pytest.raises(TypeError, match="message"):
        conn.error(wrong)
    with pytest.raises(TypeError, match="username"):
        conn.http_basic_auth(wrong, "p")
    with pytest.raises(TypeError, match="password"):
        conn.http_basic_auth("u", wrong)
    with pytest.raises(TypeError, match="event_type"):
        conn.http_sse(wrong, "d")
    with pytest.raises(TypeError, match="data"):
        conn.http_sse("t", wrong)
    assert not conn.is_closing


@pytest.mark.parametrize("wrong", NO_TEXT)
def test_names_asked_of_a_message_are_str(http, peer, wrong):
    def ask(conn, message):
        for call in (lambda: message.header(wrong), lambda: message.query_var(wrong),
                     lambda: message.header_var(wrong, "x"), lambda: message.header_var("x", wrong)):
            with pytest.raises(TypeError):
                call()
        conn.reply(200)

    [response], outcome = in_request(http, peer, ask)
    assert outcome is None and response.status == 200


def test_an_url_with_a_lone_surrogate_is_refused(make_manager):
    manager = make_manager()
    for call in (manager.listen, manager.connect):
        with pytest.raises((UnicodeEncodeError, RuntimeError)):
            call("tcp://127.0.0.1:0/\udc80")


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:0\0", "http://\0"])
def test_an_url_with_nul_fails(make_manager, url):
    with pytest.raises((ValueError, RuntimeError)):
        make_manager().listen(url)


# ==== integers ====

@pytest.mark.parametrize("wrong", ["5", None, b"5", [1]])
def test_integers_are_ints(make_manager, wrong):
    manager = make_manager(enable_wakeup=True)
    conn = manager.listen(f"tcp://{HOST}:0")
    for call in (lambda: manager.poll(wrong), lambda: manager.wakeup(wrong), lambda: manager.timer_add(wrong, ignore),
                 lambda: manager.run(wrong), lambda: conn.recv_data(wrong), lambda: conn.send_data(wrong),
                 lambda: conn.recv(wrong), lambda: conn.reply(wrong, "x")):
        with pytest.raises(TypeError):
            call()


@pytest.mark.parametrize("huge", [2**31, 2**63, 2**64, 2**200, -2**31 - 1, -2**200])
def test_integers_out_of_range_overflow(make_manager, huge):
    manager = make_manager()
    with pytest.raises(OverflowError):
        manager.poll(huge)
    conn = manager.listen(f"tcp://{HOST}:0")
    with pytest.raises((OverflowError, ValueError)):
        conn.reply(huge, "x")


@pytest.mark.parametrize("huge", [2**63, 2**200, -2**200])
def test_lengths_out_of_range_overflow(make_manager, huge):
    conn = make_manager().listen(f"tcp://{HOST}:0")
    for call in (conn.recv_data, conn.send_data, conn.recv):
        with pytest.raises(OverflowError):
            call(huge)


def test_bool_is_an_int(make_manager):
    manager = make_manager()
    manager.poll(False)
    assert manager.timer_add(True, ignore).active
    manager.poll(True)


# ==== the Manager's arguments ====

def test_manager_arguments_positional_and_keyword(make_manager):
    errors = []
    make_manager(ignore, True, errors.append)
    make_manager(handler=None, enable_wakeup=False, error_handler=None, events=None, backend=None)
    assert make_manager(ignore, True).wakeup_id > 0
    assert make_manager(ignore).wakeup_id == 0


@pytest.mark.parametrize("arguments, options", [
    ((), {"unknown": 1}), ((), {"Handler": None}), ((None, False, None, None), {}), ((None,), {"handler": None}),
])
def test_manager_refuses_other_arguments(arguments, options):
    with pytest.raises(TypeError):
        Manager(*arguments, **options)


@pytest.mark.parametrize("events", [5, "READ", ["READ"], [None], object()])
def test_manager_events_are_ints(events):
    with pytest.raises(TypeError):
        Manager(events=events)


@pytest.mark.parametrize("events", [[-1], [1000], [2**70]])
def test_manager_events_are_event_numbers(events):
    with pytest.raises((ValueError, OverflowError)):
        Manager(events=events)


def test_manager_backend_is_known():
    with pytest.raises(ValueError):
        Manager(backend="select")
    with pytest.raises(TypeError):
        Manager(backend=3)


def test_a_subclass_may_have_other_arguments():
    class App(Manager):
        def __init__(self, name):
            super().__init__(self.on_event)
            App.last_name = name

        def on_event(self, conn, ev, data):
            pass

    with App("the name") as app:
        app.listen(f"tcp://{HOST}:0")
        app.poll(0)
        assert App.last_name == "the name"


def test_a_manager_whose_init_did_not_run_raises():
    class Forgetful(Manager):
        def __init__(self):
            pass

    manager = Forgetful()
    for call in (manager.poll, lambda: manager.listen(f"tcp://{HOST}:0"), lambda: manager.connect("tcp://127.0.0.1:1"),
                 lambda: manager.timer_add(1, ignore), manager.fileno, manager.run):
        with pytest.raises(RuntimeError):
            call()
    manager.close()
    assert manager.connections == ()


def test_init_cannot_run_twice(make_manager):
    manager = make_manager()
    listener = manager.listen(f"tcp://{HOST}:0")
    with pytest.raises(RuntimeError):
        manager.__init__()
    assert manager.connections == (listener,)


# ==== arity and keywords of methods ====

def test_methods_name_their_parameters(make_manager):
    manager = make_manager(enable_wakeup=True)
    listener = manager.listen(url=f"tcp://{HOST}:0", handler=None, http=None)
    port = listener.local_addr[1]
    client = manager.connect(url=f"tcp://{HOST}:{port}", handler=None, http=False)
    manager.poll(timeout_ms=0)
    assert manager.wakeup(connection_id=listener.id, data=b"") is True
    manager.timer_add(milliseconds=1, callback=lambda: None, repeat=False, run_now=False).cancel()
    client.set_handler(handler=None)
    client.send(data=b"x")
    client.recv(n=1)
    client.recv_data(length=1)
    client.send_data(length=1)
    client.http_basic_auth(username="u", password="p")
    client.http_chunk(data=b"x")
    client.http_sse(event_type="t", data="d")
    client.reply(status_code=200, body=b"", headers=None)
    client.reply_json(data=[], status_code=200, headers=None)
    client.error(message="over")


def test_options_of_listen_and_timer_are_keywords_only(make_manager):
    manager = make_manager()
    with pytest.raises(TypeError):
        manager.listen(f"tcp://{HOST}:0", None, True)
    with pytest.raises(TypeError):
        manager.timer_add(1, ignore, True)
    with pytest.raises(TypeError):
        manager.timer_add(1)


@pytest.mark.parametrize("call", ["listen", "connect"])
def test_unknown_options_are_type_errors(make_manager, call):
    with pytest.raises(TypeError):
        getattr(make_manager(), call)(f"tcp://{HOST}:1", frobnicate=1)


def test_options_of_the_other_call_are_type_errors(make_manager):
    manager = make_manager()
    with pytest.raises(TypeError):
        manager.connect(f"tcp://{HOST}:1", reuse_port=True)
    with pytest.raises(TypeError):
        manager.listen(f"tcp://{HOST}:0", connect_timeout_ms=5)


OPTIONS = ["backlog", "idle_timeout_ms", "write_timeout_ms", "recv_bytes_max", "send_bytes_max", "send_high_water",
           "send_low_water", "head_bytes_max", "target_bytes_max", "header_count_max", "body_bytes_max",
           "head_timeout_ms", "body_timeout_ms", "keepalive_timeout_ms"]


@pytest.mark.parametrize("option", OPTIONS)
def test_option_values_are_checked(make_manager, option):
    manager = make_manager()
    for wrong in ("5", b"5", [5]):
        with pytest.raises(TypeError):
            manager.listen(f"http://{HOST}:0", **{option: wrong})
    for wrong in (-1, 2**80):
        with pytest.raises(OverflowError):
            manager.listen(f"http://{HOST}:0", **{option: wrong})
    assert manager.connections == ()
    manager.listen(f"http://{HOST}:0", **{option: None})


def test_wrong_handlers_are_noticed_when_called(make_manager, peer):
    """A handler that cannot be called is a TypeError per event, through the error handler."""
    errors = []
    manager = make_manager(error_handler=errors.append)
    port = manager.listen(f"tcp://{HOST}:0", handler=42).local_addr[1]
    peer(port)
    spin(manager, lambda: len(errors) > 2)
    assert all(isinstance(error, TypeError) for error in errors)


def test_a_handler_of_wrong_arity_is_a_type_error_per_event(make_manager, peer):
    errors = []
    manager = make_manager(lambda conn: None, error_handler=errors.append)
    peer(manager.listen(f"tcp://{HOST}:0").local_addr[1])
    spin(manager, lambda: len(errors) > 2)
    assert all(isinstance(error, TypeError) for error in errors)


# ==== names from outside ====

def test_undecodable_text_of_the_network_becomes_surrogates(http, peer):
    seen = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            seen.append((data.uri, data.header("X-Raw"), data.query, data.body_text))
            conn.reply(200, "ok")

    manager, port = http(handler)
    client = peer(port)
    client.send(b"POST /\xff\xc3\xa9?q=\xfe HTTP/1.1\r\nHost: x\r\nX-Raw: a\xffb\r\nContent-Length: 2\r\n\r\n\xfd!")
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 200
    assert seen == [("/\udcffé", "a\udcffb", "q=\udcfe", "\udcfd!")]
    assert seen[0][0].encode("utf-8", "surrogateescape") == b"/\xff\xc3\xa9"


def test_refused_calls_leave_the_connection_usable(http, peer):
    def attempt(conn, message):
        for call in (lambda: conn.reply(), lambda: conn.reply("200"), lambda: conn.reply(200, None),
                     lambda: conn.reply(200, "x", []), lambda: conn.reply_json(object()), lambda: conn.send()):
            with pytest.raises((TypeError, AttributeError)):
                call()
        conn.reply(200, "fine")

    [response], outcome = in_request(http, peer, attempt)
    assert outcome is None
    assert response.body == b"fine"


def test_type_checks_come_before_the_check_for_a_closed_connection():
    assert Timer().cancel() is None
    conn = Connection()
    with pytest.raises(TypeError):
        conn.send()
    with pytest.raises((TypeError, RuntimeError)):
        conn.send(None)


def test_the_reader_of_responses_itself():
    found, rest = read_responses(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 204 No Content\r\n\r\nrest")
    assert [(each.status, each.body) for each in found] == [(200, b"hi"), (204, b"")]
    assert rest == b"rest"


def test_settling_is_quiet(http):
    manager, _ = http(ignore)
    settle(manager)
