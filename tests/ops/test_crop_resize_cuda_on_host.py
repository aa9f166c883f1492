"""The CUDA kernels of crop_resize run on a CPU, thread for thread, against the PyTorch twin; and their launch plan."""

import ctypes
import math
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from insight.ops import reference

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path(__file__).parent / "cuda_on_host"
NAMES = {torch.uint8: "uint8", torch.float32: "float32", torch.float64: "float64"}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    target = tmp_path_factory.mktemp("cuda_on_host") / "crop_resize.so"
    command = [compiler, "-std=c++20", "-O1", "-pthread", "-shared", "-fPIC", f"-I{ROOT / 'csrc'}"]
    build = subprocess.run(
        [*command, str(SOURCES / "crop_resize.cpp"), "-o", str(target)], capture_output=True, text=True
    )
    if "barrier" in build.stderr and "No such file" in build.stderr:
        pytest.skip("this g++ has no C++20 barriers")
    assert build.returncode == 0, build.stderr
    loaded = ctypes.CDLL(str(target))
    loaded.make_geometry.restype = ctypes.c_void_p
    return loaded


class Kernels:
    """The two kernels, called with tensors."""

    def __init__(self, library, boxes, image_index, image_shape, size, antialias):
        self.library, self.boxes, self.image_index = library, boxes.contiguous(), image_index
        self.image_shape, self.size = image_shape, size
        sizes = (ctypes.c_int64 * 7)(len(boxes), *image_shape, *size)
        pointers = (ctypes.c_void_p(self.boxes.data_ptr()), ctypes.c_void_p(image_index.data_ptr()))
        self.geometry = ctypes.c_void_p(library.make_geometry(*pointers, sizes, ctypes.c_bool(antialias)))

    def __del__(self):
        self.library.free_geometry(self.geometry)

    def plan(self, wanted_blocks=1):
        values = (ctypes.c_int64 * 4)()
        self.library.tile_plan(self.geometry, ctypes.c_int64(wanted_blocks), values)
        return dict(zip(("rows", "columns", "column_tiles", "tiles"), values))

    def forward(self, images, mean=None, std=None, pad_value=0.0, wanted_blocks=1, blocks=2):
        dtype = torch.float32 if images.dtype == torch.uint8 else images.dtype
        out = torch.full((len(self.boxes), images.shape[1], *self.size), math.inf, dtype=dtype)
        getattr(self.library, f"forward_{NAMES[images.dtype]}")(
            self.geometry,
            ctypes.c_int64(wanted_blocks),
            ctypes.c_uint(blocks),
            ctypes.c_void_p(images.data_ptr()),
            (ctypes.c_int64 * 4)(*images.stride()),
            ctypes.c_void_p(None if mean is None else mean.data_ptr()),
            ctypes.c_void_p(None if std is None else std.data_ptr()),
            ctypes.c_double(pad_value),
            ctypes.c_void_p(out.data_ptr()),
        )
        return out

    def backward(self, grad, std=None, wanted_blocks=1, blocks=2):
        grad_images = torch.zeros(self.image_shape, dtype=grad.dtype)
        getattr(self.library, f"backward_{NAMES[grad.dtype]}")(
            self.geometry,
            ctypes.c_int64(wanted_blocks),
            ctypes.c_uint(blocks),
            ctypes.c_void_p(grad.data_ptr()),
            ctypes.c_void_p(None if std is None else std.data_ptr()),
            ctypes.c_void_p(grad_images.data_ptr()),
        )
        return grad_images


BOXES = torch.tensor(
    [
        [0.0, 0.0, 90.0, 60.0],
        [3.25, 5.5, 20.0, 18.75],
        [-20.0, -3.0, 300.0, 15.0],
        [80.0, 50.0, 130.0, 61.0],
        [10.0, 10.0, 10.25, 10.5],
        [200.0, 200.0, 210.0, 210.0],
        [math.nan, 0.0, 5.0, 5.0],
        [5.0, 5.0, 1.0, 9.0],
        [-1e30, -1e30, 1e30, 1e30],
        [0.0, -math.inf, 5.0, 5.0],
    ]
)
INDEX = torch.arange(len(BOXES)) % 2


