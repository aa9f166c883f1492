"""Loading of the compiled library; the only place that knows where it is and why it may be missing."""

import json
import warnings
from pathlib import Path

import torch

from insight.elf import cut_short

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARY = PACKAGE / "_C.so"
BUILD_INFO = PACKAGE / "_build.json"


def build_info() -> dict:
    """What the library was built with.

    Returns:
        The keys torch, python, backends, cuda, cuda_archs, debug; empty if nothing was built.
    """
    return json.loads(BUILD_INFO.read_text()) if BUILD_INFO.is_file() else {}


def _load() -> str | None:
    if not LIBRARY.is_file():
        return f"{LIBRARY} was not built; run `pip install --no-build-isolation -e .` (docs/install.md)"
    if (reason := cut_short(LIBRARY)) is not None:
        return reason
    try:
        torch.ops.load_library(str(LIBRARY))
    except OSError as error:
        built = build_info()
        reason = str(error.__cause__ or error).splitlines()[0]  # torch only says that it failed; the loader says why
        return (
            f"{LIBRARY} was built with torch {built.get('torch', '?')} and CUDA {built.get('cuda', '?')}, here are "
            f"torch {torch.__version__} and CUDA {torch.version.cuda}; run "
            f"`pip install --no-build-isolation -e .` again ({reason})"
        )
    return None


def _loaded_backends() -> frozenset[str]:
    if LOAD_ERROR is not None:
        return frozenset()
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return frozenset(d for d in ("cpu", "cuda") if has_kernel("insight::area_loss", d.upper()))


# Module constants rather than cached functions: torch.compile reads them while it traces.
LOAD_ERROR: str | None = _load()  # one line, why the library is not loaded and what to do
BACKENDS: frozenset[str] = _loaded_backends()  # device types that have compiled kernels
_warned: set[str] = set()


def has_ops() -> bool:
    """Whether the compiled library is loaded.

    Returns:
        True if the compiled kernels are in use, False if the PyTorch twins stand in.
    """
    return LOAD_ERROR is None


def compiled_for(device: torch.device) -> bool:
    """Whether a compiled kernel serves this device; warns once where the PyTorch twin must do.

    Args:
        device: the device of the op's tensors.

    Returns:
        True to call the compiled op, False to call the twin.
    """
    if device.type in BACKENDS or (device.type == "meta" and LOAD_ERROR is None):
        return True
    if not torch.compiler.is_compiling() and device.type not in _warned:
        _warned.add(device.type)
        reason = LOAD_ERROR or f"the compiled library has no {device.type} kernels (built for {sorted(BACKENDS)})"
        warnings.warn(f"insight: {reason}. Using the slower PyTorch twins of the ops.", stacklevel=3)
    return False
