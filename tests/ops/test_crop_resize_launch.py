"""How the CUDA kernels of crop_resize cut an output into tiles: plain functions, compiled for and run on the CPU."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parents[2] / "csrc"
COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")
SOURCE = """
#include "common/crop_resize.h"
using namespace insight::crop_resize;
extern "C" void plan(int64_t boxes, int64_t channels, int64_t height, int64_t width, int64_t blocks, int64_t* out) {
  const TilePlan p = plan_tiles(Geometry{nullptr, nullptr, boxes, 1, channels, 99, 99, height, width, true}, blocks);
  out[0] = p.rows;
  out[1] = p.columns;
  out[2] = p.column_tiles;
  out[3] = p.tiles;
}
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("launch")
    source, library = folder / "plan.cpp", folder / "plan.so"
    source.write_text(SOURCE)
    subprocess.run(
        [COMPILER, "-std=c++17", "-shared", "-fPIC", f"-I{CSRC}", str(source), "-o", str(library)], check=True
    )
    function = ctypes.CDLL(str(library)).plan
    function.argtypes = [ctypes.c_int64] * 5 + [ctypes.c_void_p]

    def plan(boxes, channels, height, width, blocks):
        out = (ctypes.c_int64 * 4)()
        function(boxes, channels, height, width, blocks, out)
        return list(out)

    return plan


@pytest.mark.parametrize("blocks", [1, 528, 10**6])
@pytest.mark.parametrize("size", [(28, 28), (256, 256), (1, 1), (1, 5000), (5000, 1), (3000, 700)])
@pytest.mark.parametrize(("boxes", "channels"), [(1, 3), (512, 3), (64, 1), (7, 2048), (100_000, 0)])
def test_tiles_cover_the_output_and_fill_the_gpu(plan, boxes, channels, size, blocks):
    height, width = size
    rows, columns, column_tiles, tiles = plan(boxes, channels, height, width, blocks)
    assert 1 <= rows <= min(height, 64) and 1 <= columns <= min(width, 256)
    assert column_tiles == math.ceil(width / columns)
    assert tiles == column_tiles * math.ceil(height / rows)
    # Either the GPU is filled, or no tile can be cut any smaller.
    assert rows == 1 or boxes * tiles >= min(blocks, boxes * column_tiles * height) // 2
