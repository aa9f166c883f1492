"""Digests of content."""

import hashlib
import os

import pytest

from insight.errors import InputError
from insight.runtime.digests import digest, file_digest


def test_of_a_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"abc" * 100_000)
    assert file_digest(path) == hashlib.sha256(b"abc" * 100_000).hexdigest()
    path.write_bytes(b"abd" * 100_000)
    os.utime(path, ns=(1, 1))
    assert file_digest(str(path)) == hashlib.sha256(b"abd" * 100_000).hexdigest()
    with pytest.raises(InputError, match="missing: no such file"):
        file_digest(tmp_path / "missing")


def test_of_parts():
    assert digest(b"ab", b"c") == digest(b"ab", b"c") != digest(b"a", b"bc")
