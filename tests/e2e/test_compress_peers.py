# SPDX-License-Identifier: MIT
"""Compressed answers under other people's decoders: curl's, and those that Python has."""
import gzip
import http.client
import os
import zlib

import pytest

import programs
from programs import HOST, SECONDS, needs, serving

@pytest.fixture(scope="module")
def port():
    """The port of a running server, which has to end well."""
    with serving("http_server") as server:
        yield server.port


def get(port, path, accepted):
    """The response and its body as it was on the wire."""
    connection = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": accepted} if accepted else {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def curl(port, path, *options):
    return programs.curl(*options, f"http://{HOST}:{port}{path}")


DECODERS = {"gzip": "libz", "br": "brotli", "zstd": "zstd"}  # as curl calls them


@needs("curl")
@pytest.mark.parametrize("path, size", [("/bytes/100000", 100000), ("/chunks/3000000", 3000000), ("/bytes/100", 100)])
def test_curl_compressed(port, path, size):
    assert curl(port, "/compressed" + path, "--compressed") == b"x" * size
    assert curl(port, "/compressed" + path, "--compressed", "-0") == b"x" * size
    assert curl(port, path, "--compressed") == b"x" * size


@needs("curl")
@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("path", ["/bytes/1000000", "/chunks/1000000"])
def test_curl_each_coding(port, coding, path):
    response, body = get(port, "/compressed" + path, coding)
    if DECODERS[coding] not in programs.curl("-V").decode() or response.getheader("Content-Encoding") is None:
        pytest.skip(f"no {coding} here")
    assert response.getheader("Content-Encoding") == coding
    assert len(body) < 50000
    options = ("--compressed", "-H", f"Accept-Encoding: {coding}")
    assert curl(port, "/compressed" + path, *options) == b"x" * 1000000
    seen = curl(port, "/compressed" + path, *options, "-o", os.devnull, "-w", "%{size_download}")
    assert int(seen) < 50000  # it was compressed on its way


def test_python_gzip(port):
    response, body = get(port, "/compressed/bytes/123456", "gzip")
    assert response.getheader("Content-Encoding") == "gzip" and response.getheader("Vary") == "Accept-Encoding"
    assert int(response.getheader("Content-Length")) == len(body) < 2000
    assert gzip.decompress(body) == b"x" * 123456


def test_python_zlib_reads_a_stream_to_its_end(port):
    response, body = get(port, "/compressed/chunks/500000", "gzip;q=0.5, deflate")
    assert response.getheader("Content-Encoding") == "gzip" and response.getheader("Transfer-Encoding") == "chunked"
    decoder = zlib.decompressobj(wbits=31)
    assert decoder.decompress(body) == b"x" * 500000
    assert decoder.eof and decoder.unused_data == b""


def test_not_asked_for_or_not_accepted(port):
    for path, accepted in (("/bytes/5000", "gzip"), ("/compressed/bytes/5000", None), ("/compressed/bytes/100", "gzip")):
        response, body = get(port, path, accepted)
        assert response.getheader("Content-Encoding") is None and body == b"x" * len(body)
        assert response.getheader("Vary") == ("Accept-Encoding" if accepted is None else None)
