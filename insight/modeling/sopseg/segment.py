"""From an image and prompts in its pixels to the masks of the objects, in batches that fit the memory."""

import logging
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from insight.runtime.machine import free_memory
from insight.structures.crop_plans import CropPlan
from insight.structures.prompts import Prompts

from .crops import cut_crops
from .decoders import MaskPrediction
from .encoders import STRIDE, ImageFeatures
from .model import SOPSeg
from .unseen_points import without_unseen_points

T = TypeVar("T")

# Pixels of crops that are worked on at a time, at most. More makes a CPU slower: it takes every large tensor from the
# system anew, page by page (docs/results/speed.md). A GPU has the room.
PIXELS_AT_ONCE = {"cpu": 4 * 256**2, "cuda": 256 * 256**2}

NUMBERS_A_PIXEL = 250  # of a crop, in memory at the peak, without those of global attention; fewer were measured

_logger = logging.getLogger(__name__)


class SegmentedObjects(NamedTuple):
    """Masks of n of an image's objects, each in the region that it was seen in.

    Attributes:
        index: (n,) int64, which of the prompts these are.
        logits: (n, s, s) float32, over the whole region; the mask is where they are above 0.
        regions: (n, 4) float32 XYXY, image pixels.
        iou: (n,) float32, the predicted quality of the masks.
    """

    index: Tensor
    logits: Tensor
    regions: Tensor
    iou: Tensor


class EncodedCrops(NamedTuple):
    """Crops of an image and what the model's encoder says of them.

    Attributes:
        crops: (R, 3, s, s), normalised, on the model's device and of its dtype.
        features: of these crops.
    """

    crops: Tensor
    features: ImageFeatures


@torch.no_grad()
def encode_regions(model: SOPSeg, image: Tensor, plan: CropPlan, input_size: int = 256) -> EncodedCrops:
    """Cut the regions of a plan and encode them, all at once.

    Args:
        model, image, input_size: as `segment_objects` takes them.
        plan: R regions.

    Returns:
        The crops and their features, which answer any number of prompts.
    """
    parameter = next(model.parameters())
    plan = plan._replace(regions=plan.regions.to(parameter.device, torch.float32))
    crops = cut_crops(image.to(parameter.device), plan, input_size).to(parameter.dtype)
    return EncodedCrops(crops, model.encode(crops))


@torch.no_grad()
@without_unseen_points
def segment_objects(
    model: SOPSeg,
    image: Tensor,
    prompts: Prompts,
    plan: CropPlan,
    input_size: int = 256,
    encoded: EncodedCrops | None = None,
) -> Iterator[SegmentedObjects]:
    """Segment the prompted objects of an image, a batch at a time; every region is encoded once.

    A batch takes no more than half of the memory that is free. Where that does not suffice all the same, it is halved,
    with a warning, and the work goes on; the model's next images start with what was found to fit.

    Args:
        model: in evaluation mode, in float32 or bfloat16.
        image: (3, H, W) uint8 or float RGB, pixel values 0 to 255, on any device.
        prompts: N prompts, image pixels.
        plan: the regions to look at in crops of `input_size`, and which of them each prompt is answered from.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024.
        encoded: what `encode_regions` made of the plan, which has one region then; None encodes here.

    Yields:
        Every prompt once, on the model's device, those of one region together.

    Raises:
        RuntimeError: there is not enough memory for one crop (`torch.OutOfMemoryError` on a GPU).
    """
    device = next(model.parameters()).device
    image = image.to(device)
    regions, index = plan.regions.to(device, torch.float32), plan.index.to(device)
    prompts = Prompts(*(None if part is None else part.to(device) for part in prompts))
    order = index.argsort(stable=True)
    ends = torch.searchsorted(index[order], torch.arange(len(regions) + 1, device=device)).tolist()
    crops_at_once, prompts_at_once = _batches(model, device, input_size)
    fit = _crops_that_fit(model, input_size)

    def encode(part: slice) -> EncodedCrops:
        if encoded is not None:
            return encoded
        return encode_regions(model, image, plan._replace(regions=regions[part]), input_size)

    for group, (crops, features) in crops_at_once.run(len(regions), encode, fit):
        members = order[ends[group.start] : ends[group.stop]]
        seen_in = regions[index[members]]
        in_crops = prompts.select(members).to_crops(seen_in, input_size)
        answers = _decode(prompts_at_once, fit, model, crops, features, in_crops, index[members] - group.start)
        for part, found in answers:
            yield SegmentedObjects(members[part], found.mask_logits[:, 0].float(), seen_in[part], found.iou.float())
            del found
        del crops, features  # the next batch is not made beside this one


