"""Models by name: shipped with the package, in the cache, in a folder, or on the Hugging Face hub.

A model is a folder with `config.json`, `model.safetensors` and a model card, `README.md`. Nothing in it is executed.
Finding and reading one needs no Detectron2.
"""

from .finding import DEFAULT_DETECTOR, DEFAULT_SOPSEG, detector_works, find, known_models
from .model_folder import ModelError, ModelFolder, read_model

__all__ = [
    "DEFAULT_DETECTOR",
    "DEFAULT_SOPSEG",
    "ModelError",
    "ModelFolder",
    "detector_works",
    "find",
    "known_models",
    "read_model",
]
