"""Launch maths of the CUDA kernels of global_to_local_attention, compiled for and run on the CPU."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
SOURCE = """
#include "common/global_to_local_attention_launch.h"
using namespace insight::attention;
extern "C" {
int head_dim(int64_t d) { return tensor_core_head_dim(d); }
int tile(int padded_d) { return tensor_core_tile(padded_d); }
int pass_rows(int padded_d) { return tensor_core_key_pass_rows(padded_d); }
int64_t row_tiles(int64_t n, int64_t t, int64_t b, int64_t rows) { return most_row_tiles(n, t, b, rows); }
int image(const int* start, int images, int tile) { return image_of_tile(start, images, tile); }
int64_t splits(int64_t rows, int64_t images, int64_t row_tile, int64_t blocks) {
  return key_gradient_splits(rows, images, row_tile, blocks);
}
int swizzle(int row, int chunk, int chunks) { return swizzled(row, chunk, chunks); }
}
"""


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    source, library = folder / "launch.cpp", folder / "launch.so"
    source.write_text(SOURCE)
    subprocess.run(
        [COMPILER, "-std=c++17", "-shared", "-fPIC", f"-I{CSRC}", str(source), "-o", str(library)], check=True
    )
    functions = ctypes.CDLL(str(library))
    for name in ("row_tiles", "splits"):
        getattr(functions, name).argtypes = [ctypes.c_int64] * 4
        getattr(functions, name).restype = ctypes.c_int64
    functions.head_dim.argtypes = [ctypes.c_int64]
    return functions


def test_head_dim_holds_whole_16_byte_chunks(launch):
    expected = {1: 0, 8: 16, 12: 0, 16: 16, 20: 0, 24: 32, 32: 32, 40: 64, 64: 64, 72: 128, 128: 128, 136: 0, 256: 0}
    assert {d: launch.head_dim(d) for d in expected} == expected


@pytest.mark.parametrize("d", [16, 32, 64, 128])
def test_tiles_fit_the_block_and_shared_memory(launch, d):
    warps, threads, chunks = 4, 128, d // 8
    rows = launch.pass_rows(d)
    assert launch.tile(d) % (16 * warps) == 0 and rows % 16 == 0
    assert rows * chunks % threads == 0 and 64 * chunks % threads == 0  # each thread copies as many 16-byte chunks
    buffers = 2 * (2 * rows * d * 2 + rows * 8)  # twice: two tensors of 16-bit numbers, and 8 bytes a row
    assert buffers <= 48 * 1024 and 2 * 64 * d * 2 <= 48 * 1024  # in the pass over keys, over rows
    fragments = launch.tile(d) // (16 * warps)
    assert fragments * d / 2 <= 64  # registers of a lane for the sums, 16 x d of them a fragment over 32 lanes


@given(
    rois=st.lists(st.integers(0, 5), max_size=30),
    images=st.integers(0, 5),
    tokens=st.integers(1, 200),
    rows=st.sampled_from([32, 64, 128]),
)
def test_tiles_cover_every_row_of_every_image_once(launch, rois, images, tokens, rows):
    """With the table that the device makes, from RoIs of which some have no valid image (5 and above `images`)."""
    count = [sum(min(image, images) == b for image in rois) for b in range(images + 1)]
    start = [0]
    for c in count:
        start.append(start[-1] + -(-c * tokens // rows))
    assert start[-1] <= launch.row_tiles(len(rois), tokens, images, rows)
    table = (ctypes.c_int * len(start))(*start)
    found = [launch.image(table, images, tile) for tile in range(start[-1])]
    assert found == [b for b in range(images + 1) for _ in range(start[b + 1] - start[b])]


@given(
    rows=st.integers(0, 200_000),
    images=st.integers(0, 64),
    row_tile=st.sampled_from([32, 64]),
    blocks=st.integers(0, 5_000),
)
def test_splits_neither_starve_nor_flood(launch, rows, images, row_tile, blocks):
    splits = launch.splits(rows, images, row_tile, blocks)
    assert splits >= 1
    assert splits == 1 or splits * blocks <= 1024
    assert splits == 1 or rows / max(1, images) / row_tile / splits >= 4  # tiles of rows each


def test_splits_of_the_target_size(launch):
    """25,088 rows, 2,500 keys in tiles of 128, 8 heads: 160 blocks leave a large GPU half empty, 960 do not."""
    assert launch.splits(512 * 49, 1, 64, 20 * 8) == 6


@pytest.mark.parametrize("chunks", [2, 4, 8, 16])
def test_swizzle_is_a_permutation_without_bank_conflicts(launch, chunks):
    rows = 64
    places = [[launch.swizzle(row, chunk, chunks) for chunk in range(chunks)] for row in range(rows)]
    assert sorted(sum(places, [])) == list(range(rows * chunks))
    for first in range(0, rows, 8):
        for chunk in range(chunks):
            banks = {places[row][chunk] % 8 for row in range(first, first + 8)}  # groups of 4 banks, 16 bytes
            assert len(banks) == 8
