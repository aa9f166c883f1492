"""crop_resize against other ways to crop and resize boxes with PyTorch and torchvision.

Rivals, each in its fastest form:
    grid_sample  one call for all boxes, in parallel (the image is expanded, not copied); never filters
    interpolate  a loop over the boxes, rounded to whole pixels
    roi_align    torchvision, aligned, with as many samples per bin as pixels when reducing, i.e. a box filter
    twin         the PyTorch reference
grid_sample and roi_align accept floating point only, so the conversion of a uint8 image is part of their work.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from harness import Case, Rival, Work
from torch import Tensor
from torchvision.ops import roi_align

from insight import ops

# Sides of boxes in remote sensing images, pixels: vehicles to ships, and small harbours.
TILE = {"count": 512, "sides": (8, 200), "side": 800, "size": 28}
SCENE = {"count": 64, "sides": (16, 320), "side": 4096, "size": 256}


def cases(device: torch.device) -> Iterator[Case]:
    """Crops of a network's input and of a full scene, with and without filter, in both memory formats; gradients."""
    for what, dtype in ((TILE, torch.float32), (SCENE, torch.uint8)):
        images = _image(what["side"], dtype).to(device)
        boxes, size = _boxes(what).to(device), what["size"]
        title = f"{what['count']} boxes -> {size}^2, {str(dtype).removeprefix('torch.')} {what['side']}^2"
        for antialias in (True, False):
            yield Case(
                f"{title}, {'antialias' if antialias else 'bilinear'}",
                _crop(ops.crop_resize, images, boxes, size, antialias),
                _rivals(images, boxes, size, antialias, target=3.0),
                "3 of the rivals compute something slightly different: see the file",
                _work(images, boxes, size),
            )
        yield Case(
            f"{title}, antialias, channels_last",
            _crop(ops.crop_resize, images.contiguous(memory_format=torch.channels_last), boxes, size, True),
            {"contiguous": Rival(_crop(ops.crop_resize, images, boxes, size, True))},
        )
        if device.type == "cuda":
            out = ops.crop_resize(images, boxes, size)
            yield Case(
                f"{title}, against a copy of the output",
                _crop(ops.crop_resize, images, boxes, size, False),
                {"copy": Rival(out.clone, target=0.7, tolerance=None)},
                "the copy reads and writes the bytes of the output",
                _work(images, boxes, size),
            )
    yield from _gradients(device)


def _gradients(device: torch.device) -> Iterator[Case]:
    images, boxes, size = _image(TILE["side"], torch.float32).to(device), _boxes(TILE).to(device), TILE["size"]

    def run(function):
        leaf = images.detach().requires_grad_()
        return torch.autograd.grad(function(leaf, boxes, size).sum(), leaf)

    yield Case(
        f"{TILE['count']} boxes -> {size}^2, float32 {TILE['side']}^2, antialias, forward + backward",
        lambda: run(ops.crop_resize),
        {
            "roi_align": Rival(lambda: run(_roi_align), tolerance=None),
            "twin": Rival(lambda: run(ops.reference.crop_resize), tolerance=1e-3),
        },
    )


def _image(side: int, dtype: torch.dtype) -> Tensor:
    values = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(0))
    return (values * 255).to(dtype) if dtype == torch.uint8 else values


def _boxes(what: dict) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    low, high = what["sides"]
    sides = torch.rand((what["count"], 2), generator=generator) * (high - low) + low
    corners = torch.rand((what["count"], 2), generator=generator) * (what["side"] - sides)
    return torch.cat([corners, corners + sides], dim=1)


def _work(images: Tensor, boxes: Tensor, size: int) -> Work:
    """The output is written, and every pixel in a box is read once."""
    channels, height, width = images.shape[1:]
    read = torch.zeros((height, width), dtype=torch.bool)
    for x1, y1, x2, y2 in boxes.tolist():
        read[int(y1) : math.ceil(y2), int(x1) : math.ceil(x2)] = True
    out_bytes = images.element_size() if images.is_floating_point() else 4
    pixels = int(read.sum()) * images.element_size() + len(boxes) * size**2 * out_bytes
    return Work(traffic=channels * pixels)


def _crop(function, images, boxes, size, antialias):
    return lambda: function(images, boxes, size, antialias=antialias)


def _rivals(images: Tensor, boxes: Tensor, size: int, antialias: bool, target: float) -> dict[str, Rival]:
    return {
        "grid_sample": Rival(lambda: _grid_sample(images, boxes, size), target, tolerance=None),
        "interpolate": Rival(lambda: _interpolate(images, boxes, size, antialias), target, tolerance=None),
        "roi_align": Rival(lambda: _roi_align(images, boxes, size), target, tolerance=None),
        "twin": Rival(_crop(ops.reference.crop_resize, images, boxes, size, antialias), tolerance=1e-3),
    }


def _grid_sample(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    height, width = images.shape[2:]
    steps = (torch.arange(size, device=boxes.device) + 0.5) / size
    x = boxes[:, 0:1] + steps * (boxes[:, 2:3] - boxes[:, 0:1])
    y = boxes[:, 1:2] + steps * (boxes[:, 3:4] - boxes[:, 1:2])
    shape = (len(boxes), size, size)
    grid = torch.stack(
        [(2 * x / width - 1)[:, None, :].expand(shape), (2 * y / height - 1)[:, :, None].expand(shape)], -1
    )
    images = images if images.is_floating_point() else images.float()
    return F.grid_sample(images.expand(len(boxes), -1, -1, -1), grid, align_corners=False)


def _interpolate(images: Tensor, boxes: Tensor, size: int, antialias: bool) -> Tensor:
    crops = []
    for x1, y1, x2, y2 in boxes.round().long().tolist():
        crop = images[:, :, y1:y2, x1:x2]
        crop = crop if crop.is_floating_point() else crop.float()
        crops.append(F.interpolate(crop, size=(size, size), mode="bilinear", antialias=antialias))
    return torch.cat(crops)


def _roi_align(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    images = images if images.is_floating_point() else images.float()
    return roi_align(images, [boxes], size, sampling_ratio=-1, aligned=True)
