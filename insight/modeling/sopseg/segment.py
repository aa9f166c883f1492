"""Segmentation of the prompted objects of an image, in batches that fit the memory."""

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
from .decoders.prediction import resize_logits
from .encoders import STRIDE, ImageFeatures
from .model import SOPSeg
from .unseen_points import without_unseen_points

T = TypeVar("T")

# Most pixels of crops that are processed at a time. More makes a CPU slower, because it requests every large tensor
# from the system again, page by page (docs/results/speed.md). A GPU has the room.
PIXELS_AT_ONCE = {"cpu": 4 * 256**2, "cuda": 256 * 256**2}

NUMBERS_A_PIXEL = 250  # peak memory of a crop without global attention; measurements were lower

_logger = logging.getLogger(__name__)


class SegmentedObjects(NamedTuple):
    """n masks of an image's objects, each in the region that was cut out for it.

    Attributes:
        index: (n,) int64, the prompt of each mask; with `multimask`, each prompt three times in a row.
        logits: (n, s, s) float32, over the whole region; the mask is where they are above 0.
        regions: (n, 4) float32 XYXY, image pixels.
        iou: (n,) float32, the predicted IoU of each mask.
        low_res: (n, s / 4, s / 4) float32, the logits that a later call accepts as `Prompts.masks`.
    """

    index: Tensor
    logits: Tensor
    regions: Tensor
    iou: Tensor
    low_res: Tensor


class EncodedCrops(NamedTuple):
    """Crops of an image and their image embeddings.

    Attributes:
        crops: (R, 3, s, s), normalised, on the model's device and of its dtype.
        features: the encoder's output for these crops.
    """

    crops: Tensor
    features: ImageFeatures


