"""Masks as COCO run-length codes, whose memory grows with the outline instead of the area."""

import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from insight.errors import InputError
from insight.runtime.words import counted

from . import _rle_ext
from .polygons import mask_to_polygons

MOST_PIXELS = 2**32 - 1  # pycocotools counts in 32 bits


def encode_crop(crop: np.ndarray, origin: tuple[int, int], image_size: tuple[int, int]) -> dict:
    """Encode a mask that is known in a window only, without a bitmap of the whole image.

    Args:
        crop: (h, w) bool, the mask inside the window; the rest of the image is outside the mask.
        origin: (x, y) of the window's first pixel in the image; the window lies inside the image.
        image_size: (height, width) of the image in pixels.

    Returns:
        {"size": [height, width], "counts": bytes}, COCO's compressed RLE.

    Raises:
        InputError: crop is not a bool array, has the wrong shape or leaves the image; image_size is not positive or has
            2**32 pixels or more.
    """
    height, width = _checked_size(image_size)
    if not isinstance(crop, np.ndarray) or crop.dtype != bool:
        raise InputError(f"crop: expected an array (h, w) of bool, got {_describe(crop)}")
    if crop.ndim != 2:
        raise InputError(f"crop: expected shape (h, w), got {crop.shape}")
    x, y = map(operator.index, origin)
    if x < 0 or y < 0 or x + crop.shape[1] > width or y + crop.shape[0] > height:
        raise InputError(
            f"crop: expected a window inside the image (height, width) = ({height}, {width}), got {crop.shape} from "
            f"(x, y) = ({x}, {y})"
        )
    return {"size": [height, width], "counts": _rle_ext.coder().encode_crop(crop, x, y, height, width)}


def encode_logits(logits: Tensor, regions: Tensor, image_size: tuple[int, int], threshold: float = 0.0) -> "RLEMasks":
    """Encode masks of the image directly from the logits of crops, without bitmaps.

    The masks equal `crop_masks.logits_to_image` above the threshold: the logits are interpolated bilinearly between the
    centres of the crop's pixels and sampled at the centre of every image pixel in the region. Positions are computed in
    float64, logits in float32. Runs in one thread and releases the GIL.

    Args:
        logits: (N, h, w) floating point, over the whole region each; on any device. NaN is not in the mask.
        regions: (N, 4) floating point XYXY, image pixels; may extend beyond the image. A region that contains
            no pixel's centre, such as one without area, gives an empty mask.
        image_size: (height, width) of the image in pixels.
        threshold: logits above it are in the mask.

    Returns:
        The N masks, on the CPU.

    Raises:
        InputError: logits or regions are not floating-point tensors, or have the wrong shape; a region is not finite or
            is reversed; the threshold is NaN; image_size is not positive or has 2**32 pixels or more.
    """
    height, width = _checked_size(image_size)
    for name, value, shape in (("logits", logits, "(N, h, w)"), ("regions", regions, "(N, 4)")):
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise InputError(f"{name}: expected a floating-point tensor {shape}, got {_describe(value)}")
    if logits.dim() != 3 or 0 in logits.shape[1:]:
        raise InputError(f"logits: expected shape (N, h, w) with h, w > 0, got {tuple(logits.shape)}")
    if regions.shape != (len(logits), 4):
        raise InputError(f"regions: expected shape ({len(logits)}, 4), one per crop, got {tuple(regions.shape)}")
    if math.isnan(threshold):
        raise InputError("threshold: expected a number, got NaN")
    places = regions.detach().cpu().double()
    bad = ~(places.isfinite().all(1) & (places[:, :2] <= places[:, 2:]).all(1))
    if bad.any():
        first = int(bad.nonzero()[0])
        raise InputError(
            f"regions: expected finite values with x1 <= x2 and y1 <= y2, got {places[first].tolist()} at index {first}"
        )
    values = logits.detach().cpu().float().contiguous().numpy()
    counts = _rle_ext.coder().encode_logits(values, places.numpy(), height, width, threshold)
    return RLEMasks([{"size": [height, width], "counts": c} for c in counts], (height, width))


def decode_crop(code: dict, window: tuple[int, int, int, int]) -> np.ndarray:
    """Decode the part of a mask that lies in a window, without a full-size bitmap.

    Args:
        code: {"size": [height, width], "counts": bytes or str}, COCO's compressed RLE.
        window: (x0, y0, x1, y1) in pixels, inside the image, x1 and y1 exclusive.

    Returns:
        (y1 - y0, x1 - x0) bool.
    """
    (height, _), (x0, y0, x1, y1) = code["size"], window
    counts = run_lengths(code["counts"])
    ends = np.clip(np.cumsum(counts), x0 * height, x1 * height)  # of the runs, down the columns of the window
    inside = np.arange(len(counts)) % 2 == 1
    columns = np.repeat(inside, np.diff(ends, prepend=x0 * height))
    return columns.reshape(x1 - x0, height)[:, y0:y1].T


