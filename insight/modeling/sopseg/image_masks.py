"""From an image and prompts to masks of the whole image, in memory that does not grow with their number."""

from typing import NamedTuple

import torch
from torch import Tensor

from insight.structures.crop_plans import CropPlan
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks, encode_logits

from .model import SOPSeg
from .segment import EncodedCrops, segment_objects


class ImageMasks(NamedTuple):
    """Masks of N prompts, in their order.

    Attributes:
        masks: of the whole image.
        iou: (N,) float32 on the CPU, the predicted quality of each.
    """

    masks: RLEMasks
    iou: Tensor


def image_masks(
    model: SOPSeg,
    image: Tensor,
    prompts: Prompts,
    plan: CropPlan,
    input_size: int = 256,
    mask_size: tuple[int, int] | None = None,
    encoded: EncodedCrops | None = None,
) -> ImageMasks:
    """Segment the prompted objects of an image; each batch is run-length encoded before the next is computed.

    Args:
        model, image, prompts, plan, input_size, encoded: as `segment_objects` takes them.
        mask_size: (height, width) of the masks, where the image is a resized view of what they are wanted for; None:
            the image's own.

    Returns:
        The masks and their quality.

    Raises:
        RuntimeError: there is not enough memory for one crop (`torch.OutOfMemoryError` on a GPU).
    """
    height, width = image.shape[1:]
    mask_size = mask_size or (height, width)
    scale = torch.tensor([mask_size[1] / width, mask_size[0] / height] * 2, dtype=torch.float64)
    codes, iou = [None] * prompts.count, torch.zeros(prompts.count)
    for found in segment_objects(model, image, prompts, plan, input_size, encoded):
        index = found.index.cpu()
        iou[index] = found.iou.cpu()
        for i, code in zip(index.tolist(), encode_logits(found.logits, found.regions.cpu() * scale, mask_size)):
            codes[i] = code
    return ImageMasks(RLEMasks(codes, mask_size), iou)
