"""SCNet's global context head: multi-label classification of images."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .residual import ResidualBlock


class GlobalContextHead(nn.Module):
    """Multi-label classification of an image, whose feature is added to every RoI feature.

    Source: SCNet, section 3.3 (global context branch).

    Args:
        channels: channels of the feature map.
        num_classes: number of classes, K.
    """

    BLOCKS = 2

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.blocks = nn.Sequential(*(ResidualBlock(channels) for _ in range(self.BLOCKS)))
        self.predictor = nn.Linear(channels, num_classes)
        nn.init.normal_(self.predictor.weight, std=0.01)
        nn.init.zeros_(self.predictor.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Classify images.

        Args:
            x: (B, C, H, W), the coarsest feature map.

        Returns:
            Logits (B, K) and context feature (B, C).
        """
        context = self.blocks(x).mean(dim=(2, 3))
        return self.predictor(context), context


def context_loss(logits: Tensor, classes: list[Tensor]) -> Tensor:
    """Compute the binary cross-entropy of the classes in each image, mean over images and classes.

    Args:
        logits: (B, K).
        classes: per image (N_i,) int64, the class of each object.

    Returns:
        A scalar, float32.
    """
    shown = torch.zeros_like(logits, dtype=torch.float32)
    for row, image_classes in zip(shown, classes):
        row[image_classes] = 1
    return F.binary_cross_entropy_with_logits(logits.float(), shown)
