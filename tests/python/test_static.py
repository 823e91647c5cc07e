# SPDX-License-Identifier: MIT
"""serve_dir() and serve_file(): what standard clients get, what each parameter does, and what is refused."""
import email.utils
import gzip
import http.client
import os
import pathlib
import sys
import threading
import urllib.error
import urllib.request

import pytest

from cymongoose import MG_EV_HTTP_HDRS, MG_EV_HTTP_MSG, Connection, HttpMessage
from support import DEADLINE, HOST, exchange, get, join, post, spin

EVERY_BYTE = bytes(range(256)) * 40


@pytest.fixture
def root(tmp_path):
    """A directory to serve, with a secret beside it."""
    (tmp_path / "secret.txt").write_text("secret")
    top = tmp_path / "www"
    (top / "sub" / "deep").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "index.html").write_text("<h1>index</h1>")
    (top / "hello.txt").write_text("hello")
    (top / "every.bin").write_bytes(EVERY_BYTE)
    (top / "large.bin").write_bytes(EVERY_BYTE * 300)
    (top / "grüße & co.txt").write_text("special")
    (top / ".hidden").write_text("hidden")
    (top / "sub" / "deep" / "file.html").write_text("<p>deep</p>")
    return top


def serve(http, peer, root, request, *args, **options):
    """One request to serve_dir(); its response."""
    method = request.split(b" ", 1)[0].decode()
    [response], [outcome] = exchange(http, peer, request, lambda conn, message: conn.serve_dir(
        message, str(root), *args, **options), methods=[method])
    assert outcome is None, outcome
    return response


# ==== as standard clients see it ====

@pytest.fixture
def site(server, root):
    """A server of the directory on its own thread; its port."""
    return server(lambda conn, ev, data: conn.serve_dir(data, str(root)) if ev == MG_EV_HTTP_MSG else None).port


@pytest.mark.parametrize("path, content, mime", [
    ("/hello.txt", b"hello", "text/plain"), ("/", b"<h1>index</h1>", "text/html"),
    ("/sub/deep/file.html", b"<p>deep</p>", "text/html"), ("/every.bin", None, None), ("/large.bin", None, None),
    ("/gr%C3%BC%C3%9Fe%20%26%20co.txt", b"special", "text/plain"),
    ("/hello.txt?query=1", b"hello", "text/plain"), ("/index.html", b"<h1>index</h1>", "text/html"),
])
def test_urllib_gets_files(site, root, path, content, mime):
    """[tests rely] text, binary, nested paths; the type of .html"""
    content = content or (root / path[1:]).read_bytes()
    with urllib.request.urlopen(f"http://{HOST}:{site}{path}", timeout=DEADLINE) as response:
        assert response.status == 200
        assert response.read() == content
        assert mime is None or response.headers["Content-Type"].startswith(mime)
        assert int(response.headers["Content-Length"]) == len(content)


def test_one_connection_gets_many_files(site):
    client = http.client.HTTPConnection(HOST, site, timeout=DEADLINE)
    for path, size in [("/hello.txt", 5), ("/large.bin", len(EVERY_BYTE) * 300), ("/missing", None)] * 5:
        client.request("GET", path)
        response = client.getresponse()
        body = response.read()
        assert response.status == (404 if size is None else 200)
        assert size is None or len(body) == size
    client.close()


def test_a_missing_file_is_404(site):
    """[tests rely]"""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"http://{HOST}:{site}/missing.txt", timeout=DEADLINE)
    assert caught.value.code == 404
    caught.value.close()


