"""Notices of torch about the code of Detectron2 and timm, which no user can change."""

import logging
import warnings


def silence_notices() -> None:
    """Silence these notices, and no others."""
    warnings.filterwarnings("ignore", "torch.meshgrid", UserWarning)
    warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
    logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