def run_lengths(counts: bytes | str) -> np.ndarray:
    """Decode COCO's compressed run lengths.

    A number is a group of characters of 5 bits each, least significant first; bit 5 marks that the group
    continues, and bit 4 of the last character is the sign. From the fourth on, a number is the difference to the number
    two before it.

    Args:
        counts: counts of a COCO RLE.

    Returns:
        (R,) int64, lengths of alternating runs of background and mask; negative for some invalid strings.

    Raises:
        InputError: the string is empty, ends within a number, or has characters outside COCO's alphabet.
    """
    characters = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    if not len(characters) or characters.min() < 0 or characters.max() > 63 or characters[-1] & 32:
        raise InputError(f"counts: expected COCO's compressed run lengths, got {counts!r:.80}")
    last = np.flatnonzero((characters & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    bits = 5 * (np.arange(len(characters)) - np.repeat(first, last - first + 1))
    numbers = np.add.reduceat((characters & 31) << bits, first)
    numbers -= ((characters[last] & 16) > 0) << (bits[last] + 5)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def _checked_size(image_size: tuple[int, int]) -> tuple[int, int]:
    height, width = map(operator.index, image_size)
    if height <= 0 or width <= 0 or height * width > MOST_PIXELS:
        raise InputError(
            f"image_size: expected (height, width) in positive pixels, at most {MOST_PIXELS} together, "
            f"got ({height}, {width})"
        )
    return height, width


def _describe(value: object) -> str:
    return f"{value.dtype}" if isinstance(value, Tensor | np.ndarray) else type(value).__name__


def segmentation_to_rle(segmentation: list | dict, size: tuple[int, int]) -> dict:
    """Convert the segmentation of a COCO annotation to one compressed RLE of the whole image.

    Args:
        segmentation: polygons [[x, y, ...], ...], compressed RLE, or RLE with a list of counts.
        size: (height, width) of the image in pixels.

    Returns:
        {"size": [height, width], "counts": bytes, or str where the RLE had it}.
    """
    if isinstance(segmentation, dict):
        is_list = isinstance(segmentation["counts"], list)
        return coco_mask.frPyObjects(segmentation, *size) if is_list else segmentation
    polygons = [[float(number) for number in polygon] for polygon in segmentation]  # pycocotools refuses integers
    return coco_mask.merge(coco_mask.frPyObjects(polygons, *size))


def rle_union(codes: Sequence[dict]) -> dict:
    """Return the union of masks of one image.

    Args:
        codes: at least one compressed RLE.

    Returns:
        A compressed RLE.
    """
    return coco_mask.merge(list(codes))


def rle_area(code: dict) -> int:
    """Return the number of pixels of a mask, from its compressed RLE."""
    return int(coco_mask.area(code))


def rle_box(code: dict) -> list[int]:
    """Return the box [x, y, width, height] around a mask's pixels; zeros for an empty mask."""
    return [int(number) for number in coco_mask.toBbox(code)]


def rle_to_bitmap(code: dict) -> np.ndarray:
    """Decode a compressed RLE to an array (height, width) of bool."""
    return coco_mask.decode(code).astype(bool)


def masks_to_rle(masks: Any) -> list[dict]:
    """Convert masks to COCO RLE that can be written as JSON.

    Args:
        masks: (N, H, W) bool tensor or array, `RLEMasks`, or a sequence of compressed RLE.

    Returns:
        N dictionaries {"size": [H, W], "counts": str}.
    """
    if isinstance(masks, Tensor):
        masks = masks.cpu().numpy()
    if isinstance(masks, np.ndarray):
        masks = [coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8)) for mask in masks]
    return [
        {"size": list(m["size"]), "counts": m["counts"].decode() if isinstance(m["counts"], bytes) else m["counts"]}
        for m in masks
    ]


