# SPDX-License-Identifier: MIT
"""Values out of JSON text, compared with the standard library's json."""
import json
import locale
import random
import sys
from fractions import Fraction

import pytest

from cymongoose import json_get, json_get_bool, json_get_long, json_get_num, json_get_str

TEXT = '{"name": "Alice", "age":30, "tags":[1, 2], "none":null, "yes": true, "p":[[10, 20], {"x.y": 1}], "pi": 3.14}'


def replaced(text):
    """Halves of surrogate pairs as the library has them."""
    return "".join("\ufffd" if 0xD800 <= ord(c) <= 0xDFFF else c for c in text)


# ==== what callers rely on ====

@pytest.mark.parametrize("path, text", [
    ("$.name", '"Alice"'), ("$.age", "30"), ("$.tags", "[1, 2]"), ("$.none", "null"), ("$.p[0][1]", "20"), ("$", TEXT),
    ("$.tags[1]", "2"), ("$.yes", "true"), ("$.missing", None), ("$.tags[2]", None), ("$.name.x", None), ("name", None),
    ("", None), ("$.", None), ("$.p[]", None), ("$.p[", None), ("$.p[-1]", None), ("$.*", None), ("$.p[1].x.y", None),
])
def test_json_get_gives_the_text_as_it_is_written(path, text):
    assert json_get(TEXT, path) == text
    assert json_get(TEXT.encode(), path) == text
    assert json_get(bytearray(TEXT.encode()), path) == text
    assert json_get(data=memoryview(TEXT.encode()), path=path) == text


def test_text_that_is_no_json_gives_none_up_to_where_it_is():
    assert json_get("not json", "$.a") is None
    assert json_get("", "$") is None
    assert json_get('{"a":1, b}', "$.a") == "1"
    assert json_get('{"a":1, b}', "$.b") is None
    assert json_get('{"a":1', "$.a") == "1"
    assert json_get('{"a":1', "$") is None


def test_each_kind_is_only_itself():
    kinds = [(json_get_str, {'"x"', '"1"', '"true"'}), (json_get_num, {"1", "-0.5e3"}), (json_get_bool, {"true", "false"})]
    for text in ('"x"', "1", "-0.5e3", "true", "false", "null", "[]", "{}", "[1]", '"1"', '"true"', "garbage", "-"):
        for function, fitting in kinds:
            assert (function(text, "$") is not None) == (text in fitting), (function, text)


def test_defaults():
    marker = object()
    assert json_get_num("{}", "$.a") is None and json_get_num("{}", "$.a", marker) is marker
    assert json_get_bool("{}", "$.a") is None and json_get_bool("1", "$", default=marker) is marker
    assert json_get_bool("true", "$", False) is True and json_get_bool("false", "$", True) is False
    assert json_get_long("{}", "$.a") == 0 and json_get_long("{}", "$.a", -5) == -5
    assert json_get_long("3.14", "$") == 3 and json_get_long('"3"', "$", default=7) == 7
    for wrong in ("1", None, 1.5, b"1"):
        with pytest.raises(TypeError):
            json_get_long("1", "$", wrong)


def test_arguments_of_the_wrong_kind():
    for function in (json_get, json_get_str, json_get_num, json_get_bool, json_get_long):
        for wrong in (None, 5, object()):
            with pytest.raises(TypeError):
                function(wrong, "$")
        for wrong in (None, b"$", 5, ["$"]):
            with pytest.raises(TypeError, match="path"):
                function("1", wrong)
        with pytest.raises(TypeError):
            function("1")
    assert json_get('{"a\\u0000b": 1}', "$.a\0b") is None
    assert json_get("[1]", "$\0[0]") is None


# ==== odd cases ====

def test_escapes_and_surrogates():
    for text in ('"\\ud83d\\ude00"',
                 '"\\/\\"\\\\\\b\\f\\n\\r\\t"', '"\\u00e9\\u20ac\\u0000x"', '"é€😀"', '"\\uD83D"', '"\\ude00\\ud83d\\ud83d\\ude00"'):
        assert json_get_str(text, "$") == replaced(json.loads(text)), text
    assert json_get('{"\\u00e9": 1}', "$.é") == "1"
    assert json_get('{"é": 1}', "$.é") == "1"


def test_bytes_that_are_no_utf8_go_through():
    data = b'{"\xff": "a\xfe"}'
    assert json_get(data, "$.\udcff") == '"a\udcfe"'
    assert json_get_str(data, "$.\udcff") == "a\udcfe"
    assert json_get_str(data.decode("utf-8", "surrogateescape"), "$.\udcff") == "a\udcfe"
    with pytest.raises(UnicodeEncodeError):
        json_get("\ud800", "$")


def test_integers_of_any_size_are_exact():
    for number in (0, 1, -1, 2**53 + 1, 2**63 - 1, 2**63, -2**63, -2**63 - 1, 2**64, 10**100 + 7, -(10**1000) - 3):
        assert json_get_long(str(number), "$") == number
        assert json_get_long(f"[{number}.999]", "$[0]") == number
    assert json_get_long("1.5e3", "$") == 1500 and json_get_long("1e30", "$") == 10**30
    assert json_get_long("123456e-3", "$") == 123 and json_get_long("-0.9", "$") == 0


