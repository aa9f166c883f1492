"""The input and output of every mask decoder."""

from typing import NamedTuple

from torch import Tensor
from torch.nn import functional as F

from insight.modeling.sopseg.encoders.features import ImageFeatures
from insight.structures.prompts import Prompts


class DecoderInput(NamedTuple):
    """Crops, their features and N prompts.

    Attributes:
        crops: (B, 3, H, W) float, the encoder's input, normalised.
        features: the encoder's output for the crops.
        image_pe: (1, C, H / 16, W / 16) position encoding of the image tokens.
        sparse: (N, T, C) prompt embeddings.
        dense: (N, C, H / 16, W / 16) mask prompt embeddings.
        image_index: (N,) int64, the crop of each prompt; None for one prompt per crop, in order (B = N), which saves a
            copy.
        prompts: the N prompts themselves, crop pixels.
    """

    crops: Tensor
    features: ImageFeatures
    image_pe: Tensor
    sparse: Tensor
    dense: Tensor
    image_index: Tensor | None = None
    prompts: Prompts | None = None

    def of_prompt(self, per_image: Tensor) -> Tensor:
        """Select the row of a per-image tensor for each prompt.

        Args:
            per_image: (B, ...).

        Returns:
            (N, ...).
        """
        return per_image if self.image_index is None else per_image[self.image_index]


class MaskPrediction(NamedTuple):
    """Masks of N prompts.

    Attributes:
        mask_logits: (N, 1, H, W) at the crop's resolution; the mask is where they are above 0.
        edge_logits: (N, 1, H, W), or None from decoders that predict no edges.
        iou: (N,) the predicted IoU of each mask.
        stages: the logits that the loss supervises, by scale i: (N, 1 or 2, H / i, W / i), mask and, if any, edge.
    """

    mask_logits: Tensor
    edge_logits: Tensor | None
    iou: Tensor
    stages: dict[int, Tensor]


def resize_logits(logits: Tensor, crops: Tensor) -> Tensor:
    """Resize logits to the resolution of the crops.

    Args:
        logits: (N, C, h, w).
        crops: (B, 3, H, W).

    Returns:
        (N, C, H, W), bilinear.
    """
    return F.interpolate(logits, crops.shape[2:], mode="bilinear", align_corners=False)
