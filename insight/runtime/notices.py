"""Suppression of messages that are of no use to users."""

import contextlib
import logging
import warnings
from collections.abc import Iterator


def silence_notices() -> None:
    """Silence notices of torch about the code of Detectron2 and timm, which no user can change, and no others."""
    warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Suppress logged warnings within the block, for checks whose warnings are repeated by the work itself."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
