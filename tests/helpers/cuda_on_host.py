"""The CUDA half of the library on a CPU: csrc/cuda compiled by a C++ compiler, each CUDA thread a coroutine.

The kernels, their launches and the host code around them are those that nvcc compiles. Only the instructions of mma.cuh
(tensor cores, asynchronous copies) are replaced, by what NVIDIA's documentation says that they do.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch.utils import cpp_extension

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "ops" / "cuda_on_host"
NAMESPACE = "insight_cuda_on_host"
COMPILER = shutil.which("g++")
LIBRARY = (ROOT / "csrc" / "ops.cpp", *sorted((ROOT / "csrc" / "cuda").glob("*.cu")))


def plain_cpp(source: str) -> str:
    """CUDA C++ with launches, `kernel<<<...>>>(...)`, as calls, and operators under a namespace of their own."""
    while "<<<" in source:
        at = source.index("<<<")
        begin = _begin_of_name(source, at)
        end = source.index(">>>", at)
        close = _closing(source, source.index("(", end))
        name, where, arguments = source[begin:at].strip(), source[at + 3 : end], source[end + 3 : close + 1]
        call = f"::cuda_on_host::launch({where}, [&] {{ {name}{arguments}; }})"
        source = source[:begin] + call + source[close + 1 :]
    source = source.replace("STABLE_TORCH_LIBRARY(insight,", f"STABLE_TORCH_LIBRARY({NAMESPACE},")
    source = source.replace("STABLE_TORCH_LIBRARY_IMPL(insight, CUDA,", f"STABLE_TORCH_LIBRARY_IMPL({NAMESPACE}, CPU,")
    # As if no GPU had more: so that blocks take several tiles, as they do of tensors too large for a test.
    return re.sub(r"kMostBlocks = [^;]+;", "kMostBlocks = 7;", source)


def _begin_of_name(source: str, end: int) -> int:
    """Where the name before `end`, with its template arguments if any, begins."""
    at = end
    while source[at - 1].isspace():
        at -= 1
    if source[at - 1] == ">":
        depth = 0
        while True:
            at -= 1
            depth += {">": 1, "<": -1}.get(source[at], 0)
            if depth == 0:
                break
    while re.match(r"\w", source[at - 1]):
        at -= 1
    return at


def _closing(source: str, opening: int) -> int:
    """The parenthesis that closes the one at `opening`."""
    depth = 0
    for at in range(opening, len(source)):
        depth += {"(": 1, ")": -1}.get(source[at], 0)
        if depth == 0:
            return at
    raise ValueError("a parenthesis is not closed")


def build(folder: Path, sources: Sequence[Path] = LIBRARY) -> Path:
    """Compile a library.

    Args:
        folder: for what is generated, and the library.
        sources: CUDA C++; the operators of insight.

    Returns:
        The library. With CUDA_ON_HOST_FLAGS in the environment, compiled and linked with these flags too.
    """
    flags = os.environ.get("CUDA_ON_HOST_FLAGS", "").split()
    includes = [HERE / "include", HERE, ROOT / "csrc", *cpp_extension.include_paths()]
    options = [
        *("-std=c++17", "-O2", "-fPIC", "-fno-strict-aliasing", "-w", "-DTORCH_STABLE_ONLY", "-DUSE_CUDA"),
        "-DTORCH_TARGET_VERSION=0x020a000000000000",
        "-Daoti_torch_get_current_cuda_stream=cuda_on_host_current_stream",
        *(f"-I{include}" for include in includes),
    ]

    def compiled(source: Path) -> Path:
        plain = folder / f"{source.stem}_plain.cpp"
        plain.write_text(plain_cpp(source.read_text()))
        target = plain.with_suffix(".o")
        _run([COMPILER, *options, *flags, "-c", str(plain), "-o", str(target)])
        return target

    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(compiled, (HERE / "team.cpp", *sources)))
    library = folder / "cuda_on_host.so"
    paths = [flag for path in cpp_extension.library_paths() for flag in (f"-L{path}", f"-Wl,-rpath,{path}")]
    _run([COMPILER, "-shared", *flags, *map(str, objects), *paths, "-ltorch", "-ltorch_cpu", "-o", str(library)])
    return library


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # no sanitizer for g++
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr[-8000:]}")


@contextlib.contextmanager
def in_place_of_the_cpu_kernels() -> Iterator[None]:
    """Let insight's operators run the loaded library on CPU tensors."""
    ours = getattr(torch.ops, NAMESPACE)
    with torch.library._scoped_library("insight", "IMPL") as library:
        for name in ("crop_resize", "global_to_local_attention", "area_loss"):
            for op in (name, f"{name}_backward"):
                library.impl(op, getattr(ours, op).default, "CPU")
        yield
