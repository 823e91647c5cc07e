# SPDX-License-Identifier: MIT
"""receive_form(): values and files of any size, what on_form gets, how long it lives, and how a form can fail."""
import errno
import gc
import os
import pathlib
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

import cymongoose
from cymongoose import MG_EV_CLOSE, MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Connection, HttpMessage, Manager
from support import DEADLINE, HOST, Recorder, descriptors, get, join, post, run_python, settle, spin

BOUNDARY = "----boundary42"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def multipart(*parts):
    """The body of a form. parts: (name, value) or (name, value, filename, content type)."""
    body = b""
    for name, value, *file in parts:
        body += f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'.encode()
        if file:
            body += f'; filename="{file[0]}"\r\nContent-Type: {file[1]}'.encode()
        body += b"\r\n\r\n" + (value.encode() if isinstance(value, str) else value) + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def form_post(*parts, path="/"):
    return post(path, multipart(*parts), Content_Type=TYPE)


FILE = ("upload", b"file\r\n--" + BOUNDARY[:5].encode() + bytes(range(256)), "te st.bin", "application/x-test")
TYPICAL = (("field", "värlue"), FILE, ("empty", ""), ("field", "second"))


class Uploads:
    """An application: a listener whose forms are received, and what on_form has seen as copies."""

    def __init__(self, http, directory, action=None, manager_options=(), listen_options=(), **options):
        self.seen, self.errors, self.refused, self.messages = [], [], [], []
        self.directory, self.options = directory, options
        self.action = action or (lambda conn, form: conn.reply(200, "received"))
        self.manager, self.port = http(self.handler, manager_options={"error_handler": self.errors.append,
                                                                      **dict(manager_options)}, **dict(listen_options))

    def handler(self, conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            try:
                conn.receive_form(data, self.directory, self.on_form, **self.options)
            except (ValueError, RuntimeError, OSError) as exc:
                self.refused.append(exc.with_traceback(None))
                conn.reply(415)
        elif ev == MG_EV_HTTP_MSG:
            self.messages.append(data.uri)
            conn.reply(200, "message")

    def on_form(self, conn, form):
        self.seen.append({
            "conn": conn, "form": form, "error": form.error, "status": form.status,
            "parts": [(part.name, part.filename, part.content_type, part.read(), part.size, part.is_file)
                      for part in form.parts]})
        self.action(conn, form)


@pytest.fixture
def uploads(http, tmp_path):
    """uploads(action, **options of receive_form) -> Uploads with a directory of its own."""
    (tmp_path / "incoming").mkdir()
    return lambda *args, directory=tmp_path / "incoming", **options: Uploads(http, directory, *args, **options)


def send(app, peer, request, responses=1):
    client = peer(app.port)
    client.send(request)
    spin(app.manager, lambda: app.errors or client.responses(responses))
    assert app.errors == []
    return client.responses(responses)


# ==== what is received ====

def test_a_form_with_values_and_a_file(uploads, peer):
    app = uploads()
    [response] = send(app, peer, form_post(*TYPICAL))
    assert response.body == b"received"
    [seen] = app.seen
    assert (seen["error"], seen["status"]) == (None, 0)
    assert seen["parts"] == [
        ("field", "", "", "värlue".encode(), 7, False),
        ("upload", "te st.bin", "application/x-test", FILE[1], len(FILE[1]), True),
        ("empty", "", "", b"", 0, False), ("field", "", "", b"second", 6, False)]
    assert app.messages == []
    assert list(app.directory.iterdir()) == [], "a file that was not saved is gone"


def test_parts_tell_everything(uploads, peer):
    def action(conn, form):
        assert bool(form) is True
        first = form.get("field")
        assert first is form.parts[0] and bool(first) is True
        assert (first.text, first.value, first.read()) == ("värlue", "värlue".encode(), "värlue".encode())
        assert first.is_file is False
        upload = form.get("upload")
        assert (upload.value, upload.text) == (b"", "")
        assert upload.is_file is True
        assert os.pread(upload.fileno(), 1000, 0) == upload.read() == upload.read() == FILE[1]
        assert form.get("empty").text == ""
        assert form.get("missing") is None and form.get("FIELD") is None and form.get("") is None
        assert form.parts is form.parts
        conn.reply_json([part.name for part in form.parts])

    [response] = send(uploads(action), peer, form_post(*TYPICAL))
    assert response.body == b'["field", "upload", "empty", "field"]'


def test_a_urlencoded_form(server, tmp_path):
    got = []

    def on_form(conn, form):
        got.append([(part.name, part.text, part.is_file) for part in form.parts])
        conn.reply(200, form.get("a").text)

    running = server(lambda conn, ev, data: conn.receive_form(data, None, on_form) if ev == MG_EV_HTTP_HDRS else None)
    fields = [("a", "1 &=+"), ("ü", "ß"), ("a", ""), ("long", "x" * 10_000)]
    data = urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(f"http://{HOST}:{running.port}/", data, timeout=DEADLINE) as response:
        assert response.read() == b"1 &=+"
    assert got == [[(name, value, False) for name, value in fields]]


@pytest.mark.parametrize("step", [1, 7, 100])
def test_a_form_that_comes_in_pieces(uploads, peer, step):
    app = uploads()
    request = form_post(*TYPICAL)
    client = peer(app.port)
    for at in range(0, len(request), step):
        client.send(request[at:at + step])
        app.manager.poll(0)
    spin(app.manager, lambda: client.responses(1))
    assert [name for name, *_ in app.seen[0]["parts"]] == ["field", "upload", "empty", "field"]


def test_forms_one_after_the_other(uploads, peer):
    """Keep-alive: a form is a request as any other, and other requests come between."""
    app = uploads(lambda conn, form: conn.reply(200, form.get("n").text))
    found = send(app, peer, b"".join(form_post(("n", str(n)), FILE) + get(f"/{n}") for n in range(20)), 40)
    assert [response.body for response in found[::2]] == [b"%d" % n for n in range(20)]
    assert [response.status for response in found[1::2]] == [415] * 20, "not a form"


def test_save(uploads, peer, tmp_path):
    target = tmp_path / "saved"
    target.write_text("there before")

    def action(conn, form):
        assert form.get("upload").save(target) is None
        assert target.read_bytes() == FILE[1]
        with pytest.raises(RuntimeError, match="before"):
            form.get("upload").save(str(tmp_path / "other"))
        conn.reply(200)

    app = uploads(action)
    mask = os.umask(0o027)
    try:
        send(app, peer, form_post(*TYPICAL))
    finally:
        os.umask(mask)
    settle(app.manager)
    assert target.read_bytes() == FILE[1]
    assert target.stat().st_mode & 0o777 == 0o640
    assert not (tmp_path / "other").exists()


def test_save_that_fails(uploads, peer, tmp_path):
    def action(conn, form):
        upload = form.get("upload")
        with pytest.raises(FileNotFoundError) as caught:
            upload.save(tmp_path / "none" / "x")
        assert caught.value.filename == tmp_path / "none" / "x"
        for wrong, error in [(None, TypeError), (b"/tmp/x", TypeError), (5, TypeError), ("a\0b", ValueError)]:
            with pytest.raises(error):
                upload.save(wrong)
        for call in (lambda: form.get("field").save(tmp_path / "x"), form.get("field").fileno):
            with pytest.raises(ValueError, match="not a file"):
                call()
        upload.save(tmp_path / "x")
        other = form.get("other")
        for directory in (tmp_path, ".", f"{tmp_path}/"):
            with pytest.raises(IsADirectoryError) as caught:
                other.save(directory)
            assert caught.value.filename == directory
        with pytest.raises(NotADirectoryError):
            other.save(tmp_path / "x" / "y")
        with pytest.raises(OSError) as caught:
            other.save(tmp_path / ("y" * 300))
        assert caught.value.errno == errno.ENAMETOOLONG
        with pytest.raises(FileNotFoundError):
            other.save("")
        conn.reply(200)

    send(uploads(action), peer, form_post(*TYPICAL, ("other", "x", "x", "a/b")))
    assert (tmp_path / "x").read_bytes() == FILE[1]


def test_a_directory_that_is_none(http, peer, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "loop").symlink_to("loop")
    wrong = {"file": errno.ENOTDIR, "none": errno.ENOENT, "file/x": errno.ENOTDIR, "loop": errno.ELOOP,
             "y" * 300: errno.ENAMETOOLONG}
    for name, number in wrong.items():
        app = Uploads(http, tmp_path / name)
        client = peer(app.port)
        client.send(form_post(*TYPICAL))
        spin(app.manager, lambda: client.responses(1))
        [error] = app.refused
        assert (type(error), error.errno, error.filename) == (type(OSError(number, "")), number, tmp_path / name)


def test_a_part_is_found_by_the_name_that_it_tells(uploads, peer):
    found = []

    def action(conn, form):
        [part] = form.parts
        found.append((part.name, form.get(part.name) is part))
        conn.reply(200)

    body = multipart(("n", "v")).replace(b'"n"', b'"a\xff"')
    send(uploads(action), peer, post("/", body, Content_Type=TYPE))
    assert found == [("a\udcff", True)]
    assert cymongoose.http_var("%FF=1", "\udcff") == "1"


def test_save_to_another_file_system(uploads, peer, tmp_path):
    other = pathlib.Path("/dev/shm")
    if not other.is_dir() or other.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")

    def action(conn, form):
        with pytest.raises(OSError, match="ross-device"):
            form.get("upload").save(other / f"tavi-test-{os.getpid()}")
        conn.reply(200)

    send(uploads(action), peer, form_post(*TYPICAL))


def test_a_large_file_is_not_kept_in_memory(uploads, peer, tmp_path):
    size = 40_000_000
    held = []

    def action(conn, form):
        part = form.get("f")
        assert part.size == size
        part.save(tmp_path / "large")
        conn.reply(200)

    app = uploads(action)
    client = peer(app.port)
    client.send(form_post(("f", bytes(size), "f", "a/b")))

    def done():
        held.append(max(conn.recv_size + conn.recv_len for conn in app.manager.connections))
        return client.responses(1)

    spin(app.manager, done)
    assert (tmp_path / "large").stat().st_size == size
    assert max(held) < 4 << 20


def test_without_a_directory_files_are_refused(uploads, peer):
    app = uploads(lambda conn, form: None, directory=None)
    [response] = send(app, peer, form_post(*TYPICAL))
    assert response.status == app.seen[0]["status"] == 413
    assert isinstance(app.seen[0]["error"], str) and app.seen[0]["error"]
    assert [name for name, *_ in app.seen[0]["parts"]] == ["field"]
    app = uploads(directory=None)
    [response] = send(app, peer, form_post(("a", "b")))
    assert (response.status, app.seen[0]["error"]) == (200, None)


def test_on_form_may_answer_later(uploads, peer):
    waiting = []
    app = uploads(lambda conn, form: waiting.append(conn))
    client = peer(app.port)
    client.send(form_post(*TYPICAL))
    spin(app.manager, lambda: waiting)
    settle(app.manager, 3)
    waiting[0].reply(200, "later")
    [response] = spin(app.manager, lambda: client.responses(1))
    assert response.body == b"later"


# ==== the views die ====

def test_everything_is_empty_afterwards(uploads, peer, tmp_path):
    kept = []

    def action(conn, form):
        kept.extend([form, *form.parts])
        conn.reply(200)

    app = uploads(action)
    send(app, peer, form_post(*TYPICAL))
    form, *parts = kept
    assert bool(form) is False
    assert (form.parts, form.get("field"), form.error, form.status) == ((), None, None, 0)
    for part in parts:
        assert bool(part) is False
        assert part.name == part.filename == part.content_type == part.text == ""
        assert (part.value, part.read(), part.size, part.is_file) == (b"", b"", 0, False)
        for call in (part.fileno, lambda: part.save(tmp_path / "x")):
            with pytest.raises(ValueError, match="not valid any more"):
                call()
    assert list(app.directory.iterdir()) == []


def test_a_kept_tuple_of_parts_dies_too(uploads, peer):
    kept = []

    def action(conn, form):
        kept.append(form.parts)
        conn.reply(200)

    send(uploads(action), peer, form_post(*TYPICAL))
    assert len(kept[0]) == 4
    assert not any(kept[0])


def test_exceptions_of_on_form_are_those_of_a_handler(uploads, peer):
    kept = []

    def action(conn, form):
        kept.append(form)
        conn.reply(200)
        raise ValueError("from on_form")

    app = uploads(action)
    client = peer(app.port)
    client.send(form_post(*TYPICAL) + form_post(*TYPICAL))
    spin(app.manager, lambda: client.responses(2))
    assert [str(exc) for exc in app.errors] == ["from on_form"] * 2
    assert not any(kept)


def test_an_interrupt_in_on_form_leaves_poll(uploads, peer):
    def action(conn, form):
        conn.reply(200)
        raise KeyboardInterrupt

    app = uploads(action)
    client = peer(app.port)
    client.send(form_post(*TYPICAL))
    with pytest.raises(KeyboardInterrupt):
        spin(app.manager, lambda: app.seen and not app.manager.poll(2))
    spin(app.manager, lambda: client.responses(1))
    assert app.errors == []


# ==== errors ====

@pytest.mark.parametrize("body, status", [
    (b"garbage", 400), (multipart(("a", "b"))[:-10], 400), (b"", 400),
    (multipart(("a", "b")).replace(b"name=", b"nam="), 400),
])
def test_a_malformed_form(uploads, peer, body, status):
    app = uploads(lambda conn, form: None)
    [response] = send(app, peer, post("/", body, Content_Type=TYPE))
    assert (response.status, app.seen[0]["status"]) == (status, status)
    assert app.seen[0]["error"]
    assert app.messages == []


@pytest.mark.parametrize("options, parts, count", [
    ({"field_bytes_max": 10}, [("ok", "x" * 10), ("long", "x" * 11)], 1),
    ({"memory_bytes_max": 100}, [("ok", "x" * 50), ("long", "x" * 60)], 1),
    ({"part_count_max": 2}, [("a", ""), ("b", ""), ("c", "")], 2),
    ({"file_count_max": 1}, [("a", "1", "f", "a/b"), ("b", "2", "f", "a/b")], 1),
    ({"file_bytes_max": 1000}, [("ok", "x"), ("f", b"x" * 1001, "f", "a/b")], 1),
    ({"body_bytes_max": 200}, [("a", "x" * 300)], 0),
])
def test_limits(uploads, peer, options, parts, count):
    app = uploads(lambda conn, form: None, **options)
    [response] = send(app, peer, form_post(*parts))
    assert (response.status, app.seen[0]["status"]) == (413, 413)
    assert len(app.seen[0]["parts"]) <= count, "files that are not on disk yet are not complete"
    fits = uploads(**options)
    [response] = send(fits, peer, form_post(*parts[:1]) if count else form_post(("a", "")))
    assert response.status == 200


def test_a_form_may_be_longer_than_body_bytes_max_of_the_listener(uploads, peer):
    app = uploads(listen_options={"body_bytes_max": 1000})
    [response] = send(app, peer, form_post(("f", bytes(100_000), "f", "a/b")))
    assert response.status == 200


def test_on_form_may_answer_an_error_itself(uploads, peer):
    app = uploads(lambda conn, form: conn.reply(422, form.error), part_count_max=0)
    [response] = send(app, peer, form_post(("a", "b")))
    assert response.status == 422
    assert response.body.decode() == app.seen[0]["error"]


def test_error_and_status_are_kept(uploads, peer):
    app = uploads(lambda conn, form: None, part_count_max=0)
    send(app, peer, form_post(("a", "b")))
    [seen] = app.seen
    assert (seen["form"].error, seen["form"].status) == (seen["error"], 413)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_client_that_leaves(uploads, peer, how):
    """on_form is told, once, before CLOSE; nothing can be answered."""
    order = []

    def action(conn, form):
        order.append("form")
        conn.set_handler(lambda conn, ev, data: order.append("close") if ev == MG_EV_CLOSE else None)
        assert form.error and form.status == 0
        with pytest.raises(RuntimeError):
            conn.reply(200)

    app = uploads(action)
    client = peer(app.port)
    client.send(form_post(*TYPICAL)[:-30])
    spin(app.manager, lambda: app.manager.connections[-1].recv_len == 0 and client.sent_all)
    settle(app.manager, 3)
    assert app.seen == []
    getattr(client, how)()
    spin(app.manager, lambda: len(app.manager.connections) == 1)
    settle(app.manager, 3)
    assert order == ["form", "close"]
    assert [name for name, *_ in app.seen[0]["parts"]] == ["field", "upload", "empty"]
    assert app.errors == []


def test_the_program_closes_the_connection_meanwhile(uploads, peer):
    app = uploads(lambda conn, form: None)
    client = peer(app.port)
    client.send(form_post(*TYPICAL)[:-30])
    spin(app.manager, lambda: len(app.manager.connections) == 2 and client.sent_all)
    settle(app.manager, 3)
    app.manager.connections[1].close()
    assert app.seen == []
    spin(app.manager, lambda: app.seen)
    settle(app.manager, 3)
    assert len(app.seen) == 1 and app.seen[0]["error"]


def test_a_client_that_stops_sending(uploads, peer):
    app = uploads(lambda conn, form: None, listen_options={"body_timeout_ms": 30})
    client = peer(app.port)
    client.send(form_post(*TYPICAL)[:-30])
    [response] = spin(app.manager, lambda: client.responses(1))
    assert response.status == app.seen[0]["status"] == 408


def test_the_manager_closes_meanwhile(uploads, peer):
    app = uploads(lambda conn, form: None)
    client = peer(app.port)
    client.send(form_post(*TYPICAL)[:-30])
    spin(app.manager, lambda: len(app.manager.connections) == 2 and client.sent_all)
    settle(app.manager, 3)
    app.manager.close()
    assert len(app.seen) == 1 and app.seen[0]["error"]


def test_a_manager_with_a_form_on_its_way_is_collected(peer, tmp_path):
    """Through the closure that on_form is: form -> manager -> form."""
    before = descriptors().keys()
    holder = {}

    def start():
        manager = Manager(lambda conn, ev, data: conn.receive_form(data, tmp_path, on_form)
                          if ev == MG_EV_HTTP_HDRS else None)

        def on_form(conn, form):
            seen.append((form.error, len(form.parts)))
            return manager

        holder["port"] = manager.listen(f"http://{HOST}:0").local_addr[1]
        return manager

    seen = []
    manager = start()
    client = peer(holder["port"])
    client.send(form_post(*TYPICAL)[:-30])
    spin(manager, lambda: len(manager.connections) == 2 and client.sent_all)
    settle(manager, 3)
    del manager
    gc.collect()
    client.close()
    assert len(seen) <= 1
    assert descriptors().keys() <= before


COLLECTED = '''
import gc, socket, sys, tempfile

def start(receives):
    import cymongoose

    class Mine(cymongoose.Manager):
        def __del__(self):
            print("del")

    def on_form(conn, form):
        print("form", form.error)

    def handler(conn, ev, data):
        if ev == cymongoose.MG_EV_HTTP_HDRS:
            got.append(ev)
            if receives:
                conn.receive_form(data, tempfile.gettempdir(), on_form)
        elif ev == cymongoose.MG_EV_CLOSE:
            print("close")

    got = []
    manager = Mine(handler)
    handler.manager = manager
    client = socket.create_connection(("127.0.0.1", manager.listen("http://127.0.0.1:0").local_addr[1]))
    client.sendall(b"POST / HTTP/1.1\\r\\nHost: test\\r\\nContent-Type: multipart/form-data; boundary=x\\r\\n"
                   b"Content-Length: 1000\\r\\n\\r\\n--x\\r\\n")
    while not got:
        manager.poll(10)
    return client, manager

kept = start(RECEIVES)
if COLLECTS:
    for name in [each for each in sys.modules if each.startswith("cymongoose")]:
        del sys.modules[name]
    kept = kept[0]
    gc.collect()
    gc.collect()
print("end")
'''


@pytest.mark.parametrize("receives", [True, False])
@pytest.mark.parametrize("collects", [True, False])
def test_a_subclass_with_a_del_of_its_own_and_its_module_are_collected(receives, collects):
    """It is closed after the collector has cleared the rest, perhaps the module's state: nobody is told then."""
    done = run_python(f"RECEIVES, COLLECTS = {receives}, {collects}\n{COLLECTED}", env={"PYTHONMALLOC": "malloc_debug"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == (["del", "end"] if collects else ["end", "del"])


# ==== arguments and places ====

def test_a_request_that_is_no_form(uploads, peer):
    app = uploads()
    for kind in ("text/plain", "multipart/form-data", "multipart/mixed; boundary=x", None):
        request = post("/", b"body", **({"Content_Type": kind} if kind else {}))
        [response] = send(app, peer, request)
        assert response.status == 415
        assert type(app.refused[-1]) is ValueError and "not a form" in str(app.refused[-1])
    assert app.seen == []


def test_receive_form_is_for_hdrs(http, peer, tmp_path):
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            with pytest.raises(RuntimeError, match="MG_EV_HTTP_HDRS"):
                conn.receive_form(data, tmp_path, print)
            conn.reply(200)
            outcome.append(conn)
        elif ev == MG_EV_HTTP_HDRS and data.uri == "/answered":
            conn.reply(200)
            with pytest.raises(RuntimeError):
                conn.receive_form(data, tmp_path, print)
            outcome.append(conn)

    manager, port = http(handler)
    client = peer(port)
    client.send(form_post(("a", "b")) + form_post(("a", "b"), path="/answered"))
    spin(manager, lambda: len(outcome) == 2)
    spin(manager, lambda: client.responses(2))


def test_receive_form_twice(http, peer, tmp_path):
    outcome = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_HDRS:
            conn.receive_form(data, tmp_path, lambda conn, form: conn.reply(200, "first"))
            with pytest.raises(RuntimeError):
                conn.receive_form(data, tmp_path, lambda conn, form: conn.reply(200, "second"))
            outcome.append(conn)

    manager, port = http(handler)
    client = peer(port)
    client.send(form_post(("a", "b")))
    [response] = spin(manager, lambda: client.responses(1))
    assert response.body == b"first"
    assert outcome


def test_errors_inside_fspath_are_its_own(uploads, peer):
    class Path:
        def __fspath__(self):
            raise TypeError("mine")

    def action(conn, form):
        with pytest.raises(TypeError, match="^mine$"):
            form.get("upload").save(Path())
        with pytest.raises(TypeError, match="^path must be str or os.PathLike, not bytearray$"):
            form.get("upload").save(bytearray(b"x"))
        conn.reply(200)

    send(uploads(action), peer, form_post(*TYPICAL))


def test_arguments(http, peer, tmp_path):
    outcome = []

    def handler(conn, ev, data):
        if ev != MG_EV_HTTP_HDRS:
            return
        for call, error in [
            (lambda: conn.receive_form(data, tmp_path), TypeError),
            (lambda: conn.receive_form(data, tmp_path, None), TypeError),
            (lambda: conn.receive_form(data, tmp_path, "x"), TypeError),
            (lambda: conn.receive_form(None, tmp_path, print), TypeError),
            (lambda: conn.receive_form(HttpMessage(), tmp_path, print), ValueError),
            (lambda: conn.receive_form(data, 5, print), TypeError),
            (lambda: conn.receive_form(data, b"/tmp", print), TypeError),
            (lambda: conn.receive_form(data, "a\0", print), ValueError),
            (lambda: conn.receive_form(data, tmp_path / "none", print), FileNotFoundError),
            (lambda: conn.receive_form(data, tmp_path, print, 5), TypeError),
            (lambda: conn.receive_form(data, tmp_path, print, field_bytes_max="5"), TypeError),
            (lambda: conn.receive_form(data, tmp_path, print, file_bytes_max=-1), OverflowError),
            (lambda: conn.receive_form(data, tmp_path, print, body_bytes_max=2**63), OverflowError),
            (lambda: conn.receive_form(data, tmp_path, print, unknown=5), TypeError),
            (lambda: Connection().receive_form(data, tmp_path, print), RuntimeError),
            (lambda: listener.receive_form(data, tmp_path, print), RuntimeError),
        ]:
            with pytest.raises(error):
                call()
        conn.receive_form(message=data, directory=str(tmp_path), on_form=lambda conn, form: conn.reply(204),
                          field_bytes_max=100, memory_bytes_max=1000, part_count_max=5, file_count_max=None,
                          file_bytes_max=2**40, body_bytes_max=None)
        outcome.append(data)

    manager, port = http(handler)
    [listener] = manager.connections
    client = peer(port)
    client.send(form_post(("a", "b")))
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 204
    with pytest.raises(ValueError, match="^HttpMessage is not valid for this event$"):
        manager.connections[1].receive_form(outcome[0], tmp_path, print)


def test_the_connection_is_the_same_object(uploads, peer):
    events = Recorder()
    app = uploads()
    original = app.handler
    app.manager.connections[0].set_handler(lambda *args: (events(*args), original(*args)))
    send(app, peer, form_post(*TYPICAL))
    assert app.seen[0]["conn"] is events.accepted()
    assert "HTTP_MSG" not in events.names()


# ==== threads, references ====

def test_parts_may_be_read_and_saved_by_other_threads(uploads, peer, tmp_path):
    read = []

    def action(conn, form):
        def work():
            read.append(form.get("upload").read())
            form.get("upload").save(tmp_path / "saved")

        thread = threading.Thread(target=work)
        thread.start()
        join(thread)
        conn.reply(200)

    send(uploads(action), peer, form_post(*TYPICAL))
    assert read == [FILE[1]]
    assert (tmp_path / "saved").read_bytes() == FILE[1]


def test_a_thread_that_reads_when_the_form_dies(uploads, peer):
    """What it gets is whole, or nothing: never another file's bytes."""
    size, stop, results, kept = 3_000_000, threading.Event(), [], []

    def work():
        while not stop.is_set():
            for part in kept[-3:]:
                results.append(len(part.read()))

    def action(conn, form):
        kept.append(form.get("f"))
        conn.reply(200)

    app = uploads(action)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(10):
            send(app, peer, form_post(("f", b"x" * size, "f", "a/b")))
    finally:
        stop.set()
        join(thread)
    assert set(results) <= {0, size}


def test_on_form_is_let_go(uploads, peer):
    app = uploads(lambda conn, form: form.error or conn.reply(200))
    received = app.on_form
    app.on_form = lambda conn, form: received(conn, form)
    before = sys.getrefcount(app.on_form)
    for _ in range(20):
        send(app, peer, form_post(*TYPICAL) + get(), 2)
    client = peer(app.port)
    client.send(form_post(*TYPICAL)[:-5])
    spin(app.manager, lambda: client.sent_all)
    settle(app.manager, 3)
    during = sys.getrefcount(app.on_form)
    client.close()
    spin(app.manager, lambda: len(app.seen) == 21)
    after = sys.getrefcount(app.on_form)
    assert (during, after) == (before + 1, before)


def test_many_forms_leave_nothing(uploads, peer):
    app = uploads(lambda conn, form: conn.reply(200))
    app.on_form = lambda conn, form: (form.get("upload").read(), form.get("field").text, conn.reply(200))
    client = peer(app.port)

    def run(number):
        for _ in range(number):
            client.send(form_post(*TYPICAL) * 10)
            spin(app.manager, lambda: client.responses(10))
            client.received.clear()

    run(10)
    gc.collect()
    settle(app.manager)
    before = len(gc.get_objects()), sys.getrefcount(None), len(descriptors())
    run(50)
    gc.collect()
    spin(app.manager, lambda: len(descriptors()) == before[2])
    assert abs(len(gc.get_objects()) - before[0]) < 50
    assert abs(sys.getrefcount(None) - before[1]) < 100
