"""Measurements of a mask without ground truth: its fit to the box, and its parts."""

from typing import Any

import cv2
import numpy as np

from insight.structures.box_shapes import pixels_in_box
from insight.structures.rle import decode_crop, rle_area, rle_box


def measure_mask(code: dict, corners: np.ndarray) -> dict[str, Any]:
    """Measure a mask against its box. Areas are in pixels inside the image.

    Args:
        code: COCO RLE of the whole image.
        corners: (4, 2) XY, image pixels, consecutive corners of its box.

    Returns:
        "area" (pixels) and "bbox" (XYWH) of the mask, and where it is not empty
        "in_box": share of the mask whose pixels' centres lie in the box,
        "area_ratio": the mask's area / the number of pixels whose centres lie in the box (at least 1),
        "components": number of its parts (8-connected),
        "largest_part": share of the mask in its largest part.
    """
    x, y, width, height = rle_box(code)
    result = {"area": rle_area(code), "bbox": [x, y, width, height]}
    if not result["area"]:
        return result
    rows, columns = code["size"]
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    window = (
        max(0, min(x, low[0])),
        max(0, min(y, low[1])),
        min(columns, max(x + width, high[0])),
        min(rows, max(y + height, high[1])),
    )
    mask, box = decode_crop(code, window), pixels_in_box(corners, window)
    _, _, parts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    sizes = parts[1:, cv2.CC_STAT_AREA]
    return {
        **result,
        "in_box": round(int((mask & box).sum()) / result["area"], 4),
        "area_ratio": round(result["area"] / max(1, int(box.sum())), 4),
        "components": len(sizes),
        "largest_part": round(int(sizes.max()) / result["area"], 4),
    }
