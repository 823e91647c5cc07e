# SPDX-License-Identifier: MIT
"""Each program of examples/ does what its first comment says, asked by programs that others wrote."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

import programs
import webdriver
from programs import BUILD, PLAIN, ROOT, Program, needs_python


def curl(*args):
    return programs.curl(*args).decode().replace("\r\n", "\n")


@pytest.fixture
def start():
    running = []

    def start(*command):
        running.append(Program(*command))
        return running[-1]

    yield start
    for program in running:
        if program.process.poll() is None:
            program.stop()


def c_example(name):
    return BUILD / "examples" / name


def test_hello_c(start):
    program = start(c_example("hello"), "http://127.0.0.1:0")
    assert curl(program.url + "/") == "Hello, World!\n"
    head = curl("-I", program.url + "/anything")
    assert head.startswith("HTTP/1.1 200 OK\n") and "Content-Length: 14\n" in head and "\nDate: " in head


def test_echo_tcp(start):
    program = start(c_example("echo_tcp"), "tcp://127.0.0.1:0")
    data = bytes(range(256)) * 4096
    with socket.create_connection(("127.0.0.1", program.port), 20) as s:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            sent = pool.submit(s.sendall, data)
            got = b""
            while len(got) < len(data):
                piece = s.recv(65536)
                assert piece, "closed too early"
                got += piece
            sent.result(20)
    assert got == data


def test_echo_udp(start):
    program = start(c_example("echo_udp"), "udp://127.0.0.1:0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(
        socket.AF_INET, socket.SOCK_DGRAM
    ) as other:
        for s in (one, other):
            s.settimeout(20)
            s.connect(("127.0.0.1", program.port))
        one.send(b"from one")
        other.send(b"from the other")
        assert other.recv(100) == b"from the other"
        assert one.recv(100) == b"from one"


def test_worker_answers_several_at_once(start):
    program = start(c_example("worker"), "http://127.0.0.1:0")
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: curl(program.url + "/"), range(3)))
    assert len(set(answers)) == 1 and answers[0].startswith("the sum is ")


@needs_python
def test_hello_py(start):
    program = start(sys.executable, ROOT / "examples" / "hello.py", "0")
    assert "<h1>Hello from Tavi</h1>" in curl(program.url + "/")
    status = json.loads(curl(program.url + "/api/status"))
    assert status["status"] == "ok" and status["connections"] == 2  # the listener and curl
    assert json.loads(curl(program.url + "/slow")) == {
        "digits of 7**5000 add up to": sum(int(d) for d in str(7**5000))
    }
    assert curl("-o", "/dev/null", "-w", "%{http_code}", program.url + "/nothing") == "404"
    programs.until(lambda: json.loads(curl(program.url + "/api/status"))["ticks"] > 0, "a tick")  # once a second
    assert program.stop(signal.SIGINT) == 0


@needs_python
@pytest.mark.skipif(webdriver.MISSING is not None, reason=str(webdriver.MISSING))
def test_hello_py_in_a_browser(start):
    program = start(sys.executable, ROOT / "examples" / "hello.py", "0")
    with webdriver.Browser() as browser:
        browser.open(program.url + "/")
        assert browser.run("document.querySelector('h1').textContent") == "Hello from Tavi"


def test_files(start, tmp_path):
    (tmp_path / "a page.html").write_text("<h1>a page</h1>")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("0123456789")
    program = start(c_example("files"), tmp_path, "http://127.0.0.1:0")
    assert '<a href="./a%20page.html"><bdi>a page.html</bdi></a>' in curl(program.url + "/")
    assert '<a href="./folder/">' in curl(program.url + "/")
    assert curl(program.url + "/a%20page.html") == "<h1>a page</h1>"
    assert "\nContent-Type: text/html; charset=utf-8\n" in curl("-I", program.url + "/a%20page.html")
    assert curl("-L", program.url + "/folder").count("notes.txt") >= 2  # in a link, and its text
    assert curl("-r", "3-5", "-w", " %{http_code}", program.url + "/folder/notes.txt") == "345 206"
    etag = curl("-o", os.devnull, "-w", "%header{etag}", program.url + "/folder/notes.txt")
    again = curl("-H", f"If-None-Match: {etag}", "-w", "%{http_code}", program.url + "/folder/notes.txt")
    assert etag and again == "304"
    for path in ("/nothing", "/../" + tmp_path.name + "/folder/notes.txt"):
        assert curl("--path-as-is", "-o", os.devnull, "-w", "%{http_code}", program.url + path) in ("404", "400")


def test_upload(start, tmp_path):
    folder, mine = tmp_path / "folder", tmp_path / "mine.bin"
    folder.mkdir()
    mine.write_bytes(os.urandom(3_000_000))
    program = start(c_example("upload"), folder, "http://127.0.0.1:0")
    assert "enctype=multipart/form-data" in curl(program.url + "/")
    told = curl("-F", f"file=@{mine};filename=../../x", "-F", f"file=@{__file__}", "-F", "a=1", program.url + "/")
    lines = told.splitlines()
    assert len(lines) == 2 and ": 3000000 bytes, " in lines[0]
    saved = [pathlib.Path(line.split(": ")[0]) for line in lines]
    assert sorted(os.listdir(folder)) == sorted(path.name for path in saved) and os.listdir(tmp_path) != []
    assert saved[0].parent == folder and saved[0].read_bytes() == mine.read_bytes()
    with open(__file__, "rb") as f:
        assert saved[1].read_bytes() == f.read()
    assert curl("-d", "@" + __file__, "-H", "Content-Type: text/plain", "-o", os.devnull, "-w", "%{http_code}",
                program.url + "/") == "415"


@contextlib.contextmanager
def subscriber(program):
    """The lines that curl hears from the program's /events, once it hears them."""
    with subprocess.Popen(["curl", "-sSNv", "--max-time", "30", program.url + "/events"], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, env=PLAIN) as process:
        assert "< \n" in iter(process.stderr.readline, "")  # the end of the head
        try:
            yield process.stdout
        finally:
            process.terminate()


