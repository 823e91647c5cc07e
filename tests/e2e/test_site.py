# SPDX-License-Identifier: MIT
"""Files under hostile requests and other people's clients: raw sockets, curl, wget, http.client, httpx, nginx in front.

The site lies in a directory of its own; beside it, where a request has no business, lies a canary. Whatever is asked for,
none of its bytes may be in an answer.
"""
import ctypes
import email.parser
import email.utils
import errno
import gzip
import html.parser
import http.client
import os
import re
import socket
import subprocess
import urllib.parse
import warnings

import pytest

from programs import BUILD, HOST, PLAIN, SECONDS, Program, curl, needs, nginx, until

CANARY = b"canary-7f1c9a"
OLD = 1_000_000_000  # seconds; a time stamp that is settled


class Site:
    """A directory and a server of it, which has to end well."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "www"
        self.root.mkdir()
        (folder / "canary").write_bytes(CANARY)
        (folder / "outside").mkdir()
        (folder / "outside" / "canary").write_bytes(CANARY)
        self.program = self.port = None

    def start(self, *options, wrapper=()):
        self.stop()
        self.program = Program(*wrapper, BUILD / "tests" / "site_server", self.root, *options, stdin=subprocess.PIPE)
        self.port = self.program.port
        return self

    def stop(self):
        program, self.program = self.program, None
        if program is not None:
            program.end()

    def put(self, name, content=b"", mtime=OLD):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (mtime, mtime))
        return path

    def raw(self, data):
        """All that the server sends for these bytes, until it closes."""
        with socket.create_connection((HOST, self.port), SECONDS) as s:
            s.sendall(data)
            received = []
            while part := s.recv(1 << 16):
                received.append(part)
        return b"".join(received)

    def ask(self, target, *headers, method="GET"):
        """(status, headers, body) of one request; the target is sent as it is."""
        target = target if isinstance(target, bytes) else target.encode()
        lines = "".join(f"{line}\r\n" for line in ("Host: x", "Connection: close", *headers)).encode()
        answer = self.raw(method.encode() + b" " + target + b" HTTP/1.1\r\n" + lines + b"\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *fields = head.decode("latin-1").split("\r\n")
        found = http.client.HTTPMessage()
        for field in fields:
            name, _, value = field.partition(": ")
            found[name] = value
        if found.get("Transfer-Encoding") == "chunked" and method != "HEAD":
            body = dechunk(body)
        return int(first.split()[1]), found, body

    def settled(self, target, *headers):
        """Ask until the file's time stamp is old enough for a strong entity tag."""
        def answer():
            found = self.ask(target, *headers)
            return not found[1].get("ETag", "").startswith("W/") and found
        return until(answer, "a strong entity tag")

    def url(self, path="/"):
        return f"http://{HOST}:{self.port}{path}"


def dechunk(data):
    body = b""
    while True:
        size, _, rest = data.partition(b"\r\n")
        size = int(size, 16)
        if size == 0:
            assert rest == b"\r\n"
            return body
        body, data = body + rest[:size], rest[size + 2:]


@pytest.fixture()
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.stop()


def has_openat2():
    """Without it (an old sandbox) no link is followed at all."""
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.syscall(437, -100, b"/", None, 0) >= 0 or ctypes.get_errno() not in (errno.ENOSYS, errno.EPERM)


needs_openat2 = pytest.mark.skipif(not has_openat2(), reason="no openat2")


def run(*command, check=True, cwd=None):
    done = subprocess.run(command, capture_output=True, timeout=SECONDS, env=PLAIN, cwd=cwd)
    if check:
        assert done.returncode == 0, (command, done.stderr)
    return done


# ==== out of the root ====

UPS = ("..", "%2e%2e", "%2E%2E", ".%2e", "%2e.", ".%2E", "%2E.", "%2e%2E")
SLASHES = ("/", "%2f", "%2F", "//", "/./", "%2f/", "/%2f", "/%2e/")


def dots():
    """(target, statuses): ".." as a component in each of its spellings, in each place, is refused."""
    for up in UPS:
        for slash in SLASHES:
            yield f"/{up}{slash}canary", {400}
            yield f"/d{slash}{up}{slash}{up}{slash}canary", {400}
        yield f"/{up}", {400}
        yield f"/{up}/", {400}
        yield f"/d/{up}?q=1", {400}
        yield f"/d/{up}/?/../../canary", {400}
        yield f"/d/e/f/{up}/{up}/{up}/{up}/canary", {400}
        yield f"/none/{up}/{up}/canary", {400}
        yield f"/{up}/www/index.txt", {400}
        yield f"/static/{up}/{up}/canary", {400}
        yield f"http://x/{up}/canary", {400}
        yield f"http://x/d/{up}/{up}/canary?{up}", {400}
        yield f"/{up}%00/canary", {400}
    yield "/" + "../" * 40 + "etc/passwd", {400}
    yield "/" + "d/../" * 800 + "../canary", {400, 414, 431}
    yield "/" + "a/" * 500 + "../" * 501 + "canary", {400, 414, 431}
    yield "/./../canary", {400}
    yield "/.//../canary", {400}


