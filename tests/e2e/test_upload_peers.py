# SPDX-License-Identifier: MIT
"""Forms, events and addresses under other people's programs: curl, requests, httpx, nginx and HAProxy."""
import contextlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import zlib

import pytest

from programs import (BUILD, HAS_PYTHON, HOST, INSTRUMENTED, PLAIN, ROOT, SECONDS, curl, haproxy, needs, needs_python,
                      nginx, running, served, serving, until)

if HAS_PYTHON:
    from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG

MIB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


@pytest.fixture
def server(folder):
    """A running form_server, which has to end well; at its end no upload is left, on disk or in a descriptor."""
    with serving("form_server", folder) as program:
        yield program
        until(lambda: not uploads_open(program, folder), "the end of all uploads")
        assert [name for name in os.listdir(folder) if not name.startswith("saved-")] == []


def uploads_open(program, folder):
    """The files of the folder that the server holds open, named or not."""
    return [path for path in program.files().values() if path.startswith(f"{folder}/")]


def line(name, filename, content):
    """What form_server says of a part."""
    return f"{name}\t{filename}\t{len(content)}\t{zlib.crc32(content):08x}\n"


# ==== curl ====

class TestCurl:
    def test_several_files_and_values(self, server, folder, tmp_path):
        contents = {"one.txt": b"one\r\n--\r\n\r\n", "empty": b"", "big.bin": os.urandom(5_000_000),
                    'a"b\\<i>;x=.txt': b"quoted", "día ☃.txt": b"not ASCII"}
        args = ["-F", "text=a value;type=text/plain", "--form-string", "raw=@no;file\r\nline"]
        for name, content in contents.items():
            (tmp_path / name).write_bytes(content)
            args += ["-F", 'file=@"' + str(tmp_path / name).replace("\\", "\\\\").replace('"', '\\"') + '"']
        out = curl(*args, server.url + "/save").decode()
        assert out == line("text", "-", b"a value") + line("raw", "-", b"@no;file\r\nline") + "".join(
            line("file", name, content) for name, content in contents.items())
        saved = [(folder / f"saved-{number + 1}").read_bytes() for number in range(len(contents))]
        assert saved == list(contents.values())

    def test_urlencoded(self, server):
        out = curl("--data-urlencode", "a=1 & 2 = ☃", "-d", "b=", "-d", "c", server.url + "/").decode()
        assert out == line("a", "-", "1 & 2 = ☃".encode()) + line("b", "-", b"") + line("c", "-", b"")

    def test_from_a_pipe(self, server):
        """What has no length beforehand comes in chunks."""
        content = os.urandom(3_000_000)
        out = curl("-F", "file=@-;filename=piped", "-H", "Transfer-Encoding: chunked", server.url + "/", data=content)
        assert out.decode() == line("file", "piped", content)

    def test_expect(self, server, tmp_path):
        (tmp_path / "file").write_bytes(b"x" * 2_000_000)
        out = curl("-v", "--stderr", "-", "-H", "Expect: 100-continue", "--expect100-timeout", 30,
                   "-F", f"file=@{tmp_path}/file", server.url + "/", seconds=20)
        assert b"< HTTP/1.1 100 Continue" in out and line("file", "file", b"x" * 2_000_000).encode() in out

    def test_no_form_is_refused_without_its_body(self, server):
        out = curl("-v", "--stderr", "-", "-H", "Expect: 100-continue", "-H", "Content-Type: text/plain", "-T", "-",
                   "-X", "POST", server.url + "/", data=b"x" * 1_000_000)
        assert b"< HTTP/1.1 415 " in out and b"100 Continue" not in out

    def test_slow_senders(self, server):
        """Several at once, each in small pieces, beside one that is fast."""
        content = os.urandom(120_000)
        slow = [subprocess.Popen(["curl", "-sS", "--limit-rate", "80k", "-F", "file=@-;filename=slow", server.url + "/"],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=PLAIN) for _ in range(5)]
        for process in slow:
            process.stdin.write(content)
            process.stdin.close()
        assert curl("-F", "file=@-;filename=fast", server.url + "/", data=b"fast").decode() == line("file", "fast", b"fast")
        for process in slow:
            with process:
                assert process.stdout.read().decode() == line("file", "slow", content)
                assert process.wait(SECONDS) == 0


# ==== sizes, and clients that leave ====

HEAD = b'--=_x\r\nContent-Disposition: form-data; name="file"; filename="large"\r\n\r\n'
TAIL = b"\r\n--=_x--\r\n"


