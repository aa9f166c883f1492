"""The block that SCNet's heads are made of."""

from fvcore.nn import weight_init
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv(relu(conv(x))), without norms and without a ReLU at its end.

    Args:
        channels: of input and output.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for layer in (self.conv1, self.conv2):
            weight_init.c2_msra_fill(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        return x + self.conv2(self.conv1(x).relu())
