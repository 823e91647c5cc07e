# SPDX-License-Identifier: MIT
"""What people see: our servers under a real browser (Debian's Chromium, headless; see webdriver.py)."""
import base64
import hashlib
import os
import pathlib
import sys
import threading

import pytest

import webdriver
from programs import BUILD, HAS_PYTHON, HOST, ROOT, curl, needs_python, running, served, until
from webm import vp8_frame, webm

pytestmark = [
    pytest.mark.skipif(webdriver.MISSING is not None, reason=str(webdriver.MISSING)),
    needs_python,
]
if HAS_PYTHON:
    from cymongoose import MG_EV_HTTP_MSG, features, http_cookie

HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>page</title>"


@pytest.fixture(scope="module")
def one_browser():
    with webdriver.Browser() as browser:
        yield browser


@pytest.fixture
def browser(one_browser):
    """The browser with one empty window and without cookies."""
    one_browser.cdp("Network.clearBrowserCookies")
    yield one_browser
    one_browser.close_others()


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def phone(browser):
    """From now on this window is a phone's: 375 pixels wide."""
    browser.cdp("Emulation.setDeviceMetricsOverride", width=375, height=667, deviceScaleFactor=2, mobile=True)


def assert_fits_a_phone(browser):
    """Nobody has to scroll sideways, and nothing was shrunk for that."""
    assert browser.run("window.innerWidth") == 375
    assert browser.run("document.documentElement.scrollWidth") <= 375


# ==== examples/site.py ====

def site(folder, *credentials):
    return running(sys.executable, ROOT / "examples" / "site.py", folder, 0, *credentials)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "site").mkdir()
    return tmp_path / "site"


@pytest.fixture
def mine(tmp_path):
    """Files to upload, as {name: path}: nothing, one of several megabytes, and names that want to be markup."""
    (tmp_path / "mine").mkdir()
    contents = {'a"b<i>.txt': b"quoted\r\n--\r\n", "día 日本 ☃.bin": os.urandom(6_000_000), "empty": b""}
    for name, content in contents.items():
        (tmp_path / "mine" / name).write_bytes(content)
    return {name: tmp_path / "mine" / name for name in contents}


def assert_arrived(folder, mine):
    """All of them are there, the same to the byte, and nothing else is."""
    assert sorted(os.listdir(folder)) == sorted(mine)
    for name, path in mine.items():
        assert digest(folder / name) == digest(path), name


def open_and_listen(browser, url):
    """Open a page in a new window, and wait until its EventSource hears."""
    window = browser.new_window()
    browser.cdp("Page.addScriptToEvaluateOnNewDocument", source="""
        window.EventSource = class extends EventSource { constructor(...a) { super(...a); window.source = this; } };""")
    browser.open(url)
    browser.until("source.readyState === EventSource.OPEN")
    return window


def test_upload_from_the_page_is_news_in_all_windows(browser, folder, mine):
    with site(folder) as program:
        first = browser.window
        watching = [open_and_listen(browser, program.url + "/") for _ in range(2)]
        browser.switch(first)
        browser.open(program.url + "/")
        browser.type("input[type=file]", "\n".join(map(str, mine.values())))
        browser.click("form button")
        browser.until("performance.getEntriesByType('navigation')[0].redirectCount === 1 && location.pathname === '/'")
        assert_arrived(folder, mine)

        news = {f"{name}: {path.stat().st_size:,} bytes" for name, path in mine.items()}
        for window in watching:
            browser.switch(window)
            browser.until("document.querySelectorAll('#news li').length >= arguments[0]", len(mine))
            assert set(browser.run("[...document.querySelectorAll('#news li')].map(li => li.textContent)")) == news
            assert browser.run("document.querySelectorAll('#news i').length") == 0  # a name is text

        browser.click("a[href='/files/']")
        browser.until("location.pathname === '/files/'")
        links = browser.run("[...document.querySelectorAll('a bdi')].map(b => [b.textContent, b.parentNode.href])")
        assert {name for name, _ in links} == set(mine)
        browser.open(program.url + "/")  # the listing itself may load nothing
        for name, link in links:
            sha256 = browser.run("""fetch(arguments[0]).then(r => r.arrayBuffer())
                .then(b => crypto.subtle.digest('SHA-256', b)).then(d => new Uint8Array(d).toHex())""", link)
            assert sha256 == digest(mine[name]), name


