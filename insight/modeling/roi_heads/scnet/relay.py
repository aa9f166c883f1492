"""SCNet's feature relay: the box head's feature of a box, for the mask head."""

import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn


class FeatureRelayHead(nn.Module):
    """A fully connected layer from the box head's feature to a feature grid over the box.

    Source: SCNet, section 3.2 (feature relay).

    Args:
        in_channels: channels of the box head's feature.
        out_channels: channels of the mask branch's RoI features.
        grid: side of the layer's output grid.
        resolution: side of the mask branch's RoI features, to which the grid is resized.
    """

    def __init__(self, in_channels: int, out_channels: int, grid: int, resolution: int):
        super().__init__()
        self.shape = (out_channels, grid, grid)
        self.resolution = resolution
        self.fc = nn.Linear(in_channels, out_channels * grid**2)
        weight_init.c2_msra_fill(self.fc)

    def forward(self, shared: Tensor) -> Tensor:
        """(N, in_channels) -> (N, out_channels, resolution, resolution)."""
        grid = self.fc(shared).view(-1, *self.shape)
        return F.interpolate(grid, (self.resolution, self.resolution), mode="bilinear", align_corners=True)
