"""Loads the compiled library and registers the operators: compiled kernels, PyTorch fallbacks, fake and autograd."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch

from insight.runtime.shared_libraries import truncation

PACKAGE = Path(__file__).resolve().parent.parent
LIBRARY = PACKAGE / "_C.so"
BUILD_INFO = PACKAGE / "_build.json"


def build_info() -> dict:
    """Return the build options of the library.

    Returns:
        The keys torch, python, backends, cuda, cuda_archs and debug; empty if nothing was built.
    """
    return json.loads(BUILD_INFO.read_text()) if BUILD_INFO.is_file() else {}


def _load() -> str | None:
    if not LIBRARY.is_file():
        return f"{LIBRARY} was not built; run `pip install --no-build-isolation -e .` (docs/install.md)"
    if (reason := truncation(LIBRARY)) is not None:
        return reason
    try:
        torch.ops.load_library(str(LIBRARY))
    except OSError as error:
        built = build_info()
        reason = str(error.__cause__ or error).splitlines()[0]  # the loader's own message, which torch wraps
        return (
            f"{LIBRARY} was built with torch {built.get('torch', '?')} and CUDA {built.get('cuda', '?')}, but torch "
            f"{torch.__version__} and CUDA {torch.version.cuda} are installed; run "
            f"`pip install --no-build-isolation -e .` again ({reason})"
        )
    return None


def _compiled_backends() -> frozenset[str]:
    if LOAD_ERROR is not None:
        return frozenset()
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return frozenset(d for d in ("cpu", "cuda") if has_kernel("insight::area_loss", d.upper()))


# Module constants rather than cached functions: torch.compile reads them while it traces.
LOAD_ERROR: str | None = _load()  # one line: why the library is not loaded and what to do
BACKENDS: frozenset[str] = _compiled_backends()  # device types with compiled kernels
_warned: set[str] = set()


def has_ops() -> bool:
    """Return whether the compiled library is loaded.

    Returns:
        True if the compiled kernels are used, False if the PyTorch fallbacks are.
    """
    return LOAD_ERROR is None


def warn_of_fallback(device: torch.device) -> None:
    """Warn once per device type if the operators fall back to PyTorch there.

    Args:
        device: the device of the operator's tensors.
    """
    kind = device.type
    if kind in BACKENDS or kind == "meta" or torch.compiler.is_compiling() or kind in _warned:
        return
    _warned.add(kind)
    reason = LOAD_ERROR or f"the compiled library has no {kind} kernels (built for {', '.join(sorted(BACKENDS))})"
    warnings.warn(f"insight: {reason}. Using the slower PyTorch fallbacks of the operators.", stacklevel=3)


def register(
    name: str,
    schema: str,
    *,
    fallback: Callable,
    fake: Callable,
    backward: Callable,
    setup_context: Callable | None = None,
) -> None:
    """Register what an operator needs besides its compiled kernels.

    Compiled kernels take precedence on their devices; the fallback serves every other device. It is a kernel of the
    operator, so that torch.compile, which cannot trace numbers read on the host, does not look into it.

    Args:
        name: the operator, without namespace.
        schema: its arguments and results, as in csrc/ops.cpp; used if the library is not loaded.
        fallback: kernel in PyTorch.
        fake: shapes and dtypes of the results.
        backward: gradients of the arguments.
        setup_context: saves what `backward` needs; None: nothing.
    """
    qualified = f"insight::{name}"
    if not has_ops():
        torch.library.define(qualified, schema)
    torch.library.impl(qualified, "default", fallback)
    torch.library.register_fake(qualified, fake)
    torch.library.register_autograd(qualified, backward, setup_context=setup_context)