def _decode(
    batches: "Batches",
    fit: float,
    model: SOPSeg,
    crops: Tensor,
    features: ImageFeatures,
    prompts: Prompts,
    crop_of: Tensor,
) -> "Iterator[tuple[slice, MaskPrediction]]":
    """Answer prompts in crop pixels, each from its crop."""

    def decode(part: slice) -> MaskPrediction:
        mine = crop_of[part]
        # With one prompt a crop, in order, no embedding need be copied.
        one_each = torch.equal(mine, torch.arange(len(crops), device=mine.device))
        return model.decode(crops, features, prompts.select(part), None if one_each else mine)

    return batches.run(prompts.count, decode, fit)


def _crops_that_fit(model: SOPSeg, input_size: int) -> float:
    """Crops, each with its prompt, that half of the free memory holds; at least one, a power of two.

    Powers of two, as the batch is part of the rounding: memory that comes and goes changes it seldom.
    """
    free = free_memory(next(model.parameters()).device)
    if free is None:
        return math.inf
    fit = free // 2 // bytes_of_a_crop(model, input_size)
    return 2 ** max(0, fit.bit_length() - 1)


def bytes_of_a_crop(model: SOPSeg, input_size: int) -> int:
    """An upper bound of the memory that a crop with one prompt takes at the peak, beside the model.

    Args:
        model: as `segment_objects` takes it.
        input_size: side of the crop, pixels.

    Returns:
        Bytes, as measured with every encoder but ViT-H on a CPU (docs/results/speed.md).
    """
    tokens = (input_size // STRIDE) ** 2
    # Global attention has a bias for each pair of tokens, and a second one while that is summed.
    numbers = NUMBERS_A_PIXEL * input_size**2 + 2 * model.image_encoder.global_heads * tokens**2
    return numbers * next(model.parameters()).element_size()


def _batches(model: SOPSeg, device: torch.device, input_size: int) -> "tuple[Batches, Batches]":
    """Those of crops and those of prompts; a model keeps its own."""
    at_once = max(1, PIXELS_AT_ONCE[device.type] // input_size**2)
    kept = _BATCHES.setdefault(model, {})
    return kept.setdefault((device, input_size, at_once), (Batches(at_once), Batches(at_once)))


class Batches:
    """Work in consecutive batches, halved whenever the memory does not suffice.

    Args:
        at_once: size of a batch.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def run(self, count: int, work: Callable[[slice], T], at_most: float = math.inf) -> Iterator[tuple[slice, T]]:
        """Do the work.

        Args:
            count: number of items.
            work: does that of some of the items.
            at_most: largest batch, this time.

        Yields:
            The items of each batch, and what `work` returned for them.

        Raises:
            RuntimeError: what `work` raised, if it is not lack of memory or a single item is too much.
        """
        start = 0
        while start < count:
            part = slice(start, start + min(self.at_once, at_most, count - start))
            try:
                result = work(part)
            except RuntimeError as error:
                if not _out_of_memory(error) or part.stop - part.start == 1:
                    raise
                self.at_once = (part.stop - part.start) // 2
                _logger.warning(
                    f"out of memory with {part.stop - part.start} crops or prompts: going on with {self.at_once}"
                )
                continue
            yield part, result
            del result
            start = part.stop


_BATCHES: "WeakKeyDictionary[SOPSeg, dict[tuple, tuple[Batches, Batches]]]" = WeakKeyDictionary()


def _out_of_memory(error: RuntimeError) -> bool:
    # On a CPU torch has no class of its own for it, and on a GPU its class is lost where our operators allocate.
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said
