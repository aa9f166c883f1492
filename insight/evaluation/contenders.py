"""The rows of the table of what a model adds to its prompts: ways to answer boxes with masks."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from insight.modeling.sopseg import EncodedCrops, SOPSeg, encode_regions, image_masks
from insight.modeling.sopseg.encoders import MAX_SIZE
from insight.modeling.sopseg.prompt_form import in_form
from insight.structures.crop_plans import CropPlan, plan_crops, whole_image
from insight.structures.oriented_boxes import enclosing_boxes
from insight.structures.prompts import Prompts, oriented_prompts

from .prompt_baselines import box_masks, clip_to_boxes, fixed_margin_crops, superellipse_masks, upright_masks
from .prompted_objects import Condition

Answers = dict[Condition, list[dict]]  # COCO RLE, one for each prompt


class Contender(Protocol):
    """A way to answer boxes, for one row or for several that share their work."""

    @property
    def rows(self) -> Sequence[str]:
        """Headings of the rows."""

    @property
    def settings(self) -> dict[str, Any]:
        """All that the answers depend on but the prompts and the image, as JSON values."""

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        """Answer the prompts of an image.

        Args:
            image: (3, H, W) uint8 RGB.
            prompts: for each condition (N, 4, 2) XY, image pixels, corners clockwise as displayed.

        Returns:
            For each row, the masks under each condition; conditions that the row does not answer are absent.
        """


class ImageFree:
    """A superellipse in the box, without looking at the image.

    Args:
        exponents: for each condition, the exponent, see `prompt_baselines.superellipse_masks`.
    """

    rows = ("superellipse, image not used",)

    def __init__(self, exponents: Mapping[Condition, float]):
        self.exponents = dict(exponents)
        self.settings = {"row": "superellipse", "exponents": {str(c): p for c, p in self.exponents.items()}}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        size = _size(image)
        return [{c: superellipse_masks(corners, self.exponents[c], size) for c, corners in prompts.items()}]


class BoxFill:
    """All of the box."""

    rows = ("box, filled",)
    settings: dict[str, Any] = {"row": "box"}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        return [{c: box_masks(corners, _size(image)) for c, corners in prompts.items()}]


class WholeImageSAM:
    """SAM as it is: the whole image at 1024 pixels, prompted with horizontal boxes.

    Args:
        model: SAM, in evaluation mode.
        weights: digest of its weights.
    """

    rows = ("SAM, whole image",)

    def __init__(self, model: SOPSeg, weights: str):
        self.model = model
        self.settings = {"row": "whole image", "weights": weights, "size": MAX_SIZE}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        plan = whole_image(1, _size(image), MAX_SIZE)
        encoded = encode_regions(self.model, image, plan, MAX_SIZE)
        masks = {}
        for condition, corners in prompts.items():
            boxes = enclosing_boxes(corners)
            plan = whole_image(len(boxes), _size(image), MAX_SIZE)
            masks[condition] = _masks(self.model, image, Prompts(boxes), plan, MAX_SIZE, encoded)
        return [masks]


class CropSAM:
    """SAM in the magnified crop, prompted with horizontal boxes; and its masks clipped to the prompts.

    Args:
        model: SAM, in evaluation mode.
        weights: digest of its weights.
        size: side of the crops, pixels.
    """

    rows = ("SAM, crop", "SAM, crop, clipped to the prompt")

    def __init__(self, model: SOPSeg, weights: str, size: int):
        self.model, self.size = model, size
        self.settings = {"row": "crop", "weights": weights, "size": size}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        plain: Answers = {}
        for condition, corners in prompts.items():
            given = Prompts(enclosing_boxes(corners))
            plain[condition] = _masks(self.model, image, given, plan_crops(given, _size(image), self.size), self.size)
        return [plain, {c: clip_to_boxes(masks, prompts[c]) for c, masks in plain.items()}]


class UprightSAM:
    """SAM in the magnified crop, rotated until the oriented box stands upright.

    Args:
        model, weights, size: as `CropSAM` takes them.
    """

    rows = ("SAM, crop rotated upright",)

    def __init__(self, model: SOPSeg, weights: str, size: int):
        self.model, self.size = model, size
        self.settings = {"row": "upright", "weights": weights, "size": size}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        oriented = {c: corners for c, corners in prompts.items() if c.kind == "oriented"}  # others are upright already
        return [{c: upright_masks(self.model, image, corners, self.size) for c, corners in oriented.items()}]


class FixedMarginSAM:
    """SAM in a crop with a margin of 20 % of the object on every side, prompted with horizontal boxes.

    Args:
        model, weights, size: as `CropSAM` takes them.
    """

    rows = ("SAM, crop with 20 % margin",)

    def __init__(self, model: SOPSeg, weights: str, size: int):
        self.model, self.size = model, size
        self.settings = {"row": "fixed margin", "weights": weights, "size": size}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        masks = {}
        for condition, corners in prompts.items():
            boxes = enclosing_boxes(corners)
            masks[condition] = _masks(self.model, image, Prompts(boxes), fixed_margin_crops(boxes), self.size)
        return [masks]


class Trained:
    """A checkpoint of SOPSeg, prompted in the form that it was trained for.

    Args:
        name: heading of its row.
        model: in evaluation mode.
        weights: digest of its weights.
        size: side of the crops, pixels.
        magnify: False answers from the whole image.
        form: as `in_form` takes it.
    """

    def __init__(
        self, name: str, model: SOPSeg, weights: str, size: int, magnify: bool = True, form: str | None = None
    ):
        self.rows = (name,)
        self.model, self.size, self.magnify, self.form = model, size, magnify, form
        self.settings = {"row": "trained", "weights": weights, "size": size, "magnify": magnify, "form": form}

    def answer(self, image: Tensor, prompts: Mapping[Condition, Tensor]) -> list[Answers]:
        masks = {}
        for condition, corners in prompts.items():
            if condition.kind == "oriented":
                given = in_form(oriented_prompts(corners), self.model, self.form)
            else:
                given = Prompts(enclosing_boxes(corners))
            plan = plan_crops(given, _size(image), self.size, self.magnify)
            masks[condition] = _masks(self.model, image, given, plan, self.size)
        return [masks]


def _size(image: Tensor) -> tuple[int, int]:
    return int(image.shape[1]), int(image.shape[2])


@torch.no_grad()
def _masks(
    model: SOPSeg, image: Tensor, prompts: Prompts, plan: CropPlan, size: int, encoded: EncodedCrops | None = None
) -> list[dict]:
    return list(image_masks(model, image, prompts, plan, size, encoded=encoded).masks)
