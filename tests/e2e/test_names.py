# SPDX-License-Identifier: MIT
"""Names against dnsmasq, a name server that others wrote: answers of all kinds, times, silence, and the way to a peer."""
import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

cymongoose = pytest.importorskip("cymongoose")
from cymongoose import MG_EV_POLL, Manager  # noqa: E402

DEADLINE = 30.0
DNSMASQ = shutil.which("dnsmasq") or shutil.which("dnsmasq", path="/usr/sbin:/sbin")

pytestmark = pytest.mark.skipif(DNSMASQ is None, reason="dnsmasq-base is not installed")


def free_port():
    """A port that is free for both."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            with contextlib.suppress(OSError):
                udp.bind(tcp.getsockname())
                return tcp.getsockname()[1]


class Server:
    def __init__(self, folder):
        self.log, hosts = folder / "log", folder / "hosts"
        hosts.write_text("".join(f"127.1.0.{i} many.test\n" for i in range(1, 200)))
        os.chmod(folder, 0o755)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = subprocess.Popen(
            [DNSMASQ, "--no-daemon", "--conf-file=/dev/null", f"--port={self.port}", "--listen-address=127.0.0.1",
             "--bind-interfaces", "--no-resolv", "--no-hosts", f"--addn-hosts={hosts}", "--pid-file=", "--local=/test/",
             f"--user={getpass.getuser()}", "--log-queries", f"--log-facility={self.log}", "--host-record=four.test,127.0.0.1",
             "--host-record=both.test,127.0.0.1,::1", "--host-record=short.test,127.0.0.1,1",
             "--host-record=long.test,127.0.0.1,600", "--host-record=x.search.test,127.0.0.1", "--cname=alias.test,four.test"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={key: value for key, value in os.environ.items() if key != "LD_PRELOAD"})  # it is not instrumented

    def asked(self, name):
        """How often this name was asked for, both families."""
        return sum(f"] {name} from" in line for line in self.log.read_text().splitlines())

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Events:
    def __init__(self):
        self.entries = []

    def __call__(self, conn, ev, data):
        if ev != MG_EV_POLL:
            self.entries.append((conn, cymongoose.event_name(ev)[len("MG_EV_"):], data))

    def names(self, conn):
        return [name for who, name, _ in self.entries if who is conn]

    def data(self, conn, event):
        return [data for who, name, data in self.entries if who is conn and name == event]


def spin(manager, until):
    end = time.monotonic() + DEADLINE
    while not until():
        assert time.monotonic() < end, "the condition did not come to hold"
        manager.poll(5)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("dnsmasq"))
    try:
        with Manager(dns_servers=server.address) as manager:
            listener = manager.listen("tcp://127.0.0.1:0")
            end = time.monotonic() + DEADLINE
            while not listener.resolved:  # until it serves
                assert server.process.poll() is None and time.monotonic() < end, "dnsmasq does not serve"
                listener.resolve("long.test")
                manager.poll(20)
        yield server
    finally:
        server.stop()


@pytest.fixture
def setup(server):
    events = Events()
    with Manager(events, dns_servers=server.address, dns_timeout_ms=3000) as manager:
        yield manager, manager.listen("tcp://127.0.0.1:0"), events


def look_up(manager, conn, name):
    """(addresses, error text)"""
    told = []
    conn.set_handler(lambda c, ev, data: told.append(data) if ev == cymongoose.MG_EV_RESOLVE else None)
    conn.resolve(name)
    spin(manager, lambda: told)
    return [host for host, _, _ in conn.resolved], told[0]


@pytest.mark.parametrize("name, wanted", [
    ("four.test", ["127.0.0.1"]), ("both.test", ["::1", "127.0.0.1"]), ("alias.test", ["127.0.0.1"]),
    ("FOUR.Test.", ["127.0.0.1"]), ("https://user@four.test:443/x?y#z", ["127.0.0.1"])])
def test_resolve(setup, name, wanted):
    manager, listener, _ = setup
    assert look_up(manager, listener, name) == (wanted, None)


def test_resolve_on_a_listener_changes_nothing_but_its_remote_addr(setup):
    manager, listener, events = setup
    port = listener.local_addr[1]
    assert look_up(manager, listener, f"four.test:{port}") == (["127.0.0.1"], None)
    assert listener.remote_addr == ("127.0.0.1", port, False)
    client = manager.connect(f"tcp://127.0.0.1:{port}", events)
    spin(manager, lambda: "CONNECT" in events.names(client) and len(manager.connections) == 3)


def test_answers_too_long_for_a_datagram_come_over_tcp(setup):
    manager, listener, _ = setup
    hosts, error = look_up(manager, listener, "many.test")
    assert error is None and len(hosts) == 8 and all(host.startswith("127.1.0.") for host in hosts)


def test_no_such_name(setup):
    manager, listener, events = setup
    assert look_up(manager, listener, "no-such.test") == ([], "no-such.test: no such name (NXDOMAIN)")
    assert listener in manager.connections
    client = manager.connect("tcp://no-such.test:80")
    spin(manager, lambda: "CLOSE" in events.names(client))
    assert events.names(client) == ["OPEN", "ERROR", "CLOSE"]
    [text] = events.data(client, "ERROR")
    assert "no-such.test" in text and "NXDOMAIN" in text


def test_a_server_that_refuses(setup):
    manager, listener, _ = setup
    hosts, error = look_up(manager, listener, "elsewhere.example")  # there is no upstream
    assert hosts == [] and "REFUSED" in error


@pytest.mark.parametrize("name", ["four.test", "both.test", "alias.test"])
def test_connect(setup, name):
    manager, listener, events = setup
    port = listener.local_addr[1]
    client = manager.connect(f"tcp://{name}:{port}")
    assert events.names(client) == ["OPEN"]
    spin(manager, lambda: "CONNECT" in events.names(client))
    assert events.names(client)[:3] == ["OPEN", "RESOLVE", "CONNECT"]
    assert client.remote_addr == ("127.0.0.1", port, False)


def test_times_to_live(setup, server):
    manager, listener, _ = setup
    before = server.asked("short.test"), server.asked("long.test")
    look_up(manager, listener, "short.test")
    look_up(manager, listener, "long.test")
    start = time.monotonic()
    while server.asked("short.test") < before[0] + 4 and time.monotonic() < start + DEADLINE:
        assert look_up(manager, listener, "short.test") == (["127.0.0.1"], None)
        assert look_up(manager, listener, "long.test") == (["127.0.0.1"], None)
    assert server.asked("short.test") == before[0] + 4
    assert server.asked("long.test") == before[1] + 2
    assert time.monotonic() - start > 0.9


def test_one_query_for_a_hundred_connections(setup, server):
    manager, listener, events = setup
    before = server.asked("four.test")
    clients = [manager.connect(f"tcp://four.test:{listener.local_addr[1]}") for _ in range(100)]
    spin(manager, lambda: all("CONNECT" in events.names(client) for client in clients))
    assert server.asked("four.test") == before + 2


def test_a_server_that_stops_and_goes_on(server):
    events = Events()
    with Manager(events, dns_servers=server.address, dns_timeout_ms=600) as manager:
        listener = manager.listen("tcp://127.0.0.1:0")
        server.process.send_signal(signal.SIGSTOP)
        try:
            client = manager.connect(f"tcp://four.test:{listener.local_addr[1]}")
            spin(manager, lambda: "CLOSE" in events.names(client))
            [text] = events.data(client, "ERROR")
            assert "four.test" in text and "no name server answers" in text
            slow = manager.connect(f"tcp://both.test:{listener.local_addr[1]}")
            manager.poll(50)
        finally:
            server.process.send_signal(signal.SIGCONT)
        spin(manager, lambda: "CONNECT" in events.names(slow))  # it was only slow


def test_cancel(setup):
    manager, listener, events = setup
    listener.resolve("four.test")
    listener.resolve_cancel()
    client = manager.connect("tcp://both.test:1")
    client.resolve_cancel()
    spin(manager, lambda: "CLOSE" in events.names(client))
    other = manager.listen("tcp://127.0.0.1:0")
    look_up(manager, other, "short.test")
    assert events.names(listener) in ([], ["OPEN"]) and "RESOLVE" not in events.names(client)
    assert listener.resolved == () and not listener.is_closing


def test_search_list_and_hosts_file(server, tmp_path, monkeypatch):
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.9 written.example four.test\n")
    monkeypatch.setenv("LOCALDOMAIN", "nothing.test search.test")
    monkeypatch.setenv("CARES_HOSTS", str(hosts))
    with Manager(dns_servers=server.address) as manager:
        listener = manager.listen("tcp://127.0.0.1:0")
        assert look_up(manager, listener, "x") == (["127.0.0.1"], None)
        assert look_up(manager, listener, "written.example") == (["127.0.0.9"], None)
        assert look_up(manager, listener, "four.test") == (["127.0.0.9"], None)  # the file comes first


def test_closing_with_a_lookup_under_way(server):
    with Manager(dns_servers=server.address) as manager:
        listener = manager.listen("tcp://127.0.0.1:0")
        listener.resolve("four.test")
        manager.connect("tcp://both.test:1")
    with Manager(dns_servers=server.address) as manager:
        listener = manager.listen("tcp://127.0.0.1:0")
        listener.resolve("four.test")
        listener.close()
        with pytest.raises(RuntimeError):
            listener.resolve("four.test")
        manager.poll(20)
