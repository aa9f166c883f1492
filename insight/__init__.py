"""Promptable instance segmentation of remote sensing images.

Importing this package loads nothing else: each public name is imported when it is first used. `insight.ops`,
`insight.structures` and SOPSeg need no Detectron2. `add_insight_config` registers insight's models and datasets with
Detectron2, and so does everything else here that builds on it.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from . import ops, structures
    from .config import add_insight_config
    from .inference.build import load
    from .inference.detections import masks
    from .inference.prediction import Prediction
    from .inference.predictor import PromptPredictor
    from .inference.sopseg_predictor import SOPSegPredictor

__all__ = [
    "Prediction",
    "PromptPredictor",
    "SOPSegPredictor",
    "__version__",
    "add_insight_config",
    "load",
    "masks",
    "ops",
    "structures",
]

# Public name and the module that it comes from; None for a module of this package.
_LAZY = {
    "Prediction": ".inference.prediction",
    "PromptPredictor": ".inference.predictor",
    "SOPSegPredictor": ".inference.sopseg_predictor",
    "add_insight_config": ".config",
    "load": ".inference.build",
    "masks": ".inference.detections",
    "ops": None,
    "structures": None,
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _LAZY[name]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)  # Detectron2's layers
            loaded = import_module(module or f".{name}", __name__)
    except ModuleNotFoundError as error:
        from .errors import MissingDependencyError
        from .runtime.detectron2_install import advice

        if (missing := advice(error)) is None:
            raise
        raise MissingDependencyError(f"insight.{name} {missing}") from error
    value = loaded if module is None else getattr(loaded, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
