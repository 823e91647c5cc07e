# SPDX-License-Identifier: MIT
"""Credentials, cookies and the client behind proxies: what is read from requests, and what is sent."""
import base64
import http.cookies
import sys
import urllib.error
import urllib.request

import pytest

import cymongoose
from cymongoose import MG_EV_HTTP_MSG, Connection, HttpMessage, Origin
from support import DEADLINE, HOST, exchange, get, spin


def basic(text):
    return "Basic " + base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def ask(http, peer, read, *lines):
    """read(message) inside HTTP_MSG of a request with these header lines."""
    request = b"GET / HTTP/1.1\r\nHost: test\r\n" + b"".join(line.encode("latin-1") + b"\r\n" for line in lines) + b"\r\n"

    def action(conn, message):
        result = read(message)
        conn.reply(204)
        return result

    [response], [outcome] = exchange(http, peer, request, action)
    assert response.status == 204, outcome
    return outcome


# ==== credentials ====

@pytest.mark.parametrize("value, found", [
    (basic("user:pass"), ("user", "pass")), (basic("user:"), ("user", "")), (basic(":pass"), ("", "pass")),
    (basic("a:b:c"), ("a", "b:c")), (basic("ü:ß"), ("ü", "ß")), (basic(b"\xff:x"), ("\udcff", "x")),
    (basic("user:pass").replace("Basic", "bAsIc"), ("user", "pass")), (basic("u:" + "p" * 3000), ("u", "p" * 3000)),
    (basic("nocolon"), None), ("Basic !!!", None), ("Basic", None), ("Bearer abc", None), (basic("a\n:b"), None), ("", None),
])
def test_basic_auth(http, peer, value, found):
    assert ask(http, peer, lambda message: message.basic_auth(), f"Authorization: {value}") == found


def test_no_credentials_and_too_many(http, peer):
    def read(message):
        return message.basic_auth(), message.bearer_token(), message.is_user("a", "b"), message.is_bearer("a")

    line = f"Authorization: {basic('a:b')}"
    assert ask(http, peer, read) == (None, None, False, False)
    assert ask(http, peer, read, line) == (("a", "b"), None, True, False)
    assert ask(http, peer, read, "Authorization: Bearer a") == (None, "a", False, True)


@pytest.mark.parametrize("value, found", [
    ("Bearer abc.def-_~+/==", "abc.def-_~+/=="), ("bearer a", "a"), ("Bearer", None), ("Bearer a b", None),
    ("Bearer ü", None), (basic("a:b"), None), ("Bearerabc", None),
])
def test_bearer_token(http, peer, value, found):
    assert ask(http, peer, lambda message: message.bearer_token(), f"Authorization: {value}") == found


def test_is_user_and_is_bearer(http, peer):
    def read(message):
        return [message.is_user(*each) for each in [("user", "pass"), ("user", "pas"), ("use", "pass"), ("", ""),
                                                    ("user", "passs"), ("user:", "pass"), ("user", "")]]

    assert ask(http, peer, read, f"Authorization: {basic('user:pass')}") == [True] + 6 * [False]
    assert ask(http, peer, lambda message: [message.is_bearer(each) for each in ("token", "toke", "tokens", "", "Token")],
               "Authorization: Bearer token") == [True, False, False, False, False]
    assert ask(http, peer, lambda message: message.is_user(user="ü", password="ß"),
               f"Authorization: {basic('ü:ß')}") is True
    assert ask(http, peer, lambda message: message.is_bearer(token="t"), "Authorization: Bearer t") is True


def test_arguments_of_the_questions(http, peer):
    def read(message):
        for call in (lambda: message.is_user("a"), lambda: message.is_user(b"a", "b"), lambda: message.is_user("a", None),
                     lambda: message.is_bearer(), lambda: message.is_bearer(b"a"), lambda: message.basic_auth(1),
                     lambda: message.bearer_token(x=1), lambda: message.cookie(), lambda: message.cookie(b"a"),
                     lambda: message.cookies(1)):
            with pytest.raises(TypeError):
                call()
        return "asked"

    assert ask(http, peer, read) == "asked"


def test_a_dead_message_knows_nothing(http, peer):
    kept = []
    ask(http, peer, kept.append, f"Authorization: {basic('a:b')}", "Cookie: a=b")
    for message in (*kept, HttpMessage()):
        assert message.basic_auth() is None and message.bearer_token() is None
        assert message.is_user("a", "b") is False and message.is_bearer("a") is False
        assert message.cookie("a") is None and message.cookies() == {}


