# SPDX-License-Identifier: MIT
"""chronyd as a time server on loopback: for the tests of this folder, and for those of tests/python.

It runs in the foreground with -x, so it never touches the clock of this computer, as whoever runs the tests, with every
file of its own below a folder of the test's, and without the port that chronyc would talk to.
"""
import contextlib
import getpass
import os
import shutil
import socket
import struct
import subprocess
import time

SECONDS = 50
HOST = "127.0.0.1"
PLAIN = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}  # it is not built for our sanitizer
PLACES = os.pathsep.join((os.path.join(os.environ.get("TAVI_BUILD_DIR", "."), "programs", "usr", "sbin"),
                          os.environ.get("PATH", ""), "/usr/sbin"))


def find():
    """The path of a chronyd that runs here, or None."""
    program = shutil.which("chronyd", path=PLACES)
    if program is None or subprocess.run([program, "--version"], capture_output=True, env=PLAIN).returncode != 0:
        return None
    return program


def _free_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _answers(port):
    """True when something answers a plain question of SNTP there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.2)
        probe.connect((HOST, port))
        try:
            probe.send(struct.pack("!B39xQ", 0x23, 1))
            return len(probe.recv(1000)) >= 48
        except OSError:  # refused, or no answer yet
            return False


@contextlib.contextmanager
def running(folder, *lines):
    """A chronyd with these lines in its configuration; gives its port. It is ended by its process id."""
    port = _free_port()
    conf = os.path.join(folder, f"chrony-{port}.conf")
    with open(conf, "w", encoding="utf-8") as file:
        print(f"port {port}", "cmdport 0", "bindcmdaddress /", f"bindaddress {HOST}", "allow 127.0.0.0/8",
              f"pidfile {folder}/chronyd-{port}.pid", *lines, sep="\n", file=file)
    command = [find(), "-d", "-x", "-U", "-u", getpass.getuser(), "-f", conf]
    with open(os.path.join(folder, f"chrony-{port}.log"), "w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=PLAIN)
        try:
            deadline = time.monotonic() + SECONDS
            while not _answers(port):
                log.seek(0)
                assert process.poll() is None and time.monotonic() < deadline, f"chronyd does not answer: {log.read()}"
            yield port
        finally:
            process.terminate()
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