@torch.no_grad()
def encode_regions(model: SOPSeg, image: Tensor, plan: CropPlan, input_size: int = 256) -> EncodedCrops:
    """Cut the regions of a plan and encode them, all at once.

    Args:
        model, image, input_size: as in `segment_objects`.
        plan: R regions.

    Returns:
        The crops and their features, which serve any number of prompts.
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
    multimask: bool = False,
) -> Iterator[SegmentedObjects]:
    """Segment the prompted objects of an image, a batch at a time; every region is encoded once.

    A batch uses at most half of the free memory. If memory runs out all the same, the batch is halved, with a warning,
    and the work continues; the model's next images start with the size that fit.

    Args:
        model: in evaluation mode, in float32 or bfloat16.
        image: (3, H, W) uint8 or float RGB, pixel values 0 to 255, on any device.
        prompts: N prompts, image pixels.
        plan: the regions to cut out in crops of `input_size`, and the region in which each prompt is segmented.
        input_size: side of the crops, pixels; a multiple of 64 up to 1024.
        encoded: the output of `encode_regions` for the plan, which then has one region; None encodes here.
        multimask: return SAM's three masks for every prompt instead of one.

    Yields:
        The masks of some prompts, on the model's device; every prompt occurs in one batch, those of a region together.

    Raises:
        RuntimeError: there is not enough memory for one crop (`torch.OutOfMemoryError` on a GPU).
    """
    device = next(model.parameters()).device
    image = image.to(device)
    regions, index = plan.regions.to(device, torch.float32), plan.index.to(device)
    prompts = Prompts(*(None if part is None else part.to(device) for part in prompts))
    if prompts.masks is not None:
        prompts = prompts._replace(masks=prompts.masks.to(next(model.parameters()).dtype))
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
        crop_of = index[members] - group.start
        answers = _decode(prompts_at_once, fit, model, crops, features, in_crops, crop_of, multimask)
        for part, found in answers:
            logits, iou, low_res = (tensor.float() for tensor in found)
            masks = logits.shape[1]
            yield SegmentedObjects(
                members[part].repeat_interleave(masks),
                logits.flatten(0, 1),
                seen_in[part].repeat_interleave(masks, 0),
                iou.flatten(),
                low_res.flatten(0, 1),
            )
            del found, logits, iou, low_res
        del crops, features  # free them before the next batch is encoded


def _decode(
    batches: "Batches",
    fit: float,
    model: SOPSeg,
    crops: Tensor,
    features: ImageFeatures,
    prompts: Prompts,
    crop_of: Tensor,
    multimask: bool,
) -> "Iterator[tuple[slice, MaskLogits]]":
    """Answer prompts in crop pixels, each from its crop."""

    def decode(part: slice) -> MaskLogits:
        mine = crop_of[part]
        # With one prompt per crop, in order, no embedding has to be copied.
        one_each = torch.equal(mine, torch.arange(len(crops), device=mine.device))
        return decode_masks(model, crops, features, prompts.select(part), None if one_each else mine, multimask)

    return batches.run(prompts.count, decode, fit)


class MaskLogits(NamedTuple):
    """M masks for each of N prompts, in the pixels of their crops.

    Attributes:
        logits: (N, M, s, s).
        iou: (N, M) predicted.
        low_res: (N, M, s / 4, s / 4).
    """

    logits: Tensor
    iou: Tensor
    low_res: Tensor


def decode_masks(
    model: SOPSeg,
    crops: Tensor,
    features: ImageFeatures,
    prompts: Prompts,
    image_index: Tensor | None = None,
    multimask: bool = False,
) -> MaskLogits:
    """Decode one mask for each prompt, or SAM's three.

    Args:
        model, crops, features, prompts, image_index: as in `SOPSeg.decode`.
        multimask: decode SAM's three masks (M = 3), which have its resolution whatever the decoder adds; False decodes
            the decoder's own mask (M = 1).

    Returns:
        The masks.
    """
    if multimask:
        low_res, iou = model.mask_decoder.multimask(model.decoder_input(crops, features, prompts, image_index))
        return MaskLogits(resize_logits(low_res, crops), iou, low_res)
    found = model.decode(crops, features, prompts, image_index)
    return MaskLogits(found.mask_logits, found.iou[:, None], found.stages[4][:, :1])


def _crops_that_fit(model: SOPSeg, input_size: int) -> float:
    """The number of crops, each with its prompt, that half of the free memory holds: a power of two, at least one.

    The batch size affects rounding; with powers of two, small changes of free memory seldom change it.
    """
    free = free_memory(next(model.parameters()).device)
    if free is None:
        return math.inf
    fit = free // 2 // bytes_of_a_crop(model, input_size)
    return 2 ** max(0, fit.bit_length() - 1)


def bytes_of_a_crop(model: SOPSeg, input_size: int) -> int:
    """Return an upper bound of the peak memory of a crop with one prompt, without the model.

    Args:
        model: as in `segment_objects`.
        input_size: side of the crop, pixels.

    Returns:
        Bytes; measured with every encoder but ViT-H, on a CPU (docs/results/speed.md).
    """
    tokens = (input_size // STRIDE) ** 2
    # Global attention holds a bias for each pair of tokens, and a second one while they are summed.
    numbers = NUMBERS_A_PIXEL * input_size**2 + 2 * model.image_encoder.global_heads * tokens**2
    return numbers * next(model.parameters()).element_size()


def _batches(model: SOPSeg, device: torch.device, input_size: int) -> "tuple[Batches, Batches]":
    """The batches of crops and those of prompts, kept for each model."""
    at_once = max(1, PIXELS_AT_ONCE[device.type] // input_size**2)
    kept = _BATCHES.setdefault(model, {})
    return kept.setdefault((device, input_size, at_once), (Batches(at_once), Batches(at_once)))


class Batches:
    """Work in consecutive batches that are halved whenever memory runs out.

    Args:
        at_once: batch size.
    """

    def __init__(self, at_once: int) -> None:
        self.at_once = at_once

    def run(self, count: int, work: Callable[[slice], T], at_most: float = math.inf) -> Iterator[tuple[slice, T]]:
        """Run the work.

        Args:
            count: number of items.
            work: processes some of the items.
            at_most: largest batch size of this run.

        Yields:
            The items of each batch, and what `work` returned for them.

        Raises:
            RuntimeError: from `work`, unless it ran out of memory on more than one item.
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
                    f"out of memory with {part.stop - part.start} crops or prompts: continuing with {self.at_once}"
                )
                continue
            yield part, result
            del result
            start = part.stop


_BATCHES: "WeakKeyDictionary[SOPSeg, dict[tuple, tuple[Batches, Batches]]]" = WeakKeyDictionary()


def _out_of_memory(error: RuntimeError) -> bool:
    # On a CPU torch has no class for it, and on a GPU the class is lost when our operators allocate.
    said = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or "out of memory" in said or "can't allocate memory" in said