class RLEMasks:
    """The masks of N instances of one image as COCO RLE.

    Indexes like a tensor, so that it can be a field of Detectron2's `Instances`; `np.asarray(masks)` is (N, H, W) bool.

    Args:
        codes: N codes {"size": [height, width], "counts": bytes}.
        image_size: (height, width) of the image in pixels.
    """

    def __init__(self, codes: list[dict], image_size: tuple[int, int]):
        self.codes = list(codes)
        height, width = image_size
        self.image_size = (height, width)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self) -> Iterator[dict]:
        return iter(self.codes)

    @overload
    def __getitem__(self, item: int) -> dict: ...

    @overload
    def __getitem__(self, item: slice | list | Tensor | np.ndarray) -> "RLEMasks": ...

    def __getitem__(self, item: Any) -> "RLEMasks | dict":
        """Return the code at an integer, or the masks at a slice, list, array or tensor of indices or bools."""
        index = select_indices(item, len(self.codes))
        if isinstance(index, int):
            return self.codes[index]
        return RLEMasks([self.codes[i] for i in index.tolist()], self.image_size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Decode to (N, height, width) bool; N x height x width bytes of memory."""
        if copy is False:
            raise ValueError("RLEMasks: decoding needs a copy, got copy=False")
        return self.to_bitmaps().numpy().astype(dtype or bool, copy=False)

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"RLEMasks({counted(len(self), 'mask')} of {width} x {height} pixels)"

    @staticmethod
    def cat(masks: list["RLEMasks"]) -> "RLEMasks":
        """Concatenate masks of one image; `Instances.cat` calls it."""
        return RLEMasks([code for part in masks for code in part.codes], masks[0].image_size)

    @classmethod
    def from_bitmaps(cls, bitmaps: Tensor) -> "RLEMasks":
        """Encode masks of the whole image.

        Args:
            bitmaps: (N, height, width) bool, on any device.

        Returns:
            N masks.
        """
        height, width = bitmaps.shape[1:]
        size = (height, width)
        return cls([encode_crop(bitmap, (0, 0), size) for bitmap in bitmaps.cpu().numpy()], size)

    def replace(self, where: Tensor, masks: "RLEMasks") -> "RLEMasks":
        """Replace some of the masks.

        Args:
            where: (N,) bool, True in M places.
            masks: the M masks to put there, in order.

        Returns:
            N masks.
        """
        codes = list(self.codes)
        for i, code in zip(where.nonzero()[:, 0].tolist(), masks.codes, strict=True):
            codes[i] = code
        return RLEMasks(codes, self.image_size)

    def areas(self) -> Tensor:
        """Count the pixels of each mask.

        Returns:
            (N,) int64.
        """
        # One by one: with NumPy 2, pycocotools 2.0 raises OverflowError for more than 255 at once.
        return torch.tensor([rle_area(code) for code in self.codes], dtype=torch.int64)

    def boxes(self) -> Tensor:
        """Compute the box around each mask's pixels.

        Returns:
            (N, 4) float32 XYXY; zeros for an empty mask.
        """
        boxes = torch.tensor([rle_box(code) for code in self.codes], dtype=torch.float32).reshape(-1, 4)
        return torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)

    def polygons(self) -> list[list[np.ndarray]]:
        """Outline each mask along the edges of its pixels; rasterised by COCO's rule, the outlines reproduce the mask.

        Returns:
            For each mask, an array (P, 2) int64 of corners XY in image pixels for each of its parts.
        """
        outlines = []
        for code in self.codes:
            x, y, width, height = rle_box(code)
            outlines.append(mask_to_polygons(decode_crop(code, (x, y, x + width, y + height)), (x, y)))
        return outlines

    def to_bitmaps(self) -> Tensor:
        """Decode all masks; N x height x width bytes of memory.

        Returns:
            (N, height, width) bool.
        """
        if not self.codes:
            return torch.zeros((0, *self.image_size), dtype=torch.bool)
        return torch.from_numpy(coco_mask.decode(self.codes)).permute(2, 0, 1).bool()


def select_indices(item: Any, count: int) -> "int | Tensor":
    """Resolve an index into a sequence.

    Args:
        item: an integer of any kind, a slice, or a list, array or tensor of integers or of `count` bools.
        count: length of the sequence.

    Returns:
        An int from 0 to count - 1 for an integer, else the selected positions, (M,) int64.

    Raises:
        IndexError: out of range, or not an index.
    """
    if isinstance(item, slice):
        return torch.tensor(range(count)[item], dtype=torch.int64)
    chosen = np.asarray(item.detach().cpu() if isinstance(item, Tensor) else item)
    if chosen.size == 0:
        chosen = chosen.astype(np.int64).reshape(-1)
    if chosen.ndim > 1 or chosen.dtype.kind not in "iub" or (chosen.dtype.kind == "b" and chosen.shape != (count,)):
        raise IndexError(
            f"expected an integer, a slice, integers or {count} bools, got {chosen.dtype} of shape {chosen.shape}"
        )
    if chosen.dtype.kind == "b":
        return torch.from_numpy(np.flatnonzero(chosen))
    chosen = chosen.astype(np.int64)
    if ((chosen < -count) | (chosen >= count)).any():
        raise IndexError(f"index out of range for {count} instances: {chosen.tolist()}")
    chosen = chosen % count if count else chosen
    return int(chosen) if chosen.ndim == 0 else torch.from_numpy(chosen)