def large_upload(url, *args):
    """A curl that sends a form in chunks from its standard input, which may be of any size."""
    return subprocess.Popen(["curl", "-sS", "-X", "POST", "-T", "-", "-H", "Content-Type: multipart/form-data; boundary==_x",
                             *args, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=PLAIN)


def pour(process, count):
    """Send the head and `count` MiB to such a curl; returns their CRC-32."""
    piece = random.Random(1).randbytes(MIB)
    crc = 0
    process.stdin.write(HEAD)
    for _ in range(count):
        process.stdin.write(piece)
        crc = zlib.crc32(piece, crc)
    process.stdin.flush()
    return crc


def test_large_upload_takes_little_memory(server, folder):
    curl("-F", "file=@-;filename=first", server.url + "/", data=b"x")  # what the first one takes, they all do
    before = server.memory_max()
    with large_upload(server.url + "/save") as process:
        crc = pour(process, 200)
        process.stdin.write(TAIL)
        process.stdin.close()
        assert process.stdout.read().decode() == f"file\tlarge\t{200 * MIB}\t{crc:08x}\n"
        assert process.wait(SECONDS) == 0
    assert (folder / "saved-1").stat().st_size == 200 * MIB
    if not INSTRUMENTED:  # which keeps what was freed for a while
        assert server.memory_max() - before < 2 * MIB


def test_many_uploads_take_no_more(server):
    upload = ("-F", "file=@-;filename=f", server.url + "/")
    for number in range(60):
        if number == 5:
            before = server.memory_max()
        curl(*upload, data=b"x" * 300_000)
    if not INSTRUMENTED:
        assert server.memory_max() - before < 2 * MIB


def test_killed_clients_leave_nothing(server, folder):
    """Each is killed in the middle of its file. What is left shows itself at the end of the fixture."""
    before = server.memory_max()
    for count in (0, 1, 3, 20):
        with large_upload(server.url + "/save") as process:
            pour(process, count)
            if count > 1:
                until(lambda: any(path.stat().st_size > 0 for path in open_paths(server, folder)), "the file on disk")
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
    until(lambda: not uploads_open(server, folder), "the end of the uploads")
    assert os.listdir(folder) == []
    assert curl("-F", "file=@-;filename=later", server.url + "/", data=b"x").decode() == line("file", "later", b"x")
    if not INSTRUMENTED:
        assert server.memory_max() - before < 4 * MIB


def open_paths(program, folder):
    """Paths through which the server's open uploads can be looked at."""
    return [pathlib.Path(f"/proc/{program.process.pid}/fd/{fd}") for fd, path in program.files().items()
            if path.startswith(f"{folder}/")]


def has_nameless_files(folder):
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR))
    except OSError:
        return False
    return True


def test_killed_server_leaves_nothing(folder):
    """Uploads have no name until they are saved, so nobody has to tidy up."""
    if not has_nameless_files(folder):
        pytest.skip("this file system knows no nameless files")
    with running(BUILD / "tests" / "form_server", folder, stdin=subprocess.PIPE) as program:
        with large_upload(program.url + "/save") as process:
            pour(process, 3)
            until(lambda: any(path.stat().st_size > 0 for path in open_paths(program, folder)), "the file on disk")
            program.stop(signal.SIGKILL)
            process.kill()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        program.process.stdin.close()
    assert os.listdir(folder) == []


# ==== Python's clients ====

def test_requests(server):
    requests = pytest.importorskip("requests")
    content = os.urandom(2_000_000)
    with requests.Session() as session:
        session.trust_env = False
        for _ in range(3):  # on one connection
            answer = session.post(server.url + "/", data={"a": "ä", "b": ["1", "2"]}, timeout=SECONDS,
                                  files=[("file", ("one.bin", content)), ("file", ("día ☃.txt", b"x", "text/plain"))])
            assert answer.status_code == 200
            assert answer.text == (line("a", "-", "ä".encode()) + line("b", "-", b"1") + line("b", "-", b"2") +
                                   line("file", "one.bin", content) + line("file", "día ☃.txt", b"x"))
        assert session.post(server.url + "/", data={"a": "ä"}, timeout=SECONDS).text == line("a", "-", "ä".encode())
        assert session.post(server.url + "/", json={}, timeout=SECONDS).status_code == 415


def test_httpx(server):
    httpx = pytest.importorskip("httpx")
    content = os.urandom(2_000_000)
    with httpx.Client(trust_env=False, timeout=SECONDS) as client:
        for _ in range(3):
            answer = client.post(server.url + "/", data={"a": "ä"}, files={"file": ('q"uoted.bin', content)})
            assert answer.text == line("a", "-", "ä".encode()) + line("file", 'q"uoted.bin', content)
        pieces = (HEAD, content[:7], content[7:], TAIL)
        answer = client.post(server.url + "/", content=iter(pieces),  # in chunks
                             headers={"Content-Type": 'multipart/form-data; boundary="=_x"'})
        assert answer.text == line("file", "large", content)


# ==== nginx ====

