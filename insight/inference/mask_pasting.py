"""Pasting of mask probabilities into their boxes, without full-size bitmaps."""

import numpy as np
from detectron2.layers import paste_masks_in_image
from torch import Tensor

from insight.structures.rle import RLEMasks, encode_crop


def paste_masks(masks: Tensor, boxes: Tensor, image_size: tuple[int, int], threshold: float = 0.5) -> RLEMasks:
    """Paste each mask into its box, like Detectron2's `paste_masks_in_image`, but as run-length codes.

    Args:
        masks: (N, S, S) probabilities.
        boxes: (N, 4) XYXY in pixels of the image; each overlaps the image and may extend beyond it.
        image_size: (height, width) of the image in pixels.
        threshold: lowest probability that belongs to the mask.

    Returns:
        The N masks.
    """
    masks, boxes = masks.cpu().float(), boxes.cpu().float()
    height, width = image_size
    lows = boxes[:, :2].floor().sub(1).clamp(min=0).long().tolist()
    highs = boxes[:, 2:].ceil().add(1).long().tolist()
    codes = []
    for mask, box, (x0, y0), (x1, y1) in zip(masks, boxes, lows, highs):
        window = (min(y1, height) - y0, min(x1, width) - x0)
        origin = box.new_tensor([x0, y0, x0, y0])
        crop = paste_masks_in_image(mask[None], (box - origin)[None], window, threshold)[0]
        codes.append(encode_crop(np.asarray(crop), (x0, y0), image_size))
    return RLEMasks(codes, image_size)
