"""Where operators are tested: on this machine's devices, and with their CUDA kernels run on the CPU."""

import pytest
import torch
from helpers import cuda_on_host as on_host


@pytest.fixture(scope="session")
def cuda_on_host_library(tmp_path_factory):
    """The CUDA half of the library, compiled for the CPU and loaded."""
    if on_host.COMPILER is None:
        pytest.skip("no g++")
    torch.ops.load_library(str(on_host.build(tmp_path_factory.mktemp("cuda_on_host"))))


@pytest.fixture
def device_of(request):
    """The device of a name: torch's, or "cuda on host", the CPU with the CUDA kernels in place of its own."""

    def device_of(name):
        if name == "cuda on host":
            request.getfixturevalue("cuda_on_host")
        return torch.device("cpu" if name == "cuda on host" else name)

    return device_of


@pytest.fixture
def cuda_on_host(cuda_on_host_library):
    """The operators run their CUDA kernels, on CPU tensors."""
    with on_host.in_place_of_the_cpu_kernels():
        yield
