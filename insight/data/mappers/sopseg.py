"""Mapper from a dataset dict to SOPSeg's inputs: prompted crops for training, prompted images for evaluation."""

import logging
import math
from typing import Any

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.structures import BoxMode
from torch import Tensor

from insight.data.entries import ground_truth_boxes, objects_with_masks, read_entry_image
from insight.errors import InputError
from insight.modeling.sopseg import cut_crops
from insight.structures.boxes import jitter_boxes
from insight.structures.crop_masks import masks_to_crops
from insight.structures.crop_plans import training_crops, whole_image
from insight.structures.oriented_boxes import jitter_oriented_boxes, minimum_area_rectangles, oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts
from insight.structures.rle import masks_to_rle, rle_area, rle_box, rle_to_bitmap, segmentation_to_rle

from .cut_objects import cut_object
from .image_seed import image_seed
from .outlines import redraw_outline

_logger = logging.getLogger(__name__)

ROTATION_PER_SHIFT = math.radians(30)  # in training: up to 9 degrees at a shift of 30 % of the extent
PROMPTS = ("box", "min_area_rect", "oriented_box")  # forms of prompts made from the ground truth


class SOPSegMapper:
    """Makes prompts from the ground truth of an image and, in training, cuts out the crops.

    Randomness depends only on the dataset dict's "sample_seed" or, without one, on its "image_id".

    Args:
        is_train: return crops and masks for the loss, randomly positioned, mirrored and rotated; otherwise images and
            the ground truth to compare with.
        input_size: side of the crops, pixels.
        magnify: cut a crop for each object; otherwise one crop for all objects of an image.
        prompt: "box": the annotations' boxes; "min_area_rect": the oriented rectangle of least area around each
            mask; "oriented_box": the dataset's own, which each annotation must hold as "oriented_box".
        box_share: share of the training samples that are prompted with horizontal boxes instead.
        jitter: largest shift of each side of a box along the box's axes, as a fraction of its extent. In training each
            sample draws its own largest shift, uniformly up to this one, so that both exact and loose boxes are seen;
            oriented boxes are also rotated, by up to `ROTATION_PER_SHIFT` times the shift.
        max_prompts: largest number of objects drawn from a training image.
        shared_crops: as in `training_crops`.
        cut_share: share of the training samples whose object the border of the image cuts, see `cut_object`.
        outline_error: largest error of the outlines in training, pixels, see `redraw_outline`. This and `cut_share`
            need `magnify`, and prompts made from boxes or masks.
        blur: largest standard deviation of a Gaussian blur of the image in training, pixels.
    """

    @configurable
    def __init__(
        self,
        is_train: bool,
        *,
        input_size: int,
        magnify: bool,
        prompt: str,
        jitter: float,
        max_prompts: int,
        shared_crops: float = 0.0,
        box_share: float = 0.0,
        cut_share: float = 0.0,
        outline_error: float = 0.0,
        blur: float = 0.0,
    ):
        if prompt not in PROMPTS:
            raise InputError(f"MODEL.SOPSEG.PROMPT: expected one of {', '.join(PROMPTS)}, got {prompt!r}")
        for key, share in (("BOX_SHARE", box_share), ("CUT_SHARE", cut_share)):
            if not 0 <= share <= 1:
                raise InputError(f"MODEL.SOPSEG.{key}: expected a number from 0 to 1, got {share}")
        for key, length in (("OUTLINE_ERROR", outline_error), ("BLUR", blur)):
            if not 0 <= length < math.inf:
                raise InputError(f"MODEL.SOPSEG.{key}: expected a number of pixels, 0 or more, got {length}")
        for key, value in (("CUT_SHARE", cut_share), ("OUTLINE_ERROR", outline_error)):
            if value and (prompt == "oriented_box" or not magnify):
                raise InputError(
                    f"MODEL.SOPSEG.{key}: needs MODEL.SOPSEG.MAGNIFY True and MODEL.SOPSEG.PROMPT box or "
                    f"min_area_rect, got {magnify} and {prompt!r}"
                )
        self.is_train, self.box_share, self.cut_share = is_train, box_share, cut_share
        self.outline_error, self.blur = outline_error, blur
        self.input_size, self.magnify, self.prompt = input_size, magnify, prompt
        self.jitter, self.max_prompts, self.shared_crops = jitter, max_prompts, shared_crops

    @classmethod
    def from_config(cls, cfg: CfgNode, is_train: bool = True) -> dict[str, Any]:
        """Return the arguments for a config."""
        keys = cfg.MODEL.SOPSEG
        if cfg.INPUT.FORMAT != "RGB":  # SAM's weights know no other
            raise InputError(f"INPUT.FORMAT: expected RGB, which SOPSeg always reads, got {cfg.INPUT.FORMAT!r}")
        return {
            "is_train": is_train,
            "input_size": keys.INPUT_SIZE,
            "magnify": keys.MAGNIFY,
            "prompt": keys.PROMPT,
            "jitter": keys.JITTER if is_train else cfg.TEST.PROMPT_JITTER,
            "max_prompts": keys.MAX_PROMPTS,
            "shared_crops": keys.SHARED_CROPS,
            "box_share": keys.BOX_SHARE,
            "cut_share": keys.CUT_SHARE,
            "outline_error": keys.OUTLINE_ERROR,
            "blur": keys.BLUR,
        }

    def __call__(self, dataset_dict: dict[str, Any]) -> dict[str, Any]:
        """Map one dataset dict, without changing it.

        Args:
            dataset_dict: Detectron2's, with masks. Crowds, objects without a mask and, with a warning in evaluation,
                objects whose mask covers no pixel's centre are left out.

        Returns:
            The input of `SOPSegMetaArch.forward`; for evaluation also "image_id", "height", "width", "truth" (N COCO
            RLE) and "classes" (N ints).

        Raises:
            OSError: the image cannot be read.
            InputError: the image differs in size from the dataset dict, or an annotation lacks its oriented box.
        """
        generator = torch.Generator().manual_seed(dataset_dict.get("sample_seed", image_seed(dataset_dict["image_id"])))
        annotations = objects_with_masks(dataset_dict)
        if self.is_train and len(annotations) > self.max_prompts:
            chosen = torch.randperm(len(annotations), generator=generator)[: self.max_prompts]
            annotations = [annotations[i] for i in chosen.tolist()]
        pixels = read_entry_image(dataset_dict, "RGB")
        if self.is_train and self.blur:
            pixels = _blurred(pixels, self.blur * float(torch.rand((), generator=generator)))
        image = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
        image_size = tuple(image.shape[1:])
        truth = [segmentation_to_rle(a["segmentation"], image_size) for a in annotations]
        annotations, truth = self._with_pixels(annotations, truth, dataset_dict["file_name"])
        single = self.is_train and len(truth) == 1
        if single and self.cut_share and torch.rand((), generator=generator) < self.cut_share:
            image, mask = cut_object(image, _bitmap(truth[0])[0], generator)
            image_size = tuple(mask.shape)
            annotations, truth = _with_mask(annotations, mask)
        if single and self.outline_error:
            mask = redraw_outline(_bitmap(truth[0])[0], self.outline_error, generator)
            annotations, truth = _with_mask(annotations, mask)
        prompts = self._prompts(annotations, truth, image_size, generator)
        if self.is_train:
            return self._crops(image, prompts, truth, generator)
        return {
            **{key: dataset_dict[key] for key in ("image_id", "file_name")},
            "height": image_size[0],
            "width": image_size[1],
            "image": image,
            "prompts": prompts,
            "truth": truth,
            "classes": [a["category_id"] for a in annotations],
        }

    def _with_pixels(self, annotations: list[dict], truth: list[dict], image: str) -> tuple[list[dict], list[dict]]:
        """Those whose mask covers a pixel's centre: others have no rectangle, teach nothing and cannot be found."""
        kept = [i for i, code in enumerate(truth) if rle_area(code) > 0]
        if not self.is_train:
            for i in sorted(set(range(len(truth))) - set(kept)):
                box = [float(number) for number in annotations[i]["bbox"]]
                _logger.warning(f"{image}: the ground-truth mask at box {box} covers no pixel and is left out")
        return [annotations[i] for i in kept], [truth[i] for i in kept]

    def _prompts(self, annotations: list[dict], truth: list[dict], size: tuple[int, int], generator) -> Prompts:
        jitter = self.jitter
        if self.is_train and jitter:
            jitter *= float(torch.rand((), generator=generator))
        horizontal = self.is_train and self.box_share > 0 and torch.rand((), generator=generator) < self.box_share
        if horizontal or self.prompt == "box":
            boxes = torch.from_numpy(ground_truth_boxes(annotations))
            return Prompts(jitter_boxes(boxes, jitter, generator))
        if self.prompt == "min_area_rect":
            corners = [minimum_area_rectangles(_bitmap(code)) for code in truth]
        else:
            if any("oriented_box" not in a for a in annotations):
                raise InputError(
                    'MODEL.SOPSEG.PROMPT is oriented_box, but there are annotations without "oriented_box"; '
                    "use min_area_rect"
                )
            corners = [oriented_corners([a["oriented_box"]]) for a in annotations]
        corners = torch.cat(corners) if corners else torch.zeros(0, 4, 2)
        corners = jitter_oriented_boxes(corners, jitter, generator)
        return oriented_prompts(
            _rotate_corners(corners, jitter * ROTATION_PER_SHIFT, generator) if self.is_train and jitter else corners
        )

    def _crops(self, image: Tensor, prompts: Prompts, truth: list[dict], generator) -> dict[str, Any]:
        size = self.input_size
        if self.magnify:
            plan = training_crops(prompts.boxes, self.shared_crops, generator)
        else:
            plan = whole_image(prompts.count, tuple(image.shape[1:]), size)
        crops = cut_crops(image, plan, size)
        regions = plan.regions[plan.index]
        masks = [masks_to_crops(_bitmap(code), region[None], size) for code, region in zip(truth, regions)]
        masks = torch.cat(masks) if masks else torch.zeros(0, size, size, dtype=torch.bool)
        inputs = crops, prompts.to_crops(regions, size), masks
        mirror, quarters = torch.randint(2, (), generator=generator), torch.randint(4, (), generator=generator)
        crops, prompts, masks = _flip_and_rotate(*inputs, int(quarters), bool(mirror))
        return {"crops": crops, "prompts": prompts, "index": plan.index, "masks": masks}


