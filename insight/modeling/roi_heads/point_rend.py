"""PointRend's mask head, for batches without objects too. Needs Detectron2's project point_rend."""

from __future__ import annotations

from typing import Any

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_MASK_HEAD_REGISTRY
from detectron2.projects.point_rend import PointRendMaskHead
from detectron2.structures import Instances
from torch import Tensor


@ROI_MASK_HEAD_REGISTRY.register()
class InsightPointRendMaskHead(PointRendMaskHead):
    """PointRend's mask head that also trains on batches in which no box lies on an object.

    The number of classes is MODEL.ROI_HEADS.NUM_CLASSES; MODEL.POINT_HEAD.NUM_CLASSES is ignored. The masks are
    class-agnostic if MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK or MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK is True.

    Args:
        cfg: the config.
        input_shape: shapes of the feature maps, by name.
    """

    def __init__(self, cfg: CfgNode, input_shape: dict[str, ShapeSpec]):
        cfg = cfg.clone()
        cfg.defrost()
        cfg.MODEL.POINT_HEAD.NUM_CLASSES = cfg.MODEL.ROI_HEADS.NUM_CLASSES
        if cfg.MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK:
            cfg.MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK = True
        super().__init__(cfg, input_shape)

    def forward(self, features: dict[str, Any], instances: list[Instances]) -> dict[str, Tensor] | list[Instances]:
        """Compute losses in training, masks otherwise; see PointRendMaskHead.forward.

        Args:
            features: feature maps by name.
            instances: per image, the boxes, with their ground truth in training.

        Returns:
            Losses by name, or the instances with pred_masks.
        """
        if self.training and not any(len(x) for x in instances):
            # The pooler takes part, so that its prompts get a gradient: DistributedDataParallel would wait for it.
            pooled = self._roi_pooler(features, [x.proposal_boxes for x in instances])
            nothing = sum(x.sum() for x in (pooled, *self.parameters())) * 0
            return {"loss_mask": nothing, "loss_mask_point": nothing}
        return super().forward(features, instances)