def test_integers_that_would_take_all_memory_are_not_made():
    assert json_get_long("9" * 4300, "$") == 10**4300 - 1
    assert json_get_long("-" + "9" * 4300, "$") == 1 - 10**4300
    for text in ("9" * 4301, "1e4300", "1e999999999", "-1e99999999999999999999999", "1" * 100_000):
        assert json_get_long(text, "$", 7) == 7, text[:20]
    if hasattr(sys, "set_int_max_str_digits"):
        before = sys.get_int_max_str_digits()
        try:
            sys.set_int_max_str_digits(640)
            assert json_get_long("9" * 700, "$", 7) == 7
        finally:
            sys.set_int_max_str_digits(before)


def test_numbers_do_not_depend_on_the_locale():
    before = locale.setlocale(locale.LC_NUMERIC)
    for name in ("de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C"):
        try:
            locale.setlocale(locale.LC_NUMERIC, name)
        except locale.Error:
            continue
        try:
            assert json_get_num("1234.5", "$") == 1234.5
        finally:
            locale.setlocale(locale.LC_NUMERIC, before)


def test_deep_nesting_has_a_limit_and_no_recursion():
    assert json_get("[" * 512 + "]" * 512, "$") is not None
    for depth in (513, 1000, 1_000_000):
        text = "[" * depth + "]" * depth
        assert json_get(text, "$") is None
        assert json_get("[" + text + ", 1]", "$[1]") is None


# ==== against the standard library ====

def random_value(rng, depth):
    kind = rng.randrange(9 if depth > 0 else 6)
    if kind == 0:
        return rng.choice([True, False, None])
    if kind == 1:
        return rng.choice([0, 1, -1, rng.randrange(-2**70, 2**70)])
    if kind == 2:
        return rng.choice([0.0, -0.0, rng.uniform(-1, 1), rng.uniform(-1e300, 1e300), rng.random() * 10**rng.randrange(-320, 300)])
    if kind < 6:
        return "".join(rng.choice('ab"\\/\n\t\x01é€😀\ud83d\ude00 ') for _ in range(rng.randrange(6)))
    if kind == 6:
        return {f"k{rng.randrange(5)}": random_value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return [random_value(rng, depth - 1) for _ in range(rng.randrange(5))]


def walk(value, path="$"):
    yield path, value
    if isinstance(value, dict):
        for name, each in value.items():
            yield from walk(each, f"{path}.{name}")
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from walk(each, f"{path}[{index}]")


def written(value, rng):
    """JSON text in one of the ways in which it can be written, as the library is to read it."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 1, "\t"]),
                      separators=rng.choice([None, (",", ":")]))
    return replaced(text)


def test_random_values_as_json_loads_has_them():
    rng = random.Random(4)
    seen = 0
    for _ in range(2000):
        text = written(random_value(rng, 4), rng)
        for path, wanted in walk(json.loads(text)):
            seen += 1
            found = json_get(text, path)
            assert json.dumps(json.loads(found)) == json.dumps(wanted), (text, path)
            assert json_get_str(text, path) == (replaced(wanted) if isinstance(wanted, str) else None)
            assert json_get_bool(text, path) is (wanted if isinstance(wanted, bool) else None)
            is_number = isinstance(wanted, (int, float)) and not isinstance(wanted, bool)
            assert json_get_num(text, path) == (float(wanted) if is_number else None)
            assert json_get_long(text, path, -7) == (int(Fraction(found)) if is_number else -7)
    assert seen > 3000


def test_random_damage_never_finds_what_json_refuses():
    """A whole text that we accept is one that json accepts, and the other way round."""
    rng = random.Random(5)
    for _ in range(6000):
        text = written(random_value(rng, 3), rng)
        at = rng.randrange(len(text) + 1)
        damage = rng.choice(["", ",", '"', "\\", "{", "]", ":", "1", "e", ".", "-", "\x00", " ", "t", "\n"])
        text = text[:at] + damage + text[at + rng.randrange(3):]
        found = json_get(text, "$")
        is_whole = found is not None and text.strip(" \t\r\n") == found
        try:
            json.loads(text, parse_constant=lambda name: 1 / 0)
            accepted = True
        except (ValueError, ZeroDivisionError):
            accepted = False
        assert accepted == is_whole, text


def test_random_numbers_as_float_and_int_have_them():
    rng = random.Random(6)
    for _ in range(5000):
        digits = "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 25))).lstrip("0") or "0"
        fraction = "." + "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 25))) if rng.random() < 0.6 else ""
        exponent = rng.choice("eE") + rng.choice(["", "+", "-"]) + str(rng.randrange(60)) if rng.random() < 0.5 else ""
        text = rng.choice(["", "-"]) + digits + fraction + exponent
        assert json_get_num(text, "$") == float(text), text
        assert json_get_long(text, "$", -12345) == int(Fraction(text)), text