UPLOAD = """(async () => {
    const form = new FormData();
    form.append("file", new File([new Uint8Array(arguments[0]).fill(65)], "by-script.txt"));
    const headers = arguments[1] ? {Authorization: arguments[1]} : {};
    const answer = await fetch("/upload", {method: "POST", body: form, headers, credentials: "omit"});
    return [answer.status, answer.headers.get("WWW-Authenticate"), new URL(answer.url).pathname];
})()"""


def test_upload_needs_the_password(browser, folder, mine):
    def basic(text):
        return "Basic " + base64.b64encode(text.encode()).decode()

    with site(folder, "anna:s3cret:ñ") as program:
        browser.open(program.url + "/")
        for wrong in (None, basic("anna:s3cret"), basic("anna:s3cret:n"), "Bearer s3cret:ñ"):
            status, challenge, _ = browser.run(UPLOAD, 3_000_000, wrong)
            assert status == 401 and challenge == 'Basic realm="uploads", charset="UTF-8"', wrong
        assert os.listdir(folder) == []

        assert browser.run(UPLOAD, 3_000_000, basic("anna:s3cret:ñ")) == [200, None, "/"]
        assert (folder / "by-script.txt").read_bytes() == b"A" * 3_000_000
        (folder / "by-script.txt").unlink()

        # As after its user has typed them: the browser uploads, is asked, and uploads again with the password.
        browser.run("document.forms[0].action = arguments[0]",
                    f"http://anna:s3cret%3A%C3%B1@{HOST}:{program.port}/upload")
        browser.type("input[type=file]", "\n".join(map(str, mine.values())))
        browser.click("form button")
        until(lambda: len(os.listdir(folder)) == len(mine), "the upload")
        browser.until("location.pathname === '/'")
        assert_arrived(folder, mine)


def test_site_on_a_phone(browser, folder):
    (folder / ("x" * 200)).write_bytes(b"")
    with site(folder) as program:
        open_and_listen(browser, program.url + "/")
        phone(browser)
        browser.run("location.reload()")
        browser.until("window.source && source.readyState === EventSource.OPEN")
        curl("-F", "file=@-;filename=" + "y" * 200, program.url + "/upload", data=b"long")
        browser.until("document.querySelectorAll('#news li').length === 1")
        assert_fits_a_phone(browser)


# ==== a listing ====

PWNED = "document.title='pwned'"
HOSTILE = (
    f"<img src=x onerror={PWNED}>.txt", f"javascript:{PWNED}", f'" onfocus="{PWNED}" autofocus x=".txt',
    f"<script>{PWNED}<!--.txt", f"' onmouseover={PWNED} x='.txt", "<h1>heading.txt", "&lt;b&gt;&amp;.txt",
    "%2e%2e%2f.txt", "a?C=M;O=D.txt", "a#fragment.txt", "a b+c.txt", "http:.txt", "día 日本 ☃.txt", "‮txt.exe.txt",
    "line\nend.txt", "x" * 200 + ".txt",
)


@pytest.fixture
def hostile(tmp_path):
    """A folder of files with such names, each of which holds its name in hexadecimal."""
    for name in HOSTILE:
        (tmp_path / name).write_text(name.encode().hex())
    (tmp_path / "folder <b>").mkdir()
    (tmp_path / "folder <b>" / "inner.txt").write_text("inner")
    (tmp_path / ".hidden").write_text("hidden")
    with running(BUILD / "examples" / "files", tmp_path, f"http://{HOST}:0") as program:
        yield program.url + "/"


def test_listing_links_to_files_of_any_name(browser, hostile):
    browser.open(hostile)
    links = browser.run("[...document.querySelectorAll('td a')].map(a => [a.textContent, a.href])")
    shown = {name.replace("\n", "\ufffd") for name in HOSTILE} | {"folder <b>/"}
    assert {text for text, _ in links} == shown and len(links) == len(shown)
    for text, link in links:
        assert link.startswith(hostile), link
        if not text.endswith("/"):
            browser.open(link)
            content = browser.run("document.body.textContent")
            assert bytes.fromhex(content).decode().replace("\n", "\ufffd") == text
    browser.open(hostile)

    browser.click("td a")  # directories come first
    browser.until("document.title === '/folder <b>'")
    browser.click("tr:nth-child(3) td a")
    browser.until("document.body.textContent === 'inner'")
    assert browser.url == hostile + "folder%20%3Cb%3E/inner.txt"
    browser.open(hostile + "folder%20%3Cb%3E/")
    browser.click("tr:nth-child(2) td a")  # ../
    browser.until("document.title === '/'")


