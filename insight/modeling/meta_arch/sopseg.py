"""SOPSeg as a Detectron2 meta-architecture: trained on crops, evaluated on images with prompts."""

import logging
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from detectron2.structures import Boxes, Instances
from torch import Tensor

from insight.errors import InputError
from insight.modeling.sopseg import SOPSeg, build_sopseg, image_masks, load_sopseg, sopseg_loss
from insight.modeling.sopseg.encoders import check_input_size
from insight.structures.crop_plans import check_shared, plan_crops
from insight.structures.prompts import Prompts

PROMPT_FORMS = ("points", "tokens")  # of oriented boxes: SOPSeg's and OBSeg's

_logger = logging.getLogger(__name__)


@META_ARCH_REGISTRY.register()
class SOPSegMetaArch(SOPSeg):
    """SOPSeg with Detectron2's interface. Its checkpoints load with `load_sopseg`, and those of SAM load here.

    Args:
        model: the model, whose encoders and decoder are taken over.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024.
        magnify: cut a region out around each object; False sees all objects in one crop, the whole image.
        shared_crops: let close objects share a crop, at this fraction of their own magnification or more; 0: never.
        iou_weight: weight of the loss of the predicted IoU.
        trained_stages: number of last stages (of a ViT, blocks) of the image encoder to train; the others are frozen.

    Raises:
        InputError: shared_crops, input_size or trained_stages out of range.

    Source: SOPSeg, Figure 1.
    """

    @configurable
    def __init__(
        self,
        *,
        model: SOPSeg,
        input_size: int,
        magnify: bool,
        shared_crops: float = 0.0,
        iou_weight: float = 5.0,
        trained_stages: int = 0,
    ):
        super().__init__(model.image_encoder, model.prompt_encoder, model.mask_decoder)
        check_shared(shared_crops)
        check_input_size(input_size, "MODEL.SOPSEG.INPUT_SIZE")
        self.input_size, self.magnify, self.shared_crops = input_size, magnify, shared_crops
        self.iou_weight = iou_weight
        self.freeze_encoders(trained_stages)

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        keys = cfg.MODEL.SOPSEG
        if keys.WEIGHTS and not cfg.MODEL.WEIGHTS:  # MODEL.WEIGHTS would replace all of them
            model = load_sopseg(keys.WEIGHTS, keys.ENCODER, keys.DECODER)
            _logger.info(f"Starting from SAM's weights in {keys.WEIGHTS}")
        else:
            model = build_sopseg(keys.ENCODER, keys.DECODER)
            if not cfg.MODEL.WEIGHTS:
                _logger.warning(
                    "MODEL.SOPSEG.WEIGHTS and MODEL.WEIGHTS are empty: all weights are random, and frozen ones stay "
                    "random; set MODEL.SOPSEG.WEIGHTS to a checkpoint of SAM"
                )
        if keys.PROMPT_FORM not in PROMPT_FORMS:
            raise InputError(
                f"MODEL.SOPSEG.PROMPT_FORM: expected {' or '.join(PROMPT_FORMS)}, got {keys.PROMPT_FORM!r}"
            )
        if keys.PROMPT_FORM == "tokens":
            model.prompt_encoder.add_angle_token()
        return {
            "model": model,
            "input_size": keys.INPUT_SIZE,
            "magnify": keys.MAGNIFY,
            "shared_crops": keys.SHARED_CROPS,
            "iou_weight": keys.IOU_WEIGHT,
            "trained_stages": keys.TRAINED_STAGES,
        }

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self.prompt_encoder.no_mask_embed.weight.device

    def forward(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Instances]]:
        """Compute losses in training, masks of the prompted objects otherwise.

        Args:
            batched_inputs: from `SOPSegMapper`. In training: "crops" (R, 3, s, s) float32, normalised; "prompts" of N
                objects, crop pixels; "index" (N,) int64, their crops; "masks" (N, s, s) bool. Otherwise: "image" uint8
                (3, H, W) RGB; "prompts" with boxes, image pixels; optionally "classes" (N ints).

        Returns:
            Losses by name, or per image {"instances": Instances} with one instance per prompt, in order: pred_boxes
            (as given), scores (predicted IoU), pred_masks (RLEMasks), pred_classes (as given, or 0).
        """
        if self.training:
            return self._losses(batched_inputs)
        return [{"instances": self._segment(one)} for one in batched_inputs]

    def _losses(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Mean losses over all objects. Prompts with and without points are decoded apart, as in inference."""
        kinds: dict[bool, list[dict[str, Any]]] = {}
        for one in batched_inputs:
            kinds.setdefault(one["prompts"].points is None, []).append(one)
        counts = [sum(one["prompts"].count for one in kind) for kind in kinds.values()]
        losses: dict[str, Tensor] = {}
        for kind, count in zip(kinds.values(), counts):
            for name, loss in self._losses_of_one_kind(kind).items():
                losses[name] = losses.get(name, 0.0) + loss * (count / max(sum(counts), 1))
        angles = self.prompt_encoder.angle_embed
        if angles is not None:  # it takes part without oriented boxes too: DistributedDataParallel would wait for it
            losses["loss_iou"] = losses["loss_iou"] + 0 * angles.weight.sum()
        return losses

    def _losses_of_one_kind(self, batched_inputs: list[dict[str, Any]]) -> dict[str, Tensor]:
        crops = torch.cat([one["crops"] for one in batched_inputs]).to(self.device)
        first = torch.tensor([0] + [len(one["crops"]) for one in batched_inputs[:-1]]).cumsum(0)
        index = torch.cat([one["index"] + start for one, start in zip(batched_inputs, first)]).to(self.device)
        prompts = Prompts(
            *(None if parts[0] is None else torch.cat(parts).to(self.device)
              for parts in zip(*(one["prompts"] for one in batched_inputs)))
        )  # fmt: skip
        masks = torch.cat([one["masks"] for one in batched_inputs]).to(self.device)
        one_each = torch.equal(index, torch.arange(len(crops), device=self.device))  # then no embedding is copied
        prediction = self.decode(crops, self.encode(crops), prompts, None if one_each else index)
        return sopseg_loss(prediction, masks, self.iou_weight)

    def _segment(self, one: dict[str, Any]) -> Instances:
        image_size, prompts = tuple(one["image"].shape[1:]), one["prompts"]
        plan = plan_crops(prompts, image_size, self.input_size, self.magnify, self.shared_crops)
        found = image_masks(self, one["image"], prompts, plan, self.input_size)
        return Instances(
            image_size,
            pred_boxes=Boxes(prompts.boxes.cpu()),
            scores=found.iou,
            pred_classes=torch.as_tensor(one.get("classes", [0] * prompts.count), dtype=torch.int64),
            pred_masks=found.masks,
        )
