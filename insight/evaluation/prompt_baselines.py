"""Simple answers to box prompts, which a model must beat: shapes without the image, and plain SAM with tricks."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError
from insight.modeling.sopseg import PIXEL_MEAN, SOPSeg, segment_objects
from insight.structures.box_shapes import box_window, pixels_in_box, pixels_in_superellipse
from insight.structures.crop_plans import CropPlan, one_crop_each
from insight.structures.crop_regions import crop_regions
from insight.structures.prompts import Prompts
from insight.structures.rle import decode_crop, encode_crop, rle_area

EXPONENTS = (2.0, 2.5, 3.0, 4.0, 6.0, 20.0)  # from an ellipse almost to the box


def box_masks(corners: Tensor, image_size: tuple[int, int]) -> list[dict]:
    """Fill boxes.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners.
        image_size: (height, width) in pixels.

    Returns:
        N COCO RLE, empty for a box outside the image.
    """
    boxes = corners.double().numpy()
    return [_encode(pixels_in_box(c, window), window, image_size) for c, window in _windows(boxes, image_size)]


def superellipse_masks(corners: Tensor, exponent: float, image_size: tuple[int, int]) -> list[dict]:
    """Fill the superellipses that touch the sides of boxes, see `pixels_in_superellipse`.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners of rectangles.
        exponent: 2 for an ellipse; the larger, the more of the box.
        image_size: (height, width) in pixels.

    Returns:
        N COCO RLE, empty for a box outside the image.
    """
    boxes = corners.double().numpy()
    return [
        _encode(pixels_in_superellipse(c, exponent, window), window, image_size)
        for c, window in _windows(boxes, image_size)
    ]


def best_exponent(corners: Tensor, truth: Sequence[dict]) -> float:
    """Find the exponent whose superellipses overlap ground-truth masks best.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners of the objects' boxes.
        truth: N COCO RLE, of any images.

    Returns:
        The one of EXPONENTS with the highest mean IoU.

    Raises:
        InputError: there are no objects.
    """
    if not truth:
        raise InputError("truth: expected at least one object to fit the exponent to, got none")
    sums = np.zeros(len(EXPONENTS))
    for box, code in zip(corners.double().numpy(), truth):
        height, width = code["size"]
        x0, y0, x1, y1 = box_window(box, (height, width))
        area, inside = rle_area(code), decode_crop(code, (x0, y0, x1, y1))
        for i, exponent in enumerate(EXPONENTS):
            shape = pixels_in_superellipse(box, exponent, (x0, y0, x1, y1))
            common = int((shape & inside).sum())
            sums[i] += common / max(1, area + int(shape.sum()) - common)
    return EXPONENTS[int(sums.argmax())]


def clip_to_boxes(masks: Sequence[dict], corners: Tensor) -> list[dict]:
    """Cut off what masks have outside their boxes.

    Args:
        masks: N COCO RLE of one image.
        corners: (N, 4, 2) XY, image pixels, consecutive corners.

    Returns:
        N COCO RLE.
    """
    clipped = []
    for code, box in zip(masks, corners.double().numpy()):
        size = code["size"][0], code["size"][1]
        window = box_window(box, size)
        clipped.append(_encode(decode_crop(code, window) & pixels_in_box(box, window), window, size))
    return clipped


def fixed_margin_crops(boxes: Tensor, margin: float = 0.2) -> CropPlan:
    """Plan a square region around each object with the same relative margin, whatever the object's size.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        margin: margin on every side, as a fraction of the object's longer side.

    Returns:
        N regions for N prompts, centred on the boxes.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) * (0.5 + margin)
    return CropPlan(torch.cat([centres - half, centres + half], 1), torch.arange(len(boxes)))


def upright_masks(model: SOPSeg, image: Tensor, corners: Tensor, input_size: int) -> list[dict]:
    """Segment objects in crops that are rotated until their boxes stand upright, prompted with those boxes.

    The image is rotated at its own resolution by at most 45 degrees, bilinearly; then the object is magnified and
    segmented as any other, and the logits are read at the centres of the image's pixels.

    Args:
        model: SAM or SOPSeg, in evaluation mode.
        image: (3, H, W) uint8 RGB.
        corners: (N, 4, 2) XY, image pixels, consecutive corners of rectangles.
        input_size: side of the crops, pixels.

    Returns:
        N COCO RLE of the image.
    """
    pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
    return [_upright(model, pixels, box, input_size) for box in corners.double().numpy()]


def _upright(model: SOPSeg, image: np.ndarray, corners: np.ndarray, input_size: int) -> dict:
    centre, (right, down), width, height = upright_frame(corners)
    upright = torch.tensor([[-width / 2, -height / 2, width / 2, height / 2]], dtype=torch.float32)
    region = crop_regions(upright)[0].double().numpy()  # around the centre
    side = region[2] - region[0]
    patch_side = int(np.ceil(side))
    half = patch_side / 2
    to_image = np.stack([right, down], 1)
    offset = centre - 0.5 + to_image @ np.full(2, 0.5 - half)
    patch = cv2.warpAffine(
        image,
        np.concatenate([to_image, offset[:, None]], 1),
        (patch_side, patch_side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=[round(mean) for mean in PIXEL_MEAN],
    )
    tensor = torch.from_numpy(patch.transpose(2, 0, 1).copy())
    boxes = upright + half
    (found,) = segment_objects(model, tensor, Prompts(boxes), one_crop_each(boxes), input_size)
    logits = found.logits[0].cpu().numpy()

    reach = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * side / 2
    window = box_window(centre + reach @ to_image.T, image.shape[:2])
    x0, y0, x1, y1 = window
    x, y = np.arange(x0, x1) + 0.5 - centre[0], (np.arange(y0, y1) + 0.5 - centre[1])[:, None]
    across, along = x * right[0] + y * right[1], x * down[0] + y * down[1]
    scale = input_size / side
    map_x, map_y = (((part + side / 2) * scale - 0.5).astype(np.float32) for part in (across, along))
    inside = (np.abs(across) <= side / 2) & (np.abs(along) <= side / 2)
    if not inside.size:
        return _encode(inside, window, image.shape[:2])
    values = cv2.remap(logits, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return _encode((values > 0) & inside, window, image.shape[:2])


def upright_frame(corners: np.ndarray) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], float, float]:
    """Return the frame in which a rectangle is upright, rotated by at most 45 degrees.

    Args:
        corners: (4, 2) XY, image pixels, clockwise as displayed.

    Returns:
        Its centre (2,) XY; the unit vectors (2,) that point right and down in the frame; its width and its height in
        the frame, pixels.
    """
    sides = np.roll(corners, -1, 0) - corners
    slopes = sides[:, 0] / np.linalg.norm(sides, axis=1)
    first = int(slopes.argmax())  # of the four sides, the one that points most to the right
    across, along = sides[first], sides[(first + 1) % 4]
    width, height = float(np.linalg.norm(across)), float(np.linalg.norm(along))
    right = across / width
    return corners.mean(0), (right, np.array([-right[1], right[0]])), width, height


def _windows(boxes: np.ndarray, image_size: tuple[int, int]) -> Iterator[tuple[np.ndarray, tuple[int, int, int, int]]]:
    for box in boxes:
        yield box, box_window(box, image_size)


def _encode(mask: np.ndarray, window: tuple[int, int, int, int], image_size) -> dict:
    return encode_crop(np.ascontiguousarray(mask), window[:2], (int(image_size[0]), int(image_size[1])))
