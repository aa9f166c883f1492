"""Operators with compiled C++ and CUDA kernels, and their PyTorch twins."""

from . import reference
from ._ext import has_ops
from .area_loss import area_loss

__all__ = ["area_loss", "has_ops", "reference"]
