"""Which files count as cut short, against what `readelf` says of a library's segments."""

import re
import shutil
import subprocess

import pytest
import torch

from insight.elf import cut_short


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A library and where its last segment ends."""
    compiler, reader = shutil.which("cc"), shutil.which("readelf")
    if compiler is None or reader is None:
        pytest.skip("no C compiler, or no readelf")
    path = tmp_path_factory.mktemp("elf") / "library.so"
    source = b"int table[4096] = {1}; int f(int i) { return table[i]; }"
    subprocess.run([compiler, "-shared", "-fPIC", "-g", "-xc", "-", "-o", str(path)], input=source, check=True)
    listed = subprocess.run([reader, "-lW", str(path)], capture_output=True, text=True, check=True).stdout
    segments = re.findall(r"^  [A-Z_]+ +(0x\w+) 0x\w+ 0x\w+ (0x\w+) ", listed, re.MULTILINE)
    return path, max(int(offset, 16) + int(length, 16) for offset, length in segments)


def test_a_library_needs_its_segments_and_nothing_behind_them(library, tmp_path):
    path, end = library
    content = path.read_bytes()
    assert len(content) > end > 16384 and cut_short(path) is None
    cut = tmp_path / "cut.so"
    for size in (64, 100, 1000, end // 2, end - 1):
        cut.write_bytes(content[:size])
        message = cut_short(cut)
        assert message.startswith(f"{cut} has {size} bytes of at least ") and "\n" not in message
        if size >= 1000:  # the table of segments is there
            assert f" at least {end}," in message
    cut.write_bytes(content[:end])
    assert cut_short(cut) is None


@pytest.mark.parametrize("content", [b"", b"not a library", b"\x7fELF", bytes(100)])
def test_what_is_no_library_is_left_to_the_loader(tmp_path, content):
    (tmp_path / "library.so").write_bytes(content)
    assert cut_short(tmp_path / "library.so") is None


def test_torchs_own_library_is_whole():
    assert cut_short(torch._C.__file__) is None
