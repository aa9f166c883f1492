"""Prediction on images and files.

Imported lazily: SOPSeg's predictor and `Prediction` need no Detectron2, `PromptPredictor` and `build_predictor` do.
"""

from importlib import import_module

__all__ = ["Prediction", "PromptPredictor", "SOPSegPredictor", "build_predictor", "masks"]

_LAZY = {
    "Prediction": ".prediction",
    "PromptPredictor": ".predictor",
    "SOPSegPredictor": ".sopseg_predictor",
    "build_predictor": ".build",
    "masks": ".detections",
}


def __getattr__(name: str):
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name], __name__), name)