def others():
    """What is something else than ".." to us, and may be ".." to somebody else."""
    for up in (
            "%252e%252e", "%25%32%65%25%32%65", "..%252f", "%252e%252e%252f", "%%32%65%%32%65", "%c0%ae%c0%ae", "%C0%AE%C0%AE",
            "%e0%80%ae%e0%80%ae", "%f0%80%80%ae%f0%80%80%ae", "%f8%80%80%80%ae%f8%80%80%80%ae", "%fc%80%80%80%80%ae",
            "%c0.%c0.", "%c0%2e%c0%2e", "%u002e%u002e", "%uff0e%uff0e", "%ef%bc%8e%ef%bc%8e", "\uff0e\uff0e", "\u2025", "..;",
            "..;a=b", "..%3b", "%2e%2e;", ";..", "...", "....", ".. ", "..%20", "%2e%2e%20", "%20..", "..%09", "..%0d", "..%0a",
            "..%0d%0a", "..%01", "..%7f", "..%ff", ". .", ".%20.", "..?", "..%3f", "..#", "..%23", "..:", "..%3a", "..~", "~", "~root",
            "..%c0%af", "..%c1%9c", "..%e0%80%af", "..%ef%bc%8f", "..%c0%2f", "..%25c0%25af", "..%255c", "..%%35%63", "..%25",
            "..%", "%", "%2", "%zz", "%2e%2", "%2e%2e%", "..%2", "..%2g", "%2x", "% 2e", "%+2e%+2e", "%00", "%00..", "..%00",
            "d%00/../..", "index.txt%00.png", "%2500", "..\\", "..%5c", "..%5C", "%2e%2e%5c", "\\..", "%5c..", "%5c%2e%2e%5c",
            "d\\..\\..\\", "\\\\x\\c$\\", "C:", "C:\\", "c%3a%5c", "file:", "file:%2f%2f", "$HOME", "$(cat", "`id`", "|id", "*"):
        for rest in ("/canary", "/canary?x", "/canary/", "canary"):
            yield f"/{up}{rest}"
            yield f"/d/{up}{rest}"


def encoded(target):
    return target.encode("utf-8")