def test_http_challenge(http, peer):
    for arguments, value in [((), 'Basic realm=""'), (("Basic", "the realm"), 'Basic realm="the realm"'),
                             (("Bearer", 'a"b\\c'), 'Bearer realm="a\\"b\\\\c"')]:
        [response], [outcome] = exchange(http, peer, get(), lambda conn, message: conn.http_challenge(*arguments))
        assert outcome is None
        assert response.status == 401
        assert response.header("WWW-Authenticate").startswith(value)


@pytest.mark.parametrize("arguments, error", [
    (("Digest",), ValueError), (("Basic", "a\r\nb"), ValueError), (("Basic", "a\0"), ValueError), ((5,), TypeError),
    (("Basic", None), TypeError), (("Basic", "x", "y"), TypeError), (("",), ValueError),
])
def test_a_challenge_that_is_none(http, peer, arguments, error):
    [response], [outcome] = exchange(http, peer, get(), lambda conn, message: conn.http_challenge(*arguments))
    assert isinstance(outcome, error)
    assert response.status == 500


def test_a_challenge_needs_a_request(http, peer, make_manager):
    with pytest.raises(RuntimeError, match="closed"):
        Connection().http_challenge()
    assert make_manager().listen(f"http://{HOST}:0").http_challenge() is None

    def action(conn, message):
        conn.http_challenge(scheme="Basic", realm="x")
        with pytest.raises(RuntimeError, match="no request"):
            conn.http_challenge()

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.status) == (None, 401)


def test_urllib_answers_a_challenge(server):
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, "welcome") if data.is_user("user", "pass word") else conn.http_challenge("Basic", "here")

    url = f"http://{HOST}:{server(handler).port}/"
    for password, status in [("pass word", 200), ("wrong", 401)]:
        passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
        passwords.add_password("here", url, "user", password)
        opener = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(passwords))
        try:
            with opener.open(url, timeout=DEADLINE) as response:
                assert (response.status, response.read()) == (status, b"welcome")
        except urllib.error.HTTPError as exc:
            assert exc.code == status
            exc.close()


def test_http_basic_auth_refuses_what_cannot_be_said(make_manager):
    manager = make_manager()
    client = manager.connect(f"tcp://{HOST}:{manager.listen(f'tcp://{HOST}:0').local_addr[1]}")
    for username, password in [("a:b", "c"), ("a\n", "b"), ("a", "b\0")]:
        with pytest.raises(ValueError):
            client.http_basic_auth(username, password)
    assert client.send_len == 0
    client.http_basic_auth("u", "p:q")
    assert client.send_data() == f"Authorization: {basic('u:p:q')}\r\n".encode()


# ==== cookies ====

COOKIES = ['a=1; b="two"; c=; a=second; d=x=y', "e=from the second header", "=nameless; nothing; f = spaced ; \"g\"=q;;"]


def test_cookies(http, peer):
    lines = [f"Cookie: {value}" for value in COOKIES]
    found = ask(http, peer, lambda message: message.cookies(), *lines[:1])
    assert found == {"a": "1", "b": "two", "c": "", "d": "x=y"}
    assert ask(http, peer, lambda message: [message.cookie(name) for name in ("a", "b", "c", "d", "A", "e", "", "x")],
               *lines[:1]) == ["1", "two", "", "x=y", None, None, None, None]
    assert ask(http, peer, lambda message: message.cookies()) == {}


def test_cookie_and_cookies_agree(http, peer):
    for lines in ([COOKIES[0]], [COOKIES[2]], ['x="; y="a"b"; z=" "; w="""'], [";;=;a;=b; c=\t1\t;x=\xfe"], COOKIES[:2]):
        def read(message):
            found = message.cookies()
            assert {name: message.cookie(name) for name in found} == found
            return found

        assert ask(http, peer, read, *(f"Cookie: {line}" for line in lines))


def test_very_many_cookies(http, peer):
    value = ";".join(f"{n}=" for n in range(10_000))
    assert len(ask(http, peer, lambda message: message.cookies(), f"Cookie: {value}")) == 10_000


@pytest.mark.parametrize("options, attributes", [
    ({}, {"path": "/", "samesite": "Lax", "secure": True, "httponly": True}),
    ({"path": "/app", "domain": "example.org", "max_age": 60, "same_site": "Strict"},
     {"path": "/app", "domain": "example.org", "max-age": "60", "samesite": "Strict", "secure": True, "httponly": True}),
    ({"path": "", "secure": False, "http_only": False}, {"samesite": "Lax"}),
    ({"same_site": "None", "max_age": 0}, {"path": "/", "max-age": "0", "samesite": "None", "secure": True,
                                           "httponly": True}),
])
def test_http_cookie(options, attributes):
    text = cymongoose.http_cookie("name", "value", **options)
    parsed = http.cookies.SimpleCookie(text)
    assert list(parsed) == ["name"]
    assert parsed["name"].value == "value"
    assert {key: value for key, value in parsed["name"].items() if value} == attributes


