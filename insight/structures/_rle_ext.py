"""Loads the compiled run-length coder, or the NumPy fallback if it was not built."""

import platform
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from insight.runtime.shared_libraries import truncation

from . import rle_reference


def _load() -> tuple[ModuleType | None, str | None]:
    found = find_spec("insight._rle")
    if found is not None and found.origin is not None and (reason := truncation(found.origin)) is not None:
        return None, reason
    try:
        return import_module("insight._rle"), None
    except ImportError as error:
        return None, (
            f"the run-length coder was not built for Python {platform.python_version()}; run "
            f"`pip install --no-build-isolation -e .` (docs/install.md) ({error})"
        )


COMPILED, LOAD_ERROR = _load()  # the module, or one line on why it is missing and what to do


@cache
def coder() -> ModuleType:
    """Return the run-length coder; warn once if it is the slower fallback.

    Returns:
        The compiled module, or `rle_reference`, which has the same functions.
    """
    if COMPILED is None:
        warnings.warn(f"insight: {LOAD_ERROR}. Using the slower NumPy fallback.", stacklevel=3)
    return COMPILED or rle_reference
