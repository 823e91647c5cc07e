# SPDX-License-Identifier: MIT
"""Forms that are in memory: http_parse_multipart() and http_var()."""
import email.message
import email.policy
import random
import sys
import urllib.parse

import pytest

from cymongoose import http_parse_multipart, http_var
from support import exchange, post


def body_of(*parts, boundary="xyz"):
    """parts: (name, filename or None, content)."""
    text = b""
    for name, filename, content in parts:
        file = f'; filename="{filename}"\r\nContent-Type: text/plain' if filename is not None else ""
        text += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode() + content + b"\r\n"
    return text + f"--{boundary}--\r\n".encode()


def all_parts(body):
    found, offset = [], 0
    while True:
        offset, part = http_parse_multipart(body, offset)
        if part is None:
            assert offset == 0
            return found
        assert 0 < offset <= len(body)
        found.append(part)


# ==== http_parse_multipart ====

def test_one_field():
    """[tests rely]"""
    body = body_of(("field1", None, b"value1"))
    offset, part = http_parse_multipart(body)
    assert part == {"name": "field1", "filename": "", "body": b"value1"}
    assert type(part["name"]) is str and type(part["body"]) is bytes
    assert http_parse_multipart(body, offset) == (0, None)


def test_an_upload():
    """[tests rely]"""
    content = bytes(range(256)) + b"\r\n--xy\r\n\r\n--" + bytes(range(256))
    body = body_of(("a", None, b""), ("file", "test.txt", content), ("b", None, b"last"))
    assert all_parts(body) == [{"name": "a", "filename": "", "body": b""},
                               {"name": "file", "filename": "test.txt", "body": content},
                               {"name": "b", "filename": "", "body": b"last"}]


@pytest.mark.parametrize("body", [b"", "", b"garbage", b"--", b"--\r\n", b"\0" * 100, b"--xyz\r\n", b"--xyz--\r\n",
                                  body_of(("a", None, b"b"))[:-8], b"--x\r\nno head\r\n", b"\r\n\r\n\r\n"])
def test_what_is_no_body_gives_no_part(body):
    """[tests rely] Nothing raises."""
    assert http_parse_multipart(body) == (0, None)


def test_every_cut_of_a_body_is_survived():
    body = body_of(("a", "f", b"x" * 20), ("b", None, b"y"), boundary="-" * 10)
    whole = all_parts(body)
    for end in range(len(body)):
        assert all_parts(body[:end]) in (whole, whole[:1], [])
    for at in range(len(body) + 5):
        http_parse_multipart(body, at)


def test_payloads_and_keywords():
    body = body_of(("ü", "ß.txt", "grüße".encode()))
    expected = [{"name": "ü", "filename": "ß.txt", "body": "grüße".encode()}]
    for made in (bytes, bytearray, memoryview, list, bytes.decode):
        assert all_parts(made(body)) == expected
    assert http_parse_multipart(body=body, offset=0)[1] == expected[0]


@pytest.mark.parametrize("arguments, error", [
    ((), TypeError), ((None,), TypeError), ((5,), TypeError), ((b"", "0"), TypeError), ((b"", None), TypeError),
    ((b"", -1), OverflowError), ((b"", 2**63), OverflowError), ((b"", 0, 0), TypeError),
])
def test_arguments_of_http_parse_multipart(arguments, error):
    with pytest.raises(error):
        http_parse_multipart(*arguments)


def test_offsets_beyond_the_body():
    assert http_parse_multipart(b"short", 100) == (0, None)
    assert http_parse_multipart(b"", sys.maxsize) == (0, None)


def test_a_form_in_a_handler(http, peer):
    body = body_of(("a", None, b"1"), ("f", "n", b"2"), boundary="----WebKitFormBoundary7MA4YWxk")
    content_type = "multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxk"

    def action(conn, message):
        conn.reply_json([[part["name"], part["body"].decode()] for part in all_parts(message.body_bytes)])

    [response], _ = exchange(http, peer, post("/", body, Content_Type=content_type), action)
    assert response.body == b'[["a", "1"], ["f", "2"]]'


def test_bodies_of_the_email_package():
    rng = random.Random(5)
    for _ in range(50):
        parts = [(f"name{n}", bytes(rng.randrange(256) for _ in range(rng.randrange(200)))) for n in range(5)]
        message = email.message.EmailMessage(policy=email.policy.HTTP)
        message["Content-Type"] = "multipart/form-data"
        for name, content in parts:
            part = email.message.MIMEPart(policy=email.policy.HTTP)
            part["Content-Disposition"] = f'form-data; name="{name}"'
            part["Content-Type"] = "application/octet-stream"
            part.set_payload(content.hex())
            message.attach(part)
        body = message.as_bytes().split(b"\r\n\r\n", 1)[1]
        assert [(part["name"], bytes.fromhex(part["body"].decode())) for part in all_parts(body)] == parts


def test_parsing_keeps_no_references():
    body = body_of(("a", None, b"x" * 1000))
    before = sys.getrefcount(body)
    for _ in range(100):
        all_parts(body)
        http_parse_multipart(body, 10**6)
        http_var(body, "a")
    after = sys.getrefcount(body)
    assert after == before


# ==== http_var ====

@pytest.mark.parametrize("form, name, value", [
    ("a=1&b=2", "a", "1"), ("a=1&b=2", "b", "2"), ("a=1&a=2", "a", "1"), ("a=", "a", ""), ("a", "a", ""),
    ("x&a&y", "a", ""), ("a=1", "c", None), ("", "a", None), ("aa=1", "a", None), ("a=b=c", "a", "b=c"),
    ("a=1+2%203", "a", "1 2 3"), ("a=%C3%BC", "a", "ü"), ("a=%ff", "a", "\udcff"), ("%61=1", "a", "1"), ("A=1", "a", None),
    (b"a=1&b=2", "b", "2"), (bytearray(b"a=1"), "a", "1"), ("ü=1", "ü", "1"),
])
def test_http_var(form, name, value):
    assert http_var(form, name) == value
    assert http_var(buf=form, name=name) == value


def test_http_var_reads_what_urllib_writes():
    fields = {"plain": "x", "special": "&=+ %\0\r\n", "ü": "ß", "long": "x" * 10_000}
    form = urllib.parse.urlencode(fields)
    assert {name: http_var(form, name) for name in fields} == fields


@pytest.mark.parametrize("arguments, error", [
    (("a=%", "a"), ValueError), (("a=%4", "a"), ValueError), (("a=%zz", "a"), ValueError), ((None, "a"), TypeError),
    ((5, "a"), TypeError), (("a", b"a"), TypeError), (("a",), TypeError), (("a", "a", "a"), TypeError), (("a", None), TypeError),
])
def test_arguments_of_http_var(arguments, error):
    with pytest.raises(error):
        http_var(*arguments)
