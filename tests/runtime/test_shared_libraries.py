"""Truncated libraries, compared with the segments that `readelf` lists."""

import re
import shutil
import subprocess

import pytest
import torch

from insight.runtime.shared_libraries import truncation


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library and the end of its last segment."""
    compiler, reader = shutil.which("cc"), shutil.which("readelf")
    if compiler is None or reader is None:
        pytest.skip("no C compiler, or no readelf")
    path = tmp_path_factory.mktemp("elf") / "library.so"
    source = b"int table[4096] = {1}; int f(int i) { return table[i]; }"
    subprocess.run([compiler, "-shared", "-fPIC", "-g", "-xc", "-", "-o", str(path)], input=source, check=True)
    listed = subprocess.run([reader, "-lW", str(path)], capture_output=True, text=True, check=True).stdout
    segments = re.findall(r"^  [A-Z_]+ +(0x\w+) 0x\w+ 0x\w+ (0x\w+) ", listed, re.MULTILINE)
    return path, max(int(offset, 16) + int(length, 16) for offset, length in segments)


def test_a_library_must_reach_the_end_of_its_last_segment(library, tmp_path):
    path, end = library
    content = path.read_bytes()
    assert len(content) > end > 16384 and truncation(path) is None
    cut = tmp_path / "cut.so"
    for size in (64, 100, 1000, end // 2, end - 1):
        cut.write_bytes(content[:size])
        message = truncation(cut)
        assert message.startswith(f"{cut} is truncated: expected at least ") and "\n" not in message
        assert f" bytes, got {size};" in message
        if size >= 1000:  # includes the table of segments
            assert f" at least {end} bytes" in message
    cut.write_bytes(content[:end])
    assert truncation(cut) is None


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF", bytes(100)])
def test_files_that_are_not_libraries_are_left_to_the_loader(tmp_path, content):
    (tmp_path / "library.so").write_bytes(content)
    assert truncation(tmp_path / "library.so") is None


def test_torchs_own_library_is_complete():
    assert truncation(torch._C.__file__) is None
