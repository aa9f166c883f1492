"""Masks as COCO run-length codes: memory by outline, not by area."""

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor


def encode_crop(crop: np.ndarray, origin: tuple[int, int], image_size: tuple[int, int]) -> dict:
    """The code, at full image size, of a mask that is known in a window only; no full-size bitmap is made.

    Args:
        crop: (h, w) bool, the mask inside the window; the rest of the image is outside the mask.
        origin: (x, y) of the window's first pixel in the image; the window lies inside the image.
        image_size: (height, width) of the image in pixels.

    Returns:
        {"size": [height, width], "counts": bytes}, COCO's compressed RLE.
    """
    (x0, y0), (height, width) = origin, image_size
    # COCO walks down the columns. A run starts where a zero-padded column rises, and ends where it falls.
    columns = np.pad(crop.T.astype(np.int8), ((0, 0), (1, 1)))
    edges = np.diff(columns, axis=1)
    column, row = np.nonzero(edges)
    places = (x0 + column) * height + y0 + row  # start, end, start, end ... as offsets into the walk
    # A run that ends at the foot of one column and one that starts at the head of the next are one run.
    touching = np.nonzero(places[1:-1:2] == places[2::2])[0]
    places = np.delete(places, np.concatenate([2 * touching + 1, 2 * touching + 2]))
    counts = np.diff(np.concatenate([[0], places, [height * width]])).tolist()
    if counts[-1] == 0 and len(counts) > 1:  # the mask holds the last pixel: nothing follows it
        counts.pop()
    return coco_mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)


def decode_crop(code: dict, window: tuple[int, int, int, int]) -> np.ndarray:
    """The part of a mask that lies in a window; no full-size bitmap is made.

    Args:
        code: {"size": [height, width], "counts": bytes or str}, COCO's compressed RLE.
        window: (x0, y0, x1, y1) in pixels, inside the image, x1 and y1 exclusive.

    Returns:
        (y1 - y0, x1 - x0) bool.
    """
    (height, _), (x0, y0, x1, y1) = code["size"], window
    counts = _decode_counts(code["counts"])
    ends = np.clip(np.cumsum(counts), x0 * height, x1 * height)  # of the runs, down the columns of the window
    inside = np.arange(len(counts)) % 2 == 1
    columns = np.repeat(inside, np.diff(ends, prepend=x0 * height))
    return columns.reshape(x1 - x0, height)[:, y0:y1].T


def _decode_counts(counts: bytes | str) -> np.ndarray:
    """The run lengths that COCO's compressed string holds.

    A number is a group of characters of 5 bits each, least significant first; bit 5 says that the group goes on, and
    the last character's bit 4 is the sign. From the fourth on, numbers are differences to the last but one.
    """
    characters = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8).astype(np.int64) - 48
    last = np.flatnonzero((characters & 32) == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    bits = 5 * (np.arange(len(characters)) - np.repeat(first, last - first + 1))
    numbers = np.add.reduceat((characters & 31) << bits, first)
    numbers -= ((characters[last] & 16) > 0) << (bits[last] + 5)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


class RLEMasks:
    """The masks of N instances of one image as COCO RLE; indexes like a tensor, so it is a field of `Instances`.

    Args:
        codes: N codes {"size": [height, width], "counts": bytes}.
        image_size: (height, width) of the image in pixels.
    """

    def __init__(self, codes: list[dict], image_size: tuple[int, int]):
        self.codes = list(codes)
        self.image_size = tuple(image_size)

    def __len__(self) -> int:
        return len(self.codes)

    def __iter__(self):
        return iter(self.codes)

    def __getitem__(self, item) -> "RLEMasks | dict":
        """One code for an int; for a slice, a list of ints, or an index or boolean tensor, the masks it selects."""
        if isinstance(item, int):
            return self.codes[item]
        chosen = torch.arange(len(self.codes))[torch.as_tensor(item) if isinstance(item, list) else item]
        return RLEMasks([self.codes[i] for i in chosen.tolist()], self.image_size)

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"RLEMasks({len(self)} masks of {width} x {height} pixels)"

    @staticmethod
    def cat(masks: list["RLEMasks"]) -> "RLEMasks":
        """The masks of several lists, in order; `Instances.cat` calls it."""
        return RLEMasks([code for part in masks for code in part.codes], masks[0].image_size)

    def areas(self) -> Tensor:
        """Pixels of each mask.

        Returns:
            (N,) int64.
        """
        return torch.as_tensor(coco_mask.area(self.codes).astype(np.int64) if self.codes else [], dtype=torch.int64)

    def to_bitmaps(self) -> Tensor:
        """All masks at full image size; N x height x width bytes of memory.

        Returns:
            (N, height, width) bool.
        """
        if not self.codes:
            return torch.zeros((0, *self.image_size), dtype=torch.bool)
        return torch.from_numpy(coco_mask.decode(self.codes)).permute(2, 0, 1).bool()