def test_events(start):
    program = start(c_example("events"), "http://127.0.0.1:0")
    assert "new EventSource('/events')" in curl(program.url + "/")
    with subscriber(program) as one, subscriber(program) as other:
        heard = [other.readline() for _ in range(4)]
        assert heard[0] in one and heard[2] in one  # which goes on until it finds them
    assert heard[1] == heard[3] == "\n" and heard[0] != heard[2]
    for line in (heard[0], heard[2]):
        time.strptime(line, "data: %H:%M:%S\n")


@needs_python
def test_site_py(start, tmp_path):
    program = start(sys.executable, ROOT / "examples" / "site.py", tmp_path, "0", "anna:secret")
    page = curl(program.url + "/")
    assert 'enctype="multipart/form-data"' in page
    assert curl("--compressed", program.url + "/") == page
    upload = ("-o", os.devnull, "-w", "%{http_code} %header{www-authenticate}%header{location}", "-F", f"file=@{__file__}",
              "-F", f"file=@{__file__};filename=..\\.secret", program.url + "/upload")
    assert curl(*upload) == '401 Basic realm="uploads", charset="UTF-8"'
    assert os.listdir(tmp_path) == []
    with subscriber(program) as news:
        assert curl("-u", "anna:secret", *upload) == "303 /"
        size = os.path.getsize(__file__)
        assert [news.readline() for _ in range(6)] == [
            "event: upload\n", f"data: test_examples.py: {size:,} bytes\n", "\n",
            "event: upload\n", f"data: secret: {size:,} bytes\n", "\n"]
    assert sorted(os.listdir(tmp_path)) == ["secret", "test_examples.py"]
    assert 'href="./secret"' in curl(program.url + "/files/")
    with open(__file__, encoding="utf-8") as f:
        assert curl(program.url + "/files/secret") == f.read()
    assert curl("-r", "0-4", "-w", " %{http_code}", program.url + "/files/test_examples.py") == "# SPD 206"
    assert curl("-o", os.devnull, "-w", "%{http_code}", program.url + "/nothing") == "404"
    assert program.stop(signal.SIGINT) == 0
