"""Box prompts for training: some of the ground-truth boxes, jittered as if a person had drawn them."""

import torch
from torch import Tensor


def jitter_boxes(boxes: Tensor, jitter: float, size: tuple[int, int]) -> Tensor:
    """Shift every edge at random and clip to the image.

    Args:
        boxes: (N, 4) XYXY, pixels.
        jitter: largest shift of an edge as a fraction of the box's side along it; below 0.5, so that no box inverts.
        size: (height, width) of the image, pixels.

    Returns:
        (N, 4) XYXY, pixels.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sides = torch.stack([width, height, width, height], dim=1)
    shifted = boxes + (torch.rand_like(boxes) * 2 - 1) * jitter * sides
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    return torch.minimum(shifted.clamp(min=0), limits)


def sample_box_prompts(boxes: Tensor, fraction: float, jitter: float, size: tuple[int, int]) -> Tensor:
    """Choose ground-truth boxes at random and jitter them.

    The draws come from torch's default generator: `torch.manual_seed` repeats them.

    Source: Insight Any Instance, section III-C.

    Args:
        boxes: (N, 4) XYXY, pixels.
        fraction: probability that a box is chosen.
        jitter: largest shift of an edge as a fraction of the box's side along it.
        size: (height, width) of the image, pixels.

    Returns:
        (M, 4) XYXY, pixels, M <= N; none is empty.
    """
    chosen = boxes[torch.rand(len(boxes), device=boxes.device) < fraction]
    prompts = jitter_boxes(chosen, jitter, size)
    return prompts[(prompts[:, 2] > prompts[:, 0]) & (prompts[:, 3] > prompts[:, 1])]
