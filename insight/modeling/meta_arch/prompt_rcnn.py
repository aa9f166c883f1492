"""Promptable R-CNN: Detectron2's GeneralizedRCNN with a prompt encoder."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import Boxes, ImageList, Instances
from detectron2.utils.events import get_event_storage
from detectron2.utils.logger import log_first_n
from fvcore.transforms import HFlipTransform
from torch import Tensor, nn

from insight.errors import InputError
from insight.modeling.mask_pasting import paste_masks
from insight.modeling.prompt import PROMPT_FEATURE, RegionPromptEncoder, add_prompts
from insight.modeling.sopseg import SOPSegBranch
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks

NO_PROMPT_IMAGE = (
    'an input has no "prompt_image", the image at full resolution: prompts are read from the resized "image" instead; '
    "use insight.data.mappers.detection.PromptDatasetMapper or insight.PromptPredictor (docs/model.md)"
)


@dataclass(frozen=True)
class EncodedImages:
    """A batch of encoded images, from which boxes can be detected or box prompts answered any number of times.

    Args:
        images: the network's input, normalised and padded.
        features: feature maps by name, the PromptContext under "prompt" if prompts are on, and the image-level features
            of the RoI heads, if they have any.
        sources: per image uint8 (C, H, W): the image before the network's resize, or "image" if the input has no other.
    """

    images: ImageList
    features: dict[str, Any]
    sources: list[Tensor]


@META_ARCH_REGISTRY.register()
class PromptRCNN(GeneralizedRCNN):
    """R-CNN with any RoI heads, to whose features box prompts are added.

    With LPM and GPM off it is GeneralizedRCNN: same parameters, same losses. Encoding is separate from answering, so
    one call of `encode` serves many calls of `segment_boxes` and `correct_boxes`.

    In addition to Detectron2's keys an input dictionary may hold
    - "prompt_image", uint8 (C, H, W) in INPUT.FORMAT order: the view of "image" before its resize, from which prompts
      and the SOPSeg branch read. Where Detectron2's test-time augmentation flips "image", it is flipped too. Without
      it, "image" is read, with a warning if prompts are on.
    - "origin", (x, y): the corner of "prompt_image" in the scene of which it is a tile, pixels. GPM then reads windows
      that are fixed in the scene instead of the tile.
    - "sem_seg" in training, integers (H, W): the label of each pixel of "image". RoI heads find these, or None, under
      "sem_seg" in the features.
    In `segment_boxes` RoI heads also find "given_box_features" (N, D): the (last) box head's features of the boxes.

    With a SOPSeg branch, SOPSeg predicts the masks of detected boxes, at the size of the output, as `RLEMasks`. The
    detector's own mask branch, if it has one, is trained as usual and serves the classes that the SOPSeg branch omits.

    With `rle_masks` set, post-processed masks are `RLEMasks` in place of bitmaps, which are many times slower to make
    and to encode; an evaluation sets it.

    Source: Insight Any Instance, section III and Figure 4.

    Args:
        prompt_encoder: encodes images and boxes; None for no prompts.
        prompt_branches: branches whose features get prompts: "box", "mask" or both.
        sopseg_branch: predicts the masks; None for the detector's own masks.
        kwargs: arguments of GeneralizedRCNN.

    Raises:
        InputError: the SOPSeg branch names unknown classes, or omits some in a model that has no other masks.
    """

    @configurable
    def __init__(
        self,
        *,
        prompt_encoder: RegionPromptEncoder | None = None,
        prompt_branches: tuple[str, ...] = ("box", "mask"),
        sopseg_branch: SOPSegBranch | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rle_masks = False
        self.sopseg_branch = sopseg_branch
        if sopseg_branch is not None and sopseg_branch.classes:
            _check_branch_classes(sopseg_branch.classes, self.roi_heads)
        self.prompt_encoder = prompt_encoder
        if prompt_encoder is not None:
            add_prompts(self.roi_heads, prompt_encoder.prompt_channels, self._roi_channels(), prompt_branches)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        arguments = super().from_config(cfg)
        # Last, so that the other parameters draw the same initial values with prompts as without.
        channels = {name: shape.channels for name, shape in arguments["backbone"].output_shape().items()}
        arguments["prompt_encoder"] = RegionPromptEncoder.from_config(cfg, channels)
        arguments["prompt_branches"] = tuple(cfg.MODEL.PROMPT.BRANCHES)
        branch = cfg.MODEL.SOPSEG_BRANCH
        if branch.ENABLED:
            arguments["sopseg_branch"] = SOPSegBranch(
                branch.WEIGHTS, branch.INPUT_SIZE, cfg.INPUT.FORMAT, branch.SHARED_CROPS, branch.CLASSES
            )
        return arguments

    @property
    def has_own_masks(self) -> bool:
        """Whether the results include masks of the model's own mask branch, not only the SOPSeg branch's."""
        return self.roi_heads.mask_on and (self.sopseg_branch is None or bool(self.sopseg_branch.classes))

    def _roi_channels(self) -> int:
        shapes = self.backbone.output_shape()
        return shapes[self.roi_heads.in_features[0]].channels

    def encode(self, batched_inputs: list[dict[str, Any]]) -> EncodedImages:
        """Run everything that depends on the images alone.

        Args:
            batched_inputs: Detectron2's input dictionaries.

        Returns:
            The encoded images, the input of `segment_boxes` and `correct_boxes`.
        """
        images = self.preprocess_image(batched_inputs)
        features = self.backbone(images.tensor)
        origins = [x.get("origin") for x in batched_inputs]
        if hasattr(self.roi_heads, "encode"):  # heads with features of whole images
            features = self.roi_heads.encode(features, images.image_sizes, origins)
        sources = [self._move_to_current_device(_source(x)) for x in batched_inputs]
        if self.prompt_encoder is not None:
            if self.prompt_encoder.reads_images and not all("prompt_image" in x for x in batched_inputs):
                log_first_n(logging.WARNING, NO_PROMPT_IMAGE, name=__name__)
            name = self.prompt_encoder.backbone_feature
            map_and_stride = (features[name], images.tensor.shape[-1] / features[name].shape[-1]) if name else ()
            context = self.prompt_encoder.encode_images(sources, images.image_sizes, *map_and_stride, origins=origins)
            features = {**features, PROMPT_FEATURE: context}
        return EncodedImages(images, features, sources)

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Compute losses in training, detections otherwise; see GeneralizedRCNN.forward.

        Args:
            batched_inputs: Detectron2's input dictionaries.

        Returns:
            Losses by name, or per image {"instances": Instances}.
        """
        if not self.training:
            return self.inference(batched_inputs)
        encoded = self.encode(batched_inputs)
        targets = [x["instances"].to(self.device) for x in batched_inputs]
        proposals, losses = self._propose(encoded, batched_inputs, targets)
        features = {**encoded.features, "sem_seg": [self._semantic_labels(x) for x in batched_inputs]}
        _, detector_losses = self.roi_heads(encoded.images, features, proposals, targets)
        if self.vis_period > 0 and get_event_storage().iter % self.vis_period == 0:
            self.visualize_training(batched_inputs, proposals)
        return {**detector_losses, **losses}

    def inference(
        self,
        batched_inputs: list[dict[str, Any]],
        detected_instances: list[Instances] | None = None,
        do_postprocess: bool = True,
    ) -> list[dict[str, Instances]] | list[Instances]:
        """Detect objects, or add masks to given detections; see GeneralizedRCNN.inference.

        Args:
            batched_inputs: Detectron2's input dictionaries.
            detected_instances: per image Instances with "pred_boxes" and "pred_classes"; None to detect.
            do_postprocess: resize the results to the "height" and "width" of the inputs.

        Returns:
            Per image {"instances": Instances}; without post-processing the Instances themselves, which have no masks if
            there is a SOPSeg branch, as its masks are in pixels of the image and not of the network's input.
        """
        encoded = self.encode(batched_inputs)
        if detected_instances is None:
            proposals, _ = self._propose(encoded, batched_inputs, None)
            results, _ = self.roi_heads(encoded.images, encoded.features, proposals, None)
        else:
            given = [x.to(self.device) for x in detected_instances]
            results = self.roi_heads.forward_with_given_boxes(encoded.features, given)
        branch = self.sopseg_branch
        if branch is not None and not (self.has_own_masks and do_postprocess):
            for result in results:
                if result.has("pred_masks"):
                    result.remove("pred_masks")
        if not do_postprocess:
            return results
        outputs = self._postprocess(results, batched_inputs, encoded.images.image_sizes)
        if branch is not None:
            for output, source in zip(outputs, encoded.sources):
                found = output["instances"]
                prompts, size = Prompts(found.pred_boxes.tensor), found.image_size
                own = found.pred_masks if self.has_own_masks else None
                if isinstance(own, Tensor):
                    own = RLEMasks.from_bitmaps(own)
                found.pred_masks = branch.masks(source, prompts, size, found.pred_classes, own)
        return outputs

    def _postprocess(
        self, instances: list[Instances], batched_inputs: list[dict[str, Any]], image_sizes: list[tuple[int, int]]
    ) -> list[dict[str, Instances]]:
        if not self.rle_masks or not all(x.has("pred_masks") for x in instances):
            return super()._postprocess(instances, batched_inputs, image_sizes)
        probabilities = []
        for found in instances:
            probabilities.append(found.pred_masks[:, 0])
            found.remove("pred_masks")
            found.row = torch.arange(len(found), device=found.scores.device)  # post-processing drops empty boxes
        outputs = super()._postprocess(instances, batched_inputs, image_sizes)
        for output, masks in zip(outputs, probabilities):
            found = output["instances"]
            found.pred_masks = paste_masks(masks.cpu()[found.row.cpu()], found.pred_boxes.tensor, found.image_size)
            found.remove("row")
        return outputs

    def _propose(
        self, encoded: EncodedImages, batched_inputs: list[dict[str, Any]], targets: list[Instances] | None
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        if self.proposal_generator is not None:
            return self.proposal_generator(encoded.images, encoded.features, targets)
        return [x["proposals"].to(self.device) for x in batched_inputs], {}

    def _semantic_labels(self, batched_input: dict[str, Any]) -> Tensor | None:
        labels = batched_input.get("sem_seg")
        return None if labels is None else labels.to(self.device)

    @torch.no_grad()
    def segment_boxes(
        self, encoded: EncodedImages, boxes: list[Tensor], classes: list[Tensor] | None = None
    ) -> list[Instances]:
        """Predict class and mask of given boxes, without regression, suppression or reordering.

        Args:
            encoded: the output of `encode`.
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.
            classes: per image (N_i,) int64, known class indices; None for the box head's prediction (of a cascade, the
                mean of its stages). Background is never predicted, but counts in the softmax that gives the score.

        Returns:
            Per image Instances, in pixels of the network's input, with pred_boxes (as given), pred_classes, scores and,
            with `has_own_masks`, pred_masks (N_i, 1, S, S), the mask branch's probabilities.

        Raises:
            RuntimeError: if the model is in training mode.
        """
        if self.training:
            raise RuntimeError("segment_boxes needs the model in evaluation mode; call model.eval() first")
        results = self._given(encoded, boxes)
        box_features = self._box_features(encoded.features, results)
        scores = self._class_scores(box_features, results)
        for i, (instances, image_scores) in enumerate(zip(results, scores)):
            if classes is None:
                instances.scores, instances.pred_classes = image_scores.max(dim=1)
            else:
                instances.pred_classes = classes[i].to(self.device)
                instances.scores = image_scores.gather(1, instances.pred_classes[:, None])[:, 0]
        if not self.has_own_masks:
            return results
        features = {**encoded.features, "given_box_features": box_features[-1]}
        return self.roi_heads.forward_with_given_boxes(features, results)

    @torch.no_grad()
    def correct_boxes(
        self, encoded: EncodedImages, boxes: list[Tensor], classes: list[Tensor] | None = None
    ) -> list[Tensor]:
        """Apply the box head's regression to given boxes, of a cascade stage after stage.

        Args:
            encoded: the output of `encode`.
            boxes: per image (N_i, 4) float XYXY, pixels of the network's input.
            classes: per image (N_i,) int64, known class indices, where the regression depends on the class; None for
                the box head's prediction, as in `segment_boxes`.

        Returns:
            Per image (N_i, 4) float32 XYXY, pixels of the network's input, clipped to it. A stage that would leave an
            empty box keeps the box it was given, which may lie outside.

        Raises:
            RuntimeError: if the model is in training mode.
        """
        if self.training:
            raise RuntimeError("correct_boxes needs the model in evaluation mode; call model.eval() first")
        heads, results = self.roi_heads, self._given(encoded, boxes)
        for head, predictor in zip(_stages(heads.box_head), _stages(heads.box_predictor)):
            predictions = predictor(head(self._pool(encoded.features, results)))
            before = torch.cat([x.pred_boxes.tensor for x in results])
            after = predictor.box2box_transform.apply_deltas(predictions[1], before)
            if after.shape[1] > 4:  # a box for each class
                if classes is None:
                    scores = predictor.predict_probs(predictions, results)
                    classes = [image_scores[:, : heads.num_classes].argmax(dim=1) for image_scores in scores]
                chosen = torch.cat([image_classes.to(self.device) for image_classes in classes])
                rows = torch.arange(len(after), device=self.device)
                after = after.view(len(after), after.shape[1] // 4, 4)[rows, chosen]
            for instances, corrected in zip(results, after.split([len(x) for x in results])):
                corrected = Boxes(corrected)
                corrected.clip(instances.image_size)
                is_left = corrected.nonempty()[:, None]
                instances.pred_boxes = Boxes(torch.where(is_left, corrected.tensor, instances.pred_boxes.tensor))
        return [x.pred_boxes.tensor for x in results]

    def _given(self, encoded: EncodedImages, boxes: list[Tensor]) -> list[Instances]:
        return [
            Instances(size, pred_boxes=Boxes(image_boxes.to(self.device, torch.float32)))
            for size, image_boxes in zip(encoded.images.image_sizes, boxes, strict=True)
        ]

    def _pool(self, features: dict[str, Any], instances: list[Instances]) -> Tensor:
        heads = self.roi_heads
        if not hasattr(heads, "box_pooler"):
            raise InputError(
                f"MODEL.ROI_HEADS.NAME: {type(heads).__name__} cannot answer box prompts: expected heads with a "
                "box_pooler, as StandardROIHeads, CascadeROIHeads and their subclasses have"
            )
        return heads.box_pooler([features[name] for name in heads.box_in_features], [x.pred_boxes for x in instances])

    def _box_features(self, features: dict[str, Any], instances: list[Instances]) -> list[Tensor]:
        """Per stage of the box head (one, unless it is a cascade), its features (N, D) of `pred_boxes`."""
        pooled = self._pool(features, instances)
        return [head(pooled) for head in _stages(self.roi_heads.box_head)]

    def _class_scores(self, box_features: list[Tensor], instances: list[Instances]) -> tuple[Tensor, ...]:
        """Per image, the probabilities (N_i, K) of the K classes for `pred_boxes`."""
        stages = zip(_stages(self.roi_heads.box_predictor), box_features)
        per_stage = [predictor.predict_probs(predictor(x), instances) for predictor, x in stages]
        return tuple(torch.stack(scores).mean(dim=0)[:, : self.roi_heads.num_classes] for scores in zip(*per_stage))


def _source(batched_input: dict[str, Any]) -> Tensor:
    """The image that prompts read. Detectron2's test-time augmentation flips only "image", noted in "transforms"."""
    if "prompt_image" not in batched_input:
        return batched_input["image"]
    transforms = getattr(batched_input.get("transforms"), "transforms", ())
    is_flipped = sum(isinstance(transform, HFlipTransform) for transform in transforms) % 2
    return batched_input["prompt_image"].flip(-1) if is_flipped else batched_input["prompt_image"]


def _check_branch_classes(classes: Sequence[int], roi_heads: nn.Module) -> None:
    key, last = "MODEL.SOPSEG_BRANCH.CLASSES", roi_heads.num_classes - 1
    for given in classes:
        if type(given) is not int or not 0 <= given <= last:
            raise InputError(f"{key}: expected indices of the model's classes, 0 to {last}, got {given!r}")
    if not roi_heads.mask_on:
        raise InputError(
            f"{key}: the other classes would have no masks, as MODEL.MASK_ON is False; use [], which means all classes"
        )


def _stages(module: nn.Module) -> Sequence[nn.Module]:
    """The modules of a cascade, or the one module."""
    return module if isinstance(module, nn.ModuleList) else [module]
