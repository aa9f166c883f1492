"""NumPy version of the compiled run-length coder (csrc/rle), with the same functions and byte-identical results.

Arguments are checked by `insight.structures.rle`.
"""

import numpy as np
from pycocotools import mask as coco_mask


def encode_crop(crop: np.ndarray, x: int, y: int, image_height: int, image_width: int) -> bytes:
    """Encode a mask that is known in a window.

    Args:
        crop: (h, w) bool.
        x, y: the window's first pixel in the image, which contains the window.
        image_height, image_width: pixels.

    Returns:
        COCO's compressed counts.
    """
    # COCO's order is column by column. A run starts where a zero-padded column rises and ends where it falls.
    columns = np.pad(crop.T.astype(np.int8), ((0, 0), (1, 1)))
    edges = np.diff(columns, axis=1)
    column, row = np.nonzero(edges)
    places = (x + column) * image_height + y + row  # start, end, start, end ... as offsets into the walk
    # A run that ends at the foot of one column and one that starts at the head of the next are one run.
    touching = np.nonzero(places[1:-1:2] == places[2::2])[0]
    places = np.delete(places, np.concatenate([2 * touching + 1, 2 * touching + 2]))
    counts = np.diff(np.concatenate([[0], places, [image_height * image_width]])).tolist()
    if counts[-1] == 0 and len(counts) > 1:  # the mask holds the last pixel: nothing follows it
        counts.pop()
    size = [image_height, image_width]
    return coco_mask.frPyObjects({"size": size, "counts": counts}, *size)["counts"]


def encode_logits(
    logits: np.ndarray, regions: np.ndarray, image_height: int, image_width: int, threshold: float
) -> list[bytes]:
    """Encode masks whose logits are known in crops.

    Args:
        logits: (N, h, w) float32, over the whole region each.
        regions: (N, 4) float64 XYXY, image pixels; finite, x1 <= x2, y1 <= y2.
        image_height, image_width: pixels.
        threshold: logits above it are in the mask.

    Returns:
        COCO's compressed counts of each mask.
    """
    codes = []
    for values, (x1, y1, x2, y2) in zip(logits, regions.tolist()):
        left, first, second, weight = _axis(x1, x2, values.shape[1], image_width)
        top, above, below, weight_below = _axis(y1, y2, values.shape[0], image_height)
        rows = _mix(values[above], values[below], weight_below[:, None])
        field = _mix(rows[:, first], rows[:, second], weight)
        codes.append(encode_crop(field > np.float32(threshold), left, top, image_height, image_width))
    return codes


def _axis(low: float, high: float, crop_side: int, image_side: int) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """The first pixel whose centre lies in the region; of this and those that follow, the two values and the weight."""
    begin, end = (int(np.clip(edge, 0, image_side)) for edge in (np.floor(low), np.ceil(high)))
    pixels = np.arange(begin, end)
    with np.errstate(all="ignore"):  # a region without extent holds no pixel
        centres = 2 * (pixels + 0.5 - low) / np.float64(high - low) - 1
    inside = np.abs(centres) <= 1
    pixels, centres = pixels[inside], centres[inside]
    places = np.clip(((centres + 1) * crop_side - 1) / 2, 0, crop_side - 1)
    first = places.astype(np.int64)
    second = np.minimum(first + 1, crop_side - 1)
    return int(pixels[0]) if len(pixels) else 0, first, second, (places - first).astype(np.float32)


def _mix(low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return low * (1 - weight) + high * weight