class TestTraversal:
    @pytest.fixture()
    def site(self, site):
        site.put("d/e/f/leaf", "leaf")
        site.put("index.txt", "mine")
        return site

    def test_dots_are_refused_in_every_spelling(self, site):
        cases = list(dots())
        assert len(cases) > 200
        for options in ((), ("hidden", "links-out"), ("mount=/static",)):
            site.start(*options)
            for target, statuses in cases:
                answer = site.raw(encoded(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
                assert CANARY not in answer and b"root:" not in answer, target
                assert int(answer.split()[1]) in statuses, (target, answer)

    def test_what_is_like_dots_leads_nowhere(self, site):
        site.start("hidden", "links-out")
        cases = list(others())
        assert len(cases) > 300
        for target in cases:
            answer = site.raw(encoded(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
            assert CANARY not in answer, target
            assert int(answer.split()[1]) in (400, 404), (target, answer)

    def test_requests_that_are_none(self, site):
        site.start()
        for line in (b"GET ../canary HTTP/1.1", b"GET canary HTTP/1.1", b"GET  /../canary HTTP/1.1", b"GET /../canary",
                     b"GET file:///../canary HTTP/1.1", b"GET //../canary HTTP/1.1", b"GET \\..\\canary HTTP/1.1",
                     b"GET /\x00../canary HTTP/1.1", b"GET /\xc0\xae\xc0\xae/canary HTTP/1.1", b"GET /..\t/canary HTTP/1.1",
                     b"GET ?/../canary HTTP/1.1", b"GET #/../canary HTTP/1.1", b"GET x:/../canary HTTP/1.1",
                     b"GET http:/../canary HTTP/1.1", b"GET http:///../canary HTTP/1.1", b"GET * HTTP/1.1"):
            answer = site.raw(line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert CANARY not in answer and (answer == b"" or int(answer.split()[1]) in (400, 404, 414)), (line, answer)

    def test_very_long(self, site):
        site.start()
        for target in ("/" + "a" * 255, "/" + "a" * 256, "/" + "a" * 4094, "/" + "a" * 4095, "/" + "a" * 4096, "/" + "a/" * 2047,
                       "/" + "a/" * 2048, "/" + "%61" * 4096, "/" + "/" * 5000 + "index.txt", "/" + "./" * 4000 + "index.txt",
                       "/" + "%2f" * 1000 + "index.txt"):
            status, _, body = site.ask(target)
            wanted = (200,) if target.endswith("index.txt") else (404, 414, 431)
            assert status in wanted and (status != 200 or body == b"mine"), target[:50]

    def test_names_are_decoded_once(self, site):
        site.put("%2e%2e", "percent").parent.joinpath("a b").write_bytes(b"space")
        site.put("%00", "zero")
        site.put("q?x=1", "question")
        site.put("a#b", "hash")
        site.put("semi;colon", "semi")
        site.start()
        for target, wanted in (("/%252e%252e", b"percent"), ("/%2500", b"zero"), ("/a%20b", b"space"), ("/q%3fx=1", b"question"),
                               ("/a%23b", b"hash"), ("/semi;colon", b"semi"), ("/semi%3Bcolon?x", b"semi")):
            assert site.ask(target)[::2] == (200, wanted), target
        assert site.ask("/a+b")[0] == 404


class TestLinks:
    @pytest.fixture()
    def site(self, site):
        site.put("d/inside", "inside")
        for name, to in (
                ("out-file", "../canary"), ("out-dir", "../outside"), ("out-abs", str(site.folder / "canary")),
                ("out-abs-dir", str(site.folder / "outside")), ("chain-1", "chain-2"), ("chain-2", "d/../../canary"),
                ("parent", ".."), ("d/parent", "../.."), ("loop", "loop"), ("proc", "/proc/self/root"),
                ("abs-inside", str(site.root / "d" / "inside")), ("in", "d/inside"), ("in-dir", "d"), ("d/in-up", "../d/inside")):
            (site.root / name).symlink_to(to)
        return site

    @needs_openat2
    @pytest.mark.parametrize("options", [(), ("mount=/m",), ("hidden",)])
    def test_out_of_the_root_are_refused(self, site, options):
        site.start(*options)
        mount = "/m" if options == ("mount=/m",) else ""
        for target in ("/out-file", "/out-dir", "/out-dir/", "/out-dir/canary", "/out-abs", "/out-abs-dir/", "/out-abs-dir/canary",
                       "/chain-1", "/chain-2", "/parent/canary", "/parent/", "/d/parent/canary", "/parent/www/d/inside", "/loop",
                       "/proc/etc/passwd", "/abs-inside"):
            status, _, body = site.ask(mount + target)
            assert status == 404 and CANARY not in body, target
        for target in ("/in", "/in-dir/inside", "/d/in-up"):
            assert site.ask(mount + target)[::2] == (200, b"inside")
        if mount:
            for target in ("/in", "/mm/in", "/min", "/md/inside", "/M/in", "/", "/m../in"):
                assert site.ask(target)[0] == 404, target
            assert site.ask("/m")[1]["Location"] == "/m/"
            assert site.ask("//m//in")[::2] == (200, b"inside")
            assert site.ask("/%6d/in")[::2] == (200, b"inside")
            assert site.ask("/m/../canary")[0] == 400

    @needs_openat2
    def test_listing_shows_what_would_be_answered(self, site):
        site.start()
        assert set(links_of(site.ask("/")[2])) == {"./d/", "./in", "./in-dir/"}
        site.start("links-out")
        assert {"./out-file", "./out-dir/", "./abs-inside", "./chain-1"} <= set(links_of(site.ask("/")[2]))

    def test_out_of_the_root_when_that_is_allowed(self, site):
        site.start("links-out")
        for target in ("/out-file", "/out-dir/canary", "/out-abs", "/chain-1", "/parent/canary"):
            assert site.ask(target)[::2] == (200, CANARY)
        assert site.ask("/abs-inside")[::2] == (200, b"inside")
        assert site.ask("/loop")[0] == 404


class TestHidden:
    @pytest.fixture()
    def site(self, site):
        for name in (".secret", ".git/config", "d/.env", "d/.well-known/x", ".well-known/acme/token", ".well-known/.deep"):
            site.put(name, name)
        return site

    def test_are_not_there(self, site):
        site.start()
        for target in ("/.secret", "/%2esecret", "/%2Esecret", "/.git/config", "/.git/", "/.git", "/d/.env", "/d/%2eenv", "//.secret",
                       "/./.secret", "/d/.well-known/x", "/.well-known/.deep", "/.well-known%2f.deep", "/.well-knownx", "/..secret",
                       "/.secret?x", "/.secret/"):
            assert site.ask(target)[0] == 404, target
        assert site.ask("/.well-known/acme/token")[::2] == (200, b".well-known/acme/token")
        assert site.ask("/%2ewell-known/acme/token")[0] == 200
        assert links_of(site.ask("/")[2]) == ["./.well-known/", "./d/"]
        assert links_of(site.ask("/.well-known/")[2]) == ["./acme/"]
        assert links_of(site.ask("/d/")[2]) == []

    def test_are_there_when_that_is_allowed(self, site):
        site.start("hidden")
        for name in (".secret", ".git/config", "d/.env", ".well-known/.deep"):
            assert site.ask("/" + name)[::2] == (200, name.encode())
        assert links_of(site.ask("/")[2]) == ["./.git/", "./.well-known/", "./d/", "./.secret"]
        assert site.ask("/.git/../../canary")[0] == 400


# A superuser who may not pass over the modes of files; who is none cannot anyway.
ORDINARY = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all") if os.geteuid() == 0 else ()


class TestModes:
    def test_index_that_must_not_be_read_is_not_replaced_by_a_listing(self, site):
        site.put("d/index.html", "index").chmod(0)
        site.put("d/secret-name")
        site.start(wrapper=ORDINARY)
        assert site.ask("/d/index.html")[0] == 403
        status, _, body = site.ask("/d/")
        assert status == 403 and b"secret-name" not in body

    def test_directory_that_is_entered_and_not_read(self, site):
        site.put("d/index.html", "index")
        site.put("d/f", "file")
        site.put("e/f", "file")
        for name in "de":
            (site.root / name).chmod(0o311)
        site.start(wrapper=ORDINARY)
        assert site.ask("/d/")[2] == b"index" and site.ask("/d/f")[2] == b"file" and site.ask("/e/f")[2] == b"file"
        status, _, body = site.ask("/e/")
        assert status == 403 and b"<table" not in body
        for name in "de":
            (site.root / name).chmod(0o755)


class TestRedirect:
    def test_stays_on_this_host(self, site):
        site.put("evil.com/d/x")
        site.put("d/x")
        site.start()
        for target in ("/d", "//d", "///////d", "/./d", "//evil.com/d", "///evil.com/d", "/.//evil.com/d", "/%2fevil.com/d",
                "/%2F%2fevil.com",
                       "//evil.com", "//evil.com%2fd", "/./%2f/evil.com/d", "http://x/d", "http://x//evil.com/d", "//d?//evil.com",
                       "/%2e/%2f/evil.com"):
            status, headers, _ = site.ask(target)
            assert status == 301, target
            location = headers["Location"]
            for base in ("http://host/", "http://host/d", "http://host/a/b/"):
                resolved = urllib.parse.urlsplit(urllib.parse.urljoin(base, location))
                assert (resolved.scheme, resolved.netloc) == ("http", "host"), (target, location)
            assert re.fullmatch(r"/[^/\\].*|/", location) and resolved.path.endswith("/"), (target, location)
            assert site.ask(location)[0] == 200, (target, location)

    def test_keeps_the_query_and_the_encoding(self, site):
        site.put("a b?c/x")
        site.start()
        assert site.ask("/a%20b%3fc?C=S;O=D&x=%20")[1]["Location"] == "/a%20b%3fc/?C=S;O=D&x=%20"
        for target in ("/\\evil.com/..", "/%5cevil.com", "/d%0d%0aLocation:%20http://evil.com", "//evil.com/%2e%2e", "//evil.com/.."):
            status, headers, _ = site.ask(target)
            assert status in (400, 404) and "Location" not in headers, target


# ==== listings ====

class Links(html.parser.HTMLParser):
    """The links of a page, each with its text."""

    def __init__(self, page):
        super().__init__()
        self.links, self.tags, self.open = [], set(), False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        attrs = dict(attrs)
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "srcdoc")]
        if tag == "a":
            self.links.append((attrs["href"], ""))
            self.open = True

    def handle_endtag(self, tag):
        self.open = self.open and tag != "a"

    def handle_data(self, data):
        if self.open:
            href, text = self.links[-1]
            self.links[-1] = (href, text + data)


def entries_of(page):
    return [(href, text) for href, text in Links(page.decode()).links if not href.startswith("?") and href != "../"]


def links_of(page):
    return [href for href, _ in entries_of(page)]


HOSTILE = [name if isinstance(name, bytes) else name.encode() for name in (
    "<script>alert(1)<", "<img src=x onerror=alert(1)>", "\"><script>", "'onclick='x", "&lt;b&gt;", "&amp;", "a&b", "a\"b", "a'b",
    "<title>",
    "<bdi dir=rtl>", "-->", "<!--", "new\nline", "carriage\rreturn", "tab\there", "bell\x07", "esc\x1b[31m", "del\x7f", "\x01",
    b"latin-\xe9",
    b"\xff\xfe", b"overlong-\xc0\xaf", b"cut-\xe2\x82", b"surrogate-\xed\xa0\x80", "rtl-\u202egpj.exe", "zero\u200bwidth", "\ufeffbom",
    "javascript:alert(1)", "data:text,x", "http:", "http:x", "mailto:a@b", "c:", "100%", "%41", "%2e%2e", "%", "%00", "a?b", "?",
    "?C=M", "#",
    "a#b", ";", "a;b", " ", " front", "behind ", "a  b", "-", "-rf", "--help", "+", "a+b", "=", "@", "~", "a:b", "[x]", "{x}",
    "|", "^", "`id`",
    "$HOME", "*", ",", "!", "x...", "\u00e4\u00f6\u00fc", "\u65e5\u672c\u8a9e", "\U0001f600", "n" * 255, "%" * 255,
    "\u00e9" * 127, "CON", "index.htm~")]


class TestListing:
    def test_hostile_names_are_shown_and_fetched(self, site):
        for folder in ("", "sub<dir>&\"'%2e?#; \n"):
            (site.root / folder).mkdir(exist_ok=True)
            for name in HOSTILE:
                with open(os.path.join(os.fsencode(site.root / folder), name), "wb") as f:
                    f.write(b"content of " + name)
        site.start()
        connection = http.client.HTTPConnection(HOST, site.port, timeout=SECONDS)
        for path in ("/", "/" + urllib.parse.quote("sub<dir>&\"'%2e?#; \n") + "/"):
            status, headers, page = site.ask(path)
            assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
            assert headers["Content-Security-Policy"] == "default-src 'none'; style-src 'unsafe-inline'"
            parsed = Links(page.decode())  # which is UTF-8 whatever the names are
            assert parsed.tags <= {"html", "meta", "style", "title", "h1", "table", "tr", "th", "td", "a", "bdi", "p"}
            assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", page)
            contents = []
            for href, text in entries_of(page):
                target = urllib.parse.urljoin(site.url(path), href)
                assert target.startswith(site.url(path)), href
                if href.endswith("/"):
                    continue
                connection.request("GET", urllib.parse.urlsplit(target).path)
                response = connection.getresponse()
                body = response.read()
                assert response.status == 200, href
                contents.append(body)
                shown = body[len("content of "):].decode("utf-8", "replace")
                if "\ufffd" not in shown:
                    assert text == re.sub("[\x00-\x1f\x7f]", "\ufffd", shown)
            assert sorted(contents) == sorted(b"content of " + name for name in HOSTILE)
        connection.close()

    def test_what_cannot_be_asked_for_is_not_shown(self, site):
        for name in ("back\\slash", "\\", "plain", ".hidden"):
            site.put(name)
        os.mkfifo(site.root / "fifo")
        site.start()
        assert links_of(site.ask("/")[2]) == ["./plain"]

    def test_orders(self, site):
        for i, (name, size) in enumerate((("b", 10), ("a", 3000), ("c", 5), ("B", 5))):
            site.put(name, bytes(size), OLD + (i * 7) % 5)
        for name in ("z-dir", "y-dir"):
            (site.root / name).mkdir()
            os.utime(site.root / name, (OLD, OLD))
        site.start()
        dirs = ["./y-dir/", "./z-dir/"]
        for query, wanted in (
                ("", dirs + ["./B", "./a", "./b", "./c"]), ("?C=N;O=A", dirs + ["./B", "./a", "./b", "./c"]),
                ("?C=N;O=D", dirs[::-1] + ["./c", "./b", "./a", "./B"]), ("?C=S", dirs + ["./B", "./c", "./b", "./a"]),
                ("?C=S;O=D", dirs[::-1] + ["./a", "./b", "./c", "./B"]), ("?C=M", dirs + ["./b", "./B", "./a", "./c"]),
                ("?C=M&O=D", dirs[::-1] + ["./c", "./a", "./B", "./b"]), ("?C=X;O=X", dirs + ["./B", "./a", "./b", "./c"]),
                ("?", dirs + ["./B", "./a", "./b", "./c"]), ("?C", dirs + ["./B", "./a", "./b", "./c"]),
                ("?XC=S;YO=D", dirs + ["./B", "./a", "./b", "./c"])):
            page = site.ask("/" + query)[2]
            assert links_of(page) == wanted, query
        page = site.ask("/")[2].decode()
        assert "2.9 KiB" in page and "<td>10 B" in page and "09 Sep 2001 01:46" in page
        headings = [href for href, _ in Links(page).links if href.startswith("?")]
        assert headings == ["?C=N;O=D", "?C=M;O=A", "?C=S;O=A"]

    def test_ten_thousand_and_one(self, site):
        for i in range(10001):
            (site.root / f"{i:05}").touch()
        site.start()
        page = site.ask("/")[2]
        assert len(set(links_of(page))) == 10000 and b"There are more than are shown here" in page
        (site.root / "00000").unlink()
        page = site.ask("/")[2]
        assert len(links_of(page)) == 10000 and b"There are more" not in page

    def test_index_and_no_listing(self, site):
        site.put("d/x")
        site.put("e/index.htm", "htm")
        site.put("f/index.html/x")
        site.put("f/index.htm", "htm")
        site.put("g/start.txt", "start")
        site.put("g/index.html", "html")
        site.start("no-listing")
        assert [site.ask(path)[0] for path in ("/", "/d/", "/d", "/e/", "/f/")] == [404, 404, 301, 200, 200]
        assert site.ask("/e/")[1]["Content-Type"] == "text/html; charset=utf-8"
        site.start("index=none,start.txt")
        assert site.ask("/g/")[2] == b"start"
        site.start("index=")
        assert links_of(site.ask("/g/")[2]) == ["./index.html", "./start.txt"]
        site.start()
        assert links_of(site.ask("/d/")[2]) == ["./x"] and b'href="../"' in site.ask("/d/")[2] and b'href="../"' not in site.ask("/")[2]
        status, headers, body = site.ask("/d/", method="HEAD")
        assert (status, body, headers["Content-Type"]) == (200, b"", "text/html; charset=utf-8")

    def test_empty_and_gone(self, site):
        site.start()
        assert site.ask("/")[0] == 200 and links_of(site.ask("/")[2]) == []
        site.root.rmdir()
        assert site.ask("/")[0] == 404
        assert site.ask("/x")[0] == 404


# ==== conditions and ranges ====

class TestConditions:
    @pytest.fixture()
    def site(self, site):
        self.data = os.urandom(200_000)
        site.put("f.bin", self.data)
        return site.start()

    def test_answers_without_the_file(self, site):
        _, headers, body = site.settled("/f.bin")
        etag, modified = headers["ETag"], headers["Last-Modified"]
        assert body == self.data and modified == email.utils.formatdate(OLD, usegmt=True) and re.fullmatch('"[^"]+"', etag)
        earlier, later = (email.utils.formatdate(OLD + add, usegmt=True) for add in (-1, 1))
        for fields, wanted in (
                ((f"If-None-Match: {etag}",), 304), ((f"If-None-Match: W/{etag}",), 304), (('If-None-Match: "x"',), 200),
                ((f'If-None-Match: "x", {etag}',), 304), (("If-None-Match: *",), 304), ((f"If-Modified-Since: {modified}",), 304),
                ((f"If-Modified-Since: {earlier}",), 200), ((f"If-Modified-Since: {later}",), 304),
                (("If-Modified-Since: yesterday",), 200),
                ((f"If-Modified-Since: {modified}", 'If-None-Match: "x"'), 200), ((f"If-Match: {etag}",), 200), (('If-Match: "x"',), 412),
                ((f"If-Match: W/{etag}",), 412), (("If-Match: *",), 200), ((f"If-Unmodified-Since: {earlier}",), 412),
                ((f"If-Unmodified-Since: {modified}",), 200), ((f"If-Match: {etag}", f"If-None-Match: {etag}"), 304),
                (('If-Match: "x"', f"If-None-Match: {etag}"), 412), ((f"If-None-Match: {etag}", "Range: bytes=0-1"), 304),
                (('If-Match: "x"', "Range: bytes=0-1"), 412)):
            for method in ("GET", "HEAD"):
                status, headers, body = site.ask("/f.bin", *fields, method=method)
                assert status == wanted, fields
                assert body == (self.data if wanted == 200 and method == "GET" else b"" if method == "HEAD" or wanted == 304 else body)
                if wanted == 304:
                    assert headers["ETag"] == etag and headers["Last-Modified"] == modified and headers["X-Site"] == "yes"
                    assert "Content-Type" not in headers

    def test_if_range(self, site):
        _, headers, _ = site.settled("/f.bin")
        etag, modified = headers["ETag"], headers["Last-Modified"]
        for field, wanted in ((etag, 206), (f"W/{etag}", 200), ('"x"', 200), (modified, 206), ("x", 200),
                              (email.utils.formatdate(OLD + 5, usegmt=True), 200)):
            status, _, body = site.ask("/f.bin", "Range: bytes=1-3", f"If-Range: {field}")
            assert (status, body) == (wanted, self.data[1:4] if wanted == 206 else self.data), field

    def test_ranges(self, site):
        size = len(self.data)
        for field, wanted in (
                ("bytes=0-0", self.data[:1]), ("bytes=5-", self.data[5:]), ("bytes=-5", self.data[-5:]),
                (f"bytes=-{size * 2}", self.data),
                (f"bytes={size - 1}-", self.data[-1:]), (f"bytes=0-{size * 9}", self.data), ("BYTES=1-2", self.data[1:3])):
            status, headers, body = site.ask("/f.bin", f"Range: {field}")
            assert (status, body, int(headers["Content-Length"])) == (206, wanted, len(wanted)), field
        for field in ("bytes=2-1", "bytes=", "bytes=a-b", "lines=0-1", "bytes=0-1,x", "bytes 0-1", "bytes=-", "bytes=1-2-3", "0-1"):
            assert site.ask("/f.bin", f"Range: {field}")[::2] == (200, self.data), field
        for field in (f"bytes={size}-", "bytes=-0", f"bytes={size}-{size + 5}", "bytes=99999999999999999999999-"):
            status, headers, body = site.ask("/f.bin", f"Range: {field}")
            assert (status, headers["Content-Range"]) == (416, f"bytes */{size}"), field
        status, headers, body = site.ask("/f.bin", "Range: bytes=0-1,10-11,-1")
        assert status == 206
        message = email.parser.BytesParser().parsebytes(b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        parts = [(part["Content-Range"], part["Content-Type"]) for part in message.get_payload()]
        assert parts == [(f"bytes {where}/{size}", "application/octet-stream") for where in ("0-1", "10-11", f"{size - 1}-{size - 1}")]
        site.start("ranges=0")
        status, headers, body = site.ask("/f.bin", "Range: bytes=0-1")
        assert (status, body) == (200, self.data) and "Accept-Ranges" not in headers

    def test_a_file_is_no_directory(self, site):
        for target in ("/f.bin/", "/f.bin//", "/f.bin/.", "/f.bin%2f", "/f.bin/x", "/f.bin/?q"):
            status, headers, _ = site.ask(target)
            assert status == 404 and "Location" not in headers, target

    def test_other_methods(self, site):
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "X"):
            status, headers, _ = site.ask("/f.bin", "Content-Length: 0", method=method)
            assert (status, headers["Allow"]) == (405, "GET, HEAD")
        site.put("one.txt", "one")
        assert site.ask("/one/what/../ever", method="POST", )[::2] == (200, b"one")

    @needs("curl")
    def test_curl(self, site, tmp_path):
        url, out = site.url("/f.bin"), tmp_path / "out"
        site.settled("/f.bin")
        assert curl(url) == self.data and curl(url, "--http1.0") == self.data
        assert curl(url, "-r", "10-19") == self.data[10:20] and curl(url, "-r", "-10") == self.data[-10:]
        assert curl(url, "-I").startswith(b"HTTP/1.1 200 OK\r\n")
        out.write_bytes(self.data[:70_000])
        curl(url, "-C", "-", "-o", str(out))
        assert out.read_bytes() == self.data
        curl(url, "-C", "-", "-o", str(out), check=False)  # nothing is left to fetch
        assert out.read_bytes() == self.data
        code = ("-o", os.devnull, "-w", "%{http_code} %{size_download}")
        assert curl(url, "-z", email.utils.formatdate(OLD, usegmt=True), *code) == b"304 0"
        assert curl(url, "-z", str(out), *code) == b"304 0"
        tag = str(tmp_path / "tag")
        assert curl(url, "--etag-save", tag, *code) == b"200 200000"
        assert curl(url, "--etag-compare", tag, *code) == b"304 0"
        site.put("f.bin", b"other", OLD + 1)
        assert curl(url, "--etag-compare", tag, *code) == b"200 5"

    @needs("wget")
    def test_wget(self, site, tmp_path):
        out = tmp_path / "f.bin"
        out.write_bytes(self.data[:50_000])
        run("wget", "-q", "-c", site.url("/f.bin"), "-O", str(out))
        assert out.read_bytes() == self.data
        files = {"a": "A", "d/b": "B", "d/e/c d": "CD", "d/e/\u00e4": "AE", "x.txt": "X"}
        for name, content in files.items():
            site.put(name, content)
        run("wget", "-q", "--mirror", "-nH", "--no-parent", "-R", "*[?]*", "-P", str(tmp_path / "mirror"),
                "--restrict-file-names=nocontrol",
            "-e", "robots=off", site.url("/"))
        for name, content in files.items():
            assert (tmp_path / "mirror" / name).read_text() == content
            assert (tmp_path / "mirror" / name).stat().st_mtime == OLD
        assert (tmp_path / "mirror" / "f.bin").read_bytes() == self.data

    def test_http_client_on_one_connection(self, site):
        c = http.client.HTTPConnection(HOST, site.port, timeout=SECONDS)
        c.connect()
        first = c.sock
        for _ in range(20):
            for method, path, headers, status, wanted in (
                    ("GET", "/f.bin", {}, 200, self.data), ("HEAD", "/f.bin", {}, 200, b""), ("GET", "/none", {}, 404, b"Not found\n"),
                    ("GET", "/f.bin", {"Range": "bytes=7-8"}, 206, self.data[7:9]), ("GET", "/f.bin", {"If-None-Match": "*"}, 304, b""),
                    ("GET", "/f.bin", {"Range": "bytes=999999-"}, 416, b"Range not satisfiable\n")):
                c.request(method, path, headers=headers)
                r = c.getresponse()
                assert (r.status, r.read()) == (status, wanted)
            c.request("GET", "/")
            assert b"f.bin" in c.getresponse().read()
        assert c.sock is first
        c.close()

    def test_httpx(self, site):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            httpx = pytest.importorskip("httpx")
        site.put("page.html", "<p>" * 1000)
        site.put("page.html.gz", gzip.compress(b"<p>" * 1000))
        with httpx.Client(base_url=site.url(), timeout=SECONDS, trust_env=False) as client:
            r = client.get("/page.html")
            assert r.text == "<p>" * 1000 and r.headers["Content-Encoding"] == "gzip"
            with client.stream("GET", "/f.bin") as r:
                assert b"".join(r.iter_bytes(1000)) == self.data
            assert client.get("/f.bin", headers={"Range": "bytes=1-2"}).content == self.data[1:3]
            assert client.head("/f.bin").headers["Content-Length"] == str(len(self.data))


# ==== compressed neighbours ====

class TestNeighbours:
    PLAIN_TEXT, GZ, BR, ZST = b"body{color:red}" * 100, b"the gzip form", b"the brotli form", b"the zstd form"

    @pytest.fixture()
    def site(self, site):
        for name, content in (("a.css", self.PLAIN_TEXT), ("a.css.gz", self.GZ), ("a.css.br", self.BR), ("a.css.zst", self.ZST),
                              ("only.txt", b"plain"), ("only.txt.gz", self.GZ), ("bare.txt", b"bare")):
            site.put(name, content)
        return site.start()

    def test_weights(self, site):
        for accept, coding, wanted in (
                ("", None, self.PLAIN_TEXT), ("gzip", "gzip", self.GZ), ("br", "br", self.BR), ("zstd", "zstd", self.ZST),
                ("gzip, br, zstd", "br", self.BR), ("gzip, zstd", "zstd", self.ZST), ("gzip;q=1, br;q=0.5", "gzip", self.GZ),
                ("gzip;q=0", None, self.PLAIN_TEXT), ("gzip;q=0, br;q=0, zstd;q=0.001", "zstd", self.ZST), ("*", "br", self.BR),
                ("*;q=0", None, self.PLAIN_TEXT), ("br;q=0, *", "zstd", self.ZST), ("identity", None, self.PLAIN_TEXT),
                ("identity;q=0", None, self.PLAIN_TEXT), ("gzip, identity;q=0", "gzip", self.GZ),
                ("gzip;q=0.5, identity;q=1", None, self.PLAIN_TEXT),
                ("identity, gzip", "gzip", self.GZ), ("deflate", None, self.PLAIN_TEXT), ("GZIP", "gzip", self.GZ),
                ("x-gzip", "gzip", self.GZ),
                ("gzip;q=2", None, self.PLAIN_TEXT), ("gzip;q=x", None, self.PLAIN_TEXT), ("gzip;q=0.000", None, self.PLAIN_TEXT),
                (",,gzip,,", "gzip", self.GZ)):
            for method in ("GET", "HEAD"):
                status, headers, body = site.ask("/a.css", f"Accept-Encoding: {accept}", method=method)
                assert (status, headers["Content-Encoding"], int(headers["Content-Length"])) == (200, coding, len(wanted)), accept
                assert headers["Vary"] == "Accept-Encoding" and headers["Content-Type"] == "text/css; charset=utf-8"
                assert body == (wanted if method == "GET" else b"")
        status, headers, body = site.ask("/only.txt", "Accept-Encoding: br, zstd, gzip;q=0.1")
        assert (headers["Content-Encoding"], body) == ("gzip", self.GZ)
        assert "Vary" not in site.ask("/bare.txt", "Accept-Encoding: gzip")[1]

    def test_each_form_has_its_own_tag_and_its_own_ranges(self, site):
        tags = {}
        for accept in ("", "gzip", "br", "zstd"):
            tags[accept] = site.settled("/a.css", f"Accept-Encoding: {accept}")[1]["ETag"]
        assert len(set(tags.values())) == 4
        for accept, tag in tags.items():
            for other, others in tags.items():
                status = site.ask("/a.css", f"Accept-Encoding: {accept}", f"If-None-Match: {others}")[0]
                assert status == (304 if accept == other else 200)
            status, headers, body = site.ask("/a.css", f"Accept-Encoding: {accept}", "Range: bytes=4-7", f"If-Range: {tag}")
            form = {"": self.PLAIN_TEXT, "gzip": self.GZ, "br": self.BR, "zstd": self.ZST}[accept]
            assert (status, body, headers["Content-Range"]) == (206, form[4:8], f"bytes 4-7/{len(form)}")
            assert headers["Content-Encoding"] == (accept or None) and headers["Vary"] == "Accept-Encoding"
        assert site.ask("/a.css", "If-None-Match: *", "Accept-Encoding: gzip")[1]["Vary"] == "Accept-Encoding"

    def test_those_that_do_not_count(self, site):
        site.put("old.txt", "new", OLD)
        site.put("old.txt.gz", self.GZ, OLD - 1)
        site.put("dir.txt", "plain")
        site.put("dir.txt.gz/x")
        site.put("link.txt", "plain")
        (site.root / "link.txt.gz").symlink_to("../canary")
        site.put("pipe.txt", "plain")
        os.mkfifo(site.root / "pipe.txt.gz")
        for target, wanted in (("/old.txt", b"new"), ("/dir.txt", b"plain"), ("/link.txt", b"plain"), ("/pipe.txt", b"plain")):
            for _ in range(2):
                status, headers, body = site.ask(target, "Accept-Encoding: gzip")
                assert (status, headers["Content-Encoding"], body) == (200, None, wanted), target
        site.put("alone.txt.gz", self.GZ)
        assert site.ask("/alone.txt", "Accept-Encoding: gzip")[0] == 404
        status, headers, body = site.ask("/alone.txt.gz", "Accept-Encoding: gzip")
        assert (body, headers["Content-Type"], headers["Content-Encoding"]) == (self.GZ, "application/gzip", None)
        site.start("no-neighbours")
        status, headers, body = site.ask("/a.css", "Accept-Encoding: gzip")
        assert (body, headers["Content-Encoding"], headers["Vary"]) == (self.PLAIN_TEXT, None, None)

    def test_those_that_change(self, site):
        def form():
            return site.ask("/only.txt", "Accept-Encoding: gzip")[2]
        assert form() == self.GZ
        site.put("only.txt", "changed", OLD + 10)  # and its neighbour is older now
        assert form() == b"changed"
        site.put("only.txt.gz", "new gzip", OLD + 10)
        until(lambda: form() == b"new gzip", "the new neighbour")
        site.put("only.txt.gz", "newer gzip", OLD + 11)
        assert form() == b"newer gzip"
        (site.root / "only.txt.gz").unlink()
        assert form() == b"changed"

    @needs("curl")
    def test_curl_decodes(self, site):
        text = "text " * 10_000
        site.put("t.txt", text)
        site.put("t.txt.gz", gzip.compress(text.encode()))
        assert curl(site.url("/t.txt"), "--compressed").decode() == text
        assert int(curl(site.url("/t.txt"), "--compressed", "-w", "%{size_download}", "-o", os.devnull)) < 1000


# ==== types, and what is served in place of a 404 ====

class TestTypes:
    def types(self, site, *names):
        return [site.ask("/" + name)[1]["Content-Type"] for name in names]

    def test_ours_the_system_s_and_the_caller_s(self, site):
        names = ("a.html", "A.HTML", "b.js", "c.png", "Makefile", "d.unknown-ext", "e.tar.gz", "f.")
        for name in names:
            site.put(name, "x")
        site.start()
        unknown = "text/plain; charset=utf-8"
        assert self.types(site, *names) == ["text/html; charset=utf-8", "text/html; charset=utf-8", "text/javascript; charset=utf-8",
                                            "image/png", unknown, unknown, "application/gzip", unknown]
        site.start("types=html=text/x-mine,unknown-ext=x/y; a=b")
        assert self.types(site, *names[:6]) == ["text/x-mine", "text/x-mine", "text/javascript; charset=utf-8", "image/png",
                unknown, "x/y; a=b"]
        site.start("types=png=x/png,*=application/octet-stream")
        assert self.types(site, *names[:6]) == ["application/octet-stream"] * 3 + ["x/png"] + ["application/octet-stream"] * 2

    @pytest.mark.skipif(not os.path.exists("/etc/mime.types"), reason="no system table")
    def test_system(self, site):
        with open("/etc/mime.types", encoding="ascii") as f:
            table = {extension: line.split()[0] for line in f if not line.startswith("#") for extension in line.split()[1:]}
        for extension in ("heic", "dwg", "pcap", "vcf"):
            if extension in table:
                site.put("a." + extension, "x")
                site.put("A." + extension.upper(), "x")
                site.start()
                assert self.types(site, "a." + extension, "A." + extension.upper()) == [table[extension]] * 2

    def test_missing(self, site):
        site.put("app.html", "<app>")
        site.put("app.html.gz", "gzipped app")
        site.put("d/x", "x")
        site.start(f"missing={site.root}/app.html", "no-listing")
        for target in ("/none", "/d/", "/.hidden", "/d/none/deeper"):
            status, headers, body = site.ask(target, "If-None-Match: *", "Range: bytes=0-1")
            assert (status, body, headers["Content-Type"]) == (404, b"<app>", "text/html; charset=utf-8")
        assert site.ask("/../canary")[0] == 400
        site.start(f"missing={site.root}/app.html", "missing-status=200")
        status, headers, body = site.ask("/some/route", "Accept-Encoding: gzip")
        assert (status, body, headers["Content-Encoding"]) == (200, b"gzipped app", "gzip")
        etag = site.settled("/some/route")[1]["ETag"]
        assert site.ask("/other/route", f"If-None-Match: {etag}")[0] == 304
        assert site.ask("/d/x")[::2] == (200, b"x")
        (site.root / "app.html").unlink()
        assert site.ask("/none")[::2] == (404, b"Not found\n")


# ==== behind nginx ====

@needs("nginx")
class TestNginx:
    @pytest.fixture()
    def proxy(self, site, tmp_path):
        """The port of an nginx that keeps connections to the site alive and caches nothing."""
        site.start()
        (tmp_path / "nginx").mkdir()
        with nginx(tmp_path / "nginx", "location / { proxy_pass http://upstream; }", upstream=f"{HOST}:{site.port}") as port:
            yield port

    def test_ranges_conditions_and_listings(self, site, proxy):
        data = os.urandom(3_000_000)
        site.put("f.bin", data)
        site.put("a.css", "plain")
        site.put("a.css.gz", "gzipped")
        etag = site.settled("/f.bin")[1]["ETag"]
        c = http.client.HTTPConnection(HOST, proxy, timeout=SECONDS)
        for _ in range(5):
            for path, headers, status, wanted in (
                    ("/f.bin", {}, 200, data), ("/f.bin", {"Range": "bytes=1000000-1999999"}, 206, data[1000000:2000000]),
                    ("/f.bin", {"If-None-Match": etag}, 304, b""),
                    ("/f.bin", {"Range": "bytes=9999999-"}, 416, b"Range not satisfiable\n"),
                    ("/a.css", {"Accept-Encoding": "gzip"}, 200, b"gzipped"), ("/a.css", {}, 200, b"plain"),
                    ("/none", {}, 404, b"Not found\n"), ("/f.bin", {"Range": "bytes=5-6", "If-Range": etag}, 206, data[5:7])):
                c.request("GET", path, headers=headers)
                r = c.getresponse()
                assert (r.status, r.read()) == (status, wanted), (path, headers)
            c.request("GET", "/")
            assert links_of(c.getresponse().read()) == ["./a.css", "./a.css.gz", "./f.bin"]
            c.request("HEAD", "/f.bin")
            r = c.getresponse()
            assert (r.read(), r.headers["Content-Length"], r.headers["ETag"]) == (b"", "3000000", etag)
        c.request("GET", "/f.bin", headers={"Range": "bytes=0-1,5-6"})
        assert c.getresponse().read().count(b"Content-Range:") == 2
        c.close()
