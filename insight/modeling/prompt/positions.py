"""Sinusoidal embeddings of places and sizes."""

import math

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of two coordinates at geometrically spaced wavelengths; nothing is learnt.

    The wavelengths are dealt out among the attention heads, so that each head has short and long ones of both
    coordinates.

    Args:
        dim: channels, a multiple of 4 num_heads.
        num_heads: attention heads that the channels are split into.
        shortest, longest: wavelengths, in the unit of the coordinates.
    """

    def __init__(self, dim: int, num_heads: int, shortest: float, longest: float):
        super().__init__()
        wavelengths = torch.logspace(math.log10(shortest), math.log10(longest), dim // 4, dtype=torch.float64)
        frequencies = (2 * math.pi / wavelengths).view(-1, num_heads).T.flatten()
        self.register_buffer("frequencies", frequencies.float(), persistent=False)

    def forward(self, coordinates: Tensor) -> Tensor:
        """Embed coordinates.

        Args:
            coordinates: (..., 2) float.

        Returns:
            (..., dim) of RMS 0.7.
        """
        with torch.autocast(coordinates.device.type, enabled=False):
            angles = coordinates.float()[..., None, :] * self.frequencies[:, None]  # (..., dim / 4, 2)
            return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(-2)
