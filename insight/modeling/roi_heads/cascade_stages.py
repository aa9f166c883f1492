"""Detectron2's cascade with weighted stages and mask losses on each stage's boxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.roi_heads import CascadeROIHeads, FastRCNNOutputLayers
from detectron2.modeling.roi_heads.roi_heads import select_foreground_proposals
from detectron2.structures import ImageList, Instances, pairwise_iou
from detectron2.utils.events import get_event_storage
from torch import Tensor

from insight.errors import InputError


@dataclass(frozen=True)
class Stage:
    """A training step of one stage.

    Args:
        index: index of the stage, from 0.
        proposals: per image, N_i boxes with the ground truth that the stage assigns: gt_classes, gt_boxes.
        shared: (N, D), the box head's features of these boxes, N = sum of N_i.
        predictions: the output of the stage's predictor.
        predictor: the stage's predictor.
    """

    index: int
    proposals: list[Instances]
    shared: Tensor
    predictions: tuple[Tensor, Tensor]
    predictor: FastRCNNOutputLayers

    def foreground(self, targets: list[Instances], num_classes: int) -> tuple[list[Instances], Tensor]:
        """Select the proposals that lie on an object, with its mask.

        Args:
            targets: per image, the ground truth with gt_boxes and gt_masks.
            num_classes: K; a proposal of class K is background.

        Returns:
            Per image, the foreground proposals with gt_masks; and (N,) bool, which of the stage's proposals they are.
        """
        foreground, selected = select_foreground_proposals(self.proposals, num_classes)
        for instances, target in zip(foreground, targets):
            if len(instances):  # so there are objects
                objects = pairwise_iou(target.gt_boxes, instances.proposal_boxes).argmax(dim=0)
                instances.gt_masks = target.gt_masks[objects]
        return foreground, torch.cat(selected)


class CascadeStages(CascadeROIHeads):
    """A cascade with a loss weight per stage, whose masks are trained on refined boxes.

    Detectron2's own cascade weighs its stages alike, scales the gradient to the features by 1/3, and trains its mask
    head on the boxes before the first stage. Inference is Detectron2's.

    Args:
        stage_weights: weight of each stage's losses.
        kwargs: arguments of CascadeROIHeads.

    Raises:
        InputError: not one weight per stage; from a config, also masks without a pooler.
    """

    @configurable
    def __init__(self, *, stage_weights: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        if len(stage_weights) != self.num_cascade_stages:
            raise InputError(
                f"MODEL.ROI_BOX_CASCADE_HEAD.LOSS_WEIGHTS: expected {self.num_cascade_stages} values, one per stage "
                f"(IOUS), got {len(stage_weights)}"
            )
        self.stage_weights = list(stage_weights)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        if cfg.MODEL.MASK_ON and not cfg.MODEL.ROI_MASK_HEAD.POOLER_TYPE:
            raise InputError(f"{cls.__name__} needs a mask pooler, but MODEL.ROI_MASK_HEAD.POOLER_TYPE is empty")
        arguments = super().from_config(cfg, input_shape)
        arguments["stage_weights"] = cfg.MODEL.ROI_BOX_CASCADE_HEAD.LOSS_WEIGHTS
        return arguments

    def forward(
        self,
        images: ImageList,
        features: dict[str, Any],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Compute losses in training, detections otherwise; see ROIHeads.forward.

        Args:
            images: the network's input.
            features: feature maps by name.
            proposals: per image, Instances with proposal_boxes and objectness_logits.
            targets: per image, the ground truth; needed in training.

        Returns:
            The sampled proposals and the losses by name; or the detections and an empty dictionary.
        """
        features = self.encode(features)
        if not self.training:
            return super().forward(images, features, proposals)
        proposals = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_keypoint(features, proposals)
        for stage in self._train_stages(features, proposals, targets):
            weight = self.stage_weights[stage.index]
            with get_event_storage().name_scope(f"stage{stage.index}"):
                box_losses = stage.predictor.losses(stage.predictions, stage.proposals)
                losses.update({f"{name}_stage{stage.index}": weight * loss for name, loss in box_losses.items()})
                if self.mask_on:
                    losses.update(self._mask_losses(features, stage, targets))
        losses.update(self._image_losses(features, targets))
        return proposals, losses

    def encode(
        self,
        features: dict[str, Any],
        sizes: Sequence[tuple[int, int]] = (),
        origins: Sequence[tuple[int, int] | None] = (),
    ) -> dict[str, Any]:
        """Add features of whole images; the base class has none.

        Args:
            features: feature maps by name.
            sizes: per image (height, width) of the network's input without padding, pixels; for tiles.
            origins: per image (x, y) of its corner in the scene of which it is a tile, pixels, None for a whole image;
                nothing where all are whole.

        Returns:
            The same with the heads' features of whole images, unless they are there already.
        """
        return features

    def _train_stages(
        self, features: dict[str, Any], proposals: list[Instances], targets: list[Instances]
    ) -> Iterator[Stage]:
        """Run the stages, each on the boxes of the previous one."""
        maps = [features[name] for name in self.box_in_features]
        sizes = [x.image_size for x in proposals]
        boxes = None
        for index, (head, predictor) in enumerate(zip(self.box_head, self.box_predictor)):
            if boxes is not None:
                refined = self._create_proposals_from_boxes(boxes, sizes)
                proposals = self._match_and_label_boxes(refined, index, targets)
            shared = head(self.box_pooler(maps, [x.proposal_boxes for x in proposals]))
            predictions = predictor(shared)
            boxes = predictor.predict_boxes(predictions, proposals)
            yield Stage(index, proposals, shared, predictions, predictor)

    def _image_losses(self, features: dict[str, Any], targets: list[Instances]) -> dict[str, Tensor]:
        """Weighted losses of the features that `encode` adds, by name."""
        return {}

    @abstractmethod
    def _mask_losses(self, features: dict[str, Any], stage: Stage, targets: list[Instances]) -> dict[str, Tensor]:
        """Weighted losses of the masks that are trained on the boxes of a stage, by name."""