def test_listing_runs_nothing(browser, hostile):
    browser.open(hostile)
    assert browser.run("document.querySelectorAll('img, script, h1 ~ h1, [onfocus], [onmouseover]').length") == 0
    for number in range(len(HOSTILE) + 1):  # a click moves the mouse there, too
        browser.open(hostile)
        before = browser.run("document.title")
        link = f"tr:nth-child({number + 2}) td a"
        wanted = browser.run("document.querySelector(arguments[0]).href", link)
        assert before == "/"
        browser.click(link)
        browser.until("location.href === arguments[0] || document.title === 'pwned'", wanted)
        assert browser.title != "pwned"


def test_listing_is_sorted_by_a_click(browser, hostile):
    browser.open(hostile)
    sizes = "[...document.querySelectorAll('td:nth-child(3)')].map(td => parseInt(td.textContent)).filter(n => n >= 0)"
    for order in (sorted, lambda numbers: sorted(numbers, reverse=True)):
        before = browser.url
        browser.click("th:nth-child(3) a")
        browser.until("location.href !== arguments[0] && document.querySelector('th:nth-child(3)').ariaSort", before)
        found = browser.run(sizes)
        assert len(found) == len(HOSTILE) and found == order(found)


def test_listing_on_a_phone(browser, hostile):
    browser.new_window()
    phone(browser)
    browser.open(hostile)
    assert_fits_a_phone(browser)


# ==== a video ====

# Noise is what no codec makes small. Each picture tells its number by the grey of a corner.
PICTURES = """Promise.all([...Array(8).keys()].map(async number => {
    const canvas = new OffscreenCanvas(640, 360), context = canvas.getContext("2d", {alpha: false});
    const pixels = context.createImageData(640, 360);
    for (let i = 0, random = number + 1; i < pixels.data.length; i++) {
        random = Math.imul(random, 1664525) + 1013904223 >>> 0;
        pixels.data[i] = i % 4 === 3 ? 255 : random >>> 24;
    }
    context.putImageData(pixels, 0, 0);
    context.fillStyle = `rgb(${16 + 32 * number} ${16 + 32 * number} ${16 + 32 * number})`;
    context.fillRect(0, 0, 64, 64);
    const picture = await canvas.convertToBlob({type: "image/webp", quality: 0.9});
    return new Uint8Array(await picture.arrayBuffer()).toBase64();
}))"""
NUMBER_SHOWN = """(() => {
    const canvas = new OffscreenCanvas(640, 360), context = canvas.getContext("2d");
    context.drawImage(document.querySelector("video"), 0, 0);
    return Math.round((context.getImageData(32, 32, 1, 1).data[0] - 16) / 32);
})()"""
SECONDS_OF_VIDEO = 90