def test_head_and_conditions(http, peer, root):
    head = serve(http, peer, root, b"HEAD /every.bin HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (head.status, head.body, head.header("Content-Length")) == (200, b"", str(len(EVERY_BYTE)))
    modified = email.utils.parsedate_to_datetime(head.header("Last-Modified"))
    assert abs(modified.timestamp() - (root / "every.bin").stat().st_mtime) < 2
    etag = head.header("ETag")
    for header, value in [("If-None-Match", etag), ("If-Modified-Since", head.header("Last-Modified"))]:
        assert serve(http, peer, root, get("/every.bin", **{header: value})).status == 304
    assert serve(http, peer, root, get("/every.bin", If_None_Match='"other"')).status == 200
    assert serve(http, peer, root, get("/every.bin", If_Match='"other"')).status == 412


@pytest.mark.parametrize("ranges, first, end", [
    ("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-7", -7, None), ("bytes=10-99999999", 10, None),
])
def test_ranges(http, peer, root, ranges, first, end):
    response = serve(http, peer, root, get("/every.bin", Range=ranges))
    assert (response.status, response.body) == (206, EVERY_BYTE[first:end])
    assert response.header("Content-Range").endswith(f"/{len(EVERY_BYTE)}")


def test_a_range_beyond_the_end_is_416(http, peer, root):
    response = serve(http, peer, root, get("/every.bin", Range="bytes=99999999-"))
    assert response.status == 416
    assert response.header("Content-Range") == f"bytes */{len(EVERY_BYTE)}"


def test_ranges_max(http, peer, root):
    assert serve(http, peer, root, get("/hello.txt", Range="bytes=0-1"), ranges_max=0).status == 200
    several = get("/every.bin", Range="bytes=0-1,10-11,20-21")
    assert serve(http, peer, root, several, ranges_max=2).status == 200
    response = serve(http, peer, root, several, ranges_max=3)
    assert response.status == 206
    assert response.header("Content-Type").startswith("multipart/byteranges")


@pytest.mark.parametrize("path", ["/../secret.txt", "/sub/../../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt",
                                  "/sub/..%5c..%5csecret.txt", "/%00", "/hello.txt%00.html", "/%zz"])
def test_nothing_outside_of_the_root_can_be_reached(http, peer, root, path):
    response = serve(http, peer, root, get(path))
    assert response.status == 400
    assert b"secret" not in response.body


def test_links_out(http, peer, root):
    (root / "link.txt").symlink_to("../secret.txt")
    (root / "inside.txt").symlink_to("hello.txt")
    assert serve(http, peer, root, get("/inside.txt")).body == b"hello"
    assert serve(http, peer, root, get("/link.txt")).status in (403, 404)
    assert serve(http, peer, root, get("/link.txt"), links_out=True).body == b"secret"


def test_other_methods_are_405(http, peer, root):
    response = serve(http, peer, root, post("/hello.txt", b"x"))
    assert response.status == 405
    assert "GET" in response.header("Allow")


# ==== directories ====

def test_a_directory_without_slash_is_moved(http, peer, root):
    response = serve(http, peer, root, get("/sub"))
    assert (response.status, response.header("Location")) == (301, "/sub/")


def test_listing(http, peer, root):
    (root / "sub" / "<script>&.txt").write_text("x")
    response = serve(http, peer, root, get("/sub/"))
    assert response.status == 200
    assert response.header("Content-Type").startswith("text/html")
    assert b"deep/" in response.body
    assert b"<script>&" not in response.body
    assert serve(http, peer, root, get("/sub/"), listing=False).status == 404


def test_hidden(http, peer, root):
    assert serve(http, peer, root, get("/.hidden")).status == 404
    assert serve(http, peer, root, get("/.hidden"), hidden=True).body == b"hidden"


def test_mount(http, peer, root):
    assert serve(http, peer, root, get("/static/hello.txt"), mount="/static").body == b"hello"
    assert serve(http, peer, root, get("/hello.txt"), mount="/static").status == 404
    assert serve(http, peer, root, get("/staticx/hello.txt"), mount="/static").status == 404
    both = f"{root},/other={root}"
    assert serve(http, peer, both, get("/static/hello.txt"), mount="/static").body == b"hello"
    assert serve(http, peer, both, get("/other/hello.txt"), mount="/static").body == b"hello"


def test_index(http, peer, root):
    (root / "start.txt").write_text("start")
    assert serve(http, peer, root, get("/"), index="start.txt,index.html").body == b"start"
    assert serve(http, peer, root, get("/"), index="none.html,index.html").body == b"<h1>index</h1>"
    assert b"hello.txt" in serve(http, peer, root, get("/"), index="").body


def test_a_root_that_is_not_there_is_404(http, peer, root):
    assert serve(http, peer, root / "missing", get("/")).status == 404


# ==== what the parameters do ====

@pytest.mark.parametrize("lines", [
    "X-One: 1\r\nX-Two: two words\r\n", "X-One: 1\r\nX-Two: two words", "X-One: 1\nX-Two: two words\n",
    "X-One:1\nX-Two:\t two words \r\n",
])
def test_extra_headers(http, peer, root, lines):
    """[tests rely] They arrive intact, with errors too."""
    for path, status in [("/hello.txt", 200), ("/missing", 404), ("/sub", 301), ("/sub/", 200), ("/../x", 400)]:
        response = serve(http, peer, root, get(path), lines)
        assert (response.status, response.header("X-One"), response.header("X-Two")) == (status, "1", "two words")


@pytest.mark.parametrize("lines", ["no colon", "X: 1\r\n\r\n", "\r\n", "X: 1\r\nno colon\r\n", ": empty\r\n", "X Y: 1",
                                   "X: a\rb\r\n", "X: a\0b", "X\0: a", "X : a", " X: folded"])
@pytest.mark.parametrize("path", ["/hello.txt", "/missing", "/sub/", "/sub"])
def test_extra_headers_that_are_none(http, peer, root, lines, path):
    [response], [outcome] = exchange(http, peer, get(path),
                                     lambda conn, message: conn.serve_dir(message, str(root), lines))
    assert isinstance(outcome, ValueError), outcome
    assert (response.status, response.body) == (500, b"refused")


def test_mime_types(http, peer, root):
    types = "txt=text/x-mine,bin=application/x-bin"
    assert serve(http, peer, root, get("/hello.txt"), "", types).header("Content-Type").startswith("text/x-mine")
    assert serve(http, peer, root, get("/every.bin"), mime_types=types).header("Content-Type") == "application/x-bin"
    assert serve(http, peer, root, get("/"), mime_types=types).header("Content-Type").startswith("text/html")
    assert serve(http, peer, root, get("/every.bin"), mime_types="*=a/b").header("Content-Type").startswith("a/b")


def test_page404(http, peer, root, tmp_path):
    """[tests rely] Served with status 200."""
    page = tmp_path / "missing.html"
    page.write_text("the page")
    for given in (str(page), page):
        response = serve(http, peer, root, get("/missing"), page404=given)
        assert (response.status, response.body) == (200, b"the page")
        assert response.header("Content-Type").startswith("text/html")
    assert serve(http, peer, root, get("/hello.txt"), page404=page).body == b"hello"
    assert serve(http, peer, root, get("/missing"), page404="").status == 404
    assert serve(http, peer, root, get("/missing"), page404=tmp_path / "none").status == 404


def test_neighbours(http, peer, root):
    (root / "hello.txt.gz").write_bytes(gzip.compress(b"hello"))
    response = serve(http, peer, root, get("/hello.txt", Accept_Encoding="gzip"))
    assert (response.header("Content-Encoding"), gzip.decompress(response.body)) == ("gzip", b"hello")
    assert response.header("Content-Type").startswith("text/plain")
    assert "accept-encoding" in response.header("Vary").lower()
    assert serve(http, peer, root, get("/hello.txt")).body == b"hello"
    plain = serve(http, peer, root, get("/hello.txt", Accept_Encoding="gzip"), neighbours=False)
    assert (plain.header("Content-Encoding"), plain.body) == (None, b"hello")


# ==== roots ====

@pytest.fixture
def roots(tmp_path):
    """dir,/prefix=dir2,... with a file `name` in each directory that tells where it is."""
    for name in ("main", "one", "two", "a,b", "a"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    return f"{tmp_path}/main,/one={tmp_path}/one,/one/two={tmp_path}/two,/sla sh/={tmp_path}/one"


@pytest.mark.parametrize("path, content", [
    ("/name", b"main"), ("/one/name", b"one"), ("/one/two/name", b"two"), ("/onename", None), ("/one/twoname", None),
    ("/%6fne/name", b"one"), ("//one//.//name", b"one"), ("/sla%20sh/name", b"one"), ("/one/%2e%2e/name", None),
])
def test_root_list(http, peer, roots, path, content):
    """The last prefix that fits wins, and is no part of the file's name."""
    response = serve(http, peer, roots, get(path))
    assert (response.status, response.body) == (200, content) if content else response.status in (400, 404)


def test_the_last_prefix_wins_whatever_its_length(http, peer, tmp_path, roots):
    either = f"{tmp_path}/main,/one/two={tmp_path}/two,/one={tmp_path}/one"
    assert serve(http, peer, either, get("/one/two/name")).status == 404
    assert serve(http, peer, f"{tmp_path}/main,/={tmp_path}/two", get("/name")).body == b"two"


@pytest.mark.parametrize("tail", [",", ",b", ",/b", ",b=c", ",/b=", ",=c", ",/a=b,"])
def test_a_root_list_that_is_none(http, peer, tmp_path, roots, tail):
    [response], [outcome] = exchange(http, peer, get("/name"),
                                     lambda conn, message: conn.serve_dir(message, f"{tmp_path}/a{tail}"))
    assert isinstance(outcome, ValueError) and "root_dir" in str(outcome)
    assert response.status == 500


def test_a_path_object_is_one_directory(http, peer, tmp_path, roots):
    def action(conn, message):
        conn.serve_dir(message, tmp_path / "a,b")

    [response], _ = exchange(http, peer, get("/name"), action)
    assert response.body == b"a,b"


# ==== serve_file ====

@pytest.mark.parametrize("uri, method", [("/", "GET"), ("/../../etc/passwd", "GET"), ("/x?y", "POST"), ("/", "HEAD")])
def test_serve_file_ignores_the_request(http, peer, root, uri, method):
    """[tests rely]"""
    request = post(uri, b"body").replace(b"POST", method.encode())
    [response], [outcome] = exchange(http, peer, request, lambda conn, message: conn.serve_file(
        message, str(root / "hello.txt"), "X-A: 1\r\n", "txt=a/b"), methods=[method])
    assert outcome is None
    assert (response.status, response.header("X-A")) == (200, "1")
    assert response.header("Content-Type").startswith("a/b")
    assert response.body == (b"" if method == "HEAD" else b"hello")


@pytest.mark.parametrize("name", ["missing", "sub"])
def test_serve_file_of_no_file_is_404(http, peer, root, name):
    """[tests rely]"""
    [response], _ = exchange(http, peer, get(), lambda conn, message: conn.serve_file(message, root / name))
    assert response.status == 404


def test_serve_file_with_ranges_and_neighbours(http, peer, root):
    (root / "hello.txt.gz").write_bytes(gzip.compress(b"hello"))
    request = get(Range="bytes=1-2") + get(Accept_Encoding="gzip")
    for options, status, encoding in [({}, 206, "gzip"), ({"ranges_max": 0, "neighbours": False}, 200, None)]:
        found, _ = exchange(http, peer, request, lambda conn, message: conn.serve_file(
            message, root / "hello.txt", **options), 2)
        assert (found[0].status, found[1].header("Content-Encoding")) == (status, encoding)


def test_files_in_hdrs(http, peer, root):
    """An answer may begin before the body of the request is there."""
    manager, port = http(lambda conn, ev, data: conn.serve_file(data, root / "hello.txt")
                         if ev == MG_EV_HTTP_HDRS else None)
    client = peer(port)
    client.send(post("/", b"b" * 1000) + get())
    assert [each.body for each in spin(manager, lambda: client.responses(2))] == [b"hello"] * 2


# ==== arguments ====

class FsPath:
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def both(conn, message, path):
    yield lambda: conn.serve_dir(message, path)
    yield lambda: conn.serve_file(message, path)
    yield lambda: conn.serve_dir(message, "/", page404=path)


def test_paths_are_str_or_path_like(http, peer, root):
    for made in (str, pathlib.Path, lambda path: FsPath(str(path)), lambda path: FsPath(os.fsencode(path))):
        [response], _ = exchange(http, peer, get(), lambda conn, message: conn.serve_file(message,
                                                                                          made(root / "hello.txt")))
        assert response.body == b"hello"


def test_a_path_that_is_no_text(http, peer, tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.txt")
    pathlib.Path(name).write_text("bytes")
    [response], _ = exchange(http, peer, get(), lambda conn, message: conn.serve_file(message, name))
    assert response.body == b"bytes"
    [response], _ = exchange(http, peer, get("/%ff%fe.txt"), lambda conn, message: conn.serve_dir(message, tmp_path))
    assert response.body == b"bytes"


@pytest.mark.parametrize("wrong, error", [(None, TypeError), (5, TypeError), (b"/tmp", TypeError), (["x"], TypeError),
                                          (FsPath(5), TypeError), ("a\0b", ValueError), (FsPath(b"a\0b"), ValueError)])
def test_paths_that_are_none(http, peer, wrong, error):
    def action(conn, message):
        for call in both(conn, message, wrong):
            with pytest.raises(error):
                call()
        conn.reply(204)

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.status) == (None, 204)


def test_other_arguments_are_checked(http, peer, root):
    def action(conn, message):
        for options, error in [
            ({"extra_headers": b"X: 1"}, TypeError), ({"extra_headers": None}, TypeError), ({"mime_types": 5}, TypeError),
            ({"mime_types": "a=b\0"}, ValueError), ({"index": None}, TypeError), ({"index": "\0"}, ValueError),
            ({"mount": b"/x"}, TypeError), ({"mount": "\0"}, ValueError),
            ({"ranges_max": "1"}, TypeError), ({"ranges_max": -1}, OverflowError), ({"ranges_max": 2**40}, OverflowError),
            ({"page404": None}, TypeError), ({"unknown": 1}, TypeError), ({"extra_headers": "X: \udc80"}, ValueError),
        ]:
            with pytest.raises(error):
                conn.serve_dir(message, root, **options)
        with pytest.raises(TypeError):
            conn.serve_dir(message, root, "", "", "", True)
        with pytest.raises(TypeError):
            conn.serve_file(message, root, "", "", True)
        with pytest.raises(TypeError):
            conn.serve_dir(message)
        with pytest.raises(TypeError):
            conn.serve_file(path=root)
        conn.serve_dir(message=message, root_dir=root, extra_headers="", mime_types="", page404="", listing=1, hidden=0,
                       links_out=None, neighbours="yes", ranges_max=True, index="hello.txt")

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.body) == (None, b"hello")


def test_errors_name_the_argument(http, peer, root):
    def action(conn, message):
        for call, text in [
            (lambda: conn.serve_dir(message, ""), "^root_dir must not be empty$"),
            (lambda: conn.serve_dir(message, ",/x=y"), "^root_dir must not be empty$"),
            (lambda: conn.serve_dir(message, root, "a b: 1\r\n"), "^extra_headers: "),
            (lambda: conn.serve_file(message, root / "hello.txt", "X: \0\r\n"), "^extra_headers: "),
        ]:
            with pytest.raises(ValueError, match=text):
                call()
        conn.reply(204)

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.status) == (None, 204)


