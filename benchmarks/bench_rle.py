"""Encoding masks of crops as run-length codes of the image, directly or by way of bitmaps of the image."""

from collections.abc import Iterator

import numpy as np
import torch
from harness import Case, Rival
from pycocotools import mask as coco_mask
from torch import Tensor

from insight.structures import rle_reference
from insight.structures.crop_masks import logits_to_image, paste_windows
from insight.structures.crop_regions import crop_regions
from insight.structures.rle import encode_logits

SIZE, OBJECT, CROP = 4000, 32, 256  # pixels
CALLS = 200  # of 500 objects


def cases(device: torch.device) -> Iterator[Case]:
    """Objects of 32 x 32 in an image of 4000 x 4000, with logits of 256 x 256 crops twice as large as the objects.

    Masks are encoded on the CPU; every contender first copies logits from other devices.
    """
    logits, regions = _objects(500)
    logits = logits.to(device)
    yield Case(
        f"500 objects of {OBJECT} x {OBJECT} in {SIZE} x {SIZE}",
        lambda: _ours(logits, regions),
        {
            "one bitmap + pycocotools": Rival(lambda: _on_one_bitmap(logits.cpu(), regions), 20.0, tolerance=0),
            "NumPy twin": Rival(lambda: _twin(logits.cpu(), regions), tolerance=0),
        },
        note="the rival pastes into one bitmap in the memory layout of pycocotools, and clears it after each object",
    )
    yield Case(
        f"20 objects of {OBJECT} x {OBJECT} in {SIZE} x {SIZE}",
        lambda: _ours(logits[:20], regions[:20]),
        {"paste_windows + pycocotools": Rival(lambda: _pasted(logits[:20].cpu(), regions[:20]), 20.0, tolerance=0)},
        note="one object at a time: the bitmaps of 500 are 8 GB",
    )
    yield Case(
        f"{CALLS * 500:,} objects of {OBJECT} x {OBJECT} in {SIZE} x {SIZE}, 500 a call",
        lambda: _bytes([code for _ in range(CALLS) for code in encode_logits(logits, regions, (SIZE, SIZE)).codes]),
        {},
        note="memory is that of all the codes as Python objects",
    )


def _objects(count: int) -> tuple[Tensor, Tensor]:
    """Logits of ellipses, and regions.

    Regions are at quarters of a pixel and logits are multiples of 1/16, so that no contender has rounding errors and
    the codes must be equal on every machine.
    """
    generator = torch.Generator().manual_seed(0)
    corners = (OBJECT + torch.rand(count, 2, generator=generator) * (SIZE - 3 * OBJECT)).mul(4).round() / 4
    regions = crop_regions(torch.cat([corners, corners + OBJECT], 1))
    places = (torch.arange(CROP) + 0.5 - CROP / 2) / (CROP / 4)  # -1 to 1 in the object
    widths = 0.5 + 0.5 * torch.rand(count, 2, 1, 1, generator=generator)
    distance = torch.hypot(places / widths[:, 0], places[:, None] / widths[:, 1])
    return ((1 - distance) * 128).round() / 16, regions


def _ours(logits: Tensor, regions: Tensor) -> Tensor:
    return _bytes(encode_logits(logits, regions, (SIZE, SIZE)).codes)


def _on_one_bitmap(logits: Tensor, regions: Tensor) -> Tensor:
    bitmap = np.zeros((SIZE, SIZE), np.uint8, order="F")
    codes = []
    for values, region in zip(logits[:, None], regions[:, None]):
        (window,), ((x, y),) = logits_to_image(values, region)
        part = bitmap[y : y + window.shape[0], x : x + window.shape[1]]
        part[:] = window > 0
        codes.append(coco_mask.encode(bitmap))
        part[:] = 0
    return _bytes(codes)


def _pasted(logits: Tensor, regions: Tensor) -> Tensor:
    codes = []
    for values, region in zip(logits[:, None], regions[:, None]):
        (mask,) = (paste_windows(logits_to_image(values, region), (SIZE, SIZE)) > 0).numpy()
        codes.append(coco_mask.encode(np.asfortranarray(mask.view(np.uint8))))
    return _bytes(codes)


def _twin(logits: Tensor, regions: Tensor) -> Tensor:
    counts = rle_reference.encode_logits(logits.numpy(), regions.double().numpy(), SIZE, SIZE, 0.0)
    return _bytes([{"counts": text} for text in counts])


def _bytes(codes: list[dict]) -> Tensor:
    return torch.frombuffer(bytearray(b"".join(code["counts"] for code in codes)), dtype=torch.uint8)
