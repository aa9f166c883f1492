"""Box prompts for training: jittered ground-truth boxes."""

import torch
from torch import Tensor

from insight.structures.boxes import jitter_boxes


def sample_box_prompts(boxes: Tensor, fraction: float, jitter: float, size: tuple[int, int]) -> Tensor:
    """Sample ground-truth boxes and jitter them, with torch's default generator.

    Source: Insight Any Instance, section III-C.

    Args:
        boxes: (N, 4) float XYXY, pixels.
        fraction: probability that a box is sampled.
        jitter: largest shift of an edge, as a fraction of the box's extent.
        size: (height, width) of the image, pixels.

    Returns:
        (M, 4) float XYXY, pixels, M <= N; clipped to the image, none empty.
    """
    chosen = boxes[torch.rand(len(boxes), device=boxes.device) < fraction]
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    prompts = torch.minimum(jitter_boxes(chosen, jitter).clamp(min=0), limits)
    return prompts[(prompts[:, 2] > prompts[:, 0]) & (prompts[:, 3] > prompts[:, 1])]
