"""Masks of the whole image for any number of prompts, in memory that does not grow with their number."""

from typing import NamedTuple

import torch
from torch import Tensor

from insight.structures.crop_masks import logits_to_image, paste_windows
from insight.structures.crop_plans import CropPlan
from insight.structures.prompts import Prompts
from insight.structures.rle import RLEMasks, encode_logits

from .model import SOPSeg
from .segment import EncodedCrops, segment_objects


class CropLogits(NamedTuple):
    """Logits of N masks, each in the square region of the image in which its prompt was segmented.

    Attributes:
        crops: (N, s, s) float32, over the whole region each; the mask is where they are above 0.
        regions: (N, 4) float32 XYXY, image pixels; may extend beyond the image.
        low_res: (N, s / 4, s / 4) float32, which a later call for the same prompts accepts as `mask_input`.
    """

    crops: Tensor
    regions: Tensor
    low_res: Tensor

    def to_image(self, image_size: tuple[int, int]) -> Tensor:
        """Transform the logits to the pixels of the image.

        Args:
            image_size: (height, width) of the image.

        Returns:
            (N, height, width) float32; -inf outside a mask's region. N objects need N times the image's pixels.
        """
        images = [
            paste_windows(logits_to_image(crop[None], region[None]), image_size)
            for crop, region in zip(self.crops, self.regions)
        ]
        return torch.cat(images) if images else self.crops.new_zeros(0, *image_size)


class ImageMasks(NamedTuple):
    """Masks of N prompts, in their order; with `multimask`, three masks for each.

    Attributes:
        masks: N or 3 N masks of the whole image.
        iou: (N,) or (3 N,) float32 on the CPU, the predicted IoU of each.
        logits: logits of the crops, if requested.
    """

    masks: RLEMasks
    iou: Tensor
    logits: CropLogits | None = None


def image_masks(
    model: SOPSeg,
    image: Tensor,
    prompts: Prompts,
    plan: CropPlan,
    input_size: int = 256,
    mask_size: tuple[int, int] | None = None,
    encoded: EncodedCrops | None = None,
    multimask: bool = False,
    keep_logits: bool = False,
) -> ImageMasks:
    """Segment the prompted objects of an image; each batch is run-length encoded before the next is computed.

    Args:
        model, image, prompts, plan, input_size, encoded, multimask: as in `segment_objects`.
        mask_size: (height, width) of the masks, if the image is a resized view of the image they are for; None for the
            image's own size.
        keep_logits: also return the logits, which need memory for every prompt.

    Returns:
        The masks and their predicted IoU.

    Raises:
        RuntimeError: there is not enough memory for one crop (`torch.OutOfMemoryError` on a GPU).
    """
    height, width = image.shape[1:]
    mask_size = mask_size or (height, width)
    scale = torch.tensor([mask_size[1] / width, mask_size[0] / height] * 2, dtype=torch.float64)
    masks = 3 if multimask else 1
    count = prompts.count * masks
    codes, iou, logits = [None] * count, torch.zeros(count), None
    if keep_logits:
        shapes = (input_size, input_size), (4,), (input_size // 4, input_size // 4)
        logits = CropLogits(*(torch.zeros(count, *shape) for shape in shapes))
    for found in segment_objects(model, image, prompts, plan, input_size, encoded, multimask):
        index = found.index.cpu() * masks + torch.arange(masks).repeat(len(found.index) // masks)
        iou[index] = found.iou.cpu()
        regions = found.regions.cpu() * scale
        for i, code in zip(index.tolist(), encode_logits(found.logits, regions, mask_size)):
            codes[i] = code
        for kept, new in zip(logits or (), (found.logits, regions, found.low_res)):
            kept[index] = new.to(kept)
    return ImageMasks(RLEMasks(codes, mask_size), iou, logits)
