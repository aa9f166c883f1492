"""A learnt constant in place of a prompt: the control that a gain of prompts is compared with."""

import torch
from torch import Tensor, nn


class ConstantPrompt(nn.Module):
    """The same grid of learnt tokens for every box of every image.

    A mask or box head can gain from it alone, as it tells the head where in its box a cell lies.

    Args:
        dim: channels of a token.
        grid: tokens along each side of a box.
    """

    def __init__(self, dim: int, grid: int):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(1, dim, grid, grid))
        self.out_channels = dim

    def forward(self, count: int) -> Tensor:
        """Return the prompts of boxes.

        Args:
            count: number of boxes.

        Returns:
            (count, dim, grid, grid).
        """
        return self.tokens.expand(count, -1, -1, -1)
