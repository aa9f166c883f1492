"""Keyword arguments of `from_pretrained` and `insight.load`, typed for editors and type checkers.

They are those of the predictors' constructors. This module needs no Detectron2.
"""

from typing import TypedDict

import torch


class PromptKeywords(TypedDict, total=False):
    """Keywords of `PromptPredictor`."""

    class_names: list[str] | None
    min_size: int | None
    max_size: int | None


class SOPSegKeywords(TypedDict, total=False):
    """Keywords of `SOPSegPredictor`, without `device`."""

    encoder: str | None
    decoder: str | None
    input_size: int | None
    magnify: bool
    prompt: str | None
    shared_crops: float
    dtype: torch.dtype | None


class LoadKeywords(PromptKeywords, SOPSegKeywords, total=False):
    """Keywords of `insight.load`: those of the predictor of whichever model is loaded."""

    score_threshold: float | None