def test_video_seeks(browser, tmp_path):
    browser.open("about:blank")
    frames = [vp8_frame(base64.b64decode(picture)) for picture in browser.run(PICTURES)]
    video = webm([frames[second % 8] for second in range(SECONDS_OF_VIDEO)], 640, 360, 1000)
    assert 12_000_000 < len(video) < 40_000_000
    (tmp_path / "noise.webm").write_bytes(video)
    ranges = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.uri == "/":
            conn.reply(200, PAGE + "<video preload=metadata muted src=/files/noise.webm></video>", HTML)
        elif ev == MG_EV_HTTP_MSG:
            if data.uri.endswith(".webm"):
                ranges.append(data.header("Range"))
            conn.serve_dir(data, f"{tmp_path},/files={tmp_path}")

    with served(handler) as (_, port):
        browser.open(f"http://{HOST}:{port}/")
        # Metadata alone: the duration stands at the front. It is all that is asked for until somebody seeks.
        browser.until("(v => v.error?.message || v.readyState >= 1)(document.querySelector('video'))")
        assert browser.run("document.querySelector('video').error") is None
        assert browser.run("document.querySelector('video').duration") == SECONDS_OF_VIDEO
        assert browser.run("document.querySelector('video').seekable.end(0)") == SECONDS_OF_VIDEO
        assert browser.run("(b => b.length === 0 || b.end(b.length - 1))(document.querySelector('video').buffered)") < 45

        for second in (SECONDS_OF_VIDEO - 5, 40, 3, SECONDS_OF_VIDEO - 19):
            browser.run("""new Promise((done, fail) => {
                const video = document.querySelector("video");
                video.onseeked = done;
                video.onerror = () => fail(video.error.message);
                video.currentTime = arguments[0];
            }).then(() => true)""", second + 0.5)
            browser.until("document.querySelector('video').readyState >= 2")
            assert browser.run("document.querySelector('video').currentTime") == second + 0.5
            assert browser.run(NUMBER_SHOWN) == second % 8

    starts = [int(header.partition("=")[2].partition("-")[0]) for header in ranges]
    assert starts[0] == 0 and max(starts) > len(video) / 2, ranges  # it did not load everything to get there


# ==== events ====

EVENTS = PAGE + """<script>
    const seen = [];
    const source = new EventSource("/events");
    for (const type of ["message", "news"])
        source.addEventListener(type, e => seen.push([e.type, e.data, e.lastEventId]));
</script>"""


def test_events_go_on_where_the_stream_broke(browser):
    """Three streams of one browser: the first ends well, the second breaks off, the third stays."""
    asked = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.uri == "/":
            conn.reply(200, EVENTS, HTML)
        elif ev == MG_EV_HTTP_MSG and data.uri == "/events":
            asked.append(data.header("Last-Event-ID"))
            conn.http_sse_begin()
            if len(asked) == 1:
                conn.http_sse("", "one", id="id 1", retry_ms=20)
                conn.http_sse("news", "two\nlines, ☃ and : colons", id="id 2")
                conn.http_chunk(b"")
            elif len(asked) == 2:
                conn.http_sse("news", "", id="día ☃")
                conn.http_sse("", "no id of its own")
                conn.drain()
            else:
                conn.http_sse("", "last", id="")

    with served(handler) as (_, port):
        browser.open(f"http://{HOST}:{port}/")
        browser.until("seen.length >= 5")
        assert browser.run("seen") == [
            ["message", "one", "id 1"], ["news", "two\nlines, ☃ and : colons", "id 2"], ["news", "", "día ☃"],
            ["message", "no id of its own", "día ☃"], ["message", "last", ""]]
        assert browser.run("source.readyState") == 1
    assert asked == [None, "id 2", "día ☃"]


def test_events_wait_as_long_as_retry_says(browser):
    """With a retry of an hour the browser does not come again; it does after the few seconds of its own choice."""
    asked = []

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG and data.uri == "/":
            conn.reply(200, PAGE, HTML)
        elif ev == MG_EV_HTTP_MSG:
            asked.append(data.uri)
            conn.http_sse_begin()
            conn.http_sse("", "x", retry_ms=3_600_000 if data.uri == "/hour" else None)
            conn.http_chunk(b"")

    with served(handler) as (_, port):
        browser.open(f"http://{HOST}:{port}/")
        browser.run("(window.sources = ['/hour', '/usual'].map(path => new EventSource(path)), true)")
        until(lambda: asked.count("/usual") >= 2, "the browser's return")
        assert asked.count("/hour") == 1


# ==== compression ====

def codings():
    built = {"zlib": "gzip", "brotli": "br", "zstd": "zstd"}
    return [built[name.partition("/")[0]] for name in features().split() if name.partition("/")[0] in built]


TEXT = "".join(f"line {number}: äöü ☃ {'x' * (number % 50)}\n" for number in range(20_000))