@pytest.mark.parametrize("wrong", [None, 5, "message", object()])
def test_the_message_is_a_message(http, peer, wrong):
    def action(conn, message):
        for call in both(conn, wrong, "/"):
            with pytest.raises(TypeError, match="message must be HttpMessage"):
                call()
        conn.reply(204)

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.status) == (None, 204)


def test_a_stale_message_is_refused_before_a_closed_connection(http, peer):
    """[tests rely] ValueError first, RuntimeError for a valid message on a closed connection."""
    kept = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            kept.append((conn, data))
            conn.close()
            for call in both(conn, data, "/"):
                with pytest.raises(RuntimeError, match="closed"):
                    call()

    errors = []
    manager, port = http(handler, manager_options={"error_handler": errors.append})
    peer(port).send(get())
    spin(manager, lambda: kept)
    for conn, message in (*kept, (Connection(), HttpMessage())):
        for call in both(conn, message, "/"):
            with pytest.raises(ValueError, match="^HttpMessage is not valid for this event$"):
                call()
    assert errors == []


def test_a_second_answer_raises(http, peer, root):
    def action(conn, message):
        conn.serve_file(message, root / "hello.txt")
        for call in both(conn, message, str(root)):
            with pytest.raises(RuntimeError, match="no request is waiting"):
                call()

    [response], [outcome] = exchange(http, peer, get(), action)
    assert (outcome, response.body) == (None, b"hello")


