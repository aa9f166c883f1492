"""Operators with C++ and CUDA kernels, and their PyTorch references."""

from . import reference
from ._ext import has_ops
from .area_loss import area_loss
from .crop_resize import crop_resize
from .global_to_local_attention import global_to_local_attention

__all__ = ["area_loss", "crop_resize", "global_to_local_attention", "has_ops", "reference"]
