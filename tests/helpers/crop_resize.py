"""Devices, tolerances and random images for the tests of crop_resize."""

import pytest
import torch

from insight import ops

needs_library = pytest.mark.skipif(not ops.has_ops(), reason="the compiled library is not loaded")
DEVICES = [pytest.param("cpu", marks=needs_library), pytest.param("cuda", marks=[needs_library, pytest.mark.gpu])]
TOLERANCE = {torch.uint8: 1e-4, torch.float64: 1e-12, torch.float32: 2e-6, torch.float16: 1e-3, torch.bfloat16: 8e-3}


def random_images(shape, dtype=torch.float64, seed=0):
    """Values in [0, 1], or in 0 .. 255 for uint8."""
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * 255).round().to(dtype) if dtype == torch.uint8 else values.to(dtype)
