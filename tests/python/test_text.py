# SPDX-License-Identifier: MIT
"""The parts of URLs, percent-encoding and Base64, compared with urllib.parse and base64."""
import base64
import random
import urllib.parse

import pytest

import cymongoose
from cymongoose import base64_decode, base64_encode, url_encode, url_host, url_is_ssl, url_pass, url_port, url_uri, url_user

PARTS = (url_user, url_pass, url_host, url_port, url_uri, url_is_ssl)


# ==== URLs ====

@pytest.mark.parametrize("url, user, password, host, port, uri, is_ssl", [
    ("http://u:p@h:1/x", "u", "p", "h", 1, "/x", False), ("http://[::1]:80/x", "", "", "[::1]", 80, "/x", False),
    ("//h/p", "", "", "h", 0, "/p", False), ("h:80/x", "", "", "h", 80, "/x", False), ("http://h", "", "", "h", 80, "/", False),
    ("https://h/a?b#c", "", "", "h", 443, "/a?b#c", True), ("ws://h", "", "", "h", 80, "/", False),
    ("wss://h", "", "", "h", 443, "/", True), ("mqtt://h", "", "", "h", 1883, "/", False), ("mqtts://h", "", "", "h", 8883, "/", True),
    ("tls://h", "", "", "h", 0, "/", True), ("ssl://h", "", "", "h", 0, "/", True), ("tcps://h", "", "", "h", 0, "/", True),
    ("HTTPS://H", "", "", "H", 443, "/", True), ("http://user:p:q@h", "user", "p:q", "h", 80, "/", False),
    ("http://h?q", "", "", "h", 80, "/?q", False), ("http://h#f", "", "", "h", 80, "/#f", False),
    ("http://h:65536", "", "", "h", 0, "/", False), ("http://h:x", "", "", "h", 0, "/", False), ("", "", "", "", 0, "/", False),
    ("http://a@b@c/", "a@b", "", "c", 80, "/", False), ("http://é/ü?\udcff", "", "", "é", 80, "/ü?\udcff", False),
])
def test_parts(url, user, password, host, port, uri, is_ssl):
    assert tuple(part(url) for part in PARTS) == (user, password, host, port, uri, is_ssl)
    assert url_is_ssl(url=url) is is_ssl


def test_parts_take_str_alone():
    for part in PARTS:
        for wrong in (None, b"http://h", 5):
            with pytest.raises(TypeError, match="url"):
                part(wrong)


def test_random_urls_as_urllib_parse_has_them():
    rng = random.Random(9)
    for _ in range(5000):
        scheme = rng.choice(["http", "HTTP", "https", "ws", "tcp", "x+y-1.z"])
        user = rng.choice(["", "", "u@", "u:p@", "u:p:q@", ":@", "a@b:c@", "%40:%3A@"])
        host = rng.choice(["h", "example.org", "127.0.0.1", "[::1]", "[2001:db8::5]", "xn--a"])
        port = rng.choice(["", "", ":", ":1", ":65535", ":0080"])
        path = rng.choice(["", "/", "/a/b", "/a:b@c", "?q=1", "?a@b:5/c", "#f", "/p?q#f?g", "/[x]"])
        url = scheme + "://" + user + host + port + path
        wanted = urllib.parse.urlsplit(url)
        assert url_host(url).strip("[]") == wanted.hostname, url
        assert url_user(url) == (wanted.username or ""), url
        assert url_pass(url) == (wanted.password or ""), url
        default = {"http": 80, "ws": 80, "https": 443}.get(scheme.lower(), 0)
        assert url_port(url) == (default if wanted.port is None else wanted.port), url
        assert url_uri(url) == (path if path.startswith("/") else "/" + path), url


# ==== percent-encoding ====

def test_url_encode_as_quote_has_it():
    assert url_encode("") == "" and url_encode("a b/ü~") == "a%20b%2F%C3%BC~"
    rng = random.Random(10)
    for _ in range(2000):
        text = "".join(chr(rng.choice([rng.randrange(128), rng.randrange(0xD800), rng.randrange(0xE000, 0x110000)]))
                       for _ in range(rng.randrange(20)))
        assert url_encode(text) == urllib.parse.quote(text, safe="")
    for wrong in (None, b"a", 5):
        with pytest.raises(TypeError):
            url_encode(wrong)
    with pytest.raises(UnicodeEncodeError):
        url_encode("\ud800")


# ==== Base64 ====

def test_base64_as_the_standard_library_has_it():
    rng = random.Random(11)
    for size in list(range(300)) + [100_000]:
        data = rng.randbytes(size)
        text = base64_encode(data)
        assert type(text) is str and text == base64.b64encode(data).decode()
        assert base64_decode(text) == data
    assert base64_encode("é") == base64.b64encode("é".encode()).decode()
    assert base64_encode(bytearray(b"ab")) == base64_encode([97, 98]) == "YWI="


@pytest.mark.parametrize("text", ["Z", "Zg", "Zg=", "Zm9", "====", "Zg==Zg==", "Zh==", "Zm 9", "Zm9v\n", "Zm-_", "Zg=a", "=", "\0\0\0\0"])
def test_base64_decode_refuses_what_is_none(text):
    with pytest.raises(ValueError):
        base64_decode(text)


def test_base64_arguments_of_the_wrong_kind():
    for wrong in (None, b"Zg==", 5):
        with pytest.raises(TypeError):
            base64_decode(wrong)
    with pytest.raises(UnicodeEncodeError):
        base64_decode("é")
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            base64_encode(wrong)


def test_functions_take_keywords_and_refuse_others():
    assert cymongoose.url_port(url="http://h") == 80
    with pytest.raises(TypeError):
        cymongoose.url_port(uri="http://h")
    with pytest.raises(TypeError):
        cymongoose.url_port()
    with pytest.raises(TypeError):
        cymongoose.url_port("a", "b")
