"""Detectron2's RPN with the proposal area loss and with box prompts among its proposals."""

from __future__ import annotations

import logging
import math
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling.proposal_generator import PROPOSAL_GENERATOR_REGISTRY, RPN
from detectron2.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.structures.boxes import matched_pairwise_iou
from detectron2.utils.events import get_event_storage
from torch import Tensor

from insight import ops
from insight.errors import InputError
from insight.modeling.prompt.sampling import sample_box_prompts

_logger = logging.getLogger(__name__)

# The logit that Detectron2 gives to added ground-truth boxes.
PROMPT_LOGIT = math.log((1.0 - 1e-10) / (1 - (1.0 - 1e-10)))

_LEAST_IOU = 0.2  # of the smallest objects in the area loss, whose terms it bounds by 16
_SIZES, _SIZE_LIMITS = ("tiny", "small", "medium", "large"), torch.tensor([12.0**2, 32.0**2, 96.0**2])


@PROPOSAL_GENERATOR_REGISTRY.register()
class PromptRPN(RPN):
    """RPN with the proposal area loss (PAreaLoss) and, in training, sampled box prompts.

    Detectron2 decodes proposals without gradient, so a loss on them would train nothing. Mode "matched" decodes the
    sampled positive anchors, on which the regression loss is computed too, with gradient. Mode "literal" applies
    Algorithm 1 to all proposals that remain after non-maximum suppression, and keeps their gradient.

    In mode "matched" a box takes part if its IoU with its ground truth is at least t = `area_loss_iou`, or, for a small
    object, that of the ground truth with itself grown by `area_loss_tolerance` on each side, but at least 0.2: a few
    pixels are a large share of a small object. A box of IoU t has an area between t and 1/t times that of the ground
    truth, so no term exceeds (1/t - 1)^2. In mode "literal" a term has no bound. The share of objects of each size that
    take part is logged as "rpn/area_share_tiny" (below 12^2 pixels), "small" (32^2), "medium" (96^2) and "large".

    Source: Insight Any Instance, Algorithm 1 (loss) and section III-C (sampling).

    Args:
        area_loss_mode: "matched", "literal", or None for no area loss.
        area_loss_weight: weight of the area loss.
        area_loss_iou: in mode "matched", least IoU of a decoded box with its ground truth.
        area_loss_tolerance: in mode "matched", error of each side that is tolerated in a small object, pixels of the
            network's input; 0 for one IoU for all sizes.
        prompt_fraction: probability that a ground-truth box is added to the proposals of a training step; 0 adds none.
        prompt_jitter: largest shift of each edge of such a box, as a fraction of the box's extent.
        kwargs: arguments of RPN.

    Raises:
        InputError: a value out of range.
    """

    @configurable
    def __init__(
        self,
        *,
        area_loss_mode: str | None = None,
        area_loss_weight: float = 1.0,
        area_loss_iou: float = 0.5,
        area_loss_tolerance: float = 4.0,
        prompt_fraction: float = 0.0,
        prompt_jitter: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if area_loss_mode not in (None, "matched", "literal"):
            raise InputError(f'MODEL.RPN.AREA_LOSS.MODE: expected "matched" or "literal", got {area_loss_mode!r}')
        if not 0 < area_loss_iou <= 1:
            raise InputError(f"MODEL.RPN.AREA_LOSS.IOU_THRESHOLD: expected a number in (0, 1], got {area_loss_iou}")
        if not area_loss_tolerance >= 0:
            raise InputError(f"MODEL.RPN.AREA_LOSS.TOLERANCE: expected at least 0 pixels, got {area_loss_tolerance}")
        if not 0 <= prompt_fraction <= 1:
            raise InputError(f"MODEL.PROMPT.SAMPLING.FRACTION: expected a number in [0, 1], got {prompt_fraction}")
        if not 0 <= prompt_jitter < 0.5:
            raise InputError(f"MODEL.PROMPT.SAMPLING.JITTER: expected a number in [0, 0.5), got {prompt_jitter}")
        self.area_loss_mode = area_loss_mode
        self.area_loss_weight = area_loss_weight
        self.area_loss_iou = area_loss_iou
        self.area_loss_tolerance = area_loss_tolerance
        self.prompt_fraction = prompt_fraction
        self.prompt_jitter = prompt_jitter

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        arguments = super().from_config(cfg, input_shape)
        area, sampling = cfg.MODEL.RPN.AREA_LOSS, cfg.MODEL.PROMPT.SAMPLING
        if area.ENABLED:
            arguments["area_loss_mode"] = area.MODE
            arguments["area_loss_weight"] = area.WEIGHT
            arguments["area_loss_iou"] = area.IOU_THRESHOLD
            arguments["area_loss_tolerance"] = area.TOLERANCE
        if sampling.ENABLED:
            if cfg.MODEL.ROI_HEADS.PROPOSAL_APPEND_GT:
                raise InputError(
                    "MODEL.PROMPT.SAMPLING.ENABLED adds jittered ground-truth boxes to the proposals, but "
                    "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT adds all exact ones; set the latter to False"
                )
            arguments["prompt_fraction"] = sampling.FRACTION
            arguments["prompt_jitter"] = sampling.JITTER
        elif not cfg.MODEL.ROI_HEADS.PROPOSAL_APPEND_GT:
            _logger.warning(
                "MODEL.PROMPT.SAMPLING.ENABLED and MODEL.ROI_HEADS.PROPOSAL_APPEND_GT are both False: no ground-truth "
                "box is added to the proposals in training; set the latter to True to train as Detectron2 does"
            )
        return arguments

    def forward(
        self, images: ImageList, features: dict[str, Any], gt_instances: list[Instances] | None = None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Compute proposals and, in training, losses; see RPN.forward.

        Args:
            images: the network's input.
            features: feature maps by name.
            gt_instances: per image, the ground truth with gt_boxes; required in training.

        Returns:
            Per image, Instances with proposal_boxes and objectness_logits, best first; and losses by name.
        """
        proposals, losses = super().forward(images, features, gt_instances)
        if not self.training:
            return proposals, losses
        if self.area_loss_mode == "literal":
            losses["loss_rpn_area"] = self.area_loss_weight * self._literal_area_loss(proposals, gt_instances)
            for image_proposals in proposals:
                image_proposals.proposal_boxes = Boxes(image_proposals.proposal_boxes.tensor.detach())
        if self.prompt_fraction > 0:
            proposals = [self._add_prompts(*pair) for pair in zip(proposals, gt_instances)]
        return proposals, losses

    def losses(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        gt_labels: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        gt_boxes: list[Tensor],
    ) -> dict[str, Tensor]:
        """Compute RPN's losses and, in mode "matched", "loss_rpn_area"; see RPN.losses.

        Args:
            anchors: per level, R_l boxes.
            pred_objectness_logits: per level (B, R_l).
            gt_labels: per image (R,), 1 for the sampled positive anchors.
            pred_anchor_deltas: per level (B, R_l, 4).
            gt_boxes: per image (R, 4), the ground truth of each anchor.

        Returns:
            Losses by name.
        """
        losses = super().losses(anchors, pred_objectness_logits, gt_labels, pred_anchor_deltas, gt_boxes)
        if self.area_loss_mode == "matched":
            loss = self._matched_area_loss(
                Boxes.cat(anchors).tensor, torch.cat(pred_anchor_deltas, 1), gt_labels, gt_boxes
            )
            losses["loss_rpn_area"] = self.area_loss_weight * loss
        return losses

    def _matched_area_loss(
        self, anchors: Tensor, deltas: Tensor, labels: list[Tensor], gt_boxes: list[Tensor]
    ) -> Tensor:
        """Algorithm 1 on the positive anchors, decoded in float32 with gradient.

        Normalised by the number of sampled anchors, as the RPN's other losses. Algorithm 1 divides by the number of
        proposals; divided by that of positive anchors, some forty times fewer, the loss would dominate the others.
        """
        total = deltas.new_zeros((), dtype=torch.float32)
        # Those that take part, and all with a positive anchor; in bfloat16 a count would stop at 256.
        objects_by_size = total.new_zeros(2, len(_SIZES))
        for image_deltas, image_labels, image_gt in zip(deltas, labels, gt_boxes):
            positive = (image_labels == 1).nonzero()[:, 0]
            decoded = self.box2box_transform.apply_deltas(image_deltas[positive].float(), anchors[positive])
            # From one row per anchor to one row per object; objects without an anchor do not count.
            objects, index = image_gt[positive].unique(dim=0, return_inverse=True)
            near = (
                matched_pairwise_iou(Boxes(decoded.detach()), Boxes(objects[index])) >= self._least_iou(objects)[index]
            )
            total = total + ops.area_loss(decoded[near], objects, reduction="sum")
            taken = torch.zeros(len(objects), device=near.device).index_fill_(0, index[near], 1.0)
            size = torch.bucketize(Boxes(objects).area(), _SIZE_LIMITS.to(objects.device), right=True)
            objects_by_size[0].index_add_(0, size, taken)
            objects_by_size[1].index_add_(0, size, torch.ones_like(taken))
        for name, taken, count in zip(_SIZES, *objects_by_size.tolist()):
            if count:
                get_event_storage().put_scalar(f"rpn/area_share_{name}", taken / count)
        return total / (len(labels) * self.batch_size_per_image)

    def _least_iou(self, objects: Tensor) -> Tensor:
        """(M,), the IoU from which a box takes part, for each object (M, 4)."""
        sides = objects[:, 2:] - objects[:, :2]
        grown = (sides / (sides + 2 * self.area_loss_tolerance)).prod(dim=1)
        return grown.clamp(min=_LEAST_IOU).clamp(max=self.area_loss_iou)

    @staticmethod
    def _literal_area_loss(proposals: list[Instances], gt_instances: list[Instances]) -> Tensor:
        """Algorithm 1 on all proposals, mean over the images."""
        losses = []
        for image_proposals, targets in zip(proposals, gt_instances):
            objects = targets.gt_boxes[targets.gt_boxes.nonempty()].tensor  # the loss divides by the area
            losses.append(ops.area_loss(image_proposals.proposal_boxes.tensor, objects))
        return torch.stack(losses).mean()

    def predict_proposals(
        self,
        anchors: list[Boxes],
        pred_objectness_logits: list[Tensor],
        pred_anchor_deltas: list[Tensor],
        image_sizes: list[tuple[int, int]],
    ) -> list[Instances]:
        """Select proposals, which keep their gradient in training in mode "literal"; see RPN.predict_proposals.

        Args:
            anchors: per level, R_l boxes.
            pred_objectness_logits: per level (B, R_l).
            pred_anchor_deltas: per level (B, R_l, 4).
            image_sizes: per image (height, width), pixels.

        Returns:
            Per image, Instances with proposal_boxes and objectness_logits, best first.
        """
        if not (self.training and self.area_loss_mode == "literal"):
            return super().predict_proposals(anchors, pred_objectness_logits, pred_anchor_deltas, image_sizes)
        return find_top_rpn_proposals(
            self._decode_proposals(anchors, pred_anchor_deltas),
            [logits.detach() for logits in pred_objectness_logits],
            image_sizes,
            self.nms_thresh,
            self.pre_nms_topk[True],
            self.post_nms_topk[True],
            self.min_box_size,
            True,
        )

    def _add_prompts(self, proposals: Instances, targets: Instances) -> Instances:
        """Add box prompts to the proposals of one image."""
        prompts = sample_box_prompts(
            targets.gt_boxes.tensor, self.prompt_fraction, self.prompt_jitter, proposals.image_size
        )
        added = Instances(proposals.image_size)
        added.proposal_boxes = Boxes(prompts)
        added.objectness_logits = proposals.objectness_logits.new_full((len(prompts),), PROMPT_LOGIT)
        return Instances.cat([proposals, added])
