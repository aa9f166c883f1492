"""SCNet's mask head."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY
from detectron2.modeling.roi_heads.mask_head import BaseMaskRCNNHead
from fvcore.nn import weight_init
from torch import Tensor, nn

from insight.errors import InputError

from .residual import ResidualBlock


@ROI_MASK_HEAD_REGISTRY.register()
class SCNetMaskHead(BaseMaskRCNNHead):
    """Residual blocks, upsampling by two, and a mask per class.

    Source: SCNet, section 4.2: 12 convolutions, paired into residual blocks.

    Args:
        input_shape: shape of the RoI features.
        num_classes: number of classes, K, or 1 for class-agnostic masks.
        num_convs: number of convolutions; even, as a block has two.
        conv_dim: channels after the upsampling.
        kwargs: arguments of BaseMaskRCNNHead.

    Raises:
        InputError: an odd number of convolutions.
    """

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, num_classes: int, num_convs: int, conv_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        if num_convs % 2:
            raise InputError(f"MODEL.ROI_MASK_HEAD.NUM_CONV: SCNetMaskHead expects an even number, got {num_convs}")
        self.blocks = nn.Sequential(*(ResidualBlock(input_shape.channels) for _ in range(num_convs // 2)))
        self.deconv = nn.ConvTranspose2d(input_shape.channels, conv_dim, 2, stride=2)
        self.predictor = nn.Conv2d(conv_dim, num_classes, 1)
        weight_init.c2_msra_fill(self.deconv)
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.zeros_(self.predictor.bias)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        head = cfg.MODEL.ROI_MASK_HEAD
        return {
            **super().from_config(cfg, input_shape),
            "input_shape": input_shape,
            "num_classes": 1 if head.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES,
            "num_convs": head.NUM_CONV,
            "conv_dim": head.CONV_DIM,
        }

    def layers(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K, 2 H, 2 W)."""
        return self.predictor(self.deconv(self.blocks(x)).relu())
