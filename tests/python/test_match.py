# SPDX-License-Identifier: MIT
"""Patterns with wildcards, against a search that tries everything; and patterns that were made to take forever."""
import random
import time

import pytest

from cymongoose import match
from support import INSTRUMENTED


@pytest.mark.parametrize("s, pattern, captures", [
    ("", "", []), ("", "*", [""]), ("foo/bar", "*", None), ("foo/bar", "*/bar", ["foo"]), ("/api/", "/api/*", [""]),
    ("abab", "*b", ["aba"]), ("/a/b/c.txt", "#.txt", ["/a/b/c"]), ("/api/users/42", "/api/*/??", ["users", "4", "2"]),
    ("a/b", "*/*", ["a", "b"]), ("a/b/c/d", "#/#", ["a", "b/c/d"]), ("/api", "/api/#", None), ("abc", "a*", ["bc"]),
    ("a/b/c", "*/c", None), ("abc", "**", ["", "abc"]), ("ab", "*?", ["a", "b"]), ("ab", "*a*b*", ["", "", ""]),
    ("/", "?", ["/"]), ("ABC", "abc", None), ("*", "*", ["*"]), ("é", "?", ["é"]), ("é", "??", None), ("a😀b", "a?b", ["😀"]),
    ("日本語", "*?", ["日本", "語"]), ("x\udcffy", "x?y", ["\udcff"]), ("\udcc3\udca9", "??", None), ("é", "\udcc3*", None),
])
def test_table(s, pattern, captures):
    assert match(s, pattern) == (captures is not None, captures or [])
    assert match(s=s, pattern=pattern)[0] is (captures is not None)


def test_any_number_of_wildcards():
    for count in (20, 21, 1000):
        assert match("a" * count, "?" * count) == (True, ["a"] * count)
        assert match("a" * count, "*" * count) == (True, [""] * (count - 1) + ["a" * count])
        assert match("a/" * count, "*/" * count) == (True, ["a"] * count)


def test_arguments_of_the_wrong_kind():
    for wrong in (None, b"a", 5):
        with pytest.raises(TypeError, match="s must"):
            match(wrong, "a")
        with pytest.raises(TypeError, match="pattern must"):
            match("a", wrong)
    with pytest.raises(UnicodeEncodeError):
        match("\ud800", "?")


def oracle(s, p):
    """The captures of the first match, shortest runs first; None when there is none."""
    if not p:
        return None if s else []
    if p[0] in "*#":
        for n in range(len(s) + 1):
            if p[0] == "*" and "/" in s[:n]:
                return None
            rest = oracle(s[n:], p[1:])
            if rest is not None:
                return [s[:n]] + rest
        return None
    if not s or (p[0] != "?" and p[0] != s[0]):
        return None
    rest = oracle(s[1:], p[1:])
    return rest if rest is None or p[0] != "?" else [s[0]] + rest


def test_random_patterns_as_a_search_that_tries_everything():
    rng = random.Random(8)
    matches = 0
    for _ in range(20_000):
        s = "".join(rng.choice("ab/é") for _ in range(rng.randrange(12)))
        p = "".join(rng.choice("ab/é?*#*") for _ in range(rng.randrange(8)))
        wanted = oracle(s, p)
        matches += wanted is not None
        assert match(s, p) == (wanted is not None, wanted or []), (s, p)
    assert matches > 500


def test_hostile_patterns_end():
    start = time.monotonic()
    for unit in ("*a", "#a", "*?", "*a*?", "#?*", "?*a", "*a#"):
        for s in ("a" * 2000, "a" * 40 + "/" + "a" * 1960, "aa/" * 600):
            assert match(s, unit * 100 + "b") == (False, [])
    assert time.monotonic() - start < (60 if INSTRUMENTED else 15)
