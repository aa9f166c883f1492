"""The implementations of an operator: compiled kernels, CUDA kernels run on the CPU, and the PyTorch fallback."""

import importlib
import os

import pytest
import torch
from helpers import cuda_on_host as on_host

from insight.ops import reference
from insight.runtime.locks import locked


@pytest.fixture(scope="session")
def cuda_on_host_library(tmp_path_factory):
    """The CUDA half of the library, compiled for the CPU and loaded; all processes of a test run share it."""
    if on_host.COMPILER is None:
        pytest.skip("no g++")
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cuda_on_host"
    folder.mkdir(exist_ok=True)
    with locked(folder / "lock", patience=600):
        compiled = folder / "compiled.txt"
        if not compiled.is_file():
            compiled.write_text(str(on_host.build(folder)))
    torch.ops.load_library(compiled.read_text())


@pytest.fixture
def device_of(request):
    """Convert a name to a device: "cuda on host" and "fallback" are the CPU, with other kernels in place of its own."""

    def device_of(name):
        if name in ("cuda on host", "fallback"):
            request.getfixturevalue(name.replace(" ", "_"))
            return torch.device("cpu")
        return torch.device(name)

    return device_of


@pytest.fixture
def cuda_on_host(cuda_on_host_library):
    """The operators run their CUDA kernels on CPU tensors."""
    with on_host.in_place_of_the_cpu_kernels():
        yield


@pytest.fixture
def fallback():
    """The operators run their PyTorch fallbacks on CPU tensors."""
    area_loss, crop_resize, attention = (
        importlib.import_module(f"insight.ops.{name}")
        for name in ("area_loss", "crop_resize", "global_to_local_attention")
    )
    kernels = {
        "area_loss": area_loss._fallback,
        "area_loss_backward": reference.area_loss_backward,
        "crop_resize": crop_resize._fallback,
        "crop_resize_backward": reference.crop_resize_backward,
        "global_to_local_attention": attention._fallback,
        "global_to_local_attention_backward": attention._fallback_backward,
    }
    with torch.library._scoped_library("insight", "IMPL") as library:
        for op, kernel in kernels.items():
            library.impl(op, kernel, "CPU")
        yield