@needs("nginx")
class TestNginx:
    @pytest.mark.parametrize("buffering", ["on", "off"])
    def test_uploads(self, server, tmp_path, buffering):
        content = os.urandom(20_000_000)
        location = f"location / {{ proxy_pass {server.url}; proxy_request_buffering {buffering}; }}"
        with nginx(tmp_path, location) as port:
            url = f"http://{HOST}:{port}/"
            for args in ((), ("-H", "Transfer-Encoding: chunked"), ("-0",), ("-H", "Expect: 100-continue")):
                out = curl("-F", "a=1", "-F", "file=@-;filename=f", *args, url, data=content)
                assert out.decode() == line("a", "-", b"1") + line("file", "f", content), args
            if buffering == "off":  # a client that leaves is seen through the proxy
                with large_upload(url + "save") as process:
                    pour(process, 3)
                    process.kill()
                    with contextlib.suppress(BrokenPipeError):
                        process.stdin.close()
            out = curl("-F", "a=1", "-o", os.devnull, "-w", "%{http_code}", "-H", "Content-Type: text/plain", url)
            assert out == b"415"

    @needs_python
    def test_site(self, folder, tmp_path):
        """The whole of examples/site.py behind it: an upload, a range of it, and the news of it, unbuffered."""
        content = os.urandom(3_000_000)
        with running(sys.executable, ROOT / "examples" / "site.py", folder, 0, "anna:secret") as program, nginx(
                tmp_path, f"location / {{ proxy_pass {program.url}; proxy_request_buffering off; proxy_buffering off; }}"
        ) as port, subprocess.Popen(["curl", "-sSNv", f"http://{HOST}:{port}/events"], stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE, env=PLAIN) as events:
            head = list(iter(events.stderr.readline, b"< \r\n"))  # with it, curl is subscribed
            assert b"< Content-Type: text/event-stream\r\n" in head, head
            url = f"http://{HOST}:{port}"
            upload = ("-F", "file=@-;filename=../über.bin", url + "/upload", "-o", os.devnull, "-w", "%{http_code}")
            assert curl(*upload, data=content) == b"401"
            assert curl(*upload, "-u", "anna:wrong", data=content) == b"401"
            assert os.listdir(folder) == []
            assert curl(*upload, "-u", "anna:secret", data=content) == b"303"
            assert events.stdout.readline() == b"event: upload\n"
            assert events.stdout.readline() == "data: über.bin: 3,000,000 bytes\n".encode()
            events.terminate()
            assert os.listdir(folder) == ["über.bin"]
            assert curl("-r", "1000000-1999999", url + "/files/%C3%BCber.bin") == content[1_000_000:2_000_000]
            half = tmp_path / "half"
            half.write_bytes(content[:1_500_000])
            curl("-C", "-", "-o", half, url + "/files/%C3%BCber.bin")  # a download that goes on
            assert half.read_bytes() == content

    @needs_python
    @pytest.mark.parametrize("trusted", [True, False])
    def test_forged_addresses(self, tmp_path, trusted):
        """nginx adds whom it sees to what the client claims. Nobody is believed about what stands before that."""
        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_MSG:
                conn.reply_json(list(conn.origin(data)))

        options = {"forwarded_from": HOST} if trusted else {}
        with served(handler, **options) as (_, server):
            told = ("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header Forwarded ''; "
                    "proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host $http_host;")
            with nginx(tmp_path, f"location / {{ proxy_pass http://{HOST}:{server}; {told} }}"
                                 f"location /hop/ {{ proxy_pass http://{HOST}:{server}; "
                                 "proxy_set_header Forwarded 'for=203.0.113.9;proto=https;host=a.example'; "
                                 "proxy_set_header X-Forwarded-For ''; }") as port:
                forged = ("-H", "X-Forwarded-For: 198.51.100.1, 198.51.100.2", "-H", "Forwarded: for=198.51.100.3",
                          "-H", "X-Forwarded-Proto: gopher", "-H", "Host: real.example",
                          "-H", "X-Forwarded-Host: evil.example")
                # curl on 127.0.0.2 is no trusted proxy: it is the client, whatever it says.
                got = json.loads(curl("--interface", "127.0.0.2", *forged, f"http://{HOST}:{port}/"))
                near = json.loads(curl(f"http://{HOST}:{port}/hop/"))
            direct = json.loads(curl("--interface", "127.0.0.2", *forged, f"http://{HOST}:{server}/"))
        if trusted:
            assert got == ["127.0.0.2", 0, "https", "real.example", True]
            assert near == ["203.0.113.9", 0, "https", "a.example", True]
        else:
            assert (got[0], got[2], got[4]) == (HOST, "http", False)
            assert (near[0], near[2], near[4]) == (HOST, "http", False)
        assert (direct[0], direct[2:]) == ("127.0.0.2", ["http", "real.example", False])


# ==== the PROXY protocol ====

