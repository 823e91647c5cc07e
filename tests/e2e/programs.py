# SPDX-License-Identifier: MIT
"""What the tests of this folder share: our programs as processes, other people's programs beside them, and deadlines."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

BUILD = pathlib.Path(os.environ.get("TAVI_BUILD_DIR", "."))
ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_PYTHON = (BUILD / "python" / "cymongoose").is_dir()
INSTRUMENTED = "asan" in os.environ.get("LD_PRELOAD", "")
SECONDS = 50
HOST = "127.0.0.1"

# For programs that others wrote: they are not built for the sanitizer that our own interpreter may run with.
PLAIN = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
OURS = {key: value for key, value in PLAIN.items() if key != "ASAN_OPTIONS"}  # C programs look for leaks, Python does not

needs_python = pytest.mark.skipif(not HAS_PYTHON, reason="built without Python")


def until(condition, what="the condition", seconds=SECONDS):
    """Wait until condition() is true, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"{what} did not come to hold"
        time.sleep(0.01)
    return result


class Program:
    """A running program of ours; `url` and `port` are what it has printed."""

    def __init__(self, *command, **options):
        env = os.environ if command[0] == sys.executable else OURS
        self.process = subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE, text=True, env=env, **options)
        words = self.process.stdout.readline().split()
        assert words, f"{command[0]} has printed nothing and ended with {self.process.wait(SECONDS)}"
        self.port = int(words[0].rstrip("/").rsplit(":", 1)[-1])
        self.url = f"http://{HOST}:{self.port}"

    def stop(self, sig=signal.SIGTERM):
        """End it; returns its exit code."""
        self.process.send_signal(sig)
        return self.wait()

    def end(self):
        """End its input, and with it a server of this folder, which has to end well."""
        self.process.stdin.close()
        assert self.wait() == 0

    def wait(self):
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()

    def files(self):
        """What its descriptors are, as {number: path}; nameless files are called '... (deleted)'."""
        found = {}
        for fd in pathlib.Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found[int(fd.name)] = os.readlink(fd)
        return found

    def memory_max(self):
        """The most memory that it has had, in bytes."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmHWM in /proc")


@contextlib.contextmanager
def running(*command, **options):
    """A Program that is stopped at the end."""
    program = Program(*command, **options)
    try:
        yield program
    finally:
        if program.process.poll() is None:
            program.stop()


@contextlib.contextmanager
def serving(name, *args):
    """A server of this folder as a Program, which has to end well."""
    with running(BUILD / "tests" / name, *args, stdin=subprocess.PIPE) as program:
        yield program
        program.end()


@contextlib.contextmanager
def served(handler, **options):
    """A cymongoose server on a thread of this process, as (manager, port). What its handlers raise, the test raises."""
    from cymongoose import Manager

    errors = []
    manager = Manager(handler, error_handler=errors.append)
    port = manager.listen(f"http://{HOST}:0", **options).local_addr[1]
    end = threading.Event()

    def run():
        try:
            while not end.is_set():
                manager.poll(20)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield manager, port
    finally:
        end.set()
        thread.join(SECONDS)
        manager.close()
    if errors:
        raise errors[0]


# ==== programs that others wrote ====

def needs(program):
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"no {program}")


def curl(*args, check=True, data=None, seconds=SECONDS):
    """Run curl and return the bytes that it printed; with check its exit code has to be 0."""
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", str(seconds), *map(str, args)]
    done = subprocess.run(command, input=data, capture_output=True, timeout=seconds + 10, env=PLAIN)
    if check:
        assert done.returncode == 0, done.stderr
    return done.stdout


def free_port():
    with socket.socket() as s:
        s.bind((HOST, 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def daemon(*command, port):
    """A foreign server that stays in the foreground, once it listens on this port."""
    with subprocess.Popen([*map(str, command)], env=PLAIN, stdin=subprocess.DEVNULL) as process:
        def is_up():
            assert process.poll() is None, f"{command[0]} has ended"
            with socket.socket() as s:
                return s.connect_ex((HOST, port)) == 0
        try:
            until(is_up, f"{command[0]}'s start")
            yield port
        finally:
            process.terminate()
            process.wait(SECONDS)


def nginx(folder, locations="", outside="", upstream=""):
    """An nginx whose only server has these locations; `outside` stands beside the http block. Yields its port.

    upstream: what `http://upstream` is in the locations; connections to it are kept.
    """
    port = free_port()
    config = pathlib.Path(folder, "nginx.conf")
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in
                        ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    if upstream:
        upstream = f"upstream upstream {{ server {upstream}; keepalive 8; }}"
    config.write_text(f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 200; }}
        http {{
          access_log off; client_max_body_size 0; {temporary}
          proxy_http_version 1.1; proxy_set_header Connection ""; {upstream}
          server {{ listen {HOST}:{port}; {locations} }}
        }}
        {outside}""")
    return daemon(shutil.which("nginx"), "-c", config, "-p", folder, "-e", f"{folder}/error.log", port=port)


def haproxy(folder, server):
    """A HAProxy in TCP mode before one server, such as '127.0.0.1:80 send-proxy'. Yields its port."""
    port = free_port()
    config = pathlib.Path(folder, "haproxy.cfg")
    config.write_text(f"""
global
  maxconn 100
defaults
  mode tcp
  timeout connect 20s
  timeout client 50s
  timeout server 50s
listen tavi
  bind {HOST}:{port}
  server tavi {server}
""")
    return daemon(shutil.which("haproxy"), "-db", "-f", config, port=port)
