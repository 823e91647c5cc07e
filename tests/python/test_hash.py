# SPDX-License-Identifier: MIT
"""Hashes, HMAC, CRC-32 and random values, compared with hashlib, hmac and zlib."""
import hashlib
import hmac
import random
import string
import zlib

import pytest

from cymongoose import crc32, hmac_sha256, md5, random_bytes, random_str, sha1, sha256
from support import INSTRUMENTED, run_python

HASHES = [(md5, hashlib.md5), (sha1, hashlib.sha1), (sha256, hashlib.sha256)]


@pytest.mark.parametrize("ours, theirs", HASHES)
def test_hashes_as_hashlib_has_them(ours, theirs):
    rng = random.Random(12)
    for size in list(range(200)) + [1_000_000]:
        data = rng.randbytes(size)
        assert ours(data) == theirs(data).digest()
    assert ours("é") == theirs("é".encode()).digest()
    assert ours(data=bytearray(b"ab")) == ours(memoryview(b"ab")) == ours([97, 98]) == theirs(b"ab").digest()
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            ours(wrong)


def test_hmac_as_the_standard_library_has_it():
    rng = random.Random(13)
    for size in list(range(140)) + [10_000]:
        key, data = rng.randbytes(size), rng.randbytes(rng.randrange(300))
        assert hmac_sha256(key, data) == hmac.digest(key, data, "sha256")
    assert hmac_sha256("ké", "é") == hmac_sha256(key="ké".encode(), data="é".encode())
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            hmac_sha256(wrong, b"")
        with pytest.raises(TypeError):
            hmac_sha256(b"", wrong)


def test_crc32_as_zlib_has_it():
    rng = random.Random(14)
    for size in list(range(100)) + [1_000_000]:
        data, initial = rng.randbytes(size), rng.randrange(2**32)
        assert crc32(data) == zlib.crc32(data)
        assert crc32(data, initial) == zlib.crc32(data, initial)
        cut = rng.randrange(size + 1)
        assert crc32(data[cut:], crc32(data[:cut])) == zlib.crc32(data)
    assert crc32("é") == zlib.crc32("é".encode())
    assert crc32(b"", initial=2**32 - 1) == 2**32 - 1
    for beyond in (-1, 2**32):
        with pytest.raises(OverflowError):
            crc32(b"a", beyond)
    with pytest.raises(TypeError):
        crc32(None)


def test_random_values():
    for size in (0, 1, 16, 1000):
        assert type(random_bytes(size)) is bytes and len(random_bytes(size)) == size
        assert type(random_str(size)) is str and len(random_str(size)) == size
    assert random_bytes(16) != random_bytes(16)
    assert random_str(22) != random_str(22)
    assert set(random_str(20_000)) == set(string.ascii_letters + string.digits)
    assert set(random_bytes(20_000)) == set(range(256))
    for function in (random_bytes, random_str):
        for beyond in (-1, 2**64):
            with pytest.raises(OverflowError):
                function(beyond)
        for wrong in (None, "5", b"5"):
            with pytest.raises(TypeError):
                function(wrong)
        if not INSTRUMENTED:  # the address sanitizer ends the process instead
            with pytest.raises(MemoryError):
                function(2**62)


FIPS = """
openssl_conf = init
[init]
alg_section = algorithms
[algorithms]
default_properties = fips=yes
"""


def test_md5_where_openssl_is_configured_for_fips(tmp_path):
    config = tmp_path / "openssl.cnf"
    config.write_text(FIPS)
    result = run_python("import cymongoose; print(cymongoose.md5(b'abc').hex(), cymongoose.sha1(b'abc').hex())",
                        env={"OPENSSL_CONF": str(config)})
    assert result.stdout.split() == [hashlib.md5(b"abc").hexdigest(), hashlib.sha1(b"abc").hexdigest()], result.stderr