def random_images(shape, dtype, seed=0):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * 255).to(dtype) if dtype == torch.uint8 else values.to(dtype)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("size", [(7, 5), (40, 70)])
def test_forward_equals_the_twin(library, size, dtype, antialias):
    images = random_images((2, 3, 60, 90), dtype)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 2.0, 1.0])
    options = {"mean": mean, "std": std, "pad_value": 0.75}
    expected = reference.crop_resize(images, BOXES, size, image_index=INDEX, antialias=antialias, **options)
    kernels = Kernels(library, BOXES, INDEX, images.shape, size, antialias)
    tolerance = {torch.uint8: 1e-3, torch.float32: 5e-6, torch.float64: 1e-12}[dtype]
    for given in (images, images.contiguous(memory_format=torch.channels_last)):
        torch.testing.assert_close(kernels.forward(given, **options), expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize(("channels", "size"), [(70, (3, 4)), (2, (3, 600)), (1, (70, 2))])
def test_many_channels_columns_and_rows(library, channels, size):
    images = random_images((1, channels, 20, 400), torch.float32)
    boxes = torch.tensor([[1.0, 2.0, 399.0, 18.5], [5.0, 2.0, 9.0, 17.0]])
    index = torch.zeros(2, dtype=torch.int64)
    expected = reference.crop_resize(images, boxes, size)
    kernels = Kernels(library, boxes, index, images.shape, size, True)
    torch.testing.assert_close(kernels.forward(images), expected, atol=5e-6, rtol=5e-6)


def test_image_index_out_of_range_gives_nan(library):
    images = random_images((2, 3, 10, 10), torch.float32)
    boxes, index = torch.tensor([[0.0, 0.0, 10.0, 10.0]] * 3), torch.tensor([1, 2, -1])
    out = Kernels(library, boxes, index, images.shape, (4, 4), True).forward(images)
    assert out[0].isfinite().all() and out[1:].isnan().all()
    gradient = Kernels(library, boxes, index, images.shape, (4, 4), True).backward(torch.ones(3, 3, 4, 4))
    assert gradient[0].eq(0).all() and gradient[1].sum().item() == pytest.approx(3 * 16)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [(7, 5), (20, 70)])
def test_backward_equals_the_twin(library, size, dtype, antialias):
    images = random_images((2, 3, 60, 90), torch.float64).requires_grad_()
    std = torch.tensor([0.5, 2.0, 1.0])
    weights = random_images((len(BOXES), 3, *size), dtype, seed=1) - 0.5
    out = reference.crop_resize(images, BOXES, size, image_index=INDEX, antialias=antialias, std=std)
    (out * weights).sum().backward()
    kernels = Kernels(library, BOXES, INDEX, images.shape, size, antialias)
    tolerance = 1e-4 if dtype == torch.float32 else 1e-10
    actual = kernels.backward(weights.contiguous(), std)
    torch.testing.assert_close(actual.double(), images.grad, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("wanted_blocks", [1, 528, 10**6])
@pytest.mark.parametrize("size", [(28, 28), (256, 256), (1, 1), (1, 5000), (5000, 1), (3000, 700)])
@pytest.mark.parametrize(("count", "channels"), [(1, 3), (512, 3), (64, 1), (7, 2048), (100_000, 0)])
def test_launch_plan(library, count, channels, size, wanted_blocks):
    boxes, index = torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)
    kernels = Kernels(library, boxes.expand(count, 4), index, (1, channels, 99, 99), size, True)
    plan = kernels.plan(wanted_blocks)
    height, width = size
    assert 1 <= plan["rows"] <= min(height, 64) and 1 <= plan["columns"] <= min(width, 256)
    assert plan["column_tiles"] == math.ceil(width / plan["columns"])
    assert plan["tiles"] == plan["column_tiles"] * math.ceil(height / plan["rows"])
    # Either the GPU is filled, or no tile can be cut any smaller.
    assert plan["rows"] == 1 or count * plan["tiles"] >= min(wanted_blocks, count * plan["column_tiles"] * height) // 2
