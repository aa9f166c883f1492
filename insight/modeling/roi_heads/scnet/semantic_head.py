"""SCNet's semantic head: semantic segmentation of images."""

from collections.abc import Sequence

import torch.nn.functional as F
from fvcore.nn import weight_init
from torch import Tensor, nn

from .residual import ResidualBlock


class SemanticHead(nn.Module):
    """Semantic segmentation from all levels of a feature pyramid, whose features are added to the RoI features.

    The features are initialised small, so that training starts near the model without them.

    Source: SCNet, section 3.3; Hybrid Task Cascade (arXiv 1901.07518), section 3.2, for the fusion.

    Args:
        channels: channels of each level and of the features.
        num_levels: number of levels of the pyramid.
        fusion_level: index of the level to whose size the others are resized.
        num_classes: number of labels, S, including the background.
    """

    BLOCKS = 2

    def __init__(self, channels: int, num_levels: int, fusion_level: int, num_classes: int):
        super().__init__()
        self.fusion_level = fusion_level
        self.lateral = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(num_levels))
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(self.BLOCKS)))
        self.embedding = nn.Conv2d(channels, channels, 1)
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        for layer in self.lateral:
            weight_init.c2_msra_fill(layer)
        for layer in (self.embedding, self.predictor):
            nn.init.normal_(layer.weight, std=0.001)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Segment images.

        Args:
            maps: (B, C, H_l, W_l) for each level.

        Returns:
            Logits (B, S, H, W) and features (B, C, H, W), of the size of the fusion level.
        """
        size = maps[self.fusion_level].shape[-2:]
        fused = 0
        for x, lateral in zip(maps, self.lateral):
            if x.shape[-2:] != size:
                x = F.interpolate(x, size, mode="bilinear", align_corners=True)
            fused = fused + lateral(x).relu()
        x = self.blocks(fused)
        return self.predictor(x), self.embedding(x).relu()