@pytest.mark.parametrize("arguments, options, error", [
    (("a b", "x"), {}, ValueError), (("", "x"), {}, ValueError), (("a", "x y"), {}, ValueError),
    (("a", "x;y"), {}, ValueError), (("a", "x\r\n"), {}, ValueError), (("a", "ü"), {}, ValueError),
    (("a", "x" * 5000), {}, ValueError), (("a", "x"), {"path": "no-slash"}, ValueError),
    (("a", "x"), {"path": "/;x"}, ValueError), (("a", "x"), {"domain": "a b"}, ValueError),
    (("a", "x"), {"same_site": "none"}, ValueError), (("a", "x"), {"same_site": None}, TypeError),
    (("a", "x"), {"same_site": "None", "secure": False}, ValueError), (("__Host-a", "x"), {"domain": "a.b"}, ValueError),
    (("a", "x"), {"max_age": -1}, OverflowError), (("a", "x"), {"max_age": "1"}, TypeError), ((b"a", "x"), {}, TypeError),
    (("a", None), {}, TypeError), (("a",), {}, TypeError), (("a", "x", "/"), {}, TypeError), (("a", "x"), {"path": 5}, TypeError),
])
def test_a_cookie_that_is_none(arguments, options, error):
    with pytest.raises(error):
        cymongoose.http_cookie(*arguments, **options)


def test_a_cookie_there_and_back(http, peer):
    def action(conn, message):
        conn.reply(200, message.cookie("session") or "none",
                   {"Set-Cookie": cymongoose.http_cookie("session", "abc123", secure=False)})

    [first], _ = exchange(http, peer, get(), action)
    jar = http_cookie_header(first.header("Set-Cookie"))
    [second], _ = exchange(http, peer, get(Cookie=jar), action)
    assert (first.body, second.body) == (b"none", b"abc123")


def http_cookie_header(set_cookie):
    return "; ".join(f"{name}={each.value}" for name, each in http.cookies.SimpleCookie(set_cookie).items())


# ==== behind proxies ====

def origin_of(http, peer, request, **options):
    outcomes = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            outcomes.append((conn.origin(data), conn.remote_addr))
            conn.reply(204)

    manager, port = http(handler, **options)
    client = peer(port)
    client.send(request)
    spin(manager, lambda: client.responses(1))
    return outcomes[0]


def test_origin_without_a_proxy(http, peer):
    origin, remote = origin_of(http, peer, get(X_Forwarded_For="1.2.3.4", Forwarded="for=5.6.7.8"))
    assert type(origin) is Origin and isinstance(origin, tuple)
    assert origin == (remote[0], remote[1], "http", "test", False)
    assert (origin.client, origin.port, origin.scheme, origin.host, origin.is_forwarded) == origin
    assert origin.is_forwarded is False
    assert "client='127.0.0.1'" in repr(origin)


@pytest.mark.parametrize("headers, expected", [
    ({"Forwarded": 'for="192.0.2.60:4711";proto=https;host="example.org:8443"'},
     ("192.0.2.60", 4711, "https", "example.org:8443", True)),
    ({"Forwarded": 'for="[2001:db8::17]"'}, ("2001:db8::17", 0, "http", "test", True)),
    ({"X_Forwarded_For": "203.0.113.7, 10.1.2.3", "X_Forwarded_Proto": "https", "X_Forwarded_Host": "example.org"},
     ("203.0.113.7", 0, "https", "example.org", True)),
])
def test_origin_behind_a_trusted_proxy(http, peer, headers, expected):
    origin, _ = origin_of(http, peer, get(**headers), forwarded_from="127.0.0.0/8, 10.0.0.0/8")
    assert origin == expected
    other, _ = origin_of(http, peer, get(**headers), forwarded_from="192.168.0.0/16")
    assert (other.client, other.is_forwarded) == ("127.0.0.1", False)


def test_proxy_protocol(http, peer):
    header = b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\n"
    origin, remote = origin_of(http, peer, header + get(), proxy_protocol_from="127.0.0.1")
    assert remote == ("203.0.113.7", 4711, False)
    assert (origin.client, origin.port, origin.is_forwarded) == ("203.0.113.7", 4711, False)


