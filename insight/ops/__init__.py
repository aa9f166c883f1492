"""Operators with compiled C++ and CUDA kernels, and their PyTorch twins."""

from ._ext import has_ops

__all__ = ["has_ops"]
