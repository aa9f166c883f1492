"""Cascade Mask R-CNN with a mask head per stage, as in the public MMDetection configuration."""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.structures import Instances
from torch import Tensor, nn

from .cascade_stages import CascadeStages, Stage


@ROI_HEADS_REGISTRY.register()
class CascadeMaskROIHeads(CascadeStages):
    """A cascade whose stages each have a mask head, trained on the stage's boxes.

    The predicted mask is the mean of all heads' masks of the final box.

    Source: Cascade R-CNN (arXiv 1906.09756), section 5, the strategy with segmentation at every stage.
    """

    @classmethod
    def _init_mask_head(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        arguments = super()._init_mask_head(cfg, input_shape)
        if arguments:
            heads = [arguments["mask_head"]]
            for _ in cfg.MODEL.ROI_BOX_CASCADE_HEAD.IOUS[1:]:
                heads.append(super()._init_mask_head(cfg, input_shape)["mask_head"])
            arguments["mask_head"] = nn.ModuleList(heads)
        return arguments

    def _mask_losses(self, features: dict[str, Any], stage: Stage, targets: list[Instances]) -> dict[str, Tensor]:
        foreground, _ = stage.foreground(targets, self.num_classes)
        pooled = self._pool_masks(features, [x.proposal_boxes for x in foreground])
        losses = self.mask_head[stage.index](pooled, foreground)
        weight = self.stage_weights[stage.index]
        return {f"{name}_stage{stage.index}": weight * loss for name, loss in losses.items()}

    def _forward_mask(self, features: dict[str, Any], instances: list[Instances]) -> list[Instances]:
        """Predict the masks of `pred_boxes`; see StandardROIHeads._forward_mask."""
        if not self.mask_on:
            return instances
        pooled = self._pool_masks(features, [x.pred_boxes for x in instances])
        answers = []
        for head in self.mask_head:
            head(pooled, instances)
            answers.append([x.pred_masks for x in instances])
        for x, masks in zip(instances, zip(*answers)):
            x.pred_masks = torch.stack(masks).mean(dim=0)
        return instances

    def _pool_masks(self, features: dict[str, Any], boxes: list[Any]) -> Tensor:
        return self.mask_pooler([features[name] for name in self.mask_in_features], boxes)
