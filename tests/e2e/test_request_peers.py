# SPDX-License-Identifier: MIT
"""The library's requests against servers and a proxy that others wrote, with curl as the yardstick of what comes."""
import contextlib
import functools
import gzip
import http.server
import os
import re
import shutil
import socket
import subprocess
import threading
import time

import pytest

PROGRAM = os.path.join(os.environ.get("TAVI_BUILD_DIR", "."), "tests", "client_program")
SECONDS = 60
PLAIN = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
os.environ["PATH"] += ":/usr/sbin"

NGINX = """
daemon off; worker_processes 1; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format conns '$connection $connection_requests $request_method $uri';
  access_log {dir}/access.log conns;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  default_type text/plain; gzip on; gzip_min_length 10; gzip_types text/plain; client_max_body_size 50m;
  server {{
    listen 127.0.0.1:{port}; root {dir}/www; keepalive_requests 1000;
    location /moved {{ return 301 /text.txt; }}
    location /again {{ return 308 /echo; }}
    location /loop {{ return 302 /loop; }}
    location /far {{ return 302 http://127.0.0.1:{port}/www/../text.txt?x=1; }}
    location /echo {{ proxy_pass http://127.0.0.1:{port}/mirror; }}
    location /mirror {{ client_body_in_single_buffer on; return 200 "$request_method $http_content_length"; }}
    location /small {{ client_max_body_size 1k; proxy_pass http://127.0.0.1:{port}/mirror; }}
    location /short {{ keepalive_requests 5; return 200 "five"; }}
    location /auth {{ auth_basic closed; auth_basic_user_file {dir}/users; alias {dir}/www; }}
  }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def wait_for(port):
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@contextlib.contextmanager
def running(port, *command):
    with subprocess.Popen(command, env=PLAIN, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            wait_for(port)
            yield
        finally:
            server.terminate()


class Site:
    def __init__(self, folder, port):
        self.folder, self.port = folder, port
        self.url = f"http://127.0.0.1:{port}"

    def log(self):
        return (self.folder / "access.log").read_text().splitlines()


@pytest.fixture(scope="module")
def nginx(tmp_path_factory):
    if shutil.which("nginx") is None:
        pytest.skip("no nginx")
    folder, port = tmp_path_factory.mktemp("nginx"), free_port()
    (folder / "www").mkdir()
    (folder / "www" / "text.txt").write_text("".join(f"line {i}\n" for i in range(20000)))
    (folder / "www" / "big.bin").write_bytes(os.urandom(5_000_000))
    (folder / "users").write_text("me:{PLAIN}secret\n")
    os.chmod(folder, 0o755)
    (folder / "nginx.conf").write_text("user root;" * (os.geteuid() == 0) + NGINX.format(dir=folder, port=port))
    with running(port, "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")):
        yield Site(folder, port)


def ask(url, *options):
    """The lines of the program, split, and the connections it has opened."""
    out = subprocess.run([PROGRAM, *options, url], capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    lines = out.splitlines()
    assert lines[-1].startswith("conns ")
    return [line.split(" ", 4) for line in lines[:-1]], int(lines[-1].split()[1])


def curl(url, *options):
    if shutil.which("curl") is None:
        pytest.skip("no curl")
    command = ["curl", "-sS", "-L", "--max-time", str(SECONDS), *options, url]
    return subprocess.run(command, capture_output=True, timeout=SECONDS, env=PLAIN, check=True).stdout


@pytest.mark.parametrize("path", ["/text.txt", "/big.bin", "/moved", "/far"])
@pytest.mark.parametrize("coded", [False, True])
def test_nginx__the_same_bytes_as_curl(nginx, tmp_path, path, coded):
    out = tmp_path / "out"
    lines, _ = ask(nginx.url + path, "-o", str(out), *(["-z", "1"] if coded else []))
    assert lines[0][0] == "200"
    assert out.read_bytes() == curl(nginx.url + path, *(["--compressed"] if coded else []))


def test_nginx__gzip_is_used_only_when_asked_for(nginx, tmp_path):
    out = tmp_path / "out"
    text = (nginx.folder / "www" / "text.txt").read_bytes()
    ask(nginx.url + "/text.txt", "-h", "Accept-Encoding: gzip", "-z", "1", "-o", str(out))  # then the user decodes
    assert gzip.decompress(out.read_bytes()) == text
    ask(nginx.url + "/text.txt", "-z", "1", "-o", str(out))
    assert out.read_bytes() == text


def test_nginx__ranges(nginx, tmp_path):
    out = tmp_path / "out"
    lines, _ = ask(nginx.url + "/big.bin", "-h", "Range: bytes=1000-1999", "-o", str(out))
    assert lines[0][:2] == ["206", "1000"]
    assert out.read_bytes() == (nginx.folder / "www" / "big.bin").read_bytes()[1000:2000]


def test_nginx__one_connection_for_many_requests(nginx):
    before = len(nginx.log())
    lines, conns = ask(nginx.url + "/text.txt", "-n", "200")
    assert conns == 1
    assert [line[3] for line in lines] == ["new"] + ["kept"] * 199
    deadline = time.monotonic() + SECONDS
    while len(nginx.log()) < before + 200:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len({line.split()[0] for line in nginx.log()[before:]}) == 1  # as the server counts


def test_nginx__parallel(nginx):
    lines, conns = ask(nginx.url + "/text.txt", "-n", "500", "-p", "40")
    assert len(lines) == 500 and {line[0] for line in lines} == {"200"}
    assert conns == 40


def test_nginx__closes_after_five(nginx):
    lines, conns = ask(nginx.url + "/short", "-n", "50")
    assert {line[0] for line in lines} == {"200"}
    assert 10 <= conns <= 11


def test_nginx__redirect_loop(nginx):
    lines, conns = ask(nginx.url + "/loop")
    assert lines[0][:2] == ["error", "TAVI_E_LIMIT"]
    assert conns == 1


@pytest.mark.parametrize("source", ["memory", "file", "stream"])
def test_nginx__uploads(nginx, tmp_path, source):
    body = tmp_path / "body"
    body.write_bytes(b"x" * 2_000_000)
    options = {"memory": ["-d", "y" * 100_000], "file": ["-f", str(body)], "stream": ["-s", "200"]}[source]
    size = {"memory": 100_000, "file": 2_000_000, "stream": 2_000_000}[source]
    out = tmp_path / "out"
    lines, _ = ask(nginx.url + "/echo", "-m", "PUT", *options, "-o", str(out))
    assert lines[0][0] == "200"
    assert out.read_text() == f"PUT {size}"


def test_nginx__308_sends_the_body_again(nginx, tmp_path):
    out = tmp_path / "out"
    lines, _ = ask(nginx.url + "/again", "-m", "POST", "-d", "z" * 5000, "-o", str(out))
    assert lines[0][0] == "200" and lines[0][2] == "1"
    assert out.read_text() == "POST 5000"


@pytest.mark.parametrize("options", [["-s", "2000"], ["-d", "q" * 100_000]])
def test_nginx__refuses_an_upload_early(nginx, options):
    lines, _ = ask(nginx.url + "/small", "-m", "POST", *options)
    assert lines[0][0] == "413"


def test_nginx__credentials(nginx):
    assert ask(nginx.url + "/auth/text.txt")[0][0][0] == "401"
    with_user = nginx.url.replace("http://", "http://me:secret@")
    lines, _ = ask(with_user + "/auth/text.txt")
    assert lines[0][0] == "200" and "secret" not in lines[0][4]


@pytest.fixture(scope="module")
def python_server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("python")
    (folder / "a.txt").write_bytes(b"hello" * 100_000)
    (folder / "d").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_python__files_and_directories(python_server, tmp_path):
    out = tmp_path / "out"
    lines, conns = ask(python_server + "/a.txt", "-n", "20", "-o", str(out))
    assert {line[0] for line in lines} == {"200"} and conns == 1
    assert out.read_bytes() == b"hello" * 100_000
    lines, _ = ask(python_server + "/d")
    assert lines[0][0] == "200" and lines[0][4].endswith("/d/")
    assert ask(python_server + "/nothing")[0][0][0] == "404"
    assert ask(python_server + "/a.txt", "-m", "HEAD")[0][0][:2] == ["200", "0"]


@pytest.fixture(scope="module")
def tinyproxy(tmp_path_factory):
    if shutil.which("tinyproxy") is None:
        pytest.skip("no tinyproxy")
    folder, port = tmp_path_factory.mktemp("tinyproxy"), free_port()
    conf = folder / "conf"
    conf.write_text(f"Port {port}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nBasicAuth me secret\n"
                    f'LogFile "{folder}/log"\nLogLevel Connect\n')
    with running(port, "tinyproxy", "-d", "-c", str(conf)):
        yield port


def test_tinyproxy(nginx, tinyproxy, tmp_path):
    out, proxy = tmp_path / "out", f"http://me:secret@127.0.0.1:{tinyproxy}"
    lines, _ = ask(nginx.url + "/moved", "-x", proxy, "-n", "5", "-o", str(out))
    assert [line[0] for line in lines] == ["200"] * 5
    assert out.read_bytes() == (nginx.folder / "www" / "text.txt").read_bytes()
    lines, _ = ask(nginx.url + "/echo", "-x", proxy, "-m", "POST", "-d", "w" * 1000, "-o", str(out))
    assert lines[0][0] == "200" and out.read_text() == "POST 1000"
    assert ask(nginx.url + "/text.txt", "-x", f"http://127.0.0.1:{tinyproxy}")[0][0][0] == "407"
    lines, _ = ask(f"http://127.0.0.1:{free_port()}/", "-x", proxy)
    assert re.match("5..", lines[0][0])  # the proxy says that nobody is there
