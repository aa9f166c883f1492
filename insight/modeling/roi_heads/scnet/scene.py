"""Features of whole images, and the pooler that adds them to the features of boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.modeling.poolers import ROIPooler
from torch import Tensor, nn

from insight.structures.context_windows import ContextWindows, locate_in_windows

SCENE_FEATURE = "scene"  # the entry of a feature dictionary that holds the SceneFeatures


@dataclass(frozen=True)
class SceneFeatures:
    """Outputs of SCNet's context and semantic heads for a batch of images.

    Args:
        class_logits: (W, K), logits of the classes in each image; in a tile, in each window.
        context: (W, C), context features.
        semantic_logits: (B, S, H, W), or None without a semantic head.
        semantic: (B, C, H, W), semantic features, or None without a semantic head.
        windows: per image the windows that are context for its boxes; None where that is the image.
    """

    class_logits: Tensor
    context: Tensor
    semantic_logits: Tensor | None = None
    semantic: Tensor | None = None
    windows: Sequence[ContextWindows] | None = None

    def context_of(self, boxes: list[Any]) -> Tensor:
        """Return the context features of boxes.

        Args:
            boxes: per image Detectron2's Boxes (N_i), XYXY in pixels of the network's input.

        Returns:
            (N, C), N = sum of N_i.
        """
        if self.windows is None:
            counts = torch.tensor([len(b) for b in boxes], device=self.context.device)
            return self.context.repeat_interleave(counts, dim=0, output_size=sum(map(len, boxes)))
        relative = [b.tensor / b.tensor.new_tensor(own.size[::-1] * 2) for b, own in zip(boxes, self.windows)]
        return self.context[locate_in_windows(self.windows, relative)[0]]


class ScenePooler(nn.Module):
    """A pooler that adds the image's context and the semantic feature of the same box to the RoI feature.

    Args:
        pooler: pools features: (features, boxes) -> (N, C, h, w).
        semantic_pooler: pools the semantic feature map likewise; None without a semantic head.
    """

    def __init__(self, pooler: ROIPooler, semantic_pooler: ROIPooler | None):
        super().__init__()
        self.pooler = pooler
        self.semantic_pooler = semantic_pooler

    def forward(self, features: Sequence[Any], boxes: list[Any]) -> Tensor:
        """Pool features and add those of the images.

        Args:
            features: the wrapped pooler's feature maps, then the SceneFeatures.
            boxes: per image Detectron2's Boxes (N_i), XYXY in pixels of the network's input.

        Returns:
            (N, C, h, w), N = sum of N_i.
        """
        *maps, scene = features
        pooled = self.pooler(maps, boxes)
        pooled = pooled + scene.context_of(boxes)[:, :, None, None]
        if self.semantic_pooler is not None:
            pooled = pooled + self.semantic_pooler([scene.semantic], boxes)
        return pooled
