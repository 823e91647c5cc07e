# SPDX-License-Identifier: MIT
"""Each program of examples/ does what its first comment says, asked by programs that others wrote."""
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

BUILD = pathlib.Path(os.environ["TAVI_BUILD_DIR"])
ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_PYTHON = (BUILD / "python" / "cymongoose").is_dir()


class Program:
    """A running example; `url` and `port` are what it has printed."""

    def __init__(self, *command):
        env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD" or command[0] == sys.executable}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)
        self.url = self.process.stdout.readline().split()[0].rstrip("/")
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self, sig=signal.SIGTERM):
        self.process.send_signal(sig)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()


@pytest.fixture
def start():
    running = []

    def start(*command):
        running.append(Program(*map(str, command)))
        return running[-1]

    yield start
    for program in running:
        if program.process.poll() is None:
            program.stop()


def curl(*args):
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(["curl", "-sS", "--max-time", "20", *args], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


@pytest.mark.skipif(not HAS_PYTHON, reason="built without Python")
def test_hello_py(start):
    program = start(sys.executable, ROOT / "examples" / "hello.py", "0")
    assert "<h1>Hello from Tavi</h1>" in curl(program.url + "/")
    status = json.loads(curl(program.url + "/api/status"))
    assert status["status"] == "ok" and status["connections"] == 2  # the listener and curl
    assert json.loads(curl(program.url + "/slow")) == {
        "digits of 7**5000 add up to": sum(int(d) for d in str(7**5000))
    }
    assert curl("-o", "/dev/null", "-w", "%{http_code}", program.url + "/nothing") == "404"
    deadline = time.monotonic() + 20
    while json.loads(curl(program.url + "/api/status"))["ticks"] == 0:  # the timer, once a second
        assert time.monotonic() < deadline
    assert program.stop(signal.SIGINT) == 0


BROWSER = shutil.which("chromium")


@pytest.mark.skipif(not (BROWSER and HAS_PYTHON), reason="no chromium here")
def test_hello_py_in_a_browser(start, tmp_path):
    program = start(sys.executable, ROOT / "examples" / "hello.py", "0")
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         f"--user-data-dir={tmp_path}", "--dump-dom", program.url + "/"],
        capture_output=True, text=True, timeout=120, env=env)
    assert "<h1>Hello from Tavi</h1>" in done.stdout, done.stderr
