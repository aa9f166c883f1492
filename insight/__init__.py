"""Promptable instance segmentation of remote sensing images.

Where Detectron2 is installed, importing this package registers its models and datasets there. `insight.ops`,
`insight.structures` and SOPSeg need no Detectron2.
"""

import warnings
from importlib import import_module
from importlib.util import find_spec

from .version import __version__

__all__ = ["Prediction", "PromptPredictor", "SOPSegPredictor", "__version__", "add_insight_config", "masks"]

_LAZY = {
    "Prediction": ".inference.prediction",
    "PromptPredictor": ".inference.predictor",
    "SOPSegPredictor": ".inference.sopseg_predictor",
    "add_insight_config": ".config",
    "masks": ".inference.detections",
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name], __name__), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "detectron2":
            raise
        raise ImportError(f"insight.{name} needs Detectron2: python scripts/install_detectron2.py") from error


if find_spec("detectron2") is not None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # by Detectron2's layers
        import_module(".modeling.registration", __name__)
    import_module(".data", __name__)