@pytest.mark.parametrize("option", ["proxy_protocol_from", "forwarded_from"])
def test_lists_of_proxies(make_manager, option):
    manager = make_manager()
    for wrong in (b"127.0.0.1", 5, ["127.0.0.1"]):
        with pytest.raises(TypeError, match=option):
            manager.listen(f"http://{HOST}:0", **{option: wrong})
    with pytest.raises(ValueError, match=option):
        manager.listen(f"http://{HOST}:0", **{option: "127.0.0.1\0"})
    both = {"proxy_protocol_from": HOST, "forwarded_from": HOST}
    for wrong in ("nonsense", "127.0.0.1/99", "1.2.3.4.5"):
        for options in ({option: wrong}, {**both, option: wrong}):
            with pytest.raises(ValueError, match=f"^{option} must be a list"):
                manager.listen(f"http://{HOST}:0", **options)
    with pytest.raises(RuntimeError, match="Failed to listen"):
        manager.listen("http://example.invalid:0", **both)
    with pytest.raises(RuntimeError, match="Failed to listen"):
        manager.listen(f"http://{HOST}:0", header_count_max=0, **both)
    with pytest.raises(ValueError, match=option):
        manager.listen(f"udp://{HOST}:0", **{option: HOST})
    with pytest.raises(TypeError, match="unexpected keyword"):
        manager.connect(f"http://{HOST}:1", **{option: "127.0.0.1"})
    assert manager.connections == ()
    text = "".join(["127.0.0", ".1, ::1, unix"])
    before = sys.getrefcount(text)
    manager.listen(f"http://{HOST}:0", **{option: text})
    manager.listen(f"http://{HOST}:0", **{option: None})
    assert sys.getrefcount(text) == before


def test_lists_of_proxies_for_raw_listeners(make_manager):
    manager = make_manager()
    with pytest.raises(ValueError, match="^forwarded_from is for"):
        manager.listen(f"tcp://{HOST}:0", forwarded_from=HOST)
    with pytest.raises(ValueError, match="^proxy_protocol_from must be"):
        manager.listen(f"tcp://{HOST}:0", proxy_protocol_from="nonsense")
    assert manager.connections == ()
    manager.listen(f"tcp://{HOST}:0", proxy_protocol_from=HOST, forwarded_from=None)
    manager.listen(f"udp://{HOST}:0", proxy_protocol_from=None, forwarded_from=None)


def test_text_of_the_network_can_be_given_back(http, peer):
    found = []

    def action(conn, message):
        [name] = message.cookies()
        found.append((name, message.cookie(name), message.is_user(*message.basic_auth())))
        found.append(message.query_var("\udcfe"))
        with pytest.raises(UnicodeEncodeError):
            message.cookie("\ud800")
        assert message.header("\udcff") is None and not message.is_bearer("\udcff")
        conn.reply(204)

    request = (b"GET /?%FE=found HTTP/1.1\r\nHost: test\r\nCookie: \xff=1\r\nAuthorization: " +
               basic(b"\xff:b").encode() + b"\r\n\r\n")
    exchange(http, peer, request, action)
    assert found == [("\udcff", "1", True), "found"]


@pytest.mark.parametrize("arguments, options, text", [
    (("a b", "x"), {}, "^name:"), (("a", "x;y"), {}, "^value:"), (("a", "x"), {"path": "x"}, "^path:"),
    (("a", "x"), {"domain": "-"}, "^domain:"), (("a", "x"), {"same_site": "None", "secure": False}, "^same_site"),
    (("__Host-a", "x"), {"path": "/x"}, "prefix"), (("a", "x" * 5000), {}, "longer"),
])
def test_http_cookie_says_what_is_wrong(arguments, options, text):
    with pytest.raises(ValueError, match=text):
        cymongoose.http_cookie(*arguments, **options)


def test_arguments_of_origin(http, peer):
    kept = []

    def action(conn, message):
        for wrong in (None, 5, "x"):
            with pytest.raises(TypeError, match="HttpMessage"):
                conn.origin(wrong)
        with pytest.raises(RuntimeError, match="closed"):
            Connection().origin(message)
        with pytest.raises(TypeError):
            conn.origin()
        kept.append((conn, message))
        conn.reply(204)

    _, [outcome] = exchange(http, peer, get(), action)
    assert outcome is None
    for conn in (kept[0][0], Connection()):
        with pytest.raises(ValueError, match="^HttpMessage is not valid for this event$"):
            conn.origin(kept[0][1])