@needs_python
class TestProxyProtocol:
    @staticmethod
    def tell_address(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.reply(200, f"{conn.remote_addr[0]} {conn.remote_addr[1]}")

    @staticmethod
    def ask(port):
        """Ask twice on one connection; returns who the server says we are, and who we are."""
        client = http.client.HTTPConnection(HOST, port, timeout=SECONDS, source_address=("127.0.0.3", 0))
        with contextlib.closing(client):
            for _ in range(2):
                client.request("GET", "/")
                answer = client.getresponse()
                text = answer.read().decode()
                assert answer.status == 200
            return text, "{} {}".format(*client.sock.getsockname())

    @needs("haproxy")
    @pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
    def test_haproxy(self, tmp_path, version):
        with served(self.tell_address, proxy_protocol_from=f"{HOST}/32") as (_, server):
            with haproxy(tmp_path, f"{HOST}:{server} {version}") as port:
                told, true = self.ask(port)
                assert told == true
            # Without a header, or from somebody else with one, there is no answer; from others without one there is.
            assert curl("-w", "%{http_code}", f"http://{HOST}:{server}/", check=False)[-3:] in (b"000", b"400")
            told, true = self.ask(server)
            assert told == true

    @needs("haproxy")
    @pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
    def test_nobody_is_believed_unasked(self, tmp_path, version):
        with served(self.tell_address) as (_, server), haproxy(tmp_path, f"{HOST}:{server} {version}") as port:
            out = curl("-w", "%{http_code}", f"http://{HOST}:{port}/", check=False)
            assert out[-3:] in (b"400", b"000")

    @needs("haproxy")
    def test_upload_behind_it(self, folder, tmp_path):
        """Header, head and body may arrive in one piece; and the form's answer finds its way back."""
        def on_form(conn, form):
            conn.reply(200, f"{conn.remote_addr[0]} {form.get('file').size}")

        def handler(conn, ev, data):
            if ev == MG_EV_HTTP_HDRS and data.method == "POST":
                conn.receive_form(data, folder, on_form)

        with served(handler, proxy_protocol_from=HOST) as (_, server), haproxy(
                tmp_path, f"{HOST}:{server} send-proxy-v2") as port:
            for size in (1, 20_000_000):
                out = curl("--interface", "127.0.0.3", "-F", "file=@-;filename=f", f"http://{HOST}:{port}/",
                           data=b"x" * size)
                assert out.decode() == f"127.0.0.3 {size}"


# ==== events ====

@needs_python
@pytest.mark.parametrize("slow", ["close", "skip"])
def test_subscriber_that_never_reads(slow):
    """It costs the other one nothing: curl gets every event, in order."""
    channel = None
    count, text = 400, "x" * 50_000

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            channel.subscribe(conn)

    with served(handler) as (manager, port), socket.socket() as idle:
        channel = manager.event_channel(slow=slow, pending_bytes_max=1 << 20)
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect((HOST, port))
        idle.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        until(lambda: channel.subscriber_count == 1, "the first subscriber")
        with subprocess.Popen(["curl", "-sSN", f"http://{HOST}:{port}/"], stdout=subprocess.PIPE, env=PLAIN) as reader:
            until(lambda: channel.subscriber_count == 2, "the second subscriber")
            for number in range(count):  # each when the last has arrived, so curl is never the slow one
                channel.publish("", text, id=str(number))
                got = [reader.stdout.readline() for _ in range(3)]
                assert b"id: %d\n" % number in got and b"data: %s\n" % text.encode() in got and got[2] == b"\n"
            reader.terminate()
        until(lambda: channel.subscriber_count == (0 if slow == "close" else 1), "the end of curl")
        if slow == "close":
            assert channel.closed_count == 1 and channel.skipped_count == 0
        else:
            assert channel.closed_count == 0 and channel.skipped_count > count / 4


@needs_python
def test_events_for_http_1_0(tmp_path):
    """A stream without chunks, which ends with its connection."""
    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            conn.http_sse_begin()
            conn.http_sse("news", "one\ntwo")
            channel.subscribe(conn)

    with served(handler) as (manager, port):
        channel = manager.event_channel()
        with subprocess.Popen(["curl", "-sSN0i", f"http://{HOST}:{port}/"], stdout=subprocess.PIPE, env=PLAIN) as reader:
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += reader.stdout.readline()
            assert head.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nContent-Type: text/event-stream\r\n" in head
            assert b"chunked" not in head and b"Content-Length" not in head
            assert [reader.stdout.readline() for _ in range(4)] == [
                b"event: news\n", b"data: one\n", b"data: two\n", b"\n"]
            until(lambda: channel.subscriber_count == 1, "the subscriber")
            channel.publish("", "three")
            assert [reader.stdout.readline() for _ in range(2)] == [b"data: three\n", b"\n"]
            reader.terminate()
        until(lambda: channel.subscriber_count == 0, "the end of curl")
