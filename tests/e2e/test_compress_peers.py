# SPDX-License-Identifier: MIT
"""Compressed answers under other people's decoders: curl's, and those that Python has."""
import gzip
import http.client
import os
import shutil
import subprocess
import zlib

import pytest

SERVER = os.path.join(os.environ.get("TAVI_BUILD_DIR", "."), "tests", "http_server")
SECONDS = 60

# For programs that others wrote: they are not built for the sanitizer that our own interpreter may run with.
PLAIN = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}


@pytest.fixture(scope="module")
def port():
    """The port of a running server, which has to end well."""
    with subprocess.Popen([SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
            server.stdin.close()
            assert server.wait(SECONDS) == 0
        finally:
            if server.poll() is None:
                server.kill()


def get(port, path, accepted):
    """The response and its body as it was on the wire."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path, headers={"Accept-Encoding": accepted} if accepted else {})
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def curl(port, path, *options):
    command = ["curl", "-sS", "--max-time", str(SECONDS), *options, f"http://127.0.0.1:{port}{path}"]
    return subprocess.run(command, capture_output=True, timeout=SECONDS + 10, env=PLAIN, check=True).stdout


def curl_features():
    if shutil.which("curl") is None:
        return ""
    return subprocess.run(["curl", "-V"], capture_output=True, text=True, env=PLAIN, check=True).stdout


FEATURES = curl_features().split()
needs_curl = pytest.mark.skipif(not FEATURES, reason="no curl")
DECODERS = {"gzip": "libz", "br": "brotli", "zstd": "zstd"}  # as curl calls them


@needs_curl
@pytest.mark.parametrize("path, size", [("/bytes/100000", 100000), ("/chunks/3000000", 3000000), ("/bytes/100", 100)])
def test_curl_compressed(port, path, size):
    assert curl(port, "/compressed" + path, "--compressed") == b"x" * size
    assert curl(port, "/compressed" + path, "--compressed", "-0") == b"x" * size
    assert curl(port, path, "--compressed") == b"x" * size


@needs_curl
@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("path", ["/bytes/1000000", "/chunks/1000000"])
def test_curl_each_coding(port, coding, path):
    response, body = get(port, "/compressed" + path, coding)
    if DECODERS[coding] not in FEATURES or response.getheader("Content-Encoding") is None:
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
