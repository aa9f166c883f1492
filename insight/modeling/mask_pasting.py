"""Pasting of predicted masks into their boxes."""

import math

import torch.nn.functional as F
from torch import Tensor

from insight.structures.rle import RLEMasks, encode_logits


def paste_masks(masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5) -> RLEMasks:
    """Paste each mask into its box, like Detectron2's `paste_masks_in_image`, but as run-length codes.

    Args:
        masks: (N, S, S) probabilities.
        boxes: (N, 4) XYXY in pixels of the image; may extend beyond it.
        image_size: (height, width) of the image in pixels.
        threshold: lowest probability that belongs to the mask.

    Returns:
        The N masks.
    """
    boxes = boxes.detach().cpu().double()
    # Detectron2 interpolates between the outermost cells of a mask and the zeros around it.
    cell = (boxes[:, 2:] - boxes[:, :2]) / masks.shape[-1]
    boxes[:, :2] -= cell
    boxes[:, 2:] += cell
    return encode_logits(F.pad(masks.float(), (1, 1, 1, 1)), boxes, image_size, math.nextafter(threshold, -math.inf))
