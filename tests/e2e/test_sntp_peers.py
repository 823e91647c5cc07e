# SPDX-License-Identifier: MIT
"""The SNTP client, as examples/ask_time uses it, and chronyd: one that has the time, and one that does not."""
import os
import pathlib
import re
import subprocess
import time

import chrony
import pytest

ASK_TIME = pathlib.Path(os.environ["TAVI_BUILD_DIR"]) / "examples" / "ask_time"
LINE = re.compile(r"(\S+) \((\S+)\): (\d+)\.(\d{3}) since 1970, ([-+]\d+\.\d{6}) s from this computer's clock, "
                  r"\+-(\d+\.\d{6}) s, stratum (\d+)")

needs_chrony = pytest.mark.skipif(chrony.find() is None, reason="no chronyd")


def ask(*urls):
    """The exit code of ask_time, what its lines say, and its errors."""
    done = subprocess.run([ASK_TIME, *urls], capture_output=True, text=True, timeout=chrony.SECONDS, env=chrony.PLAIN)
    matches = [LINE.fullmatch(line) for line in done.stdout.splitlines()]
    assert all(matches), done.stdout
    return done.returncode, [match.groups() for match in matches], done.stderr


@needs_chrony
def test_time_of_a_good_server(tmp_path):
    with chrony.running(tmp_path, "local stratum 1") as port:
        url = f"sntp://{chrony.HOST}:{port}"
        code, answers, errors = ask(url, f"udp://localhost:{port}")
        now = time.time()
    assert code == 0 and errors == "" and len(answers) == 2
    for told_url, host, seconds, millis, offset, precision, stratum in answers:
        assert told_url in (url, f"udp://localhost:{port}") and host == chrony.HOST and stratum == "1"
        # the same clock: what differs is what the way took
        assert abs(float(offset)) <= float(precision) + 0.001
        assert now - chrony.SECONDS < float(f"{seconds}.{millis}") < now + 1


@needs_chrony
def test_stratum_is_the_servers(tmp_path):
    with chrony.running(tmp_path, "local stratum 7") as port:
        code, answers, _ = ask(f"sntp://{chrony.HOST}:{port}")
    assert code == 0 and answers[0][-1] == "7"


@needs_chrony
def test_server_without_the_time_is_refused(tmp_path):
    with chrony.running(tmp_path) as port:  # no source, and not local: unsynchronised
        code, answers, errors = ask(f"sntp://{chrony.HOST}:{port}")
    assert code == 1 and answers == []
    assert "the time server does not know the time" in errors


@needs_chrony
def test_one_good_server_of_two_is_enough(tmp_path):
    with chrony.running(tmp_path, "local stratum 1") as port, chrony.running(tmp_path) as other:
        code, answers, errors = ask(f"sntp://{chrony.HOST}:{port}", f"sntp://{chrony.HOST}:{other}")
    assert code == 0 and len(answers) == 1 and errors.count("\n") == 1


def test_nobody_there_is_told_in_time():
    start = time.monotonic()
    code, answers, errors = ask("sntp://127.0.0.1:9", "nonsense://x")
    assert code == 1 and answers == []
    assert "no answer from the time server 127.0.0.1 within 3000 ms" in errors and "nonsense://x: invalid address" in errors
    assert 2.9 < time.monotonic() - start < chrony.SECONDS
