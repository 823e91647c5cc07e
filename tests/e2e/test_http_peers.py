# SPDX-License-Identifier: MIT
"""The HTTP server under other people's clients: curl, Python's http.client, nginx as a proxy, wrk."""
import email.utils
import http.client
import os
import re
import subprocess
import time

import pytest

import programs
from programs import BUILD, HOST, PLAIN, SECONDS, needs, serving

@pytest.fixture()
def port():
    """The port of a running server, which has to end well."""
    with serving("http_server") as server:
        yield server.port


def curl(port, path, *options, **more):
    return programs.curl(*options, f"http://{HOST}:{port}{path}", **more)


@needs("curl")
class TestCurl:
    def test_simple_head_and_http_1_0(self, port):
        assert curl(port, "/") == b"hello\n"
        head = curl(port, "/", "-I").decode()
        assert head.startswith("HTTP/1.1 200 OK\r\n") and "Content-Length: 6\r\n" in head
        assert curl(port, "/", "-0") == b"hello\n"
        assert curl(port, "/chunks/300000", "-0") == b"x" * 300000

    def test_keep_alive_reuses_the_connection(self, port):
        out = curl(port, "/", "-v", "--stderr", "-", f"http://{HOST}:{port}/later", f"http://{HOST}:{port}/later")
        assert out.count(b"Re-using existing connection") == 2 and out.count(b"later\n") == 2

    def test_statuses(self, port):
        for status in (200, 201, 204, 304, 404, 500, 599):
            code = curl(port, f"/status/{status}", "-o", os.devnull, "-w", "%{http_code} %{size_download}")
            assert code.decode() == f"{status} {0 if status in (204, 304) else 7}"

    def test_upload_by_length_and_by_chunks(self, port):
        data = os.urandom(3_000_000)
        assert curl(port, "/echo", "--data-binary", "@-", data=data) == data
        assert curl(port, "/echo", "-T", "-", data=data) == data  # chunked, with Expect
        assert curl(port, "/stream/echo", "-T", "-", data=data) == data
        assert curl(port, "/stream/echo", "--data-binary", "@-", "-H", "Expect: 100-continue", data=data) == data

    def test_large_answers(self, port):
        assert curl(port, "/bytes/20000000", "-w", "%{size_download}", "-o", os.devnull) == b"20000000"
        assert curl(port, "/chunks/100000000", "-w", "%{size_download}", "-o", os.devnull) == b"100000000"
        assert curl(port, "/file") == (BUILD / "tests" / "http_server").read_bytes()[:10000]

    def test_trailers(self, port):
        assert curl(port, "/trailers") == b"body\n"
        assert curl(port, "/trailers", "--raw") == b"5\r\nbody\n\r\n0\r\nX-Sum: 42\r\n\r\n"

    def test_refused_while_it_sends(self, port):
        out = curl(port, "/echo", "-T", "-", "-w", "%{http_code}", check=False, data=bytes(30_000_000))
        assert out == b"413 Content Too Large\n413"
        out = curl(port, "/slow-body", "-T", "-", "-w", "%{http_code}", "-H", "Expect:", check=False,
                   data=bytes(3_000_000))
        assert out == b"411 Length Required\n411"
        out = curl(port, "/deny", "--data-binary", "@-", "-w", "%{http_code}", check=False, data=bytes(3_000_000))
        assert out == b"denied\n401"

    def test_as_a_proxy_tunnel(self, port):
        """curl asks us through a tunnel to ourselves, which echoes its request: no HTTP, as curl has to find."""
        done = subprocess.run(["curl", "-sS", "-p", "--http0.9", "--max-time", "2", "-x", f"http://{HOST}:{port}",
                               "http://a.example/through"], capture_output=True, timeout=SECONDS, env=PLAIN)
        assert done.stdout.startswith(b"GET /through HTTP/1.1\r\nHost: a.example\r\n")


class TestHttpClient:
    def test_one_connection_many_requests(self, port):
        c = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
        c.connect()
        first = c.sock
        for method, path, body, status, wanted in (
                ("GET", "/", None, 200, b"hello\n"), ("HEAD", "/bytes/1000", None, 200, b""),
                ("POST", "/echo", b"abc", 200, b"abc"), ("GET", "/chunks/100000", None, 200, b"x" * 100000),
                ("HEAD", "/chunks/10", None, 200, b""), ("HEAD", "/file", None, 200, b""),
                ("GET", "/status/204", None, 204, b""), ("GET", "/status/304", None, 304, b""),
                ("GET", "/later", None, 200, b"later\n"), ("PUT", "/stream/echo", b"z" * 500000, 200, b"z" * 500000),
                ("DELETE", "/", None, 200, b"hello\n"), ("XYZZY", "/", None, 200, b"hello\n")):
            for _ in range(2):
                c.request(method, path, body)
                r = c.getresponse()
                assert (r.status, r.read()) == (status, wanted), (method, path)
                date = email.utils.parsedate_to_datetime(r.headers["Date"]).timestamp()
                assert abs(date - time.time()) < 5
        assert c.sock is first
        c.close()

    def test_chunked_request(self, port):
        c = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
        c.request("POST", "/echo", iter([b"abc", b"defg"]), encode_chunked=True)
        assert c.getresponse().read() == b"abcdefg"
        c.close()

    def test_truncation_is_seen(self, port):
        """Nothing of ours truncates; a connection that is cut by its peer leaves the server well."""
        for _ in range(20):
            c = http.client.HTTPConnection(HOST, port, timeout=SECONDS)
            c.request("GET", "/chunks/100000000")
            c.getresponse().read(10)
            c.close()
        assert http.client.HTTPConnection(HOST, port, timeout=SECONDS).request("GET", "/") is None


@needs("nginx")
class TestNginx:
    @pytest.fixture()
    def proxy(self, port, tmp_path):
        """The port of an nginx that passes everything on to the server over kept-alive connections."""
        locations = "location / { proxy_pass http://upstream; proxy_request_buffering off; proxy_buffering off; }"
        with programs.nginx(tmp_path, locations, upstream=f"{HOST}:{port}") as free:
            yield free

    def test_behind_it(self, proxy):
        c = http.client.HTTPConnection(HOST, proxy, timeout=SECONDS)
        data = os.urandom(1_000_000)
        for _ in range(20):
            for method, path, body, wanted in (
                    ("GET", "/", None, b"hello\n"), ("HEAD", "/", None, b""), ("POST", "/echo", data, data),
                    ("POST", "/stream/echo", data, data), ("GET", "/chunks/500000", None, b"x" * 500000),
                    ("GET", "/later", None, b"later\n"), ("GET", "/status/204", None, b"")):
                c.request(method, path, body)
                assert c.getresponse().read() == wanted, path
        c.close()


@needs("wrk")
class TestWrk:
    @pytest.mark.parametrize("path", ["/", "/chunks/1000", "/bytes/100000", "/later"])
    def test_load_without_errors(self, port, path):
        done = subprocess.run(["wrk", "-t1", "-c50", "-d1s", f"http://{HOST}:{port}{path}"],
                              capture_output=True, text=True, timeout=SECONDS, check=True, env=PLAIN)
        assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
        assert int(re.search(r"(\d+) requests in", done.stdout).group(1)) > 50
