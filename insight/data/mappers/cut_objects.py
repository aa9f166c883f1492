"""Objects that the border of an image cuts, as tiles of large images show them."""

import torch
from torch import Tensor

LEAST, MOST = 0.2, 0.9  # of the object's extent that stays in the image
LEAST_AREA = 9  # pixels: less is not worth a prompt


def cut_object(image: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Cut an image off at a random side, through an object.

    The new border leaves a random part, from `LEAST` to `MOST`, of the object's extent along that axis. An object of
    which less than `LEAST_AREA` pixels would stay is not cut.

    Args:
        image: (C, H, W).
        mask: (H, W) bool, the object; at least one pixel.
        generator: draws the side and the part.

    Returns:
        The image (C, h, w) and the mask (h, w) that stay, views of what was given.
    """
    axis, far = (int(number) for number in torch.randint(2, (2,), generator=generator))
    part = LEAST + (MOST - LEAST) * float(torch.rand((), generator=generator))
    covered = mask.any(1 - axis).nonzero()
    first, last = int(covered.min()), int(covered.max()) + 1
    length = max(1, round(part * (last - first)))
    start, stop = (last - length, mask.shape[axis]) if far else (0, first + length)
    kept = mask.narrow(axis, start, stop - start)
    if kept.sum() < LEAST_AREA:
        return image, mask
    return image.narrow(axis + 1, start, stop - start), kept
