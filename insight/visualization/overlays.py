"""Draw instances over images so that hundreds of small ones stay readable."""

from collections.abc import Sequence

import cv2
import numpy as np

from insight.errors import InputError
from insight.structures.rle import decode_crop, rle_box

# Distinct hues, visible on dark and light ground.
_PALETTE = np.array([
    (255, 82, 82), (64, 224, 255), (255, 214, 64), (124, 255, 92), (224, 116, 255), (255, 152, 48), (64, 148, 255),
    (255, 128, 192), (60, 255, 188), (190, 190, 255), (200, 255, 64), (255, 190, 160),
], np.uint8)  # fmt: skip
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LABELLED_SIDE = 1200  # automatic enlargement aims at this longest side, pixels
_LARGEST_SCALE = 4


def palette_color(number: int) -> tuple[int, int, int]:
    """Return a distinct RGB colour for a class or an instance; after twelve they repeat."""
    red, green, blue = _PALETTE[number % len(_PALETTE)].tolist()
    return red, green, blue


def draw_instances(
    image: np.ndarray,
    masks=None,
    boxes: Sequence[np.ndarray] | np.ndarray | None = None,
    labels: Sequence[str] | None = None,
    colors: Sequence[int] | None = None,
    *,
    scale: int = 0,
    fill: float = 0.28,
) -> np.ndarray:
    """Draw instances over an image.

    Masks get a light fill and a contour one pixel wide, drawn after enlargement so that small objects keep their shape.
    A label is left out if it would cover another object or an earlier label.

    Args:
        image: (H, W, 3) uint8 RGB; it is not modified.
        masks: None, or N masks: (N, H, W) bool array, or a sequence of COCO RLE.
        boxes: None, or N boxes in pixels, each of 4 numbers (XYXY) or oriented: 5 (cx, cy, w, h, angle in degrees,
            counter-clockwise) or 8 (consecutive corners); an array, or a sequence if the forms differ.
        labels: None, or N texts (ASCII).
        colors: N integers that choose the colours, such as class indices; None for a colour per instance.
        scale: enlargement; 0 to make the longest side about 1200 pixels.
        fill: opacity of the masks, 0 to 1.

    Returns:
        (scale * H, scale * W, 3) uint8 RGB.

    Raises:
        InputError: the lengths of masks, boxes, labels and colors differ.
    """
    lengths = {len(given) for given in (masks, boxes, labels, colors) if given is not None}
    if len(lengths) > 1:
        raise InputError(f"masks, boxes, labels, colors: expected equal lengths, got {sorted(lengths)}")
    count = lengths.pop() if lengths else 0
    height, width = image.shape[:2]
    scale = scale or int(np.clip(round(_LABELLED_SIDE / max(height, width)), 1, _LARGEST_SCALE))
    picture = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    palette = [palette_color(i if colors is None else int(colors[i])) for i in range(count)]

    anchors = [None] * count
    taken = np.zeros(picture.shape[:2], np.uint8)
    for i in range(count if masks is not None else 0):
        anchors[i] = _draw_mask(picture, taken, masks[i], palette[i], scale, fill)
    for i in range(count if boxes is not None else 0):
        corners = _corners(np.asarray(boxes[i], float)) * scale
        cv2.polylines(picture, [np.rint((corners - 0.5) * 16).astype(np.int32)], True, palette[i], 1, cv2.LINE_AA, 4)
        if masks is None:
            cv2.fillConvexPoly(taken, np.rint(corners).astype(np.int32), 1)
        anchors[i] = tuple(np.rint(corners.min(axis=0)).astype(int).tolist())
    if labels is not None:
        _draw_labels(picture, taken, labels, anchors, palette)
    return picture


def _draw_mask(picture, taken, mask, color, scale: int, fill: float) -> tuple[int, int] | None:
    """Draw one mask; returns the top left corner of its box, enlarged, or None if it is empty."""
    if isinstance(mask, dict):
        x, y, w, h = rle_box(mask)
        mask = decode_crop(mask, (x, y, x + w, y + h)) if w and h else None
    else:
        mask = np.asarray(mask)
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        mask = mask[y : y + h, x : x + w]
    if w == 0 or h == 0:
        return None
    mask = np.ascontiguousarray(mask, np.uint8)
    part = cv2.resize(mask, (w * scale, h * scale), interpolation=cv2.INTER_NEAREST)
    window = picture[y * scale : (y + h) * scale, x * scale : (x + w) * scale]
    tinted = cv2.addWeighted(window, 1 - fill, np.full_like(window, color), fill, 0)
    cv2.copyTo(tinted, part, window)
    taken[y * scale : (y + h) * scale, x * scale : (x + w) * scale] |= part
    contours, _ = cv2.findContours(part, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(window, contours, -1, color, 1)
    return x * scale, y * scale


def _corners(box: np.ndarray) -> np.ndarray:
    """(4, 2) corners of an XYXY or an oriented box."""
    if len(box) == 8:
        return box.reshape(4, 2)
    if len(box) == 4:
        x1, y1, x2, y2 = box
        return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
    cx, cy, w, h, angle = box
    # cv2 counts angles clockwise.
    return cv2.boxPoints(((cx, cy), (w, h), -angle)).astype(float)


def _draw_labels(picture, taken, labels, anchors, palette) -> None:
    height, width = picture.shape[:2]
    size = 0.36
    for text, anchor, color in zip(labels, anchors, palette):
        if anchor is None or not text:
            continue
        (w, h), below = cv2.getTextSize(text, _FONT, size, 1)
        x = int(np.clip(anchor[0], 0, max(0, width - w - 2)))
        y = int(np.clip(anchor[1] - h - below - 2, 0, max(0, height - h - below - 1)))
        area = np.s_[y : y + h + below + 1, x : x + w + 2]
        if taken[area].any():
            continue
        taken[area] = 1
        picture[area] = picture[area] // 4
        cv2.putText(picture, text, (x + 1, y + h), _FONT, size, color, 1, cv2.LINE_AA)