def one_object_each(dicts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Split the dataset dicts of images into dicts of single objects, so that objects are sampled independently.

    Args:
        dicts: Detectron2's dataset dicts.

    Returns:
        A dict with one annotation for each object with a mask; crowds are left out.
    """
    return [
        {**entry, "annotations": [annotation]}
        for entry in dicts
        for annotation in entry["annotations"]
        if not annotation.get("iscrowd", 0) and annotation.get("segmentation")
    ]


def _bitmap(code: dict) -> Tensor:
    """(1, H, W) bool."""
    return torch.from_numpy(rle_to_bitmap(code))[None]


def _with_mask(annotations: list[dict], mask: Tensor) -> tuple[list[dict], list[dict]]:
    """One annotation, with the box of another mask, and that mask's code."""
    code = masks_to_rle(mask[None])
    return [{**annotations[0], "bbox": rle_box(code[0]), "bbox_mode": BoxMode.XYWH_ABS}], code


def _blurred(pixels: np.ndarray, deviation: float) -> np.ndarray:
    """Blur an image; deviations up to 0.2 pixels would change next to nothing and are skipped."""
    return cv2.GaussianBlur(pixels, (0, 0), deviation) if deviation > 0.2 else pixels


def _flip_and_rotate(
    crops: Tensor, prompts: Prompts, masks: Tensor, quarters: int, mirror: bool
) -> tuple[Tensor, Prompts, Tensor]:
    """Square crops, their prompts and masks, mirrored and then rotated counter-clockwise by multiples of 90 degrees."""
    size = crops.shape[-1]

    def move_points(points: Tensor) -> Tensor:
        x, y = points.unbind(-1)
        x = size - x if mirror else x
        for _ in range(quarters):
            x, y = y, size - x
        return torch.stack([x, y], -1)

    def move_map(maps: Tensor) -> Tensor:
        return torch.rot90(maps.flip(-1) if mirror else maps, quarters, (-2, -1)).contiguous()

    corners = move_points(prompts.boxes.unflatten(1, (2, 2)))
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    points = None if prompts.points is None else move_points(prompts.points)
    box_corners = None if prompts.corners is None else move_points(prompts.corners)
    return move_map(crops), Prompts(boxes, points, prompts.labels, corners=box_corners), move_map(masks)


def _rotate_corners(corners: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """Oriented boxes (N, 4, 2), each rotated about its centre by up to `largest` radians either way."""
    angle = largest * (2 * torch.rand(len(corners), 1, generator=generator) - 1)
    centre = corners.mean(1, keepdim=True)
    x, y = (corners - centre).unbind(2)
    return centre + torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], 2)
