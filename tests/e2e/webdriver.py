# SPDX-License-Identifier: MIT
"""A real browser, driven as its user would: Debian's Chromium, headless, through its driver (W3C WebDriver) over urllib.

    with Browser() as browser:
        browser.open("http://127.0.0.1:8000/")
        browser.click("button")
        browser.until("document.title === 'done'")

Nothing waits for time: until() asks the page again and again, with a deadline. cdp() reaches what WebDriver has no words
for (the size of a screen, the codings that are accepted). At the end everything that was started has ended, too.
"""
import base64
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

DRIVER = shutil.which("chromedriver")
CHROMIUM = shutil.which("chromium")
MISSING = None if DRIVER and CHROMIUM else "no chromium and chromedriver here (Debian: chromium, chromium-driver)"
SECONDS = 50  # a browser on a busy machine takes its time
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
         "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions")
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # how the standard marks a reference to an element


class DriverError(Exception):
    """What the driver refused; args[0] is the standard's name of it, such as 'no such element'."""


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="tavi-browser-")
        env = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}  # not built for our sanitizers
        self.driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                       stdin=subprocess.DEVNULL, text=True, env=env, start_new_session=True)
        self.session = None
        try:
            self.base = f"http://127.0.0.1:{self._port()}"
            self.session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
                "browserName": "chrome",
                "timeouts": {"script": SECONDS * 1000, "pageLoad": SECONDS * 1000},
                "goog:chromeOptions": {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={self.profile}"]},
            }}})["sessionId"]
        except BaseException:
            self.quit()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.quit()

    # ==== pages ====

    def open(self, url):
        self._do("POST", "/url", {"url": url})

    @property
    def url(self):
        return self._do("GET", "/url")

    @property
    def title(self):
        return self._do("GET", "/title")

    def run(self, expression, *args):
        """The value of a JavaScript expression; its arguments are called `arguments`. A promise is waited for."""
        return self._do("POST", "/execute/sync", {"script": f"return ({expression})", "args": list(args)})

    def until(self, expression, *args, seconds=SECONDS):
        """Wait until the expression is true, and return its value."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.run(expression, *args)
            if value:
                return value
            if time.monotonic() > deadline:
                raise AssertionError(f"{expression} was {value!r} to the end on {self.url}")
            time.sleep(0.02)

    def find(self, css):
        return self._do("POST", "/element", {"using": "css selector", "value": css})[ELEMENT]

    def click(self, css):
        self._do("POST", f"/element/{self.find(css)}/click", {})

    def type(self, css, text):
        """Press keys; an <input type=file> takes the lines as paths of the files that its user chooses."""
        self._do("POST", f"/element/{self.find(css)}/value", {"text": str(text)})

    def screenshot(self, path):
        """For people, who want to see why a test fails."""
        pathlib.Path(path).write_bytes(base64.b64decode(self._do("GET", "/screenshot")))

    # ==== windows ====

    @property
    def window(self):
        return self._do("GET", "/window")

    def new_window(self):
        """Open another one and go there; returns its handle."""
        self.switch(self._do("POST", "/window/new", {"type": "window"})["handle"])
        return self.window

    def switch(self, window):
        self._do("POST", "/window", {"handle": window})

    def close_others(self):
        """Leave one empty window."""
        handles = self._do("GET", "/window/handles")
        for handle in handles[1:]:
            self.switch(handle)
            self._do("DELETE", "/window")
        self.switch(handles[0])
        self.open("about:blank")

    # ==== Chromium's own ====

    def cdp(self, command, **params):
        """A command of the Chrome DevTools Protocol, in the current window."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": params})

    # ==== the driver ====

    def _port(self):
        for line in self.driver.stdout:
            if "started successfully on port" in line:
                return int(line.rstrip(".\n").rsplit(" ", 1)[1])
        raise DriverError("the driver has ended", self.driver.wait())

    def _do(self, method, path, body=None):
        return self._ask(method, f"/session/{self.session}{path}", body)

    def _ask(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.base + path, data, {"Content-Type": "application/json"}, method=method)
        no_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with no_proxy.open(request, timeout=2 * SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            with error:
                value = json.load(error)["value"]
            raise DriverError(value["error"], value["message"]) from None

    def _processes(self):
        """The ids of what we have started: the processes of the driver's session, and those that left it but name our
        profile, as the crash handler."""
        found = []
        for entry in os.listdir("/proc"):
            try:
                process = pathlib.Path("/proc", entry)
                session = (process / "stat").read_bytes().rsplit(b")", 1)[1].split()[3]
                if int(session) == self.driver.pid or self.profile.encode() in (process / "cmdline").read_bytes():
                    found.append(int(entry))
            except (OSError, IndexError):
                continue  # no process, or it has ended meanwhile
        return found

    def quit(self):
        try:
            if self.session is not None:
                self._do("DELETE", "")
        except (DriverError, OSError):
            pass  # what is left is killed below
        finally:
            self.driver.terminate()
            self.driver.wait(SECONDS)
            self.driver.stdout.close()
        deadline = time.monotonic() + 5
        while left := self._processes():
            if time.monotonic() > deadline:
                for process in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        shutil.rmtree(self.profile, ignore_errors=True)