@pytest.mark.parametrize("coding", codings() if HAS_PYTHON else [])
def test_compressed_answers(browser, coding):
    """Whole answers, answers in chunks, and events, which have to be seen although more may follow."""
    used = []
    channel = None
    more = threading.Event()

    def handler(conn, ev, data):
        if ev != MG_EV_HTTP_MSG:
            return
        used.append((data.uri, conn.compress(data, bytes_min=1)))
        if data.uri == "/":
            conn.reply(200, EVENTS, HTML)
        elif data.uri == "/whole":
            conn.reply(200, TEXT)
        elif data.uri == "/chunks":
            conn.reply(200, b"", {"Transfer-Encoding": "chunked"})
            encoded = TEXT.encode()
            for at in range(0, len(encoded), 10_001):
                conn.http_chunk(encoded[at:at + 10_001])
            conn.http_chunk(b"")
        else:
            conn.http_sse_begin()
            conn.http_sse("", "alone")
            channel.subscribe(conn)
            more.set()

    with served(handler) as (manager, port):
        channel = manager.event_channel()
        browser.new_window()
        browser.cdp("Network.enable")
        browser.cdp("Network.setExtraHTTPHeaders", headers={"Accept-Encoding": coding})
        browser.open(f"http://{HOST}:{port}/")
        for path in ("/whole", "/chunks"):
            assert browser.run("fetch(arguments[0]).then(r => r.text())", path) == TEXT
            sizes = browser.run("(e => [e.encodedBodySize, e.decodedBodySize])(performance.getEntriesByName("
                                "new URL(arguments[0], location).href)[0])", path)
            assert sizes[1] == len(TEXT.encode()) and 0 < sizes[0] < sizes[1] / 5
        browser.until("seen.length >= 1")
        assert more.is_set()
        for number in range(3):
            channel.publish("news", f"shared {number}", id=str(number))
            browser.until("seen.length >= arguments[0]", number + 2)
        assert [data for _, data, _ in browser.run("seen")] == ["alone", "shared 0", "shared 1", "shared 2"]
    assert sorted(used) == [(path, coding) for path in ("/", "/chunks", "/events", "/whole")]


# ==== cookies ====

def test_cookies(browser):
    """What http_cookie() writes is kept, sent back, hidden and deleted as it says."""
    set_by = {
        "/hidden": http_cookie("hidden", "h-1", secure=False),
        "/open": http_cookie("open", "a=b/c", http_only=False, secure=False, max_age=3600),
        "/secure": http_cookie("__Host-secure", "s", http_only=False),  # loopback counts as secure
        "/path": http_cookie("path", "p", path="/below", http_only=False, secure=False),
        "/strict": http_cookie("strict", "1", same_site="Strict", secure=False),
        "/gone": http_cookie("open", "", max_age=0, secure=False, http_only=False),
    }

    def handler(conn, ev, data):
        if ev == MG_EV_HTTP_MSG:
            if data.uri in set_by:
                conn.reply(200, "", {"Set-Cookie": set_by[data.uri]})
            elif data.uri.endswith("/cookies"):
                conn.reply_json(data.cookies())
            else:
                conn.reply(200, PAGE, HTML)

    cookies = "fetch(arguments[0]).then(r => r.json())"
    with served(handler) as (_, port):
        browser.open(f"http://{HOST}:{port}/")
        for path in ("/hidden", "/open", "/secure", "/path", "/strict"):
            browser.run("fetch(arguments[0]).then(r => r.status)", path)
        everywhere = {"hidden": "h-1", "open": "a=b/c", "__Host-secure": "s", "strict": "1"}
        assert browser.run(cookies, "/cookies") == everywhere
        assert browser.run(cookies, "/below/cookies") == {**everywhere, "path": "p"}
        assert set(browser.run("document.cookie").split("; ")) == {"open=a=b/c", "__Host-secure=s"}

        browser.run("fetch('/gone').then(r => r.status)")
        assert "open" not in browser.run(cookies, "/cookies")
        assert browser.run("document.cookie") == "__Host-secure=s"

        # A link from another site brings what is Lax, and not what is Strict.
        browser.open(f"http://localhost:{port}/")
        browser.run("(document.body.innerHTML = `<a href='${arguments[0]}'>there</a>`, true)",
                    f"http://{HOST}:{port}/cookies")
        browser.click("a")
        browser.until("location.pathname === '/cookies'")
        told = browser.run("JSON.parse(document.body.textContent)")
        assert told == {"hidden": "h-1", "__Host-secure": "s"}
