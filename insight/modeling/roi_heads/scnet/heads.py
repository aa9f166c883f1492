"""SCNet's RoI heads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.poolers import ROIPooler
from detectron2.structures import Boxes, Instances
from torch import Tensor

from insight.config import semantic_classes
from insight.errors import InputError
from insight.modeling.roi_heads.cascade_stages import CascadeStages, Stage
from insight.structures.context_windows import WINDOW, ContextWindows

from .context_head import GlobalContextHead, context_loss
from .relay import FeatureRelayHead
from .scene import SCENE_FEATURE, SceneFeatures, ScenePooler
from .semantic_head import SemanticHead
from .semantic_labels import semantic_labels, semantic_loss


@ROI_HEADS_REGISTRY.register()
class SCNetROIHeads(CascadeStages):
    """A cascade of boxes with one mask head on the boxes of its last stage, in training as in inference.

    The mask head also gets the last box head's feature of the same box (feature relay). The context of the image and,
    with the semantic branch, semantic features are added to every RoI feature. The poolers do so, and can be wrapped
    again, for example by prompts.

    The semantic branch is trained on the label maps under "sem_seg" in the features, where PromptRCNN puts them; for
    images without one, on the masks of the instances: their classes, and one more label for the rest. The box feature
    to relay is "given_box_features" in the features, if it is there (PromptRCNN puts it there for given boxes);
    otherwise it is computed from the boxes.

    Source: SCNet (arXiv 2012.10150), section 3; loss weights and layers of its MMDetection configuration.

    Args:
        scene_in_features: names of the levels that the context head (the last) and the semantic head (all) read.
        context_head: classifies images; in tiles, the windows of the scene that boxes belong to.
        context_weight: weight of its loss.
        context_stride: stride of its feature map, pixels.
        semantic_head: segments images; None for no semantic branch.
        semantic_weight: weight of its loss.
        semantic_stride: stride of its feature map, pixels.
        semantic_of_masks: train the semantic branch on the masks of images without a label map.
        relay: from the box head's feature to the mask branch.
        kwargs: arguments of CascadeStages.
    """

    @configurable
    def __init__(
        self,
        *,
        scene_in_features: Sequence[str],
        context_head: GlobalContextHead,
        context_weight: float,
        context_stride: int,
        semantic_head: SemanticHead | None,
        semantic_weight: float,
        semantic_stride: int,
        semantic_of_masks: bool,
        relay: FeatureRelayHead,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.scene_in_features = list(scene_in_features)
        self.context_head = context_head
        self.context_weight = context_weight
        self.context_stride = context_stride
        self.window = WINDOW
        self.semantic_head = semantic_head
        self.semantic_weight = semantic_weight
        self.semantic_stride = semantic_stride
        self.semantic_of_masks = semantic_of_masks
        self.relay = relay

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: dict[str, ShapeSpec]) -> dict[str, Any]:
        if not cfg.MODEL.MASK_ON:
            raise InputError("SCNetROIHeads predicts masks: set MODEL.MASK_ON to True, or use CascadeROIHeads")
        arguments = super().from_config(cfg, input_shape)
        scnet, names = cfg.MODEL.SCNET, cfg.MODEL.SCNET.IN_FEATURES
        missing = [name for name in (*names, scnet.SEMANTIC.LEVEL) if name not in input_shape]
        if missing or scnet.SEMANTIC.LEVEL not in names:
            raise InputError(
                f"MODEL.SCNET.IN_FEATURES {list(names)} and SEMANTIC.LEVEL {scnet.SEMANTIC.LEVEL!r}: the former must "
                f"be levels of the backbone ({', '.join(input_shape)}), the latter one of them"
            )
        channels, classes = input_shape[names[0]].channels, cfg.MODEL.ROI_HEADS.NUM_CLASSES
        stride = input_shape[scnet.SEMANTIC.LEVEL].stride
        semantic_head = None
        if labels := semantic_classes(cfg):
            semantic_head = SemanticHead(channels, len(names), names.index(scnet.SEMANTIC.LEVEL), labels)
        for branch, keys in (("box", cfg.MODEL.ROI_BOX_HEAD), ("mask", cfg.MODEL.ROI_MASK_HEAD)):
            semantic_pooler = None
            if semantic_head is not None:  # pools as the branch's own pooler
                semantic_pooler = ROIPooler(
                    keys.POOLER_RESOLUTION, [1 / stride], keys.POOLER_SAMPLING_RATIO, keys.POOLER_TYPE
                )
            arguments[f"{branch}_pooler"] = ScenePooler(arguments[f"{branch}_pooler"], semantic_pooler)
            arguments[f"{branch}_in_features"] = [*arguments[f"{branch}_in_features"], SCENE_FEATURE]
        return {
            **arguments,
            "scene_in_features": names,
            "context_head": GlobalContextHead(channels, classes),
            "context_weight": scnet.CONTEXT_WEIGHT,
            "context_stride": input_shape[names[-1]].stride,
            "semantic_head": semantic_head,
            "semantic_weight": scnet.SEMANTIC.WEIGHT,
            "semantic_stride": stride,
            "semantic_of_masks": not scnet.SEMANTIC.NUM_CLASSES,
            "relay": FeatureRelayHead(
                arguments["box_heads"][-1].output_shape.channels,
                channels,
                cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION,
                cfg.MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION,
            ),
        }

    def encode(
        self,
        features: dict[str, Any],
        sizes: Sequence[tuple[int, int]] = (),
        origins: Sequence[tuple[int, int] | None] = (),
    ) -> dict[str, Any]:
        """Add SceneFeatures as "scene"; see CascadeStages.encode."""
        if SCENE_FEATURE in features:
            return features
        maps, windows = [features[name] for name in self.scene_in_features], None
        if any(origin is not None for origin in origins):
            windows = [ContextWindows(size, self.window, origin) for size, origin in zip(sizes, origins, strict=True)]
            cut = [own.cut(x, self.context_stride, own.size) for x, own in zip(maps[-1], windows)]
            parts = [self.context_head(part[None]) for part in itertools.chain(*cut)]
            scene = tuple(map(torch.cat, zip(*parts)))
        else:
            scene = self.context_head(maps[-1])
        semantic = (None, None) if self.semantic_head is None else self.semantic_head(maps)
        return {**features, SCENE_FEATURE: SceneFeatures(*scene, *semantic, windows)}

    def forward_with_given_boxes(self, features: dict[str, Any], instances: list[Instances]) -> list[Instances]:
        """Predict the masks of given boxes; see StandardROIHeads.forward_with_given_boxes.

        Args:
            features: feature maps by name.
            instances: per image, with pred_boxes and pred_classes.

        Returns:
            The same, with pred_masks.
        """
        return super().forward_with_given_boxes(self.encode(features), instances)

    def _image_losses(self, features: dict[str, Any], targets: list[Instances]) -> dict[str, Tensor]:
        scene = features[SCENE_FEATURE]
        losses = {
            "loss_context": self.context_weight * context_loss(scene.class_logits, [x.gt_classes for x in targets])
        }
        if scene.semantic_logits is not None:
            given = features.get("sem_seg", [None] * len(targets))
            size = scene.semantic_logits.shape[-2:]
            background = self.num_classes if self.semantic_of_masks else None
            labels = semantic_labels(targets, given, size, self.semantic_stride, background)
            losses["loss_semantic"] = self.semantic_weight * semantic_loss(scene.semantic_logits, labels)
        return losses

    def _mask_losses(self, features: dict[str, Any], stage: Stage, targets: list[Instances]) -> dict[str, Tensor]:
        if stage.index < self.num_cascade_stages - 1:
            return {}
        foreground, selected = stage.foreground(targets, self.num_classes)
        pooled = self._pool_masks(features, [x.proposal_boxes for x in foreground], stage.shared[selected])
        losses = self.mask_head(pooled, foreground)
        return {name: sum(self.stage_weights) * loss for name, loss in losses.items()}

    def _forward_mask(self, features: dict[str, Any], instances: list[Instances]) -> list[Instances]:
        """Predict the masks of `pred_boxes`; see StandardROIHeads._forward_mask."""
        if not self.mask_on:
            return instances
        boxes = [x.pred_boxes for x in instances]
        shared = features.get("given_box_features")
        if shared is None:
            shared = self.box_head[-1](self.box_pooler([features[name] for name in self.box_in_features], boxes))
        return self.mask_head(self._pool_masks(features, boxes, shared), instances)

    def _pool_masks(self, features: dict[str, Any], boxes: list[Boxes], shared: Tensor) -> Tensor:
        return self.mask_pooler([features[name] for name in self.mask_in_features], boxes) + self.relay(shared)