def test_nothing_happens_on_a_listener(http, peer, root):
    def action(conn, message):
        for each in manager_of(conn):
            for call in both(each, message, str(root)):
                assert call() is None
        conn.reply(204)

    holder = []

    def manager_of(conn):
        return [each for each in holder[0].connections if each.is_listening]

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            action(conn, data)

    manager, port = http(handler)
    holder.append(manager)
    client = peer(port)
    client.send(get())
    [response] = spin(manager, lambda: client.responses(1))
    assert response.status == 204


@pytest.mark.parametrize("end", ["close", "drain", "error"])
def test_the_connection_ends_while_an_argument_is_converted(http, peer, root, end):
    class Evil:
        def __init__(self, conn):
            self.conn = conn

        def __fspath__(self):
            self.conn.error("over") if end == "error" else getattr(self.conn, end)()
            return str(root / "hello.txt")

        def __bool__(self):
            self.__fspath__()
            return True

    outcomes = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            for call in (lambda: conn.serve_file(data, Evil(conn)), lambda: conn.serve_dir(data, root, hidden=Evil(conn))):
                try:
                    outcomes.append(call())
                except RuntimeError as exc:
                    outcomes.append(exc)

    manager, port = http(handler)
    client = peer(port)
    client.send(get())
    spin(manager, client.closed)
    assert len(outcomes) == 2
    assert all(outcome is None or isinstance(outcome, RuntimeError) for outcome in outcomes)


def test_another_thread_may_answer_while_the_handler_waits(http, peer, root):
    def action(conn, message):
        thread = threading.Thread(target=lambda: conn.serve_dir(message, root))
        thread.start()
        join(thread)

    [response], _ = exchange(http, peer, get("/large.bin"), action)
    assert response.body == EVERY_BYTE * 300


def test_many_answers_keep_no_references(http, peer, root):
    arguments = [str(root), "X-A: 1\r\n" * 3, "txt=a/b", str(root / "hello.txt"), "index.html"]
    before = [sys.getrefcount(each) for each in arguments]

    def action(conn, message):
        try:
            conn.serve_dir(message, *arguments[:4], index=arguments[4])
        finally:
            for wrong in ("no colon", "X: \r\n" * 100 + "x"):
                with pytest.raises(ValueError):
                    conn.serve_dir(message, arguments[0], wrong)

    found, outcomes = exchange(http, peer, get("/hello.txt") * 100, action, 100)
    assert outcomes == [None] * 100
    assert [sys.getrefcount(each) for each in arguments] == before
